//! The history of one JVM.

use std::time::{Duration, Instant};

use strum::{EnumCount as _, VariantArray as _};

use super::Measure;
use super::rate::{CounterRate, GrowthShare};
use crate::fact::{CompletedPause, Formula, PauseBatch};
use crate::snapshot::TargetValues;
use crate::targets::{TargetState, Vitals};

/// Most points of one measure.
pub(super) const POINTS_MAXIMUM: usize = 180;
/// Most pauses that are kept singly: the longest.
pub(super) const PAUSES_MAXIMUM: usize = 40;
/// Points by which a column grows: a JVM that lives for seconds has no room for minutes.
const GROWTH: usize = 20;
/// Values of native memory outside of the heap, spread over the span.
const NATIVE_POINTS: u32 = 15;
/// CPU time is read every 5 s or 15 s, by `threads.interval`.
const CPU_HOLD: Duration = Duration::from_secs(16);
/// An estimate of allocation changes at collections only; older than this, nothing is known of the present.
const ALLOCATION_HOLD: Duration = Duration::from_secs(60);

/// A pause that ended; the time is in milliseconds since the timeline began, and wraps after 49 days.
#[derive(Clone, Copy, Debug)]
struct PausePoint {
    at: u32,
    seconds: f32,
}

/// The points of one JVM: at most 8 KiB.
#[derive(Debug, Default)]
pub(super) struct JvmHistory {
    /// The step of the first point.
    born: u64,
    /// The step after the last point.
    next: u64,
    /// A ring per measure, empty until a value is known.
    columns: [Vec<f32>; Measure::COUNT],
    pauses: Vec<PausePoint>,
    allocation: CounterRate,
    stopped: CounterRate,
    collecting: CounterRate,
    cpu: CounterRate,
    throttled: GrowthShare,
    /// Native memory outside of the heap: how many steps after the first point, and the bytes then; oldest first.
    native: Vec<(u32, f32)>,
    /// Steps in a row at which the file had lost its name.
    pub(super) unlinked: u8,
}

/// Where a record stands in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) step: u64,
    pub(super) now: Instant,
    /// Milliseconds since the timeline began.
    pub(super) millis: u32,
    pub(super) period: Duration,
    /// Points of a whole history.
    pub(super) capacity: usize,
}

impl JvmHistory {
    pub(super) fn new(step: u64) -> Self {
        Self { born: step, next: step, ..Self::default() }
    }

    /// The step after the last point.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Adds the point of a step.
    pub(super) fn add(
        &mut self,
        at: Moment,
        vitals: &Vitals,
        values: &TargetValues<'_>,
        state: TargetState,
        pauses: Option<PauseBatch>,
    ) {
        let number = |formula: &Option<Formula>| Some(formula.as_ref()?.evaluate(values)?.as_f64());
        let level = |formula| number(formula).map(|value| value as f32);
        let share = |rate: Option<f32>| rate.map(|rate| rate.clamp(0.0, 1.0));
        let (hold, idle) =
            if vitals.allocation_is_exact { (Duration::ZERO, Some(0.0)) } else { (ALLOCATION_HOLD, None) };
        let allocation = self.allocation.update(number(&vitals.allocated), at.now, hold, idle);
        let stopped = self.stopped.update(number(&vitals.stopped_time), at.now, Duration::ZERO, Some(0.0));
        self.collecting.update(number(&vitals.gc_time), at.now, Duration::ZERO, Some(0.0));
        let cpu = self.cpu.update(number(&vitals.cpu_time), at.now, CPU_HOLD, Some(0.0));
        self.throttled.update(
            number(&vitals.throttled_periods).zip(number(&vitals.cpu_periods)).map(|(part, whole)| [part, whole]),
        );
        let native = number(&vitals.native_committed);
        self.add_native(at, native.zip(number(&vitals.native_heap)).map(|(all, heap)| (all - heap) as f32));
        // A pause that runs shows in no counter until it ends.
        let running = level(&vitals.pause_age);
        let longest = pauses.as_ref().map(|batch| batch.longest.max(running.unwrap_or(0.0)));
        let standing = running.map(|age| (age / at.period.as_secs_f32()).min(1.0));
        for pause in pauses.into_iter().flat_map(|batch| batch.pauses) {
            self.add_pause(at.millis.wrapping_sub(pause.millis_ago), &pause);
        }
        let point = Measure::VARIANTS.iter().map(|measure| match measure {
            Measure::HeapUsed => level(&vitals.heap_used),
            Measure::OldUsed => level(&vitals.old_used),
            Measure::LiveSet => level(&vitals.live_set),
            Measure::AllocationRate => allocation,
            Measure::Stopped => share(stopped).map(|share| share.max(standing.unwrap_or(0.0))),
            Measure::LongestPause => longest,
            Measure::Cpu => cpu,
            Measure::Threads => level(&vitals.threads),
            Measure::Rss => level(&vitals.rss),
            Measure::NativeCommitted => native.map(|bytes| bytes as f32),
        });
        let index = usize::try_from(at.step.saturating_sub(self.born)).unwrap_or(usize::MAX);
        // Steps that were left out have no values.
        let from = self.next.max(at.step.saturating_sub(at.capacity as u64)).saturating_sub(self.born);
        for (column, value) in self.columns.iter_mut().zip(point) {
            for skipped in usize::try_from(from).unwrap_or(index)..index {
                set(column, skipped, at.capacity, None);
            }
            set(column, index, at.capacity, value);
        }
        self.next = at.step.saturating_add(1);
        self.unlinked = if state == TargetState::Unlinked { self.unlinked.saturating_add(1) } else { 0 };
    }

    /// Keeps the longest pauses.
    fn add_pause(&mut self, at: u32, pause: &CompletedPause) {
        let point = PausePoint { at, seconds: pause.seconds };
        if self.pauses.len() < PAUSES_MAXIMUM {
            if self.pauses.len() == self.pauses.capacity() {
                self.pauses.reserve_exact(PAUSES_MAXIMUM / 4);
            }
            self.pauses.push(point);
            return;
        }
        let shortest = self.pauses.iter_mut().min_by(|one, other| one.seconds.total_cmp(&other.seconds));
        if let Some(shortest) = shortest.filter(|shortest| shortest.seconds < pause.seconds) {
            *shortest = point;
        }
    }

    fn add_native(&mut self, at: Moment, outside: Option<f32>) {
        let Some(outside) = outside else { return };
        let capacity = u32::try_from(at.capacity).unwrap_or(u32::MAX);
        let distance = (capacity / NATIVE_POINTS).max(1);
        let since = u32::try_from(at.step.saturating_sub(self.born)).unwrap_or(u32::MAX);
        self.native.retain(|(before, _)| before.saturating_add(capacity) > since);
        match self.native.last_mut() {
            // The last value of its part of the span: the growth is to the present.
            Some((before, value)) if before.saturating_add(distance) > since => *value = outside,
            _ => self.native.push((since, outside)),
        }
    }

    /// Drops pauses that ended longer ago than the span.
    pub(super) fn forget_pauses(&mut self, at: Moment) {
        let span = u32::try_from(at.period.as_millis() * at.capacity as u128).unwrap_or(u32::MAX);
        self.pauses.retain(|pause| at.millis.wrapping_sub(pause.at) <= span);
    }

    /// The value of a step.
    pub(super) fn value(&self, measure: Measure, step: u64, capacity: usize) -> Option<f32> {
        let is_kept = (self.born..self.next).contains(&step) && step.saturating_add(capacity as u64) >= self.next;
        let index = usize::try_from(step.checked_sub(self.born)?).ok()?.checked_rem(capacity)?;
        let value = self.columns.get(measure as usize)?.get(index).filter(|_| is_kept)?;
        (!value.is_nan()).then_some(*value)
    }

    /// The last known value.
    pub(super) fn last(&self, measure: Measure, capacity: usize) -> Option<f32> {
        let first = self.next.saturating_sub(capacity as u64).max(self.born);
        (first..self.next).rev().find_map(|step| self.value(measure, step, capacity))
    }

    /// When pauses ended, in seconds before `millis`, and how long they were; oldest first.
    pub(super) fn pauses(&self, millis: u32) -> Vec<(f64, f32)> {
        let mut pauses: Vec<_> =
            self.pauses.iter().map(|pause| (f64::from(millis.wrapping_sub(pause.at)) / 1e3, pause.seconds)).collect();
        pauses.sort_by(|one, other| other.0.total_cmp(&one.0));
        pauses
    }

    /// Share of the time that collectors took in the last step.
    pub(super) fn gc_share(&self) -> Option<f32> {
        self.collecting.last().map(|share| share.clamp(0.0, 1.0))
    }

    /// Share of the quota's periods in which the cgroup was throttled.
    pub(super) fn throttled(&self) -> Option<f32> {
        self.throttled.last()
    }

    /// Bytes by which native memory outside of the heap grew over the history.
    pub(super) fn native_growth(&self) -> Option<f32> {
        let ((first, before), (last, now)) = (self.native.first()?, self.native.last()?);
        (last > first).then_some(now - before)
    }

    /// Bytes that the record takes.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let columns: usize = self.columns.iter().map(|column| column.capacity() * size_of::<f32>()).sum();
        let pauses = self.pauses.capacity() * size_of::<PausePoint>();
        size_of::<Self>() + columns + pauses + self.native.capacity() * size_of::<(u32, f32)>()
    }
}

/// Writes the value at an index of a ring that has grown to it.
fn set(column: &mut Vec<f32>, index: usize, capacity: usize, value: Option<f32>) {
    if column.is_empty() && value.is_none() {
        return;
    }
    let needed = index.saturating_add(1).min(capacity);
    if column.len() < needed {
        if column.capacity() < needed {
            let room = needed.next_multiple_of(GROWTH).min(capacity);
            column.reserve_exact(room.saturating_sub(column.len()));
        }
        column.resize(needed, f32::NAN);
    }
    let at = index.checked_rem(capacity).and_then(|at| column.get_mut(at));
    if let Some(at) = at {
        *at = value.unwrap_or(f32::NAN);
    }
}
