//! What must be known of a JVM before it can be asked.

use std::{io, os::fd::OwnedFd, path::Path, sync::Arc};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::{hotspot::NmtSetting, proc::Process};

/// A JVM that may be asked. Its region is accessible: it has started.
#[derive(Debug)]
pub struct Attachable {
    /// The directory that the JVM sees as `/tmp`, opened with `O_PATH`.
    pub tmp: OwnedFd,
    /// The pid that the JVM sees as its own: the name of its region file.
    pub vpid: i32,
    /// The process, where it is visible.
    pub process: Option<Arc<Process>>,
    /// Effective user id: the owner of the region file.
    pub uid: u32,
    /// Effective group id: from the process where it is visible, else the group of the region file.
    pub gid: u32,
    /// Feature release of the JDK (8, 17, 25), if it is known.
    pub feature: Option<u32>,
    /// Whether the JVM's arguments switch tracking on. Where that is not known, the JVM is asked once.
    pub setting: NmtSetting,
    /// The first of `sun.rt.jvmCapabilities`: whether the JVM can be attached to. `None` while it is not known.
    pub attach_supported: Option<bool>,
    /// Whether the exporter may read the JVM's memory.
    pub memory_readable: bool,
}

/// The directory that holds `hsperfdata_<user>/<vpid>`, opened by the path of that region file. It is an error if the
/// path no longer leads to the opened region, whose file is `device` and `inode`: the file may be deleted, and other
/// users may own directories on the path.
pub(crate) fn tmp_of(region: &Path, device: u64, inode: u64) -> io::Result<OwnedFd> {
    let moved = || io::Error::new(io::ErrorKind::NotFound, "another file is at the region's path");
    let folder = region.parent().ok_or_else(moved)?;
    let (tmp, user) = folder.parent().zip(folder.file_name()).ok_or_else(moved)?;
    let below = Path::new(user).join(region.file_name().ok_or_else(moved)?);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let tmp = rustix::fs::openat(CWD, tmp, flags, Mode::empty())?;
    let stat = rustix::fs::statat(&tmp, &below, AtFlags::SYMLINK_NOFOLLOW)?;
    if (stat.st_dev, stat.st_ino) == (device, inode) { Ok(tmp) } else { Err(moved()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_directory_is_identified_by_its_region() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = tmp.path().join("hsperfdata_u");
        let region = folder.join("7");
        fs::create_dir(&folder).unwrap();
        fs::write(&region, "").unwrap();
        let file = fs::metadata(&region).unwrap();
        let found = tmp_of(&region, file.dev(), file.ino()).unwrap();
        assert_eq!(
            rustix::fs::statat(&found, "", AtFlags::EMPTY_PATH).unwrap().st_ino,
            fs::metadata(&tmp).unwrap().ino()
        );

        assert!(tmp_of(&region, file.dev(), file.ino().wrapping_add(1)).is_err());
        fs::remove_file(&region).unwrap();
        assert!(tmp_of(&region, file.dev(), file.ino()).is_err());
        assert!(tmp_of(Path::new("7"), 0, 0).is_err());
    }
}
