//! Prometheus text 0.0.4 and OpenMetrics 1.0.
//!
//! Both have the same sample lines and differ in the metadata and in OpenMetrics' last line. Bucket bounds have
//! OpenMetrics' form (`1.0`) in both, so that a server that changes the format keeps its series. OpenMetrics also has
//! `_created` lines for cumulative series.

use std::sync::Arc;

use super::buffer::PageBuffer;
use super::created::{CreatedTimes, is_known};
use super::page::{FamilyText, Page, closing};
use crate::fact::Values;
use crate::metric::{Family, Histogram, Kind, Labels, Value};

/// See [`super::write_page`].
pub(super) fn write<'v, V: Values + 'v>(
    page: &Page,
    open_metrics: bool,
    values: impl Fn(u32) -> &'v V,
    out: &mut PageBuffer<'_>,
) -> usize {
    let created = if open_metrics { CreatedTimes::of(page, &values, float) } else { CreatedTimes::default() };
    let mut bounds = BoundTexts::default();
    let mut samples = 0;
    for block in &page.blocks {
        let mut headed = false;
        for (target, rows) in page.rows(block) {
            let values = values(target);
            let identity = page.identities.get(target as usize).map_or("", |identity| &identity.text);
            let family = FamilyLines { family: &block.family, text: &block.text, open_metrics };
            let mut writer = TextWriter { family, bounds: &mut bounds, out: &mut out.bytes, samples: 0, headed };
            for row in rows {
                if let Some(value) = row.formula.evaluate(values) {
                    writer.add(
                        LabelText { identity, closing: &row.labels.text },
                        &value,
                        created.get(target, row.since),
                    );
                }
            }
            (headed, samples) = (writer.headed, samples + writer.samples);
            out.complete();
        }
    }
    samples
}

/// Appends a family that is not on a page. Returns the number of samples.
pub(super) fn write_family(
    family: &Family,
    values: &[(Labels, Value)],
    open_metrics: bool,
    out: &mut Vec<u8>,
) -> usize {
    let text = FamilyText::of(family, family.prometheus().into());
    let family = FamilyLines { family, text: &text, open_metrics };
    let mut writer = TextWriter { family, bounds: &mut BoundTexts::default(), out, samples: 0, headed: false };
    for (labels, value) in values {
        writer.add(LabelText { identity: "", closing: &closing(labels, true) }, value, &[]);
    }
    writer.samples
}

/// What the lines of a family have in common.
#[derive(Clone, Copy)]
struct FamilyLines<'a> {
    family: &'a Family,
    text: &'a FamilyText,
    open_metrics: bool,
}

#[derive(Clone, Copy)]
struct LabelText<'a> {
    /// `a="b",c="d"` of the JVM.
    identity: &'a str,
    /// `,e="f"} ` of the series.
    closing: &'a str,
}

/// The bounds of the last histogram, with their text: nearly all histograms of a page have the same.
#[derive(Debug, Default)]
struct BoundTexts {
    bounds: Arc<[f64]>,
    texts: Vec<Box<str>>,
}

impl BoundTexts {
    /// The bounds as values of `le`, with the last one, which is infinite.
    fn of(&mut self, bounds: &Arc<[f64]>) -> &[Box<str>] {
        if self.texts.is_empty() || !(Arc::ptr_eq(bounds, &self.bounds) || *bounds == self.bounds) {
            let text = |bound: &f64| {
                if bound.is_finite() { zmij::Buffer::new().format_finite(*bound).into() } else { "+Inf".into() }
            };
            self.texts = bounds.iter().chain([&f64::INFINITY]).map(text).collect();
            self.bounds = Arc::clone(bounds);
        }
        &self.texts
    }
}

fn fits(kind: Kind, value: &Value) -> bool {
    match value {
        Value::Int(_) | Value::Float(_) => !matches!(kind, Kind::Histogram | Kind::Summary),
        Value::Summary { .. } => kind == Kind::Summary,
        Value::Histogram(_) => kind == Kind::Histogram,
    }
}

/// Appends the shortest decimal that reads back as the same double.
fn float(value: f64, out: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let text = match value {
        value if value.is_finite() => buffer.format_finite(value),
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "+Inf",
        _ => "-Inf",
    };
    out.extend_from_slice(text.as_bytes());
}

fn integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes the series of one family.
struct TextWriter<'a> {
    family: FamilyLines<'a>,
    bounds: &'a mut BoundTexts,
    out: &'a mut Vec<u8>,
    samples: usize,
    /// The family's metadata is written: this happens with its first present series.
    headed: bool,
}

impl TextWriter<'_> {
    /// Writes one series, unless its value does not fit its family's kind. `created` is when the series was zero, empty
    /// if that is not known.
    fn add(&mut self, labels: LabelText<'_>, value: &Value, created: &[u8]) {
        let FamilyLines { family, text, open_metrics } = self.family;
        if !fits(family.kind, value) {
            return;
        }
        if !self.headed {
            self.header();
            self.headed = true;
        }
        self.series(labels, value);
        if !open_metrics {
            return;
        }
        match (family.kind, value) {
            (_, Value::Histogram(histogram)) if is_known(&histogram.created) => {
                self.prefix(&text.created, labels);
                float(histogram.created, self.out);
                self.out.push(b'\n');
            }
            (Kind::Summary | Kind::Counter, _) if !created.is_empty() => {
                self.prefix(&text.created, labels);
                self.out.extend_from_slice(created);
                self.out.push(b'\n');
            }
            _ => {}
        }
    }

    /// HELP and TYPE, and UNIT where OpenMetrics allows it.
    fn header(&mut self) {
        let FamilyLines { family, text: FamilyText { name, .. }, open_metrics: open } = self.family;
        let shown = match family.kind {
            Kind::Counter if !open => format!("{name}_total"),
            Kind::Info if open => name.trim_end_matches("_info").to_owned(),
            _ => name.to_string(),
        };
        let kind = match family.kind {
            Kind::UpDownCounter => "gauge",
            Kind::Info if !open => "gauge",
            kind => kind.as_str(),
        };
        self.texts(&["# HELP ", &shown, " "]);
        self.help();
        self.texts(&["\n# TYPE ", &shown, " ", kind, "\n"]);
        if let Some(unit) = open.then(|| family.unit_suffix()).flatten() {
            self.texts(&["# UNIT ", &shown, " ", &unit, "\n"]);
        }
    }

    fn help(&mut self) {
        for byte in self.family.family.help.bytes() {
            match byte {
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'"' if self.family.open_metrics => self.out.extend_from_slice(b"\\\""),
                byte => self.out.push(byte),
            }
        }
    }

    fn series(&mut self, labels: LabelText<'_>, value: &Value) {
        match value {
            Value::Int(value) => {
                self.prefix(&self.family.text.open, labels);
                integer(*value, self.out);
                self.end();
            }
            Value::Float(value) => {
                self.prefix(&self.family.text.open, labels);
                float(*value, self.out);
                self.end();
            }
            Value::Summary { count, sum } => {
                self.part("_count", labels);
                integer(*count, self.out);
                self.end();
                self.part("_sum", labels);
                float(*sum, self.out);
                self.end();
            }
            Value::Histogram(histogram) => self.histogram(labels, histogram),
        }
    }

    fn histogram(&mut self, labels: LabelText<'_>, histogram: &Histogram) {
        let own = labels.closing.strip_suffix("} ").unwrap_or_default();
        let le = if labels.identity.is_empty() && own.is_empty() { "le=\"" } else { ",le=\"" };
        let mut cumulative = 0;
        for (bound, count) in self.bounds.of(&histogram.bounds).iter().zip(&histogram.counts) {
            cumulative += count;
            for text in [&*self.family.text.name, "_bucket{", labels.identity, own, le, bound, "\"} "] {
                self.out.extend_from_slice(text.as_bytes());
            }
            integer(cumulative, self.out);
            self.out.push(b'\n');
            self.samples += 1;
        }
        self.part("_count", labels);
        integer(cumulative, self.out);
        self.end();
        self.part("_sum", labels);
        float(histogram.sum, self.out);
        self.end();
    }

    /// `name{labels} `, of which `open` is `name{`.
    fn prefix(&mut self, open: &str, labels: LabelText<'_>) {
        let bare = labels.closing == " ";
        self.texts(&[if bare { open.trim_end_matches('{') } else { open }, labels.identity, labels.closing]);
    }

    /// `name_suffix{labels} `
    fn part(&mut self, suffix: &str, labels: LabelText<'_>) {
        let open = if labels.closing == " " { "" } else { "{" };
        self.texts(&[&self.family.text.name, suffix, open, labels.identity, labels.closing]);
    }

    fn texts(&mut self, texts: &[&str]) {
        texts.iter().for_each(|text| self.out.extend_from_slice(text.as_bytes()));
    }

    fn end(&mut self) {
        self.out.push(b'\n');
        self.samples += 1;
    }
}
