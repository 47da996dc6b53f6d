//! Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! Both print the same sample lines; they differ in the metadata above them and in OpenMetrics' closing line. Bucket
//! bounds are spelled as OpenMetrics has them (`1.0`) in both, so that a server that changes format keeps its series.

use std::sync::Arc;

use super::negotiate::Format;
use super::page::{Block, Page, push_labels};
use crate::formula::Source;
use crate::metric::{Family, Histogram, Kind, Labels, Value};

/// Appends every present series of `page`; `source` gives the values of the JVM of that index. Returns the number of
/// samples.
pub fn write_page<'s, S: Source + 's>(
    page: &Page,
    format: Format,
    source: impl Fn(u32) -> &'s S,
    out: &mut Vec<u8>,
) -> usize {
    let mut writer = Writer::new(format, out);
    let mut start = 0;
    for block in &page.blocks {
        let mut headed = false;
        for row in &page.rows[block.rows.clone()] {
            let prefix = &page.text[start..row.end as usize];
            start = row.end as usize;
            let value = row.formula.evaluate(source(row.target));
            if let Some(value) = value.filter(|value| fits(block.family.kind, value)) {
                if !headed {
                    writer.header(&block.family, &block.name);
                    headed = true;
                }
                writer.series(block, prefix, &value);
            }
        }
    }
    writer.samples
}

/// Appends families that are not part of a page: the exporter's own. Returns the number of samples.
pub fn write_families(families: &[(Family, Vec<(Labels, Value)>)], format: Format, out: &mut Vec<u8>) -> usize {
    let mut writer = Writer::new(format, out);
    for (family, series) in families {
        let formulas: Vec<_> =
            series.iter().map(|(_, value)| crate::formula::Formula::Constant(value.clone())).collect();
        let family = Arc::new(family.clone());
        let none = Labels::default();
        let entries = series.iter().zip(&formulas).map(|((labels, _), formula)| (&family, (0, &none, labels, formula)));
        writer.samples += write_page(&Page::new(entries), format, |_| &Always, writer.out);
    }
    writer.samples
}

/// Ends an exposition.
pub fn finish(format: Format, out: &mut Vec<u8>) {
    if format == Format::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
}

/// Whether a value can be written as what its family says it is.
fn fits(kind: Kind, value: &Value) -> bool {
    match value {
        Value::Int(_) | Value::Float(_) => !matches!(kind, Kind::Histogram | Kind::Summary),
        Value::Summary { .. } => kind == Kind::Summary,
        Value::Histogram(_) => kind == Kind::Histogram,
    }
}

/// The source of constants.
struct Always;

impl Source for Always {
    fn word(&self, _: u32) -> Option<i64> {
        None
    }

    fn cell(&self, _: crate::formula::CellId) -> Option<Value> {
        None
    }

    fn is_up(&self) -> bool {
        true
    }
}

struct Writer<'a> {
    format: Format,
    out: &'a mut Vec<u8>,
    samples: usize,
}

impl<'a> Writer<'a> {
    fn new(format: Format, out: &'a mut Vec<u8>) -> Self {
        Self { format, out, samples: 0 }
    }

    /// HELP and TYPE, and UNIT where OpenMetrics allows it.
    fn header(&mut self, family: &Family, name: &str) {
        let open = self.format == Format::OpenMetrics;
        let shown = match family.kind {
            Kind::Counter if !open => format!("{name}_total"),
            Kind::Info if open => name.trim_end_matches("_info").to_owned(),
            _ => name.to_owned(),
        };
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge | Kind::UpDownCounter => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
            Kind::Info if open => "info",
            Kind::Info => "gauge",
        };
        self.text("# HELP ");
        self.text(&shown);
        self.text(" ");
        self.help(&family.help);
        self.text("\n# TYPE ");
        self.text(&shown);
        self.text(" ");
        self.text(kind);
        self.text("\n");
        if let Some(unit) = open.then(|| family.unit_suffix()).flatten() {
            self.text("# UNIT ");
            self.text(&shown);
            self.text(" ");
            self.text(&unit);
            self.text("\n");
        }
    }

    fn help(&mut self, help: &str) {
        for byte in help.bytes() {
            match byte {
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'"' if self.format == Format::OpenMetrics => self.out.extend_from_slice(b"\\\""),
                byte => self.out.push(byte),
            }
        }
    }

    fn series(&mut self, block: &Block, prefix: &str, value: &Value) {
        match value {
            Value::Int(value) => {
                self.text(prefix);
                self.text(itoa::Buffer::new().format(*value));
                self.end();
            }
            Value::Float(value) => {
                self.text(prefix);
                self.float(*value);
                self.end();
            }
            Value::Summary { count, sum } => {
                self.sample(&block.name, "_count", prefix, None, |w| w.text(itoa::Buffer::new().format(*count)));
                self.sample(&block.name, "_sum", prefix, None, |w| w.float(*sum));
            }
            Value::Histogram(histogram) => self.histogram(&block.name, prefix, histogram),
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let mut cumulative = 0;
        let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, count) in bounds.zip(&histogram.counts) {
            cumulative += count;
            let mut le = Vec::with_capacity(24);
            Writer::new(self.format, &mut le).float(bound);
            let le = String::from_utf8(le).unwrap_or_default();
            self.sample(name, "_bucket", labels, Some(&le), |w| w.text(itoa::Buffer::new().format(cumulative)));
        }
        self.sample(name, "_count", labels, None, |w| w.text(itoa::Buffer::new().format(cumulative)));
        self.sample(name, "_sum", labels, None, |w| w.float(histogram.sum));
    }

    /// `name_suffix{labels,le="…"} value`
    fn sample(&mut self, name: &str, suffix: &str, labels: &str, le: Option<&str>, value: impl FnOnce(&mut Self)) {
        self.text(name);
        self.text(suffix);
        if !labels.is_empty() || le.is_some() {
            self.text("{");
            self.text(labels);
            if let Some(le) = le {
                let mut own = String::new();
                push_labels(&mut own, std::iter::once(("le", le)));
                if !labels.is_empty() {
                    self.text(",");
                }
                self.text(&own);
            }
            self.text("}");
        }
        self.text(" ");
        value(self);
        self.end();
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// The shortest decimal that reads back as the same double.
    fn float(&mut self, value: f64) {
        if value.is_finite() {
            self.text(zmij::Buffer::new().format_finite(value));
        } else if value.is_nan() {
            self.text("NaN");
        } else {
            self.text(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
    }

    fn end(&mut self) {
        self.out.push(b'\n');
        self.samples += 1;
    }
}
