//! The protobuf exposition of a running JVM, decoded by types written from client_model's `metrics.proto`.

use std::collections::BTreeMap;

use crate::support::exporter::Exporter;
use crate::support::jdk;
use crate::support::jvm::Jvm;
use crate::support::wait_for;
use prost::Message;

const PROTOBUF: &str =
    "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    /// COUNTER 0, GAUGE 1, SUMMARY 2, UNTYPED 3, HISTOGRAM 4.
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<Label>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Counter {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

fn decode(mut page: &[u8]) -> BTreeMap<String, MetricFamily> {
    let mut families = BTreeMap::new();
    while !page.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut page).unwrap();
        assert!(!family.help.is_empty() && !family.metric.is_empty(), "{family:?}");
        let second = families.insert(family.name.clone(), family);
        assert_eq!(second, None, "a family in two places");
    }
    families
}

/// Counts of the native buckets.
fn native_counts(histogram: &Histogram) -> Vec<i64> {
    let mut count = 0;
    let running = histogram.positive_delta.iter().map(|delta| {
        count += delta;
        count
    });
    running.collect()
}

#[test]
fn a_jvm_in_protobuf_has_native_histograms_and_created_timestamps() {
    let app = "protobuf-test";
    let mut jvm = Jvm::start(&jdk::any(), ["-XX:+UseSerialGC".to_owned(), format!("-Dotel.service.name={app}")]);
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let is_ours = |metric: &&Metric| metric.label.iter().any(|label| label.name == "app" && label.value == app);
    let (families, histogram) = wait_for("three pauses", || {
        jvm.obey("gc");
        let page = exporter.request("GET", "/metrics", &[PROTOBUF]);
        let content = page.header("content-type");
        assert!(content.starts_with("application/vnd.google.protobuf"), "{content}");
        let families = decode(&page.body);
        let pauses = families.get("jvm_gc_duration_seconds").ok_or("no pauses yet")?;
        assert_eq!(pauses.kind, 4);
        let mut found = pauses.metric.iter().filter(is_ours).filter_map(|metric| metric.histogram.clone());
        let found = found.find(|histogram| histogram.count >= 3).ok_or("fewer than three")?;
        Ok::<_, String>((families, found))
    });
    assert_eq!(histogram.schema, 5);
    assert!(histogram.zero_threshold > 0.0 && histogram.created.is_some(), "{histogram:?}");
    let native = native_counts(&histogram);
    assert!(native.iter().all(|count| *count >= 0), "{native:?}");
    let lengths: u32 = histogram.positive_span.iter().map(|span| span.length).sum();
    assert_eq!(lengths as usize, native.len(), "spans and deltas");
    let counted = histogram.zero_count + u64::try_from(native.iter().sum::<i64>()).unwrap();
    assert_eq!(counted, histogram.count);
    let last = histogram.bucket.last().unwrap();
    assert!(last.upper_bound == f64::INFINITY && last.cumulative_count == histogram.count, "{last:?}");
    assert!(histogram.sum > 0.0);

    let counter = families["jvm_class_loaded_total"].metric.iter().find(is_ours).unwrap().counter.as_ref().unwrap();
    assert!(counter.value > 100.0 && counter.created.as_ref().is_some_and(|created| created.seconds > 1_500_000_000));
    let up = families["jvm_up"].metric.iter().find(is_ours).unwrap();
    assert_eq!(up.gauge.as_ref().map(|gauge| gauge.value), Some(1.0));
}
