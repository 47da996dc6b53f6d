//! `/proc/PID/mountinfo`: the mounts that a process sees, and a way from its root that leads where they say, and cannot
//! block.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::stat::{STATUS_MAXIMUM, number, read, read_text};

/// Longest `mountinfo` that is read: a host of many containers has some thousand lines.
const MOUNTINFO_MAXIMUM: usize = 4 << 20;

/// File systems in which a name is looked up in a process's own view. Others may wait for a server, or for a program
/// that never answers (FUSE).
const LOCAL: &[&str] = &[
    "bcachefs", "btrfs", "cgroup", "cgroup2", "erofs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "rootfs",
    "squashfs", "sysfs", "tmpfs", "virtiofs", "xfs", "zfs",
];

/// For a handle that names a file and gives no access to its content.
pub(super) const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A line of `mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Unique among the mounts that exist.
    pub(super) id: u64,
    /// The directory of the file system that the mount point shows; for a control group, from the root of the reader's
    /// cgroup namespace.
    pub(super) root: PathBuf,
    /// From the root of the process.
    pub(super) point: PathBuf,
    pub(super) file_system: Box<str>,
    /// Those of the file system.
    pub(super) options: Box<str>,
}

/// Why a way in a process's own view was not gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ViewError {
    /// The way into the process is closed.
    #[error("its root cannot be entered ({0}); run the exporter with the JVM's uid, or as root with CAP_SYS_PTRACE")]
    Root(Errno),
    /// The way leads through a file system that may block.
    #[error("{path} lies on {1}, which may block", path = .0.display())]
    FileSystem(PathBuf, Box<str>),
    /// The kernel refuses something on the way.
    #[error("{path}: {1}", path = .0.display())]
    Io(PathBuf, Errno),
}

/// The mounts of the process of this directory that are `wanted`.
///
/// # Errors
/// See [`read`].
pub(crate) fn mounts(directory: impl AsFd, wanted: impl Fn(&Mount) -> bool) -> Result<Vec<Mount>, Errno> {
    let text = read(directory, "mountinfo", MOUNTINFO_MAXIMUM)?;
    let mounts = String::from_utf8_lossy(&text).lines().filter_map(mount).filter(wanted).collect();
    Ok(mounts)
}

/// `36 35 98:0 /root /point options [tags] - type source super-options`
pub(super) fn mount(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ');
    let id = mount.next()?.parse().ok()?;
    let (root, point) = (path(mount.nth(2)?), path(mount.next()?));
    let mut system = system.split(' ');
    Some(Mount { id, root, point, file_system: system.next()?.into(), options: system.nth(1)?.into() })
}

/// Undoes the kernel's octal escapes of blanks and backslashes (`seq_escape`).
fn path(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(3).unwrap_or(("", part));
        bytes.extend(u8::from_str_radix(code, 8).ok());
        bytes.extend_from_slice(rest.as_bytes());
    }
    OsString::from_vec(bytes).into()
}

/// The mount of an open file.
///
/// # Errors
/// `/proc/self/fdinfo` cannot be read.
pub(super) fn mount_of(file: impl AsFd) -> Result<u64, Errno> {
    let info = read_text(CWD, format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd()), STATUS_MAXIMUM);
    number(&info.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?, "mnt_id:").ok_or(Errno::IO)
}

/// A handle of `path` as the process of this directory sees it. No link is followed, and nothing is looked up in a file
/// system that is not [`LOCAL`]: an open handle keeps its mount, so `mountinfo` read afterwards tells what it is.
///
/// # Errors
/// See [`ViewError`].
pub(crate) fn walk(directory: impl AsFd, path: &Path) -> Result<OwnedFd, ViewError> {
    let (directory, mut way) = (directory.as_fd(), PathBuf::from("/"));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(directory, "root", flags, Mode::empty()).map_err(ViewError::Root)?;
    let mut known = None;
    for component in path.components() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(ViewError::Io(path.to_owned(), Errno::XDEV)),
        };
        let id = mount_of(&at).map_err(|errno| ViewError::Io(way.clone(), errno))?;
        if known.replace(id) != Some(id) {
            let found = mounts(directory, |mount| mount.id == id).map_err(|errno| ViewError::Io(way.clone(), errno))?;
            let system = found.first().map_or("an unknown file system", |mount| &mount.file_system);
            if !LOCAL.contains(&system) {
                return Err(ViewError::FileSystem(way, system.into()));
            }
        }
        way.push(name);
        at = openat(&at, name, HANDLE, Mode::empty()).map_err(|errno| ViewError::Io(way.clone(), errno))?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_line_of_mountinfo() {
        let line = r"36 35 98:0 /a\134x2db\040c /point rw,noatime master:1 - cgroup cgroup rw,cpu,cpuacct";
        let found = mount(line).unwrap();
        assert_eq!((found.id, found.root.to_str(), found.point.to_str()), (36, Some(r"/a\x2db c"), Some("/point")));
        assert_eq!((&*found.file_system, &*found.options), ("cgroup", "rw,cpu,cpuacct"));
        for line in ["", "36 35 98:0 / /point rw", "x 35 98:0 / / rw - a b c", r"1 1 1:1 \ \9 rw - a b"] {
            assert_eq!(mount(line), None, "{line}");
        }
    }

    #[test]
    fn a_way_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/proc", folder.path().join("link")).unwrap();
        let own = openat(CWD, "/proc/self", OFlags::PATH, Mode::empty()).unwrap();
        let error = walk(&own, &folder.path().join("link/self")).unwrap_err();
        assert!(matches!(error, ViewError::Io(_, Errno::NOTDIR) | ViewError::FileSystem(..)), "{error}");
        let error = walk(&own, Path::new("/proc/self")).unwrap_err();
        assert_eq!(error.to_string(), "/proc lies on proc, which may block");
    }
}
