//! Encodes the metrics of one resource.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, SummaryDataPoint,
};
use prost::Message;

use super::delta::Point;
use super::message::{self, EncodedLabels, Form, field};
use crate::metric::{Exponential, Histogram, Value};
use crate::output::wire::{begin, fixed_key, framed_length};

/// Bytes of a 64-bit field with its key.
const FIXED: usize = 9;

/// The complete metrics of one resource, and the points of the current metric.
#[derive(Debug, Default)]
pub(super) struct Body {
    metrics: Vec<u8>,
    points: Vec<u8>,
    current: Option<MetricShape>,
    count: u64,
    /// The fields after the points, for each shape that has occurred.
    trailers: Vec<(MetricShape, Vec<u8>)>,
}

/// What the points of one metric message have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MetricShape {
    pub(super) form: Form,
    pub(super) temporality: AggregationTemporality,
    pub(super) is_monotonic: bool,
}

impl Body {
    pub(super) fn len(&self) -> usize {
        self.metrics.len() + self.points.len()
    }

    /// Appends a point to the metric with that head. The caller ends the metric before it begins another.
    pub(super) fn add(&mut self, head: &[u8], shape: MetricShape, labels: &EncodedLabels, point: &Point, time: u64) {
        if self.current != Some(shape) {
            self.end(head);
            self.current = Some(shape);
        }
        self.count += 1;
        match &point.value {
            Value::Int(value) => self.number(point.start, time, labels, fixed_key(field::INT), value.to_le_bytes()),
            Value::Float(value) => {
                self.number(point.start, time, labels, fixed_key(field::DOUBLE), value.to_le_bytes())
            }
            Value::Summary { count, sum } => {
                let summary = SummaryDataPoint {
                    start_time_unix_nano: point.start,
                    time_unix_nano: time,
                    count: *count,
                    sum: *sum,
                    attributes: message::attributes(&labels.labels),
                    ..SummaryDataPoint::default()
                };
                self.message(&summary);
            }
            Value::Histogram(histogram) => match (&histogram.exponential, shape.form) {
                (Some(buckets), Form::Exponential) => {
                    self.message(&exponential(histogram, buckets, labels, point.start, time));
                }
                _ => self.message(&explicit(histogram, labels, point.start, time)),
            },
        }
    }

    fn message(&mut self, point: &impl Message) {
        prost::encoding::message::encode(field::DATA_POINTS, point, &mut self.points);
    }

    /// Appends a number's point; a start of 0 is omitted. Most of a push is spent here, so fields are assembled first.
    fn number(&mut self, start: u64, time: u64, labels: &EncodedLabels, value_key: u8, value: [u8; 8]) {
        let mut fields = [0; 3 * FIXED];
        let (starts, rest) = fields.split_at_mut(FIXED);
        let (times, values) = rest.split_at_mut(FIXED);
        set(starts, fixed_key(field::START), start.to_le_bytes());
        set(times, fixed_key(field::TIME), time.to_le_bytes());
        set(values, value_key, value);
        let fields = if start == 0 { fields.get(FIXED..).unwrap_or_default() } else { &fields };
        begin(field::DATA_POINTS, fields.len() + labels.encoded.len(), &mut self.points);
        self.points.extend_from_slice(fields);
        self.points.extend_from_slice(&labels.encoded);
    }

    /// Ends the metric with that head.
    pub(super) fn end(&mut self, head: &[u8]) {
        let Some(shape) = self.current.take() else { return };
        let known = self.trailers.iter().position(|(known, _)| *known == shape);
        let at = known.unwrap_or_else(|| {
            self.trailers.push((shape, shape.form.trailer(shape.temporality, shape.is_monotonic)));
            self.trailers.len() - 1
        });
        let trailer = self.trailers.get(at).map(|(_, trailer)| trailer.as_slice()).unwrap_or_default();
        let data = self.points.len() + trailer.len();
        let form = shape.form as u32;
        begin(field::METRICS, head.len() + framed_length(form, data), &mut self.metrics);
        self.metrics.extend_from_slice(head);
        begin(form, data, &mut self.metrics);
        self.metrics.extend_from_slice(&self.points);
        self.points.clear();
        self.metrics.extend_from_slice(trailer);
    }

    /// Appends everything to a request, with its resource and scope, and clears the body. Returns the number of points,
    /// or `None` if a request that is not empty would become longer than `maximum`.
    pub(super) fn write(&mut self, resource: &[u8], scope: &[u8], maximum: usize, out: &mut Vec<u8>) -> Option<u64> {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return Some(0);
        }
        let scoped = scope.len() + self.metrics.len();
        let whole = resource.len() + framed_length(field::SCOPE_METRICS, scoped);
        let fits = out.is_empty() || out.len() + framed_length(field::RESOURCE_METRICS, whole) <= maximum;
        if fits {
            begin(field::RESOURCE_METRICS, whole, out);
            out.extend_from_slice(resource);
            begin(field::SCOPE_METRICS, scoped, out);
            out.extend_from_slice(scope);
            out.extend_from_slice(&self.metrics);
        }
        self.metrics.clear();
        fits.then_some(count)
    }
}

fn set(field: &mut [u8], key: u8, value: [u8; 8]) {
    if let Some((first, rest)) = field.split_first_mut() {
        *first = key;
        rest.copy_from_slice(&value);
    }
}

fn explicit(histogram: &Histogram, labels: &EncodedLabels, start: u64, time: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: message::attributes(&labels.labels),
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: histogram.count(),
        sum: Some(histogram.sum),
        bucket_counts: histogram.counts.clone(),
        explicit_bounds: histogram.bounds.to_vec(),
        ..HistogramDataPoint::default()
    }
}

/// OTLP's bucket `i` is `(b^i, b^(i+1)]`: its numbers are one less than those of Prometheus, which [`Exponential`] has.
fn exponential(
    histogram: &Histogram,
    buckets: &Exponential,
    labels: &EncodedLabels,
    start: u64,
    time: u64,
) -> ExponentialHistogramDataPoint {
    let positive = Buckets { offset: buckets.offset.saturating_sub(1), bucket_counts: buckets.counts.clone() };
    ExponentialHistogramDataPoint {
        attributes: message::attributes(&labels.labels),
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: histogram.count(),
        sum: Some(histogram.sum),
        scale: buckets.schema,
        zero_count: buckets.zero_count,
        positive: Some(positive),
        zero_threshold: buckets.zero_threshold,
        ..ExponentialHistogramDataPoint::default()
    }
}
