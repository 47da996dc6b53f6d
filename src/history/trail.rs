//! The trail of a JVM: what its counters grew by over the last quarter of an hour, in steps of half a minute.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::fact::Formula;
use crate::snapshot::TargetValues;
use crate::targets::Vitals;

/// Seconds of a step.
const STEP: f64 = 30.0;

/// Seconds of the spans that are told, the shortest first.
const SPANS: [f64; 3] = [60.0, 300.0, 900.0];

/// Steps that are kept: those of the longest span.
const STEPS: usize = 30;

/// Steps by which the memory grows.
const GROWTH: usize = 8;

/// Periods of a quota of which a share says something: a second, as the kernel divides it by default.
const PERIODS: f64 = 10.0;

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

/// What a JVM's counters and levels are at one time; `None` where they are not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    /// Seconds in which the application stood still.
    pub(super) stopped: Option<f64>,
    /// Seconds in collections.
    pub(super) gc_time: Option<f64>,
    /// Periods of the CPU quota.
    pub(super) periods: Option<f64>,
    /// Those in which the cgroup was throttled.
    pub(super) throttled_periods: Option<f64>,
    /// Collections of the whole heap.
    pub(super) full_collections: Option<f64>,
    /// Processes of the cgroup that were killed for lack of memory.
    pub(super) oom_kills: Option<f64>,
    /// Share of the old generation in use after the last collection.
    pub(super) old_usage: Option<f64>,
    /// Committed bytes of native memory outside the heap.
    pub(super) outside_heap: Option<f64>,
}

/// What happened in a step. NaN is unknown, which takes half the memory of an option.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Its length, and that part of it in which the counters of the JVM were known.
    seconds: f32,
    known: f32,
    grown: [f32; COUNTERS],
    lowest_old_usage: f32,
    /// Levels at its begin.
    old_usage: f32,
    outside_heap: f32,
}

const COUNTERS: usize = 6;

/// The last steps of a JVM.
#[derive(Debug, Default)]
pub(super) struct Trail {
    last: Option<(f64, Totals)>,
    steps: VecDeque<Stretch>,
}

impl Totals {
    /// Those of a JVM at the moment of a snapshot.
    pub(super) fn of(vitals: &Vitals, values: &TargetValues<'_>) -> Self {
        let number = |formula: &Option<Formula>| Some(formula.as_ref()?.evaluate(values)?.as_f64());
        let native = number(&vitals.native_committed).zip(number(&vitals.native_heap));
        Self {
            stopped: number(&vitals.stopped_time),
            gc_time: number(&vitals.gc_time),
            periods: number(&vitals.cpu_periods),
            throttled_periods: number(&vitals.throttled_periods),
            full_collections: number(&vitals.full_collections),
            oom_kills: number(&vitals.oom_kills),
            old_usage: number(&vitals.old_usage_after_gc),
            outside_heap: native.map(|(all, heap)| all - heap),
        }
    }

    fn counters(&self) -> [Option<f64>; COUNTERS] {
        let Self { stopped, gc_time, periods, throttled_periods, full_collections, oom_kills, .. } = *self;
        [stopped, gc_time, periods, throttled_periods, full_collections, oom_kills]
    }
}

fn or_nan(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, |value| value as f32)
}

fn known(value: f64) -> Option<f64> {
    (!value.is_nan()).then_some(value)
}

/// The sum of what is known.
fn add(sum: f64, value: f64) -> f64 {
    if sum.is_nan() || value.is_nan() { sum.max(value) } else { sum + value }
}

impl Stretch {
    fn begin(levels: &Totals) -> Self {
        Self {
            seconds: 0.0,
            known: 0.0,
            grown: [f32::NAN; COUNTERS],
            lowest_old_usage: or_nan(levels.old_usage),
            old_usage: or_nan(levels.old_usage),
            outside_heap: or_nan(levels.outside_heap),
        }
    }

    fn extend(&mut self, seconds: f64, before: &Totals, totals: &Totals) {
        self.seconds += seconds as f32;
        if before.stopped.and(totals.stopped).or(before.gc_time.and(totals.gc_time)).is_some() {
            self.known += seconds as f32;
        }
        for ((grown, before), now) in self.grown.iter_mut().zip(before.counters()).zip(totals.counters()) {
            // A counter that steps back begins anew.
            let growth = now.zip(before).map_or(f64::NAN, |(now, before)| (now - before).max(0.0));
            *grown = add(f64::from(*grown), growth) as f32;
        }
        // `min` and `max` of a number and NaN are the number.
        self.lowest_old_usage = self.lowest_old_usage.min(or_nan(totals.old_usage));
        for (level, now) in [(&mut self.old_usage, totals.old_usage), (&mut self.outside_heap, totals.outside_heap)] {
            if level.is_nan() {
                *level = or_nan(now);
            }
        }
    }
}

impl Trail {
    /// Adds the totals at a time, in seconds of a clock that never steps back.
    pub(super) fn note(&mut self, now: f64, totals: Totals) {
        let before = self.last.replace((now, totals));
        let Some((then, before)) = before.filter(|(then, _)| *then < now) else { return };
        if self.steps.back().is_none_or(|step| f64::from(step.seconds) >= STEP) {
            if self.steps.len() > STEPS {
                self.steps.pop_front();
            } else if self.steps.len() == self.steps.capacity() {
                self.steps.reserve_exact((STEPS + 1 - self.steps.len()).min(GROWTH));
            }
            self.steps.push_back(Stretch::begin(&before));
        }
        if let Some(step) = self.steps.back_mut() {
            step.extend(now - then, &before, &totals);
        }
    }

    /// What happened over each span, or over the time that is known; none is told twice.
    pub(super) fn recent(&self) -> Vec<Recent> {
        let Some((_, now)) = &self.last else { return Vec::new() };
        let mut told: Vec<Recent> = Vec::new();
        for span in SPANS {
            let recent = self.over(span, now);
            if told.last().map_or(0.0, |last| last.seconds) < recent.seconds {
                told.push(recent);
            }
        }
        told
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn heap_size(&self) -> usize {
        self.steps.capacity() * size_of::<Stretch>()
    }

    /// What happened in the last steps that together are about so long.
    fn over(&self, span: f64, now: &Totals) -> Recent {
        let (mut seconds, mut measured, mut grown) = (0.0, 0.0, [f64::NAN; COUNTERS]);
        let (mut lowest, mut old_usage, mut outside_heap) = (f64::NAN, f64::NAN, f64::NAN);
        for step in self.steps.iter().rev() {
            if seconds > 0.0 && seconds + f64::from(step.seconds) > span * 1.1 {
                break;
            }
            seconds += f64::from(step.seconds);
            measured += f64::from(step.known);
            for (sum, growth) in grown.iter_mut().zip(step.grown) {
                *sum = add(*sum, f64::from(growth));
            }
            lowest = lowest.min(f64::from(step.lowest_old_usage));
            for (level, first) in [(&mut old_usage, step.old_usage), (&mut outside_heap, step.outside_heap)] {
                if !first.is_nan() {
                    *level = f64::from(first);
                }
            }
        }
        let [stopped, gc_time, periods, throttled, full_collections, oom_kills] = grown.map(known);
        // Time is counted when a stop ends, and the stop may have begun before the span.
        let share = |time: Option<f64>| time.filter(|_| measured > 0.0).map(|time| (time / measured).min(1.0));
        let periods = periods.filter(|periods| *periods >= PERIODS);
        Recent {
            seconds,
            stopped: share(stopped),
            gc_share: share(gc_time),
            throttled: throttled.zip(periods).map(|(throttled, periods)| (throttled / periods).min(1.0)),
            full_collections,
            lowest_old_usage: known(lowest),
            old_growth: now.old_usage.zip(known(old_usage)).map(|(now, then)| now - then),
            native_growth: now.outside_heap.zip(known(outside_heap)).map(|(now, then)| now - then),
            oom_kills,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A trail with totals every 5 s, from 0 on.
    fn trail(seconds: u32, totals: impl Fn(f64) -> Totals) -> Trail {
        let mut trail = Trail::default();
        (0..=seconds).step_by(5).for_each(|now| trail.note(f64::from(now), totals(f64::from(now))));
        trail
    }

    fn lengths(trail: &Trail) -> Vec<f64> {
        trail.recent().iter().map(|recent| recent.seconds).collect()
    }

    #[test]
    fn spans_are_as_long_as_the_past_allows_and_none_is_told_twice() {
        let of = |seconds| lengths(&trail(seconds, |_| Totals::default()));
        assert!(lengths(&Trail::default()).is_empty());
        assert!(of(0).is_empty());
        assert_eq!(of(10), [10.0]);
        assert_eq!(of(60), [60.0]);
        assert_eq!(of(100), [40.0, 100.0]);
        for seconds in (1000..2000).step_by(35) {
            let spans = of(seconds);
            for (span, told) in SPANS.iter().zip(&spans) {
                assert!(*told > span - 2.0 * STEP && *told <= span * 1.1, "{spans:?} at {seconds}");
            }
        }
    }

    #[test]
    fn growth_becomes_shares_of_time_and_of_periods() {
        let trail = trail(120, |now| Totals {
            stopped: Some(100.0 + now * 0.3),
            gc_time: Some(now * 0.2),
            periods: Some(now * 10.0),
            throttled_periods: Some(now * 5.0),
            full_collections: Some((now / 60.0).floor()),
            oom_kills: Some(3.0),
            old_usage: Some(if now == 90.0 { 0.1 } else { 0.5 + now / 1000.0 }),
            outside_heap: Some(1e9 + now * 1e6),
        });
        let [minute, all] = <[Recent; 2]>::try_from(trail.recent()).unwrap();
        let near =
            |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-4 * expected.abs().max(1.0);
        assert!(near(minute.stopped, 0.3) && near(minute.gc_share, 0.2) && near(minute.throttled, 0.5), "{minute:?}");
        assert_eq!((all.seconds, all.full_collections, all.oom_kills), (120.0, Some(2.0), Some(0.0)));
        assert!(
            near(all.lowest_old_usage, 0.1) && near(all.old_growth, 0.12) && near(all.native_growth, 120e6),
            "{all:?}"
        );
    }

    #[test]
    fn what_is_known_late_counts_from_then_on_and_what_is_unknown_is_absent() {
        let late = trail(20, |now| match now {
            now if now < 10.0 => Totals::default(),
            now => Totals { stopped: Some(now), periods: Some(now), outside_heap: Some(now), ..Totals::default() },
        });
        let [recent] = <[Recent; 1]>::try_from(late.recent()).unwrap();
        assert_eq!((recent.seconds, recent.stopped, recent.native_growth), (20.0, Some(1.0), Some(10.0)));
        assert_eq!((recent.gc_share, recent.throttled, recent.oom_kills), (None, None, None));
    }

    #[test]
    fn counters_that_step_back_and_stops_that_began_earlier_make_no_nonsense() {
        let mut trail = Trail::default();
        for (now, stopped) in [(0.0, 50.0), (5.0, 0.0), (10.0, 40.0), (10.0, 80.0)] {
            trail.note(now, Totals { stopped: Some(stopped), ..Totals::default() });
        }
        assert_eq!(trail.recent().first().unwrap().stopped, Some(1.0), "40 s ended within 10 s");
    }

    #[test]
    fn the_trail_is_bounded() {
        let trail = trail(100_000, |_| Totals::default());
        assert_eq!(trail.steps.len(), STEPS + 1);
        assert_eq!(trail.heap_size(), size_of::<Stretch>() * (STEPS + 1));
    }
}
