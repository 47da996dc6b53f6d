//! CPU time by kind of thread.

use std::fs;

use crate::support::exporter::Exporter;
use crate::support::jdk::{self, Collector, Jdk};
use crate::support::jvm::Jvm;
use crate::support::{ensure, skip, wait_for};

const CPU_TIME: &str = "jvm_hotspot_thread_cpu_time_seconds_total";

/// An exporter that also serves groups of application threads, and the directory of its configuration.
fn exporter() -> (Exporter, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    fs::write(&file, "threads: {groups: true}\n").unwrap();
    (Exporter::start([&format!("--config.file={}", file.display()), "--discovery.root=/tmp"]), directory)
}

/// Each thread that a JVM starts for itself has its kind: what is left has names that the program gave.
#[test]
fn no_thread_of_the_jvm_is_taken_for_the_applications() {
    let all = [
        Collector::Serial,
        Collector::Parallel,
        Collector::ConcMarkSweep,
        Collector::G1,
        Collector::Z,
        Collector::GenerationalZ,
        Collector::Shenandoah,
    ];
    let mut jvms = Vec::new();
    for jdk in jdk::of_each_release(|_| true) {
        for collector in all.into_iter().filter(|collector| jdk.has(*collector)) {
            let mut jvm = Jvm::start(&jdk, collector.options().into_iter().chain(["-Xmx64m".to_owned()]));
            jvm.obey("allocate 40");
            jvm.obey("gc");
            jvms.push((jdk.clone(), collector, jvm));
        }
    }
    let (exporter, _directory) = exporter();
    for (jdk, collector, jvm) in &jvms {
        wait_for(&format!("the threads of {jdk} {collector:?}"), || {
            let page = exporter.scrape();
            let (_, page) = page.of_pid(jvm.pid()).ok_or("the JVM is not there yet")?;
            let mut groups: Vec<String> = page
                .all("jvm_hotspot_thread_group_cpu_time_seconds_total", &[])
                .filter_map(|sample| sample.labels.get("group").cloned())
                .collect();
            groups.retain(|group| group != "java");
            ensure(groups.is_empty(), format!("{groups:?}"))?;
            let mut kinds = vec!["vm", "service", "jit_c1", "application"];
            match collector {
                Collector::Serial => (),
                Collector::Parallel => kinds.push("gc"),
                Collector::Z | Collector::GenerationalZ | Collector::Shenandoah => kinds.push("gc_concurrent"),
                _ => kinds.extend(["gc", "gc_concurrent"]),
            }
            let missing: Vec<_> =
                kinds.iter().filter(|kind| page.value(CPU_TIME, &[("kind", kind)]).is_none()).collect();
            ensure(missing.is_empty(), format!("no {missing:?}"))
        });
    }
}

/// From JDK 22 on, HotSpot itself counts the CPU time of some of its threads.
#[test]
fn cpu_time_agrees_with_hotspots_own_counters() {
    let jdks: Vec<Jdk> = jdk::of_each_release(|jdk| jdk.feature >= 22);
    if jdks.is_empty() {
        return skip("cpu_time_agrees_with_hotspots_own_counters", "no JDK of 22 or later");
    }
    for (jdk, collector) in jdks.iter().flat_map(|jdk| [(jdk, Collector::Parallel), (jdk, Collector::G1)]) {
        let mut jvm = Jvm::start(jdk, collector.options().into_iter().chain(["-Xmx200m".to_owned()]));
        jvm.obey("allocate 3000");
        for _ in 0..10 {
            jvm.obey("gc");
        }
        let (exporter, _directory) = exporter();
        wait_for(&format!("{jdk} {collector:?} to agree"), || {
            let page = exporter.scrape();
            let (_, page) = page.of_pid(jvm.pid()).ok_or("the JVM is not there yet")?;
            let own = |name: &str, labels: &[(&str, &str)]| page.value(name, labels).ok_or(format!("no {name}"));
            for (counter, labels, kind) in [
                ("jvm_hotspot_gc_cpu_time_seconds_total", &[("thread", "parallel_workers")][..], "gc"),
                ("jvm_hotspot_vm_cpu_time_seconds_total", &[], "vm"),
            ] {
                let (own, ours) = (own(counter, labels)?, own(CPU_TIME, &[("kind", kind)])?);
                // HotSpot counts its workers' time at the end of a collection, in which they still go to sleep.
                ensure((own - ours).abs() <= 0.03 * own + 0.003, format!("{kind}: {ours}, HotSpot says {own}"))?;
            }
            Ok::<_, String>(())
        });
    }
}
