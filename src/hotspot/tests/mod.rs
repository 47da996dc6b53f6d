//! The model and facts of 20 regions of real JVMs, and of generated regions for what those do not contain.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

mod generated;
mod model;
mod profiles;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::fact::{Fact, PublishedId, Values, catalogue};
use crate::metric::{Kind, Value};
use crate::perfdata::Image;

fn facts(image: &Image) -> Vec<Fact> {
    Model::of(image, &[]).facts
}

/// The words of an image, by byte offset.
struct ImageWords<'a>(&'a Image);

impl Values for ImageWords<'_> {
    fn word(&self, offset: u32) -> Option<i64> {
        let bytes = self.0.bytes().get(offset as usize..)?.first_chunk()?;
        Some(self.0.prologue.byte_order.i64(*bytes))
    }

    fn published(&self, _: PublishedId) -> Option<Value> {
        None
    }

    fn is_up(&self) -> Option<bool> {
        Some(true)
    }
}

/// The value of every fact that has one, by `name{label=value,...}`.
fn evaluated(image: &Image) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for fact in facts(image) {
        let labels: Vec<_> = fact.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let name = format!("{}{{{}}}", fact.name, labels.join(","));
        if let Some(value) = fact.formula.evaluate(&ImageWords(image)) {
            assert!(all.insert(name.clone(), value).is_none(), "{name} twice");
        }
    }
    all
}

fn fixture(name: &str) -> Image {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata");
    Image::decode(std::fs::read(directory.join(format!("{name}.hsperfdata"))).unwrap()).unwrap()
}

fn int(facts: &BTreeMap<String, Value>, name: &str) -> Option<i64> {
    facts.get(name).map(|value| match value {
        Value::Int(value) => *value,
        other => panic!("{name} is {other:?}"),
    })
}

fn float(facts: &BTreeMap<String, Value>, name: &str) -> Option<f64> {
    facts.get(name).map(Value::as_f64)
}

/// The rows of `tests/fixtures/pools.txt`.
fn expected_pools() -> Vec<[&'static str; 8]> {
    let text = include_str!("../../../tests/fixtures/pools.txt");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split(" | ").collect::<Vec<_>>().try_into().unwrap()).collect()
}

#[test]
fn pools_of_real_jvms() {
    let mut regions = BTreeMap::<&str, BTreeSet<String>>::new();
    for [region, collector, feature, pool, used, committed, limit, init] in expected_pools() {
        let image = fixture(region);
        let (jvm, facts) = (Jvm::of(&image, &ProcessStart::default(), &[]), evaluated(&image));
        assert_eq!(jvm.collector.map(Collector::name), Some(collector), "{region}");
        assert_eq!(jvm.feature.map(|feature| feature.to_string()).as_deref(), Some(feature), "{region}");
        let kind = if matches!(pool, "Metaspace" | "Compressed Class Space") { "non_heap" } else { "heap" };
        for (what, expected) in [("used", used), ("committed", committed), ("limit", limit), ("init", init)] {
            let found = int(&facts, &format!("pool.{what}{{pool={pool},type={kind}}}"));
            assert_eq!(found, expected.parse().ok(), "{region} {pool} {what}");
        }
        regions.entry(region).or_default().insert(pool.to_owned());
    }
    assert_eq!(regions.len(), 20);
    for (region, expected) in regions {
        let facts = self::facts(&fixture(region));
        let found: BTreeSet<String> = facts
            .iter()
            .filter(|fact| fact.name == "pool.committed")
            .map(|fact| fact.labels[0].1.to_string())
            .collect();
        assert_eq!(found, expected, "{region}");
    }
}

#[test]
fn the_heap_as_one() {
    // Where used of eden is wrong there is no total; `init` exists only where every pool has an initial size.
    for [region, ..] in expected_pools() {
        let facts = evaluated(&fixture(region));
        let used = int(&facts, "area.used{area=heap}");
        let lacks_eden = matches!(region, "jdk25-Serial" | "jdk25-Parallel");
        assert_eq!(used.is_none(), lacks_eden, "{region}");
        assert_eq!(int(&facts, "area.limit{area=heap}"), Some(96 << 20), "{region}");
        let committed = int(&facts, "area.committed{area=heap}").unwrap();
        assert!(used.unwrap_or(0) <= committed && committed <= 96 << 20, "{region}: {used:?} of {committed}");
        if region.ends_with("-G1") {
            assert_eq!(int(&facts, "area.init{area=heap}"), Some(96 << 20), "{region}");
        }
    }
    // Eden, one survivor and the old generation.
    let facts = evaluated(&fixture("jdk8-Parallel"));
    assert_eq!(int(&facts, "area.committed{area=heap}"), Some(29_360_128 + 2_097_152 + 47_185_920));
}

#[test]
fn freshness_follows_the_sampler() {
    let mode = |region: &str, pool: &str| {
        let facts = evaluated(&fixture(region));
        let modes = ["live", "sampled", "gc", "pause"].into_iter();
        modes
            .filter(|mode| facts.contains_key(&format!("pool.freshness{{pool={pool},mode={mode}}}")))
            .collect::<Vec<_>>()
    };
    let table: [(&str, &str, &[&str]); 9] = [
        ("jdk21-Serial", "Eden Space", &["sampled"]),
        ("jdk25-Serial", "Eden Space", &[]),
        ("jdk25-Serial", "Tenured Gen", &["gc"]),
        ("jdk25-Parallel", "PS Old Gen", &["gc"]),
        ("jdk25-G1", "G1 Eden Space", &["live"]),
        ("jdk25-G1", "G1 Survivor Space", &["gc"]),
        ("jdk25-Z", "ZGC Young Generation", &["pause"]),
        ("jdk25-Shenandoah", "Shenandoah", &["sampled"]),
        ("jdk25-Z", "Metaspace", &["gc"]),
    ];
    for (region, pool, expected) in table {
        assert_eq!(mode(region, pool), expected, "{region} {pool}");
    }
}

/// Bean, action, collections, seconds.
type Collections = (&'static str, &'static str, i64, f64);

#[test]
fn collections_of_real_jvms() {
    let table: [(&str, &[Collections]); 9] = [
        (
            "jdk8-Parallel",
            &[("PS Scavenge", "minor GC", 115, 0.298180105), ("PS MarkSweep", "major GC", 3, 0.021515391)],
        ),
        (
            "jdk25-Parallel",
            &[("PS Scavenge", "minor GC", 113, 0.348050626), ("PS MarkSweep", "major GC", 2, 0.026355419)],
        ),
        (
            "jdk25-G1",
            &[
                ("G1 Young Generation", "minor GC", 82, 0.28964971),
                ("G1 Old Generation", "major GC", 0, 0.0),
                ("G1 Concurrent GC", "concurrent GC pause", 30, 0.022080026),
            ],
        ),
        // JDK 11 counts the pauses of concurrent cycles apart from the foreground collections.
        (
            "jdk11-ConcMarkSweep",
            &[("ParNew", "minor GC", 111, 0.299888998), ("ConcurrentMarkSweep", "major GC", 3, 0.011184893)],
        ),
        ("jdk17-Z", &[("ZGC Pauses", "GC pause", 210, 0.001890557)]),
        (
            "jdk25-Z",
            &[("ZGC Minor Pauses", "GC pause", 135, 0.001669921), ("ZGC Major Pauses", "GC pause", 75, 0.000856367)],
        ),
        ("jdk11-Shenandoah", &[]),
        ("jdk21-Shenandoah", &[]),
        ("jdk25-Shenandoah", &[]),
    ];
    for (region, expected) in table {
        let facts = evaluated(&fixture(region));
        assert_eq!(facts.keys().filter(|name| name.starts_with("gc.count")).count(), expected.len(), "{region}");
        for (gc, action, count, time) in expected {
            let labels = format!("{{gc={gc},action=end of {action}}}");
            assert_eq!(int(&facts, &format!("gc.count{labels}")), Some(*count), "{region} {gc}");
            assert_eq!(float(&facts, &format!("gc.time{labels}")), Some(*time), "{region} {gc}");
            let total = Value::Summary { count: *count as u64, sum: *time };
            assert_eq!(facts.get(&format!("gc.total{{gc={gc}}}")), Some(&total), "{region} {gc}");
        }
    }
}

#[test]
fn cpu_time_of_collectors_is_never_a_false_zero() {
    let threads = |region: &str| -> Vec<String> {
        evaluated(&fixture(region)).into_keys().filter(|name| name.starts_with("gc.cpu_time")).collect()
    };
    assert_eq!(threads("jdk25-G1").len(), 4);
    assert_eq!(threads("jdk25-Parallel"), ["gc.cpu_time{thread=parallel_workers}"]);
    for region in ["jdk25-Serial", "jdk25-Z", "jdk25-Shenandoah", "jdk21-G1"] {
        assert_eq!(threads(region), Vec::<String>::new(), "{region}");
    }
    let vm = |region: &str| float(&evaluated(&fixture(region)), "vm.cpu_time{}");
    assert_eq!((vm("jdk25-Z"), vm("jdk21-Z")), (Some(0.016641237), None));
}

#[test]
fn safepoints_mean_the_same_on_every_jdk() {
    // count, sync, time, stopped
    let table = [
        // Until JDK 12 safepointTime includes safepointSyncTime.
        ("jdk8-Parallel", 116, 0.005191506, (339_168_076 - 5_191_506) as f64 / 1e9, 0.339168076),
        ("jdk11-ConcMarkSweep", 119, 0.003253415, (327_914_542 - 3_253_415) as f64 / 1e9, 0.327914542),
        ("jdk17-G1", 90, 0.001397576, 0.251609872, (251_609_872 + 1_397_576) as f64 / 1e9),
        ("jdk25-Z", 211, 0.004488842, 0.0045534, (4_553_400 + 4_488_842) as f64 / 1e9),
    ];
    for (region, count, sync, time, stopped) in table {
        let facts = evaluated(&fixture(region));
        assert_eq!(int(&facts, "safepoint.count{}"), Some(count), "{region}");
        assert_eq!(float(&facts, "safepoint.sync_time{}"), Some(sync), "{region}");
        assert_eq!(float(&facts, "safepoint.time{}"), Some(time), "{region}");
        assert_eq!(float(&facts, "safepoint.stopped_time{}"), Some(stopped), "{region}");
    }
}

#[test]
fn threads_classes_and_compiler() {
    let facts = evaluated(&fixture("jdk25-G1"));
    let table = [
        ("thread.count{daemon=true,state=}", 6),
        ("thread.count{daemon=false,state=}", 1),
        ("thread.live{}", 7),
        ("thread.peak{}", 7),
        ("thread.started{}", 7),
        // Seven from class files, the others from the CDS archive.
        ("class.loaded{}", 416),
        ("class.unloaded{}", 0),
        ("class.count{}", 416),
        ("class.loaded_bytes{}", 8_312 + 1_100_856),
        ("jit.compilations{kind=standard}", 18),
        ("jit.compilations{kind=osr}", 2),
        ("jit.bailouts{}", 0),
        ("jit.invalidations{}", 0),
    ];
    for (name, expected) in table {
        assert_eq!(int(&facts, name), Some(expected), "{name}");
    }
    assert_eq!(float(&facts, "jit.time{}"), Some(0.021560039));
    assert_eq!(float(&facts, "class.load_time{}"), Some(0.030038889));
    assert_eq!(float(&facts, "target.start_time{}"), Some(1_795_341_331.263));
}

#[test]
fn identity_of_a_real_jvm() {
    let jvm = Jvm::of(&fixture("jdk25-G1"), &ProcessStart::default(), &[]);
    assert_eq!(jvm.java_version.as_deref(), Some("25.0.3"));
    assert_eq!(jvm.vm_vendor.as_deref(), Some("Eclipse Adoptium"));
    assert_eq!((jvm.main.as_deref(), jvm.app.as_deref()), (Some("Alloc"), Some("Alloc")));
    assert_eq!((jvm.nmt, jvm.attach_supported), (NmtSetting::On, Some(true)));
    assert!(jvm.fully_up && !jvm.native_image);
    for [region, ..] in expected_pools() {
        assert!(Jvm::of(&fixture(region), &ProcessStart::default(), &[]).fully_up, "{region}");
    }
}

#[test]
fn every_fact_is_in_the_catalogue_with_its_labels() {
    let mut images: Vec<Image> = expected_pools().iter().map(|[region, ..]| fixture(region)).collect();
    images.push(generated::native_image());
    for image in images {
        for fact in facts(&image) {
            let info = catalogue::find(fact.name).unwrap_or_else(|| panic!("the catalogue lacks {}", fact.name));
            let labels: BTreeSet<_> = fact.labels.iter().map(|(name, _)| *name).collect();
            assert_eq!(labels, info.labels.iter().copied().collect(), "{}", fact.name);
            assert_eq!((fact.kind, fact.unit), (info.kind, info.unit), "{}", fact.name);
        }
    }
    let names: BTreeSet<_> = catalogue::all().map(|info| info.name).collect();
    assert_eq!(names.len(), catalogue::all().count());
}

#[test]
fn any_bytes_are_legal() {
    let image = fixture("jdk25-G1");
    for step in [1, 7, 13] {
        for at in (32..image.prologue.used as usize).step_by(step * 11) {
            let mut bytes = image.bytes().to_vec();
            bytes[at] ^= 0xff;
            if let Ok(image) = Image::decode(bytes) {
                let _ = (Jvm::of(&image, &ProcessStart::default(), &[]), evaluated_any(&image));
            }
        }
    }
}

fn evaluated_any(image: &Image) -> usize {
    facts(image).iter().filter_map(|fact| fact.formula.evaluate(&ImageWords(image))).count()
}
