//! The protobuf exposition against prost: the bytes that are put together from pieces are those of the encoded messages.

use std::sync::Arc;

use hotspot_exporter::fact::{Formula, ProviderId, PublishedId, Scale, Since, Values};
use hotspot_exporter::metric::{self, Exponential, Family, Kind, Labels, Value, label_name};
use hotspot_exporter::output::prometheus::{
    ExpositionFormat, Page, PageBuffer, PageSeries, write_families, write_page,
};
use hotspot_exporter::rules::PlannedSeries;
use proptest::prelude::*;
use prost::Message;
use prost_types::Timestamp;

/// metrics.proto of prometheus/client_model, without the fields that are never written.
#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    /// COUNTER 0, GAUGE 1, SUMMARY 2, HISTOGRAM 4.
    #[prost(int32, required, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
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

#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, optional, tag = "1")]
    offset: Option<i32>,
    #[prost(uint32, optional, tag = "2")]
    length: Option<u32>,
}

fn timestamp(seconds: f64) -> Timestamp {
    let whole = seconds.floor();
    Timestamp { seconds: whole as i64, nanos: ((seconds - whole) * 1e9) as i32 }
}

/// Consecutive buckets that are not empty, by their definition: the first bucket of each span, and the counts.
fn spans(exponential: &Exponential) -> Vec<(i32, Vec<u64>)> {
    let mut spans: Vec<(i32, Vec<u64>)> = Vec::new();
    for (index, count) in (exponential.offset..).zip(&exponential.counts).filter(|(_, count)| **count > 0) {
        match spans.last_mut() {
            Some((first, counts)) if *first + i32::try_from(counts.len()).unwrap() == index => counts.push(*count),
            _ => spans.push((index, vec![*count])),
        }
    }
    spans
}

fn histogram_of(histogram: &metric::Histogram) -> Histogram {
    let mut below = 0;
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    let bucket = bounds.zip(&histogram.counts).map(|(bound, count)| {
        below += count;
        Bucket { cumulative_count: Some(below), upper_bound: Some(bound) }
    });
    let mut message = Histogram {
        bucket: bucket.collect(),
        sample_count: Some(histogram.count()),
        sample_sum: Some(histogram.sum),
        created: (histogram.created > 0.0).then(|| timestamp(histogram.created)),
        ..Histogram::default()
    };
    let Some(exponential) = &histogram.exponential else { return message };
    message.schema = Some(exponential.schema);
    message.zero_threshold = Some(exponential.zero_threshold);
    message.zero_count = Some(exponential.zero_count);
    let (mut end, mut before) = (0, 0);
    for (first, counts) in spans(exponential) {
        let length = u32::try_from(counts.len()).unwrap();
        message.positive_span.push(BucketSpan { offset: Some(first - end), length: Some(length) });
        end = first.checked_add_unsigned(length).unwrap();
        for count in counts {
            let count = i64::try_from(count).unwrap();
            message.positive_delta.push(count - before);
            before = count;
        }
    }
    if message.positive_span.is_empty() {
        message.positive_span.push(BucketSpan { offset: Some(0), length: Some(0) });
    }
    message
}

/// One series of an exposition: names and values of labels, the value, and when it was zero.
type Series<'a> = (Vec<(&'a str, &'a str)>, &'a Value, Option<f64>);

fn metric_of(kind: Kind, (labels, value, created): Series<'_>) -> Option<Metric> {
    let created = created.filter(|created| *created > 0.0).map(timestamp);
    let label =
        labels.into_iter().map(|(name, value)| LabelPair { name: label_name(name), value: value.to_owned() }).collect();
    let mut metric = Metric { label, ..Metric::default() };
    match (kind, value) {
        (Kind::Counter, Value::Int(_) | Value::Float(_)) => {
            metric.counter = Some(Counter { value: Some(value.as_f64()), created });
        }
        (Kind::Gauge | Kind::UpDownCounter | Kind::Info, Value::Int(_) | Value::Float(_)) => {
            metric.gauge = Some(Gauge { value: Some(value.as_f64()) });
        }
        (Kind::Summary, Value::Summary { count, sum }) => {
            metric.summary = Some(Summary { sample_count: Some(*count), sample_sum: Some(*sum), created });
        }
        (Kind::Histogram, Value::Histogram(histogram)) => metric.histogram = Some(histogram_of(histogram)),
        _ => return None,
    }
    Some(metric)
}

/// What prost makes of a family; nothing of one without series.
fn encode(family: &Family, series: Vec<Series<'_>>) -> Vec<u8> {
    let metric: Vec<Metric> = series.into_iter().filter_map(|series| metric_of(family.kind, series)).collect();
    if metric.is_empty() {
        return Vec::new();
    }
    let total = if family.kind == Kind::Counter { "_total" } else { "" };
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge | Kind::UpDownCounter | Kind::Info => 1,
        Kind::Summary => 2,
        Kind::Histogram => 4,
    };
    let name = family.prometheus() + total;
    MetricFamily { name, help: family.help.to_string(), kind, metric }.encode_length_delimited_to_vec()
}

/// A JVM whose published values are these.
#[derive(Clone, Debug)]
struct Published {
    values: Vec<Option<Value>>,
    started: Option<f64>,
    attached: Option<f64>,
}

impl Values for Published {
    fn word(&self, index: u32) -> Option<i64> {
        Some(i64::from(index) << 40)
    }

    fn published(&self, id: PublishedId) -> Option<Value> {
        self.values.get(id.index as usize).cloned().flatten()
    }

    fn is_up(&self) -> Option<bool> {
        Some(true)
    }

    fn created(&self, since: Since) -> Option<f64> {
        match since {
            Since::Start => self.started,
            Since::Attached => self.attached,
            Since::Before => None,
        }
    }
}

fn published(index: u32, since: Since) -> Formula {
    Formula::Published(PublishedId { provider: ProviderId::Sampler, index }, since)
}

/// Series of one family that read the published values, and one that reads a word, with labels of their own.
fn planned(own: &[Labels]) -> Arc<[PlannedSeries]> {
    let moments = [Since::Start, Since::Attached, Since::Before];
    let formulas = (0..).zip(moments.into_iter().cycle()).map(|(index, since)| published(index, since));
    let word = PlannedSeries { labels: Arc::default(), formula: Formula::Word(5, Scale::One) };
    let series = own.iter().zip(formulas);
    let series = series.map(|(labels, formula)| PlannedSeries { labels: Arc::new(labels.clone()), formula });
    series.chain([word]).collect()
}

/// The page of these JVMs, as we write it, and as prost does.
fn both(families: &[Arc<Family>], own: &[Labels], jvms: &[(Labels, Published)]) -> (Vec<u8>, Vec<u8>) {
    let list = &planned(own);
    let targets = 0..u32::try_from(jvms.len()).unwrap();
    let series = families
        .iter()
        .flat_map(|family| targets.clone().map(move |target| PageSeries { family, target, series: list }));
    let page = Page::new(jvms.iter().map(|(labels, _)| labels.clone()).collect(), series);
    let mut written = PageBuffer::default();
    write_page(&page, ExpositionFormat::Protobuf, |target| &jvms[target as usize].1, &mut written);

    let mut sorted: Vec<_> = families.iter().collect();
    sorted.sort_by_key(|family| family.prometheus());
    let mut expected = Vec::new();
    for family in sorted {
        let values: Vec<_> = jvms
            .iter()
            .flat_map(|(identity, jvm)| list.iter().map(move |planned| (identity, jvm, planned)))
            .filter_map(|(identity, jvm, planned)| {
                let created = match planned.formula {
                    Formula::Published(_, since) => jvm.created(since),
                    _ => jvm.created(Since::Start),
                };
                Some((identity, planned, planned.formula.evaluate(jvm)?, created))
            })
            .collect();
        let series = values.iter().map(|(identity, planned, value, created)| {
            (identity.iter().chain(planned.labels.iter()).collect(), value, *created)
        });
        expected.extend(encode(family, series.collect()));
    }
    (written.bytes, expected)
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![
        Kind::Counter,
        Kind::Gauge,
        Kind::UpDownCounter,
        Kind::Info,
        Kind::Summary,
        Kind::Histogram,
    ])
}

fn labels() -> impl Strategy<Value = Labels> {
    prop::collection::vec((any::<String>(), any::<String>()), 0..4).prop_map(Labels::new)
}

fn native() -> impl Strategy<Value = Exponential> {
    let counts = prop::collection::vec(prop_oneof![Just(0), 0..1_u64 << 50], 0..40);
    (-4..=8, any::<u64>(), prop::num::f64::ANY, -2000..2000, counts).prop_map(
        |(schema, zero_count, zero_threshold, offset, counts)| Exponential {
            schema,
            zero_count,
            zero_threshold,
            offset,
            counts,
        },
    )
}

fn histograms() -> impl Strategy<Value = Value> {
    let bounds = prop::collection::vec(prop::num::f64::ANY, 0..5);
    let created = prop_oneof![Just(0.0), 1.0..2e9];
    let counts = prop::collection::vec(0..1_u64 << 50, 6);
    (bounds, counts, prop::num::f64::ANY, created, prop::option::of(native())).prop_map(
        |(bounds, mut counts, sum, created, exponential)| {
            counts.truncate(bounds.len() + 1);
            Value::Histogram(Arc::new(metric::Histogram { bounds: bounds.into(), counts, sum, created, exponential }))
        },
    )
}

fn values() -> impl Strategy<Value = Option<Value>> {
    prop::option::weighted(
        0.9,
        prop_oneof![
            any::<i64>().prop_map(Value::Int),
            // NaN with any payload, infinities and subnormal numbers are among them.
            any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
            prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]).prop_map(Value::Float),
            (any::<u64>(), prop::num::f64::ANY).prop_map(|(count, sum)| Value::Summary { count, sum }),
            histograms(),
        ],
    )
}

fn jvms() -> impl Strategy<Value = (Labels, Published)> {
    let time = || prop::option::of(prop_oneof![Just(0.0), 1.0..4e9]);
    (labels(), prop::collection::vec(values(), 5), time(), time())
        .prop_map(|(labels, values, started, attached)| (labels, Published { values, started, attached }))
}

proptest! {
    #[test]
    fn a_page_is_what_prost_encodes(
        families in prop::collection::vec(("[a-z.]{1,9}", kinds(), any::<String>(), "(|s|By|1)"), 1..4),
        own in prop::collection::vec(labels(), 0..6),
        jvms in prop::collection::vec(jvms(), 0..4),
    ) {
        // Families are ordered by name, so names differ.
        let families: Vec<_> = families
            .into_iter()
            .enumerate()
            .map(|(at, (name, kind, help, unit))| {
                Arc::new(Family { name: format!("{name}{at}").into(), unit: unit.into(), kind, help: help.into() })
            })
            .collect();
        let (written, expected) = both(&families, &own, &jvms);
        prop_assert_eq!(written, expected);
    }

    #[test]
    fn own_families_are_what_prost_encodes(
        kind in kinds(),
        help in any::<String>(),
        series in prop::collection::vec((labels(), values()), 0..5),
    ) {
        let family = Family { name: "a.b".into(), unit: "s".into(), kind, help: help.into() };
        let series: Vec<_> = series.into_iter().filter_map(|(labels, value)| Some((labels, value?))).collect();
        let mut written = Vec::new();
        write_families(&[(family.clone(), series.clone())], ExpositionFormat::Protobuf, &mut written);
        let expected = series.iter().map(|(labels, value)| (labels.iter().collect(), value, None)).collect();
        prop_assert_eq!(written, encode(&family, expected));
    }
}

/// The length of a family takes one to four bytes; room for it is kept by a guess that may be wrong in both directions.
#[test]
fn families_of_any_length_have_the_right_length() {
    let family = Arc::new(Family { name: "a".into(), unit: "".into(), kind: Kind::Gauge, help: "".into() });
    for (jvms, length) in
        [(1, 0), (1, 50), (1, 200), (2, 0), (130, 0), (130, 100), (120, 400), (3000, 1), (20_000, 200)]
    {
        let published = Published { values: vec![Some(Value::Int(1))], started: None, attached: None };
        let jvms: Vec<_> = (0..jvms).map(|_| (Labels::new([("app", "x".repeat(length))]), published.clone())).collect();
        let (written, expected) = both(&[Arc::clone(&family)], &[Labels::default()], &jvms);
        assert!(written == expected, "{} JVMs with labels of {length} bytes", jvms.len());
    }
}
