//! The data model of every output: [`Family`], [`Labels`], [`Value`].
//!
//! Names and units are OpenTelemetry's (`jvm.memory.used`, `By`). [`Family::prometheus`] and [`label_name`] translate
//! them by the OpenTelemetry specification's "UnderscoreEscapingWithSuffixes".

pub(crate) mod exponential;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What a family's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A sum that only grows within one JVM's life.
    Counter,
    /// A value whose sum over series has no meaning.
    Gauge,
    /// A sum that goes up and down. A gauge in Prometheus.
    UpDownCounter,
    /// A distribution.
    Histogram,
    /// A count and a sum without a distribution.
    Summary,
    /// Constant 1; the labels are the information. A gauge in Prometheus text, where no info type exists.
    Info,
}

impl Kind {
    /// The name in YAML, which is Prometheus' name where it has one.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::UpDownCounter => "updowncounter",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Info => "info",
        }
    }
}

/// A metric: what all its series have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Family {
    /// As a rule spells it: dotted (`jvm.memory.used`) or in Prometheus form.
    pub name: Box<str>,
    /// UCUM (`By`, `s`, `{class}`), empty where none applies.
    pub unit: Box<str>,
    /// Meaning of the values.
    pub kind: Kind,
    /// The help text, one sentence.
    pub help: Box<str>,
}

impl Family {
    /// The Prometheus name without `_total`: characters outside `[a-zA-Z0-9_:]` become `_`, repeated `_` collapse, and
    /// the unit is appended unless the name already ends with it.
    pub fn prometheus(&self) -> String {
        let mut name = metric_name(&self.name);
        if self.kind == Kind::Counter
            && let Some(stem) = name.strip_suffix("_total")
        {
            name.truncate(stem.len());
        }
        if let Some(unit) = self.unit_suffix()
            && !name.strip_suffix(&*unit).is_some_and(|stem| stem.ends_with('_'))
        {
            name.push('_');
            name.push_str(&unit);
        }
        if self.kind == Kind::Info && !name.ends_with("_info") {
            name.push_str("_info");
        }
        name
    }

    /// The unit as a suffix of the Prometheus name; `None` where there is no suffix. The unit `1` of a gauge is
    /// `ratio`.
    pub fn unit_suffix(&self) -> Option<String> {
        let word = match (&*self.unit, self.kind) {
            (_, Kind::Info) => return None,
            ("1", Kind::Gauge) => "ratio".to_owned(),
            (unit, _) => unit_word(unit),
        };
        (!word.is_empty()).then_some(word)
    }
}

/// A UCUM unit in the words of Prometheus names; annotations in braces are dropped.
fn unit_word(unit: &str) -> String {
    let word = |part: &str| -> String {
        match part {
            "By" => "bytes",
            "KiBy" => "kibibytes",
            "s" => "seconds",
            "ms" => "milliseconds",
            "us" => "microseconds",
            "ns" => "nanoseconds",
            "min" => "minutes",
            "h" => "hours",
            "d" => "days",
            "Hz" => "hertz",
            "%" => "percent",
            "Cel" => "celsius",
            "1" => "",
            other => return metric_name(other),
        }
        .to_owned()
    };
    if unit.starts_with('{') {
        return String::new();
    }
    match unit.split_once('/') {
        Some((of, per)) if !per.starts_with('{') => {
            let (of, per) = (word(of), word(per));
            format!("{of}_per_{}", per.strip_suffix('s').unwrap_or(&per)).trim_start_matches('_').to_owned()
        }
        Some((of, _)) => word(of),
        None => word(unit),
    }
}

/// A legal Prometheus metric name.
pub(crate) fn metric_name(name: &str) -> String {
    escape(name, |c| c == ':')
}

/// A legal Prometheus label name.
pub fn label_name(name: &str) -> String {
    escape(name, |_| false)
}

fn escape(name: &str, also: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || also(c) {
            if out.is_empty() && c.is_ascii_digit() {
                out.push('_');
            }
            out.push(c);
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    out
}

/// Name and value pairs, sorted by name, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Box<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Sorts the pairs; the last value of a repeated name wins.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut list: Vec<(Box<str>, Box<str>)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        list.reverse();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list.dedup_by(|later, kept| later.0 == kept.0);
        Self(list.into())
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A family with the labels and value of each of its samples.
pub type FamilySamples = (Family, Vec<(Labels, Value)>);

/// One number or distribution.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number: bytes and counts.
    Int(i64),
    /// A scaled number.
    Float(f64),
    /// A count and a sum.
    Summary {
        /// Observations.
        count: u64,
        /// Their sum, in the family's unit.
        sum: f64,
    },
    /// A distribution.
    Histogram(Arc<Histogram>),
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_f64().to_bits().hash(state);
    }
}

impl Value {
    /// The number as a double; the sum of a summary or histogram.
    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Int(value) => *value as f64,
            Self::Float(value) => *value,
            Self::Summary { sum, .. } => *sum,
            Self::Histogram(histogram) => histogram.sum,
        }
    }
}

/// A distribution with fixed bounds, and optionally its exponential form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds, ascending, without +Inf.
    pub bounds: Arc<[f64]>,
    /// Observations per bucket, not cumulative; one more than `bounds`, the last for values above all bounds.
    pub counts: Vec<u64>,
    /// Sum of the observations.
    pub sum: f64,
    /// When counting began, seconds since the epoch.
    pub created: f64,
    /// The same observations in base-2 exponential buckets.
    pub exponential: Option<Exponential>,
}

/// Base-2 exponential buckets, numbered as in Prometheus' native histograms: bucket `i` holds values in
/// `(b^(i-1), b^i]` with `b = 2^(2^-schema)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exponential {
    /// Resolution.
    pub schema: i32,
    /// Observations in `[0, zero_threshold]`.
    pub zero_count: u64,
    /// Upper end of the zero bucket.
    pub zero_threshold: f64,
    /// Index of the first bucket in `counts`.
    pub offset: i32,
    /// Observations per bucket, from `offset` upwards.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prometheus(name: &str, unit: &str, kind: Kind) -> String {
        Family { name: name.into(), unit: unit.into(), kind, help: "".into() }.prometheus()
    }

    #[test]
    fn names_follow_the_specification() {
        for (name, unit, kind, expected) in [
            ("jvm.memory.used", "By", Kind::UpDownCounter, "jvm_memory_used_bytes"),
            ("jvm.gc.duration", "s", Kind::Histogram, "jvm_gc_duration_seconds"),
            ("jvm.thread.count", "{thread}", Kind::UpDownCounter, "jvm_thread_count"),
            ("jvm.class.loaded", "{class}", Kind::Counter, "jvm_class_loaded"),
            ("jvm.cpu.recent_utilization", "1", Kind::Gauge, "jvm_cpu_recent_utilization_ratio"),
            ("jvm_memory_used_bytes", "By", Kind::Gauge, "jvm_memory_used_bytes"),
            ("jvm_compilation_time_seconds_total", "s", Kind::Counter, "jvm_compilation_time_seconds"),
            ("a..b--c", "", Kind::Gauge, "a_b_c"),
            ("9lives", "", Kind::Gauge, "_9lives"),
            ("jvm.process", "", Kind::Info, "jvm_process_info"),
            ("disk.speed", "By/s", Kind::Gauge, "disk_speed_bytes_per_second"),
            ("megabytes", "By", Kind::Gauge, "megabytes_bytes"),
        ] {
            assert_eq!(prometheus(name, unit, kind), expected, "{name} {unit}");
        }
    }

    #[test]
    fn labels_are_sorted_and_the_last_value_of_a_name_wins() {
        let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!((labels.get("b"), labels.get("c")), (Some("3"), None));
    }
}
