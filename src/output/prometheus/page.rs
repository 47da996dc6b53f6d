//! The layout of one profile's output.

#![allow(clippy::disallowed_types, reason = "keys are addresses")]

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::fact::Formula;
use crate::metric::{Family, Kind, Labels, label_name};
use crate::rules::Planned;

/// The series of every JVM, grouped by family in the order of the families' Prometheus names.
///
/// A line is three pieces of text before its value: of the family, of the JVM, and of the series' own labels. JVMs whose
/// series of a family are the same list share its rows, so that a page of a thousand JVMs stays small, and what is read
/// again for each of them stays in the processor's cache.
#[derive(Debug, Default)]
pub struct Page {
    pub(super) blocks: Vec<Block>,
    /// Of each JVM.
    pub(super) identities: Vec<LabelText>,
    parts: Vec<Part>,
    groups: Vec<Box<[Row]>>,
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
    parts: Range<usize>,
}

/// One JVM's part of a block.
#[derive(Clone, Copy, Debug)]
struct Part {
    target: u32,
    /// Index in [`Page::groups`].
    group: u32,
}

/// Labels, and the text that they make in a line.
#[derive(Debug)]
pub(super) struct LabelText {
    pub(super) labels: Arc<Labels>,
    /// Of a JVM: `a="b",c="d"`. Of a series: what follows on that up to the value, `,e="f"} `.
    pub(super) text: Box<str>,
}

/// One series of JVMs that are alike: its labels, and where its value comes from.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) labels: LabelText,
    /// Over the words that are gathered for a JVM.
    pub(super) formula: Formula,
}

/// The series of one family of one JVM, as a page takes them in.
#[derive(Clone, Copy, Debug)]
pub struct PageSeries<'a> {
    /// The metric; the same `Arc` for all its series.
    pub family: &'a Arc<Family>,
    /// Index of the JVM.
    pub target: u32,
    /// The same `Arc` for JVMs that have the same ones.
    pub list: &'a Arc<[Planned]>,
}

impl Page {
    /// Lays out the series of the JVMs that have these labels.
    ///
    /// Of one family the JVMs come out in the order in which they came in.
    pub fn new<'a>(identities: Vec<Labels>, series: impl Iterator<Item = PageSeries<'a>>) -> Self {
        let mut page = Self::default();
        let first = identities.iter().all(Labels::is_empty);
        let mut families: FxHashMap<*const Family, usize> = FxHashMap::default();
        let mut blocks: Vec<(&Arc<Family>, Box<str>, Vec<Part>)> = Vec::new();
        let mut groups: FxHashMap<*const [Planned], u32> = FxHashMap::default();
        for PageSeries { family, target, list } in series {
            let block = *families.entry(Arc::as_ptr(family)).or_insert_with(|| {
                blocks.push((family, family.prometheus().into(), Vec::new()));
                blocks.len() - 1
            });
            let group = *groups.entry(Arc::as_ptr(list)).or_insert_with(|| {
                page.groups.push(list.iter().map(|planned| Row::new(planned, first)).collect());
                u32::try_from(page.groups.len() - 1).unwrap_or(u32::MAX)
            });
            blocks[block].2.push(Part { target, group });
            page.length += list.len();
        }
        blocks.sort_by(|a, b| a.1.cmp(&b.1));
        page.parts.reserve_exact(blocks.iter().map(|(_, _, parts)| parts.len()).sum());
        for (family, name, parts) in blocks {
            let start = page.parts.len();
            page.parts.extend(parts);
            page.blocks.push(Block::new(family, name, start..page.parts.len()));
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

    /// The JVMs that have series of that block, by index, with these series.
    pub(super) fn parts(&self, block: &Block) -> impl Iterator<Item = (u32, &[Row])> {
        let parts = self.parts.get(block.parts.clone()).unwrap_or_default();
        parts.iter().map(|part| (part.target, self.groups.get(part.group as usize).map_or(&[][..], |rows| rows)))
    }
}

impl Block {
    fn new(family: &Arc<Family>, name: Box<str>, parts: Range<usize>) -> Self {
        let total = if family.kind == Kind::Counter { "_total" } else { "" };
        let open = format!("{name}{total}{{").into();
        Self { family: Arc::clone(family), name, open, parts }
    }

    /// A block of series that are of no JVM, and so on no page.
    pub(super) fn alone(family: &Family) -> Self {
        Self::new(&Arc::new(family.clone()), family.prometheus().into(), 0..0)
    }
}

impl Row {
    fn new(planned: &Planned, first: bool) -> Self {
        let text = closing(&planned.labels, first);
        Self { labels: LabelText { labels: Arc::clone(&planned.labels), text }, formula: planned.formula.clone() }
    }
}

/// What follows the labels of the JVM in a line, up to the value. `first` says that nothing precedes them.
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
