#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::*;
use crate::history::{End, HowEnded, Measure};
use crate::report::details::{FactValue, JvmFacts};
use crate::report::list::{JvmDescription, JvmRow, RefusedRow};
use crate::report::overview::{JvmDetail, JvmOverview, Measurements, Overview, SPARK_POINTS, SPARKS};

const MIB: f64 = 1_048_576.0;

fn site<T>(use_it: impl FnOnce(&Site<'_>) -> T) -> T {
    let profiles = ["otel".to_owned(), "raw".to_owned()];
    use_it(&Site { telemetry_path: "/metrics", profiles: &profiles })
}

fn page(overview: &Overview) -> String {
    site(|site| overview_page(site, true, overview))
}

fn of(rows: Vec<JvmRow>, refused: Vec<RefusedRow>) -> Overview {
    let jvms = rows.into_iter().map(|row| JvmOverview { row, ..JvmOverview::default() }).collect();
    Overview { jvms, refused, ..Overview::default() }
}

/// A JVM of which everything is known.
fn busy(number: usize) -> JvmOverview {
    let wave = |at: usize| Some(((at * 7 + number * 13) % 100) as f32 / 100.0);
    let history = SPARKS.map(|measure| (measure, (0..SPARK_POINTS).map(wave).collect()));
    let last = [Measure::HeapUsed, Measure::AllocationRate, Measure::Stopped, Measure::Cpu, Measure::Rss];
    let description = JvmDescription {
        app: Some(format!("some-service-{number}")),
        slot: Some(0),
        main_class: Some("com.example.service.Application".to_owned()),
        gc: Some("G1".to_owned()),
        labels: BTreeMap::from([("container".to_owned(), format!("c{number}"))]),
        ..JvmDescription::default()
    };
    JvmOverview {
        row: JvmRow {
            state: "mapped".into(),
            heap_used: Some(300 << 20),
            heap_committed: Some(400 << 20),
            heap_limit: Some(512 << 20),
            uptime_seconds: Some(4_000.0),
            ..description.into()
        },
        values: Measurements {
            last: last.map(|measure| (measure, 0.25 * MIB)).into(),
            cpu_limit: Some(2.0),
            ..Measurements::default()
        },
        history: history.into(),
        ..JvmOverview::default()
    }
}

fn finding(severity: Severity, text: &str) -> Finding {
    Finding {
        name: "HeapAfterGcHigh".to_owned(),
        severity,
        text: text.to_owned(),
        source: "jvm_memory_used_after_last_gc_bytes".to_owned(),
        next_step: "Take a heap dump.".to_owned(),
        runbook: Some("docs/runbooks/heap.md".to_owned()),
    }
}

#[test]
fn the_policy_allows_style_and_script_as_they_are_in_the_page() {
    let page = page(&Overview::default());
    let inside = |tag: &str| {
        let (_, rest) = page.split_once(&format!("<{tag}>")).unwrap();
        rest.split_once(&format!("</{tag}>")).unwrap().0.to_owned()
    };
    assert_eq!((inside("style"), inside("script")), (STYLE.to_owned(), SCRIPT.to_owned()));
    // The digest of the empty text, from FIPS 180-4's example vectors.
    assert_eq!(source_hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    for forbidden in ["http://", "https://", "//cdn", "innerHTML", "eval("] {
        assert!(!STYLE.contains(forbidden) && !SCRIPT.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn hostile_names_stay_text() {
    let evil = "</style><script>alert('x')</script>\"onload=\u{202e}\0".to_owned();
    let description = JvmDescription {
        app: Some(evil.clone()),
        slot: Some(0),
        main_class: Some(format!("{evil}.Main")),
        java_version: Some(evil.clone()),
        gc: Some(evil.clone()),
        path: Some(evil.clone()),
        labels: BTreeMap::from([(evil.clone(), evil.clone())]),
        vm_vendor: Some(evil.clone()),
        user: Some(evil.clone()),
        ..JvmDescription::default()
    };
    let row = JvmRow { state: evil.clone().into(), ..description.into() };
    let refused = RefusedRow {
        path: Some(evil.clone()),
        pid: None,
        reason: evil.clone(),
        detail: evil.clone(),
        remedy: evil.clone(),
    };
    let mut wrong = finding(Severity::Warning, &evil);
    (wrong.next_step, wrong.source, wrong.runbook) = (evil.clone(), evil.clone(), Some(evil.clone()));
    let jvm = JvmOverview { row, findings: vec![wrong], ..JvmOverview::default() };
    let ended = JvmOverview { end: Some(End { at: 1.0, how: HowEnded::Killed }), ..jvm.clone() };
    let overview = Overview { jvms: vec![jvm.clone(), ended], refused: vec![refused], ..Overview::default() };
    let value = FactValue {
        labels: BTreeMap::from(
            ["pool", "state", "flag", "origin", "category"].map(|label| (label.to_owned(), evil.clone())),
        ),
        value: 1.0,
    };
    let facts = ["pool.committed", "thread.states", "flag.value", "nmt.committed"];
    let details = JvmFacts { facts: facts.map(|fact| (fact.to_owned(), vec![value.clone()])).into() };
    let detail = JvmDetail { jvm, details, ..JvmDetail::default() };
    let pages = [page(&overview), site(|site| jvm_page(site, &detail))];
    for (page, least) in pages.iter().zip([10, 14]) {
        let shown = page.matches("&lt;script&gt;").count();
        assert!(shown >= least, "every field is shown: {shown}");
        assert_eq!((page.matches("</style>").count(), page.matches("<script>").count()), (1, 1));
        for forbidden in ["alert('x')</script>", "\"onload", "\u{202e}", "\0", " style=", "<script>alert"] {
            assert!(!page.contains(forbidden), "{forbidden:?}");
        }
    }
}

#[test]
fn an_unknown_heap_use_is_not_shown_as_zero() {
    let jvm = JvmRow { heap_committed: Some(64 << 20), heap_limit: Some(256 << 20), ..JvmRow::default() };
    let unknown = page(&of(vec![jvm.clone()], vec![]));
    assert!(unknown.contains("64 MiB committed of 256 MiB") && !unknown.contains("class=\"used\""), "{unknown}");
    assert!(unknown.contains("class=\"committed\" width=\"25%\""), "{unknown}");
    let known = page(&of(vec![JvmRow { heap_used: Some(512 << 20), ..jvm }], vec![]));
    assert!(known.contains("class=\"used\" width=\"100%\"") && known.contains("512 MiB of 256 MiB"));
    let silent = page(&of(vec![JvmRow::default()], vec![]));
    assert!(!silent.contains("<svg"));
}

#[test]
fn an_empty_page_says_what_to_check() {
    let page = page(&Overview::default());
    for word in ["group id", "PerfDisableSharedMem", "subPath", "/metrics/raw"] {
        assert!(page.contains(word), "{word}");
    }
    let early = site(|site| overview_page(site, false, &Overview::default()));
    assert!(early.contains("Looking for JVMs") && !early.contains("No JVM found"));
}

#[test]
fn a_refusal_is_shown_with_its_remedy_and_many_are_cut() {
    let row = |reason: &str, remedy: &str| RefusedRow {
        path: Some("/tmp/hsperfdata_app/7".to_owned()),
        reason: reason.to_owned(),
        detail: "mode 0600, uid 1000".to_owned(),
        remedy: remedy.to_owned(),
        ..RefusedRow::default()
    };
    let mut refused = vec![row("permission", "Run it as uid 1000."), row("truncated", "")];
    refused.extend(vec![row("other_owner", ""); 25]);
    let page = page(&of(vec![], refused));
    assert_eq!(page.matches("class=\"remedy\"").count(), 1);
    assert!(page.contains("<p class=\"remedy\">Run it as uid 1000.</p>"), "{page}");
    assert!(page.contains("and 5 more") && page.contains("other owner"));
}

#[test]
fn what_hurts_most_comes_first() {
    let named = |app: &str, change: fn(&mut JvmOverview)| {
        let description = JvmDescription { app: Some(app.to_owned()), ..JvmDescription::default() };
        let mut jvm = JvmOverview { row: description.into(), ..JvmOverview::default() };
        change(&mut jvm);
        jvm
    };
    let jvms = vec![
        named("b-calm", |_| {}),
        named("a-calm", |jvm| _ = jvm.values.last.insert(Measure::Stopped, 0.01)),
        named("stopped", |jvm| _ = jvm.values.last.insert(Measure::Stopped, 0.4)),
        named("warned", |jvm| jvm.findings = vec![finding(Severity::Warning, "w")]),
        named("critical", |jvm| jvm.findings = vec![finding(Severity::Critical, "c"), finding(Severity::Info, "i")]),
        named("full", |jvm| jvm.values.old_usage_after_gc = Some(0.9)),
    ];
    let page = page(&Overview { jvms, ..Overview::default() });
    let places: Vec<_> = ["critical", "warned", "stopped", "full", "a-calm", "b-calm"]
        .iter()
        .map(|app| page.find(&format!("<th scope=\"row\">{app}")).unwrap_or_else(|| panic!("{app}: {page}")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.contains("1 critical") && page.contains("1 warning<"), "{page}");
}

#[test]
fn a_thousand_jvms_fit_into_a_megabyte() {
    let jvms = (0..1_000).map(busy).collect();
    let page = page(&Overview { jvms, step: Some(25.0), ..Overview::default() });
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<tr data-row>").count(), 1_000);
}

#[test]
fn jvms_that_ended_say_how() {
    let ended = |how| JvmOverview { end: Some(End { at: 40.0, how }), ..busy(1) };
    let jvms = [HowEnded::Exited, HowEnded::Killed, HowEnded::OutOfMemory, HowEnded::Unknown].map(ended);
    let page = page(&Overview { now: 100.0, jvms: jvms.into(), ..Overview::default() });
    for text in [">exited<", ">killed<", ">out of memory<", ">ended<", "1m 0s ago", "after 1h 6m"] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[test]
fn the_page_of_a_jvm_shows_its_charts_or_why_there_are_none() {
    let mut jvm = busy(1);
    jvm.history.insert(Measure::LongestPause, vec![Some(0.0), Some(0.02)]);
    jvm.findings = vec![finding(Severity::Critical, "Heap after collections is at 97 %.")];
    let detail = JvmDetail { now: 100.0, step: Some(5.0), jvm, pauses: vec![(90.0, 0.02)], ..JvmDetail::default() };
    let page = site(|site| jvm_page(site, &detail));
    for text in [
        "Heap after collections is at 97 %.",
        "Take a heap dump.",
        "20 ms, 10s ago",
        "The JVM does not publish its threads.",
        "href=\"/explain/some-service-1/0?container=c1\"",
        "Where the memory went",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("Heap by pool"), "its heap has no pools");
    let pools = [(Measure::EdenUsed, 3.0), (Measure::OldUsed, 5.0), (Measure::SurvivorUsed, 1.0)];
    for (known, shown) in [(2, "young generation</span> <b>3 MiB"), (3, "eden</span> <b>3 MiB")] {
        let mut detail = detail.clone();
        let points = |mebibytes: f32| vec![None, Some(mebibytes * 1_048_576.0)];
        detail.jvm.history.extend(pools.iter().take(known).map(|(measure, used)| (*measure, points(*used))));
        let page = site(|site| jvm_page(site, &detail));
        for text in ["Heap by pool", "old generation</span> <b>5 MiB", shown] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert_eq!(page.contains("survivors</span> <b>1 MiB"), known == 3);
    }
    let off = site(|site| jvm_page(site, &JvmDetail { step: None, ..detail }));
    assert!(off.contains("history is off") && !off.contains("class=\"chart\""));
}
