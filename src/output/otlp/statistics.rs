//! The pusher's own metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::failure::PushFailureReason;
use crate::metric::FamilySamples;
use crate::metric::{Family, Histogram, Kind, Labels, Value};
use crate::sync::lock;

/// Upper bounds of `hotspot_exporter_otlp_push_duration_seconds`, from a small push to the usual timeout of an attempt,
/// 10 s.
const DURATION_BOUNDS: [f64; 8] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Counts of pushes, shared by the pusher and the exporter's own metrics.
#[derive(Debug, Default)]
pub struct PushStatistics(Mutex<PushCounts>);

#[derive(Debug, Default)]
struct PushCounts {
    succeeded: u64,
    failed: u64,
    failures: BTreeMap<PushFailureReason, u64>,
    points: u64,
    bytes: u64,
    rejected: u64,
    dropped: u64,
    queued_points: u64,
    queued_bytes: u64,
    durations: Histogram,
}

impl PushStatistics {
    fn counts(&self) -> MutexGuard<'_, PushCounts> {
        lock(&self.0)
    }

    /// Counts a push.
    pub(super) fn pushed(&self, succeeded: bool, took: Duration) {
        let mut counts = self.counts();
        match succeeded {
            true => counts.succeeded += 1,
            false => counts.failed += 1,
        }
        let histogram = &mut counts.durations;
        if histogram.counts.is_empty() {
            histogram.bounds = Arc::new(DURATION_BOUNDS);
            histogram.counts = vec![0; DURATION_BOUNDS.len() + 1];
            histogram.created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        }
        let seconds = took.as_secs_f64();
        let bucket = DURATION_BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = histogram.counts.get_mut(bucket) {
            *count += 1;
        }
        histogram.sum += seconds;
    }

    /// Counts a failed attempt to send a request.
    pub(super) fn failed(&self, reason: PushFailureReason) {
        *self.counts().failures.entry(reason).or_default() += 1;
    }

    /// Counts a request that the receiver accepted, with its rejected points.
    pub(super) fn accepted(&self, points: u64, bytes: usize, rejected: u64) {
        let mut counts = self.counts();
        counts.points += points;
        counts.bytes += bytes as u64;
        counts.rejected += rejected;
    }

    /// Counts discarded points of ended JVMs.
    pub(super) fn dropped(&self, points: u64) {
        self.counts().dropped += points;
    }

    /// Sets the size of the queue of ended JVMs.
    pub(super) fn queued(&self, bytes: usize, points: u64) {
        let mut counts = self.counts();
        counts.queued_bytes = bytes as u64;
        counts.queued_points = points;
    }

    /// The current metrics.
    pub fn families(&self) -> Vec<FamilySamples> {
        let counts = self.counts();
        let label = |name: &str, value: &str| Labels::new([(name, value)]);
        let one = |value: u64| vec![(Labels::default(), int(value))];
        let failures = PushFailureReason::ALL
            .iter()
            .map(|reason| (label("reason", reason.as_str()), int(counts.failures.get(reason).copied().unwrap_or(0))));
        let outcomes = [("success", counts.succeeded), ("failure", counts.failed)];
        let outcomes = outcomes.map(|(outcome, count)| (label("outcome", outcome), int(count)));
        let durations = Some(&counts.durations).filter(|durations| !durations.counts.is_empty());
        let durations = durations.map(|durations| (Labels::default(), Value::Histogram(Arc::new(durations.clone()))));
        let family = |name: &str, unit: &str, kind, help: &str| Family {
            name: format!("hotspot_exporter_otlp_{name}").into(),
            unit: unit.into(),
            kind,
            help: help.into(),
        };
        use Kind::{Counter, Gauge};
        vec![
            (family("pushes_total", "", Counter, "Pushes over OTLP, by outcome."), outcomes.into()),
            (
                family("failures_total", "", Counter, "Failed attempts to send a request over OTLP, by reason."),
                failures.collect(),
            ),
            (family("points_total", "", Counter, "Points in requests that the receiver accepted."), one(counts.points)),
            (
                family(
                    "rejected_points_total",
                    "",
                    Counter,
                    "Points that the receiver rejected in requests that it accepted.",
                ),
                one(counts.rejected),
            ),
            (
                family("dropped_points_total", "", Counter, "Last points of ended JVMs that were discarded."),
                one(counts.dropped),
            ),
            (
                family(
                    "sent_bytes_total",
                    "By",
                    Counter,
                    "Bytes of requests that the receiver accepted, before compression.",
                ),
                one(counts.bytes),
            ),
            (
                family("queue_points", "", Gauge, "Last points of ended JVMs that wait for the receiver."),
                one(counts.queued_points),
            ),
            (
                family(
                    "queue_bytes",
                    "By",
                    Gauge,
                    "Bytes of the last points of ended JVMs that wait for the receiver.",
                ),
                one(counts.queued_bytes),
            ),
            (
                family(
                    "push_duration_seconds",
                    "s",
                    Kind::Histogram,
                    "Duration of pushes over OTLP, including retries.",
                ),
                durations.into_iter().collect(),
            ),
        ]
    }
}

fn int(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
