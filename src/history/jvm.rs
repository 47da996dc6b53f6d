//! The history of one JVM.

use std::time::{Duration, Instant};

use strum::{EnumCount as _, VariantArray as _};

use super::Measure;
use super::rate::{CounterRate, GrowthShare};
use super::ring::PointRing;
use crate::fact::{CompletedPause, Formula, PauseBatch};
use crate::snapshot::TargetValues;
use crate::targets::{TargetState, Vitals};

/// Most points of one measure.
pub(super) const POINTS_MAXIMUM: usize = 180;
/// Most pauses that are kept singly: the longest.
pub(super) const PAUSES_MAXIMUM: usize = 32;
/// CPU time is read every `threads.interval`, at most every 15 s.
const CPU_HOLD: Duration = Duration::from_secs(16);
/// An estimate of allocation changes at collections only; older than this, nothing is known of the present.
const ALLOCATION_HOLD: Duration = Duration::from_secs(60);

/// A pause that ended; the time is in milliseconds since the timeline began, and wraps after 49 days.
#[derive(Clone, Copy, Debug)]
struct PausePoint {
    at: u32,
    seconds: f32,
}

/// The points of one JVM.
#[derive(Debug)]
pub(super) struct JvmHistory {
    /// The step of the first point.
    born: u64,
    /// The step after the last point.
    next: u64,
    /// One per measure, in their order.
    rings: [PointRing; Measure::COUNT],
    pauses: Vec<PausePoint>,
    allocation: CounterRate,
    stopped: CounterRate,
    collecting: CounterRate,
    cpu: CounterRate,
    throttled: GrowthShare,
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
        let mut measures = Measure::VARIANTS.iter();
        Self {
            born: step,
            next: step,
            rings: std::array::from_fn(|_| PointRing::of(*measures.next().unwrap_or(&Measure::HeapUsed))),
            pauses: Vec::new(),
            allocation: CounterRate::default(),
            stopped: CounterRate::default(),
            collecting: CounterRate::default(),
            cpu: CounterRate::default(),
            throttled: GrowthShare::default(),
            unlinked: 0,
        }
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
        // A pause that runs shows in no counter until it ends.
        let running = level(&vitals.pause_age);
        let longest = pauses.as_ref().map(|batch| batch.longest.max(running.unwrap_or(0.0)));
        let standing = running.map(|age| (age / at.period.as_secs_f32()).min(1.0));
        for pause in pauses.into_iter().flat_map(|batch| batch.pauses) {
            self.add_pause(at.millis.wrapping_sub(pause.millis_ago), &pause);
        }
        let point = Measure::VARIANTS.iter().map(|measure| match measure {
            Measure::HeapUsed => level(&vitals.heap_used),
            Measure::EdenUsed => level(&vitals.eden_used),
            Measure::SurvivorUsed => level(&vitals.survivor_used),
            Measure::OldUsed => level(&vitals.old_used),
            Measure::LiveSet => level(&vitals.live_set),
            Measure::AllocationRate => allocation,
            Measure::Stopped => share(stopped).map(|share| share.max(standing.unwrap_or(0.0))),
            Measure::LongestPause => longest,
            Measure::Cpu => cpu,
            Measure::Threads => level(&vitals.threads),
            Measure::Rss => level(&vitals.rss),
            Measure::NativeCommitted => level(&vitals.native_committed),
        });
        let index = usize::try_from(at.step.saturating_sub(self.born)).unwrap_or(usize::MAX);
        // Steps that were left out have no values.
        let from = self.next.max(at.step.saturating_sub(at.capacity as u64)).saturating_sub(self.born);
        for (ring, value) in self.rings.iter_mut().zip(point) {
            for skipped in usize::try_from(from).unwrap_or(index)..index {
                ring.set(skipped, at.capacity, None);
            }
            ring.set(index, at.capacity, value);
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

    /// Drops pauses that ended longer ago than the span.
    pub(super) fn forget_pauses(&mut self, at: Moment) {
        let span = u32::try_from(at.period.as_millis() * at.capacity as u128).unwrap_or(u32::MAX);
        self.pauses.retain(|pause| at.millis.wrapping_sub(pause.at) <= span);
    }

    /// Whether a value of that measure was ever known.
    pub(super) fn knows(&self, measure: Measure) -> bool {
        self.rings.get(measure as usize).is_some_and(|ring| !ring.is_empty())
    }

    /// The values of a step and of those after it, without end.
    pub(super) fn values(&self, measure: Measure, step: u64, capacity: usize) -> impl Iterator<Item = Option<f32>> {
        let kept = self.first(capacity)..self.next;
        // What is before the first step has no place in the ring.
        let before = self.born.saturating_sub(step);
        let index = usize::try_from(step.saturating_sub(self.born)).unwrap_or(usize::MAX);
        let ring = self.rings.get(measure as usize).into_iter();
        let known = ring.flat_map(move |ring| ring.values(index, capacity));
        let unknown = std::iter::repeat_n(None, usize::try_from(before).unwrap_or(usize::MAX));
        (step..).zip(unknown.chain(known)).map(move |(step, value)| value.filter(|_| kept.contains(&step)))
    }

    /// The first step that is kept.
    fn first(&self, capacity: usize) -> u64 {
        self.next.saturating_sub(capacity as u64).max(self.born)
    }

    /// The last known value.
    pub(super) fn last(&self, measure: Measure, capacity: usize) -> Option<f32> {
        let ring = self.rings.get(measure as usize).filter(|ring| !ring.is_empty())?;
        let index = |step: u64| usize::try_from(step.saturating_sub(self.born)).unwrap_or(usize::MAX);
        (self.first(capacity)..self.next).rev().find_map(|step| ring.get(index(step), capacity))
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

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_size(&self) -> usize {
        let rings: usize = self.rings.iter().map(PointRing::size).sum();
        rings + self.pauses.capacity() * size_of::<PausePoint>()
    }
}
