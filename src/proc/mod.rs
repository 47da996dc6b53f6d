//! The proc file system: what the kernel says of a process, as values.
//!
//! Readers take the descriptor of a process's directory: it names one process for ever, and once that is gone every read
//! fails. Only this module parses files of /proc.

pub mod cgroup;
pub(crate) mod cgroup_path;
pub(crate) mod handle;
pub(crate) mod maps;
pub(crate) mod passwd;
pub mod stat;

pub use handle::{Process, exited};

/// What a file is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

impl FileId {
    /// The id in the answer of `fstat` or `statat`.
    pub(crate) fn of(stat: &rustix::fs::Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}
