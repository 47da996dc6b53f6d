//! The parts of OTLP messages that do not change between pushes, encoded with the official types.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, Gauge, Histogram, Metric, ResourceMetrics, ScopeMetrics, Sum, Summary,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::metric::{Family, Kind, Labels};
use crate::rules::{PlannedFamily, PlannedSeries};

/// Field numbers of opentelemetry/proto/metrics/v1/metrics.proto, and of the service's request.
pub(super) mod field {
    /// `ExportMetricsServiceRequest.resource_metrics`
    pub(crate) const RESOURCE_METRICS: u32 = 1;
    /// `ResourceMetrics.scope_metrics`
    pub(crate) const SCOPE_METRICS: u32 = 2;
    /// `ScopeMetrics.metrics`
    pub(crate) const METRICS: u32 = 2;
    /// `data_points` of every kind of metric
    pub(crate) const DATA_POINTS: u32 = 1;
    /// `NumberDataPoint.attributes` and `SummaryDataPoint.attributes`
    pub(crate) const ATTRIBUTES: u32 = 7;
    /// `start_time_unix_nano` of every kind of point
    pub(crate) const START: u32 = 2;
    /// `time_unix_nano` of every kind of point
    pub(crate) const TIME: u32 = 3;
    /// `NumberDataPoint.as_double`
    pub(crate) const DOUBLE: u32 = 4;
    /// `NumberDataPoint.as_int`
    pub(crate) const INT: u32 = 6;
}

/// The message that contains a metric's points, and its field in `Metric`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Gauge = 5,
    Sum = 7,
    Histogram = 9,
    Exponential = 10,
    Summary = 11,
}

impl Form {
    /// The fields after the points in the message.
    pub(super) fn trailer(self, temporality: AggregationTemporality, is_monotonic: bool) -> Vec<u8> {
        let aggregation_temporality = temporality.into();
        match self {
            Self::Gauge => Gauge::default().encode_to_vec(),
            Self::Sum => Sum { aggregation_temporality, is_monotonic, ..Sum::default() }.encode_to_vec(),
            Self::Histogram => Histogram { aggregation_temporality, ..Histogram::default() }.encode_to_vec(),
            Self::Exponential => {
                ExponentialHistogram { aggregation_temporality, ..ExponentialHistogram::default() }.encode_to_vec()
            }
            Self::Summary => Summary::default().encode_to_vec(),
        }
    }
}

/// Name, description and unit of a metric. An info metric gets the suffix `.info`, since OTLP has no such kind.
pub(super) fn head(family: &Family) -> Vec<u8> {
    let mut name = family.name.to_string();
    if family.kind == Kind::Info && !name.ends_with("info") {
        name.push_str(".info");
    }
    let metric =
        Metric { name, description: family.help.to_string(), unit: family.unit.to_string(), ..Metric::default() };
    metric.encode_to_vec()
}

pub(super) fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| attribute(name, any_value::Value::StringValue(value.to_owned()))).collect()
}

/// The encoded `resource` of a `ResourceMetrics`.
pub(super) fn resource(attributes: Vec<KeyValue>) -> Vec<u8> {
    let resource = Some(Resource { attributes, ..Resource::default() });
    ResourceMetrics { resource, ..ResourceMetrics::default() }.encode_to_vec()
}

/// The encoded `scope` of a `ScopeMetrics`: this program.
pub(super) fn scope() -> Vec<u8> {
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    ScopeMetrics { scope: Some(scope), ..ScopeMetrics::default() }.encode_to_vec()
}

/// The encoded parts of a planned family, which JVMs of one kind share.
#[derive(Debug)]
pub(super) struct EncodedFamily {
    /// The weak pointers keep the addresses, by which the encoder finds this, from being reused.
    family: Weak<Family>,
    series: Weak<[PlannedSeries]>,
    pub(super) fingerprint: u64,
    pub(super) head: Box<[u8]>,
    /// Of each series.
    pub(super) labels: Box<[EncodedLabels]>,
}

#[derive(Debug)]
pub(super) struct EncodedLabels {
    pub(super) labels: Arc<Labels>,
    pub(super) fingerprint: u64,
    /// The labels as the attributes of a number.
    pub(super) encoded: Box<[u8]>,
}

impl EncodedLabels {
    pub(super) fn of(labels: Arc<Labels>, hasher: &RandomState) -> Self {
        let mut encoded = Vec::new();
        for attribute in attributes(&labels) {
            prost::encoding::message::encode(field::ATTRIBUTES, &attribute, &mut encoded);
        }
        Self { fingerprint: hasher.hash_one(&labels), encoded: encoded.into(), labels }
    }
}

impl EncodedFamily {
    pub(super) fn of(planned: &PlannedFamily, hasher: &RandomState) -> Self {
        let PlannedFamily { family, series } = planned;
        let labels = series.iter().map(|planned| EncodedLabels::of(Arc::clone(&planned.labels), hasher));
        Self {
            family: Arc::downgrade(family),
            series: Arc::downgrade(series),
            fingerprint: hasher.hash_one(family),
            head: head(family).into(),
            labels: labels.collect(),
        }
    }

    /// Whether a plan still uses the family.
    pub(super) fn is_used(&self) -> bool {
        self.family.strong_count() > 0 && self.series.strong_count() > 0
    }
}
