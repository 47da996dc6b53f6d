//! One sampled JVM: what its samples add up to.

use std::sync::Arc;

use super::SampleSubject;
use super::allocation::{Allocation, Interval, eden_was_full};
use super::cycle::{Cycles, Look};
use super::facts::{SampledFacts, SampledValue};
use super::gauge::GaugeMaxima;
use super::gc_pauses::{GcPauses, PauseActivity};
use super::old_generation::OldGeneration;
use super::pause_log::PauseLog;
use super::rate::{Rate, RateController};
use super::settings::SamplerSettings;
use super::words::{NO_GC, NO_GC_BYTES, PAUSE_WORDS, WordCursor, sum};
use crate::fact::{Fact, Interner, PauseBatch, Reading, intern};
use crate::hotspot::TextCounter;
use crate::metric::Value;
use crate::perfdata::{MemoryError, RegionError};
use crate::providers::peak::{Peak, WINDOW_COUNT, Windows};

/// Samples in a row that may fail before the JVM is given up: ten seconds at the idle rate. Each may cost many copies.
const FAILURES_MAXIMUM: u32 = 100;

static VALUES: Interner<SampledValue> = Interner::new();

/// The time of a sample, taken once for all JVMs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    /// Nanoseconds of the monotonic clock.
    pub(super) monotonic: u64,
    /// Ordinals of the open windows.
    pub(super) windows: [i64; WINDOW_COUNT],
}

/// Buffers for the words of a sample, shared by all JVMs.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) words: Vec<i64>,
    reread: Vec<i64>,
}

/// How to go on after a full sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    /// How often to sample.
    pub(super) rate: Rate,
    /// No collector is active, and the sample is certain of that.
    pub(super) quiescent: bool,
}

/// Everything sampled from one JVM.
#[derive(Debug)]
pub(super) struct JvmSampler {
    pub(super) subject: SampleSubject,
    offsets: Box<[u32]>,
    pauses: GcPauses,
    log: PauseLog,
    cycles: Cycles,
    windows: Windows,
    /// In the order of [`GaugeMaxima`].
    peaks: [Peak; 3],
    /// Bytes used per pool at the end of the last collection.
    after_gc: Option<Box<[i64]>>,
    old: OldGeneration,
    allocation: Option<Allocation>,
    /// Whether the collection that ran at the last sample has found eden full; `None` where none ran, or nothing tells.
    running_filled: Option<bool>,
    rate: RateController,
    /// One copy for all JVMs of a kind.
    values: Arc<[SampledValue]>,
    facts: Arc<[Fact]>,
    /// Samples in a row that failed.
    failures: u32,
    lost: bool,
}

impl JvmSampler {
    /// Starts at `now`, seconds since the epoch.
    pub(super) fn new(subject: SampleSubject, settings: &SamplerSettings, now: f64, monotonic: u64) -> Self {
        let plan = &subject.plan;
        let SampledFacts { values, facts } = SampledFacts::of(plan, settings.causes);
        Self {
            offsets: plan.full_offsets().into(),
            pauses: GcPauses::new(plan, settings, now),
            log: PauseLog::default(),
            cycles: Cycles::default(),
            windows: Windows::default(),
            peaks: <[Peak; 3]>::default(),
            after_gc: None,
            old: OldGeneration::default(),
            allocation: None,
            running_filled: None,
            // A cycle that begins and ends between two samples leaves no trace.
            rate: RateController::new(settings.period(Rate::Normal), plan.cycles.is_none(), monotonic),
            values: VALUES.intern(values),
            facts: intern(facts),
            failures: 0,
            lost: false,
            subject,
        }
    }

    /// The values, as last counted, of words that can change without the words of
    /// [`SamplePlan::detector_offsets`](super::sample_plan::SamplePlan::detector_offsets): `invocations` of each
    /// collector, one of which may begin long after its safepoint was counted, and the bytes where humongous objects
    /// go.
    pub(super) fn undetected_words(&self) -> impl Iterator<Item = i64> {
        self.pauses.invocations().chain(self.allocation.and_then(|allocation| allocation.last.old))
    }

    /// Takes a full sample: reads every word. `since` holds the maxima between the previous sample and this one.
    /// `None`: the region no longer belongs to this JVM, and sampling ends.
    pub(super) fn sample(&mut self, tick: Tick, since: GaugeMaxima, scratch: &mut Scratch) -> Option<Next> {
        if self.lost {
            return None;
        }
        self.record_gauges(since);
        let error = match self.try_sample(tick, scratch) {
            Ok(next) => {
                self.failures = 0;
                return Some(next);
            }
            Err(error) => error,
        };
        self.failures = self.failures.saturating_add(1);
        self.lost = !is_transient(&error) || self.failures > FAILURES_MAXIMUM;
        // The words of the next sample contain the pauses in between.
        (!self.lost).then_some(Next { rate: Rate::Idle, quiescent: false })
    }

    fn try_sample(&mut self, tick: Tick, scratch: &mut Scratch) -> Result<Next, RegionError> {
        let Scratch { words, reread } = scratch;
        self.subject.region.read_fast(&self.subject.region_identity, &self.offsets, words)?;
        if let Some(changes) = self.windows.advance(tick.windows) {
            let longest = self.pauses.collectors.iter_mut().map(|collector| &mut collector.longest);
            self.peaks.iter_mut().chain(longest).for_each(|peak| peak.advance(changes));
        }

        let plan = &self.subject.plan;
        let mut words = WordCursor(words);
        let pause_words = words.take(plan.pauses.len().saturating_mul(PAUSE_WORDS));
        let mut activity = self.pauses.sample(&self.subject, pause_words, reread);
        if activity.longest > 0 {
            self.log.add(tick.monotonic, activity.longest);
        }
        let mut cycles = 0;
        if let Some(source) = &plan.cycles {
            let running = !source.cause.is(words.take(source.cause.words(NO_GC_BYTES).count()), NO_GC);
            let trace = source.trace.map(|_| sum(words.take(1)));
            let look = Look { running, trace, phases: activity.phases, major: activity.major };
            cycles = self.cycles.record(look, tick.monotonic);
            activity.active |= running;
        }
        self.sample_gauges(&mut words, &activity);
        let last_cause = if activity.young.max(activity.full) > 0 || !activity.completed.is_empty() {
            self.read_cause(self.subject.plan.last_cause, reread)
        } else {
            None
        };
        let filled = self.has_filled_eden(&activity, last_cause.as_deref(), reread);
        self.sample_allocation(&mut words, tick, &activity, cycles, filled);
        if !activity.completed.is_empty() {
            self.attribute(&activity, last_cause.as_deref());
        }
        let rate = self.rate.record_sample(tick.monotonic, activity.most, activity.active);
        Ok(Next { rate, quiescent: !activity.active })
    }

    fn sample_gauges(&mut self, words: &mut WordCursor<'_>, activity: &PauseActivity) {
        let plan = &self.subject.plan;
        let collected = plan.live_set && activity.young.max(activity.full) > 0;
        let mut old = None;
        let used = plan.pools.iter().map(|pool| sum(words.take(pool.used.len()))).inspect(|used| old = Some(*used));
        let heap =
            if collected { sum(self.after_gc.insert(used.collect())) } else { used.fold(0, i64::saturating_add) };
        // The last pool.
        if let Some(old) = old.filter(|_| plan.live_set) {
            self.old.record(old, activity);
        }
        let heap = plan.heap_peak.then_some(heap);
        let threads = plan.threads.map(|_| words.thread_count());
        let classes = plan.classes.map(|_| words.class_count());
        self.record_gauges([heap, threads, classes]);
    }

    fn record_gauges(&mut self, maxima: GaugeMaxima) {
        for (peak, value) in self.peaks.iter_mut().zip(maxima) {
            if let Some(value) = value {
                peak.record(value);
            }
        }
    }

    fn read_cause(&self, text: Option<TextCounter>, buffer: &mut Vec<i64>) -> Option<String> {
        let text = text?;
        let offsets: Vec<u32> = text.words(text.length()).collect();
        Some(text.decode(self.subject.read(&offsets, buffer)?))
    }

    /// Whether the last completed collection found eden full, by its cause.
    fn has_filled_eden(&mut self, activity: &PauseActivity, last_cause: Option<&str>, buffer: &mut Vec<i64>) -> bool {
        if self.subject.plan.allocation.is_none_or(|source| source.eden.is_none()) {
            return false;
        }
        let runs = self.pauses.running_since().is_some();
        let next_runs = last_cause == Some(NO_GC);
        let running = if runs || next_runs { self.read_cause(self.subject.plan.cause, buffer) } else { None };
        let running = running.as_deref().filter(|cause| *cause != NO_GC).map(eden_was_full);
        let before = std::mem::replace(&mut self.running_filled, running.filter(|_| runs));
        let is_alone = activity.young.saturating_add(activity.full) == 1;
        match last_cause {
            // While the next collection runs already, the cause of the last one is that which was read while it ran, or
            // else taken to be that of the next one.
            Some(NO_GC) => before.filter(|_| is_alone).or(running).unwrap_or(false),
            Some(cause) => eden_was_full(cause),
            None => false,
        }
    }

    fn sample_allocation(
        &mut self,
        words: &mut WordCursor<'_>,
        tick: Tick,
        activity: &PauseActivity,
        cycles: u64,
        filled: bool,
    ) {
        let Some(source) = self.subject.plan.allocation else { return };
        let interval = Interval {
            tlab: sum(words.take(1)),
            old: source.old.map(|_| sum(words.take(1))),
            eden: source.eden.map(|_| [sum(words.take(1)), sum(words.take(1))]),
            young: activity.young.saturating_add(cycles),
            full: activity.full,
            filled,
            major: activity.major,
            active: activity.active,
        };
        let allocation = self.allocation.get_or_insert_with(|| Allocation::new(source, interval));
        if let Some(publication) = allocation.record(interval) {
            self.rate.record_publication(tick.monotonic, publication.lost);
        }
    }

    /// Adds completed pauses to those of their causes; a new cause makes new facts.
    fn attribute(&mut self, activity: &PauseActivity, last_cause: Option<&str>) {
        let known = self.pauses.causes.len();
        self.pauses.attribute(&activity.completed, last_cause);
        let causes = &self.pauses.causes;
        if causes.len() > known {
            let mut list = SampledFacts { values: self.values.to_vec(), facts: self.facts.to_vec() };
            for (at, pauses) in causes.iter().enumerate().skip(known) {
                if let Some(source) = self.subject.plan.pauses.get(pauses.collector) {
                    list.add_cause(at, source, &pauses.cause);
                }
            }
            self.values = VALUES.intern(list.values);
            self.facts = intern(list.facts);
        }
    }

    /// The facts that the provider publishes.
    pub(super) fn facts(&self) -> Arc<[Fact]> {
        Arc::clone(&self.facts)
    }

    /// What the provider publishes at `now`, seconds since the epoch.
    pub(super) fn read(&self, now: f64) -> Reading {
        let values = self.values.iter().map(|value| if self.lost { None } else { self.value(*value, now) });
        (Arc::clone(&self.facts), values.collect())
    }

    /// The same up to the last of the `wanted` values, without the others.
    pub(super) fn read_some(&self, wanted: &[u32], now: f64) -> Reading {
        let mut values = Vec::with_capacity(wanted.last().map_or(0, |last| (*last as usize).saturating_add(1)));
        for index in wanted.iter().map(|index| *index as usize) {
            values.resize(index, None);
            values.push(self.values.get(index).filter(|_| !self.lost).and_then(|value| self.value(*value, now)));
        }
        (Arc::clone(&self.facts), values)
    }

    /// The pauses since the last call, at `now` in nanoseconds of the monotonic clock; `None` where they are not known.
    pub(super) fn take_pauses(&mut self, now: u64) -> Option<PauseBatch> {
        let is_known = !self.lost && !self.subject.plan.pauses.is_empty();
        is_known.then(|| self.log.take(now, self.subject.plan.frequency))
    }

    fn value(&self, value: SampledValue, now: f64) -> Option<Value> {
        let plan = &self.subject.plan;
        let collector = |number: usize| self.pauses.collectors.get(number);
        let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        Some(match value {
            SampledValue::Pauses(number) => Value::Histogram(collector(number)?.durations.histogram.clone()),
            SampledValue::PausesByCause(at) => {
                Value::Histogram(self.pauses.causes.get(at)?.durations.histogram.clone())
            }
            SampledValue::Interpolated(number) => count(collector(number)?.interpolated),
            SampledValue::LongestPause(number, window) => {
                Value::Float(collector(number)?.longest.last(window)? as f64 / plan.frequency)
            }
            SampledValue::InProgress => Value::Int(self.pauses.running_since().is_some().into()),
            SampledValue::PauseAge => {
                let since = plan.begin_millis as f64 / 1e3 + self.pauses.running_since()? as f64 / plan.frequency;
                Value::Float((now - since).max(0.0))
            }
            SampledValue::Cycles => count(self.cycles.count),
            SampledValue::CycleTime => Value::Float(self.cycles.nanoseconds as f64 / 1e9),
            SampledValue::PoolAfterGc(pool) => Value::Int(*self.after_gc.as_ref()?.get(pool)?),
            SampledValue::LiveSet => Value::Int(sum(self.after_gc.as_ref()?)),
            SampledValue::OldLiveSet => Value::Int(self.old.live_set?),
            SampledValue::Promoted => Value::Int(self.old.promoted),
            SampledValue::GaugePeak(gauge, window) => Value::Int(self.peaks.get(gauge)?.last(window)?),
            SampledValue::Allocated => Value::Int(self.allocation.as_ref()?.bytes),
            SampledValue::AllocatedEstimated => Value::Int(1),
            SampledValue::Overwritten => count(self.allocation.as_ref()?.overwritten),
        })
    }
}

/// Whether a later sample may succeed: the error does not show that the region belongs to another JVM.
fn is_transient(error: &RegionError) -> bool {
    matches!(error, RegionError::Unsettled | RegionError::Io(_) | RegionError::Memory(MemoryError::Os(_)))
}
