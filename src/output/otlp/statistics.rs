//! The pusher's own metrics.

use super::failure::PushFailureReason;
use crate::telemetry::{Bounds, By, Counter, DurationHistogram, Gauge, Outcome, closed_label, metrics};

metrics! {
    /// Counts of pushes, shared by the pusher and the pages that show them.
    pub struct PushStatistics {
        /// Pushes over OTLP, by outcome.
        "hotspot_exporter_otlp_pushes_total" => pub(super) pushes: By<Outcome, Counter>,
        /// OTLP requests that failed, by reason.
        "hotspot_exporter_otlp_failures_total" => pub(super) failures: By<PushFailureReason, Counter>,
        /// Data points in OTLP requests that the receiver accepted.
        "hotspot_exporter_otlp_points_total" => pub(super) points: Counter,
        /// Data points that the receiver reported as rejected in requests that it accepted.
        "hotspot_exporter_otlp_rejected_points_total" => pub(super) rejected: Counter,
        /// Last data points of ended JVMs that were discarded before they could be pushed.
        "hotspot_exporter_otlp_dropped_points_total" => pub(super) dropped: Counter,
        /// Size of accepted OTLP requests before compression.
        "hotspot_exporter_otlp_sent_bytes_total" => pub(super) bytes: Counter,
        /// Last data points of ended JVMs that wait to be pushed.
        "hotspot_exporter_otlp_queue_points" => pub(super) queued_points: Gauge,
        /// Size of the last data points of ended JVMs that wait to be pushed.
        "hotspot_exporter_otlp_queue_bytes" => pub(super) queued_bytes: Gauge,
        /// Duration of pushes over OTLP, retries included.
        "hotspot_exporter_otlp_push_duration_seconds" => pub(super) durations: DurationHistogram<PushBounds>,
    }
}

closed_label!(PushFailureReason, "reason");

/// 20 ms is the budget of 1,000 JVMs, 10 s the usual timeout of one request.
#[derive(Debug)]
pub(super) struct PushBounds;

impl Bounds for PushBounds {
    const SECONDS: &'static [f64] = &[0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
}
