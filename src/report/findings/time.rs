//! Checks of time: when the application stood still, and why.

use super::check::{CPU_THROTTLED, Check, GC_TIME_SHARE_HIGH, HEAP_AFTER_GC_HIGH, SAFEPOINT_TIME_HIGH};
use super::{Checkup, ask_explain, longest, percent, pid, span, spans};
use crate::report::overview::{JvmOverview, Recent};

/// A share over a span of time, of the longest span in which it is above the threshold.
enum Share {
    Above(f64, f64),
    Within,
    Unknown,
}

fn share(jvm: &JvmOverview, check: &Check, of: impl Fn(&Recent) -> Option<f64>) -> Share {
    let mut shares = spans(jvm, check).filter_map(|recent| Some((of(recent)?, recent.seconds))).peekable();
    if shares.peek().is_none() {
        return Share::Unknown;
    }
    shares.find(|(share, _)| *share > check.share()).map_or(Share::Within, |(share, over)| Share::Above(share, over))
}

/// Why a share of the time is not known: nothing of the past is, or the JVM does not tell.
fn unknown(jvm: &JvmOverview, what: &str) -> String {
    if longest(jvm).is_none() { "nothing of the past is known".to_owned() } else { ask_explain(jvm, what) }
}

/// `GcTimeShareHigh`: collections stop it for much of its time.
pub(super) fn collections(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &Check = &GC_TIME_SHARE_HIGH;
    match share(jvm, CHECK, |recent| recent.gc_share) {
        Share::Above(share, over) => {
            let (share, over, threshold) = (percent(share), span(over), percent(CHECK.share()));
            const ELSE: &str = "look at what it allocates, at explicit System.gc(), and at CPU throttling, which makes \
                                pauses long.";
            let next = match jvm.values.old_usage_after_gc.map(|usage| (usage, percent(usage))) {
                Some((usage, said)) if usage > HEAP_AFTER_GC_HIGH.share() => format!(
                    "{said} of the old generation is in use after collections: the heap is too small for what lives in it. \
                     Find the leak, or raise -Xmx."
                ),
                Some((_, said)) => {
                    format!("{said} of the old generation is in use after collections, so the heap has room: {ELSE}")
                }
                None => format!("Compare the heap in use with its limit. If it has room, {ELSE}"),
            };
            checkup.found(CHECK.finding(
                format!("Collections stopped it for {share} of the last {over} (threshold {threshold})."),
                next,
            ));
        }
        Share::Within => {}
        Share::Unknown if jvm.row.description.gc.as_deref() == Some("Shenandoah") => {
            checkup.cannot(CHECK, || "Shenandoah does not publish the time of its collections");
        }
        Share::Unknown => checkup.cannot(CHECK, || unknown(jvm, "the time in collections is not known")),
    }
}

/// `SafepointTimeHigh`: it is stopped for much of its time, and not by collections.
pub(super) fn safepoints(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &Check = &SAFEPOINT_TIME_HIGH;
    match share(jvm, CHECK, |recent| Some(recent.stopped? - recent.gc_share.unwrap_or_default())) {
        Share::Above(share, over) => {
            let (share, over, threshold) = (percent(share), span(over), percent(CHECK.share()));
            checkup.found(CHECK.finding(
                format!("It was stopped for {share} of the last {over} outside collections (threshold {threshold})."),
                format!(
                    "`jcmd {} VM.log what=safepoint output=stderr` logs every stop with its cause (JDK 9 and later). Usual \
                     causes: thread dumps by an agent, long loops without a poll, no CPU to run on.",
                    pid(jvm)
                ),
            ));
        }
        Share::Within => {}
        Share::Unknown => checkup.cannot(CHECK, || unknown(jvm, "the time at safepoints is not known")),
    }
}

/// `CpuThrottled`: the quota of its cgroup stops it.
pub(super) fn throttling(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &Check = &CPU_THROTTLED;
    match share(jvm, CHECK, |recent| recent.throttled) {
        Share::Above(share, over) => {
            let (share, over, threshold) = (percent(share), span(over), percent(CHECK.share()));
            let limit = jvm.values.cpu_limit.map(|cpus| format!(" of {cpus:.2} CPUs")).unwrap_or_default();
            checkup.found(CHECK.finding(
                format!(
                    "Its CPU quota{limit} stopped it in {share} of the quota's periods over the last {over} (threshold \
                     {threshold})."
                ),
                "Raise or remove the CPU limit of the container or unit. If the collector or the compiler uses the CPU \
                 (jvm_hotspot_thread_cpu_time_seconds_total), give it fewer threads or more heap.",
            ));
        }
        Share::Within => {}
        Share::Unknown if jvm.values.last.contains_key(&crate::report::overview::Measure::Rss) => {
            checkup.cannot(CHECK, || "its cgroup has no CPU quota, did not run, or is not visible");
        }
        Share::Unknown => checkup.cannot(CHECK, || "its process is not visible in /proc"),
    }
}
