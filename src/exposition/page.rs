//! The layout of one profile's output.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::formula::Formula;
use crate::metric::{Family, Kind, Labels, label_name};

/// The series of every JVM, grouped by family in the order of the families' Prometheus names.
///
/// A line is three pieces of text before its value: of the family, of the JVM, and of the series' own labels. The
/// first and last are shared by many lines, so that a page of a thousand JVMs stays small.
#[derive(Debug, Default)]
pub struct Page {
    pub(super) blocks: Vec<Block>,
    pub(super) rows: Vec<Row>,
    /// Of each JVM.
    pub(super) identities: Vec<LabelText>,
    /// Every label set that some series has beside those of its JVM.
    pub(super) labels: Vec<LabelText>,
}

/// One family's part of a page.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) family: Arc<Family>,
    /// [`Family::prometheus`], rendered once.
    pub(super) name: Box<str>,
    /// `name{`, with `_total` if it is a counter.
    pub(super) open: Box<str>,
    pub(super) rows: Range<usize>,
}

/// Labels, and the text that they make in a line.
#[derive(Debug)]
pub(super) struct LabelText {
    pub(super) labels: Arc<Labels>,
    /// Of a JVM: `a="b",c="d"`. Of a series: what follows on that up to the value, `,e="f"} `.
    pub(super) text: Box<str>,
}

/// One series: whose it is, its labels, and where its value comes from.
#[derive(Debug)]
pub struct Row {
    /// Index of the JVM among those the page was made from.
    pub target: u32,
    /// Index in [`Page::labels`].
    pub(super) labels: u32,
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
    /// Lays out the series of the JVMs that have these labels; without any JVM the series' own labels are all.
    ///
    /// Of one family the series come out in the order in which they came in, so that a JVM's series stay together.
    pub fn new<'a>(identities: Vec<Labels>, series: impl Iterator<Item = Series<'a>>) -> Self {
        let mut families: FxHashMap<*const Family, usize> = FxHashMap::default();
        let mut groups: Vec<(&Arc<Family>, Box<str>, Vec<Row>)> = Vec::new();
        let mut index: FxHashMap<&'a Labels, u32> = FxHashMap::default();
        let mut labels: Vec<LabelText> = Vec::new();
        let first = identities.iter().all(Labels::is_empty);
        for series in series {
            let at = *families.entry(Arc::as_ptr(series.family)).or_insert_with(|| {
                groups.push((series.family, series.family.prometheus().into(), Vec::new()));
                groups.len() - 1
            });
            let label = *index.entry(series.labels).or_insert_with(|| {
                labels.push(LabelText { labels: Arc::clone(series.labels), text: closing(series.labels, first) });
                u32::try_from(labels.len() - 1).unwrap_or(u32::MAX)
            });
            groups[at].2.push(Row { target: series.target, labels: label, formula: series.formula.clone() });
        }
        groups.sort_by(|a, b| a.1.cmp(&b.1));

        let mut page = Self { labels, ..Self::default() };
        for (family, name, rows) in groups {
            let start = page.rows.len();
            page.rows.extend(rows);
            let total = if family.kind == Kind::Counter { "_total" } else { "" };
            let open = format!("{name}{total}{{").into();
            page.blocks.push(Block { family: Arc::clone(family), name, open, rows: start..page.rows.len() });
        }
        page.rows.shrink_to_fit();
        page.identities = identities
            .into_iter()
            .map(|labels| LabelText { text: pairs(&labels).into(), labels: Arc::new(labels) })
            .collect();
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

/// What follows the labels of the JVM in a line, up to the value. `first` says that nothing precedes them.
fn closing(labels: &Labels, first: bool) -> Box<str> {
    match (labels.is_empty(), first) {
        (true, true) => " ".into(),
        (true, false) => "} ".into(),
        (false, true) => format!("{}}} ", pairs(labels)).into(),
        (false, false) => format!(",{}}} ", pairs(labels)).into(),
    }
}

/// `a="b",c="d"`, escaped.
fn pairs(labels: &Labels) -> String {
    let mut text = String::new();
    for (index, (name, value)) in labels.iter().enumerate() {
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
    text
}
