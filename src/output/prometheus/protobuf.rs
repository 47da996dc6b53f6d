//! Prometheus' protobuf exposition: length-delimited `io.prometheus.client.MetricFamily` messages.
//!
//! The messages follow metrics.proto of prometheus/client_model, without the fields that are never written, which are the
//! same to a reader as empty ones.

use prost::Message;
use prost_types::Timestamp;

use super::page::Page;
use crate::fact::Values;
use crate::metric::{self, Exponential, Family, Kind, Labels, Value, label_name};

pub(crate) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

#[derive(Clone, Debug)]
pub(crate) struct SeriesSample<L> {
    /// Label names and values; names are translated to Prometheus'.
    pub(crate) labels: L,
    /// The value; the sample is omitted if it does not fit the family's kind.
    pub(crate) value: Value,
    /// When a counter or summary was zero, in seconds since the epoch. A histogram's value contains it.
    pub(crate) created: Option<f64>,
}

/// See [`super::write_page`]; a series is one sample.
pub(crate) fn write_page<'v, V: Values + 'v>(page: &Page, values: impl Fn(u32) -> &'v V, out: &mut Vec<u8>) -> usize {
    let none = Labels::default();
    let mut written = 0;
    for block in &page.blocks {
        let samples = page.rows(block).flat_map(|(target, rows)| {
            let (values, identity) = (values(target), page.identities.get(target as usize));
            let identity = identity.map_or(&none, |identity| &*identity.labels);
            rows.iter().filter_map(move |row| {
                let labels = identity.iter().chain(row.labels.labels.iter());
                let value = row.formula.evaluate(values)?;
                Some(SeriesSample { labels, value, created: values.created(row.formula.since()) })
            })
        });
        written += write_family(&block.family, samples, out);
    }
    written
}

/// Appends one family with its series, and returns their number. A family without series is not written.
pub(crate) fn write_family<'a, L: Iterator<Item = (&'a str, &'a str)>>(
    family: &Family,
    samples: impl Iterator<Item = SeriesSample<L>>,
    out: &mut Vec<u8>,
) -> usize {
    let metric: Vec<Metric> = samples.filter_map(|sample| metric_of(family.kind, sample)).collect();
    if metric.is_empty() {
        return 0;
    }
    let mut name = family.prometheus();
    if family.kind == Kind::Counter {
        name.push_str("_total");
    }
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge | Kind::UpDownCounter | Kind::Info => MetricType::Gauge,
        Kind::Summary => MetricType::Summary,
        Kind::Histogram => MetricType::Histogram,
    };
    let written = metric.len();
    let message = MetricFamily { name, help: family.help.to_string(), kind: kind.into(), metric };
    out.extend_from_slice(&message.encode_length_delimited_to_vec());
    written
}

fn metric_of<'a>(kind: Kind, sample: SeriesSample<impl Iterator<Item = (&'a str, &'a str)>>) -> Option<Metric> {
    let created = sample.created.map(timestamp);
    let label = sample.labels.map(|(name, value)| LabelPair { name: label_name(name), value: value.to_owned() });
    let mut metric = Metric { label: label.collect(), ..Metric::default() };
    match (kind, sample.value) {
        (Kind::Counter, value @ (Value::Int(_) | Value::Float(_))) => {
            metric.counter = Some(Counter { value: Some(value.as_f64()), created });
        }
        (Kind::Gauge | Kind::UpDownCounter | Kind::Info, value @ (Value::Int(_) | Value::Float(_))) => {
            metric.gauge = Some(Gauge { value: Some(value.as_f64()) });
        }
        (Kind::Summary, Value::Summary { count, sum }) => {
            metric.summary = Some(Summary { sample_count: Some(count), sample_sum: Some(sum), created });
        }
        (Kind::Histogram, Value::Histogram(histogram)) => metric.histogram = Some(Histogram::of(&histogram)),
        _ => return None,
    }
    Some(metric)
}

impl Histogram {
    fn of(histogram: &metric::Histogram) -> Self {
        let mut below = 0;
        let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
        let bucket = bounds.zip(&histogram.counts).map(|(bound, count)| {
            below += count;
            Bucket { cumulative_count: Some(below), upper_bound: Some(bound) }
        });
        let mut message = Self {
            bucket: bucket.collect(),
            sample_count: Some(histogram.count()),
            sample_sum: Some(histogram.sum),
            created: Some(timestamp(histogram.created)),
            ..Self::default()
        };
        if let Some(exponential) = &histogram.exponential {
            message.add(exponential);
        }
        message
    }

    /// Adds the native histogram. Readers recognize it by its spans, so an empty one gets a span of length 0, as in
    /// Prometheus' Go client.
    fn add(&mut self, exponential: &Exponential) {
        self.schema = Some(exponential.schema);
        self.zero_threshold = Some(exponential.zero_threshold);
        self.zero_count = Some(exponential.zero_count);
        let mut before = 0_i64;
        // Index after the last span.
        let mut end = 0;
        for (index, count) in (exponential.offset..).zip(&exponential.counts) {
            if *count == 0 {
                continue;
            }
            match self.positive_span.last_mut() {
                Some(span) if index == end => span.length = Some(span.length.unwrap_or(0) + 1),
                _ => self.positive_span.push(BucketSpan { offset: Some(index - end), length: Some(1) }),
            }
            end = index + 1;
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.positive_delta.push(count - before);
            before = count;
        }
        if self.positive_span.is_empty() {
            self.positive_span.push(BucketSpan { offset: Some(0), length: Some(0) });
        }
    }
}

fn timestamp(seconds: f64) -> Timestamp {
    let whole = seconds.floor();
    Timestamp { seconds: whole as i64, nanos: ((seconds - whole) * 1e9) as i32 }
}

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(enumeration = "MetricType", required, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Summary = 2,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "4")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Gauge {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Counter {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Summary {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, optional, tag = "4")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    /// Differences between the counts of successive buckets; not packed, since the schema is proto2.
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

/// Consecutive buckets; `offset` counts from the end of the previous span, or from bucket 0.
#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn family(name: &str, unit: &str, kind: Kind) -> Family {
        Family { name: name.into(), unit: unit.into(), kind, help: "Help.".into() }
    }

    fn write(family: &Family, samples: Vec<(Labels, Value, Option<f64>)>) -> Option<MetricFamily> {
        let mut out = Vec::new();
        let samples = samples.iter().map(|(labels, value, created)| SeriesSample {
            labels: labels.iter(),
            value: value.clone(),
            created: *created,
        });
        let written = write_family(family, samples, &mut out);
        let mut rest = out.as_slice();
        let message = (!rest.is_empty()).then(|| MetricFamily::decode_length_delimited(&mut rest).unwrap());
        assert!(rest.is_empty(), "one message and no more");
        assert_eq!(message.as_ref().map_or(0, |message| message.metric.len()), written);
        message
    }

    #[test]
    fn numbers_and_summaries() {
        let labels = Labels::new([("jvm.memory.type", "heap"), ("app", "a\"b")]);
        for (kind, value, name, created) in [
            (Kind::Counter, Value::Int(7), "jvm_x_total", Some(1.5)),
            (Kind::Gauge, Value::Float(7.0), "jvm_x", None),
            (Kind::UpDownCounter, Value::Int(7), "jvm_x", None),
            (Kind::Info, Value::Int(7), "jvm_x_info", None),
        ] {
            let message = write(&family("jvm.x", "", kind), vec![(labels.clone(), value, created)]).unwrap();
            assert_eq!((message.name.as_str(), message.help.as_str()), (name, "Help."));
            let metric = &message.metric[0];
            let pairs: Vec<_> = metric.label.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())).collect();
            assert_eq!(pairs, [("app", "a\"b"), ("jvm_memory_type", "heap")]);
            match kind {
                Kind::Counter => {
                    let created = Some(Timestamp { seconds: 1, nanos: 500_000_000 });
                    assert_eq!(metric.counter, Some(Counter { value: Some(7.0), created }));
                }
                _ => assert_eq!(metric.gauge, Some(Gauge { value: Some(7.0) })),
            }
        }
        let value = Value::Summary { count: 3, sum: 0.25 };
        let message = write(&family("gc", "s", Kind::Summary), vec![(Labels::default(), value, None)]).unwrap();
        let summary = Summary { sample_count: Some(3), sample_sum: Some(0.25), created: None };
        assert_eq!((message.name.as_str(), message.metric[0].summary), ("gc_seconds", Some(summary)));
    }

    #[test]
    fn values_that_do_not_fit_the_kind_are_omitted() {
        let samples = vec![(Labels::default(), Value::Int(1), None)];
        assert_eq!(write(&family("gc", "s", Kind::Histogram), samples), None);
        assert_eq!(write(&family("gc", "s", Kind::Gauge), Vec::new()), None);
    }

    #[test]
    fn histograms_with_both_kinds_of_buckets() {
        let exponential =
            Exponential { schema: 5, zero_count: 1, zero_threshold: 1e-9, offset: -3, counts: vec![2, 5, 0, 0, 1, 0] };
        let histogram = metric::Histogram {
            bounds: [0.01, 0.1].into(),
            counts: vec![4, 3, 2],
            sum: 1.25,
            created: 1_795_339_828.5,
            exponential: Some(exponential),
        };
        let value = Value::Histogram(histogram.into());
        let message = write(&family("jvm.gc.duration", "s", Kind::Histogram), vec![(Labels::default(), value, None)]);
        let message = message.unwrap();
        assert_eq!((message.name.as_str(), message.kind()), ("jvm_gc_duration_seconds", MetricType::Histogram));
        let histogram = message.metric[0].histogram.clone().unwrap();
        let buckets: Vec<_> =
            histogram.bucket.iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect();
        assert_eq!(buckets, [(0.01, 4), (0.1, 7), (f64::INFINITY, 9)]);
        assert_eq!((histogram.sample_count(), histogram.sample_sum()), (9, 1.25));
        assert_eq!(histogram.created, Some(Timestamp { seconds: 1_795_339_828, nanos: 500_000_000 }));
        assert_eq!((histogram.schema(), histogram.zero_count(), histogram.zero_threshold()), (5, 1, 1e-9));
        // Buckets -3 and -2, then bucket 1 after a gap of two.
        let spans: Vec<_> = histogram.positive_span.iter().map(|span| (span.offset(), span.length())).collect();
        assert_eq!(spans, [(-3, 2), (2, 1)]);
        assert_eq!(histogram.positive_delta, [2, 3, -4]);
    }

    #[test]
    fn an_empty_native_histogram_is_recognizable() {
        let histogram = metric::Histogram { exponential: Some(Exponential::default()), ..metric::Histogram::default() };
        let value = Value::Histogram(histogram.into());
        let message = write(&family("gc", "s", Kind::Histogram), vec![(Labels::default(), value, None)]).unwrap();
        let span = message.metric[0].histogram.as_ref().unwrap().positive_span[0];
        assert_eq!((span.offset(), span.length()), (0, 0));
    }
}
