//! A provider's facts and values of one JVM; a fact is added when its first value appears.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Fact, FactLabels, Formula, ProviderId, PublishedId, Reading, catalogue, intern};
use crate::metric::{Kind, Value};

/// How long a fact without a value keeps other sources from publishing it, and how long it is left to them then: the
/// source of a fact changes at most once in this time.
const HOLD: Duration = Duration::from_secs(60);

/// Facts and their current values. The set changes only by growing, unless its provider calls
/// [`ValueTable::release_absent`]; an unknown value is `None`.
#[derive(Debug)]
pub(crate) struct ValueTable {
    provider: ProviderId,
    /// As last read; interned.
    facts: Arc<[Fact]>,
    /// Added since the last read.
    added: Vec<Fact>,
    /// The values of `facts`, then of `added`.
    values: Vec<Option<Value>>,
    /// Index after the value set last: a provider sets its values in the same order every time.
    next: usize,
    /// Since when each fact has no value; as long as `values` after [`Self::release_absent`].
    absent_since: Vec<Option<Instant>>,
    /// Facts that were released, and when.
    released: Vec<(&'static str, FactLabels, Instant)>,
}

impl ValueTable {
    /// An empty table.
    pub(crate) fn new(provider: ProviderId) -> Self {
        Self {
            provider,
            facts: Arc::new([]),
            added: Vec::new(),
            values: Vec::new(),
            next: 0,
            absent_since: Vec::new(),
            released: Vec::new(),
        }
    }

    /// Sets every value to unknown.
    pub(crate) fn clear(&mut self) {
        self.values.fill(None);
        self.next = 0;
    }

    /// Sets the values of all facts to unknown whose name `is_it` accepts.
    pub(crate) fn clear_where(&mut self, is_it: impl Fn(&str) -> bool) {
        for (fact, value) in self.facts.iter().chain(&self.added).zip(&mut self.values) {
            if is_it(fact.name) {
                *value = None;
            }
        }
    }

    /// Sets the value of the fact `name` with these label values. A name that the catalogue lacks is a programming
    /// error; a release build ignores it.
    pub(crate) fn set(&mut self, name: &str, labels: &[&str], value: Value) {
        let Some(at) = self.find(name, labels).or_else(|| self.add(name, labels)) else { return };
        if let Some(current) = self.values.get_mut(at) {
            *current = Some(value);
            self.next = at + 1;
        }
    }

    /// Sets every unknown value to 0 whose fact's name `is_sum` accepts.
    pub(crate) fn zero_unknown(&mut self, is_sum: impl Fn(&str) -> bool) {
        for (fact, value) in self.facts.iter().chain(&self.added).zip(&mut self.values) {
            if value.is_none() && is_sum(fact.name) {
                *value = Some(Value::Int(0));
            }
        }
    }

    /// Keeps other sources from publishing a fact that has no value yet.
    pub(crate) fn claim(&mut self, name: &str, labels: &[&str]) {
        if self.find(name, labels).is_none() {
            self.add(name, labels);
        }
    }

    /// Leaves facts that have had no value for [`HOLD`] to other sources, for at least as long. A counter that had a value
    /// is never left to another source, whose count may be lower. Called after each update.
    pub(crate) fn release_absent(&mut self, now: Instant) {
        self.release_absent_where(now, |_| true);
    }

    /// The same for facts whose name `is_shared` accepts; the others are kept for ever.
    pub(crate) fn release_absent_where(&mut self, now: Instant, is_shared: impl Fn(&str) -> bool) {
        self.absent_since.resize(self.values.len(), Some(now));
        let facts = self.facts.iter().chain(&self.added);
        for ((value, since), fact) in self.values.iter().zip(&mut self.absent_since).zip(facts) {
            *since = match (value, *since) {
                (Some(_), _) => None,
                (None, _) if !is_shared(fact.name) => None,
                (None, None) if fact.kind == Kind::Counter => None,
                (None, since) => since.or(Some(now)),
            };
        }
        self.released.retain(|(_, _, at)| now.saturating_duration_since(*at) < HOLD);
        let is_kept = |since: &Option<Instant>| since.is_none_or(|at| now.saturating_duration_since(at) < HOLD);
        if self.absent_since.iter().all(is_kept) {
            return;
        }
        let facts: Vec<Fact> = self.facts.iter().cloned().chain(std::mem::take(&mut self.added)).collect();
        let (values, since) = (std::mem::take(&mut self.values), std::mem::take(&mut self.absent_since));
        for ((fact, value), since) in facts.into_iter().zip(values).zip(since) {
            if is_kept(&since) {
                let id = PublishedId {
                    provider: self.provider,
                    index: u32::try_from(self.values.len()).unwrap_or(u32::MAX),
                };
                let formula = Formula::Published(id, fact.formula.since());
                self.added.push(Fact { formula, ..fact });
                self.values.push(value);
                self.absent_since.push(since);
            } else {
                self.released.push((fact.name, fact.labels, now));
            }
        }
        self.facts = Arc::new([]);
        self.next = 0;
    }

    /// Has no value any more, and leaves all facts to other sources but counters that had a value.
    pub(crate) fn release_all(&mut self) {
        let now = Instant::now();
        self.release_absent(now);
        self.clear();
        self.release_absent(now);
        self.release_absent(now.checked_add(HOLD).unwrap_or(now));
    }

    /// The facts and their values.
    pub(crate) fn read(&mut self) -> Reading {
        if !self.added.is_empty() {
            let added = std::mem::take(&mut self.added);
            self.facts = intern(self.facts.iter().cloned().chain(added).collect());
        }
        (Arc::clone(&self.facts), self.values.clone())
    }

    /// The index of the fact of that name with these label values.
    fn find(&self, name: &str, labels: &[&str]) -> Option<usize> {
        let is_it = |at: &usize| {
            let fact = self.facts.get(*at).or_else(|| self.added.get(at.checked_sub(self.facts.len())?));
            fact.is_some_and(|fact| {
                fact.name == name && fact.labels.iter().map(|(_, value)| &**value).eq(labels.iter().copied())
            })
        };
        (self.next..self.values.len()).chain(0..self.next).find(is_it)
    }

    fn add(&mut self, name: &str, labels: &[&str]) -> Option<usize> {
        let info = catalogue::find(name);
        debug_assert!(info.is_some(), "{name} is not in the catalogue");
        let info = info?;
        let is_it = |fact: &FactLabels| fact.iter().map(|(_, value)| &**value).eq(labels.iter().copied());
        if self.released.iter().any(|(released, of, _)| *released == name && is_it(of)) {
            return None;
        }
        let at = self.values.len();
        let published = PublishedId { provider: self.provider, index: u32::try_from(at).unwrap_or(u32::MAX) };
        let labels = info.labels.iter().copied().zip(labels.iter().map(|label| Box::from(*label))).collect();
        self.added.extend(Fact::of(info.name, labels, Some(Formula::Published(published, info.since))));
        self.values.push(None);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_change_only_when_one_is_new() {
        let mut table = ValueTable::new(ProviderId::Nmt);
        table.set("nmt.malloc", &["x"], Value::Int(1));
        table.set("nmt.tracking_overhead", &[], Value::Int(9));
        let (facts, _) = table.read();
        assert_eq!(facts[0].labels, [("category", "x".into())]);

        table.clear();
        table.set("nmt.malloc", &["x"], Value::Int(2));
        let (same, values) = table.read();
        assert!(Arc::ptr_eq(&facts, &same));
        assert_eq!(values, [Some(Value::Int(2)), None]);

        table.set("nmt.malloc", &["y"], Value::Int(3));
        assert_eq!(table.read().0.len(), 3);

        let mut twin = ValueTable::new(ProviderId::Nmt);
        for (name, labels) in [("nmt.malloc", &["x"][..]), ("nmt.tracking_overhead", &[]), ("nmt.malloc", &["y"])] {
            twin.set(name, labels, Value::Int(4));
        }
        assert!(Arc::ptr_eq(&twin.read().0, &table.read().0), "equal facts are interned");
    }

    #[test]
    fn a_fact_without_values_is_left_to_others_for_a_minute() {
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let mut table = ValueTable::new(ProviderId::Introspection);
        let set = |table: &mut ValueTable, at: Instant, heap: bool| {
            table.clear();
            if heap {
                table.set("heap.used", &[], Value::Int(1));
            }
            table.set("heap.limit", &[], Value::Int(2));
            table.release_absent(at);
            let (facts, values) = table.read();
            let value = |fact: &Fact| match fact.formula {
                Formula::Published(id, _) => values[id.index as usize].clone(),
                _ => None,
            };
            facts.iter().map(|fact| (fact.name, value(fact))).collect::<Vec<_>>()
        };
        let (used, limit) = (("heap.used", Some(Value::Int(1))), ("heap.limit", Some(Value::Int(2))));
        assert_eq!(set(&mut table, begin, true), [used.clone(), limit.clone()]);
        assert_eq!(set(&mut table, begin + second, false), [("heap.used", None), limit.clone()]);
        assert_eq!(set(&mut table, begin + 60 * second, false), [("heap.used", None), limit.clone()]);
        assert_eq!(set(&mut table, begin + 61 * second, false), std::slice::from_ref(&limit));
        assert_eq!(
            set(&mut table, begin + 120 * second, true),
            std::slice::from_ref(&limit),
            "it was left to others at 61 s"
        );
        assert_eq!(set(&mut table, begin + 121 * second, true), std::slice::from_ref(&limit));
        assert_eq!(set(&mut table, begin + 122 * second, true), [limit, used]);
    }

    #[test]
    fn a_counter_changes_its_source_only_before_its_first_value() {
        let (begin, minute) = (Instant::now(), Duration::from_secs(60));
        let mut table = ValueTable::new(ProviderId::Introspection);
        table.claim("alloc.bytes", &[]);
        table.claim("code_cache.full", &[]);
        table.set("code_cache.full", &[], Value::Int(1));
        table.release_absent(begin);
        assert_eq!(table.read().0.len(), 2);
        table.clear();
        table.release_absent(begin + minute);
        table.release_absent(begin + 3 * minute);
        let (facts, values) = table.read();
        assert_eq!((facts[0].name, facts.len(), values), ("code_cache.full", 1, vec![None]));
    }

    #[test]
    fn a_missing_value_is_zero_only_where_it_is_a_sum() {
        let mut table = ValueTable::new(ProviderId::Nmt);
        table.set("nmt.malloc", &["x"], Value::Int(1));
        table.set("nmt.tracking_overhead", &[], Value::Int(9));
        table.clear();
        table.zero_unknown(|name| name == "nmt.malloc");
        assert_eq!(table.read().1, [Some(Value::Int(0)), None]);
    }
}
