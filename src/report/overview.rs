//! What the page, `top` and `doctor` know of every JVM: what it is, how it does, the last minutes, and what is wrong.
//!
//! The JSON is a public format, like that of `list`: fields may be added, but not renamed. What is unknown is absent.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::details::JvmFacts;
use super::exporter::ExporterState;
use super::findings::{self, findings};
use super::list::{JvmRow, Listing, RefusedRow};
use crate::config::Config;
use crate::fact::Formula;
pub use crate::history::{End, HowEnded, Measure, Recent};
use crate::history::{Extent, History, Past};
use crate::hotspot::Model;
use crate::metric::Labels;
use crate::snapshot::{Snapshot, TargetValues};
use crate::targets::{Target, guarded};

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
    /// What keeps the exporter from serving all that it should.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exporter: Vec<Finding>,
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
    /// [`SPARK_POINTS`] points of some measures, over HTTP of [`SPARKS`]; that of one JVM has all points of all measures.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub history: BTreeMap<Measure, Vec<Option<f32>>>,
    /// What is wrong, the worst first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// Measures of which the page and `/overview` show points.
pub const SPARKS: [Measure; 4] = [Measure::HeapUsed, Measure::AllocationRate, Measure::Stopped, Measure::Cpu];

/// Points of a history in an overview of all JVMs.
pub const SPARK_POINTS: usize = 36;

/// One JVM with everything that is known of it: `GET /overview/{app}/{slot}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct JvmDetail {
    /// When it was made, in seconds since the epoch.
    pub now: f64,
    /// Seconds between two points of its history; absent with `history: off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    /// What an overview says of it, with all points of all measures.
    #[serde(flatten)]
    pub jvm: JvmOverview,
    /// The longest pauses of collectors, oldest first: when each ended, in seconds since the epoch, and its seconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<(f64, f32)>,
    /// Current values that have labels; empty once it has ended.
    pub details: JvmFacts,
}

/// Names one JVM of an overview.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JvmKey {
    /// Its label `app`.
    pub app: String,
    /// Its label `slot`.
    pub slot: u32,
    /// Some of its other labels, where JVMs of several roots or pods share an app and a slot.
    pub labels: BTreeMap<String, String>,
}

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
    /// Bytes by which native memory outside the heap grew over the longest span of [`JvmOverview::recent`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native_growth: Option<f64>,
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

impl JvmKey {
    fn is_of(&self, row: &JvmRow) -> bool {
        row.description.app.as_ref() == Some(&self.app)
            && row.description.slot == Some(self.slot)
            && self.labels.iter().all(|(name, value)| row.description.labels.get(name) == Some(value))
    }

    /// Whether it names this JVM.
    pub(crate) fn is_target(&self, target: &Target) -> bool {
        let has = |identity: &Labels, name: &str, value: &str| identity.iter().any(|label| label == (name, value));
        *target.app == *self.app
            && target.slot == self.slot
            && self.labels.iter().all(|(name, value)| has(&target.identity, name, value))
    }
}

impl Overview {
    /// Every JVM of a snapshot, and those that have ended, with the points of these measures, as an exporter in that state
    /// knows them.
    pub(crate) fn of(
        snapshot: &Snapshot,
        history: &History<JvmRow>,
        measures: &[Measure],
        exporter: &ExporterState,
    ) -> Self {
        let others = Listing::not_served(snapshot);
        let extent = Extent::Condensed(SPARK_POINTS, measures);
        let mut jvms = Vec::with_capacity(snapshot.target_set.targets.len());
        for (index, target) in (0..).zip(&snapshot.target_set.targets) {
            let values = snapshot.values(index);
            if !values.is_gone() {
                let past = history.past(target.incarnation, extent);
                jvms.push(JvmOverview::of(JvmRow::of(target, &values), target, &values, past));
            }
        }
        jvms.extend(others.jvms.into_iter().map(|row| JvmOverview { row, ..JvmOverview::default() }));
        for (incarnation, end, row) in history.ended() {
            jvms.push(JvmOverview::ended(row, end, history.past(incarnation, extent)));
        }
        let step = history.condensed_step(SPARK_POINTS);
        Self { now: now(), step, jvms, refused: others.refused, exporter: findings::exporter(exporter) }
    }
}

impl JvmDetail {
    /// The JVM of that key; the one that runs before those that have ended.
    pub(crate) fn of(snapshot: &Snapshot, history: &History<JvmRow>, key: &JvmKey, config: &Config) -> Option<Self> {
        let (now, step) = (now(), history.step().map(|step| step.as_secs_f64()));
        for (index, target) in (0..).zip(&snapshot.target_set.targets).filter(|(_, target)| key.is_target(target)) {
            let values = snapshot.values(index);
            if values.is_gone() {
                continue;
            }
            let mut past = history.past(target.incarnation, Extent::Whole);
            let pauses = pauses(&mut past, now);
            let jvm = JvmOverview::of(JvmRow::of(target, &values), target, &values, past);
            return Some(Self { now, step, jvm, pauses, details: details(target, &values, config) });
        }
        let (incarnation, end, row) = history.ended().into_iter().find(|(_, _, row)| key.is_of(row))?;
        let mut past = history.past(incarnation, Extent::Whole);
        let pauses = pauses(&mut past, now);
        Some(Self { now, step, jvm: JvmOverview::ended(row, end, past), pauses, details: JvmFacts::default() })
    }
}

impl JvmOverview {
    fn of(row: JvmRow, target: &Target, values: &TargetValues<'_>, past: Past) -> Self {
        let values = Measurements::of(target, values, &past);
        let history = past.points.into_iter().collect();
        Self { row, values, history, recent: past.recent, ..Self::default() }.judged()
    }

    fn ended(row: JvmRow, end: End, past: Past) -> Self {
        let last = past.last.iter().map(|(measure, value)| (*measure, f64::from(*value))).collect();
        let values = Measurements {
            last,
            native_growth: past.recent.last().and_then(|recent| recent.native_growth),
            ..Measurements::default()
        };
        let history = past.points.into_iter().collect();
        Self { row, end: Some(end), values, history, ..Self::default() }.judged()
    }

    fn judged(mut self) -> Self {
        self.findings = findings(&self);
        self
    }
}

impl Measurements {
    fn of(target: &Target, values: &TargetValues<'_>, past: &Past) -> Self {
        let vitals = &target.vitals;
        let number = |formula: &Option<Formula>| Some(formula.as_ref()?.evaluate(values)?.as_f64());
        let is_set = |formula| number(formula).map(|value| value != 0.0);
        let mut last: BTreeMap<_, _> = past.last.iter().map(|(measure, value)| (*measure, f64::from(*value))).collect();
        // Levels are of this moment.
        for (measure, formula) in [
            (Measure::HeapUsed, &vitals.heap_used),
            (Measure::EdenUsed, &vitals.eden_used),
            (Measure::SurvivorUsed, &vitals.survivor_used),
            (Measure::OldUsed, &vitals.old_used),
            (Measure::LiveSet, &vitals.live_set),
            (Measure::Threads, &vitals.threads),
            (Measure::Rss, &vitals.rss),
            (Measure::NativeCommitted, &vitals.native_committed),
        ] {
            match number(formula) {
                Some(value) => last.insert(measure, value),
                None => last.remove(&measure),
            };
        }
        let code = vitals.code_usage.iter().filter_map(|usage| Some(usage.evaluate(values)?.as_f64()));
        let (count, quota) = (number(&vitals.cpu_count), number(&vitals.cpu_quota));
        Self {
            last,
            gc_share: past.gc_share.map(f64::from),
            old_usage_after_gc: number(&vitals.old_usage_after_gc),
            cpu_limit: count.into_iter().chain(quota).reduce(f64::min),
            throttled: past.throttled.map(f64::from),
            cgroup_used: number(&vitals.cgroup_used),
            cgroup_limit: number(&vitals.cgroup_limit),
            code_usage: code.reduce(f64::max),
            native_code_usage: number(&vitals.native_code_usage),
            metaspace_usage: number(&vitals.metaspace_usage),
            class_space_usage: number(&vitals.class_space_usage),
            jit_enabled: is_set(&vitals.jit_enabled),
            nmt_enabled: is_set(&vitals.nmt_enabled),
            native_growth: past.recent.last().and_then(|recent| recent.native_growth),
        }
    }
}

/// Current values that have labels, from a new copy of the region.
fn details(target: &Target, values: &TargetValues<'_>, config: &Config) -> JvmFacts {
    let Ok(image) = guarded::read_image(target) else { return JvmFacts::default() };
    let model = Model::of(&image, &config.identity.properties);
    JvmFacts::of(&target.merged_facts(&model), &image, values)
}

/// The pauses with the times when they ended, in seconds since the epoch.
fn pauses(past: &mut Past, now: f64) -> Vec<(f64, f32)> {
    std::mem::take(&mut past.pauses).into_iter().map(|(ago, seconds)| (now - ago, seconds)).collect()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
