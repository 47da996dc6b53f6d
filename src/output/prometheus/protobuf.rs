//! Prometheus' protobuf exposition: length-delimited `io.prometheus.client.MetricFamily` messages.
//!
//! A message is put together like a line of text: what does not change between scrapes (names, HELP, labels) is encoded
//! once, and a scrape writes lengths and numbers between. Tests hold that the bytes are those of the official encoder for
//! metrics.proto of prometheus/client_model; a field that has nothing to say is not written.

use prost::encoding::{double, encode_varint, encoded_len_varint, int32, sint32, sint64, uint32, uint64};
use prost::{Message, bytes::BufMut};
use prost_types::Timestamp;

use super::buffer::PageBuffer;
use super::created::{CreatedTimes, is_known};
use super::page::Page;
use crate::fact::Values;
use crate::metric::{Exponential, Family, Histogram, Kind, Labels, Value, label_name};
use crate::output::wire::{begin, fixed_key, framed_length, message_key};

pub(crate) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Field numbers of metrics.proto.
mod field {
    /// `MetricFamily.name`
    pub(super) const NAME: u32 = 1;
    /// `MetricFamily.help`
    pub(super) const HELP: u32 = 2;
    /// `MetricFamily.type`
    pub(super) const TYPE: u32 = 3;
    /// `MetricFamily.metric`
    pub(super) const METRIC: u32 = 4;
    /// `Metric.label`, and the fields of a `LabelPair`
    pub(super) const LABEL: u32 = 1;
    pub(super) const LABEL_NAME: u32 = 1;
    pub(super) const LABEL_VALUE: u32 = 2;
    /// `Metric.gauge`
    pub(super) const GAUGE: u32 = 2;
    /// `Metric.counter`
    pub(super) const COUNTER: u32 = 3;
    /// `Metric.summary`
    pub(super) const SUMMARY: u32 = 4;
    /// `Metric.histogram`
    pub(super) const HISTOGRAM: u32 = 7;
    /// `Counter.value` and `Gauge.value`
    pub(super) const VALUE: u32 = 1;
    /// `sample_count` and `sample_sum` of summaries and histograms
    pub(super) const COUNT: u32 = 1;
    pub(super) const SUM: u32 = 2;
    /// `Counter.created_timestamp`, and those of summaries and histograms
    pub(super) const COUNTER_CREATED: u32 = 3;
    pub(super) const SUMMARY_CREATED: u32 = 4;
    pub(super) const HISTOGRAM_CREATED: u32 = 15;
    /// `Histogram.bucket`, and its fields
    pub(super) const BUCKET: u32 = 3;
    pub(super) const CUMULATIVE_COUNT: u32 = 1;
    pub(super) const UPPER_BOUND: u32 = 2;
    /// Of native histograms.
    pub(super) const SCHEMA: u32 = 5;
    pub(super) const ZERO_THRESHOLD: u32 = 6;
    pub(super) const ZERO_COUNT: u32 = 7;
    pub(super) const POSITIVE_SPAN: u32 = 12;
    pub(super) const POSITIVE_DELTA: u32 = 13;
    /// `BucketSpan.offset` and `.length`
    pub(super) const OFFSET: u32 = 1;
    pub(super) const LENGTH: u32 = 2;
}

/// Values of `MetricType`.
const fn metric_type(kind: Kind) -> i32 {
    match kind {
        Kind::Counter => 0,
        Kind::Gauge | Kind::UpDownCounter | Kind::Info => 1,
        Kind::Summary => 2,
        Kind::Histogram => 4,
    }
}

/// Bytes of an average series, from which the length of a family's length is guessed.
const SERIES_LENGTH: usize = 128;

/// See [`super::write_page`]; a series is one sample.
pub(super) fn write_page<'v, V: Values + 'v>(
    page: &Page,
    values: impl Fn(u32) -> &'v V,
    out: &mut PageBuffer<'_>,
) -> usize {
    let created = CreatedTimes::of(page, &values, delimited_timestamp);
    let (mut scratch, mut written) = (Vec::new(), 0);
    for block in &page.blocks {
        let targets = page.rows(block);
        let guess = targets.len() * SERIES_LENGTH;
        let mut family = FamilyMessage::begin(block.family.kind, &block.encoded, guess, &mut out.bytes, &mut scratch);
        for (target, rows) in targets {
            let values = values(target);
            let identity = page.identities.get(target as usize).map_or(&[][..], |identity| &identity.encoded);
            for row in rows {
                if let Some(value) = row.formula.evaluate(values) {
                    family.add([identity, &row.labels.encoded], &value, created.get(target, row.since));
                }
            }
        }
        written += family.end();
        out.complete();
    }
    written
}

/// Appends a family that is not on a page. Returns the number of series; a family without any is not written.
pub(super) fn write_family(family: &Family, values: &[(Labels, Value)], out: &mut Vec<u8>) -> usize {
    let head = head(family, &family.prometheus());
    let mut scratch = Vec::new();
    let mut message = FamilyMessage::begin(family.kind, &head, values.len() * SERIES_LENGTH, out, &mut scratch);
    for (labels, value) in values {
        message.add([&self::labels(labels), &[]], value, &[]);
    }
    message.end()
}

/// The fields of a `MetricFamily` before its series; `name` is the family's name in Prometheus.
pub(super) fn head(family: &Family, name: &str) -> Vec<u8> {
    let total = if family.kind == Kind::Counter { "_total" } else { "" };
    let mut out = Vec::new();
    text(field::NAME, &format!("{name}{total}"), &mut out);
    text(field::HELP, &family.help, &mut out);
    int32::encode(field::TYPE, &metric_type(family.kind), &mut out);
    out
}

/// Labels as fields of a `Metric`.
pub(super) fn labels(labels: &Labels) -> Box<[u8]> {
    let (mut out, mut pair) = (Vec::new(), Vec::new());
    for (name, value) in labels.iter() {
        text(field::LABEL_NAME, &label_name(name), &mut pair);
        text(field::LABEL_VALUE, value, &mut pair);
        message(field::LABEL, &pair, &mut out);
        pair.clear();
    }
    out.into()
}

/// Appends a text, unless it is empty.
fn text(field: u32, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        begin(field, text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn message(field: u32, content: &[u8], out: &mut Vec<u8>) {
    begin(field, content.len(), out);
    out.extend_from_slice(content);
}

/// Appends a `Timestamp` behind its length.
fn delimited_timestamp(seconds: f64, out: &mut Vec<u8>) {
    let whole = seconds.floor();
    let timestamp = Timestamp { seconds: whole as i64, nanos: ((seconds - whole) * 1e9) as i32 };
    // A vector has room for everything.
    _ = timestamp.encode_length_delimited(out);
}

/// A `MetricFamily` while it is written.
struct FamilyMessage<'a> {
    kind: Kind,
    out: &'a mut Vec<u8>,
    /// Where the message's length is, and for how many bytes there is room.
    start: usize,
    room: usize,
    written: usize,
    /// A message whose length has to be known before it is appended.
    scratch: &'a mut Vec<u8>,
}

impl<'a> FamilyMessage<'a> {
    /// `guess` is about how long the message will be: nothing has to be moved at the end if its length is as
    /// long as that of the message.
    fn begin(kind: Kind, head: &[u8], guess: usize, out: &'a mut Vec<u8>, scratch: &'a mut Vec<u8>) -> Self {
        let (start, room) = (out.len(), encoded_len_varint(guess as u64));
        out.put_bytes(0, room);
        out.extend_from_slice(head);
        Self { kind, out, start, room, written: 0, scratch }
    }

    /// Appends a series, unless its value does not fit the family's kind. `created` is when it was zero, as a delimited
    /// message, or empty if that is not known.
    fn add(&mut self, labels: [&[u8]; 2], value: &Value, created: &[u8]) {
        match (self.kind, value) {
            (Kind::Counter, Value::Int(_) | Value::Float(_)) => {
                self.number(field::COUNTER, labels, value.as_f64(), created);
            }
            (Kind::Gauge | Kind::UpDownCounter | Kind::Info, Value::Int(_) | Value::Float(_)) => {
                self.number(field::GAUGE, labels, value.as_f64(), &[]);
            }
            (Kind::Summary, Value::Summary { count, sum }) => {
                self.scratch.clear();
                uint64::encode(field::COUNT, count, self.scratch);
                double::encode(field::SUM, sum, self.scratch);
                if !created.is_empty() {
                    self.scratch.push(message_key(field::SUMMARY_CREATED));
                    self.scratch.extend_from_slice(created);
                }
                self.distribution(field::SUMMARY, labels);
            }
            (Kind::Histogram, Value::Histogram(histogram)) => {
                self.scratch.clear();
                encode_histogram(histogram, self.scratch);
                self.distribution(field::HISTOGRAM, labels);
            }
            _ => {}
        }
    }

    /// Appends a series with a `Counter` or `Gauge`.
    fn number(&mut self, field: u32, labels: [&[u8]; 2], value: f64, created: &[u8]) {
        // Two keys and a length, the value, and the key of the time.
        let mut fields = [0; 12];
        let used = if created.is_empty() { 11 } else { 12 };
        let content = used - 2 + created.len();
        let (keys, rest) = fields.split_at_mut(3);
        keys.copy_from_slice(&[message_key(field), content as u8, fixed_key(field::VALUE)]);
        let (number, key) = rest.split_at_mut(8);
        number.copy_from_slice(&value.to_le_bytes());
        key.copy_from_slice(&[message_key(field::COUNTER_CREATED)]);
        self.series(labels, content + 2);
        self.out.extend_from_slice(fields.get(..used).unwrap_or_default());
        self.out.extend_from_slice(created);
    }

    /// Appends a series with the message in `scratch`.
    fn distribution(&mut self, field: u32, labels: [&[u8]; 2]) {
        self.series(labels, framed_length(field, self.scratch.len()));
        message(field, self.scratch, self.out);
    }

    /// Appends a `Metric` up to its value, which has that length.
    fn series(&mut self, labels: [&[u8]; 2], value: usize) {
        begin(field::METRIC, labels.iter().map(|labels| labels.len()).sum::<usize>() + value, self.out);
        labels.iter().for_each(|labels| self.out.extend_from_slice(labels));
        self.written += 1;
    }

    /// Completes the message, and returns the number of its series. Without any there is no message.
    fn end(self) -> usize {
        let Self { out, start, room, written, .. } = self;
        if written == 0 {
            out.truncate(start);
            return 0;
        }
        let mut length = Vec::with_capacity(room);
        encode_varint((out.len() - start - room) as u64, &mut length);
        out.splice(start..start + room, length);
        written
    }
}

/// Appends the fields of a `Histogram`.
fn encode_histogram(histogram: &Histogram, out: &mut Vec<u8>) {
    uint64::encode(field::COUNT, &histogram.count(), out);
    double::encode(field::SUM, &histogram.sum, out);
    let mut below = 0;
    for (bound, count) in histogram.bounds.iter().chain([&f64::INFINITY]).zip(&histogram.counts) {
        below += count;
        let content =
            uint64::encoded_len(field::CUMULATIVE_COUNT, &below) + double::encoded_len(field::UPPER_BOUND, bound);
        begin(field::BUCKET, content, out);
        uint64::encode(field::CUMULATIVE_COUNT, &below, out);
        double::encode(field::UPPER_BOUND, bound, out);
    }
    if let Some(exponential) = &histogram.exponential {
        encode_native(exponential, out);
    }
    if is_known(&histogram.created) {
        out.push(message_key(field::HISTOGRAM_CREATED));
        delimited_timestamp(histogram.created, out);
    }
}

/// Appends the fields of a native histogram. Readers recognize it by its spans, so an empty one gets a span of length 0,
/// as in Prometheus' Go client.
fn encode_native(exponential: &Exponential, out: &mut Vec<u8>) {
    sint32::encode(field::SCHEMA, &exponential.schema, out);
    double::encode(field::ZERO_THRESHOLD, &exponential.zero_threshold, out);
    uint64::encode(field::ZERO_COUNT, &exponential.zero_count, out);
    let filled = || (exponential.offset..).zip(&exponential.counts).filter(|(_, count)| **count != 0);
    let (mut span, mut end) = (None, 0);
    for (index, _) in filled() {
        span = match span {
            Some((offset, length)) if index == end => Some((offset, length + 1)),
            other => {
                other.inspect(|span| encode_span(*span, out));
                Some((index - end, 1))
            }
        };
        end = index + 1;
    }
    encode_span(span.unwrap_or_default(), out);
    // Not packed, since the schema is proto2.
    let mut before = 0;
    for (_, count) in filled() {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        sint64::encode(field::POSITIVE_DELTA, &(count - before), out);
        before = count;
    }
}

/// Appends consecutive buckets: how far the first is from the end of the span before or from bucket 0, and their number.
fn encode_span((offset, length): (i32, u32), out: &mut Vec<u8>) {
    let content = sint32::encoded_len(field::OFFSET, &offset) + uint32::encoded_len(field::LENGTH, &length);
    begin(field::POSITIVE_SPAN, content, out);
    sint32::encode(field::OFFSET, &offset, out);
    uint32::encode(field::LENGTH, &length, out);
}
