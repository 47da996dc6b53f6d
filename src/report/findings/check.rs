//! The checks: name, threshold, severity, source and runbook of each, in one table.

use std::borrow::Cow;

use crate::report::overview::{Finding, Severity};

/// One thing that is checked of a JVM, of the exporter's sight of it, or of the exporter.
///
/// A check that has an alert has its name, threshold, time, severity and runbook; a test compares them with
/// `deploy/prometheus/alerts.yml`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Check {
    /// The alert's name, or one in the same form.
    pub name: &'static str,
    /// Whether an alert says the same.
    pub has_alert: bool,
    /// How urgent a finding is where the time that it is known for suffices.
    pub severity: Severity,
    /// There is a finding above it.
    pub threshold: Threshold,
    /// Seconds of the alert's rate, growth or minimum: a finding looks at no more of the past.
    pub over: Option<f64>,
    /// What is wrong: the subject of a sentence that the threshold ends.
    pub what: &'static str,
    /// Metrics that the number is from.
    pub source: &'static str,
    /// Path of the page that says what to do.
    pub runbook: Option<&'static str>,
}

/// What a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// A share, from 0 to 1.
    Share(f64),
    /// Bytes.
    Bytes(f64),
    /// A count, or what is either 0 or more.
    Nonzero,
    /// A state, which is no number.
    State,
}

impl Check {
    /// What it finds wrong.
    pub(super) fn finding(&self, text: String, next_step: impl Into<Cow<'static, str>>) -> Finding {
        Finding {
            name: self.name.to_owned(),
            severity: self.severity,
            text,
            source: self.source.to_owned(),
            next_step: next_step.into().into_owned(),
            runbook: self.runbook.map(ToOwned::to_owned),
        }
    }

    /// The share that is the threshold; of what has no such threshold, none is above it.
    pub(super) fn share(&self) -> f64 {
        match self.threshold {
            Threshold::Share(share) => share,
            _ => f64::INFINITY,
        }
    }
}

/// Within how many seconds the old generation is full at its present growth, for [`OLD_GEN_FILLING_UP`].
pub const FULL_WITHIN: f64 = 4.0 * 3600.0;

/// Seconds for which a JVM has run before [`NMT_GROWTH_OUTSIDE_HEAP`] counts its growth.
pub const WARMED_UP: f64 = 3600.0;

const RUNS_OUT_OF_MEMORY: &str = "docs/runbooks/NmtNearContainerLimit.md";

/// The kernel killed it, or another process of its cgroup.
pub(super) const OUT_OF_MEMORY_KILL: Check = Check {
    name: "OutOfMemoryKill",
    has_alert: false,
    severity: Severity::Critical,
    threshold: Threshold::Nonzero,
    over: Some(900.0),
    what: "processes of its cgroup that the kernel killed for lack of memory, or the JVM itself",
    source: "jvm_hotspot_cgroup_oom_kills_total",
    runbook: Some(RUNS_OUT_OF_MEMORY),
};

/// Its counters stand still.
pub(super) const JVM_TARGET_STALLED: Check = Check {
    name: "JvmTargetStalled",
    has_alert: true,
    severity: Severity::Critical,
    threshold: Threshold::State,
    over: None,
    what: "counters that do not change",
    source: "jvm_up",
    runbook: Some("docs/runbooks/JvmTargetStalled.md"),
};

/// It ended and left its file behind.
pub(super) const JVM_KILLED: Check = Check {
    name: "JvmKilled",
    has_alert: false,
    severity: Severity::Warning,
    threshold: Threshold::State,
    over: None,
    what: "an end without removal of its file: a signal or a crash",
    source: "the JVM's file of counters",
    runbook: Some("docs/runbooks/JvmTargetDown.md"),
};

/// Little heap is free after collections.
pub(super) const HEAP_AFTER_GC_HIGH: Check = Check {
    name: "HeapAfterGcHigh",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Share(0.9),
    over: Some(600.0),
    what: "the old generation in use after collections (Serial and Parallel: after a full one too)",
    source: "jvm_memory_used_after_last_gc_bytes / jvm_memory_limit_bytes",
    runbook: Some("docs/runbooks/HeapAfterGcHigh.md"),
};

/// What collections leave grows towards the limit.
pub(super) const OLD_GEN_FILLING_UP: Check = Check {
    name: "OldGenFillingUp",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Share(0.6),
    over: Some(3.0 * 3600.0),
    what: "the old generation in use after collections, if at its growth it is full within 4 hours",
    source: "jvm_memory_used_after_last_gc_bytes",
    runbook: Some("docs/runbooks/OldGenFillingUp.md"),
};

/// Collections take much of its time.
pub(super) const GC_TIME_SHARE_HIGH: Check = Check {
    name: "GcTimeShareHigh",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Share(0.1),
    over: Some(300.0),
    what: "time in which collections stopped it",
    source: "jvm_hotspot_gc_time_seconds_total",
    runbook: Some("docs/runbooks/GcTimeShareHigh.md"),
};

/// Safepoints outside collections take much of its time.
pub(super) const SAFEPOINT_TIME_HIGH: Check = Check {
    name: "SafepointTimeHigh",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Share(0.05),
    over: Some(300.0),
    what: "time in which it was stopped outside collections",
    source: "jvm_hotspot_safepoint_stopped_seconds_total - jvm_hotspot_gc_time_seconds_total",
    runbook: Some("docs/runbooks/SafepointTimeHigh.md"),
};

/// Its cgroup uses up the CPU quota.
pub(super) const CPU_THROTTLED: Check = Check {
    name: "CpuThrottled",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Share(0.25),
    over: Some(300.0),
    what: "periods of the CPU quota in which its cgroup was throttled",
    source: "jvm_hotspot_cgroup_cpu_throttled_periods_total / jvm_hotspot_cgroup_cpu_periods_total",
    runbook: Some("docs/runbooks/CpuThrottled.md"),
};

/// There is little room for classes.
pub(super) const METASPACE_NEAR_LIMIT: Check = Check {
    name: "MetaspaceNearLimit",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Share(0.9),
    over: None,
    what: "Metaspace or the compressed class space in use, of its limit",
    source: "jvm_memory_used_bytes / jvm_memory_limit_bytes",
    runbook: Some("docs/runbooks/MetaspaceNearLimit.md"),
};

/// There is little room for compiled code.
pub(super) const CODE_CACHE_FULL: Check = Check {
    name: "CodeCacheFull",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Share(0.9),
    over: None,
    what: "the fullest code heap in use, or else code memory committed of what is reserved",
    source: "jvm_memory_used_bytes / jvm_memory_limit_bytes, else jvm_nmt_committed_bytes / jvm_nmt_reserved_bytes",
    runbook: Some("docs/runbooks/CodeCacheFull.md"),
};

/// It interprets.
pub(super) const COMPILER_OFF: Check = Check {
    name: "CompilerOff",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::State,
    over: None,
    what: "a compiler that is off",
    source: "jvm_hotspot_jit_enabled",
    runbook: Some("docs/runbooks/CompilerOff.md"),
};

/// Native memory grows.
pub(super) const NMT_GROWTH_OUTSIDE_HEAP: Check = Check {
    name: "NmtGrowthOutsideHeap",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Bytes(256.0 * 1024.0 * 1024.0),
    over: Some(6.0 * 3600.0),
    what: "growth of committed memory outside the heap, of a JVM that had run for an hour before",
    source: "jvm_nmt_total_committed_bytes - jvm_nmt_committed_bytes{category=\"Java Heap\"}",
    runbook: Some("docs/runbooks/NmtGrowthOutsideHeap.md"),
};

/// It may need more memory than its container has.
pub(super) const NMT_NEAR_CONTAINER_LIMIT: Check = Check {
    name: "NmtNearContainerLimit",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Share(0.9),
    over: None,
    what: "committed memory, of the memory limit of its cgroup",
    source: "jvm_nmt_total_committed_bytes / jvm_hotspot_cgroup_memory_limit_bytes",
    runbook: Some("docs/runbooks/NmtNearContainerLimit.md"),
};

/// Counters are missing.
pub(super) const REGION_OVERFLOW: Check = Check {
    name: "RegionOverflow",
    has_alert: false,
    severity: Severity::Warning,
    threshold: Threshold::Nonzero,
    over: None,
    what: "bytes of counters that did not fit into its region",
    source: "jvm_hotspot_perfdata_overflow_bytes",
    runbook: None,
};

/// Nothing tells where native memory goes.
pub(super) const NMT_OFF: Check = Check {
    name: "NmtOff",
    has_alert: false,
    severity: Severity::Info,
    threshold: Threshold::State,
    over: None,
    what: "Native Memory Tracking that is off",
    source: "jvm_nmt_enabled",
    runbook: None,
};

/// A file or a process is not served.
pub(super) const PERF_DATA_UNREADABLE: Check = Check {
    name: "PerfDataUnreadable",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Nonzero,
    over: None,
    what: "files and processes that look like JVMs and cannot be read; each with its reason and remedy",
    source: "hotspot_exporter_refused",
    runbook: Some("docs/runbooks/PerfDataUnreadable.md"),
};

/// An earlier configuration is in force.
pub(super) const EXPORTER_RELOAD_FAILED: Check = Check {
    name: "ExporterReloadFailed",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::State,
    over: None,
    what: "a configuration that the exporter could not reload",
    source: "hotspot_exporter_config_last_reload_successful",
    runbook: Some("docs/runbooks/ExporterReloadFailed.md"),
};

/// Something is missing from what the exporter serves.
pub(super) const EXPORTER_ERRORS: Check = Check {
    name: "ExporterErrors",
    has_alert: true,
    severity: Severity::Warning,
    threshold: Threshold::Nonzero,
    over: Some(300.0),
    what: "reads that failed, requests that the exporter refused, and series that it does not serve",
    source: "hotspot_exporter_read_failures_total, hotspot_exporter_requests_refused_total, hotspot_exporter_series_dropped",
    runbook: Some("docs/runbooks/ExporterErrors.md"),
};

/// Every check, the most urgent first.
pub const CHECKS: [Check; 18] = [
    OUT_OF_MEMORY_KILL,
    JVM_TARGET_STALLED,
    JVM_KILLED,
    HEAP_AFTER_GC_HIGH,
    GC_TIME_SHARE_HIGH,
    SAFEPOINT_TIME_HIGH,
    CPU_THROTTLED,
    NMT_NEAR_CONTAINER_LIMIT,
    METASPACE_NEAR_LIMIT,
    CODE_CACHE_FULL,
    COMPILER_OFF,
    OLD_GEN_FILLING_UP,
    NMT_GROWTH_OUTSIDE_HEAP,
    REGION_OVERFLOW,
    NMT_OFF,
    PERF_DATA_UNREADABLE,
    EXPORTER_RELOAD_FAILED,
    EXPORTER_ERRORS,
];
