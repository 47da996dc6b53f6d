//! The layout of one profile's output.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::formula::Formula;
use crate::metric::{Family, Kind, Labels, label_name};

/// The series of every JVM, grouped by family in the order of the families' Prometheus names.
#[derive(Debug, Default)]
pub struct Page {
    /// Labels of each JVM, which all its series have.
    pub(super) identities: Vec<Labels>,
    pub(super) blocks: Vec<Block>,
    pub(super) rows: Vec<Row>,
    pub(super) text: String,
}

/// One family's part of a page.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) family: Arc<Family>,
    /// [`Family::prometheus`], rendered once.
    pub(super) name: Box<str>,
    pub(super) rows: Range<usize>,
}

/// One series: where its value comes from, and what stands before it.
#[derive(Debug)]
pub struct Row {
    /// Index of the JVM among those the page was made from.
    pub target: u32,
    /// End of this row's text; it starts where the row before ends.
    pub(super) end: u32,
    /// Beside those of the JVM.
    pub labels: Arc<Labels>,
    /// Over the words that are gathered for the JVM.
    pub formula: Formula,
}

/// A series as a page takes it in.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The metric; the same `Arc` for all its series.
    pub family: &'a Arc<Family>,
    /// Index of the JVM.
    pub target: u32,
    /// Beside those of the JVM.
    pub labels: &'a Arc<Labels>,
    /// The value.
    pub formula: &'a Formula,
}

impl Page {
    /// Lays out the series of the JVMs that have these labels.
    ///
    /// Of one family the series come out in the order in which they came in, so that a JVM's series stay together.
    pub fn new<'a>(identities: Vec<Labels>, series: impl Iterator<Item = Series<'a>>) -> Self {
        let mut index: FxHashMap<*const Family, usize> = FxHashMap::default();
        let mut groups: Vec<(&Arc<Family>, Box<str>, Vec<Series<'a>>)> = Vec::new();
        for series in series {
            let at = *index.entry(Arc::as_ptr(series.family)).or_insert_with(|| {
                groups.push((series.family, series.family.prometheus().into(), Vec::new()));
                groups.len() - 1
            });
            groups[at].2.push(series);
        }
        groups.sort_by(|a, b| a.1.cmp(&b.1));

        let none = Labels::default();
        let mut page = Self::default();
        for (family, name, group) in groups {
            let first = page.rows.len();
            for series in group {
                let identity = identities.get(series.target as usize).unwrap_or(&none);
                push_prefix(&mut page.text, family.kind, &name, identity, series.labels);
                page.rows.push(Row {
                    target: series.target,
                    end: u32::try_from(page.text.len()).unwrap_or(u32::MAX),
                    labels: Arc::clone(series.labels),
                    formula: series.formula.clone(),
                });
            }
            page.blocks.push(Block { family: Arc::clone(family), name, rows: first..page.rows.len() });
        }
        page.text.shrink_to_fit();
        page.identities = identities;
        page
    }

    /// Number of series, present or not.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// What precedes the value: `name{labels} ` for one number, `labels` alone where several lines follow from one value.
fn push_prefix(text: &mut String, kind: Kind, name: &str, identity: &Labels, labels: &Labels) {
    let single = !matches!(kind, Kind::Histogram | Kind::Summary);
    if single {
        text.push_str(name);
        if kind == Kind::Counter {
            text.push_str("_total");
        }
        if !(identity.is_empty() && labels.is_empty()) {
            text.push('{');
        }
    }
    push_labels(text, identity.iter().chain(labels.iter()));
    if single {
        text.push_str(if identity.is_empty() && labels.is_empty() { " " } else { "} " });
    }
}

/// `a="b",c="d"`, escaped.
pub(super) fn push_labels<'a>(text: &mut String, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    for (index, (name, value)) in labels.enumerate() {
        if index > 0 {
            text.push(',');
        }
        let _ = write!(text, "{}=\"", label_name(name));
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
}
