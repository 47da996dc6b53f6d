//! Names of region files: `hsperfdata_<user>/<pid>` (get_user_tmp_dir and get_sharedmem_filename, perfMemory_posix.cpp).

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

/// The prefix of the names of the directories.
pub(crate) const PREFIX: &[u8] = b"hsperfdata_";

/// The user in `hsperfdata_<user>`; `None` for any other name.
pub(crate) fn user_of(name: &OsStr) -> Option<String> {
    let user = name.as_bytes().strip_prefix(PREFIX).filter(|user| !user.is_empty())?;
    Some(String::from_utf8_lossy(user).into_owned())
}

/// The number in a file name, as HotSpot writes it; `None` for any other name.
pub(crate) fn vpid_of(name: &OsStr) -> Option<i32> {
    let text = name.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0'))?;
    text.parse().ok()
}
