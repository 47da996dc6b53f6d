//! What the exporter did not serve over the last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::App;
use crate::metric::{Labels, Value};
use crate::report::exporter::{ExporterState, Omission, OmissionKind};
use crate::sync::lock;
use crate::telemetry::SampleSource;

/// Time over which failures are told: that of the rates in the alert `ExporterErrors`.
const SPAN: Duration = Duration::from_secs(300);

/// Shortest time between two points.
const STEP: Duration = Duration::from_secs(10);

/// How often each thing was left out since the exporter started.
type OmissionCounts = BTreeMap<(OmissionKind, String), u64>;

/// Counts from now and then over the last minutes, the oldest first.
#[derive(Debug)]
pub(super) struct Omissions(Mutex<VecDeque<(Instant, OmissionCounts)>>);

impl Omissions {
    /// Those of an exporter that starts, and has left nothing out.
    pub(super) fn starting() -> Self {
        Self(Mutex::new([(Instant::now(), OmissionCounts::new())].into()))
    }

    /// Keeps the totals of now, unless others are as new, and no more of the past than is needed.
    fn note(&self, now: Instant, totals: impl FnOnce() -> OmissionCounts) {
        let mut points = lock(&self.0);
        if points.back().is_some_and(|(last, _)| now.saturating_duration_since(*last) < STEP) {
            return;
        }
        points.push_back((now, totals()));
        while points.get(1).is_some_and(|(next, _)| now.saturating_duration_since(*next) >= SPAN) {
            points.pop_front();
        }
    }

    /// What was left out since the oldest point, and the time since then.
    fn since(&self, now: Instant, totals: OmissionCounts) -> (Duration, OmissionCounts) {
        let points = lock(&self.0);
        let Some((then, before)) = points.front() else { return (Duration::ZERO, OmissionCounts::new()) };
        let grown = totals.into_iter().map(|(key, total)| {
            let growth = total.saturating_sub(before.get(&key).copied().unwrap_or(0));
            (key, growth)
        });
        (now.saturating_duration_since(*then), grown.filter(|(_, growth)| *growth > 0).collect())
    }
}

impl App {
    /// Remembers what has been left out up to now.
    pub(super) fn note_omissions(&self) {
        self.omissions.note(Instant::now(), || self.omitted());
    }

    /// What keeps it from serving all that it should.
    pub(super) fn state(&self) -> ExporterState {
        let (time, omitted) = self.omissions.since(Instant::now(), self.omitted());
        let dropped = counts(OmissionKind::SeriesDropped, self.metrics.series_dropped.samples());
        let omissions = omitted.into_iter().chain(dropped.filter(|(_, count)| *count > 0));
        ExporterState {
            reload_failed: self.metrics.has_failed_to_reload(),
            seconds: time.as_secs_f64(),
            omissions: omissions.map(|((kind, reason), count)| Omission { kind, reason, count }).collect(),
        }
    }

    /// What has been left out since the start.
    fn omitted(&self) -> OmissionCounts {
        let unread = counts(OmissionKind::ReadFailure, self.metrics.read_failures.samples());
        let refused = counts(OmissionKind::RequestRefused, self.http.refused.samples());
        unread.chain(refused).filter(|((kind, reason), _)| kind.is_failure(reason)).collect()
    }
}

/// The values of a metric with the label `reason`.
fn counts(kind: OmissionKind, samples: Vec<(Labels, Value)>) -> impl Iterator<Item = ((OmissionKind, String), u64)> {
    samples.into_iter().filter_map(move |(labels, value)| {
        let (_, reason) = labels.iter().find(|(name, _)| *name == "reason")?;
        let Value::Int(count) = value else { return None };
        Some(((kind, reason.to_owned()), u64::try_from(count).unwrap_or(0)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(count: u64) -> OmissionCounts {
        [((OmissionKind::ReadFailure, "unsettled".to_owned()), count)].into()
    }

    #[test]
    fn failures_are_told_for_the_last_minutes_and_then_forgotten() {
        let omissions = Omissions::starting();
        let begin = lock(&omissions.0).front().map(|(begin, _)| *begin).unwrap_or_else(Instant::now);
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(omissions.since(at(5), totals(2)), (Duration::from_secs(5), totals(2)));
        for seconds in (0..10_000).step_by(3) {
            omissions.note(at(seconds), || totals(seconds.min(100)));
            let (time, _) = omissions.since(at(seconds), OmissionCounts::new());
            assert!(time <= SPAN + STEP * 2, "{time:?} at {seconds} s");
            assert!(lock(&omissions.0).len() <= 32);
        }
        assert_eq!(omissions.since(at(10_000), totals(100)).1, OmissionCounts::new(), "the last one was long ago");
        assert_eq!(omissions.since(at(10_000), totals(104)).1, totals(4));
    }
}
