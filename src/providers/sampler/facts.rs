//! The sampler's values as facts that rules may name.

use std::sync::Arc;

use super::allocation::AllocationRule;
use super::peak::{WINDOW_COUNT, WINDOW_LENGTHS};
use super::sample_plan::{PauseSource, SamplePlan};
use crate::fact::{Fact, Formula, ProviderId, PublishedId, Since, intern};

/// One value of a JVM's provider. Numbers are indexes into the plan, the known causes or the windows.
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
    HeapPeak(usize),
    ThreadPeak(usize),
    ClassPeak(usize),
    Allocated,
    Overwritten,
}

/// What the provider of a JVM with this plan publishes, before any cause is known.
pub(super) fn values(plan: &SamplePlan, causes: bool) -> Vec<SampledValue> {
    let mut values = Vec::new();
    let windows = || 0..WINDOW_COUNT;
    for number in 0..plan.pauses.len() {
        if !causes {
            values.push(SampledValue::Pauses(number));
        }
        values.push(SampledValue::Interpolated(number));
        values.extend(windows().map(|window| SampledValue::LongestPause(number, window)));
    }
    if !plan.pauses.is_empty() {
        values.extend([SampledValue::InProgress, SampledValue::PauseAge]);
    }
    if plan.cycles.is_some() {
        values.extend([SampledValue::Cycles, SampledValue::CycleTime]);
    }
    if plan.live_set.is_some() && !plan.pools.is_empty() {
        values.extend((0..plan.pools.len()).map(SampledValue::PoolAfterGc).chain([SampledValue::LiveSet]));
    }
    if plan.heap_peak && !plan.pools.is_empty() {
        values.extend(windows().map(SampledValue::HeapPeak));
    }
    if plan.threads.is_some() {
        values.extend(windows().map(SampledValue::ThreadPeak));
    }
    if plan.classes.is_some() {
        values.extend(windows().map(SampledValue::ClassPeak));
    }
    if let Some(source) = plan.allocation {
        values.push(SampledValue::Allocated);
        if source.rule == AllocationRule::Overwritten {
            values.push(SampledValue::Overwritten);
        }
    }
    values.shrink_to_fit();
    values
}

/// The facts of these values, in their order; `causes` are the known ones with their collectors.
pub(super) fn facts(values: &[SampledValue], plan: &SamplePlan, causes: &[(usize, &str)]) -> Arc<[Fact]> {
    let pause = |number: usize| {
        let source = plan.pauses.get(number);
        let text = |text: fn(&PauseSource) -> &'static str| source.map(text).unwrap_or_default().into();
        vec![("gc", text(|source| source.gc)), ("action", text(|source| source.action))]
    };
    let window = |at: usize| {
        let label = WINDOW_LENGTHS.get(at).map(|length| format!("{}s", length.as_secs())).unwrap_or_default();
        ("window", label.into())
    };
    let collector = || vec![("gc", plan.cycles.map(|(gc, _)| gc).unwrap_or_default().into())];
    let all = values.iter().zip(0..).filter_map(|(value, index)| {
        let (name, labels): (_, Vec<(&'static str, Box<str>)>) = match *value {
            SampledValue::Pauses(number) => ("gc.pause", pause(number)),
            SampledValue::PausesByCause(at) => {
                let (number, cause) = causes.get(at).copied().unwrap_or_default();
                ("gc.pause", [pause(number), vec![("cause", cause.into())]].concat())
            }
            SampledValue::Interpolated(number) => ("gc.pauses_interpolated", pause(number)),
            SampledValue::LongestPause(number, at) => ("gc.pause_max", [pause(number), vec![window(at)]].concat()),
            SampledValue::InProgress => ("gc.in_progress", vec![]),
            SampledValue::PauseAge => ("gc.pause_age", vec![]),
            SampledValue::Cycles => ("gc.cycles", collector()),
            SampledValue::CycleTime => ("gc.cycle_time", collector()),
            SampledValue::PoolAfterGc(at) => {
                let pool = plan.pools.get(at).map(|pool| pool.pool).unwrap_or_default();
                ("pool.after_gc", vec![("pool", pool.into()), ("type", "heap".into())])
            }
            SampledValue::LiveSet => ("heap.live_set", vec![]),
            SampledValue::HeapPeak(at) => ("heap.used_max", vec![window(at)]),
            SampledValue::ThreadPeak(at) => ("thread.max", vec![window(at)]),
            SampledValue::ClassPeak(at) => ("class.max", vec![window(at)]),
            SampledValue::Allocated => ("alloc.bytes", vec![]),
            SampledValue::Overwritten => ("alloc.overwritten", vec![]),
        };
        let published = PublishedId { provider: ProviderId::Sampler, index };
        Fact::of(name, labels, Some(Formula::Published(published, Since::Attached)))
    });
    intern(all.collect())
}
