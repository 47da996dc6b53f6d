//! What the page, `top` and `doctor` know of every JVM: what it is, how it does, the last minutes, and what is wrong.
//!
//! The JSON is a public format, like that of `list`: fields may be added, but not renamed. What is unknown is absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::list::{JvmRow, RefusedRow};

/// All JVMs at one time: `GET /overview`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Overview {
    /// When it was made, in seconds since the epoch.
    pub now: f64,
    /// Seconds between two points of a history; absent with `history: off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// JVMs that run, and those that ended in the time that the history spans.
    pub jvms: Vec<JvmOverview>,
    /// Files and processes that are not served.
    pub refused: Vec<RefusedRow>,
}

/// One JVM.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct JvmOverview {
    /// What `list` says of it.
    #[serde(flatten)]
    pub row: JvmRow,
    /// When and how it ended; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Its values.
    pub values: Measurements,
    /// What it did over spans of time that end now, the shortest first; what the checks of `doctor` compare.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<Recent>,
    /// The last points of each measure, oldest first, `null` where a value is unknown. An overview of all JVMs has
    /// [`SPARK_POINTS`] points of [`SPARKS`]; that of one JVM has all points of all measures.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub history: BTreeMap<Measure, Vec<Option<f32>>>,
    /// What is wrong, the worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// How a JVM ended.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct End {
    /// When its end was seen, in seconds since the epoch.
    pub at: f64,
    /// How, as far as the kernel and the JVM's file tell.
    pub how: HowEnded,
}

/// How a JVM ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum HowEnded {
    /// It removed its file, as a JVM does that exits.
    Exited,
    /// It left its file behind.
    Killed,
    /// Its cgroup counted a kill for lack of memory at that time.
    OutOfMemory,
    /// Nothing tells.
    Unknown,
}

/// A quantity with a history.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Measure {
    /// Bytes in use in the whole heap.
    HeapUsed,
    /// Bytes in use in the old generation, or what the collector has in its place.
    OldUsed,
    /// Bytes of the heap in use after the last collection.
    LiveSet,
    /// Bytes allocated a second.
    AllocationRate,
    /// Share of the time in which the application stood still, 0 to 1.
    Stopped,
    /// Seconds of the longest pause of a collector.
    LongestPause,
    /// CPUs in use.
    Cpu,
    /// Live platform threads.
    Threads,
    /// Resident bytes.
    Rss,
    /// Bytes of native memory committed, by Native Memory Tracking.
    NativeCommitted,
}

/// Measures of which an overview of all JVMs has a history.
pub const SPARKS: [Measure; 4] = [Measure::HeapUsed, Measure::AllocationRate, Measure::Stopped, Measure::Cpu];

/// Points of a history in an overview of all JVMs.
pub const SPARK_POINTS: usize = 36;

/// The values of a JVM. Sizes in bytes, times in seconds, shares from 0 to 1; rates over the last step of the history.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Measurements {
    /// The last value of each measure that is known. Heap sizes stand in the row.
    #[serde(flatten)]
    pub last: BTreeMap<Measure, f64>,
    /// Share of the time that collectors took, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gc_share: Option<f64>,
    /// Share of the old generation in use after the last collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_usage_after_gc: Option<f64>,
    /// CPUs that the JVM may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
    /// Share of the quota's periods in which the cgroup was throttled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<f64>,
    /// Bytes charged to the cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_used: Option<f64>,
    /// Lowest memory limit of the cgroup and those above it, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_limit: Option<f64>,
    /// Share of the fullest code heap in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_usage: Option<f64>,
    /// Committed share of what the JVM has reserved for code, by Native Memory Tracking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_code_usage: Option<f64>,
    /// Share of the limit of metaspace in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metaspace_usage: Option<f64>,
    /// Share of the limit of the compressed class space in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_space_usage: Option<f64>,
    /// Whether the compiler works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jit_enabled: Option<bool>,
    /// Whether Native Memory Tracking is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nmt_enabled: Option<bool>,
    /// Bytes by which native memory outside the heap grew over the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_growth: Option<f64>,
}

/// What a JVM did over a span of time that ends now. What was not known over the whole span is absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Recent {
    /// Length of the span in seconds.
    pub seconds: f64,
    /// Share of the time in which the application stood still, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<f64>,
    /// Share of the time that collectors took, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gc_share: Option<f64>,
    /// Share of the quota's periods in which the cgroup was throttled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<f64>,
    /// Collections of the whole heap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_collections: Option<f64>,
    /// Lowest share of the old generation in use after a collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lowest_old_usage: Option<f64>,
    /// Growth of what collections left in the old generation, as a share of its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_growth: Option<f64>,
    /// Bytes by which committed native memory outside the heap grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_growth: Option<f64>,
    /// Processes of the cgroup that the kernel killed for lack of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<f64>,
}

/// How urgent a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// Something that is better known.
    Info,
    /// As the alerts of this name.
    Warning,
    /// As the alerts of this name.
    Critical,
}

/// Something that is wrong with a JVM, or that keeps the exporter from knowing it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Finding {
    /// The alert that says the same, such as `HeapAfterGcHigh`; without an alert, a name in the same form.
    pub name: String,
    /// How urgent it is.
    pub severity: Severity,
    /// One sentence with the number and the threshold.
    pub text: String,
    /// The metric or the place that the number is from.
    pub source: String,
    /// What to do next.
    pub next_step: String,
    /// Path of its runbook in this repository, `docs/runbooks/….md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
}
