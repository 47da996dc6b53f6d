//! Why something that looks like a JVM is not served, and what the operator can do about it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The closed set of reasons. [`RefusalReason::as_str`] is the value of the `reason` label. The message of each is
/// [`RefusalReason::remedy`].
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::EnumMessage,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum RefusalReason {
    /// The operating system denies access, or the file belongs to another user than its directory.
    #[strum(message = "Run the exporter as the JVM's user, or grant it CAP_DAC_READ_SEARCH.")]
    OtherOwner,
    /// The directory is writable by group or others; HotSpot does not use it either.
    #[strum(
        message = "Mount the volume at /tmp and not at /tmp/hsperfdata_USER, or run `chmod go-w` on the directory."
    )]
    InsecureDirectory,
    /// A symbolic link in place of a directory or file.
    #[strum(message = "Remove the link, or configure its target as a root.")]
    Symlink,
    /// A FIFO, socket, device or directory in place of a file.
    #[strum(message = "Remove it: HotSpot creates directories and regular files only.")]
    NotRegular,
    /// The file has several names.
    #[strum(message = "Remove the additional names of the file.")]
    HardLink,
    /// Fewer bytes than a prologue.
    #[strum(message = "Remove the file: no JVM uses it.")]
    TooSmall,
    /// More bytes than a supported region has.
    #[strum(
        message = "Start the JVM with -XX:PerfDataMemorySize of at most 32M, or remove the file if no JVM uses it."
    )]
    TooLarge,
    /// The JVM is still creating its file; the next scan examines it again.
    #[strum(message = "Wait for the next scan.")]
    NotReady,
    /// The content is not a PerfData region.
    #[strum(message = "Remove the file: HotSpot did not write it.")]
    NotPerfdata,
    /// An unsupported format version.
    #[strum(message = "Report the JVM's version as an issue of the exporter.")]
    UnsupportedVersion,
    /// The JVM that created the file is dead.
    #[strum(message = "Ignore it: the next JVM of that user deletes the file.")]
    Stale,
    /// The user has no passwd entry, so the JVM created no file.
    #[strum(
        message = "Add the user to the /etc/passwd of the JVM's image, or grant the exporter CAP_SYS_PTRACE to read the memory."
    )]
    NoPasswdEntry,
    /// `-XX:-UsePerfData`
    #[strum(message = "Remove -XX:-UsePerfData from the JVM's options.")]
    PerfDisabled,
    /// `-XX:+PerfDisableSharedMem`, or another cause that keeps the counters in private memory.
    #[strum(
        message = "Remove -XX:+PerfDisableSharedMem from the JVM's options, or grant the exporter CAP_SYS_PTRACE to read the memory."
    )]
    PrivateMemory,
    /// The JVM's temporary directory is below no root.
    #[strum(
        message = "Configure the parent of the JVM's hsperfdata_* as a root, or grant the exporter CAP_SYS_PTRACE to read the memory."
    )]
    OtherTmp,
    /// The file belongs to another JVM of that pid, or two paths lead to one JVM.
    #[strum(message = "Give each container a /tmp of its own, such as a subPath of the volume.")]
    Collision,
    /// The file was deleted while its JVM runs.
    #[strum(message = "Exclude hsperfdata_* from the cleaning of /tmp, and restart the JVM.")]
    Deleted,
    /// A process named `java` that does not run HotSpot.
    #[strum(message = "Ignore it: only HotSpot publishes these counters.")]
    NotHotspot,
    /// The process is not dumpable, which closes its memory map and root even to its own user.
    #[strum(message = "Grant CAP_SYS_PTRACE, or configure the JVM's temporary directory as a root.")]
    NotDumpable,
    /// More names, directories or JVMs than one scan examines.
    #[strum(message = "Raise limits.max_jvms.")]
    TooMany,
    /// The kernel holds whoever reads the JVM's memory or the files of its root.
    #[strum(
        message = "End the process, unless you know why its memory or its file system does not answer, and start it anew."
    )]
    Unresponsive,
    /// The operating system reported an error.
    #[strum(message = "Check the file system and the kernel's log.")]
    IoError,
}

impl RefusalReason {
    /// Every reason, for metrics that report zeros too.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The label value.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// What the operator can do where nothing more specific is known: one sentence in the imperative. Where nothing can
    /// be done, it says so.
    ///
    /// The table in `docs/troubleshooting.md` holds the same sentences.
    pub fn remedy(self) -> &'static str {
        strum::EnumMessage::get_message(&self).unwrap_or_default()
    }
}

/// Something that is not served, and why. At least one of `path` and `pid` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file or directory.
    pub path: Option<PathBuf>,
    /// The process, by its number in the proc file system that was read.
    pub pid: Option<i32>,
    /// The reason, from the closed set.
    pub reason: RefusalReason,
    /// What was found and, where it helps, what was expected. It never holds a program's arguments.
    pub detail: String,
    /// What the operator can do: one sentence in the imperative. It never holds a path, which another user may have
    /// chosen, since the landing page groups refusals by it.
    pub remedy: Cow<'static, str>,
}

impl Refusal {
    /// The path, else `pid 4711`.
    pub(crate) fn subject(&self) -> String {
        match (&self.path, self.pid) {
            (Some(path), _) => path.display().to_string(),
            (None, pid) => format!("pid {}", pid.unwrap_or_default()),
        }
    }

    /// A file or directory that is not served, with the remedy of its reason.
    pub(crate) fn of_path(path: &Path, reason: RefusalReason, detail: impl Into<String>) -> Self {
        let remedy = reason.remedy().into();
        Self { path: Some(path.to_owned()), pid: None, reason, detail: detail.into(), remedy }
    }

    /// A process that is not served, with the remedy of its reason.
    pub(crate) fn of_pid(pid: i32, reason: RefusalReason, detail: impl Into<String>) -> Self {
        Self { path: None, pid: Some(pid), reason, detail: detail.into(), remedy: reason.remedy().into() }
    }

    /// The same with a more specific remedy.
    pub(crate) fn with_remedy(self, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// The operating system's error when `path` was opened or listed.
    pub(super) fn of_errno(path: &Path, errno: Errno) -> Self {
        match errno {
            Errno::ACCESS | Errno::PERM => Self::of_path(path, RefusalReason::OtherOwner, "access is denied"),
            Errno::LOOP => Self::of_path(path, RefusalReason::Symlink, "a symbolic link, and none is followed"),
            Errno::NOTDIR => Self::of_path(path, RefusalReason::NotRegular, "not a directory"),
            other => Self::of_path(path, RefusalReason::IoError, other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_are_snake_case_and_unique() {
        let labels: BTreeSet<_> = RefusalReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        assert_eq!(labels.len(), RefusalReason::ALL.len());
    }

    #[test]
    fn every_reason_has_a_remedy_of_its_own() {
        let remedies: BTreeSet<_> = RefusalReason::ALL.iter().map(|reason| reason.remedy()).collect();
        assert_eq!(remedies.len(), RefusalReason::ALL.len());
        for remedy in remedies {
            assert!(remedy.starts_with(|c: char| c.is_ascii_uppercase()), "{remedy}");
            assert!(remedy.ends_with('.') && !remedy.contains(". "), "one sentence: {remedy}");
        }
    }

    #[test]
    fn errors_of_the_operating_system_have_reasons() {
        for (errno, expected) in [
            (Errno::ACCESS, RefusalReason::OtherOwner),
            (Errno::PERM, RefusalReason::OtherOwner),
            (Errno::LOOP, RefusalReason::Symlink),
            (Errno::NOTDIR, RefusalReason::NotRegular),
            (Errno::NFILE, RefusalReason::IoError),
        ] {
            let refusal = Refusal::of_errno(Path::new("/tmp/x"), errno);
            assert_eq!((refusal.reason, &*refusal.remedy), (expected, expected.remedy()), "{errno}");
        }
    }
}
