//! Why something that looks like a JVM is not read.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The closed set of reasons. [`RefusalReason::as_str`] is the value of the `reason` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalReason {
    /// The operating system denies access, or the file belongs to another user than its directory.
    OtherOwner,
    /// The directory is writable for group or others; HotSpot does not use it either.
    InsecureDirectory,
    /// A symbolic link where a directory or file belongs.
    Symlink,
    /// A FIFO, socket, device or directory in place of a file.
    NotRegular,
    /// The file has several names.
    HardLink,
    /// Fewer bytes than a prologue.
    TooSmall,
    /// More bytes than any JVM makes.
    TooLarge,
    /// The JVM is still making its file; the next scan looks again.
    NotReady,
    /// The bytes are not a PerfData region.
    NotPerfdata,
    /// A format version that is not read.
    UnsupportedVersion,
    /// The JVM that made the file is dead.
    Stale,
    /// The user has no passwd entry, so the JVM made no file.
    NoPasswdEntry,
    /// `-XX:-UsePerfData`
    PerfDisabled,
    /// `-XX:+PerfDisableSharedMem`, or whatever else made the JVM keep its counters to itself.
    PrivateMemory,
    /// The JVM's temporary directory is not one that is looked at.
    OtherTmp,
    /// Another JVM with the same number in its own pid namespace holds the file.
    Collision,
    /// The file was deleted while its JVM lives.
    Deleted,
    /// A process named `java` that is no HotSpot JVM.
    NotHotspot,
    /// The process is not dumpable, so that its memory map and root are closed even to its own user.
    NotDumpable,
    /// More names, directories or JVMs than one scan looks at.
    TooMany,
    /// The operating system reported an error.
    IoError,
}

impl RefusalReason {
    /// Every reason, for metrics that report zeros too.
    pub const ALL: [Self; 21] = [
        Self::OtherOwner,
        Self::InsecureDirectory,
        Self::Symlink,
        Self::NotRegular,
        Self::HardLink,
        Self::TooSmall,
        Self::TooLarge,
        Self::NotReady,
        Self::NotPerfdata,
        Self::UnsupportedVersion,
        Self::Stale,
        Self::NoPasswdEntry,
        Self::PerfDisabled,
        Self::PrivateMemory,
        Self::OtherTmp,
        Self::Collision,
        Self::Deleted,
        Self::NotHotspot,
        Self::NotDumpable,
        Self::TooMany,
        Self::IoError,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherOwner => "other_owner",
            Self::InsecureDirectory => "insecure_directory",
            Self::Symlink => "symlink",
            Self::NotRegular => "not_regular",
            Self::HardLink => "hard_link",
            Self::TooSmall => "too_small",
            Self::TooLarge => "too_large",
            Self::NotReady => "not_ready",
            Self::NotPerfdata => "not_perfdata",
            Self::UnsupportedVersion => "unsupported_version",
            Self::Stale => "stale",
            Self::NoPasswdEntry => "no_passwd_entry",
            Self::PerfDisabled => "perf_disabled",
            Self::PrivateMemory => "private_memory",
            Self::OtherTmp => "other_tmp",
            Self::Collision => "collision",
            Self::Deleted => "deleted",
            Self::NotHotspot => "not_hotspot",
            Self::NotDumpable => "not_dumpable",
            Self::TooMany => "too_many",
            Self::IoError => "io_error",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that is not read, and why. At least one of `path` and `pid` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file or directory.
    pub path: Option<PathBuf>,
    /// The process, as numbered in the proc file system that was read.
    pub pid: Option<i32>,
    /// The reason, from the closed set.
    pub reason: RefusalReason,
    /// What was found and the remedy, in one sentence. Never holds a program's arguments.
    pub detail: String,
}

impl Refusal {
    /// The path, else `pid 4711`.
    pub fn subject(&self) -> String {
        match (&self.path, self.pid) {
            (Some(path), _) => path.display().to_string(),
            (None, pid) => format!("pid {}", pid.unwrap_or_default()),
        }
    }

    /// A file or directory that is not read.
    pub fn of_path(path: &Path, reason: RefusalReason, detail: impl Into<String>) -> Self {
        Self { path: Some(path.to_owned()), pid: None, reason, detail: detail.into() }
    }

    /// A process that is not read.
    pub fn of_pid(pid: i32, reason: RefusalReason, detail: impl Into<String>) -> Self {
        Self { path: None, pid: Some(pid), reason, detail: detail.into() }
    }

    /// What the operating system said when `path` was to be opened or listed.
    pub(super) fn of_errno(path: &Path, errno: Errno) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM => Self::of_path(
                path,
                RefusalReason::OtherOwner,
                "access is denied; run as the JVM's user, or grant CAP_DAC_READ_SEARCH",
            ),
            Errno::LOOP => Self::of_path(
                path,
                RefusalReason::Symlink,
                "a symbolic link, which is never followed; name its target as a root",
            ),
            Errno::NOTDIR => Self::of_path(path, RefusalReason::NotRegular, "not a directory; remove it"),
            other => {
                Self::of_path(path, RefusalReason::IoError, format!("{other}; see whether the file system is healthy"))
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.pid) {
            (Some(path), Some(pid)) => write!(f, "{} (process {pid})", path.display())?,
            (Some(path), None) => write!(f, "{}", path.display())?,
            (None, Some(pid)) => write!(f, "process {pid}")?,
            (None, None) => {}
        }
        write!(f, ": {}: {}", self.reason, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_snake_case_and_unique() {
        let mut labels: Vec<_> = RefusalReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), RefusalReason::ALL.len());
    }
}
