//! The parts of OTLP messages that stay the same from push to push, encoded from the official types.

use std::hash::{BuildHasher, RandomState};

use opentelemetry_proto::tonic::common::v1::any_value::Value::{IntValue, StringValue};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, Gauge, Histogram, Metric, ResourceMetrics, ScopeMetrics, Sum, Summary,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::metric::{Family, Kind, Labels};

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

/// Which message holds a metric's points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

impl Form {
    /// The field of `Metric` that holds the message.
    pub(super) const fn field(self) -> u32 {
        match self {
            Self::Gauge => 5,
            Self::Sum => 7,
            Self::Histogram => 9,
            Self::Exponential => 10,
            Self::Summary => 11,
        }
    }

    /// What follows the points in that message.
    pub(super) fn tail(self, temporality: AggregationTemporality, is_monotonic: bool) -> Vec<u8> {
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

/// Name, description and unit of a metric. Prometheus' `_info` is part of the name here, since OTLP has no such kind.
pub(super) fn head(family: &Family) -> Vec<u8> {
    let mut name = family.name.to_string();
    if family.kind == Kind::Info && !name.ends_with("info") {
        name.push_str(".info");
    }
    let metric =
        Metric { name, description: family.help.to_string(), unit: family.unit.to_string(), ..Metric::default() };
    metric.encode_to_vec()
}

/// A text attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, StringValue(value.into()))
}

/// A whole number as an attribute.
pub(super) fn integer(key: &str, value: i64) -> KeyValue {
    attribute(key, IntValue(value))
}

fn attribute(key: &str, value: opentelemetry_proto::tonic::common::v1::any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Labels as attributes.
pub(super) fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.iter().map(|(name, value)| text(name, value)).collect()
}

/// Labels as the attributes of a point.
pub(super) fn encoded_attributes(labels: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    for attribute in attributes(labels) {
        prost::encoding::message::encode(field::ATTRIBUTES, &attribute, &mut out);
    }
    out
}

/// The `resource` of a `ResourceMetrics`.
pub(super) fn resource(attributes: Vec<KeyValue>) -> Vec<u8> {
    let resource = Some(Resource { attributes, ..Resource::default() });
    ResourceMetrics { resource, ..ResourceMetrics::default() }.encode_to_vec()
}

/// The `scope` of a `ScopeMetrics`: this program.
pub(super) fn scope() -> Vec<u8> {
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    ScopeMetrics { scope: Some(scope), ..ScopeMetrics::default() }.encode_to_vec()
}

/// Appends the key and the length of a message that consists of `length` bytes, which the caller appends.
pub(super) fn open(field: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

/// Bytes that a message of `length` bytes takes as a field.
pub(super) fn framed(field: u32, length: usize) -> usize {
    key_len(field) + encoded_len_varint(length as u64) + length
}

/// Tells contents apart by a number that stays the same for the life of the process.
#[derive(Debug, Default)]
pub(super) struct SeriesFingerprints(RandomState);

impl SeriesFingerprints {
    pub(super) fn of(&self, content: &impl std::hash::Hash) -> u64 {
        self.0.hash_one(content)
    }
}
