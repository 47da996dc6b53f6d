//! Checks of the exporter's sight: JVMs that ended or stand still, counters that are missing, files that are not served.

use super::check::{
    CHECKS, EXPORTER_ERRORS, EXPORTER_RELOAD_FAILED, JVM_KILLED, JVM_TARGET_STALLED, OUT_OF_MEMORY_KILL,
    PERF_DATA_UNREADABLE, REGION_OVERFLOW,
};
use super::{Checkup, pid, size};
use crate::report::list::RefusedRow;
use crate::report::overview::{End, Finding, HowEnded, JvmOverview, Severity};
use crate::text::printable;

/// Reasons of refusals that are no trouble, as the alert `PerfDataUnreadable` leaves them out.
pub const NO_TROUBLE: [&str; 4] = ["stale", "not_hotspot", "not_ready", "other_owner"];

/// That of them which is trouble where no JVM is served.
pub const TROUBLE_ALONE: &str = "other_owner";

/// What is found of a JVM that has ended, about which nothing else is checked.
pub(super) fn ended(jvm: &JvmOverview, checkup: &mut Checkup) -> bool {
    let Some(End { how, .. }) = jvm.end else { return false };
    match how {
        HowEnded::OutOfMemory => {
            let limit = match (jvm.values.cgroup_used, jvm.values.cgroup_limit) {
                (Some(used), Some(limit)) => format!("; {} of {} were charged last", size(used), size(limit)),
                (None, Some(limit)) => format!("; its limit was {}", size(limit)),
                (_, None) => String::new(),
            };
            checkup.found(OUT_OF_MEMORY_KILL.finding(
                format!("It ended when its cgroup counted a kill for lack of memory{limit}."),
                "Lower -Xmx (or -XX:MaxRAMPercentage) or raise the container's limit: heap, stacks, classes, code and \
                 buffers must fit together. The kernel's log has the kill.",
            ));
        }
        HowEnded::Killed => checkup.found(JVM_KILLED.finding(
            "It ended and left its file behind: it was killed, or it crashed.".to_owned(),
            "Look for hs_err_pid*.log in its working directory, for a kill in the kernel's log, and at who sends signals.",
        )),
        HowEnded::Exited | HowEnded::Unknown => {}
    }
    true
}

/// What is found of a JVM whose counters say nothing, about which nothing else can be checked.
pub(super) fn silent(jvm: &JvmOverview, checkup: &mut Checkup) -> bool {
    let reason = match &*jvm.row.state {
        "starting" => "it is starting",
        "stalled" => "its counters stand still",
        _ => return false,
    };
    let is_stalled = jvm.row.state == "stalled";
    if is_stalled {
        let pid = pid(jvm);
        checkup.found(JVM_TARGET_STALLED.finding(
            "Its counters do not change (jvm_up is 0): it is stopped or frozen, or was killed where that cannot be seen."
                .to_owned(),
            format!(
                "`ps -o pid,stat,wchan -p {pid}`: T is stopped (`kill -CONT {pid}`), D waits for a disk. Is its cgroup \
                 frozen, or does it write a core dump?"
            ),
        ));
    }
    let seen = [JVM_TARGET_STALLED, JVM_KILLED, PERF_DATA_UNREADABLE, EXPORTER_RELOAD_FAILED, EXPORTER_ERRORS];
    CHECKS.iter().filter(|check| !seen.contains(check)).for_each(|check| checkup.cannot(check, || reason));
    true
}

/// `RegionOverflow`: counters are missing.
pub(super) fn overflow(jvm: &JvmOverview, checkup: &mut Checkup) {
    if let Some(bytes) = jvm.row.overflow.filter(|bytes| *bytes > 0) {
        checkup.found(REGION_OVERFLOW.finding(
            format!("{bytes} bytes of counters did not fit into its region, so names and metrics are missing."),
            "Start it with -XX:PerfDataMemorySize=64K.",
        ));
    }
}

/// What is found of a file or process that is not served, beside other JVMs that are served or not.
pub fn refusal(row: &RefusedRow, serves_any: bool) -> Finding {
    let reason = row.reason.as_str();
    let is_trouble = !NO_TROUBLE.contains(&reason) || (reason == TROUBLE_ALONE && !serves_any);
    let text = format!("{}: {}: {}", printable(&row.subject()), printable(reason), printable(&row.detail));
    let mut finding = PERF_DATA_UNREADABLE.finding(text, printable(&row.remedy).into_owned());
    if !is_trouble {
        finding.severity = Severity::Info;
    }
    finding
}
