//! `/metrics` against what running JVMs say of themselves: every collector of every JDK that is installed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::exporter::Exporter;
use crate::support::exposition::{Exposition, Labels};
use crate::support::jdk::{self, Collector, Jdk};
use crate::support::jvm::{Beans, Jvm, Usage};
use crate::support::{ensure, skip, wait_at_most, wait_for};
use hotspot_exporter::perfdata::Transport::{self, File, Memory};

/// A test for every pair of release and collector, so that a failure names its pair.
macro_rules! agrees_with_the_beans {
    ($($test:ident: $release:literal $collector:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            compare_all(&jdk::of_release($release, stringify!($test)), Collector::$collector, stringify!($test), File);
        })*
    };
}

/// The same of JVMs that publish no file.
macro_rules! agrees_with_the_beans_from_memory {
    ($($test:ident: $release:literal $collector:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            compare_all(&jdk::of_release($release, stringify!($test)), Collector::$collector, stringify!($test), Memory);
        })*
    };
}

agrees_with_the_beans! {
    jdk8_serial: 8 Serial, jdk8_parallel: 8 Parallel, jdk8_cms: 8 ConcMarkSweep, jdk8_g1: 8 G1,
    jdk11_serial: 11 Serial, jdk11_parallel: 11 Parallel, jdk11_cms: 11 ConcMarkSweep, jdk11_g1: 11 G1, jdk11_z: 11 Z,
    jdk11_shenandoah: 11 Shenandoah, jdk11_epsilon: 11 Epsilon,
    jdk17_serial: 17 Serial, jdk17_parallel: 17 Parallel, jdk17_g1: 17 G1, jdk17_z: 17 Z,
    jdk17_shenandoah: 17 Shenandoah, jdk17_epsilon: 17 Epsilon,
    jdk21_serial: 21 Serial, jdk21_parallel: 21 Parallel, jdk21_g1: 21 G1, jdk21_z: 21 Z,
    jdk21_generational_z: 21 GenerationalZ, jdk21_shenandoah: 21 Shenandoah, jdk21_epsilon: 21 Epsilon,
    jdk25_serial: 25 Serial, jdk25_parallel: 25 Parallel, jdk25_g1: 25 G1, jdk25_z: 25 Z,
    jdk25_shenandoah: 25 Shenandoah, jdk25_epsilon: 25 Epsilon,
    jdk26_serial: 26 Serial, jdk26_parallel: 26 Parallel, jdk26_g1: 26 G1, jdk26_z: 26 Z,
    jdk26_shenandoah: 26 Shenandoah, jdk26_epsilon: 26 Epsilon,
    jdk27_serial: 27 Serial, jdk27_parallel: 27 Parallel, jdk27_g1: 27 G1, jdk27_z: 27 Z,
    jdk27_shenandoah: 27 Shenandoah, jdk27_epsilon: 27 Epsilon,
}

agrees_with_the_beans_from_memory! {
    jdk8_g1_from_memory: 8 G1, jdk8_parallel_from_memory: 8 Parallel,
    jdk11_g1_from_memory: 11 G1, jdk11_serial_from_memory: 11 Serial, jdk11_parallel_from_memory: 11 Parallel,
    jdk17_g1_from_memory: 17 G1, jdk17_serial_from_memory: 17 Serial, jdk17_z_from_memory: 17 Z,
    jdk17_shenandoah_from_memory: 17 Shenandoah,
    jdk21_g1_from_memory: 21 G1, jdk21_parallel_from_memory: 21 Parallel,
    jdk21_generational_z_from_memory: 21 GenerationalZ,
    jdk25_g1_from_memory: 25 G1, jdk25_serial_from_memory: 25 Serial, jdk25_z_from_memory: 25 Z,
    jdk25_shenandoah_from_memory: 25 Shenandoah,
    jdk26_g1_from_memory: 26 G1, jdk26_z_from_memory: 26 Z,
    jdk27_g1_from_memory: 27 G1, jdk27_serial_from_memory: 27 Serial, jdk27_z_from_memory: 27 Z,
    jdk27_shenandoah_from_memory: 27 Shenandoah,
}

/// Releases without tests of their own, should the machine have one.
#[test]
fn other_releases() {
    let known = [8, 11, 17, 21, 25, 26, 27];
    let others: Vec<Jdk> = jdk::installed().iter().filter(|jdk| !known.contains(&jdk.feature)).cloned().collect();
    if others.is_empty() {
        return skip("other_releases", "no JDK of a release other than 8, 11, 17, 21, 25, 26 and 27");
    }
    for collector in [Collector::Serial, Collector::Parallel, Collector::G1, Collector::Z, Collector::Shenandoah] {
        compare_all(&others, collector, "other_releases", File);
    }
}

fn compare_all(jdks: &[Jdk], collector: Collector, test: &str, via: Transport) {
    let able: Vec<&Jdk> = jdks.iter().filter(|jdk| jdk.has(collector)).collect();
    for jdk in &able {
        compare(jdk, collector, via);
    }
    if able.is_empty() && !jdks.is_empty() {
        skip(test, format!("{} has no {collector:?}", jdks.iter().map(Jdk::to_string).collect::<Vec<_>>().join(", ")));
    }
}

/// A thread that loses the processor between the reading of a bean's timer and that of the counter's beside it makes the
/// two differ for the rest of the JVM's life. What differs in three JVMs is no such chance.
fn compare(jdk: &Jdk, collector: Collector, via: Transport) {
    let answers = std::iter::repeat_with(|| compare_one(jdk, collector, via)).take(3);
    let differences: Vec<String> = answers.map_while(Result::err).collect();
    assert!(differences.len() < 3, "{jdk} {collector:?}: {}", differences.join("\n\n"));
}

/// Lets a JVM work, holds it still, and compares everything it says with what the exporter says.
fn compare_one(jdk: &Jdk, collector: Collector, via: Transport) -> Result<(), String> {
    let spawned = now();
    let private = (via == Memory).then(|| "-XX:+PerfDisableSharedMem".to_owned());
    let mut jvm = Jvm::start(jdk, collector.options().into_iter().chain(private));
    jvm.obey("classes 50");
    jvm.obey("threads 3 2");
    jvm.obey("allocate 40");
    jvm.beans();
    let earlier = jvm.beans();
    if collector != Collector::Epsilon {
        jvm.obey("gc");
    }
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    wait_at_most(Duration::from_secs(20), || {
        let before = jvm.beans();
        let page = exporter.scrape();
        let after = jvm.beans();
        let (info, page) = page.of_pid(jvm.pid()).ok_or("the JVM is not there yet")?;
        assert_eq!(way(&exporter, jvm.pid()), via.as_str());
        let mut check = Comparison { page, earlier: &earlier, before, after, differences: Vec::new() };
        check.identity(&info, spawned);
        check.counters(collector);
        check.collectors(jdk, collector);
        check.pools(jdk, collector);
        ensure(check.differences.is_empty(), check.differences.join("\n"))
    })
}

/// By which way `/targets` says that a JVM is read.
fn way(exporter: &Exporter, pid: u32) -> String {
    let targets = exporter.targets();
    let row = targets["jvms"].as_array().unwrap().iter().find(|row| row["pid"] == pid).cloned();
    row.unwrap_or_else(|| panic!("{pid} is not in {targets}"))["via"].as_str().unwrap().to_owned()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// One scrape between two answers of the JVM: what only grows must lie between them, and nothing needs a tolerance that
/// does not come from the beans' own unit.
struct Comparison<'a> {
    page: Exposition,
    /// An answer from before the last collection: what HotSpot publishes at the end of collections only is as old.
    earlier: &'a Beans,
    before: Beans,
    after: Beans,
    differences: Vec<String>,
}

impl Comparison<'_> {
    /// Notes a difference unless the series lies between the two values, in either order.
    fn between(&mut self, name: &str, labels: &[(&str, &str)], one: f64, other: f64) {
        match self.page.value(name, labels) {
            Some(value) if one.min(other) <= value && value <= one.max(other) => (),
            found => self.differences.push(format!("{name} {labels:?}: {found:?}, not in {one} to {other}")),
        }
    }

    /// The same for the sum of all such series: the number of threads is by state where the JVM's memory is read.
    fn sum_between(&mut self, name: &str, labels: &[(&str, &str)], one: f64, other: f64) {
        let values: Vec<f64> = self.page.all(name, labels).map(|sample| sample.value).collect();
        let sum = values.iter().sum::<f64>();
        if values.is_empty() || sum < one.min(other) || sum > one.max(other) {
            self.differences.push(format!("{name} {labels:?}: {values:?}, not in {one} to {other}"));
        }
    }

    fn absent(&mut self, name: &str, labels: &[(&str, &str)]) {
        if let Some(value) = self.page.value(name, labels) {
            self.differences.push(format!("{name} {labels:?}: {value}, and should not be there"));
        }
    }

    fn identity(&mut self, info: &Labels, spawned: f64) {
        let vm = self.after.vm.clone();
        for (label, expected) in
            [("java_version", vm.java_version.as_str()), ("vm_vendor", vm.vendor.as_str()), ("main", "Workload")]
        {
            if info.get(label).map(String::as_str) != Some(expected) {
                self.differences.push(format!("{label}: {:?}, not {expected}", info.get(label)));
            }
        }
        self.between("jvm_up", &[], 1.0, 1.0);
        // The counter is the begin of the start, the bean its end.
        self.between("jvm_start_time_seconds", &[], spawned - 0.01, self.after.start_ms as f64 / 1e3);
    }

    fn counters(&mut self, collector: Collector) {
        let (before, after) = (self.before.clone(), self.after.clone());
        let both = |value: fn(&Beans) -> i64| (value(&before) as f64, value(&after) as f64);
        for (name, labels, (one, other)) in [
            ("jvm_thread_count", &[("jvm_thread_daemon", "true")][..], both(|beans| beans.threads.daemon)),
            (
                "jvm_thread_count",
                &[("jvm_thread_daemon", "false")],
                both(|beans| beans.threads.live - beans.threads.daemon),
            ),
            ("jvm_hotspot_thread_peak", &[], both(|beans| beans.threads.peak)),
            ("jvm_hotspot_thread_started_total", &[], both(|beans| beans.threads.started)),
            ("jvm_class_loaded_total", &[], both(|beans| beans.classes.total)),
            ("jvm_class_unloaded_total", &[], both(|beans| beans.classes.unloaded)),
            ("jvm_class_count", &[], both(|beans| beans.classes.loaded)),
        ] {
            self.sum_between(name, labels, one, other);
        }
        // The bean cuts to whole milliseconds.
        let (one, other) = both(|beans| beans.compilation_ms);
        self.between("jvm_hotspot_jit_time_seconds_total", &[], one / 1e3, (other + 1.0) / 1e3);
        // No bean counts them. A collection needs one; without collections there may be none.
        let least = if collector == Collector::Epsilon { 0.0 } else { 1.0 };
        self.between("jvm_hotspot_safepoints_total", &[], least, f64::INFINITY);
    }

    fn collectors(&mut self, jdk: &Jdk, collector: Collector) {
        let mut published = Vec::new();
        for (one, other) in self.before.collectors.clone().iter().zip(&self.after.collectors.clone()) {
            let labels = [("jvm_gc_name", one.name.as_str())];
            let [count, time] = ["jvm_hotspot_gc_collections_total", "jvm_hotspot_gc_time_seconds_total"];
            published.push(one.name.clone());
            if !publishes_collector(jdk, &one.name) {
                self.absent(count, &labels);
                self.absent(time, &labels);
                continue;
            }
            self.between(count, &labels, one.count as f64, other.count as f64);
            // The bean cuts to whole milliseconds, and its timer includes up to 51 us a collection of bookkeeping
            // that the counter's does not. Where it does not, the counter's timer encloses the bean's, by up to 4 us
            // (genCollectedHeap.cpp, `collect_generation`).
            let least = one.time_ms as f64 - 0.1 * one.count as f64;
            let most = other.time_ms as f64 + 1.0 + 0.01 * other.count as f64;
            self.between(time, &labels, least / 1e3, most / 1e3);
        }
        // G1's concurrent pauses are counted from JDK 11 on and have a bean from JDK 20 on (JDK-8297247).
        published.push("G1 Concurrent GC".to_owned());
        let strangers: Vec<String> = self
            .page
            .all("jvm_hotspot_gc_collections_total", &[])
            .filter_map(|sample| sample.labels.get("jvm_gc_name"))
            .filter(|name| !published.contains(name))
            .cloned()
            .collect();
        if !strangers.is_empty() {
            self.differences.push(format!("{collector:?} has no collectors {strangers:?}"));
        }
    }

    fn pools(&mut self, jdk: &Jdk, collector: Collector) {
        let (before, after, earlier) = (self.before.clone(), self.after.clone(), self.earlier.pools());
        let (before, after) = (before.pools(), after.pools());
        for (name, last) in &after {
            // Code heaps are not in the counters.
            if name.contains("Code") {
                continue;
            }
            let kind = if last.kind == "HEAP" { "heap" } else { "non_heap" };
            let labels = [("jvm_memory_type", kind), ("jvm_memory_pool_name", *name)];
            let first = match Freshness::of(jdk, collector, name) {
                Freshness::Unpublished => {
                    self.absent("jvm_memory_used_bytes", &labels);
                    before[name]
                }
                Freshness::Pause => {
                    let heap = self.after.heap.max as f64;
                    self.between("jvm_memory_used_bytes", &labels, 0.0, heap);
                    before[name]
                }
                Freshness::Collection => {
                    let first = earlier[name];
                    self.between("jvm_memory_used_bytes", &labels, first.usage.used as f64, last.usage.used as f64);
                    first
                }
                Freshness::Live => {
                    let first = before[name];
                    self.between("jvm_memory_used_bytes", &labels, first.usage.used as f64, last.usage.used as f64);
                    first
                }
            };
            if name.ends_with("Generation") {
                let heap = self.after.heap.max as f64;
                self.between("jvm_memory_committed_bytes", &labels, 0.0, heap);
            } else {
                let (first, last) = (first.usage.committed as f64, last.usage.committed as f64);
                self.between("jvm_memory_committed_bytes", &labels, first, last);
            }
            self.limit(&labels, &first.usage, &last.usage);
        }
        if after.keys().any(|name| name.ends_with("Generation")) {
            self.generations();
        }
    }

    /// What generational ZGC calls committed in one generation is the other one's use taken from the whole heap
    /// (zServiceability.cpp, JDK 21 to 25), so it is as old as the last pause; the sum of both is not.
    fn generations(&mut self) {
        let committed = |name| self.page.value("jvm_memory_committed_bytes", &[("jvm_memory_pool_name", name)]);
        let sum = committed("ZGC Young Generation").unwrap_or(0.0) + committed("ZGC Old Generation").unwrap_or(0.0);
        let (before, after) = (self.before.heap.committed as f64, self.after.heap.committed as f64);
        if sum < before.min(after) || sum > before.max(after) {
            self.differences.push(format!("generations of {sum} bytes, not in {before} to {after}"));
        }
    }

    fn limit(&mut self, labels: &[(&str, &str)], first: &Usage, last: &Usage) {
        if last.max < 0 {
            self.absent("jvm_memory_limit_bytes", labels);
        } else {
            self.between("jvm_memory_limit_bytes", labels, first.max as f64, last.max as f64);
        }
    }
}

/// How the published use of a pool relates to the bean's.
enum Freshness {
    /// The same number, or one from a moment ago.
    Live,
    /// That of the end of the last collection.
    Collection,
    /// That of some pause, clamped: only its range can be checked.
    Pause,
    /// HotSpot publishes a false zero.
    Unpublished,
}

impl Freshness {
    fn of(jdk: &Jdk, collector: Collector, pool: &str) -> Self {
        match collector {
            // JDK-8241678 removed the sampler of eden.
            Collector::Serial | Collector::Parallel if jdk.feature >= 25 && pool.contains("Eden") => Self::Unpublished,
            Collector::Z | Collector::GenerationalZ if pool.starts_with('Z') => Self::Pause,
            _ if pool == "Metaspace" || pool == "Compressed Class Space" => Self::Collection,
            _ => Self::Live,
        }
    }
}

/// Whether HotSpot's counters have what the bean of that name counts: cycles of concurrent collectors are not counted,
/// and Shenandoah's counters mix pauses with concurrent phases.
fn publishes_collector(jdk: &Jdk, bean: &str) -> bool {
    let cycles = bean.ends_with("Cycles") || (bean == "ZGC" && jdk.feature < 17);
    !cycles && !bean.starts_with("Shenandoah") && !bean.starts_with("Epsilon")
}

/// An ordinary JVM, one that publishes no file, and one whose uid has no passwd entry, side by side.
#[test]
fn three_ways_of_running_show_the_same_families_and_pauses() {
    let test = "three_ways_of_running_show_the_same_families_and_pauses";
    if !crate::support::is_root() {
        return skip(test, "setpriv --reuid needs root");
    }
    let Some([_, jdk]) = jdk::for_other_users(test) else { return };
    let classes = jdk::classes_for_everybody();
    let options = ["-XX:+UseG1GC"];
    let mut stranger = Command::new("setpriv");
    stranger.args(["--reuid=12345", "--regid=12345", "--clear-groups"]).arg(jdk.java());
    stranger.arg("-Xmx96m").args(options).arg("-cp").arg(classes.path()).arg("Workload");
    let mut jvms = [
        (Jvm::start(&jdk, options), File),
        (Jvm::start(&jdk, options.iter().copied().chain(["-XX:+PerfDisableSharedMem"])), Memory),
        (Jvm::spawn(&mut stranger), Memory),
    ];
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let pauses = |page: &Exposition| {
        page.value("jvm_gc_duration_seconds_count", &[("jvm_gc_action", "end of major GC")]).unwrap_or(0.0)
    };
    for (jvm, via) in &mut jvms {
        let pid = jvm.pid();
        // What was allocated is told from the first look on, and so are pauses.
        wait_for("the JVM to be sampled", || {
            let (_, page) = exporter.scrape().of_pid(pid).ok_or("not there")?;
            page.value("jvm_hotspot_allocated_bytes_total", &[]).ok_or("not looked at")
        });
        assert_eq!(way(&exporter, pid), via.as_str());
        jvm.obey("gc");
        let collected = jvm.beans().collectors.iter().map(|bean| bean.time_ms).sum::<i64>() as f64 / 1e3;
        wait_for("its pause", || {
            let (_, page) = exporter.scrape().of_pid(pid).ok_or("gone")?;
            let sum = page.value("jvm_gc_duration_seconds_sum", &[("jvm_gc_action", "end of major GC")]).unwrap_or(0.0);
            ensure(pauses(&page) == 1.0 && sum > 0.0 && sum <= collected + 0.001, format!("{sum} of {collected}"))
        });
    }
    let families = |pid| -> Result<BTreeSet<String>, &str> {
        let (_, page) = exporter.scrape().of_pid(pid).ok_or("gone")?;
        Ok(page.samples.iter().map(|sample| sample.name.clone()).collect())
    };
    wait_for("the same families", || {
        let [published, private, stranger] = [&jvms[0], &jvms[1], &jvms[2]].map(|(jvm, _)| families(jvm.pid()));
        let (published, private, stranger) = (published?, private?, stranger?);
        let differences: Vec<_> =
            published.symmetric_difference(&private).chain(published.symmetric_difference(&stranger)).collect();
        ensure(differences.is_empty() && published.len() > 60, format!("{differences:?}"))
    });
}

#[test]
fn series_end_with_their_jvm() {
    let jdk = jdk::any();
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    type End = fn(Jvm);
    let ends: [(&str, End); 2] = [("exit", |jvm| assert!(jvm.exit().success())), ("SIGKILL", Jvm::kill)];
    for (how, end) in ends {
        let app = format!("ends-by-{how}");
        let jvm = Jvm::start(&jdk, ["-XX:+UseSerialGC", &format!("-Dotel.service.name={app}")]);
        let of_it = [("app", app.as_str())];
        wait_for("the JVM to appear", || exporter.scrape().value("jvm_up", &of_it).ok_or("not there"));
        end(jvm);
        let left = exporter.scrape();
        let left: Vec<_> = left.samples.iter().filter(|sample| sample.labels.get("app") == Some(&app)).collect();
        assert!(left.is_empty(), "the next scrape after {how} still has {left:?}");
    }
}

#[test]
fn a_restarted_jvm_takes_the_slot_of_its_predecessor() {
    let jdk = jdk::any();
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let options = ["-XX:+UseSerialGC", "-Dotel.service.name=restarted"];
    let mut starts = Vec::new();
    for _ in 0..2 {
        let jvm = Jvm::start(&jdk, options);
        let (info, page) = wait_for("the JVM to appear", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there"));
        assert_eq!((info["app"].as_str(), info["slot"].as_str()), ("restarted", "0"), "{info:?}");
        starts.push(page.value("jvm_start_time_seconds", &[]).unwrap());
    }
    assert!(starts[0] < starts[1], "the second start is the newer one: {starts:?}");
}

#[test]
fn long_names_are_cut_and_told_apart_by_slots() {
    let jdk = jdk::any();
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let name = "long-".repeat(40);
    let start = |end: &str| Jvm::start(&jdk, ["-XX:+UseSerialGC", &format!("-Dotel.service.name={name}{end}")]);
    let jvms = [start("a"), start("b")];
    let mut slots = jvms.each_ref().map(|jvm| {
        let (info, _) = wait_for("the JVM to appear", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there"));
        assert_eq!(info["app"], name[..128]);
        info["slot"].clone()
    });
    slots.sort();
    assert_eq!(slots, ["0", "1"]);
}

#[test]
fn two_jvms_of_one_app_have_two_slots() {
    let jdk = jdk::any();
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let options = ["-XX:+UseSerialGC", "-Dotel.service.name=twins"];
    let jvms = [Jvm::start(&jdk, options), Jvm::start(&jdk, options)];
    let mut slots: Vec<String> = jvms
        .iter()
        .map(|jvm| wait_for("both to appear", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there")).0)
        .map(|info| info["slot"].clone())
        .collect();
    slots.sort();
    assert_eq!(slots, ["0", "1"]);
}

/// A JVM behind another pid namespace, with nothing but its directory in common with the exporter: the read-lease probe
/// is all that tells whether it lives.
#[test]
fn a_killed_jvm_in_a_hidden_pid_namespace_is_gone() {
    let test = "a_killed_jvm_in_a_hidden_pid_namespace_is_gone";
    if !crate::support::is_root() {
        return skip(test, "unshare --mount --pid needs root");
    }
    let root = crate::support::regions::Root::new();
    let config = root.path().join("exporter.yaml");
    std::fs::write(&config, "discovery: {interval: 1s}\n").unwrap();
    let [roots, procfs] = root.flags();
    let exporter = Exporter::start([format!("--config.file={}", config.display()), roots, procfs]);
    for jdk in &jdk::of_each_release(|_| true) {
        let tmp = root.path();
        let jvm = Jvm::hidden(jdk, tmp);
        let region = wait_for("its region", || find_region(tmp).ok_or("not there"));
        wait_for(&format!("{jdk} to appear"), || {
            ensure(exporter.scrape().value("jvm_up", &[]) == Some(1.0), exporter.get("/targets").text())
        });
        jvm.kill();
        wait_for(&format!("{jdk} to be gone"), || {
            ensure(exporter.scrape().value("jvm_up", &[]).is_none(), exporter.get("/targets").text())
        });
        assert!(region.exists(), "SIGKILL leaves the region of {jdk} behind, so the file is not what told");
        std::fs::remove_file(region).unwrap();
    }
}

fn find_region(tmp: &Path) -> Option<std::path::PathBuf> {
    let user =
        std::fs::read_dir(tmp).ok()?.flatten().find(|e| e.file_name().as_encoded_bytes().starts_with(b"hsperf"))?;
    std::fs::read_dir(user.path()).ok()?.flatten().map(|entry| entry.path()).next()
}

/// JVMs start while an exporter scans their directory all the time: none may lose its region to a probe.
#[test]
fn starting_jvms_lose_nothing_under_constant_scanning() {
    let jdk = jdk::any();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("exporter.yaml");
    std::fs::write(&config, "discovery: {interval: 100ms}\n").unwrap();
    let config = format!("--config.file={}", config.display());
    // Without procfs every scan has to probe the lease.
    let probing = Exporter::start([config.as_str(), "--discovery.root=/tmp", "--path.procfs=off"]);
    for start in 0..20 {
        let jvm = Jvm::start(&jdk, ["-XX:+UseSerialGC"]);
        let user = rustix::process::geteuid();
        let region = std::fs::read_dir("/tmp").unwrap().flatten().find_map(|entry| {
            let file = entry.path().join(jvm.pid().to_string());
            let perf = entry.file_name().as_encoded_bytes().starts_with(b"hsperfdata_");
            (perf && file.metadata().is_ok_and(|meta| meta.len() > 0)).then_some(file)
        });
        assert!(region.is_some(), "start {start} as uid {user:?} has no region");
        wait_for("the JVM to appear", || probing.scrape().of_pid(jvm.pid()).map(drop).ok_or("not there"));
    }
}

fn jvm_start(exporter: &Exporter, jvm: u32) -> Option<f64> {
    exporter.scrape().of_pid(jvm)?.1.value("jvm_start_time_seconds", &[])
}

#[test]
fn every_profile_has_the_jvm() {
    let jdk = jdk::any();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("exporter.yaml");
    std::fs::write(&config, "profiles: [otel, client_java, micrometer, raw]\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let exporter = Exporter::start([config.as_str(), "--discovery.root=/tmp"]);
    let mut jvm = Jvm::start(&jdk, ["-XX:+UseG1GC"]);
    jvm.obey("gc");
    let threads = jvm.beans().threads.live as f64;
    for (path, name, expected) in [
        ("/metrics", "jvm_hotspot_thread_peak", threads),
        ("/metrics/client_java", "jvm_threads_current", threads),
        ("/metrics/micrometer", "jvm_threads_live_threads", threads),
        ("/metrics/raw", "hsperf_java_threads_live", threads),
    ] {
        let page = wait_for("the JVM to appear", || exporter.scrape_path(path).of_pid(jvm.pid()).ok_or("not there")).1;
        assert_eq!(page.value(name, &[]), Some(expected), "{path} {name}");
    }
    let before = jvm.beans().uptime_ms as f64 / 1e3;
    let page = exporter.scrape_path("/metrics/micrometer").of_pid(jvm.pid()).unwrap().1;
    let uptime = page.value("process_uptime_seconds", &[]).unwrap();
    // The bean counts from a moment after the start.
    assert!((before..jvm.beans().uptime_ms as f64 / 1e3 + 1.0).contains(&uptime), "{before}, {uptime}");
    assert_eq!(page.value("process_start_time_seconds", &[]), jvm_start(&exporter, jvm.pid()));
    let page = exporter.scrape_path("/metrics/client_java").of_pid(jvm.pid()).unwrap().1;
    assert!(page.value("jvm_gc_collection_seconds_count", &[("gc", "G1 Old Generation")]) >= Some(1.0));
    assert!(page.value("jvm_memory_pool_used_bytes", &[("pool", "G1 Old Gen")]) > Some(0.0));
}
