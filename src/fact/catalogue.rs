//! Every fact that a rule's `source:` may name: the interface between the program and the YAML rules.

use crate::{fact::Since, metric::Kind};

/// What a rule's `source:` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactInfo {
    /// The name in rules.
    pub name: &'static str,
    /// The labels of its facts, `$name` in rules.
    pub labels: &'static [&'static str],
    /// What the values are, unless the rule says otherwise.
    pub kind: Kind,
    /// UCUM unit of the values.
    pub unit: &'static str,
    /// One sentence for `explain` and the documentation.
    pub help: &'static str,
    /// The moment at which a cumulative value is zero.
    pub since: Since,
}

/// Every declared fact: of the region, of the sampler, of Native Memory Tracking and of the process.
pub fn all() -> impl Iterator<Item = &'static FactInfo> {
    FACTS.iter()
}

/// The fact of that name.
pub(crate) fn find(name: &str) -> Option<&'static FactInfo> {
    all().find(|fact| fact.name == name)
}

/// Each fact with its labels, kind and unit, with [`FactInfo::since`] where that is not the JVM's start, and with its
/// help.
macro_rules! facts {
    ($($name:literal [$($label:literal),*] $kind:ident $unit:literal $(since $since:ident)? $help:literal;)*) => {
        const FACTS: &[FactInfo] = &[$(FactInfo {
            name: $name,
            labels: &[$($label),*],
            kind: Kind::$kind,
            unit: $unit,
            help: $help,
            since: facts!(@since $($since)?),
        }),*];
    };
    (@since) => { Since::Start };
    (@since $since:ident) => { Since::$since };
}

facts! {
    // What follows from a JVM's region, and the target itself.
    "target.up" [] Gauge "" "Whether the JVM's counters can be read (1) or not (0).";
    "target.info" ["pid", "vpid", "user", "main", "java_version", "vm_name", "vm_vendor", "vm_version", "gc",
         "container_id"] Info ""
        "Process facts of a JVM that change at a restart: pid, versions, collector.";
    "target.runtime" ["version", "vendor", "runtime"] Info "" "Version, vendor and name of the virtual machine.";
    "target.start_time" [] Gauge "s" "Start time of the JVM since the Unix epoch in seconds.";
    "target.uptime" [] Gauge "s" "Time since the start of the JVM.";
    "region.overflow" [] Gauge "By"
        "Bytes of counters that did not fit into the JVM's region (-XX:PerfDataMemorySize), absent where all did.";
    "pool.used" ["pool", "type"] UpDownCounter "By"
        "Memory in use in a memory pool; pool.freshness shows how each pool is updated.";
    "pool.committed" ["pool", "type"] UpDownCounter "By"
        "Memory that a memory pool has committed from the operating system.";
    "pool.limit" ["pool", "type"] UpDownCounter "By"
        "Maximum size of a memory pool, absent where it has no limit of its own; not additive over pools.";
    "pool.init" ["pool", "type"] UpDownCounter "By" "Initial size of a memory pool.";
    "pool.freshness" ["pool", "mode"] Info ""
        "How pool.used is updated: live, asked (diagnostics.interval), sampled, gc (after it), or pause (before ZGC frees).";
    "area.used" ["area"] UpDownCounter "By"
        "Memory in use in an area, heap or nonheap, where all of its pools have a value; nonheap adds as the bean does.";
    "area.committed" ["area"] UpDownCounter "By"
        "Memory that an area has committed from the operating system, without the empty survivor space.";
    "area.limit" ["area"] UpDownCounter "By" "Maximum size of the heap.";
    "area.init" ["area"] UpDownCounter "By" "Initial size of the heap, where all of its pools publish theirs.";
    "heap.used" [] UpDownCounter "By" "Memory in use in the whole heap.";
    "heap.committed" [] UpDownCounter "By" "Memory that the whole heap has committed from the operating system.";
    "heap.limit" [] UpDownCounter "By" "Maximum size of the heap.";
    "old.limit" [] UpDownCounter "By" "Maximum size of the pool of long-lived objects: the old generation, or the whole heap.";
    "metaspace.reserved" [] UpDownCounter "By" "Address space reserved for class metadata, including the class space.";
    "gc.count" ["gc", "action"] Counter "{collection}"
        "Collections started; for ZGC, G1's concurrent cycles and CMS of JDK 8, their pauses.";
    "gc.time" ["gc", "action"] Counter "s"
        "Time in completed collections; for ZGC and G1's concurrent cycles, in their pauses.";
    "gc.total" ["gc"] Summary "s" "Count and time of collections as one summary.";
    "gc.cpu_time" ["thread"] Counter "s" "CPU time of the collector's threads (G1 and Parallel, JDK 22 and later).";
    "safepoint.count" [] Counter "{safepoint}" "Safepoints: times that all threads were stopped.";
    "safepoint.sync_time" [] Counter "s" "Time to safepoint: from the request until all threads stopped.";
    "safepoint.time" [] Counter "s" "Time at safepoints, without the time to reach them.";
    "safepoint.stopped_time" [] Counter "s" "Time to reach safepoints and at them.";
    "safepoint.application_time" [] Counter "s" "Time between safepoints, updated at each safepoint.";
    "vm.operation_time" [] Counter "s" "Wall-clock time of VM operations in the VM thread.";
    "vm.cpu_time" [] Counter "s" "CPU time of the VM thread (JDK 22 and later).";
    "thread.count" ["daemon", "state"] UpDownCounter "{thread}"
        "Live platform threads, without virtual threads; the state is empty where it is not known.";
    "thread.live" [] UpDownCounter "{thread}" "Live platform threads, daemon and non-daemon.";
    "thread.daemon" [] UpDownCounter "{thread}" "Live daemon threads.";
    "thread.peak" [] Gauge "{thread}" "Peak number of live threads since the JVM started or JMX reset it.";
    "thread.started" [] Counter "{thread}" "Threads started.";
    "class.loaded" [] Counter "{class}" "Classes loaded, including those from the CDS archive.";
    "class.unloaded" [] Counter "{class}" "Classes unloaded.";
    "class.count" [] UpDownCounter "{class}" "Classes currently loaded.";
    "class.loaded_bytes" [] Counter "By" "Metadata bytes of the classes loaded.";
    "class.unloaded_bytes" [] Counter "By" "Metadata bytes of the classes unloaded.";
    "class.load_time" [] Counter "s" "Time spent loading classes.";
    "jit.time" [] Counter "s" "Time of completed compilations.";
    "jit.compilations" ["kind"] Counter "{compilation}"
        "Methods compiled, by kind: standard, or on-stack replacement (osr).";
    "jit.bailouts" [] Counter "{compilation}" "Compilations abandoned.";
    "jit.invalidations" [] Counter "{compilation}" "Compilations whose result was discarded.";

    // What the JVM answers over its attach socket, or keeps in fields of its own that vmStructs describes.
    "thread.states" ["state"] UpDownCounter "{thread}" "Live platform threads, by state.";
    "thread.deadlocked" [] UpDownCounter "{thread}"
        "Threads in a deadlock of monitors; locks of java.util.concurrent are not seen.";
    "thread.virtual_mounted" [] UpDownCounter "{thread}" "Virtual threads that are mounted on a carrier thread.";
    "buffer.used" ["pool"] UpDownCounter "By" "Memory of direct or mapped buffers.";
    "buffer.limit" ["pool"] UpDownCounter "By" "Total capacity of direct or mapped buffers.";
    "buffer.count" ["pool"] UpDownCounter "{buffer}" "Direct or mapped buffers.";
    "code_cache.full" [] Counter "{event}" "Times that a code heap was full.";
    "code_cache.nmethods" [] UpDownCounter "{nmethod}" "Compiled methods in the code cache.";
    "jit.enabled" [] Gauge "" "Whether the JVM compiles (1) or has stopped, as when the code cache is full (0).";
    "flag.value" ["flag", "origin"] Gauge "" "Value of a flag of the JVM (-XX), a number or 0 or 1, and who set it.";
    "class_loader.count" [] UpDownCounter "{class_loader}" "Class loaders, without hidden classes.";
    "g1.humongous" [] UpDownCounter "By" "Regions of G1 that hold humongous objects.";
    "alloc.source" ["mode"] Info "" "How alloc.bytes is known: exact (the JVM's own count), or estimated.";
    "diagnostics.age" [] Gauge "s" "Age of the last answers over the attach socket, without native memory.";
    "diagnostics.last_success" [] Gauge "s"
        "Time of the last answers over the attach socket since the Unix epoch in seconds.";
    "diagnostics.duration" [] Gauge "s" "Duration of the last questions over the attach socket.";
    "introspection.rejected" ["what"] Counter "{value}" since Attached
        "Values in the JVM's memory that failed their check and are absent.";

    // What only sampling between scrapes can provide.
    "gc.pause" ["gc", "action", "cause"] Histogram "s" since Attached
        "Duration of collector pauses since discovery; count and sum are HotSpot's own, cause only where configured.";
    "gc.pauses_interpolated" ["gc", "action"] Counter "{pause}" since Attached
        "Pauses that followed too fast to be measured singly, counted in gc.pause at their mean.";
    "gc.pause_max" ["gc", "action", "window"] Gauge "s" since Attached
        "Longest pause that ended in the last complete window, 0 if none did.";
    "gc.in_progress" [] Gauge "" since Attached "Whether a collector has stopped the application (1) or not (0).";
    "gc.pause_age" [] Gauge "s" since Attached "Time since the current pause began, absent outside pauses.";
    "gc.cycles" ["gc"] Counter "{cycle}" since Attached
        "Concurrent cycles and collections of ZGC and Shenandoah; Shenandoah's back-to-back cycles may count as one.";
    "gc.cycle_time" ["gc"] Counter "s" since Attached
        "Duration of the cycles of gc.cycles that lasted longer than a sampling interval, accurate to about 3 percent.";
    "pool.after_gc" ["pool", "type"] UpDownCounter "By" since Attached
        "Memory in use in a memory pool at the end of the last collection of any kind (Serial, Parallel, G1).";
    "heap.live_set" [] UpDownCounter "By" since Attached
        "Heap memory in use at the end of the last collection of any kind (Serial, Parallel, G1).";
    "old.live_set" [] UpDownCounter "By" since Attached
        "Use of the old generation after the last collection of it, or one that shrank it (Serial, Parallel, G1).";
    "old.usage_after_gc" [] Gauge "1" since Attached
        "Share of the old generation in use at the end of the last collection of any kind (Serial, Parallel, G1).";
    "gc.promoted" [] Counter "By" since Attached
        "Growth of the old generation over collections since discovery (Serial, Parallel, G1).";
    "heap.used_max" ["window"] Gauge "By" since Attached
        "Peak heap usage in the last complete window (sampled every 50 to 100 ms).";
    "thread.max" ["window"] Gauge "{thread}" since Attached
        "Peak number of live platform threads in the last complete window (sampled every 50 to 100 ms).";
    "class.max" ["window"] Gauge "{class}" since Attached
        "Peak number of loaded classes in the last complete window (sampled every 50 to 100 ms).";
    "alloc.bytes" [] Counter "By" since Attached
        "Bytes allocated since discovery, updated at collections: an estimate, with ZGC without large objects.";
    "alloc.overwritten" [] Counter "{publication}" since Attached
        "Times that generational ZGC may have overwritten an allocation total before it was read.";

    // Native Memory Tracking. `category` is HotSpot's name and differs between releases; `part` is `metadata` or
    // `class_space`; `type` is `instance` or `array`.
    "nmt.reserved" ["category"] UpDownCounter "By" "Address space reserved, by category, including malloc.";
    "nmt.committed" ["category"] UpDownCounter "By" "Memory committed, by category, including malloc.";
    "nmt.malloc" ["category"] UpDownCounter "By" "Memory allocated with malloc, by category.";
    "nmt.malloc_blocks" ["category"] UpDownCounter "{block}" "Live malloc blocks, by category.";
    "nmt.malloc_peak" ["category"] Gauge "By"
        "Peak memory allocated with malloc since the JVM started, by category (17.0.10 and later).";
    "nmt.arena" ["category"] UpDownCounter "By" "Memory in arenas, by category.";
    "nmt.arena_blocks" ["category"] UpDownCounter "{block}" "Live arenas, by category.";
    "nmt.arena_peak" ["category"] Gauge "By"
        "Peak memory in arenas since the JVM started, by category (17.0.10 and later).";
    "nmt.mmap_reserved" ["category"] UpDownCounter "By" "Address space reserved with mmap, by category.";
    "nmt.mmap_committed" ["category"] UpDownCounter "By" "Memory committed with mmap, by category.";
    "nmt.mmap_peak" ["category"] Gauge "By"
        "Peak memory committed with mmap since the JVM started, by category (21 and later).";
    "nmt.total_reserved" [] UpDownCounter "By" "Address space reserved by all categories.";
    "nmt.total_committed" [] UpDownCounter "By" "Memory committed by all categories.";
    "nmt.total_malloc" [] UpDownCounter "By" "Memory allocated with malloc by all categories (17.0.6 and later).";
    "nmt.total_malloc_blocks" [] UpDownCounter "{block}" "Live malloc blocks of all categories (17.0.6 and later).";
    "nmt.total_malloc_peak" [] Gauge "By"
        "Peak memory allocated with malloc by all categories since the JVM started (25 and later).";
    "nmt.total_mmap_reserved" [] UpDownCounter "By"
        "Address space reserved with mmap by all categories (17.0.6 and later).";
    "nmt.total_mmap_committed" [] UpDownCounter "By" "Memory committed with mmap by all categories (17.0.6 and later).";
    "nmt.threads" [] UpDownCounter "{thread}" "Threads whose stacks NMT counts, including the JVM's internal threads.";
    "nmt.stack_reserved" [] UpDownCounter "By" "Address space of thread stacks.";
    "nmt.stack_committed" [] UpDownCounter "By"
        "Resident memory of thread stacks (11 and later; JDK 8 repeats the reserved size).";
    "nmt.stack_peak" [] Gauge "By" "Peak memory of thread stacks since the JVM started (21 and later).";
    "nmt.classes" ["type"] UpDownCounter "{class}" "Loaded classes, by type (11 and later).";
    "nmt.metaspace_used" ["part"] UpDownCounter "By" "Metaspace in use for metadata, by part (11 and later).";
    "nmt.metaspace_committed" ["part"] UpDownCounter "By" "Metaspace committed, by part (11 and later).";
    "nmt.metaspace_reserved" ["part"] UpDownCounter "By"
        "Address space reserved for metaspace, by part (11 and later).";
    "nmt.metaspace_waste" ["part"] UpDownCounter "By" "Metaspace committed and wasted, by part (11 and later).";
    "nmt.direct" [] UpDownCounter "By"
        "Memory of direct buffers and other users of Unsafe.allocateMemory (NMT's Other; 11 and later).";
    "nmt.tracking_overhead" [] UpDownCounter "By" "Memory that tracking itself adds to malloc.";
    "nmt.readonly" ["category"] UpDownCounter "By"
        "Read-only memory of a category: the shared class archive (21 and later).";
    "nmt.enabled" [] Gauge "" "Whether the JVM tracks its native memory (1) or not (0).";
    "nmt.duration" [] Gauge "s" "Duration of the last native memory query.";
    "nmt.last_success" [] Gauge "s" "Time of the last successful native memory query since the Unix epoch in seconds.";
    "nmt.age" [] Gauge "s" "Age of the native memory values.";

    // What the kernel provides about the process.
    "proc.cpu_time" [] Counter "s" "CPU time of the process.";
    "proc.cpu_time_by_mode" ["mode"] Counter "s" "CPU time of the process, by mode.";
    "proc.cpu_count" [] UpDownCounter "{cpu}"
        "CPUs of the JVM: -XX:ActiveProcessorCount, else those of its affinity within its cgroup's quota.";
    "proc.cpu_utilization" [] Gauge "1" "Share of its available CPUs that the process used since the previous sample.";
    "proc.memory_resident" [] UpDownCounter "By" "Resident memory of the process.";
    "proc.memory_resident_part" ["type"] UpDownCounter "By"
        "Resident memory of the process, by type: anonymous, file, shared.";
    "proc.memory_virtual" [] UpDownCounter "By" "Virtual memory of the process.";
    "proc.memory_swap" [] UpDownCounter "By" "Anonymous memory of the process in swap.";
    "proc.threads" [] UpDownCounter "{thread}" "Kernel threads of the process.";
    "thread.cpu_time" ["kind"] Counter "s"
        "CPU time of threads, by kind; application has that of threads that ended between two readings.";
    "thread.cpu_wait" ["kind"] Counter "s"
        "Time that runnable threads waited for a CPU, by kind; the application's is absent above 1,024 threads.";
    "thread.group_cpu_time" ["group"] Counter "s"
        "CPU time of application threads, by group of names (threads.groups); absent above 1,024 threads.";
    "proc.descriptors" [] UpDownCounter "{file_descriptor}" "Open file descriptors of the process.";
    "proc.descriptor_limit" [] UpDownCounter "{file_descriptor}" "Soft limit on open file descriptors.";
    "proc.context_switches" ["type"] Counter "{context_switch}" since Attached
        "Context switches of the process's threads since its discovery, by type; absent above 1,024 threads.";
    "proc.page_faults" ["type"] Counter "{fault}" "Page faults of the process, by type: major (with I/O) or minor.";
    "cgroup.memory_current" [] UpDownCounter "By" since Before
        "Memory charged to the cgroup, including the page cache.";
    "cgroup.memory_peak" [] Gauge "By" since Before "Peak memory charged to the cgroup.";
    "cgroup.memory_limit" [] UpDownCounter "By" since Before "Lowest memory limit of the cgroup and its ancestors.";
    "cgroup.oom_kills" [] Counter "{kill}" since Before "Processes of the cgroup killed by the OOM killer.";
    "cgroup.cpu_quota" [] Gauge "{cpu}" since Before "Lowest CPU quota of the cgroup and its ancestors, in CPUs.";
    "cgroup.cpu_periods" [] Counter "{period}" since Before "Quota periods in which the cgroup was runnable.";
    "cgroup.cpu_throttled_periods" [] Counter "{period}" since Before
        "Quota periods in which the cgroup was throttled.";
    "cgroup.cpu_throttled_time" [] Counter "s" since Before "Time for which the cgroup was throttled.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_help_is_one_short_sentence() {
        for info in all() {
            assert!(info.help.ends_with('.') && info.help.len() < 120, "{}: {}", info.name, info.help);
        }
    }
}
