//! The facts that follow from a JVM's region, and those of the target itself.

use super::{FactInfo, Since};
use crate::metric::Kind;

const fn of(
    name: &'static str,
    labels: &'static [&'static str],
    kind: Kind,
    unit: &'static str,
    help: &'static str,
) -> FactInfo {
    FactInfo { name, labels, kind, unit, help, since: Since::Start }
}

const POOL: &[&str] = &["pool", "type"];
const AREA: &[&str] = &["area"];
const GC: &[&str] = &["gc", "action"];
const TARGET: &[&str] =
    &["pid", "vpid", "user", "main", "java_version", "vm_name", "vm_vendor", "vm_version", "gc", "container_id"];

use Kind::{Counter, Gauge, Info, Summary, UpDownCounter};

pub(super) const FACTS: &[FactInfo] = &[
    of("target.up", &[], Gauge, "", "Whether the JVM's counters can be read (1) or not (0)."),
    of("target.info", TARGET, Info, "", "Process facts of a JVM that change at a restart: pid, versions, collector."),
    of(
        "target.runtime",
        &["version", "vendor", "runtime"],
        Info,
        "",
        "Version, vendor and name of the virtual machine.",
    ),
    of("target.start_time", &[], Gauge, "s", "Start time of the JVM since the Unix epoch in seconds."),
    of(
        "pool.used",
        POOL,
        UpDownCounter,
        "By",
        "Memory in use in a memory pool; pool.freshness shows how each pool is updated.",
    ),
    of(
        "pool.committed",
        POOL,
        UpDownCounter,
        "By",
        "Memory that a memory pool has committed from the operating system.",
    ),
    of(
        "pool.limit",
        POOL,
        UpDownCounter,
        "By",
        "Maximum size of a memory pool, absent where it has no limit of its own; not additive over pools.",
    ),
    of("pool.init", POOL, UpDownCounter, "By", "Initial size of a memory pool."),
    of(
        "pool.freshness",
        &["pool", "mode"],
        Info,
        "",
        "How pool.used is updated: live, sampled (every 50 to 100 ms), or gc (at the end of collections).",
    ),
    of("area.used", AREA, UpDownCounter, "By", "Memory in use in the heap, where all of its pools publish it."),
    of(
        "area.committed",
        AREA,
        UpDownCounter,
        "By",
        "Memory that the heap has committed from the operating system, without the empty survivor space.",
    ),
    of("area.limit", AREA, UpDownCounter, "By", "Maximum size of the heap."),
    of("area.init", AREA, UpDownCounter, "By", "Initial size of the heap, where all of its pools publish theirs."),
    of(
        "metaspace.reserved",
        &[],
        UpDownCounter,
        "By",
        "Address space reserved for class metadata, including the class space.",
    ),
    of(
        "gc.count",
        GC,
        Counter,
        "{collection}",
        "Collections started; for ZGC and G1's concurrent cycles, their pauses.",
    ),
    of(
        "gc.time",
        GC,
        Counter,
        "s",
        "Time in completed collections; for ZGC and G1's concurrent cycles, in their pauses.",
    ),
    of("gc.total", &["gc"], Summary, "s", "Count and time of collections as one summary."),
    of(
        "gc.cpu_time",
        &["thread"],
        Counter,
        "s",
        "CPU time of the collector's threads (G1 and Parallel, JDK 22 and later).",
    ),
    of("safepoint.count", &[], Counter, "{safepoint}", "Safepoints: times that all threads were stopped."),
    of("safepoint.sync_time", &[], Counter, "s", "Time to safepoint: from the request until all threads stopped."),
    of("safepoint.time", &[], Counter, "s", "Time at safepoints, without the time to reach them."),
    of("safepoint.stopped_time", &[], Counter, "s", "Time to reach safepoints and at them."),
    of("safepoint.application_time", &[], Counter, "s", "Time between safepoints, updated at each safepoint."),
    of("vm.operation_time", &[], Counter, "s", "Wall-clock time of VM operations in the VM thread."),
    of("vm.cpu_time", &[], Counter, "s", "CPU time of the VM thread (JDK 22 and later)."),
    of("thread.count", &["daemon"], UpDownCounter, "{thread}", "Live platform threads, without virtual threads."),
    of("thread.live", &[], UpDownCounter, "{thread}", "Live platform threads, daemon and non-daemon."),
    of("thread.daemon", &[], UpDownCounter, "{thread}", "Live daemon threads."),
    of("thread.peak", &[], Gauge, "{thread}", "Peak number of live threads since the JVM started or JMX reset it."),
    of("thread.started", &[], Counter, "{thread}", "Threads started."),
    of("class.loaded", &[], Counter, "{class}", "Classes loaded, including those from the CDS archive."),
    of("class.unloaded", &[], Counter, "{class}", "Classes unloaded."),
    of("class.count", &[], UpDownCounter, "{class}", "Classes currently loaded."),
    of("class.loaded_bytes", &[], Counter, "By", "Metadata bytes of the classes loaded."),
    of("class.unloaded_bytes", &[], Counter, "By", "Metadata bytes of the classes unloaded."),
    of("class.load_time", &[], Counter, "s", "Time spent loading classes."),
    of("jit.time", &[], Counter, "s", "Time of completed compilations."),
    of(
        "jit.compilations",
        &["kind"],
        Counter,
        "{compilation}",
        "Methods compiled, by kind: standard, or on-stack replacement (osr).",
    ),
    of("jit.bailouts", &[], Counter, "{compilation}", "Compilations abandoned."),
    of("jit.invalidations", &[], Counter, "{compilation}", "Compilations whose result was discarded."),
];
