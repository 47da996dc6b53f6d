//! The directory of one control group, and its files.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::mounts::{HANDLE, mount_of};
use super::stat::{STATUS_MAXIMUM, content, field};

/// A group's directory. Every file is looked up on the mount of the directory: something else in its place could block,
/// or tell anything.
#[derive(Debug)]
pub(super) struct GroupDirectory {
    handle: OwnedFd,
    mount: u64,
}

impl GroupDirectory {
    /// The directory, which must be on that mount.
    ///
    /// # Errors
    /// `EXDEV` for a directory on another mount, which lies over it.
    pub(super) fn new(handle: OwnedFd, mount: u64) -> Result<Self, Errno> {
        if mount_of(&handle)? == mount { Ok(Self { handle, mount }) } else { Err(Errno::XDEV) }
    }

    fn open(&self, name: &str) -> Result<Self, Errno> {
        Self::new(openat(&self.handle, name, HANDLE, Mode::empty())?, self.mount)
    }

    /// The group above. The caller knows that there is one on the mount.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub(super) fn parent(&self) -> Result<Self, Errno> {
        self.open("..")
    }

    /// The text of a file; `None` for one that the group does not have.
    ///
    /// # Errors
    /// The file cannot be read, or is another's.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Errno> {
        let file = match self.open(name) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        // The link leads to the very file that was examined.
        let link = format!("/proc/self/fd/{}", file.handle.as_raw_fd());
        let bytes = content(openat(CWD, link, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, STATUS_MAXIMUM)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The number in a file; `None` also for `max`, and for a negative one.
    ///
    /// # Errors
    /// See [`Self::text`].
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Errno> {
        Ok(self.text(name)?.and_then(|text| text.trim().parse().ok()))
    }

    /// The number behind `key` at the start of a line of a file.
    ///
    /// # Errors
    /// See [`Self::text`].
    pub(super) fn entry(&self, name: &str, key: &str) -> Result<Option<u64>, Errno> {
        Ok(self.text(name)?.and_then(|text| field(&text, key)?.parse().ok()))
    }
}
