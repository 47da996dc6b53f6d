//! The sampler's values as facts that rules may name.

use std::sync::Arc;
use std::time::Duration;

use super::SamplerSettings;
use super::allocation::AllocationRule;
use super::peak::WINDOWS;
use super::sample_plan::{PauseSource, SamplePlan};
use crate::fact::catalogue::sampler::*;
use crate::fact::{Fact, FactInfo, intern};
use crate::fact::{Formula, ProviderId, PublishedId};

/// One value of a JVM's provider. Numbers are indexes into the sample_plan, the known causes or the windows.
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
    PoolSurvivors(usize),
    LiveSet,
    HeapPeak(usize),
    ThreadPeak(usize),
    ClassPeak(usize),
    Allocated,
    Overwritten,
}

/// What the provider of a JVM with this sample_plan shows, before any cause is known.
pub(super) fn cells(list: &SamplePlan, causes: bool) -> Vec<SampledValue> {
    let mut cells = Vec::new();
    let windows = || 0..WINDOWS;
    for number in 0..list.pauses.len() {
        if !causes {
            cells.push(SampledValue::Pauses(number));
        }
        cells.push(SampledValue::Interpolated(number));
        cells.extend(windows().map(|window| SampledValue::LongestPause(number, window)));
    }
    if !list.pauses.is_empty() {
        cells.extend([SampledValue::InProgress, SampledValue::PauseAge]);
    }
    if list.cycles.is_some() {
        cells.extend([SampledValue::Cycles, SampledValue::CycleTime]);
    }
    if list.survivors.is_some() && !list.pools.is_empty() {
        cells.extend((0..list.pools.len()).map(SampledValue::PoolSurvivors).chain([SampledValue::LiveSet]));
    }
    if list.heap_peak && !list.pools.is_empty() {
        cells.extend(windows().map(SampledValue::HeapPeak));
    }
    if list.threads.is_some() {
        cells.extend(windows().map(SampledValue::ThreadPeak));
    }
    if list.classes.is_some() {
        cells.extend(windows().map(SampledValue::ClassPeak));
    }
    if let Some(source) = list.allocation {
        cells.push(SampledValue::Allocated);
        if source.rule == AllocationRule::Overwritten {
            cells.push(SampledValue::Overwritten);
        }
    }
    cells.shrink_to_fit();
    cells
}

/// The facts of these cells, in their order; `causes` are the known ones with their collectors.
pub(super) fn facts(
    cells: &[SampledValue],
    list: &SamplePlan,
    settings: &SamplerSettings,
    causes: &[(usize, &str)],
) -> Arc<[Fact]> {
    let pause = |number: usize| {
        let source = list.pauses.get(number);
        let text = |text: fn(&PauseSource) -> &'static str| source.map(text).unwrap_or_default().into();
        vec![("gc", text(|source| source.gc)), ("action", text(|source| source.action))]
    };
    let window =
        |at: usize| ("window", settings.windows.get(at).map(|length| window_label(*length)).unwrap_or_default());
    let collector = || vec![("gc", list.cycles.map(|(gc, _)| gc).unwrap_or_default().into())];
    let all = cells.iter().zip(0..).map(|(cell, index)| {
        let (info, labels): (FactInfo, Vec<(&'static str, Box<str>)>) = match *cell {
            SampledValue::Pauses(number) => (PAUSE, pause(number)),
            SampledValue::PausesByCause(at) => {
                let (number, cause) = causes.get(at).copied().unwrap_or_default();
                (PAUSE, [pause(number), vec![("cause", cause.into())]].concat())
            }
            SampledValue::Interpolated(number) => (INTERPOLATED, pause(number)),
            SampledValue::LongestPause(number, at) => (PAUSE_MAX, [pause(number), vec![window(at)]].concat()),
            SampledValue::InProgress => (IN_PROGRESS, vec![]),
            SampledValue::PauseAge => (PAUSE_AGE, vec![]),
            SampledValue::Cycles => (CYCLES, collector()),
            SampledValue::CycleTime => (CYCLE_TIME, collector()),
            SampledValue::PoolSurvivors(at) => {
                let pool = list.pools.get(at).map(|pool| pool.pool).unwrap_or_default();
                (AFTER_GC, vec![("pool", pool.into()), ("type", "heap".into())])
            }
            SampledValue::LiveSet => (LIVE_SET, vec![]),
            SampledValue::HeapPeak(at) => (HEAP_MAX, vec![window(at)]),
            SampledValue::ThreadPeak(at) => (THREAD_MAX, vec![window(at)]),
            SampledValue::ClassPeak(at) => (CLASS_MAX, vec![window(at)]),
            SampledValue::Allocated => (ALLOCATED, vec![]),
            SampledValue::Overwritten => (OVERWRITTEN, vec![]),
        };
        let published = PublishedId { provider: ProviderId::Sampler, index };
        Fact {
            name: info.name,
            labels,
            kind: info.kind,
            unit: info.unit,
            formula: Formula::Published(published, info.since),
        }
    });
    intern(all.collect())
}

/// A window's length as a label: whole seconds where it is so.
fn window_label(length: Duration) -> Box<str> {
    match length.subsec_millis() {
        0 => format!("{}s", length.as_secs()),
        _ => format!("{}ms", length.as_millis()),
    }
    .into()
}
