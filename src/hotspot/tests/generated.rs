//! Generated regions of JVMs that the recorded ones lack.

#[path = "../../../tests/support/region_builder.rs"]
mod region_builder;

use super::*;
use region_builder::RegionBuilder;

fn decoded(region: &RegionBuilder) -> Image {
    Image::decode(region.build()).unwrap()
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
        let image = decoded(&collector_named(region, 1, "CMS", 4, 500_000_000));
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
fn two_pauses_of_cms_are_one_collection_where_they_are_counted_apart() {
    let region = jdk("11.0.33").text("sun.gc.policy.name", "ParNew:CMS");
    let region = collector_named(region, 1, "CMS", 4, 500_000_000);
    let facts = evaluated(&decoded(&collector_named(region, 2, "CMS stop-the-world phases", 7, 250_000_000)));
    let cms = "{gc=ConcurrentMarkSweep,action=end of major GC}";
    assert_eq!(int(&facts, &format!("gc.count{cms}")), Some(4 + 3), "the last cycle has begun");
    assert_eq!(float(&facts, &format!("gc.time{cms}")), Some(0.75));
}

#[test]
fn epsilon_collects_nothing() {
    let image = decoded(&generation(jdk("25"), 1, "Heap", [64, 96, 0], &[("Heap", [10, 64, 96, 0])]));
    assert_eq!(Collector::of(&image), Some(Collector::Epsilon));
    let facts = evaluated(&image);
    assert_eq!(int(&facts, "pool.used{pool=Epsilon Heap,type=heap}"), Some(10));
    assert_eq!(int(&facts, "area.limit{area=heap}"), Some(96));
    assert_eq!(int(&facts, "area.init{area=heap}"), None, "0 is wrong");
    assert!(!facts.keys().any(|name| name.starts_with("gc.")));
}

#[test]
fn zgc_of_every_kind() {
    let heap = |region| generation(region, 1, "old", [96, 96, 8], &[("space", [40, 96, 96, 8])]);
    let measured = |version: &str| jdk(version).long("sun.gc.metaspace.used", 1);
    let bare = decoded(&heap(measured("11.0.33")));
    assert_eq!(Collector::of(&bare), Some(Collector::Zgc), "JDK 11 names no collector");
    assert_eq!(int(&evaluated(&bare), "pool.used{pool=ZHeap,type=heap}"), Some(40));
    for version in ["21.0.2", "25.0.3"] {
        let region = generation(measured(version), 0, "young", [30, 96, 8], &[("space", [9, 30, 96, 96])]);
        let region = generation(region, 1, "old", [66, 96, 0], &[("space", [11, 66, 96, 0])]);
        let region = collector_named(region, 0, "ZGC minor collection pauses", 21, 1_000_000);
        let image = decoded(&collector_named(region, 2, "ZGC major collection pauses", 33, 2_000_000));
        let facts = evaluated(&image);
        assert_eq!(Collector::of(&image), Some(Collector::Zgc));
        assert_eq!(int(&facts, "pool.limit{pool=ZGC Young Generation,type=heap}"), Some(96));
        assert_eq!(int(&facts, "area.limit{area=heap}"), Some(96), "never the sum of the generations");
        assert_eq!(int(&facts, "area.used{area=heap}"), Some(20));
        assert_eq!(int(&facts, "gc.count{gc=ZGC Major Pauses,action=end of GC pause}"), Some(33));
        assert_eq!(int(&facts, "pool.used{pool=ZHeap,type=heap}"), None);
    }
    let idle = evaluated(&decoded(&heap(jdk("17.0.15").long("sun.gc.metaspace.used", 0))));
    for absent in ["pool.used{pool=ZHeap,type=heap}", "area.used{area=heap}", "area.committed{area=heap}"] {
        assert_eq!(int(&idle, absent), None, "nothing is measured before the first pause");
    }
    assert_eq!(int(&idle, "area.limit{area=heap}"), Some(96));
    assert_eq!(int(&idle, "area.init{area=heap}"), None, "the pool publishes the minimum");
}

#[test]
fn generational_shenandoah_publishes_one_heap() {
    let region = generation(jdk("25.0.3"), 0, "Young", [0, 0, 0], &[]);
    let region = generation(region, 1, "Heap", [64, 96, 32], &[("Heap", [10, 96, 96, 96])]);
    let region = collector_named(region, 0, "Shenandoah partial", 0, 0);
    let image = decoded(&collector_named(region, 1, "Shenandoah full", 630, 659_000_000));
    let facts = evaluated(&image);
    assert_eq!(Collector::of(&image), Some(Collector::Shenandoah));
    assert_eq!(int(&facts, "pool.committed{pool=Shenandoah,type=heap}"), Some(64), "the capacity of the space is 96");
    assert!(!facts.keys().any(|name| name.starts_with("gc.")), "its counts are not of collections");
}

/// The counters of substratevm's SerialGCPerfData and SystemCounters, with two survivor spaces.
pub(super) fn native_image() -> Image {
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
    decoded(&region)
}

#[test]
fn native_images() {
    let image = native_image();
    let (jvm, facts) = (Jvm::of(&image, &ProcessStart::default(), &[]), evaluated(&image));
    assert!(jvm.native_image && jvm.fully_up);
    assert_eq!((jvm.collector, jvm.main.as_deref()), (Some(Collector::Serial), Some("orders")));
    assert_eq!(int(&facts, "pool.used{pool=eden space,type=heap}"), Some(5));
    assert_eq!(int(&facts, "pool.used{pool=survivor space,type=heap}"), Some(5));
    assert_eq!(int(&facts, "pool.used{pool=old generation space,type=heap}"), Some(20));
    assert_eq!(int(&facts, "area.used{area=heap}"), Some(30));
    assert_eq!(int(&facts, "area.limit{area=heap}"), Some(100));
    assert_eq!(int(&facts, "area.committed{area=heap}"), None);
    assert_eq!(int(&facts, "gc.count{gc=young generation scavenger,action=end of minor GC}"), Some(8));
    assert_eq!(
        float(&facts, "target.start_time{}"),
        Some(1_795_341_331.406),
        "labelled ticks, but milliseconds since the epoch"
    );
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
    let (jvm, facts) = (Jvm::of(&decoded(&region), &ProcessStart::default(), &[]), evaluated(&decoded(&region)));
    assert!(!jvm.fully_up);
    assert_eq!((jvm.main, jvm.nmt), (None, NmtSetting::Unknown));
    assert_eq!(float(&facts, "target.start_time{}"), Some(1_795_341_331.406));
    assert_eq!(int(&facts, "safepoint.count{}"), Some(3));
    assert_eq!(facts.keys().filter(|name| name.starts_with("safepoint")).count(), 1, "no ticks without a frequency");

    let up = RegionBuilder::new().long("sun.rt.createVmEndTime", 1);
    assert!(
        Jvm::of(&decoded(&up), &ProcessStart::default(), &[]).fully_up,
        "what is missing did not fit into the region"
    );
}

#[test]
fn a_missing_counter_removes_only_its_own_facts() {
    let region = jdk("17.0.15").long("sun.os.hrt.ticks", 1).text("sun.gc.policy.name", "Copy:MSC").overflow(5000);
    let image = decoded(&region.long("sun.gc.generation.0.space.0.used", 5).long("java.threads.live", 3));
    let facts = evaluated(&image);
    let names: Vec<&str> = facts.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "pool.freshness{pool=Eden Space,mode=sampled}",
            "pool.used{pool=Eden Space,type=heap}",
            "region.overflow{}",
            "thread.live{}"
        ]
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
    let facts = evaluated(&decoded(&region));
    assert_eq!(int(&facts, "pool.limit{pool=Metaspace,type=non_heap}"), Some(1024), "not the reserved space");
    assert_eq!(int(&facts, "metaspace.reserved{}"), Some(9000));
    let numbers = facts.keys().filter(|name| name.contains("Compressed") && !name.contains("freshness"));
    assert_eq!(numbers.count(), 0);
}

#[test]
fn big_endian_jvms_are_read_alike() {
    let region =
        RegionBuilder::new().big_endian().long("java.threads.live", 3).text("sun.gc.policy.name", "GarbageFirst");
    let image = decoded(&region);
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
        let image = decoded(&region);
        let jvm = Jvm::of(&image, &ProcessStart::default(), &["spring.application.name".to_owned()]);
        assert_eq!(jvm.app.as_deref(), Some("orders"));
        let everything = format!("{jvm:?} {:?} {:?}", Jvm::of(&image, &ProcessStart::default(), &[]), facts(&image));
        for secret in SECRETS {
            assert!(!everything.contains(secret), "{command}: {secret} in {everything}");
        }
    }
}
