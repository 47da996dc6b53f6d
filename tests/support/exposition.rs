//! A strict reader of Prometheus' text format 0.0.4: whatever a lenient one would forgive is a failure here.

use std::collections::{BTreeMap, BTreeSet};

/// Name and value pairs.
pub type Labels = BTreeMap<String, String>;

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Labels,
    pub value: f64,
}

/// A whole page.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// Type by family name.
    pub types: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

impl Exposition {
    /// Reads a page.
    ///
    /// # Panics
    /// At a line that is not legal, a family without `HELP` and `TYPE` before its samples, a family in two places, a
    /// series twice, or a page that does not end with a newline.
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the page does not end with a newline");
        let mut page = Self::default();
        let mut helps = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, _) = rest.split_once(' ').unwrap_or((rest, ""));
                assert!(helps.insert(name.to_owned()), "a second HELP: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(helps.contains(name), "no HELP before: {line}");
                assert!(matches!(kind, "counter" | "gauge" | "histogram" | "summary" | "untyped"), "{line}");
                assert!(page.types.insert(name.to_owned(), kind.to_owned()).is_none(), "a second TYPE: {line}");
                family = name.to_owned();
            } else if !line.is_empty() && !line.starts_with('#') {
                let sample = parse_sample(line);
                let kind = page.types.get(&family).map_or("", String::as_str);
                assert!(belongs(&sample.name, &family, kind), "outside of its family {family}: {line}");
                assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "a series twice: {line}");
                page.samples.push(sample);
            }
        }
        page
    }

    /// The samples of that name whose labels include these.
    pub fn all<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        })
    }

    /// The value of the one such sample.
    ///
    /// # Panics
    /// If there are several.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.all(name, labels);
        let first = found.next()?;
        assert_eq!(found.next(), None, "{name} {labels:?} is not one series");
        Some(first.value)
    }

    /// The labels that tell the JVM of this process from the others, and its samples only.
    pub fn of_pid(&self, pid: u32) -> Option<(Labels, Self)> {
        let info = self.all("jvm_process_info", &[("pid", &pid.to_string())]).next()?.labels.clone();
        let identity: Vec<(&str, &str)> =
            ["app", "slot"].iter().filter_map(|name| info.get(*name).map(|value| (*name, value.as_str()))).collect();
        assert_eq!(identity.len(), 2, "jvm_process_info has app and slot: {info:?}");
        let mine = |sample: &&Sample| {
            identity.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        };
        let samples = self.samples.iter().filter(mine).cloned().collect();
        Some((info.clone(), Self { types: self.types.clone(), samples }))
    }
}

fn belongs(sample: &str, family: &str, kind: &str) -> bool {
    let Some(suffix) = sample.strip_prefix(family) else { return false };
    match kind {
        "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
        "summary" => ["", "_sum", "_count"].contains(&suffix),
        _ => suffix.is_empty(),
    }
}

/// Reads the line of one sample.
///
/// # Panics
/// At a line that is not legal.
pub fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name, true), "not a metric name: {line}");
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label value: {line}"));
            assert!(is_name(key, false), "not a label name: {line}");
            let (value, after) = unquote(after).unwrap_or_else(|| panic!("an open label value: {line}"));
            assert!(labels.insert(key.to_owned(), value).is_none(), "a label twice: {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no blank before the value: {line}"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().unwrap_or_else(|_| panic!("not a number: {line}")),
    };
    Sample { name: name.to_owned(), labels, value }
}

fn is_name(name: &str, colon: bool) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(legal)
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('"' | '\\') => value.push(escaped),
                other => panic!("an illegal escape \\{other}"),
            },
            plain => value.push(plain),
        }
    }
    None
}
