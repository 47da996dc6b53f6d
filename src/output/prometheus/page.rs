//! The layout of the output of one profile.

#![allow(clippy::disallowed_types, reason = "keys are addresses")]

use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::protobuf;
use crate::fact::{Formula, Since};
use crate::metric::{Family, Kind, Labels, label_name};
use crate::rules::PlannedSeries;

/// The series of every JVM, grouped by family in the order of the families' Prometheus names.
///
/// A series consists of three pieces before its value: of the family, of the JVM, and of the series' own labels, each as
/// text and as protobuf. JVMs with the same list of series share its rows, so that a page of a thousand JVMs stays small,
/// and the rows stay in the processor's cache.
#[derive(Debug, Default)]
pub struct Page {
    pub(super) blocks: Vec<Block>,
    pub(super) identities: Vec<LabelPieces>,
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
    pub(super) text: FamilyText,
    /// The fields before the series of a `MetricFamily`.
    pub(super) encoded: Box<[u8]>,
    /// Indexes in [`Page::target_rows`].
    targets: Range<usize>,
}

/// The names with which lines of a family begin.
#[derive(Debug)]
pub(super) struct FamilyText {
    /// [`Family::prometheus`], rendered once.
    pub(super) name: Box<str>,
    /// `name{`, with `_total` if it is a counter.
    pub(super) open: Box<str>,
    /// `name_created{`
    pub(super) created: Box<str>,
}

/// The rows of one JVM in a block.
#[derive(Clone, Copy, Debug)]
struct TargetRows {
    target: u32,
    /// Index in [`Page::row_lists`].
    list: u32,
}

/// Labels in every form.
#[derive(Debug)]
pub(super) struct LabelPieces {
    /// For a JVM: `a="b",c="d"`. For a series: the text between that and the value, `,e="f"} `.
    pub(super) text: Box<str>,
    /// `LabelPair` fields of a `Metric`.
    pub(super) encoded: Box<[u8]>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) labels: LabelPieces,
    /// The value, over the words that are read for a JVM.
    pub(super) formula: Formula,
    /// When a cumulative value was zero.
    pub(super) since: Since,
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
                page.row_lists.push(series.iter().map(|planned| Row::of(planned, first)).collect());
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
            page.blocks.push(Block {
                family: Arc::clone(family),
                encoded: protobuf::head(family, &name).into(),
                text: FamilyText::of(family, name),
                targets: start..page.target_rows.len(),
            });
        }
        let pieces = |labels: &Labels| LabelPieces { text: pairs(labels).into(), encoded: protobuf::labels(labels) };
        page.identities = identities.iter().map(pieces).collect();
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
    pub(super) fn rows(&self, block: &Block) -> impl ExactSizeIterator<Item = (u32, &[Row])> {
        let targets = self.target_rows.get(block.targets.clone()).unwrap_or_default();
        targets.iter().map(|rows| (rows.target, self.row_lists.get(rows.list as usize).map_or(&[][..], |list| list)))
    }
}

impl Row {
    /// `first` if no JVM has labels.
    fn of(planned: &PlannedSeries, first: bool) -> Self {
        let labels = LabelPieces { text: closing(&planned.labels, first), encoded: protobuf::labels(&planned.labels) };
        Self { labels, formula: planned.formula.clone(), since: planned.formula.since() }
    }
}

impl FamilyText {
    /// `name` is the family's name in Prometheus.
    pub(super) fn of(family: &Family, name: Box<str>) -> Self {
        let total = if family.kind == Kind::Counter { "_total" } else { "" };
        let (open, created) = (format!("{name}{total}{{").into(), format!("{name}_created{{").into());
        Self { name, open, created }
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
