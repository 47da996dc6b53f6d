//! Why a JVM has no readable region.

use super::flags::PerfDataFlags;
use super::refusal::{Refusal, RefusalReason};

/// Below this age, in seconds, a JVM without a region counts as starting.
pub(super) const STARTING: u64 = 5;

/// What is known about a JVM without a readable region.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) pid: i32,
    /// Effective user id.
    pub(super) uid: u32,
    /// Seconds since its start.
    pub(super) age: u64,
    /// From its command line.
    pub(super) flags: PerfDataFlags,
    /// The exporter may not read its memory map or its root directory.
    pub(super) denied: bool,
    /// It runs as the exporter's own user.
    pub(super) own_user: bool,
    /// The refusal of the directory or file where its region is expected.
    pub(super) obstacle: Option<Refusal>,
    /// Whether its own passwd file has its user; `None` if that could not be read.
    pub(super) has_passwd_entry: Option<bool>,
    /// A file of its number and user exists, and is not the one that it writes.
    pub(super) foreign_file: bool,
}

/// The refusal with the most specific reason.
pub(super) fn diagnose(findings: Findings) -> Refusal {
    let (pid, uid) = (findings.pid, findings.uid);
    let refuse = |reason, detail: &str| Refusal::of_pid(pid, reason, detail);
    match findings {
        Findings { flags: PerfDataFlags { disabled: true, .. }, .. } => {
            refuse(RefusalReason::PerfDisabled, "it runs with -XX:-UsePerfData")
        }
        Findings { flags: PerfDataFlags { private_memory: true, .. }, .. } => {
            refuse(RefusalReason::PrivateMemory, "it runs with -XX:+PerfDisableSharedMem, so it creates no file")
                .with_remedy("Remove -XX:+PerfDisableSharedMem from the JVM's options.")
        }
        Findings { denied: true, own_user: true, .. } => {
            refuse(RefusalReason::NotDumpable, "it is not dumpable, so not even its own user may examine it")
        }
        Findings { denied: true, .. } => {
            let detail = format!("it runs as uid {uid}, and the exporter may not examine processes of that user");
            refuse(RefusalReason::OtherOwner, &detail).with_remedy(format!(
                "Run the exporter as uid {uid}, or grant it CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH."
            ))
        }
        Findings { obstacle: Some(obstacle), .. } if obstacle.reason != RefusalReason::NotReady => {
            Refusal { pid: Some(pid), ..obstacle }
        }
        Findings { age: 0..STARTING, .. } => refuse(RefusalReason::NotReady, "the JVM is starting"),
        Findings { flags: PerfDataFlags { other_tmp: true, .. }, .. } => {
            refuse(RefusalReason::OtherTmp, "it runs with -XX:AltTempDir")
                .with_remedy("Configure the directory of -XX:AltTempDir as a root.")
        }
        Findings { has_passwd_entry: Some(false), .. } => {
            let detail = format!("uid {uid} has no entry in the JVM's /etc/passwd, so the JVM created no file");
            refuse(RefusalReason::NoPasswdEntry, &detail)
                .with_remedy(format!("Add an entry for uid {uid} to the /etc/passwd of the JVM's image."))
        }
        Findings { foreign_file: true, .. } => refuse(
            RefusalReason::Collision,
            "the file of its number belongs to another JVM, from another pid namespace, that shares its /tmp",
        ),
        _ => refuse(
            RefusalReason::PrivateMemory,
            "it keeps its counters in private memory, and its command line does not say why",
        )
        .with_remedy(
            "Look for -XX:+PerfDisableSharedMem and -XX:-UsePerfData in JAVA_TOOL_OPTIONS and argument files, for a full or read-only /tmp, and for warnings in the JVM's output.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_most_specific_reason_wins() {
        let old = || Findings { pid: 7, uid: 1001, age: 100, ..Findings::default() };
        let insecure = || Some(Refusal::of_path(Path::new("/tmp/hsperfdata_x"), RefusalReason::InsecureDirectory, "x"));
        let empty = || Some(Refusal::of_path(Path::new("/tmp/hsperfdata_x/7"), RefusalReason::NotReady, "x"));
        let flags = PerfDataFlags::default();
        for (findings, expected, remedy) in [
            (
                Findings { flags: PerfDataFlags { disabled: true, ..flags }, denied: true, ..old() },
                RefusalReason::PerfDisabled,
                "-XX:-UsePerfData",
            ),
            (
                Findings { flags: PerfDataFlags { private_memory: true, ..flags }, ..old() },
                RefusalReason::PrivateMemory,
                "-XX:+PerfDisableSharedMem",
            ),
            (Findings { denied: true, own_user: true, ..old() }, RefusalReason::NotDumpable, "CAP_SYS_PTRACE"),
            (Findings { denied: true, ..old() }, RefusalReason::OtherOwner, "as uid 1001"),
            (Findings { obstacle: insecure(), ..old() }, RefusalReason::InsecureDirectory, "at /tmp"),
            (Findings { obstacle: empty(), age: 1, ..old() }, RefusalReason::NotReady, "Wait"),
            (Findings { obstacle: empty(), ..old() }, RefusalReason::PrivateMemory, "JAVA_TOOL_OPTIONS"),
            (
                Findings { flags: PerfDataFlags { other_tmp: true, ..flags }, ..old() },
                RefusalReason::OtherTmp,
                "-XX:AltTempDir",
            ),
            (Findings { has_passwd_entry: Some(false), ..old() }, RefusalReason::NoPasswdEntry, "uid 1001"),
            (
                Findings { has_passwd_entry: Some(true), foreign_file: true, ..old() },
                RefusalReason::Collision,
                "subPath",
            ),
            (Findings { age: 1, foreign_file: true, ..old() }, RefusalReason::NotReady, "Wait"),
            (old(), RefusalReason::PrivateMemory, "read-only /tmp"),
        ] {
            let text = format!("{findings:?}");
            let refusal = diagnose(findings);
            assert_eq!((refusal.reason, refusal.pid), (expected, Some(7)), "{text}");
            assert!(refusal.remedy.contains(remedy), "{text}: {}", refusal.remedy);
        }
    }
}
