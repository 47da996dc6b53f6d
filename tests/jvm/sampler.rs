//! The sampler on real JVMs under load, against their own log.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tempfile::TempDir;

use crate::support::churn::{Churn, Load, REALISTIC, STRESS};
use crate::support::exporter::Exporter;
use crate::support::exposition::Exposition;
use crate::support::jdk::{self, Collector, Jdk};
use crate::support::jvm::Jvm;
use crate::support::{ensure, skip, wait_for};

const DURATION: &str = "jvm_gc_duration_seconds";

/// Those bounds of the default configuration that OpenTelemetry names too, as `le` says them. Whether a pause lies in a finer
/// bucket depends on the two timers.
const BOUNDS: [(f64, &str); 5] = [(0.01, "0.01"), (0.1, "0.1"), (1.0, "1.0"), (10.0, "10.0"), (f64::INFINITY, "+Inf")];

/// Most seconds between HotSpot's counter and its log for one pause: they are two timers around the same work.
const TIMERS_DIFFER: f64 = 0.000_5;

/// One JVM under load at a time: two stall each other, and with them the sampler.
fn exclusive() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A test for every pair of release and collector that publishes pauses, so that a failure names its pair. ZGC of JDK
/// 11 publishes none.
macro_rules! agrees_with_the_log {
    ($($test:ident: $release:literal $collector:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            for jdk in jdk::of_release($release, stringify!($test)) {
                compare(&jdk, Collector::$collector);
            }
        })*
    };
}

agrees_with_the_log! {
    jdk8_serial: 8 Serial, jdk8_parallel: 8 Parallel, jdk8_g1: 8 G1,
    jdk11_serial: 11 Serial, jdk11_parallel: 11 Parallel, jdk11_g1: 11 G1,
    jdk17_serial: 17 Serial, jdk17_parallel: 17 Parallel, jdk17_g1: 17 G1, jdk17_z: 17 Z,
    jdk21_serial: 21 Serial, jdk21_parallel: 21 Parallel, jdk21_g1: 21 G1, jdk21_z: 21 Z,
    jdk25_serial: 25 Serial, jdk25_parallel: 25 Parallel, jdk25_g1: 25 G1, jdk25_z: 25 Z,
    jdk26_serial: 26 Serial, jdk26_parallel: 26 Parallel, jdk26_g1: 26 G1, jdk26_z: 26 Z,
    jdk27_serial: 27 Serial, jdk27_parallel: 27 Parallel, jdk27_g1: 27 G1, jdk27_z: 27 Z,
}

/// An exporter, and its page of the JVM once the JVM is sampled.
fn start_sampling(jvm: u32, flags: &[String]) -> (Exporter, Exposition) {
    static DEFAULT: OnceLock<(TempDir, Vec<String>)> = OnceLock::new();
    let (_, default) = DEFAULT.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let flags = config(directory.path(), "");
        (directory, flags)
    });
    let flags = if flags.is_empty() { default } else { flags };
    let exporter = Exporter::start(["--discovery.root=/tmp".to_owned()].iter().chain(flags));
    let page = wait_for("the JVM to be sampled", || {
        let page = page_of(&exporter, "/metrics", jvm)?;
        let sampled = page.value("jvm_hotspot_allocated_bytes_total", &[]).is_some()
            || page.value("jvm_hotspot_gc_cycles_total", &[]).is_some();
        ensure(sampled, "not yet sampled")?;
        Ok::<_, String>(page)
    });
    (exporter, page)
}

fn page_of(exporter: &Exporter, path: &str, jvm: u32) -> Result<Exposition, String> {
    Ok(exporter.scrape_path(path).of_pid(jvm).ok_or("the JVM is not there yet")?.1)
}

fn total(page: &Exposition, name: &str, labels: &[(&str, &str)]) -> f64 {
    page.all(name, labels).map(|sample| sample.value).sum()
}

/// The growth between two pages of one JVM.
struct Growth {
    before: Exposition,
    after: Exposition,
}

impl Growth {
    fn of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        total(&self.after, name, labels) - total(&self.before, name, labels)
    }

    fn count(&self) -> f64 {
        self.of(&format!("{DURATION}_count"), &[])
    }

    fn sum(&self) -> f64 {
        self.of(&format!("{DURATION}_sum"), &[])
    }

    /// How many pauses lie outside of the buckets that their lengths in the log belong to. A length that the two
    /// timers may measure on different sides of a bound counts as right on either.
    fn misplaced(&self, log: &[f64]) -> f64 {
        let below = |bound: f64| log.iter().filter(|length| **length <= bound).count() as f64;
        let wrong = BOUNDS.iter().map(|(bound, label)| {
            let found = self.of(&format!("{DURATION}_bucket"), &[("le", label)]);
            let (least, most) = (below(bound - TIMERS_DIFFER), below(bound + TIMERS_DIFFER));
            (least - found).max(found - most).max(0.0)
        });
        wrong.sum()
    }
}

/// Loads a JVM and compares its log with the metrics.
fn compare(jdk: &Jdk, collector: Collector) {
    let _exclusive = exclusive();
    let directory = tempfile::tempdir().unwrap();
    let every_millisecond = config(directory.path(), "sampling: {interval: 1ms, idle_interval: 1ms}\n");
    for (load, wrong_share) in [(REALISTIC, 0.0), (STRESS, 0.005)] {
        let what = format!("{jdk} {collector:?}, {load:?}");
        let mut jvm = Churn::start(jdk, collector, load);
        let (exporter, before) = start_sampling(jvm.pid(), &[]);
        // The log of JDK 11 times up to a tenth more than its counters do, and on a busy machine the kernel may take the
        // processor away between the two timers. What lies in another bucket even where samples are frequent enough to
        // know every length exactly is due to the timers.
        let (oracle, oracle_before) = start_sampling(jvm.pid(), &every_millisecond);
        let early = jvm.pauses().len();
        let allocated = jvm.run();
        // A collector that runs by its own clock may go on after the load: both are read until they agree.
        let (log, growth) = wait_for(&what, || {
            let log = jvm.pauses().split_off(early);
            let growth = Growth { before: before.clone(), after: page_of(&exporter, "/metrics", jvm.pid())? };
            ensure(growth.count() == log.len() as f64, format!("{} of {} pauses", growth.count(), log.len()))?;
            // PerfData's own counter, on the same page, of which no sample may have seen the last pause; a float of seconds
            // has 15 digits.
            let perfdata = growth.of("jvm_hotspot_gc_time_seconds_total", &[]);
            ensure((growth.sum() - perfdata).abs() < 1e-6, format!("sum {} and {perfdata}", growth.sum()))?;
            Ok::<_, String>((log, growth))
        });
        assert!(log.len() > 3, "{what}: {log:?}");
        let logged: f64 = log.iter().sum();
        assert!((growth.sum() - logged).abs() < 0.05 * logged + 1e-3 * log.len() as f64, "{what}: {logged} in the log");
        let misplaced = growth.misplaced(&log);
        let by_timer = Growth { before: oracle_before, after: page_of(&oracle, "/metrics", jvm.pid()).unwrap() };
        let by_timer = by_timer.misplaced(&log);
        // The exporter says of how many pauses it knows the mean only, as when it was late itself.
        let interpolated = growth.of("jvm_hotspot_gc_pauses_interpolated_total", &[]);
        assert!(
            misplaced <= (wrong_share * log.len() as f64).ceil() + by_timer + interpolated,
            "{what}: {misplaced} of {} in a wrong bucket, {by_timer} by the log's timer, {interpolated} by their mean",
            log.len()
        );
        let estimate = growth.of("jvm_hotspot_allocated_bytes_total", &[]) / allocated as f64;
        assert!((0.8..most_allocated(jdk, collector)).contains(&estimate), "{what}: {estimate} of what was allocated");
        live_set(&growth.after, jdk, collector, &what);
    }
}

/// How many times what was allocated the estimate may be. G1 of JDK 8 publishes the size that a thread's buffer should have
/// had for each refill, so that the capacity of eden is the best bound.
fn most_allocated(jdk: &Jdk, collector: Collector) -> f64 {
    if jdk.feature == 8 && collector == Collector::G1 { 1.2 } else { 1.1 }
}

/// The live set, and the peaks that the collector allows.
fn live_set(page: &Exposition, jdk: &Jdk, collector: Collector, what: &str) {
    if collector == Collector::Z {
        for absent in ["jvm_hotspot_live_set_bytes", "jvm_memory_used_after_last_gc_bytes"] {
            assert_eq!(page.all(absent, &[]).count(), 0, "{what}: {absent}, which is as of before anything is freed");
        }
        return;
    }
    let live = page.value("jvm_hotspot_live_set_bytes", &[]).unwrap_or_else(|| panic!("{what}: no live set"));
    let pools = total(page, "jvm_memory_used_after_last_gc_bytes", &[("jvm_memory_type", "heap")]);
    assert!(live > 1e5 && live <= 400.0 * 1_048_576.0 && live == pools, "{what}: live set {live}, pools {pools}");
    let heap = page.all("jvm_hotspot_heap_used_max_bytes", &[]).count();
    let unsound = jdk.feature >= 25 && collector != Collector::G1;
    assert!(heap == 0 || !unsound, "{what}: an unsound heap peak");
}

/// One of the releases that every change must be tested on.
fn required(test: &str) -> Option<Jdk> {
    [25, 17].into_iter().find_map(|release| jdk::of_release(release, test).pop())
}

/// Without the JVM's memory, which has the exact count of what samples estimate.
fn config(directory: &Path, text: &str) -> Vec<String> {
    let file: PathBuf = directory.join("exporter.yaml");
    fs::write(&file, format!("{text}introspection: {{mode: \"off\"}}\n")).unwrap();
    vec![format!("--config.file={}", file.display())]
}

#[test]
fn peaks_are_those_of_complete_windows() {
    let Some(jdk) = required("peaks_are_those_of_complete_windows") else { return };
    let mut jvm = Jvm::with_collector(&jdk, Collector::G1);
    jvm.obey("threads 40 0");
    jvm.obey("classes 300");
    let (exporter, first) = start_sampling(jvm.pid(), &[]);
    let window = [("window", "15s")];
    let peaks = ["jvm_hotspot_thread_max", "jvm_hotspot_class_max", "jvm_hotspot_heap_used_max_bytes"];
    for peak in peaks {
        assert_eq!(first.value(peak, &window), None, "{peak}: no window is complete yet");
    }
    let (beans, page) = wait_for("a complete window", || {
        let page = page_of(&exporter, "/metrics", jvm.pid())?;
        ensure(page.value(peaks[0], &window).is_some(), "not yet")?;
        Ok::<_, String>((jvm.beans(), page))
    });
    assert_eq!(page.value(peaks[0], &window), Some(beans.threads.live as f64));
    let classes = page.value(peaks[1], &window).unwrap();
    assert!((classes - beans.classes.loaded as f64).abs() < 200.0, "{classes}, not {}", beans.classes.loaded);
    assert!(page.value(peaks[2], &window).unwrap() > 0.0);
    let longest = "jvm_hotspot_gc_pause_max_seconds";
    assert!(page.all(longest, &window).count() >= 2, "every collector reports that it had none");
    assert_eq!(total(&page, longest, &window), 0.0);
}

/// Arrays that seldom fit into a thread's buffer, between calls of System.gc().
#[test]
fn objects_outside_of_thread_buffers_are_counted_by_the_eden_that_they_fill() {
    let test = "objects_outside_of_thread_buffers_are_counted_by_the_eden_that_they_fill";
    let _exclusive = exclusive();
    for jdk in [17, 25].into_iter().filter_map(|release| jdk::of_release(release, test).pop()) {
        for collector in [Collector::Serial, Collector::Parallel, Collector::G1] {
            for bytes in [10_000, 200_000] {
                let what = format!("{jdk} {collector:?}, {bytes} bytes");
                let mut jvm = Churn::start(&jdk, collector, Load::of_arrays(bytes));
                let (exporter, before) = start_sampling(jvm.pid(), &[]);
                let allocated = jvm.run();
                wait_for(&what, || {
                    let growth = Growth { before: before.clone(), after: page_of(&exporter, "/metrics", jvm.pid())? };
                    let estimate = growth.of("jvm_hotspot_allocated_bytes_total", &[]) / allocated as f64;
                    let collections = || format!("{estimate} of {allocated} bytes; its log:\n{}", jvm.log());
                    ensure((0.75..1.2).contains(&estimate), collections())
                });
            }
        }
    }
}

/// By the beans, which are named after pauses and cycles, on JDK 11 that of cycles only after the collector.
fn cycles(jvm: &mut Jvm) -> i64 {
    let beans = jvm.beans().collectors;
    beans.iter().filter(|bean| !bean.name.ends_with("Pauses")).map(|bean| bean.count).sum()
}

#[test]
fn cms_counts_a_concurrent_cycle_once_from_jdk_9_on() {
    let test = "cms_counts_a_concurrent_cycle_once_from_jdk_9_on";
    let options = ["-XX:+UseConcMarkSweepGC", "-XX:+ExplicitGCInvokesConcurrent", "-Xlog:disable"];
    for (release, options, times) in [(8, &options[..2], 2), (11, &options[..], 1)] {
        for jdk in jdk::of_release(release, test).into_iter().filter(|jdk| jdk.has(Collector::ConcMarkSweep)).take(1) {
            let mut jvm = Jvm::start(&jdk, options);
            let exporter = Exporter::start(["--discovery.root=/tmp"]);
            (0..5).for_each(|_| jvm.obey("gc"));
            wait_for(&format!("{jdk}"), || {
                let cms = [("jvm_gc_name", "ConcurrentMarkSweep")];
                let page = page_of(&exporter, "/metrics", jvm.pid())?;
                let counted = page.value("jvm_hotspot_gc_collections_total", &cms).ok_or("not yet")?;
                let beans = jvm.beans().collectors;
                let bean = beans.iter().find(|bean| bean.name == "ConcurrentMarkSweep").ok_or("no bean")?;
                ensure(bean.count >= 5 && counted == (times * bean.count) as f64, format!("{counted}, {}", bean.count))
            });
        }
    }
}

/// Cycles of a small heap take a few milliseconds, less than the time between two samples. Those that a JVM begins by
/// itself within one sample may merge where no pauses count them.
#[test]
fn short_cycles_are_counted_as_the_beans_count_them() {
    let test = "short_cycles_are_counted_as_the_beans_count_them";
    for (release, collector) in [
        (11, Collector::Z),
        (17, Collector::Z),
        (21, Collector::Z),
        (21, Collector::GenerationalZ),
        (25, Collector::Z),
        (27, Collector::Z),
        (11, Collector::Shenandoah),
        (17, Collector::Shenandoah),
        (25, Collector::Shenandoah),
    ] {
        for jdk in jdk::of_release(release, test).into_iter().filter(|jdk| jdk.has(collector)).take(1) {
            let mut jvm = Jvm::with_collector(&jdk, collector);
            let (exporter, before) = start_sampling(jvm.pid(), &[]);
            let early = cycles(&mut jvm);
            let merge = release == 11 || collector == Collector::Shenandoah;
            let mut last = 0.0;
            for collection in 1..=12 {
                jvm.obey("gc");
                // The next one begins when this one was seen: those that follow within one sample may merge.
                last = wait_for(&format!("{jdk} {collector:?}: cycle {collection}"), || {
                    let growth = Growth { before: before.clone(), after: page_of(&exporter, "/metrics", jvm.pid())? };
                    let counted = growth.of("jvm_hotspot_gc_cycles_total", &[]);
                    let truth = (cycles(&mut jvm) - early) as f64;
                    let right = if merge { counted > last && counted <= truth } else { counted == truth };
                    ensure(right, format!("{counted} counted of {truth}, {last} before"))?;
                    Ok::<_, String>(counted)
                });
            }
        }
    }
}

#[test]
fn shenandoah_has_cycles_and_no_pauses() {
    let test = "shenandoah_has_cycles_and_no_pauses";
    let jdks = [25, 17, 21].into_iter().flat_map(|release| jdk::of_release(release, test));
    let Some(jdk) = jdks.into_iter().find(|jdk| jdk.has(Collector::Shenandoah)) else {
        return skip(test, "no JDK with Shenandoah");
    };
    let mut jvm = Jvm::with_collector(&jdk, Collector::Shenandoah);
    let (exporter, _) = start_sampling(jvm.pid(), &[]);
    let page = wait_for("a cycle", || {
        jvm.obey("gc");
        let page = page_of(&exporter, "/metrics", jvm.pid())?;
        ensure(total(&page, "jvm_hotspot_gc_cycles_total", &[]) > 0.0, "none observed yet")?;
        let seconds = total(&page, "jvm_hotspot_gc_cycle_time_seconds_total", &[]);
        ensure(seconds > 0.0, "a cycle between two samples has no length")?;
        Ok::<_, String>(page)
    });
    let count = format!("{DURATION}_count");
    for absent in [&*count, "jvm_hotspot_live_set_bytes", "jvm_hotspot_allocated_bytes_total"] {
        assert_eq!(page.all(absent, &[]).count(), 0, "{absent}");
    }
}

#[test]
fn causes_and_buckets_are_those_of_the_configuration() {
    let Some(jdk) = required("causes_and_buckets_are_those_of_the_configuration") else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut jvm = Jvm::with_collector(&jdk, Collector::Serial);
    let flags = config(directory.path(), "sampling: {causes: true, buckets: [0.0005, 30]}\n");
    let (exporter, _) = start_sampling(jvm.pid(), &flags);
    jvm.obey("gc");
    let cause = [("jvm_gc_cause", "System.gc()")];
    let page = wait_for("the pause", || {
        let page = page_of(&exporter, "/metrics", jvm.pid())?;
        ensure(page.all(&format!("{DURATION}_count"), &cause).count() > 0, "not yet")?;
        Ok::<_, String>(page)
    });
    let bucket = format!("{DURATION}_bucket");
    let found: Vec<(&str, f64)> =
        page.all(&bucket, &cause).map(|sample| (sample.labels["le"].as_str(), sample.value)).collect();
    assert_eq!(found, [("0.0005", 0.0), ("30.0", 1.0), ("+Inf", 1.0)]);
}

#[test]
fn an_interval_of_zero_switches_sampling_off() {
    let Some(jdk) = required("an_interval_of_zero_switches_sampling_off") else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut jvm = Jvm::with_collector(&jdk, Collector::G1);
    let exporter = Exporter::start(
        ["--discovery.root=/tmp".to_owned()].into_iter().chain(config(directory.path(), "sampling: {interval: 0}\n")),
    );
    jvm.obey("gc");
    let page = wait_for("the JVM", || page_of(&exporter, "/metrics", jvm.pid()));
    assert!(total(&page, "jvm_hotspot_gc_time_seconds_total", &[]) > 0.0, "the rest is there");
    let sampled = [DURATION, "_max", "live_set", "allocated", "in_progress", "last_gc", "interpolated"];
    let found: Vec<&str> = page.samples.iter().map(|sample| &*sample.name).collect();
    assert!(!found.iter().any(|name| sampled.iter().any(|part| name.contains(part))), "{found:?}");
    let tasks = fs::read_dir(format!("/proc/{}/task", exporter.pid())).unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    assert_eq!(names.filter(|name| name == "sampler\n").count(), 0, "no thread wakes up for it");
}

#[test]
fn a_restarted_jvm_starts_a_new_histogram() {
    let Some(jdk) = required("a_restarted_jvm_starts_a_new_histogram") else { return };
    let count = format!("{DURATION}_count");
    let mut first = Jvm::start(&jdk, ["-XX:+UseSerialGC", "-Dotel.service.name=sampler-restart"]);
    let (exporter, _) = start_sampling(first.pid(), &[]);
    for _ in 0..3 {
        first.obey("gc");
    }
    wait_for("three pauses", || {
        let found = total(&page_of(&exporter, "/metrics", first.pid())?, &count, &[]);
        ensure(found == 3.0, found)
    });
    assert!(first.exit().success());
    let mut second = Jvm::start(&jdk, ["-XX:+UseSerialGC", "-Dotel.service.name=sampler-restart"]);
    let page = wait_for("the next JVM", || page_of(&exporter, "/metrics", second.pid()));
    assert_eq!(total(&page, &count, &[]), 0.0, "the pauses of the one before are not its own");
    let is_sampled = |page: &Exposition| page.value("jvm_hotspot_allocated_bytes_total", &[]).is_some();
    wait_for("its first sample", || ensure(is_sampled(&page_of(&exporter, "/metrics", second.pid())?), "not yet"));
    second.obey("gc");
    wait_for("its pause", || {
        let found = total(&page_of(&exporter, "/metrics", second.pid())?, &count, &[]);
        ensure(found == 1.0, found)
    });
}

#[test]
fn what_collections_bring_into_the_old_generation_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let flags = config(directory.path(), "profiles: [otel, micrometer]\n");
    for jdk in jdk::of_each_release(|_| true) {
        for (collector, old) in [(Collector::Serial, "Tenured Gen"), (Collector::Parallel, "PS Old Gen")] {
            let mut jvm = Jvm::with_collector(&jdk, collector);
            let (exporter, _) = start_sampling(jvm.pid(), &flags);
            // The page once it knows what a full collection left, and that.
            let collected = |jvm: &mut Jvm| {
                jvm.obey("gc");
                let (pid, used) = (jvm.pid(), jvm.beans().pools()[old].usage);
                let page = wait_for("the live set", || {
                    let page = page_of(&exporter, "/metrics/micrometer", pid)?;
                    let live = page.value("jvm_gc_live_data_size_bytes", &[]);
                    ensure(live == Some(used.used as f64), format!("{jdk}, {collector:?}: {live:?}, {used:?}"))?;
                    Ok::<_, String>(page)
                });
                (page, used)
            };
            let (before, used_before) = collected(&mut jvm);
            jvm.obey("keep 20");
            let (after, used) = collected(&mut jvm);
            let growth = Growth { before, after };
            let promoted = growth.of("jvm_gc_memory_promoted_bytes_total", &[]);
            let what = format!("{jdk}, {collector:?}: {promoted}, {used_before:?}, {used:?}");
            // From JDK 26 on Serial leaves some of it in the young generation, and Parallel puts some of it into the old one
            // without a collection.
            let grown = (used.used - used_before.used) as f64;
            assert!(grown > 1e7 && (grown / 2.0..grown + 1e6).contains(&promoted), "{what}");
            let value = |name| growth.after.value(name, &[]).unwrap();
            let (share, limit) = (value("jvm_memory_usage_after_gc"), value("jvm_gc_max_data_size_bytes"));
            assert!(
                (share - used.used as f64 / limit).abs() < 1e-9 && limit == used.max as f64,
                "{what}, {share}, {limit}"
            );
        }
    }
}
