//! Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! Both have the same sample lines and differ in the metadata and in OpenMetrics' last line. Bucket bounds have
//! OpenMetrics' form (`1.0`) in both, so that a server that changes the format keeps its series. OpenMetrics also has
//! `_created` lines for cumulative series.

use super::page::{Block, Page, closing};
use crate::fact::Values;
use crate::metric::{Family, Histogram, Kind, Labels, Value};

/// See [`super::write_page`].
pub(super) fn write<'v, V: Values + 'v>(
    page: &Page,
    open_metrics: bool,
    values: impl Fn(u32) -> &'v V,
    out: &mut Vec<u8>,
) -> usize {
    let mut writer = TextWriter { open_metrics, out, samples: 0, headed: false };
    for block in &page.blocks {
        writer.headed = false;
        for (target, rows) in page.rows(block) {
            let values = values(target);
            let identity = page.identities.get(target as usize).map_or("", |identity| &identity.text);
            for row in rows {
                if let Some(value) = row.formula.evaluate(values) {
                    writer.add(LineText { block, identity, closing: &row.labels.text }, &value, || {
                        values.created(row.formula.since())
                    });
                }
            }
        }
    }
    writer.samples
}

/// Appends a family that is not on a page. Returns the number of samples.
pub(super) fn write_family(
    family: &Family,
    values: &[(Labels, Value)],
    open_metrics: bool,
    out: &mut Vec<u8>,
) -> usize {
    let block = Block::of_exporter(family);
    let mut writer = TextWriter { open_metrics, out, samples: 0, headed: false };
    for (labels, value) in values {
        writer.add(LineText { block: &block, identity: "", closing: &closing(labels, true) }, value, || None);
    }
    writer.samples
}

#[derive(Clone, Copy)]
struct LineText<'a> {
    block: &'a Block,
    /// `a="b",c="d"` of the JVM.
    identity: &'a str,
    /// `,e="f"} ` of the series.
    closing: &'a str,
}

fn fits(kind: Kind, value: &Value) -> bool {
    match value {
        Value::Int(_) | Value::Float(_) => !matches!(kind, Kind::Histogram | Kind::Summary),
        Value::Summary { .. } => kind == Kind::Summary,
        Value::Histogram(_) => kind == Kind::Histogram,
    }
}

struct TextWriter<'a> {
    open_metrics: bool,
    out: &'a mut Vec<u8>,
    samples: usize,
    /// The current family's metadata is written: this happens with its first present series.
    headed: bool,
}

impl TextWriter<'_> {
    /// Writes one series, unless its value does not fit its family's kind. `created` returns when the series was zero.
    fn add(&mut self, line: LineText<'_>, value: &Value, created: impl Fn() -> Option<f64>) {
        let family = &line.block.family;
        if !fits(family.kind, value) {
            return;
        }
        if !self.headed {
            self.header(family, &line.block.name);
            self.headed = true;
        }
        self.series(line, value);
        if self.open_metrics {
            self.created(line, value, created());
        }
    }

    /// HELP and TYPE, and UNIT where OpenMetrics allows it.
    fn header(&mut self, family: &Family, name: &str) {
        let open = self.open_metrics;
        let shown = match family.kind {
            Kind::Counter if !open => format!("{name}_total"),
            Kind::Info if open => name.trim_end_matches("_info").to_owned(),
            _ => name.to_owned(),
        };
        let kind = match family.kind {
            Kind::UpDownCounter => "gauge",
            Kind::Info if !open => "gauge",
            kind => kind.as_str(),
        };
        self.texts(&["# HELP ", &shown, " "]);
        self.help(&family.help);
        self.texts(&["\n# TYPE ", &shown, " ", kind, "\n"]);
        if let Some(unit) = open.then(|| family.unit_suffix()).flatten() {
            self.texts(&["# UNIT ", &shown, " ", &unit, "\n"]);
        }
    }

    fn help(&mut self, help: &str) {
        for byte in help.bytes() {
            match byte {
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'"' if self.open_metrics => self.out.extend_from_slice(b"\\\""),
                byte => self.out.push(byte),
            }
        }
    }

    fn series(&mut self, line: LineText<'_>, value: &Value) {
        match value {
            Value::Int(value) => {
                self.prefix(line);
                self.text(itoa::Buffer::new().format(*value));
                self.end();
            }
            Value::Float(value) => {
                self.prefix(line);
                self.float(*value);
                self.end();
            }
            Value::Summary { count, sum } => {
                self.sample(line, "_count", None, |w| w.text(itoa::Buffer::new().format(*count)));
                self.sample(line, "_sum", None, |w| w.float(*sum));
            }
            Value::Histogram(histogram) => self.histogram(line, histogram),
        }
    }

    /// `name{labels} `
    fn prefix(&mut self, line: LineText<'_>) {
        let bare = line.closing == " ";
        self.text(if bare { line.block.open.trim_end_matches('{') } else { &line.block.open });
        self.text(line.identity);
        self.text(line.closing);
    }

    fn histogram(&mut self, line: LineText<'_>, histogram: &Histogram) {
        let mut cumulative = 0;
        let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, count) in bounds.zip(&histogram.counts) {
            cumulative += count;
            let mut buffer = zmij::Buffer::new();
            let le = if bound.is_finite() { buffer.format_finite(bound) } else { "+Inf" };
            self.sample(line, "_bucket", Some(le), |w| w.text(itoa::Buffer::new().format(cumulative)));
        }
        self.sample(line, "_count", None, |w| w.text(itoa::Buffer::new().format(cumulative)));
        self.sample(line, "_sum", None, |w| w.float(histogram.sum));
    }

    /// Writes when a cumulative series was zero; a histogram's value contains the time.
    fn created(&mut self, line: LineText<'_>, value: &Value, created: Option<f64>) {
        let created = match (line.block.family.kind, value) {
            (_, Value::Histogram(histogram)) => Some(histogram.created),
            (Kind::Summary | Kind::Counter, _) => created,
            _ => return,
        };
        if let Some(created) = created.filter(|created| *created > 0.0) {
            self.sample(line, "_created", None, |w| w.float(created));
            self.samples -= 1;
        }
    }

    /// `name_suffix{labels,le="…"} value`
    fn sample(&mut self, line: LineText<'_>, suffix: &str, le: Option<&str>, value: impl FnOnce(&mut Self)) {
        let own = line.closing.strip_suffix("} ").unwrap_or_default();
        let labelled = !(line.identity.is_empty() && own.is_empty());
        self.text(&line.block.name);
        self.text(suffix);
        if labelled || le.is_some() {
            self.text("{");
            self.text(line.identity);
            self.text(own);
        }
        if let Some(le) = le {
            self.text(if labelled { ",le=\"" } else { "le=\"" });
            self.text(le);
            self.text("\"");
        }
        self.text(if labelled || le.is_some() { "} " } else { " " });
        value(self);
        self.end();
    }

    fn texts(&mut self, texts: &[&str]) {
        texts.iter().for_each(|text| self.text(text));
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
