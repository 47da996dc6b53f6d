//! Decides in which form and with which temporality a value is pushed.

use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;

use super::body::MetricShape;
use super::delta::{DeltaStore, Owner, Point, SeriesId};
use super::encode::nanoseconds;
use super::message::Form;
use crate::config::{HistogramForm, Otlp, Temporality};
use crate::metric::{Kind, Value};

/// Turns values into points, with deltas where the configuration asks for them.
#[derive(Debug)]
pub(super) struct DeltaEncoder {
    temporality: Temporality,
    histograms: HistogramForm,
    pub(super) store: DeltaStore,
}

impl DeltaEncoder {
    pub(super) fn new(config: &Otlp, store: DeltaStore) -> Self {
        Self { temporality: config.temporality, histograms: config.histograms, store }
    }

    /// Applies a new configuration. The store stays, so that deltas continue.
    pub(super) fn configure(&mut self, config: &Otlp) {
        self.temporality = config.temporality;
        self.histograms = config.histograms;
    }

    /// The shape of the metric's message and the point in it. `None` for a value that does not fit the kind, and where
    /// there is no delta.
    pub(super) fn encode(
        &mut self,
        owner: Owner,
        kind: Kind,
        id: SeriesId,
        mut point: Point,
        now: u64,
    ) -> Option<(MetricShape, Point)> {
        let form = match (kind, &point.value) {
            (Kind::Counter | Kind::UpDownCounter, Value::Int(_) | Value::Float(_)) => Form::Sum,
            (Kind::Gauge | Kind::Info, Value::Int(_) | Value::Float(_)) => Form::Gauge,
            (Kind::Summary, Value::Summary { .. }) => Form::Summary,
            (Kind::Histogram, Value::Histogram(histogram)) => {
                point.start = nanoseconds(histogram.created);
                match (self.histograms, &histogram.exponential) {
                    (HistogramForm::Exponential, Some(_)) => Form::Exponential,
                    _ => Form::Histogram,
                }
            }
            _ => return None,
        };
        let is_delta = match self.temporality {
            Temporality::Cumulative => false,
            Temporality::Delta => matches!(kind, Kind::Counter | Kind::Histogram),
            // All values are read as cumulative ones; only cumulative histograms cost a receiver memory.
            Temporality::LowMemory => kind == Kind::Histogram,
        };
        let temporality = if is_delta { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative };
        if form == Form::Gauge {
            point.start = 0;
        }
        if is_delta {
            point = self.store.delta(owner, id, point, now)?;
        }
        // The start is after `now` where the clock was set back.
        point.start = point.start.min(now);
        Some((MetricShape { form, temporality, is_monotonic: kind == Kind::Counter }, point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_to_before_the_start_does_not_restart_a_sum() {
        let config = Otlp { temporality: Temporality::Delta, ..Otlp::default() };
        let mut encoder = DeltaEncoder::new(&config, DeltaStore::new(50));
        let mut push = |value, now| {
            let point = Point { value: Value::Int(value), start: 1000 };
            let encoded = encoder.encode(None, Kind::Counter, (1, 2), point, now);
            encoder.store.acknowledge();
            encoded.map(|(_, point)| (point.value, point.start))
        };
        assert_eq!(push(5, 100), Some((Value::Int(5), 100)));
        assert_eq!(push(7, 110), Some((Value::Int(2), 110)));
        assert_eq!(push(8, 1020), Some((Value::Int(1), 1000)));
    }
}
