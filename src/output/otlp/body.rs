//! The metrics of one resource while they are written.

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, SummaryDataPoint,
};
use prost::encoding::WireType;

use super::message::{self, Form, field, framed};
use super::temporality::Point;
use crate::metric::{Exponential, Histogram, Labels, Value};

/// Bytes of a 64-bit field with its key.
const FIXED: usize = 9;

/// The key of a 64-bit field, one byte for fields below 16.
const fn key(field: u32) -> u8 {
    (field << 3) as u8 | WireType::SixtyFourBit as u8
}

/// Finished metrics, and the one whose points come in.
#[derive(Debug, Default)]
pub(super) struct Body {
    metrics: Vec<u8>,
    points: Vec<u8>,
    open: Option<Shape>,
    count: u64,
    /// What follows the points of each shape that has come up.
    tails: Vec<(Shape, Vec<u8>)>,
}

/// What the points of one metric message have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) form: Form,
    pub(super) temporality: AggregationTemporality,
    pub(super) is_monotonic: bool,
}

/// Where the attributes of a point come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tags<'a> {
    pub(super) labels: &'a Labels,
    /// As `message::encoded_attributes` has them.
    pub(super) encoded: &'a [u8],
}

impl Body {
    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.metrics.len() + self.points.len()
    }

    /// Adds a point to the metric of that head, which the caller ends before it turns to another metric.
    pub(super) fn add(&mut self, head: &[u8], shape: Shape, tags: Tags<'_>, point: &Point, time: u64) {
        if self.open != Some(shape) {
            self.end(head);
            self.open = Some(shape);
        }
        self.count += 1;
        match &point.value {
            Value::Int(value) => {
                self.number(point.start, time, tags, key(field::INT), value.to_le_bytes());
            }
            Value::Float(value) => {
                self.number(point.start, time, tags, key(field::DOUBLE), value.to_le_bytes());
            }
            Value::Summary { count, sum } => {
                let summary = SummaryDataPoint {
                    start_time_unix_nano: point.start,
                    time_unix_nano: time,
                    count: *count,
                    sum: *sum,
                    attributes: message::attributes(tags.labels),
                    ..SummaryDataPoint::default()
                };
                prost::encoding::message::encode(field::DATA_POINTS, &summary, &mut self.points);
            }
            Value::Histogram(histogram) => match (&histogram.exponential, shape.form) {
                (Some(buckets), Form::Exponential) => {
                    let point = exponential(histogram, buckets, tags, point.start, time);
                    prost::encoding::message::encode(field::DATA_POINTS, &point, &mut self.points);
                }
                _ => {
                    let point = explicit(histogram, tags, point.start, time);
                    prost::encoding::message::encode(field::DATA_POINTS, &point, &mut self.points);
                }
            },
        }
    }

    /// A number's point in the order of its fields. 0 is no start. This is where a push spends its time, so the fields of
    /// fixed length are put together before they are appended.
    fn number(&mut self, start: u64, time: u64, tags: Tags<'_>, value_key: u8, value: [u8; 8]) {
        let mut fields = [0; 3 * FIXED];
        let (starts, rest) = fields.split_at_mut(FIXED);
        let (times, values) = rest.split_at_mut(FIXED);
        set(starts, key(field::START), start.to_le_bytes());
        set(times, key(field::TIME), time.to_le_bytes());
        set(values, value_key, value);
        let fields = if start == 0 { fields.get(FIXED..).unwrap_or_default() } else { &fields };
        message::open(field::DATA_POINTS, fields.len() + tags.encoded.len(), &mut self.points);
        self.points.extend_from_slice(fields);
        self.points.extend_from_slice(tags.encoded);
    }

    /// Ends the metric of that head.
    pub(super) fn end(&mut self, head: &[u8]) {
        let Some(shape) = self.open.take() else { return };
        let known = self.tails.iter().position(|(known, _)| *known == shape);
        let at = known.unwrap_or_else(|| {
            self.tails.push((shape, shape.form.tail(shape.temporality, shape.is_monotonic)));
            self.tails.len() - 1
        });
        let tail = self.tails.get(at).map(|(_, tail)| tail.as_slice()).unwrap_or_default();
        let data = self.points.len() + tail.len();
        message::open(field::METRICS, head.len() + framed(shape.form.field(), data), &mut self.metrics);
        self.metrics.extend_from_slice(head);
        message::open(shape.form.field(), data, &mut self.metrics);
        self.metrics.extend_from_slice(&self.points);
        self.points.clear();
        self.metrics.extend_from_slice(tail);
    }

    /// Appends all of it to a request, with its resource and scope, and is empty then. `None` where a request that has
    /// something in it already would become longer than `maximum`; otherwise the number of points.
    pub(super) fn write(&mut self, resource: &[u8], scope: &[u8], maximum: usize, out: &mut Vec<u8>) -> Option<u64> {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return Some(0);
        }
        let scoped = scope.len() + self.metrics.len();
        let whole = resource.len() + framed(field::SCOPE_METRICS, scoped);
        let fits = out.is_empty() || out.len() + framed(field::RESOURCE_METRICS, whole) <= maximum;
        if fits {
            message::open(field::RESOURCE_METRICS, whole, out);
            out.extend_from_slice(resource);
            message::open(field::SCOPE_METRICS, scoped, out);
            out.extend_from_slice(scope);
            out.extend_from_slice(&self.metrics);
        }
        self.metrics.clear();
        fits.then_some(count)
    }
}

/// Writes a field of 64 bits to the 9 bytes where it belongs.
fn set(field: &mut [u8], key: u8, value: [u8; 8]) {
    if let Some((first, rest)) = field.split_first_mut() {
        *first = key;
        rest.copy_from_slice(&value);
    }
}

fn explicit(histogram: &Histogram, tags: Tags<'_>, start: u64, time: u64) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: message::attributes(tags.labels),
        start_time_unix_nano: start,
        time_unix_nano: time,
        count: histogram.count(),
        sum: Some(histogram.sum),
        bucket_counts: histogram.counts.clone(),
        explicit_bounds: histogram.bounds.to_vec(),
        ..HistogramDataPoint::default()
    }
}

/// OTLP's bucket `i` holds `(b^i, b^(i+1)]`: its numbers are one less than those of Prometheus, which ours are.
fn exponential(
    histogram: &Histogram,
    buckets: &Exponential,
    tags: Tags<'_>,
    start: u64,
    time: u64,
) -> ExponentialHistogramDataPoint {
    let positive = Buckets { offset: buckets.offset.saturating_sub(1), bucket_counts: buckets.counts.clone() };
    ExponentialHistogramDataPoint {
        attributes: message::attributes(tags.labels),
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
