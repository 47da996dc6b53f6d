//! Why a JVM has no region that can be read.

use super::flags::Flags;
use super::refusal::{Refusal, RefusalReason};

/// Below this age, in seconds, a JVM without a region is taken to be starting.
pub(super) const STARTING: u64 = 5;

/// What was found out about a JVM without a readable region.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Its number.
    pub(super) pid: i32,
    /// Its effective user.
    pub(super) uid: u32,
    /// Seconds since its start.
    pub(super) age: u64,
    /// From its command line.
    pub(super) flags: Flags,
    /// Its map or its root directory is closed to the exporter.
    pub(super) denied: bool,
    /// It runs as the exporter's own user.
    pub(super) own_user: bool,
    /// What is wrong with the place where its file belongs, or with the file there.
    pub(super) obstacle: Option<Refusal>,
    /// Whether its own passwd file has its user; `None` if that could not be read.
    pub(super) has_passwd_entry: Option<bool>,
    /// A file of its number and user is there, and is not the one it writes.
    pub(super) foreign_file: bool,
}

/// The most specific reason.
pub(super) fn explain(facts: Facts) -> Refusal {
    let uid = facts.uid;
    let (reason, detail) = match facts {
        Facts { flags: Flags { perf_disabled: true, .. }, .. } => {
            (RefusalReason::PerfDisabled, "it runs with -XX:-UsePerfData; remove that flag".into())
        }
        Facts { flags: Flags { private_memory: true, .. }, .. } => {
            (RefusalReason::PrivateMemory, "it runs with -XX:+PerfDisableSharedMem; remove that flag".into())
        }
        Facts { denied: true, own_user: true, .. } => (
            RefusalReason::NotDumpable,
            "it is not dumpable, so its own user may not look at it; grant CAP_SYS_PTRACE, or name its temporary directory as a root".into(),
        ),
        Facts { denied: true, .. } => (
            RefusalReason::OtherOwner,
            format!("it runs as uid {uid}; run the exporter as that user, or grant CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
        ),
        Facts { obstacle: Some(obstacle), .. } if obstacle.reason != RefusalReason::NotReady => {
            return Refusal { pid: Some(facts.pid), ..obstacle };
        }
        Facts { age: 0..STARTING, .. } => (RefusalReason::NotReady, "it is starting; the next scan looks again".into()),
        Facts { flags: Flags { other_tmp: true, .. }, .. } => {
            (RefusalReason::OtherTmp, "it runs with -XX:AltTempDir; name that directory as a root".into())
        }
        Facts { has_passwd_entry: Some(false), .. } => (
            RefusalReason::NoPasswdEntry,
            format!("uid {uid} has no passwd entry, so it made no file; add one, or run it as a user that has one"),
        ),
        Facts { foreign_file: true, .. } => (
            RefusalReason::Collision,
            "the file of its number belongs to another JVM that shares its /tmp; give each container a /tmp of its own (subPath)".into(),
        ),
        _ => (
            RefusalReason::PrivateMemory,
            "it keeps its counters in private memory; look for -XX:+PerfDisableSharedMem or -XX:-UsePerfData in JAVA_TOOL_OPTIONS or an argument file, for a full or read-only /tmp, and for its warnings at start".into(),
        ),
    };
    Refusal::of_pid(facts.pid, reason, detail)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_most_specific_reason_wins() {
        let old = || Facts { pid: 7, age: 100, ..Facts::default() };
        let insecure = || Some(Refusal::of_path(Path::new("/tmp/hsperfdata_x"), RefusalReason::InsecureDirectory, "x"));
        let empty = || Some(Refusal::of_path(Path::new("/tmp/hsperfdata_x/7"), RefusalReason::NotReady, "x"));
        let disabled = Flags { perf_disabled: true, ..Flags::default() };
        for (facts, expected) in [
            (Facts { flags: disabled, denied: true, ..old() }, RefusalReason::PerfDisabled),
            (
                Facts { flags: Flags { private_memory: true, ..Flags::default() }, ..old() },
                RefusalReason::PrivateMemory,
            ),
            (Facts { denied: true, own_user: true, ..old() }, RefusalReason::NotDumpable),
            (Facts { denied: true, ..old() }, RefusalReason::OtherOwner),
            (Facts { obstacle: insecure(), ..old() }, RefusalReason::InsecureDirectory),
            (Facts { obstacle: empty(), age: 1, ..old() }, RefusalReason::NotReady),
            (Facts { obstacle: empty(), ..old() }, RefusalReason::PrivateMemory),
            (Facts { flags: Flags { other_tmp: true, ..Flags::default() }, ..old() }, RefusalReason::OtherTmp),
            (Facts { has_passwd_entry: Some(false), ..old() }, RefusalReason::NoPasswdEntry),
            (Facts { has_passwd_entry: Some(true), foreign_file: true, ..old() }, RefusalReason::Collision),
            (Facts { age: 1, foreign_file: true, ..old() }, RefusalReason::NotReady),
            (old(), RefusalReason::PrivateMemory),
        ] {
            let text = format!("{facts:?}");
            let refusal = explain(facts);
            assert_eq!((refusal.reason, refusal.pid), (expected, Some(7)), "{text}");
        }
    }
}
