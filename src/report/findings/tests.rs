//! Every check below, at and above its threshold, and with what it lacks.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use super::*;
use crate::report::list::{JvmDescription, JvmRow, RefusedRow};
use crate::report::overview::{End, HowEnded, Measure, Severity};

/// A JVM of which everything is known over the last one, five and fifteen minutes, and nothing is wrong.
fn healthy() -> JvmOverview {
    let span = |seconds| Recent {
        seconds,
        stopped: Some(0.01),
        gc_share: Some(0.005),
        throttled: Some(0.0),
        full_collections: Some(1.0),
        lowest_old_usage: Some(0.3),
        old_growth: Some(0.0),
        native_growth: Some(0.0),
        oom_kills: Some(0.0),
    };
    let description = JvmDescription {
        app: Some("orders".to_owned()),
        slot: Some(0),
        pid: Some(4711),
        gc: Some("G1".to_owned()),
        ..JvmDescription::default()
    };
    let mut jvm = JvmOverview {
        row: JvmRow { state: "mapped".into(), uptime_seconds: Some(86_400.0), ..description.into() },
        recent: [60.0, 300.0, 900.0].map(span).to_vec(),
        ..JvmOverview::default()
    };
    let values = &mut jvm.values;
    values.last.insert(Measure::NativeCommitted, 500.0);
    values.last.insert(Measure::Rss, 400.0);
    values.old_usage_after_gc = Some(0.4);
    values.cgroup_limit = Some(1000.0);
    values.code_usage = Some(0.5);
    values.metaspace_usage = Some(0.5);
    values.class_space_usage = Some(0.5);
    values.jit_enabled = Some(true);
    values.nmt_enabled = Some(true);
    jvm
}

fn with(change: impl FnOnce(&mut JvmOverview)) -> JvmOverview {
    let mut jvm = healthy();
    change(&mut jvm);
    jvm
}

/// The healthy JVM with one value that holds over all of the past.
fn always(change: impl Fn(&mut Recent)) -> JvmOverview {
    with(|jvm| jvm.recent.iter_mut().for_each(change))
}

/// Names and severities of what is found.
fn found(jvm: &JvmOverview) -> Vec<(String, Severity)> {
    findings(jvm).into_iter().map(|finding| (finding.name, finding.severity)).collect()
}

/// The one finding.
fn only(jvm: &JvmOverview) -> Finding {
    match <[Finding; 1]>::try_from(findings(jvm)) {
        Ok([finding]) => finding,
        Err(findings) => panic!("{findings:#?}"),
    }
}

/// The reason for which a check was not possible.
fn lack(jvm: &JvmOverview, check: &str) -> Option<String> {
    let not_checked = Checkup::of(jvm).not_checked;
    not_checked.into_iter().find(|lack| lack.name == check).map(|lack| lack.reason)
}

#[test]
fn a_healthy_jvm_has_no_finding_and_lacks_no_check() {
    assert_eq!(Checkup::of(&healthy()), Checkup::default());
}

#[test]
fn a_jvm_of_which_nothing_is_known_passes_no_check() {
    let nothing = JvmOverview { row: JvmRow { state: "mapped".into(), ..JvmRow::default() }, ..Default::default() };
    let Checkup { findings, not_checked, .. } = Checkup::of(&nothing);
    assert_eq!(findings, []);
    let lacking: Vec<_> = not_checked.iter().map(|lack| &*lack.name).collect();
    // Absent counters are those that fit, and an end, a stop and a refusal are seen without values.
    let seen = [
        "JvmTargetStalled",
        "JvmKilled",
        "RegionOverflow",
        "PerfDataUnreadable",
        "ExporterReloadFailed",
        "ExporterErrors",
    ];
    for check in CHECKS {
        assert_eq!(lacking.contains(&check.name), !seen.contains(&check.name), "{}", check.name);
    }
}

#[test]
fn levels_and_shares_are_found_above_their_thresholds_only() {
    fn past(jvm: &mut JvmOverview, set: impl Fn(&mut Recent)) {
        jvm.recent.iter_mut().for_each(set);
    }
    type Set<'a> = &'a dyn Fn(&mut JvmOverview, f64);
    let rows: [(&str, f64, Set<'_>); 10] = [
        ("HeapAfterGcHigh", 0.9, &|jvm, value| jvm.values.old_usage_after_gc = Some(value)),
        ("GcTimeShareHigh", 0.1, &|jvm, value| past(jvm, |recent| recent.gc_share = Some(value))),
        ("SafepointTimeHigh", 0.05, &|jvm, value| {
            past(jvm, |recent| (recent.stopped, recent.gc_share) = (Some(value), Some(0.0)))
        }),
        ("SafepointTimeHigh", 0.05, &|jvm, value| {
            past(jvm, |recent| (recent.stopped, recent.gc_share) = (Some(value), None))
        }),
        ("CpuThrottled", 0.25, &|jvm, value| past(jvm, |recent| recent.throttled = Some(value))),
        ("NmtNearContainerLimit", 0.9, &|jvm, value| {
            jvm.values.last.insert(Measure::NativeCommitted, value * 1000.0);
        }),
        ("MetaspaceNearLimit", 0.9, &|jvm, value| jvm.values.metaspace_usage = Some(value)),
        ("MetaspaceNearLimit", 0.9, &|jvm, value| jvm.values.class_space_usage = Some(value)),
        ("CodeCacheFull", 0.9, &|jvm, value| jvm.values.code_usage = Some(value)),
        ("CodeCacheFull", 0.9, &|jvm, value| {
            (jvm.values.code_usage, jvm.values.native_code_usage) = (None, Some(value));
        }),
    ];
    for (name, threshold, set) in rows {
        for (value, expected) in [(threshold - 0.01, false), (threshold, false), (threshold + 0.01, true)] {
            let jvm = with(|jvm| set(jvm, value));
            let expected = if expected { vec![(name.to_owned(), Severity::Warning)] } else { vec![] };
            // Time in collections is time at safepoints, too.
            let found: Vec<_> = found(&jvm).into_iter().filter(|(found, _)| found == name).collect();
            assert_eq!(found, expected, "{name} at {value}");
        }
    }
}

#[test]
fn time_is_told_of_the_longest_span_that_an_alert_would_see() {
    let shares = |shares: [f64; 3]| {
        with(|jvm| {
            for (recent, share) in jvm.recent.iter_mut().zip(shares) {
                (recent.stopped, recent.gc_share) = (Some(share), Some(share));
            }
        })
    };
    let text = |jvm: &JvmOverview| only(jvm).text;
    assert!(text(&shares([0.5, 0.2, 0.0])).contains("20 % of the last 5 min (threshold 10 %)"));
    assert!(text(&shares([0.5, 0.1, 0.0])).contains("50 % of the last 60 s"));
    assert_eq!(found(&shares([0.0, 0.0, 0.9])), [], "the alert looks at no more than 5 minutes");
    let short = with(|jvm| jvm.recent = vec![Recent { seconds: 10.2, gc_share: Some(0.123), ..Recent::default() }]);
    assert!(text(&short).starts_with("Collections stopped it for 12.3 % of the last 10 s"));
}

#[test]
fn under_serial_and_parallel_only_a_full_collection_proves_a_full_heap() {
    let of = |gc: &str, usage, past: &[(f64, f64, f64)]| {
        with(|jvm| {
            Arc::make_mut(&mut jvm.row.description).gc = Some(gc.to_owned());
            jvm.values.old_usage_after_gc = Some(usage);
            jvm.recent = past
                .iter()
                .map(|&(seconds, full, lowest)| Recent {
                    seconds,
                    full_collections: Some(full),
                    lowest_old_usage: Some(lowest),
                    ..Recent::default()
                })
                .collect();
        })
    };
    for gc in ["Serial", "Parallel"] {
        let full = only(&of(gc, 0.95, &[(60.0, 0.0, 0.95), (300.0, 2.0, 0.93)]));
        assert_eq!((&*full.name, full.severity), ("HeapAfterGcHigh", Severity::Warning));
        assert!(full.text.contains("93 %") && full.text.contains("2 full collections over the last 5 min"), "{full:?}");
        let emptied = of(gc, 0.95, &[(60.0, 1.0, 0.3)]);
        assert_eq!((found(&emptied), lack(&emptied, "HeapAfterGcHigh")), (vec![], None));
        let low = of(gc, 0.5, &[(60.0, 0.0, 0.5)]);
        assert_eq!((found(&low), lack(&low, "HeapAfterGcHigh")), (vec![], None));
        let garbage = of(gc, 0.95, &[(60.0, 0.0, 0.95), (900.0, 1.0, 0.92)]);
        assert_eq!(found(&garbage), [], "the alert looks at no more than 10 minutes");
        let reason = lack(&garbage, "HeapAfterGcHigh").unwrap();
        assert!(reason.contains("95 % full") && reason.contains("no full collection"), "{reason}");
    }
}

#[test]
fn collectors_that_do_not_tell_are_not_checked() {
    for gc in ["ZGC", "Shenandoah"] {
        let jvm = with(|jvm| {
            Arc::make_mut(&mut jvm.row.description).gc = Some(gc.to_owned());
            jvm.values.old_usage_after_gc = None;
            jvm.recent.iter_mut().for_each(|recent| recent.gc_share = None);
        });
        let reason = Some(format!("{gc} does not publish what a collection leaves"));
        assert_eq!((lack(&jvm, "HeapAfterGcHigh"), lack(&jvm, "OldGenFillingUp")), (reason.clone(), reason));
        assert!(lack(&jvm, "GcTimeShareHigh").is_some() && lack(&jvm, "SafepointTimeHigh").is_none());
    }
    let quiet = with(|jvm| jvm.values.old_usage_after_gc = None);
    assert_eq!(lack(&quiet, "HeapAfterGcHigh").unwrap(), "no collection was seen to end in 15 min");
}

#[test]
fn a_heap_that_fills_is_better_known_while_the_past_is_short() {
    let filling = |usage, growth, seconds| {
        with(|jvm| {
            jvm.values.old_usage_after_gc = Some(usage);
            jvm.recent = vec![Recent { seconds, old_growth: Some(growth), ..Recent::default() }];
        })
    };
    let finding = only(&filling(0.7, 0.1, 900.0));
    assert_eq!((&*finding.name, finding.severity), ("OldGenFillingUp", Severity::Info));
    assert!(finding.text.contains("full in 45 min") && finding.text.contains("alert looks at 3 h"), "{}", finding.text);
    assert_eq!(only(&filling(0.7, 0.3, 10_800.0)).severity, Severity::Warning);
    for (usage, growth) in [(0.6, 0.1), (0.7, 0.0), (0.7, -0.1), (0.7, 0.3 * 900.0 / FULL_WITHIN)] {
        assert_eq!(found(&filling(usage, growth, 900.0)), [], "{usage} and {growth}");
    }
    let short = filling(0.7, 0.1, 60.0);
    assert_eq!(found(&short), []);
    assert_eq!(lack(&short, "OldGenFillingUp").unwrap(), "60 s of history are known, and a trend needs 5 min");
}

#[test]
fn native_growth_counts_once_a_jvm_has_warmed_up() {
    const MIB: f64 = 1024.0 * 1024.0;
    let growing = |growth, seconds, uptime| {
        with(|jvm| {
            jvm.row.uptime_seconds = Some(uptime);
            jvm.recent = vec![Recent { seconds, native_growth: Some(growth), ..Recent::default() }];
        })
    };
    let day = 86_400.0;
    for (growth, seconds, expected) in [
        (257.0 * MIB, 21_600.0, Some(Severity::Warning)),
        (256.0 * MIB, 21_600.0, None),
        (257.0 * MIB, 900.0, Some(Severity::Warning)),
        // A 24th of the time: at this rate it would be above.
        (11.0 * MIB, 900.0, Some(Severity::Info)),
        (10.0 * MIB, 900.0, None),
        (-300.0 * MIB, 900.0, None),
    ] {
        let expected: Vec<_> =
            expected.map(|severity| ("NmtGrowthOutsideHeap".to_owned(), severity)).into_iter().collect();
        assert_eq!(found(&growing(growth, seconds, day)), expected, "{growth} in {seconds} s");
    }
    let young = growing(300.0 * MIB, 900.0, 4000.0);
    assert_eq!(found(&young), []);
    let reason = lack(&young, "NmtGrowthOutsideHeap").unwrap();
    assert!(reason.contains("grew by 300.0 MiB over the last 15 min"), "{reason}");
    assert!(lack(&growing(300.0 * MIB, 10.0, day), "NmtGrowthOutsideHeap").unwrap().contains("over the last 10 s"));
    let untold = with(|jvm| jvm.recent.iter_mut().for_each(|recent| recent.native_growth = None));
    assert_eq!(lack(&untold, "NmtGrowthOutsideHeap").unwrap(), "native memory was told only once so far");
}

#[test]
fn states_are_found_and_what_depends_on_them_is_not_checked() {
    let off = with(|jvm| {
        jvm.values.nmt_enabled = Some(false);
        jvm.values.last.remove(&Measure::NativeCommitted);
        jvm.recent.iter_mut().for_each(|recent| recent.native_growth = None);
    });
    assert_eq!(found(&off), [("NmtOff".to_owned(), Severity::Info)]);
    for check in ["NmtGrowthOutsideHeap", "NmtNearContainerLimit"] {
        assert_eq!(lack(&off, check).unwrap(), "Native Memory Tracking is off");
    }
    let interpreted = with(|jvm| jvm.values.jit_enabled = Some(false));
    assert_eq!(found(&interpreted), [("CompilerOff".to_owned(), Severity::Warning)]);
    let overflown = with(|jvm| jvm.row.overflow = Some(4242));
    assert_eq!(found(&overflown), [("RegionOverflow".to_owned(), Severity::Warning)]);
    assert!(only(&overflown).text.starts_with("4242 bytes"));
    assert_eq!(found(&with(|jvm| jvm.row.overflow = Some(0))), []);
    let unlimited = with(|jvm| jvm.values.cgroup_limit = None);
    assert!(lack(&unlimited, "NmtNearContainerLimit").unwrap().contains("no memory limit"));
}

#[test]
fn a_jvm_that_stands_still_or_starts_is_not_checked_otherwise() {
    let stalled = with(|jvm| {
        jvm.row.state = "stalled".into();
        jvm.values.old_usage_after_gc = Some(0.99);
    });
    assert_eq!(found(&stalled), [("JvmTargetStalled".to_owned(), Severity::Critical)]);
    assert!(only(&stalled).next_step.contains("kill -CONT 4711"));
    assert_eq!(lack(&stalled, "HeapAfterGcHigh").unwrap(), "its counters stand still");
    let starting = with(|jvm| jvm.row.state = "starting".into());
    assert_eq!((found(&starting), lack(&starting, "CpuThrottled").unwrap()), (vec![], "it is starting".to_owned()));
}

#[test]
fn an_end_is_told_by_how_it_came() {
    for (how, expected) in [
        (HowEnded::OutOfMemory, Some(("OutOfMemoryKill", Severity::Critical))),
        (HowEnded::Killed, Some(("JvmKilled", Severity::Warning))),
        (HowEnded::Exited, None),
        (HowEnded::Unknown, None),
    ] {
        let ended = with(|jvm| {
            jvm.end = Some(End { at: 1.0, how });
            jvm.values.old_usage_after_gc = Some(0.99);
        });
        let expected: Vec<_> = expected.map(|(name, severity)| (name.to_owned(), severity)).into_iter().collect();
        assert_eq!((found(&ended), Checkup::of(&ended).not_checked), (expected, vec![]), "{how:?}");
    }
    let other = always(|recent| recent.oom_kills = Some(2.0));
    assert_eq!(found(&other), [("OutOfMemoryKill".to_owned(), Severity::Critical)]);
    assert!(only(&other).text.contains("killed 2 processes") && only(&other).text.contains("15 min"));
}

#[test]
fn the_worst_is_first() {
    let ill = with(|jvm| {
        jvm.values.nmt_enabled = Some(false);
        jvm.values.code_usage = Some(0.99);
        jvm.values.old_usage_after_gc = Some(0.99);
        jvm.recent.iter_mut().for_each(|recent| recent.oom_kills = Some(1.0));
    });
    let names: Vec<_> = findings(&ill).into_iter().map(|finding| finding.name).collect();
    assert_eq!(names, ["OutOfMemoryKill", "HeapAfterGcHigh", "CodeCacheFull", "NmtOff"]);
}

#[test]
fn a_refusal_is_as_urgent_as_its_alert() {
    let of = |reason: &str, serves_any| {
        let row =
            RefusedRow { pid: Some(12), reason: reason.to_owned(), remedy: "Do it.".to_owned(), ..Default::default() };
        refusal(&row, serves_any)
    };
    for (reason, serves_any, expected) in [
        ("stale", true, Severity::Info),
        ("stale", false, Severity::Info),
        ("other_owner", true, Severity::Info),
        ("other_owner", false, Severity::Warning),
        ("private_memory", true, Severity::Warning),
    ] {
        assert_eq!(of(reason, serves_any).severity, expected, "{reason}");
    }
    assert_eq!(of("private_memory", true).next_step, "Do it.");
}

#[test]
fn every_sentence_has_a_number_or_a_state_and_a_next_step() {
    let ill = with(|jvm| {
        let values = &mut jvm.values;
        (values.metaspace_usage, values.class_space_usage) = (Some(0.91), Some(0.92));
        (values.code_usage, values.old_usage_after_gc) = (Some(0.93), Some(0.94));
        (values.jit_enabled, values.nmt_enabled) = (Some(false), Some(false));
        values.last.insert(Measure::NativeCommitted, 990.0);
        jvm.row.overflow = Some(1);
        for recent in &mut jvm.recent {
            (recent.stopped, recent.gc_share, recent.throttled) = (Some(0.9), Some(0.5), Some(0.6));
            (recent.oom_kills, recent.old_growth, recent.native_growth) = (Some(1.0), Some(0.1), Some(1e9));
        }
    });
    let findings = findings(&ill);
    assert_eq!(findings.len(), 14, "{findings:#?}");
    for finding in findings {
        assert!(finding.text.contains(|c: char| c.is_ascii_digit()), "{}", finding.text);
        for sentence in [&finding.text, &finding.next_step] {
            assert!(sentence.ends_with('.') && !sentence.contains("  "), "{sentence}");
        }
        assert!(!finding.source.is_empty());
    }
}
