//! The last minutes of every JVM: a point of each [`Measure`] every step, in memory only.
//!
//! # Promise
//! A JVM takes at most 8 KiB, whatever the span: a longer one has longer steps. JVMs that ended stay for the span, at most
//! [`ENDED_MAXIMUM`] of them.

mod end;
mod jvm;
mod measure;
mod rate;
mod ring;
#[cfg(test)]
mod tests;
mod trail;

use std::collections::HashMap;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

pub use end::{End, EndSigns, HowEnded};
pub use measure::Measure;
pub use trail::Recent;

use crate::fact::PauseBatch;
use crate::snapshot::Snapshot;
use crate::sync::{lock, wait_timeout};
use crate::targets::{Incarnation, Target};
use jvm::{JvmHistory, Moment, POINTS_MAXIMUM};
use trail::{Totals, Trail};

/// Time between two points, unless the span needs longer steps.
pub const STEP: Duration = Duration::from_secs(5);

/// Most JVMs that are kept after their end; those that ended first are forgotten first.
const ENDED_MAXIMUM: usize = 256;

/// Longest time for which [`History::wait`] waits where nothing is kept.
const IDLE: Duration = Duration::from_secs(60);

/// The histories of all JVMs. `D` is what is kept of a JVM that ended.
#[derive(Debug)]
pub struct History<D> {
    timeline: Mutex<Option<Timeline<D>>>,
    configured: Condvar,
}

#[derive(Debug)]
struct Timeline<D> {
    step: Duration,
    /// Points of a history.
    capacity: usize,
    begin: Instant,
    /// The last step of which there are points.
    last: Option<u64>,
    jvms: HashMap<Incarnation, Box<Kept<D>>>,
}

/// The end of a JVM.
#[derive(Debug)]
struct Ended<D> {
    end: End,
    seen: Instant,
    description: D,
}

/// What is kept of one JVM.
#[derive(Debug)]
struct Kept<D> {
    record: JvmHistory,
    trail: Trail,
    ended: Option<Box<Ended<D>>>,
}

/// The points of a JVM and what follows from them. What is unknown is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Points of each measure that has any, oldest first.
    pub points: Vec<(Measure, Vec<Option<f32>>)>,
    /// The last known value of each measure.
    pub last: Vec<(Measure, f32)>,
    /// Share of the time that collectors took in the last step.
    pub gc_share: Option<f32>,
    /// Share of the quota's periods in which the cgroup was throttled.
    pub throttled: Option<f32>,
    /// What it did over the last minutes, the shortest span first.
    pub recent: Vec<Recent>,
    /// The longest pauses, oldest first: how many seconds ago each ended, and its seconds.
    pub pauses: Vec<(f64, f32)>,
}

/// Which points are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent<'a> {
    /// All points of all measures, and pauses.
    Whole,
    /// So many points of some measures, spread over the whole span.
    Condensed(usize, &'a [Measure]),
}

impl<D> Default for History<D> {
    fn default() -> Self {
        Self { timeline: Mutex::new(None), configured: Condvar::new() }
    }
}

impl<D: Clone> History<D> {
    /// Keeps the points of that span, in steps of `step` or longer ones; forgets all points if either changes. `None` keeps
    /// nothing.
    pub fn configure(&self, span: Option<Duration>, step: Duration) {
        let mut timeline = lock(&self.timeline);
        let wanted = span.map(|span| {
            let step = step.max(span / POINTS_MAXIMUM as u32).max(Duration::from_millis(100));
            let points = span.as_millis().checked_div(step.as_millis()).unwrap_or(1);
            (step, usize::try_from(points).unwrap_or(POINTS_MAXIMUM).clamp(1, POINTS_MAXIMUM))
        });
        if timeline.as_ref().map(|timeline| (timeline.step, timeline.capacity)) != wanted {
            *timeline = wanted.map(|(step, capacity)| Timeline {
                step,
                capacity,
                begin: Instant::now(),
                last: None,
                jvms: HashMap::new(),
            });
            self.configured.notify_all();
        }
    }

    /// Waits until a point is due or the configuration changes; at most a minute.
    pub fn wait(&self) {
        let timeline = lock(&self.timeline);
        let due = timeline.as_ref().and_then(Timeline::due);
        let time = due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()).min(IDLE));
        drop(wait_timeout(&self.configured, timeline, time));
    }

    /// Time between two points; `None` where nothing is kept.
    pub fn step(&self) -> Option<Duration> {
        lock(&self.timeline).as_ref().map(|timeline| timeline.step)
    }

    /// Seconds between two of so many condensed points.
    pub fn condensed_step(&self, count: usize) -> Option<f64> {
        let timeline = lock(&self.timeline);
        let timeline = timeline.as_ref()?;
        let each = timeline.capacity.checked_div(count.clamp(1, timeline.capacity)).unwrap_or(1);
        Some(timeline.step.as_secs_f64() * each as f64)
    }

    /// Whether a point is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// When the next point is due; `None` where nothing is kept.
    fn due(&self) -> Option<Instant> {
        lock(&self.timeline).as_ref().and_then(Timeline::due)
    }

    /// Adds a point of every JVM in the snapshot, and forgets what is too old. Steps that were missed have no points.
    pub fn record(&self, snapshot: &Snapshot, now: Instant) {
        // Providers have locks of their own.
        let pauses: Vec<_> = snapshot.target_set.targets.iter().map(|target| take_pauses(target)).collect();
        let mut timeline = lock(&self.timeline);
        let Some(timeline) = timeline.as_mut() else { return };
        let at = timeline.moment(now);
        if timeline.last.is_some_and(|last| last >= at.step) {
            return;
        }
        timeline.last = Some(at.step);
        for ((index, target), pauses) in (0..).zip(&snapshot.target_set.targets).zip(pauses) {
            let values = snapshot.values(index);
            if values.is_gone() {
                continue;
            }
            let kept = timeline.jvms.entry(target.incarnation).or_insert_with(|| Box::new(Kept::new(at.step)));
            kept.ended = None;
            kept.record.add(at, &target.vitals, &values, target.state, pauses);
            kept.record.forget_pauses(at);
            let since = now.saturating_duration_since(timeline.begin).as_secs_f64();
            kept.trail.note(since, Totals::of(&target.vitals, &values));
        }
        timeline.forget(at);
    }

    /// Keeps what is known of a JVM that has ended.
    pub fn end(&self, target: &Target, signs: EndSigns, at: f64, description: D) {
        let mut timeline = lock(&self.timeline);
        let Some(timeline) = timeline.as_mut() else { return };
        let now = Instant::now();
        let step = timeline.moment(now).step;
        let kept = timeline.jvms.entry(target.incarnation).or_insert_with(|| Box::new(Kept::new(step)));
        let how = signs.how(kept.record.unlinked > 1);
        kept.ended = Some(Box::new(Ended { end: End { at, how }, seen: now, description }));
        timeline.forget_most();
    }

    /// What is known of the past of a JVM.
    pub fn past(&self, incarnation: Incarnation, extent: Extent<'_>) -> Past {
        let timeline = lock(&self.timeline);
        let Some(timeline) = timeline.as_ref() else { return Past::default() };
        let Some(kept) = timeline.jvms.get(&incarnation) else { return Past::default() };
        Past { recent: kept.trail.recent(), ..timeline.past(&kept.record, extent) }
    }

    /// The JVMs that have ended, the last one first.
    pub fn ended(&self) -> Vec<(Incarnation, End, D)> {
        let timeline = lock(&self.timeline);
        let jvms = timeline.iter().flat_map(|timeline| &timeline.jvms);
        let mut ended: Vec<_> = jvms
            .filter_map(|(incarnation, kept)| {
                let ended = kept.ended.as_ref()?;
                Some((*incarnation, ended.end, ended.description.clone()))
            })
            .collect();
        ended.sort_by(|one, other| other.1.at.total_cmp(&one.1.at));
        ended
    }
}

impl<D> Kept<D> {
    fn new(step: u64) -> Self {
        Self { record: JvmHistory::new(step), trail: Trail::default(), ended: None }
    }

    /// Bytes that it takes.
    #[cfg(test)]
    fn size(&self) -> usize {
        size_of::<(Incarnation, Box<Self>)>() + size_of::<Self>() + self.record.heap_size() + self.trail.heap_size()
    }
}

impl<D> Timeline<D> {
    fn due(&self) -> Option<Instant> {
        let next = self.last.map_or(0, |last| last.saturating_add(1));
        self.begin.checked_add(self.step.checked_mul(u32::try_from(next).ok()?)?)
    }

    fn moment(&self, now: Instant) -> Moment {
        let since = now.saturating_duration_since(self.begin);
        let step = since.as_millis().checked_div(self.step.as_millis()).unwrap_or(0);
        Moment {
            step: u64::try_from(step).unwrap_or(u64::MAX),
            now,
            // Wraps, as the times of pauses do.
            millis: since.as_millis() as u32,
            period: self.step,
            capacity: self.capacity,
        }
    }

    fn span(&self) -> Duration {
        self.step.saturating_mul(u32::try_from(self.capacity).unwrap_or(u32::MAX))
    }

    /// Forgets JVMs that ended, or were lost from sight, longer ago than the span.
    fn forget(&mut self, at: Moment) {
        let (span, capacity) = (self.span(), self.capacity as u64);
        self.jvms.retain(|_, kept| match &kept.ended {
            Some(ended) => at.now.saturating_duration_since(ended.seen) < span,
            None => kept.record.next().saturating_add(capacity) > at.step,
        });
        self.forget_most();
    }

    /// Forgets the JVMs that ended first, above [`ENDED_MAXIMUM`].
    fn forget_most(&mut self) {
        let ended = |kept: &Kept<D>| kept.ended.as_ref().map(|ended| ended.seen);
        let mut times: Vec<_> = self.jvms.values().filter_map(|kept| ended(kept)).collect();
        let Some(excess) = times.len().checked_sub(ENDED_MAXIMUM).filter(|excess| *excess > 0) else { return };
        times.sort();
        let mut left = excess;
        let Some(last) = times.get(excess - 1).copied() else { return };
        self.jvms.retain(|_, kept| {
            let forget = left > 0 && ended(kept).is_some_and(|at| at <= last);
            left -= usize::from(forget);
            !forget
        });
    }

    fn past(&self, record: &JvmHistory, extent: Extent<'_>) -> Past {
        use strum::VariantArray as _;
        let all = Measure::VARIANTS;
        let Some(last) = self.last else { return Past::default() };
        let (count, measures) = match extent {
            Extent::Whole => (self.capacity, all),
            Extent::Condensed(count, measures) => (count.clamp(1, self.capacity), measures),
        };
        let each = self.capacity.checked_div(count).unwrap_or(1);
        // Condensed points begin at fixed steps, so that they do not change from one step to the next.
        let group = last.checked_div(each as u64).unwrap_or(last);
        // Those before the first step of all are unknown.
        let missing = count.saturating_sub(usize::try_from(group).unwrap_or(usize::MAX).saturating_add(1));
        let first = (group.saturating_add(1)).saturating_sub((count - missing) as u64).saturating_mul(each as u64);
        let points = |measure: Measure| {
            let mut values = record.values(measure, first, self.capacity);
            let known = (missing..count).map(|_| measure.condense(values.by_ref().take(each)));
            std::iter::repeat_n(None, missing).chain(known).collect::<Vec<_>>()
        };
        let known = |(measure, points): (Measure, Vec<Option<f32>>)| {
            points.iter().any(Option::is_some).then_some((measure, points))
        };
        let millis = self.moment(Instant::now()).millis;
        Past {
            recent: Vec::new(),
            points: measures
                .iter()
                .filter(|measure| record.knows(**measure))
                .map(|measure| (*measure, points(*measure)))
                .filter_map(known)
                .collect(),
            last: all.iter().filter_map(|measure| Some((*measure, record.last(*measure, self.capacity)?))).collect(),
            gc_share: record.gc_share(),
            throttled: record.throttled(),
            pauses: if extent == Extent::Whole { record.pauses(millis) } else { Vec::new() },
        }
    }
}

/// The pauses of a JVM since the last point; `None` where nobody measures them.
fn take_pauses(target: &Target) -> Option<PauseBatch> {
    target.providers.iter().find_map(|attached| attached.provider.take_pauses())
}
