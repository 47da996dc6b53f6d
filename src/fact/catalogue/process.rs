//! The facts that the kernel provides about a process.

use super::{FactInfo, Since};
use crate::metric::Kind;

const fn fact(name: &'static str, kind: Kind, unit: &'static str, help: &'static str) -> FactInfo {
    FactInfo { name, labels: &[], kind, unit, help, since: Since::Start }
}

const fn labelled(
    name: &'static str,
    labels: &'static [&'static str],
    kind: Kind,
    unit: &'static str,
    help: &'static str,
) -> FactInfo {
    FactInfo { name, labels, kind, unit, help, since: Since::Start }
}

/// Every fact of the process provider.
pub(super) const FACTS: &[FactInfo] = &[
    fact("proc.cpu_time", Kind::Counter, "s", "CPU time of the process."),
    labelled("proc.cpu_time_by_mode", &["mode"], Kind::Counter, "s", "CPU time of the process, by mode."),
    fact(
        "proc.cpu_count",
        Kind::UpDownCounter,
        "{cpu}",
        "CPUs available to the process, by its affinity and its cgroup's quota, not -XX:ActiveProcessorCount.",
    ),
    fact(
        "proc.cpu_utilization",
        Kind::Gauge,
        "1",
        "Share of its available CPUs that the process used since the previous sample.",
    ),
    fact("proc.memory_resident", Kind::UpDownCounter, "By", "Resident memory of the process."),
    labelled(
        "proc.memory_resident_part",
        &["type"],
        Kind::UpDownCounter,
        "By",
        "Resident memory of the process, by type: anonymous, file, shared.",
    ),
    fact("proc.memory_virtual", Kind::UpDownCounter, "By", "Virtual memory of the process."),
    fact("proc.memory_swap", Kind::UpDownCounter, "By", "Anonymous memory of the process in swap."),
    fact("proc.threads", Kind::UpDownCounter, "{thread}", "Kernel threads of the process."),
    fact("proc.descriptors", Kind::UpDownCounter, "{file_descriptor}", "Open file descriptors of the process."),
    fact("proc.descriptor_limit", Kind::UpDownCounter, "{file_descriptor}", "Soft limit on open file descriptors."),
    labelled(
        "proc.context_switches",
        &["type"],
        Kind::Counter,
        "{context_switch}",
        "Context switches of the process's threads since its discovery, by type; absent above 1,024 threads.",
    )
    .counting_from(Since::Attached),
    labelled(
        "proc.page_faults",
        &["type"],
        Kind::Counter,
        "{fault}",
        "Page faults of the process, by type: major (with I/O) or minor.",
    ),
    fact("cgroup.memory_current", Kind::UpDownCounter, "By", "Memory charged to the cgroup, including the page cache.")
        .counting_from(Since::Before),
    fact("cgroup.memory_peak", Kind::Gauge, "By", "Peak memory charged to the cgroup.").counting_from(Since::Before),
    fact("cgroup.memory_limit", Kind::UpDownCounter, "By", "Lowest memory limit of the cgroup and its ancestors.")
        .counting_from(Since::Before),
    fact("cgroup.oom_kills", Kind::Counter, "{kill}", "Processes of the cgroup killed by the OOM killer.")
        .counting_from(Since::Before),
    fact("cgroup.cpu_quota", Kind::Gauge, "{cpu}", "Lowest CPU quota of the cgroup and its ancestors, in CPUs.")
        .counting_from(Since::Before),
    fact("cgroup.cpu_periods", Kind::Counter, "{period}", "Quota periods in which the cgroup was runnable.")
        .counting_from(Since::Before),
    fact("cgroup.cpu_throttled_periods", Kind::Counter, "{period}", "Quota periods in which the cgroup was throttled.")
        .counting_from(Since::Before),
    fact("cgroup.cpu_throttled_time", Kind::Counter, "s", "Time for which the cgroup was throttled.")
        .counting_from(Since::Before),
];
