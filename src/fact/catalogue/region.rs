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
    of("target.up", &[], Gauge, "", "1 while the JVM's counters can be read, 0 while it is known and they cannot."),
    of("target.info", TARGET, Info, "", "What changes when a JVM restarts: pid, versions, collector."),
    of(
        "target.runtime",
        &["version", "vendor", "runtime"],
        Info,
        "",
        "The virtual machine's version, vendor and name.",
    ),
    of("target.start_time", &[], Gauge, "s", "When the JVM started, seconds since the epoch."),
    of("pool.used", POOL, UpDownCounter, "By", "Bytes in use in a memory pool; see pool.freshness."),
    of("pool.committed", POOL, UpDownCounter, "By", "Bytes that a memory pool has from the operating system."),
    of("pool.limit", POOL, UpDownCounter, "By", "Bytes that a memory pool may grow to; never to be summed over pools."),
    of("pool.init", POOL, UpDownCounter, "By", "Bytes that a memory pool started with."),
    of(
        "pool.freshness",
        &["pool", "mode"],
        Info,
        "",
        "How pool.used is kept up: live, sampled, or gc (at collections only).",
    ),
    of("area.used", AREA, UpDownCounter, "By", "Bytes in use in the heap, where every pool of it tells."),
    of(
        "area.committed",
        AREA,
        UpDownCounter,
        "By",
        "Bytes that the heap has from the operating system, without the empty survivor space.",
    ),
    of("area.limit", AREA, UpDownCounter, "By", "Bytes that the heap may grow to."),
    of("area.init", AREA, UpDownCounter, "By", "Bytes that the heap started with, where every pool of it tells."),
    of(
        "metaspace.reserved",
        &[],
        UpDownCounter,
        "By",
        "Address space reserved for class metadata, class space included.",
    ),
    of(
        "gc.count",
        GC,
        Counter,
        "{collection}",
        "Collections begun; of ZGC and of G1's concurrent cycles, their pauses.",
    ),
    of(
        "gc.time",
        GC,
        Counter,
        "s",
        "Time in finished collections; of ZGC and of G1's concurrent cycles, in their pauses.",
    ),
    of("gc.total", &["gc"], Summary, "s", "Count and time of collections in one value."),
    of("gc.cpu_time", &["thread"], Counter, "s", "CPU time of the collector's threads (G1 and Parallel, JDK 22+)."),
    of("safepoint.count", &[], Counter, "{safepoint}", "Times all threads were stopped."),
    of("safepoint.sync_time", &[], Counter, "s", "Time until all threads had stopped."),
    of("safepoint.time", &[], Counter, "s", "Time at safepoints, without the time to reach them."),
    of("safepoint.stopped_time", &[], Counter, "s", "Time to reach safepoints and time at them."),
    of("safepoint.application_time", &[], Counter, "s", "Time between safepoints; grows at the next safepoint only."),
    of("vm.operation_time", &[], Counter, "s", "Wall-clock time of the VM thread in its operations."),
    of("vm.cpu_time", &[], Counter, "s", "CPU time of the VM thread (JDK 22+)."),
    of(
        "thread.count",
        &["daemon"],
        UpDownCounter,
        "{thread}",
        "Live platform threads; virtual threads are not counted.",
    ),
    of("thread.live", &[], UpDownCounter, "{thread}", "Live platform threads, daemon or not."),
    of("thread.daemon", &[], UpDownCounter, "{thread}", "Live daemon threads."),
    of("thread.peak", &[], Gauge, "{thread}", "Most live threads at one time since start, or since JMX reset it."),
    of("thread.started", &[], Counter, "{thread}", "Threads started."),
    of("class.loaded", &[], Counter, "{class}", "Classes loaded, from the CDS archive too."),
    of("class.unloaded", &[], Counter, "{class}", "Classes unloaded."),
    of("class.count", &[], UpDownCounter, "{class}", "Classes loaded now."),
    of("class.loaded_bytes", &[], Counter, "By", "Bytes of metadata of the classes loaded."),
    of("class.unloaded_bytes", &[], Counter, "By", "Bytes of metadata of the classes unloaded."),
    of("class.load_time", &[], Counter, "s", "Time spent loading classes."),
    of("jit.time", &[], Counter, "s", "Time of finished compilations."),
    of(
        "jit.compilations",
        &["kind"],
        Counter,
        "{compilation}",
        "Methods compiled: standard, or on-stack replacement (osr).",
    ),
    of("jit.bailouts", &[], Counter, "{compilation}", "Compilations given up."),
    of("jit.invalidations", &[], Counter, "{compilation}", "Compilations whose result was thrown away."),
];
