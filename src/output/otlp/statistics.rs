//! What the pusher counts of itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::failure::PushFailureReason;
use crate::metric::FamilySamples;
use crate::metric::{Family, Histogram, Kind, Labels, Value};
use crate::sync::lock;

/// Upper bounds of `hotspot_exporter_otlp_push_duration_seconds`: 20 ms is the budget of 1,000 JVMs, 10 s the usual
/// time that an attempt has.
const DURATION_BOUNDS: [f64; 8] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// Counts of pushes, shared by the pusher and who reports them.
#[derive(Debug, Default)]
pub struct PushStatistics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
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
    fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.0)
    }

    /// A push ended.
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

    /// An attempt to send a request failed.
    pub(super) fn failed(&self, reason: PushFailureReason) {
        *self.counts().failures.entry(reason).or_default() += 1;
    }

    /// The receiver took a request, but for some of its points.
    pub(super) fn accepted(&self, points: u64, bytes: usize, rejected: u64) {
        let mut counts = self.counts();
        counts.points += points;
        counts.bytes += bytes as u64;
        counts.rejected += rejected;
    }

    /// Points of JVMs that have ended were given up.
    pub(super) fn dropped(&self, points: u64) {
        self.counts().dropped += points;
    }

    /// So much of JVMs that have ended waits to be sent.
    pub(super) fn queued(&self, bytes: usize, points: u64) {
        let mut counts = self.counts();
        counts.queued_bytes = bytes as u64;
        counts.queued_points = points;
    }

    /// All of it, as it is now.
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
            (family("failures_total", "", Counter, "Attempts to push that failed, by reason."), failures.collect()),
            (family("points_total", "", Counter, "Points that the receiver was sent and took."), one(counts.points)),
            (
                family("rejected_points_total", "", Counter, "Points of those that it said it did not take."),
                one(counts.rejected),
            ),
            (
                family("dropped_points_total", "", Counter, "Last points of ended JVMs that were given up."),
                one(counts.dropped),
            ),
            (
                family("sent_bytes_total", "By", Counter, "Bytes of requests taken, before compression."),
                one(counts.bytes),
            ),
            (
                family("queue_points", "", Gauge, "Last points of ended JVMs that wait to be pushed."),
                one(counts.queued_points),
            ),
            (
                family("queue_bytes", "By", Gauge, "Bytes of last points of ended JVMs that wait to be pushed."),
                one(counts.queued_bytes),
            ),
            (
                family("push_duration_seconds", "s", Kind::Histogram, "How long a push took, retries included."),
                durations.into_iter().collect(),
            ),
        ]
    }
}

fn int(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
