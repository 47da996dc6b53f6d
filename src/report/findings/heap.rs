//! Checks of the heap: what collections leave of it.

use super::check::{FULL_WITHIN, HEAP_AFTER_GC_HIGH, OLD_GEN_FILLING_UP};
use super::{Checkup, TREND, ask_explain, longest, percent, pid, span, spans};
use crate::report::overview::{JvmOverview, Severity};

/// Collectors that let garbage fill the old generation until a full collection: its use after others says little.
const FILLS_WITH_GARBAGE: [&str; 2] = ["Serial", "Parallel"];

/// Collectors that do not publish what a collection left.
const PUBLISHES_NOTHING: [&str; 4] = ["ZGC", "Shenandoah", "CMS", "Epsilon"];

fn collector(jvm: &JvmOverview) -> &str {
    jvm.row.description.gc.as_deref().unwrap_or_default()
}

/// Why it is unknown what a collection left.
fn unknown(jvm: &JvmOverview) -> String {
    let collector = collector(jvm);
    if PUBLISHES_NOTHING.contains(&collector) {
        return format!("{collector} does not publish what a collection leaves");
    }
    match longest(jvm) {
        Some(recent) => format!("no collection was seen to end in {}", span(recent.seconds)),
        None => ask_explain(jvm, "what a collection left is not known"),
    }
}

/// `HeapAfterGcHigh`: the old generation is nearly full after collections.
pub(super) fn after_collections(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &super::Check = &HEAP_AFTER_GC_HIGH;
    let Some(usage) = jvm.values.old_usage_after_gc else { return checkup.cannot(CHECK, || unknown(jvm)) };
    let threshold = percent(CHECK.share());
    let next = format!(
        "Is it a leak, or is the heap too small for the load? `jcmd {pid} GC.class_histogram` names the classes that fill it \
         (it stops the application for a full collection). Take a heap dump before a restart, or raise -Xmx.",
        pid = pid(jvm)
    );
    if !FILLS_WITH_GARBAGE.contains(&collector(jvm)) {
        if usage > CHECK.share() {
            let usage = percent(usage);
            checkup.found(CHECK.finding(
                format!("{usage} of the old generation is in use after the last collection (threshold {threshold})."),
                next,
            ));
        }
        return;
    }
    let full = spans(jvm, CHECK).find(|recent| recent.full_collections > Some(0.0));
    match full.map(|recent| (recent, recent.lowest_old_usage)) {
        Some((recent, Some(lowest))) if lowest > CHECK.share() => checkup.found(CHECK.finding(
            format!(
                "{} of the old generation stayed in use through {:.0} full collections over the last {} \
                 (threshold {threshold}).",
                percent(lowest),
                recent.full_collections.unwrap_or_default(),
                span(recent.seconds),
            ),
            next,
        )),
        Some((_, Some(_))) => {}
        _ if usage <= CHECK.share() => {}
        _ => {
            checkup.cannot(CHECK, || {
                let past = longest(jvm).map_or_else(String::new, |recent| format!(" in {}", span(recent.seconds)));
                format!(
                    "the old generation is {} full, which may be garbage under {}: no full collection was seen{past}",
                    percent(usage),
                    collector(jvm)
                )
            });
        }
    }
}

/// `OldGenFillingUp`: at its growth, the old generation is full soon.
pub(super) fn filling_up(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &super::Check = &OLD_GEN_FILLING_UP;
    if FILLS_WITH_GARBAGE.contains(&collector(jvm)) {
        return checkup.cannot(CHECK, || format!("under {} garbage fills the old generation as well", collector(jvm)));
    }
    let Some(usage) = jvm.values.old_usage_after_gc else { return checkup.cannot(CHECK, || unknown(jvm)) };
    let Some(recent) = spans(jvm, CHECK).find(|recent| recent.old_growth.is_some()) else {
        return checkup.cannot(CHECK, || "the growth of what collections leave is not known");
    };
    let growth = recent.old_growth.unwrap_or_default();
    if recent.seconds < TREND {
        let known = span(recent.seconds);
        return checkup.cannot(CHECK, || format!("{known} of history are known, and a trend needs {}", span(TREND)));
    }
    let full_in = (1.0 - usage) / growth * recent.seconds;
    if usage > CHECK.share() && growth > 0.0 && full_in < FULL_WITHIN {
        let (needed, known) = (CHECK.over.unwrap_or_default(), recent.seconds);
        let mut finding = CHECK.finding(
            format!(
                "{} of the old generation is in use after collections (threshold {}), {} more than {} ago; at this rate \
                 it is full in {}. The alert looks at {}.",
                percent(usage),
                percent(CHECK.share()),
                percent(growth),
                span(known),
                span(full_in),
                span(needed),
            ),
            "Does a full collection reduce it? Is a cache still filling? If it goes on, take a heap dump \
             (`jcmd PID GC.heap_dump FILE`, which stops the application) and plan a restart."
                .replace("PID", &pid(jvm)),
        );
        if known < needed {
            finding.severity = Severity::Info;
        }
        checkup.found(finding);
    }
}
