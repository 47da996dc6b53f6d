//! The pusher's own metrics.

use std::time::Duration;

use super::failure::PushFailureReason;
use crate::telemetry::{Bounds, By, Counter, DurationHistogram, Gauge, Outcome, closed_label, metrics};

metrics! {
    /// Counts of pushes, shared by the pusher and the pages that show them.
    pub struct PushStatistics {
        /// Pushes over OTLP, by outcome.
        "hotspot_exporter_otlp_pushes_total" => pushes: By<Outcome, Counter>,
        /// OTLP requests that failed, by reason.
        "hotspot_exporter_otlp_failures_total" => failures: By<PushFailureReason, Counter>,
        /// Data points in OTLP requests that the receiver accepted.
        "hotspot_exporter_otlp_points_total" => points: Counter,
        /// Data points that the receiver reported as rejected in requests that it accepted.
        "hotspot_exporter_otlp_rejected_points_total" => rejected: Counter,
        /// Last data points of ended JVMs that were discarded before they could be pushed.
        "hotspot_exporter_otlp_dropped_points_total" => dropped: Counter,
        /// Size of accepted OTLP requests before compression.
        "hotspot_exporter_otlp_sent_bytes_total" => bytes: Counter,
        /// Last data points of ended JVMs that wait to be pushed.
        "hotspot_exporter_otlp_queue_points" => queued_points: Gauge,
        /// Size of the last data points of ended JVMs that wait to be pushed.
        "hotspot_exporter_otlp_queue_bytes" => queued_bytes: Gauge,
        /// Duration of pushes over OTLP, retries included.
        "hotspot_exporter_otlp_push_duration_seconds" => durations: DurationHistogram<PushBounds>,
    }
}

impl PushStatistics {
    /// A push ended.
    pub(super) fn pushed(&self, succeeded: bool, took: Duration) {
        self.pushes.with(Outcome::of(succeeded), Counter::increment);
        self.durations.observe(took);
    }

    /// Counts a failed attempt to send a request.
    pub(super) fn failed(&self, reason: PushFailureReason) {
        self.failures.with(reason, Counter::increment);
    }

    /// Counts a request that the receiver accepted, with its rejected points.
    pub(super) fn accepted(&self, points: u64, bytes: usize, rejected: u64) {
        self.points.add(points);
        self.bytes.add(bytes as u64);
        self.rejected.add(rejected);
    }

    /// Counts discarded points of ended JVMs.
    pub(super) fn dropped(&self, points: u64) {
        self.dropped.add(points);
    }

    /// So many points of ended JVMs wait to be pushed.
    pub(super) fn queued(&self, bytes: usize, points: u64) {
        self.queued_bytes.set(bytes as u64);
        self.queued_points.set(points);
    }
}

closed_label!(PushFailureReason, "reason");

/// 20 ms is the budget of 1,000 JVMs, 10 s the usual timeout of one request.
#[derive(Debug)]
struct PushBounds;

impl Bounds for PushBounds {
    const SECONDS: &'static [f64] = &[0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
}
