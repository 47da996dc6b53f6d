//! The facts that the kernel gives about a process, as rules name them.

use crate::formula::Since;
use crate::hotspot::SourceInfo;
use crate::metric::Kind;

const fn source(name: &'static str, kind: Kind, unit: &'static str, help: &'static str) -> SourceInfo {
    SourceInfo { name, labels: &[], kind, unit, help }
}

const fn labelled(
    name: &'static str,
    labels: &'static [&'static str],
    kind: Kind,
    unit: &'static str,
    help: &'static str,
) -> SourceInfo {
    SourceInfo { name, labels, kind, unit, help }
}

/// Everything that the process board may publish.
pub const SOURCES: &[SourceInfo] = &[
    source("proc.cpu_time", Kind::Counter, "s", "CPU time of the process."),
    labelled("proc.cpu_time_by_mode", &["mode"], Kind::Counter, "s", "CPU time of the process, user or system."),
    source(
        "proc.cpu_count",
        Kind::UpDownCounter,
        "{cpu}",
        "CPUs that the process may use, by its affinity and its cgroup's quota; -XX:ActiveProcessorCount is not seen.",
    ),
    source(
        "proc.cpu_utilization",
        Kind::Gauge,
        "1",
        "CPU time over the last look at the process, divided by the time passed and by proc.cpu_count.",
    ),
    source("proc.memory_resident", Kind::UpDownCounter, "By", "Resident memory of the process."),
    labelled(
        "proc.memory_resident_part",
        &["type"],
        Kind::UpDownCounter,
        "By",
        "Resident memory of the process by type: anonymous, file or shared.",
    ),
    source("proc.memory_virtual", Kind::UpDownCounter, "By", "Address space of the process."),
    source("proc.memory_swap", Kind::UpDownCounter, "By", "Anonymous memory of the process that is swapped out."),
    source("proc.threads", Kind::UpDownCounter, "{thread}", "Kernel threads of the process."),
    source("proc.descriptors", Kind::UpDownCounter, "{file_descriptor}", "Open file descriptors of the process."),
    source("proc.descriptor_limit", Kind::UpDownCounter, "{file_descriptor}", "Soft limit on open file descriptors."),
    labelled(
        "proc.context_switches",
        &["type"],
        Kind::Counter,
        "{context_switch}",
        "Context switches of all threads since the exporter saw the process, voluntary or involuntary; absent above \
         1,024 threads.",
    ),
    labelled("proc.page_faults", &["type"], Kind::Counter, "{fault}", "Page faults, major (with I/O) or minor."),
    source("cgroup.memory_current", Kind::UpDownCounter, "By", "Memory charged to the cgroup, page cache included."),
    source("cgroup.memory_peak", Kind::Gauge, "By", "Most memory ever charged to the cgroup."),
    source("cgroup.memory_limit", Kind::UpDownCounter, "By", "The lowest memory limit of the cgroup and those above."),
    source("cgroup.oom_kills", Kind::Counter, "{kill}", "Processes of the cgroup killed for lack of memory."),
    source("cgroup.cpu_quota", Kind::Gauge, "{cpu}", "The lowest CPU quota of the cgroup and those above, in CPUs."),
    source("cgroup.cpu_periods", Kind::Counter, "{period}", "Quota periods in which the cgroup was runnable."),
    source(
        "cgroup.cpu_throttled_periods",
        Kind::Counter,
        "{period}",
        "Quota periods in which the cgroup was held back.",
    ),
    source("cgroup.cpu_throttled_time", Kind::Counter, "s", "Time in which the cgroup was held back."),
];

/// What a source counts from. A cgroup is older than the processes in it, and has others beside them.
pub(super) fn since(source: &str) -> Since {
    match source {
        "proc.context_switches" => Since::Attached,
        _ if source.starts_with("cgroup.") => Since::Before,
        _ => Since::Start,
    }
}
