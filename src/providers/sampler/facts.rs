//! The sampler's values as facts that rules may name.

use super::sample_plan::{PauseSource, PoolSource, SamplePlan};
use crate::fact::{Fact, FactLabels, Formula, ProviderId, PublishedId, Since};
use crate::providers::peak::WINDOW_LENGTHS;

/// One value of a JVM's provider. Numbers are indexes into the plan, the known causes, the gauges or the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SampledValue {
    Pauses(usize),
    PausesByCause(usize),
    Interpolated(usize),
    LongestPause(usize, usize),
    InProgress,
    PauseAge,
    Cycles,
    CycleTime,
    PoolAfterGc(usize),
    LiveSet,
    OldLiveSet,
    Promoted,
    GaugePeak(usize, usize),
    Allocated,
    AllocatedEstimated,
    Overwritten,
}

/// Values and their facts, in one order.
pub(super) struct SampledFacts {
    pub(super) values: Vec<SampledValue>,
    pub(super) facts: Vec<Fact>,
}

impl SampledFacts {
    /// What the provider of a JVM with this plan publishes, before any cause is known.
    pub(super) fn of(plan: &SamplePlan, causes: bool) -> Self {
        let mut list = Self { values: Vec::new(), facts: Vec::new() };
        for (number, source) in plan.pauses.iter().enumerate() {
            if !causes {
                list.add(SampledValue::Pauses(number), "gc.pause", source.labels());
            }
            list.add(SampledValue::Interpolated(number), "gc.pauses_interpolated", source.labels());
            for (window, label) in windows() {
                let labels = [source.labels(), vec![label]].concat();
                list.add(SampledValue::LongestPause(number, window), "gc.pause_max", labels);
            }
        }
        if !plan.pauses.is_empty() {
            list.add(SampledValue::InProgress, "gc.in_progress", vec![]);
            list.add(SampledValue::PauseAge, "gc.pause_age", vec![]);
        }
        if let Some(cycles) = plan.cycles {
            list.add(SampledValue::Cycles, "gc.cycles", vec![("gc", cycles.gc.into())]);
            list.add(SampledValue::CycleTime, "gc.cycle_time", vec![("gc", cycles.gc.into())]);
        }
        if plan.live_set {
            for (at, PoolSource { pool, .. }) in plan.pools.iter().enumerate() {
                let labels = vec![("pool", (*pool).into()), ("type", "heap".into())];
                list.add(SampledValue::PoolAfterGc(at), "pool.after_gc", labels);
            }
            list.add(SampledValue::LiveSet, "heap.live_set", vec![]);
            list.add(SampledValue::OldLiveSet, "old.live_set", vec![]);
            list.add(SampledValue::Promoted, "gc.promoted", vec![]);
        }
        let has_heap = plan.heap_peak && !plan.pools.is_empty();
        let gauges = [
            ("heap.used_max", has_heap),
            ("thread.max", plan.threads.is_some()),
            ("class.max", plan.classes.is_some()),
        ];
        for (gauge, (name, _)) in gauges.into_iter().enumerate().filter(|(_, (_, sampled))| *sampled) {
            for (window, label) in windows() {
                list.add(SampledValue::GaugePeak(gauge, window), name, vec![label]);
            }
        }
        if let Some(source) = plan.allocation {
            list.add(SampledValue::Allocated, "alloc.bytes", vec![]);
            list.add(SampledValue::AllocatedEstimated, "alloc.source", vec![("mode", "estimated".into())]);
            if source.overwritten {
                list.add(SampledValue::Overwritten, "alloc.overwritten", vec![]);
            }
        }
        list.values.shrink_to_fit();
        list
    }

    /// Adds the pauses of a collector with the cause at that index.
    pub(super) fn add_cause(&mut self, at: usize, source: &PauseSource, cause: &str) {
        let labels = [source.labels(), vec![("cause", cause.into())]].concat();
        self.add(SampledValue::PausesByCause(at), "gc.pause", labels);
    }

    fn add(&mut self, value: SampledValue, name: &'static str, labels: FactLabels) {
        let index = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let published = PublishedId { provider: ProviderId::Sampler, index };
        self.values.push(value);
        self.facts.extend(Fact::of(name, labels, Some(Formula::Published(published, Since::Attached))));
    }
}

impl PauseSource {
    fn labels(&self) -> FactLabels {
        vec![("gc", self.gc.into()), ("action", self.action.into())]
    }
}

/// The index and the label of each window.
fn windows() -> impl Iterator<Item = (usize, (&'static str, Box<str>))> {
    WINDOW_LENGTHS.iter().map(|length| ("window", format!("{}s", length.as_secs()).into())).enumerate()
}
