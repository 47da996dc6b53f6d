//! The facts and cells of one JVM's board, added as their values first appear.

use std::sync::Arc;

use crate::formula::{BoardId, CellId, Formula, Since};
use crate::hotspot::{Fact, SourceInfo};
use crate::metric::Value;
use crate::snapshot::{Reading, share};

/// Facts and their current values. A fact stays once it is there, so the set changes only when it grows; a value that
/// is not known now is absent.
#[derive(Debug)]
pub struct Sheet {
    board: BoardId,
    sources: &'static [SourceInfo],
    /// What a source counts from.
    since: fn(&str) -> Since,
    /// As last read: JVMs with equal facts have the same ones.
    facts: Arc<[Fact]>,
    /// Those that were not read yet.
    added: Vec<Fact>,
    /// Of `facts`, then of `added`.
    values: Vec<Option<Value>>,
    /// Where the value after the last one set is: values come in the same order every time.
    next: usize,
}

impl Sheet {
    /// An empty sheet for values of these sources, each of which counts from what `since` says.
    pub fn new(board: BoardId, sources: &'static [SourceInfo], since: fn(&str) -> Since) -> Self {
        Self { board, sources, since, facts: Arc::new([]), added: Vec::new(), values: Vec::new(), next: 0 }
    }

    /// Makes every value unknown.
    pub fn clear(&mut self) {
        self.values.fill(None);
        self.next = 0;
    }

    /// Sets the value of `source` with these label values. A name that is not among the sources is a programming
    /// error; a release build leaves it out.
    pub fn set(&mut self, source: &str, labels: &[&str], value: Value) {
        let Some(source) = self.sources.iter().find(|declared| declared.name == source) else {
            debug_assert!(false, "{source} is not declared");
            return;
        };
        let at = self.find(source.name, labels).unwrap_or_else(|| self.add(source, labels));
        if let Some(cell) = self.values.get_mut(at) {
            *cell = Some(value);
            self.next = at + 1;
        }
    }

    /// Sets every unknown value of a source that `is_sum` accepts to 0.
    pub fn zero_unknown(&mut self, is_sum: impl Fn(&str) -> bool) {
        for (fact, value) in self.facts.iter().chain(&self.added).zip(&mut self.values) {
            if value.is_none() && is_sum(fact.source) {
                *value = Some(Value::Int(0));
            }
        }
    }

    /// The facts and their values.
    pub fn read(&mut self) -> Reading {
        if !self.added.is_empty() {
            let added = std::mem::take(&mut self.added);
            self.facts = share(self.facts.iter().cloned().chain(added).collect());
        }
        (Arc::clone(&self.facts), self.values.clone())
    }

    /// Where the value of that source with these label values is.
    fn find(&self, source: &str, labels: &[&str]) -> Option<usize> {
        let is_it = |at: &usize| {
            let fact = self.facts.get(*at).or_else(|| self.added.get(at.checked_sub(self.facts.len())?));
            fact.is_some_and(|fact| {
                fact.source == source && fact.labels.iter().map(|(_, value)| &**value).eq(labels.iter().copied())
            })
        };
        (self.next..self.values.len()).chain(0..self.next).find(is_it)
    }

    fn add(&mut self, source: &'static SourceInfo, labels: &[&str]) -> usize {
        let at = self.values.len();
        let cell = CellId { board: self.board, index: u32::try_from(at).unwrap_or(u32::MAX) };
        self.added.push(Fact {
            source: source.name,
            labels: source.labels.iter().copied().zip(labels.iter().map(|label| Box::from(*label))).collect(),
            kind: source.kind,
            unit: source.unit,
            formula: Formula::Cell(cell, (self.since)(source.name)),
        });
        self.values.push(None);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Kind;

    const SOURCES: &[SourceInfo] = &[
        SourceInfo { name: "a.sum", labels: &["category"], kind: Kind::Gauge, unit: "By", help: "A sum." },
        SourceInfo { name: "a.peak", labels: &[], kind: Kind::Gauge, unit: "By", help: "A peak." },
    ];

    #[test]
    fn facts_change_only_when_one_is_new() {
        let mut sheet = Sheet::new(BoardId::Nmt, SOURCES, |_| Since::Start);
        sheet.set("a.sum", &["x"], Value::Int(1));
        sheet.set("a.peak", &[], Value::Int(9));
        let (facts, _) = sheet.read();
        assert_eq!(facts[0].labels, [("category", "x".into())]);

        sheet.clear();
        sheet.set("a.sum", &["x"], Value::Int(2));
        let (same, values) = sheet.read();
        assert!(Arc::ptr_eq(&facts, &same));
        assert_eq!(values, [Some(Value::Int(2)), None]);

        sheet.set("a.sum", &["y"], Value::Int(3));
        assert_eq!(sheet.read().0.len(), 3);

        let mut twin = Sheet::new(BoardId::Nmt, SOURCES, |_| Since::Start);
        for (source, labels) in [("a.sum", &["x"][..]), ("a.peak", &[]), ("a.sum", &["y"])] {
            twin.set(source, labels, Value::Int(4));
        }
        assert!(Arc::ptr_eq(&twin.read().0, &sheet.read().0), "equal facts are one");
    }

    #[test]
    fn what_vanished_is_zero_only_where_it_is_a_sum() {
        let mut sheet = Sheet::new(BoardId::Nmt, SOURCES, |_| Since::Start);
        sheet.set("a.sum", &["x"], Value::Int(1));
        sheet.set("a.peak", &[], Value::Int(9));
        sheet.clear();
        sheet.zero_unknown(|source| source == "a.sum");
        assert_eq!(sheet.read().1, [Some(Value::Int(0)), None]);
    }
}
