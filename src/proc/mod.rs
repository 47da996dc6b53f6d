//! The proc file system: what the kernel says about a process, as values.
//!
//! Readers take the descriptor of a process's directory: it names one process for ever, and once that process is gone
//! every read fails. Only this module parses files of /proc.

pub(crate) mod cgroup;
pub(crate) mod cgroup_path;
mod group;
pub(crate) mod handle;
pub(crate) mod maps;
pub(crate) mod mounts;
pub(crate) mod oom;
pub(crate) mod passwd;
pub(crate) mod start;
pub(crate) mod stat;

pub use handle::{Process, exited};

/// The identity of a file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

impl FileId {
    /// The identity in the result of `fstat` or `statat`.
    pub(crate) fn of(stat: &rustix::fs::Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}
