//! The facts and cells of one JVM's board, added as their values first appear.

use std::collections::HashMap;
use std::sync::Arc;

use crate::formula::{BoardId, CellId, Formula};
use crate::hotspot::{Fact, SourceInfo};
use crate::metric::Value;
use crate::snapshot::Reading;

/// A source's name and the values of its labels.
type Key = (&'static str, Box<[Box<str>]>);

/// Facts and their current values. A fact stays once it is there, so the set changes only when it grows; a value that
/// is not known now is absent.
#[derive(Debug)]
pub struct Sheet {
    board: BoardId,
    sources: &'static [SourceInfo],
    index: HashMap<Key, usize>,
    facts: Arc<[Fact]>,
    values: Vec<Option<Value>>,
}

impl Sheet {
    /// An empty sheet for values of these sources.
    pub fn new(board: BoardId, sources: &'static [SourceInfo]) -> Self {
        Self { board, sources, index: HashMap::new(), facts: Arc::new([]), values: Vec::new() }
    }

    /// Makes every value unknown.
    pub fn clear(&mut self) {
        self.values.fill(None);
    }

    /// Sets the value of `source` with these label values. A name that is not among the sources is a programming
    /// error; a release build leaves it out.
    pub fn set(&mut self, source: &str, labels: &[&str], value: Value) {
        let Some(source) = self.sources.iter().find(|declared| declared.name == source) else {
            debug_assert!(false, "{source} is not declared");
            return;
        };
        let key = (source.name, labels.iter().map(|label| Box::from(*label)).collect());
        match self.index.get(&key).and_then(|at| self.values.get_mut(*at)) {
            Some(cell) => *cell = Some(value),
            None => self.add(source, key, value),
        }
    }

    /// Sets every unknown value of a source that `is_sum` accepts to 0.
    pub fn zero_unknown(&mut self, is_sum: impl Fn(&str) -> bool) {
        for (fact, value) in self.facts.iter().zip(&mut self.values) {
            if value.is_none() && is_sum(fact.source) {
                *value = Some(Value::Int(0));
            }
        }
    }

    /// The facts and their values.
    pub fn read(&self) -> Reading {
        (Arc::clone(&self.facts), self.values.clone())
    }

    fn add(&mut self, source: &'static SourceInfo, key: Key, value: Value) {
        let at = self.values.len();
        let Ok(cell) = u32::try_from(at) else { return };
        let fact = Fact {
            source: source.name,
            labels: source.labels.iter().copied().zip(key.1.iter().cloned()).collect(),
            kind: source.kind,
            unit: source.unit,
            formula: Formula::Cell(CellId { board: self.board, index: cell }),
        };
        self.facts = self.facts.iter().cloned().chain([fact]).collect();
        self.values.push(Some(value));
        self.index.insert(key, at);
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
        let mut sheet = Sheet::new(BoardId::Nmt, SOURCES);
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
    }

    #[test]
    fn what_vanished_is_zero_only_where_it_is_a_sum() {
        let mut sheet = Sheet::new(BoardId::Nmt, SOURCES);
        sheet.set("a.sum", &["x"], Value::Int(1));
        sheet.set("a.peak", &[], Value::Int(9));
        sheet.clear();
        sheet.zero_unknown(|source| source == "a.sum");
        assert_eq!(sheet.read().1, [Some(Value::Int(0)), None]);
    }
}
