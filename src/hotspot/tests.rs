//! Facts of 20 regions of real JVMs, and of made ones for what could not be run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap
)]

#[path = "../../tests/support/region_builder.rs"]
mod region_builder;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::formula::{CellId, Source};
use crate::metric::Value;
use region_builder::RegionBuilder;

/// The words of an image, by byte offset.
struct Words<'a>(&'a Image);

impl Source for Words<'_> {
    fn word(&self, offset: u32) -> Option<i64> {
        let bytes = self.0.bytes().get(offset as usize..)?.first_chunk()?;
        Some(self.0.prologue.byte_order.i64(*bytes))
    }

    fn cell(&self, _: CellId) -> Option<Value> {
        None
    }

    fn is_up(&self) -> bool {
        true
    }
}

/// `source{label="value",...}` to value, of every fact that has one.
fn evaluated(image: &Image) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for fact in facts(image) {
        let labels: Vec<_> = fact.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let name = format!("{}{{{}}}", fact.source, labels.join(","));
        if let Some(value) = fact.formula.evaluate(&Words(image)) {
            assert!(all.insert(name.clone(), value).is_none(), "{name} twice");
        }
    }
    all
}

fn fixture(name: &str) -> Image {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata");
    Image::decode(std::fs::read(directory.join(format!("{name}.hsperfdata"))).unwrap()).unwrap()
}

fn made(region: &RegionBuilder) -> Image {
    Image::decode(region.build()).unwrap()
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
    let text = include_str!("../../tests/fixtures/pools.txt");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split(" | ").collect::<Vec<_>>().try_into().unwrap()).collect()
}

#[test]
fn pools_of_real_jvms() {
    let mut regions = BTreeMap::<&str, BTreeSet<String>>::new();
    for [region, collector, feature, pool, used, committed, limit, init] in expected_pools() {
        let image = fixture(region);
        let (jvm, facts) = (Jvm::of(&image, &[]), evaluated(&image));
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
        let facts = super::facts(&fixture(region));
        let found: BTreeSet<String> = facts
            .iter()
            .filter(|fact| fact.source == "pool.committed")
            .map(|fact| fact.labels[0].1.to_string())
            .collect();
        assert_eq!(found, expected, "{region}");
    }
}

#[test]
fn the_heap_as_one() {
    // Regions whose eden is false have no total of `used`; only collectors that know every pool's start have `init`.
    for [region, ..] in expected_pools() {
        let facts = evaluated(&fixture(region));
        let used = int(&facts, "area.used{area=heap}");
        let is_blind = matches!(region, "jdk25-Serial" | "jdk25-Parallel");
        assert_eq!(used.is_none(), is_blind, "{region}");
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
        let modes = ["live", "sampled", "gc"].into_iter();
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
        ("jdk25-Z", "ZGC Young Generation", &["gc"]),
        ("jdk25-Shenandoah", "Shenandoah", &["sampled"]),
        ("jdk25-Z", "Metaspace", &["gc"]),
    ];
    for (region, pool, expected) in table {
        assert_eq!(mode(region, pool), expected, "{region} {pool}");
    }
}

#[test]
fn collections_of_real_jvms() {
    let table: [(&str, &[(&str, &str, i64, f64)]); 9] = [
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
        // The cycles' pauses are counted apart from the collections in the foreground.
        (
            "jdk11-ConcMarkSweep",
            &[("ParNew", "minor GC", 111, 0.299888998), ("ConcurrentMarkSweep", "major GC", 6, 0.011184893)],
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
        ("thread.count{daemon=true}", 6),
        ("thread.count{daemon=false}", 1),
        ("thread.live{}", 7),
        ("thread.peak{}", 7),
        ("thread.started{}", 7),
        // Seven of its own, the others out of the CDS archive.
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
fn who_a_real_jvm_is() {
    let jvm = Jvm::of(&fixture("jdk25-G1"), &[]);
    assert_eq!(jvm.java_version.as_deref(), Some("25.0.3"));
    assert_eq!(jvm.vm_vendor.as_deref(), Some("Eclipse Adoptium"));
    assert_eq!((jvm.main.as_deref(), jvm.app.as_deref()), (Some("Alloc"), Some("Alloc")));
    assert_eq!((jvm.nmt, jvm.attach_supported), (NmtSetting::On, Some(true)));
    assert!(jvm.fully_up && !jvm.late_constants && !jvm.native_image);
    for [region, ..] in expected_pools() {
        let jvm = Jvm::of(&fixture(region), &[]);
        assert!(jvm.fully_up && !jvm.late_constants, "{region}");
    }
}

#[test]
fn every_fact_has_a_listed_source_with_its_labels() {
    let mut images: Vec<Image> = expected_pools().iter().map(|[region, ..]| fixture(region)).collect();
    images.push(made(&native_image()));
    for image in images {
        for fact in facts(&image) {
            let info = source(fact.source).unwrap_or_else(|| panic!("{} is not listed", fact.source));
            let labels: BTreeSet<_> = fact.labels.iter().map(|(name, _)| *name).collect();
            assert_eq!(labels, info.labels.iter().copied().collect(), "{}", fact.source);
            assert_eq!((fact.kind, fact.unit), (info.kind, info.unit), "{}", fact.source);
        }
    }
    let names: BTreeSet<_> = SOURCES.iter().map(|source| source.name).collect();
    assert_eq!(names.len(), SOURCES.len());
}

/// A generation with the spaces `(name, used, capacity, maxCapacity, initCapacity)`.
fn generation(
    mut region: RegionBuilder,
    number: u32,
    name: &str,
    sizes: [i64; 3],
    spaces: &[(&str, [i64; 4])],
) -> RegionBuilder {
    let prefix = format!("sun.gc.generation.{number}");
    let [capacity, max, min] = sizes;
    region = region
        .text(&format!("{prefix}.name"), name)
        .long(&format!("{prefix}.spaces"), spaces.len() as i64)
        .long(&format!("{prefix}.capacity"), capacity)
        .long(&format!("{prefix}.maxCapacity"), max)
        .long(&format!("{prefix}.minCapacity"), min);
    for (space, (name, [used, capacity, max, init])) in spaces.iter().enumerate() {
        let prefix = format!("{prefix}.space.{space}");
        region = region
            .text(&format!("{prefix}.name"), name)
            .long(&format!("{prefix}.used"), *used)
            .long(&format!("{prefix}.capacity"), *capacity)
            .long(&format!("{prefix}.maxCapacity"), *max)
            .long(&format!("{prefix}.initCapacity"), *init);
    }
    region
}

fn collector_named(region: RegionBuilder, number: u32, name: &str, invocations: i64, time: i64) -> RegionBuilder {
    let prefix = format!("sun.gc.collector.{number}");
    region
        .text(&format!("{prefix}.name"), name)
        .long(&format!("{prefix}.invocations"), invocations)
        .long(&format!("{prefix}.time"), time)
}

fn jdk(version: &str) -> RegionBuilder {
    RegionBuilder::new().long("sun.os.hrt.frequency", 1_000_000_000).text("java.property.java.version", version)
}

#[test]
fn cms_of_jdk_8() {
    for (policy, young, prefix, bean) in [("ParNew:CMS", "PCopy", "Par ", "ParNew"), ("Copy:CMS", "Copy", "", "Copy")] {
        let region = jdk("1.8.0_504").long("sun.os.hrt.ticks", 1).text("sun.gc.policy.name", policy);
        let spaces = [("eden", [5, 60, 60, 0]), ("s0", [0, 20, 20, 0]), ("s1", [7, 20, 20, 0])];
        let region = generation(region, 0, "new", [100, 100, 10], &spaces);
        let region = generation(region, 1, "old", [200, 300, 10], &[("old", [50, 200, 300, 200])]);
        let region = collector_named(region, 0, young, 3, 2_000_000_000);
        let image = made(&collector_named(region, 1, "CMS", 4, 500_000_000));
        assert_eq!(Collector::of(&image), Some(Collector::Cms));
        let facts = evaluated(&image);
        let pool = |what: &str, pool: &str| int(&facts, &format!("pool.{what}{{pool={pool},type=heap}}"));
        assert_eq!(pool("used", &format!("{prefix}Eden Space")), Some(5));
        assert_eq!(pool("used", &format!("{prefix}Survivor Space")), Some(7));
        assert_eq!(pool("limit", "CMS Old Gen"), Some(300));
        assert_eq!(int(&facts, "area.limit{area=heap}"), Some(400));
        assert_eq!(int(&facts, "area.committed{area=heap}"), Some(60 + 20 + 200));
        assert_eq!(int(&facts, &format!("gc.count{{gc={bean},action=end of minor GC}}")), Some(3));
        assert_eq!(float(&facts, "gc.time{gc=ConcurrentMarkSweep,action=end of major GC}"), Some(0.5));
    }
}

#[test]
fn epsilon_collects_nothing() {
    let image = made(&generation(jdk("25"), 1, "Heap", [64, 96, 0], &[("Heap", [10, 64, 96, 0])]));
    assert_eq!(Collector::of(&image), Some(Collector::Epsilon));
    let facts = evaluated(&image);
    assert_eq!(int(&facts, "pool.used{pool=Epsilon Heap,type=heap}"), Some(10));
    assert_eq!(int(&facts, "area.limit{area=heap}"), Some(96));
    assert_eq!(int(&facts, "area.init{area=heap}"), None, "0 is false");
    assert!(!facts.keys().any(|name| name.starts_with("gc.")));
}

#[test]
fn zgc_of_every_kind() {
    let heap = |region| generation(region, 1, "old", [96, 96, 8], &[("space", [40, 96, 96, 8])]);
    let measured = |version: &str| jdk(version).long("sun.gc.metaspace.used", 1);
    let bare = made(&heap(measured("11.0.33")));
    assert_eq!(Collector::of(&bare), Some(Collector::Zgc), "JDK 11 names no collector");
    assert_eq!(int(&evaluated(&bare), "pool.used{pool=ZHeap,type=heap}"), Some(40));
    for version in ["21.0.2", "25.0.3"] {
        let region = generation(measured(version), 0, "young", [30, 96, 8], &[("space", [9, 30, 96, 96])]);
        let region = generation(region, 1, "old", [66, 96, 0], &[("space", [11, 66, 96, 0])]);
        let region = collector_named(region, 0, "ZGC minor collection pauses", 21, 1_000_000);
        let image = made(&collector_named(region, 2, "ZGC major collection pauses", 33, 2_000_000));
        let facts = evaluated(&image);
        assert_eq!(Collector::of(&image), Some(Collector::Zgc));
        assert_eq!(int(&facts, "pool.limit{pool=ZGC Young Generation,type=heap}"), Some(96));
        assert_eq!(int(&facts, "area.limit{area=heap}"), Some(96), "never the sum of the generations");
        assert_eq!(int(&facts, "area.used{area=heap}"), Some(20));
        assert_eq!(int(&facts, "gc.count{gc=ZGC Major Pauses,action=end of GC pause}"), Some(33));
        assert_eq!(int(&facts, "pool.used{pool=ZHeap,type=heap}"), None);
    }
    let idle = evaluated(&made(&heap(jdk("17.0.15").long("sun.gc.metaspace.used", 0))));
    for absent in ["pool.used{pool=ZHeap,type=heap}", "area.used{area=heap}", "area.committed{area=heap}"] {
        assert_eq!(int(&idle, absent), None, "nothing is measured before the first pause");
    }
    assert_eq!(int(&idle, "area.limit{area=heap}"), Some(96));
    assert_eq!(int(&idle, "area.init{area=heap}"), None, "the pool tells the minimum");
}

#[test]
fn generational_shenandoah_publishes_one_heap() {
    let region = generation(jdk("25.0.3"), 0, "Young", [0, 0, 0], &[]);
    let region = generation(region, 1, "Heap", [64, 96, 32], &[("Heap", [10, 96, 96, 96])]);
    let region = collector_named(region, 0, "Shenandoah partial", 0, 0);
    let image = made(&collector_named(region, 1, "Shenandoah full", 630, 659_000_000));
    let facts = evaluated(&image);
    assert_eq!(Collector::of(&image), Some(Collector::Shenandoah));
    assert_eq!(int(&facts, "pool.committed{pool=Shenandoah,type=heap}"), Some(64), "the space says 96");
    assert!(!facts.keys().any(|name| name.starts_with("gc.")), "its counts are no collections");
}

/// What substratevm's SerialGCPerfData and SystemCounters allocate, with two survivor spaces.
fn native_image() -> RegionBuilder {
    let region = RegionBuilder::new()
        .long("sun.os.hrt.frequency", 1_000_000_000)
        .long("sun.os.hrt.ticks", 5)
        .long_of("sun.rt.vmInitDoneTime", 1_795_341_331_406, 3, 1)
        .long("com.oracle.svm.processors", 2)
        .text("java.property.java.version", "21.0.2")
        .text("java.property.java.vm.name", "Substrate VM")
        .text("sun.rt.javaCommand", "/srv/orders --password=hunter2")
        .text("sun.rt.jvmCapabilities", "1000")
        .text("sun.gc.policy.name", "adaptive")
        .long("java.threads.live", 4)
        .long("java.threads.daemon", 3)
        .long("java.cls.loadedClasses", 900);
    let region = collector_named(region, 0, "Serial young collection pauses", 8, 40_000_000);
    let region = collector_named(region, 1, "Serial full collection pauses", 1, 9_000_000);
    let sized = |region: RegionBuilder, generation: u32, name: &str, capacity: i64, max: i64| {
        let prefix = format!("sun.gc.generation.{generation}");
        let region = region.text(&format!("{prefix}.name"), name);
        region.long(&format!("{prefix}.capacity"), capacity).long(&format!("{prefix}.maxCapacity"), max)
    };
    let mut region = sized(sized(region, 0, "young", 30, 40), 1, "old", 50, 60);
    for (generation, space, name, used) in [(0, 0, "eden", 5), (0, 1, "s0", 2), (0, 2, "s1", 3), (1, 3, "old", 20)] {
        let prefix = format!("sun.gc.generation.{generation}.space.{space}");
        region = region.text(&format!("{prefix}.name"), name).long(&format!("{prefix}.used"), used);
    }
    region
}

#[test]
fn native_images() {
    let image = made(&native_image());
    let (jvm, facts) = (Jvm::of(&image, &[]), evaluated(&image));
    assert!(jvm.native_image && jvm.fully_up);
    assert_eq!((jvm.collector, jvm.main.as_deref()), (Some(Collector::Serial), Some("orders")));
    assert_eq!(int(&facts, "pool.used{pool=eden space,type=heap}"), Some(5));
    assert_eq!(int(&facts, "pool.used{pool=survivor space,type=heap}"), Some(5));
    assert_eq!(int(&facts, "pool.used{pool=old generation space,type=heap}"), Some(20));
    assert_eq!(int(&facts, "area.used{area=heap}"), Some(30));
    assert_eq!(int(&facts, "area.limit{area=heap}"), Some(100));
    assert_eq!(int(&facts, "area.committed{area=heap}"), None);
    assert_eq!(int(&facts, "gc.count{gc=young generation scavenger,action=end of minor GC}"), Some(8));
    assert_eq!(float(&facts, "target.start_time{}"), Some(1_795_341_331.406), "labelled ticks, but epoch milliseconds");
    assert!(!facts.keys().any(|name| name.contains("Metaspace") || name.starts_with("safepoint")));
}

#[test]
fn starting_up() {
    // JDK 17 and later while a premain agent runs: accessible, without a frequency, names or arguments.
    let region = RegionBuilder::new()
        .long("sun.rt.createVmBeginTime", 0)
        .long("sun.rt.createVmEndTime", 0)
        .long("sun.rt.vmInitDoneTime", 1_795_341_331_406)
        .long("sun.rt.safepoints", 3)
        .long("sun.rt.safepointTime", 100)
        .long("sun.rt.safepointSyncTime", 10);
    let (jvm, facts) = (Jvm::of(&made(&region), &[]), evaluated(&made(&region)));
    assert!(!jvm.fully_up && jvm.late_constants);
    assert_eq!((jvm.main, jvm.nmt), (None, NmtSetting::Unknown));
    assert_eq!(float(&facts, "target.start_time{}"), Some(1_795_341_331.406));
    assert_eq!(int(&facts, "safepoint.count{}"), Some(3));
    assert_eq!(facts.keys().filter(|name| name.starts_with("safepoint")).count(), 1, "no ticks without a frequency");

    let late = |region: &RegionBuilder| Jvm::of(&made(region), &[]).late_constants;
    let up = RegionBuilder::new().long("sun.rt.createVmEndTime", 1);
    assert!(!late(&up), "what is missing now did not fit");
    assert!(late(&up.clone().long("sun.os.hrt.frequency", 0)), "an entry comes before its value");
    assert!(late(&up.clone().text_of("sun.rt.javaCommand", "", 12)));
    assert!(!late(&up.text("sun.rt.javaCommand", "")), "a JVM made by JNI has no command");
}

#[test]
fn a_missing_counter_takes_only_its_own_facts() {
    let region = jdk("17.0.15").long("sun.os.hrt.ticks", 1).text("sun.gc.policy.name", "Copy:MSC").overflow(5000);
    let image = made(&region.long("sun.gc.generation.0.space.0.used", 5).long("java.threads.live", 3));
    let facts = evaluated(&image);
    let names: Vec<&str> = facts.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["pool.freshness{pool=Eden Space,mode=sampled}", "pool.used{pool=Eden Space,type=heap}", "thread.live{}"]
    );
}

#[test]
fn zeros_that_mean_absence() {
    let region = jdk("17.0.15")
        .long("sun.gc.metaspace.used", 500)
        .long("sun.gc.metaspace.capacity", 600)
        .long("sun.gc.metaspace.maxCapacity", 9000)
        .long("sun.gc.compressedclassspace.used", 0)
        .long("sun.gc.compressedclassspace.capacity", 0)
        .long("sun.gc.compressedclassspace.maxCapacity", 0)
        .text("java.rt.vmArgs", "-XX:MaxMetaspaceSize=1k");
    let facts = evaluated(&made(&region));
    assert_eq!(int(&facts, "pool.limit{pool=Metaspace,type=non_heap}"), Some(1024), "not the reserved space");
    assert_eq!(int(&facts, "metaspace.reserved{}"), Some(9000));
    let numbers = facts.keys().filter(|name| name.contains("Compressed") && !name.contains("freshness"));
    assert_eq!(numbers.count(), 0);
}

#[test]
fn big_endian_jvms_are_read_alike() {
    let region =
        RegionBuilder::new().big_endian().long("java.threads.live", 3).text("sun.gc.policy.name", "GarbageFirst");
    let image = made(&region);
    assert_eq!(int(&evaluated(&image), "thread.live{}"), Some(3));
    assert_eq!(Collector::of(&image), Some(Collector::G1));
}

#[test]
fn no_secret_leaves() {
    const SECRETS: [&str; 5] = ["hunter2", "s3cr3t", "tok3n", "AKIA", "u:p@db"];
    let commands = [
        "com.example.Main --password=hunter2 s3cr3t",
        "/opt/app.jar --token tok3n jdbc:u:p@db",
        "/opt/no extension AKIA --x=hunter2 /y/z.jar",
        "/opt/runner key=s3cr3t.jar",
        "/opt/runner jdbc:u:p@db.war",
        "app/com.example.Main tok3n.jar",
    ];
    for command in commands {
        let region = jdk("21.0.2").text("sun.rt.javaCommand", command).text(
            "java.rt.vmArgs",
            "-Ddb.password=hunter2 -Dspring.application.name=orders -Dspring.application.name.key=s3cr3t \
             -XX:MaxMetaspaceSize=64m -javaagent:x.jar=tok3n -Dother=AKIA url=u:p@db",
        );
        let region = region.text("java.rt.vmFlags", "s3cr3t").text("java.property.java.class.path", "/AKIA/x.jar");
        let image = made(&region);
        let jvm = Jvm::of(&image, &["spring.application.name".to_owned()]);
        assert_eq!(jvm.app.as_deref(), Some("orders"));
        let everything = format!("{jvm:?} {:?} {:?}", Jvm::of(&image, &[]), facts(&image));
        for secret in SECRETS {
            assert!(!everything.contains(secret), "{command}: {secret} in {everything}");
        }
    }
}

#[test]
fn any_bytes_are_legal() {
    let image = fixture("jdk25-G1");
    for step in [1, 7, 13] {
        for at in (32..image.prologue.used as usize).step_by(step * 11) {
            let mut bytes = image.bytes().to_vec();
            bytes[at] ^= 0xff;
            if let Ok(image) = Image::decode(bytes) {
                let _ = (Jvm::of(&image, &[]), evaluated_any(&image));
            }
        }
    }
}

fn evaluated_any(image: &Image) -> usize {
    facts(image).iter().filter_map(|fact| fact.formula.evaluate(&Words(image))).count()
}

const PROFILES: [(&str, &str); 3] = [
    ("otel", include_str!("../../config/profiles/otel.yaml")),
    ("client_java", include_str!("../../config/profiles/client_java.yaml")),
    ("raw", include_str!("../../config/profiles/raw.yaml")),
];

/// The rules of a shipped profile, each with its lines: all are written in one style, so no YAML is needed here.
fn rules(profile: &str) -> Vec<String> {
    let rules = profile.split("rules:\n").nth(1).unwrap();
    let lines = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    format!("\n{text}").split("\n  - ").skip(1).map(str::to_owned).collect()
}

fn key<'a>(rule: &'a str, key: &str) -> Option<&'a str> {
    rule.lines().find_map(|line| line.trim_start().strip_prefix(key)?.strip_prefix(": "))
}

#[test]
fn profiles_name_sources_and_labels_that_exist() {
    for (profile, text) in PROFILES {
        assert!(text.contains(&format!("\nprofile: {profile}\nhelp: ")), "{profile}");
        let mut metrics = BTreeSet::new();
        for rule in rules(text) {
            if rule.starts_with("{counter: ") {
                continue;
            }
            let info = key(&rule, "source").and_then(source).unwrap_or_else(|| panic!("{profile}: {rule}"));
            assert!(key(&rule, "help").is_some_and(|help| help.trim_matches('"').ends_with('.')), "{profile}: {rule}");
            assert!(metrics.insert(key(&rule, "metric").unwrap().to_owned()), "{profile}: {rule}");
            let used: BTreeSet<&str> =
                rule.split('$').skip(1).map(|rest| rest.split([',', '}', '\n']).next().unwrap()).collect();
            assert!(used.iter().all(|label| info.labels.contains(label)), "{profile}: {rule}");
            // A label left out would make two series one; the pool alone tells its type.
            let left_out = info.labels.iter().filter(|label| !used.contains(*label));
            assert!(left_out.into_iter().all(|label| *label == "type"), "{profile}: {rule}");
        }
    }
}

#[test]
fn names_that_dashboards_know() {
    let table = [
        ("otel", "target.up", "jvm_up"),
        ("otel", "target.info", "jvm_process_info"),
        ("otel", "target.start_time", "jvm_start_time_seconds"),
        ("otel", "pool.used", "jvm_memory_used_bytes"),
        ("otel", "pool.limit", "jvm_memory_limit_bytes"),
        ("otel", "thread.count", "jvm_thread_count"),
        ("otel", "class.loaded", "jvm_class_loaded_total"),
        ("otel", "safepoint.count", "jvm_hotspot_safepoints_total"),
        ("otel", "safepoint.sync_time", "jvm_hotspot_safepoint_sync_seconds_total"),
        ("otel", "safepoint.stopped_time", "jvm_hotspot_safepoint_stopped_seconds_total"),
        ("otel", "gc.time", "jvm_hotspot_gc_time_seconds_total"),
        ("client_java", "target.up", "jvm_up"),
        ("client_java", "target.info", "jvm_process_info"),
        ("client_java", "target.runtime", "jvm_runtime_info"),
        ("client_java", "area.used", "jvm_memory_used_bytes"),
        ("client_java", "area.limit", "jvm_memory_max_bytes"),
        ("client_java", "pool.init", "jvm_memory_pool_init_bytes"),
        ("client_java", "gc.total", "jvm_gc_collection_seconds"),
        ("client_java", "thread.live", "jvm_threads_current"),
        ("client_java", "thread.started", "jvm_threads_started_total"),
        ("client_java", "class.count", "jvm_classes_currently_loaded"),
        ("client_java", "class.loaded", "jvm_classes_loaded_total"),
        ("client_java", "jit.time", "jvm_compilation_time_seconds_total"),
    ];
    for (profile, name, expected) in table {
        let text = PROFILES.iter().find(|(other, _)| *other == profile).unwrap().1;
        let rules = rules(text);
        let rule = rules.iter().find(|rule| key(rule, "source") == Some(name)).unwrap();
        let info = source(name).unwrap();
        let kind = if key(rule, "type") == Some("gauge") { Kind::Gauge } else { info.kind };
        let metric = key(rule, "metric").unwrap();
        let family = crate::metric::Family { name: metric.into(), unit: info.unit.into(), kind, help: "".into() };
        let total = if kind == Kind::Counter { "_total" } else { "" };
        assert_eq!(format!("{}{total}", family.prometheus()), expected, "{profile} {name}");
    }
}

/// The series of one JVM in the default profile, without those of the sampler, NMT and /proc.
#[test]
fn the_default_profile_stays_small() {
    let sources: BTreeSet<String> =
        rules(PROFILES[0].1).iter().filter_map(|rule| key(rule, "source").map(str::to_owned)).collect();
    for [region, ..] in expected_pools() {
        let image = fixture(region);
        let series = facts(&image).iter().filter(|fact| sources.contains(fact.source)).count();
        assert!((25..=60).contains(&series), "{region}: {series}");
    }
}
