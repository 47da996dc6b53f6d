#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use strum::VariantArray as _;

use super::jvm::PAUSES_MAXIMUM;
use super::*;
use crate::discovery::RegionId;
use crate::fact::{CompletedPause, Formula, Scale};
use crate::snapshot::TargetValues;
use crate::targets::{TargetState, Vitals};

const CAPACITY: usize = 180;

fn at(step: u64) -> Moment {
    let begin = *BEGIN;
    let now = begin + STEP * u32::try_from(step).unwrap();
    Moment { step, now, millis: u32::try_from(step).unwrap() * 5_000, period: STEP, capacity: CAPACITY }
}

static BEGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// Vitals of which every value is known: the first word, and the second for counters.
fn vitals() -> Vitals {
    let word = |word| Some(Formula::Word(word, Scale::One));
    Vitals {
        heap_used: word(0),
        old_used: word(0),
        eden_used: word(0),
        survivor_used: word(0),
        live_set: word(0),
        allocated: word(1),
        allocation_is_exact: true,
        stopped_time: word(1),
        gc_time: word(1),
        threads: word(0),
        cpu_time: word(1),
        rss: word(0),
        native_committed: word(0),
        native_heap: word(2),
        ..Vitals::default()
    }
}

fn add(record: &mut JvmHistory, step: u64, words: &[i64], pauses: Option<PauseBatch>) {
    record.add(at(step), &vitals(), &TargetValues::of_words(words), TargetState::Mapped, pauses);
}

fn value(record: &JvmHistory, measure: Measure, step: u64) -> Option<f32> {
    record.values(measure, step, CAPACITY).next().flatten()
}

fn pause(millis_ago: u32, seconds: f32) -> PauseBatch {
    PauseBatch { longest: seconds, pauses: vec![CompletedPause { millis_ago, seconds }] }
}

#[test]
fn a_jvm_never_takes_more_than_8_kib() {
    let mut kept = Kept::<u32>::new(0);
    let mut sizes = Vec::new();
    for step in 0..1_000_u32 {
        let pauses = (0..20).map(|pause| CompletedPause { millis_ago: pause * 100, seconds: 0.1 + step as f32 });
        let batch = PauseBatch { longest: 1.0, pauses: pauses.collect() };
        add(&mut kept.record, step.into(), &[step.into(), 0, 0], Some(batch));
        kept.record.forget_pauses(at(step.into()));
        kept.trail.note(f64::from(step) * STEP.as_secs_f64(), Totals::default());
        sizes.push(kept.size());
    }
    assert!(*sizes.iter().max().unwrap() <= 8192, "{:?}", sizes.iter().max());
    assert!(sizes[1] < 2500, "a JVM of a few seconds takes less: {}", sizes[1]);
    assert_eq!(kept.record.pauses(at(999).millis).len(), PAUSES_MAXIMUM);
}

#[test]
fn points_are_a_ring() {
    let mut record = JvmHistory::new(10);
    for step in 10..500 {
        add(&mut record, step, &[i64::try_from(step).unwrap(), 0, 0], None);
    }
    let used = |step| value(&record, Measure::HeapUsed, step);
    assert_eq!(used(499), Some(499.0));
    assert_eq!(used(320), Some(320.0), "the oldest that is kept");
    for step in [0, 9, 319, 500] {
        assert_eq!(used(step), None, "{step}");
    }
    assert_eq!(value(&record, Measure::LongestPause, 499), None, "nobody measures it");
    assert_eq!(record.last(Measure::HeapUsed, CAPACITY), Some(499.0));
}

#[test]
fn steps_that_were_missed_have_no_points() {
    let mut record = JvmHistory::new(0);
    for step in [0, 1, 4, 300, 301] {
        add(&mut record, step, &[7, 0, 0], None);
    }
    let known: Vec<u64> = (0..400).filter(|step| value(&record, Measure::Threads, *step).is_some()).collect();
    assert_eq!(known, [300, 301], "the others are older than the span");
    let mut record = JvmHistory::new(0);
    for step in [0, 1, 4] {
        add(&mut record, step, &[7, 0, 0], None);
    }
    let known: Vec<u64> = (0..9).filter(|step| value(&record, Measure::Threads, *step).is_some()).collect();
    assert_eq!(known, [0, 1, 4]);
}

#[test]
fn counters_become_rates_and_shares() {
    let mut record = JvmHistory::new(0);
    for (step, counter) in [(0, 100), (1, 102), (2, 50), (3, 51), (4, 51), (5, 151)] {
        add(&mut record, step, &[1, counter, 0], None);
    }
    let values = |measure| (0..6).map(|step| value(&record, measure, step)).collect::<Vec<_>>();
    let rates = [None, Some(0.4), None, Some(0.2), Some(0.0), Some(20.0)];
    assert_eq!(values(Measure::AllocationRate), rates, "a counter that fell began anew");
    assert_eq!(values(Measure::Stopped)[5], Some(1.0), "a share is at most 1");
    assert_eq!(record.gc_share(), Some(1.0));
}

#[test]
fn the_longest_pauses_of_the_span_are_kept() {
    let mut record = JvmHistory::new(0);
    add(&mut record, 0, &[0, 0, 0], Some(pause(0, 9.0)));
    for step in 1..100 {
        add(&mut record, step, &[0, 0, 0], Some(pause(1_000, step as f32 / 128.0)));
    }
    let pauses = record.pauses(at(100).millis);
    assert_eq!((pauses.len(), pauses[0].1), (PAUSES_MAXIMUM, 9.0));
    assert_eq!(*pauses.last().unwrap(), (6.0, 99.0 / 128.0), "seconds ago, and seconds");
    add(&mut record, 200, &[0, 0, 0], Some(PauseBatch::default()));
    record.forget_pauses(at(200));
    assert!(record.pauses(at(200).millis).iter().all(|(ago, _)| *ago <= 900.0));
    assert_eq!(value(&record, Measure::LongestPause, 200), Some(0.0), "known, and none");
}

fn timeline() -> Timeline<u32> {
    Timeline { step: STEP, capacity: CAPACITY, begin: *BEGIN, last: None, jvms: HashMap::new() }
}

fn incarnation(number: i64) -> Incarnation {
    Incarnation { region: RegionId::Memory { pid: 1, start_ticks: 1, address: 1 }, start_millis: number }
}

#[test]
fn ten_thousand_jvms_that_end_leave_a_bounded_history() {
    let mut timeline = timeline();
    let mut largest = 0;
    for number in 0..10_000_u32 {
        let step = u64::from(number / 10);
        let mut record = JvmHistory::new(step);
        add(&mut record, step, &[1, 2, 3], Some(pause(0, 0.1)));
        let end = End { at: f64::from(number), how: HowEnded::Exited };
        let ended = Some(Box::new(Ended { end, seen: at(step).now, description: number }));
        let kept = Kept { record, trail: Trail::default(), ended };
        timeline.jvms.insert(incarnation(number.into()), Box::new(kept));
        timeline.forget(at(step));
        largest = largest.max(timeline.jvms.len());
    }
    assert_eq!(largest, ENDED_MAXIMUM);
    let bytes: usize = timeline.jvms.values().map(|kept| kept.size()).sum();
    assert!(bytes < ENDED_MAXIMUM * 2048, "{bytes}");
    assert!(timeline.jvms.contains_key(&incarnation(9_999)) && !timeline.jvms.contains_key(&incarnation(9_000)));
    timeline.forget(at(1_000 + 180));
    assert!(timeline.jvms.is_empty(), "all are older than the span");
}

#[test]
fn a_jvm_that_is_lost_from_sight_is_forgotten() {
    let mut timeline = timeline();
    let mut record = JvmHistory::new(0);
    add(&mut record, 0, &[1, 2, 3], None);
    let kept = Kept { record, trail: Trail::default(), ended: None };
    timeline.jvms.insert(incarnation(1), Box::new(kept));
    timeline.forget(at(180));
    assert_eq!(timeline.jvms.len(), 1);
    timeline.forget(at(181));
    assert!(timeline.jvms.is_empty());
}

#[test]
fn a_longer_span_has_longer_steps() {
    let history = History::<()>::default();
    assert_eq!((history.step(), history.due()), (None, None));
    let minute = Duration::from_secs(60);
    for (span, step, expected, condensed) in [
        (15 * minute, STEP, STEP, 25.0),
        (minute, STEP, STEP, 5.0),
        (60 * minute, STEP, 20 * STEP / 5, 100.0),
        (15 * minute, STEP / 5, STEP, 25.0),
    ] {
        history.configure(Some(span), step);
        assert_eq!((history.step(), history.condensed_step(36)), (Some(expected), Some(condensed)), "{span:?}");
    }
    history.configure(None, STEP);
    assert_eq!(history.step(), None);
}

#[test]
fn condensed_points_cover_the_span_and_stand_still() {
    let mut timeline = timeline();
    let mut record = JvmHistory::new(0);
    for step in 0..=404 {
        add(&mut record, step, &[i64::try_from(step).unwrap(), 0, 0], None);
    }
    timeline.last = Some(404);
    let past = timeline.past(&record, Extent::Condensed(36, &[Measure::HeapUsed, Measure::LongestPause]));
    let [(Measure::HeapUsed, points)] = &*past.points else { panic!("{past:?}") };
    assert_eq!(points.len(), 36);
    assert_eq!((points[34], points[35]), (Some(397.0), Some(402.0)), "means of 5 steps each");
    let whole = timeline.past(&record, Extent::Whole);
    assert_eq!(whole.points.iter().find(|(measure, _)| *measure == Measure::Rss).unwrap().1.len(), CAPACITY);
    assert_eq!(whole.last.len(), Measure::VARIANTS.len() - 1);
}

#[test]
fn peaks_survive_condensing() {
    let points = || [Some(0.0), None, Some(0.9)].into_iter();
    assert_eq!(Measure::Stopped.condense(points()), Some(0.9));
    assert_eq!(Measure::Cpu.condense(points()), Some(0.45));
    assert_eq!(Measure::Cpu.condense([None].into_iter()), None);
}

#[test]
fn snapshots_without_jvms_are_recorded_once_a_step() {
    let history = History::<()>::default();
    history.configure(Some(15 * Duration::from_secs(60)), STEP);
    let first = history.due().unwrap();
    let snapshot = Snapshot::take(Arc::default(), Instant::now());
    history.record(&snapshot, first);
    let second = history.due().unwrap();
    assert_eq!(second, first + STEP);
    history.record(&snapshot, first);
    assert_eq!(history.due(), Some(second));
    history.record(&snapshot, first + 7 * STEP + STEP / 2);
    assert_eq!(history.due(), Some(first + 8 * STEP), "missed steps are left out");
}
