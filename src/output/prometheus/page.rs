//! The layout of the output of one profile.

#![allow(clippy::disallowed_types, reason = "keys are addresses")]

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::fact::Formula;
use crate::metric::{Family, Kind, Labels, label_name};
use crate::rules::PlannedSeries;

/// The series of every JVM, grouped by family in the order of the families' Prometheus names.
///
/// A line consists of three texts before its value: of the family, of the JVM, and of the series' own labels. JVMs with
/// the same list of series share its rows, so that a page of a thousand JVMs stays small, and the rows stay in the
/// processor's cache.
#[derive(Debug, Default)]
pub struct Page {
    pub(super) blocks: Vec<Block>,
    pub(super) identities: Vec<LabelText>,
    /// What each JVM has of each block.
    target_rows: Vec<TargetRows>,
    /// The distinct lists of series.
    row_lists: Vec<Box<[Row]>>,
    length: usize,
}

/// One family's part of a page.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) family: Arc<Family>,
    /// [`Family::prometheus`], rendered once.
    pub(super) name: Box<str>,
    /// `name{`, with `_total` if it is a counter.
    pub(super) open: Box<str>,
    /// Indexes in [`Page::target_rows`].
    targets: Range<usize>,
}

/// The rows of one JVM in a block.
#[derive(Clone, Copy, Debug)]
struct TargetRows {
    target: u32,
    /// Index in [`Page::row_lists`].
    list: u32,
}

/// Labels, and their text in a line.
#[derive(Debug)]
pub(super) struct LabelText {
    pub(super) labels: Arc<Labels>,
    /// For a JVM: `a="b",c="d"`. For a series: the text between that and the value, `,e="f"} `.
    pub(super) text: Box<str>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) labels: LabelText,
    /// The value, over the words that are read for a JVM.
    pub(super) formula: Formula,
}

/// The series of one family of one JVM: the input of a page.
#[derive(Clone, Copy, Debug)]
pub struct PageSeries<'a> {
    /// The metric; the same `Arc` for all its series.
    pub family: &'a Arc<Family>,
    /// Index of the JVM.
    pub target: u32,
    /// The same `Arc` for JVMs with equal series.
    pub series: &'a Arc<[PlannedSeries]>,
}

impl Page {
    /// Lays out the series of JVMs with these labels. In each family, JVMs keep their order in `series`.
    pub fn new<'a>(identities: Vec<Labels>, series: impl Iterator<Item = PageSeries<'a>>) -> Self {
        let mut page = Self::default();
        let first = identities.iter().all(Labels::is_empty);
        let mut families: FxHashMap<*const Family, usize> = FxHashMap::default();
        let mut blocks: Vec<(&Arc<Family>, Box<str>, Vec<TargetRows>)> = Vec::new();
        let mut lists: FxHashMap<*const [PlannedSeries], u32> = FxHashMap::default();
        for PageSeries { family, target, series } in series {
            let block = *families.entry(Arc::as_ptr(family)).or_insert_with(|| {
                blocks.push((family, family.prometheus().into(), Vec::new()));
                blocks.len() - 1
            });
            let list = *lists.entry(Arc::as_ptr(series)).or_insert_with(|| {
                let row = |planned: &PlannedSeries| {
                    let (text, labels) = (closing(&planned.labels, first), Arc::clone(&planned.labels));
                    Row { labels: LabelText { labels, text }, formula: planned.formula.clone() }
                };
                page.row_lists.push(series.iter().map(row).collect());
                u32::try_from(page.row_lists.len() - 1).unwrap_or(u32::MAX)
            });
            blocks[block].2.push(TargetRows { target, list });
            page.length += series.len();
        }
        blocks.sort_by(|a, b| a.1.cmp(&b.1));
        page.target_rows.reserve_exact(blocks.iter().map(|(_, _, targets)| targets.len()).sum());
        for (family, name, targets) in blocks {
            let start = page.target_rows.len();
            page.target_rows.extend(targets);
            page.blocks.push(Block::new(family, name, start..page.target_rows.len()));
        }
        page.identities = identities
            .into_iter()
            .map(|labels| LabelText { text: pairs(&labels).into(), labels: Arc::new(labels) })
            .collect();
        page
    }

    /// Number of series, present or not.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The JVMs that have series in the block, by index, with these series.
    pub(super) fn rows(&self, block: &Block) -> impl Iterator<Item = (u32, &[Row])> {
        let targets = self.target_rows.get(block.targets.clone()).unwrap_or_default();
        targets.iter().map(|rows| (rows.target, self.row_lists.get(rows.list as usize).map_or(&[][..], |list| list)))
    }
}

impl Block {
    fn new(family: &Arc<Family>, name: Box<str>, targets: Range<usize>) -> Self {
        let total = if family.kind == Kind::Counter { "_total" } else { "" };
        let open = format!("{name}{total}{{").into();
        Self { family: Arc::clone(family), name, open, targets }
    }

    /// A block of the exporter's own series, which is on no page.
    pub(super) fn of_exporter(family: &Family) -> Self {
        Self::new(&Arc::new(family.clone()), family.prometheus().into(), 0..0)
    }
}

/// The text between the labels of the JVM and the value; `first` if the JVM has no labels.
pub(super) fn closing(labels: &Labels, first: bool) -> Box<str> {
    match (labels.is_empty(), first) {
        (true, true) => " ".into(),
        (true, false) => "} ".into(),
        (false, true) => format!("{}}} ", pairs(labels)).into(),
        (false, false) => format!(",{}}} ", pairs(labels)).into(),
    }
}

/// `a="b",c="d"`, escaped.
fn pairs(labels: &Labels) -> String {
    let pair = |(name, value): (&str, &str)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{}=\"{value}\"", label_name(name))
    };
    labels.iter().map(pair).collect::<Vec<_>>().join(",")
}
