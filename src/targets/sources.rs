//! Which source a fact is taken from, where several have it.
//!
//! Fields in the JVM's memory are as fresh as they can be, the JVM's answers are as old as its last question, and the
//! region's counters may be older still, or wrong. A provider publishes only what it knows better than the region, and
//! leaves a fact to others when it has had no value for a minute (`ValueTable::release_absent`), so the order is fixed.

#![allow(clippy::disallowed_types, reason = "keys are static texts")]

use rustc_hash::FxHashMap;

use crate::fact::{AttachedProvider, Fact, Formula, ProviderId};

/// The facts of a JVM, each from one source: those of its region, then those of its providers.
pub(crate) fn merge(region: Vec<Fact>, providers: &[AttachedProvider]) -> Vec<Fact> {
    // Few facts have several sources, and their names tell.
    let mut preferred: FxHashMap<&'static str, Vec<(u8, &Fact)>> = FxHashMap::default();
    for attached in providers.iter().filter(|attached| preference(attached.id) > 0) {
        for fact in &*attached.facts {
            preferred.entry(fact.name).or_default().push((preference(attached.id), fact));
        }
    }
    let is_best = |own: u8, fact: &Fact| {
        let rivals = preferred.get(fact.name).map(Vec::as_slice).unwrap_or_default();
        !rivals.iter().any(|(other, rival)| *other > own && shared_labels(rival).eq(shared_labels(fact)))
    };
    let mut facts = region;
    facts.retain(|fact| is_best(0, fact));
    for attached in providers {
        let own = preference(attached.id);
        facts.extend(attached.facts.iter().filter(|fact| is_best(own, fact)).cloned());
    }
    let areas = ["used", "committed"].map(|amount| non_heap(&facts, amount));
    facts.extend(areas.into_iter().flatten());
    facts.extend(old_usage(&facts));
    facts
}

/// The higher, the better.
fn preference(provider: ProviderId) -> u8 {
    match provider {
        ProviderId::Process | ProviderId::Sampler => 0,
        ProviderId::Nmt => 1,
        ProviderId::Diagnostics => 2,
        ProviderId::Introspection => 3,
    }
}

/// The labels by which two sources mean one fact: `mode` says how a source knows, and the region has no states of threads.
fn shared_labels(fact: &Fact) -> impl Iterator<Item = &(&'static str, Box<str>)> {
    let has_states = fact.name == "thread.count";
    fact.labels.iter().filter(move |(label, _)| *label != "mode" && !(has_states && *label == "state"))
}

/// The area outside the heap as MemoryMXBean adds it: every pool's memory, which counts Compressed Class Space twice,
/// since Metaspace includes it (memory.cpp, JDK 8 to 27). Absent where code heaps or Metaspace are unknown.
fn non_heap(facts: &[Fact], amount: &str) -> Option<Fact> {
    let (pool, area) = match amount {
        "used" => ("pool.used", "area.used"),
        _ => ("pool.committed", "area.committed"),
    };
    let label =
        |fact: &Fact, name| fact.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.clone());
    let pools = || facts.iter().filter(|fact| fact.name == pool && label(fact, "type").as_deref() == Some("non_heap"));
    let has = |prefix: &str| pools().any(|fact| label(fact, "pool").is_some_and(|pool| pool.starts_with(prefix)));
    if !(has("Code") && has("Metaspace")) {
        return None;
    }
    let parts = pools().map(|fact| zero_without_class_space(fact, label(fact, "pool"))).collect();
    Fact::of(area, vec![("area", "nonheap".into())], Some(Formula::Total(parts)))
}

/// A JVM writes both sizes at once, and every other source has both, so beside a Metaspace that has a value a 0 of the region
/// says that there is no class space (ZGC of JDK 11, `-XX:-UseCompressedClassPointers`).
fn zero_without_class_space(fact: &Fact, pool: Option<Box<str>>) -> Formula {
    match &fact.formula {
        Formula::FirstNonZero(words, scale) if pool.as_deref() == Some("Compressed Class Space") => match **words {
            [word] => Formula::Word(word, *scale),
            _ => fact.formula.clone(),
        },
        formula => formula.clone(),
    }
}

/// The share of the old generation in use after the last collection.
fn old_usage(facts: &[Fact]) -> Option<Fact> {
    let limit = facts.iter().find(|fact| fact.name == "old.limit")?;
    // The old generation is the last pool of every collector that has one.
    let after = facts.iter().rfind(|fact| fact.name == "pool.after_gc")?;
    let parts = Box::new((after.formula.clone(), limit.formula.clone()));
    Fact::of("old.usage_after_gc", Vec::new(), Some(Formula::Ratio(parts)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::fact::{Provider, Reading, Scale, ValueTable};
    use crate::metric::Value;

    #[derive(Debug)]
    struct Fixed(Reading);

    impl Provider for Fixed {
        fn read(&self) -> Reading {
            self.0.clone()
        }
    }

    fn provider(id: ProviderId, facts: &[(&str, &[&str])]) -> AttachedProvider {
        let mut table = ValueTable::new(id);
        facts.iter().for_each(|(name, labels)| table.set(name, labels, Value::Int(1)));
        let reading = table.read();
        AttachedProvider { id, facts: Arc::clone(&reading.0), provider: Arc::new(Fixed(reading)) }
    }

    #[test]
    fn each_fact_has_the_freshest_source() {
        let word = |name, labels| Fact::of(name, labels, Some(Formula::Constant(Value::Int(0)))).unwrap();
        let metaspace = || vec![("pool", "Metaspace".into()), ("type", "non_heap".into())];
        let region = vec![
            word("pool.used", metaspace()),
            word("pool.freshness", vec![("pool", "Metaspace".into()), ("mode", "gc".into())]),
            word("thread.live", Vec::new()),
            word("thread.count", vec![("daemon", "true".into()), ("state", "".into())]),
        ];
        assert_eq!(merge(region.clone(), &[]), region);
        let asked = provider(
            ProviderId::Diagnostics,
            &[
                ("pool.used", &["Metaspace", "non_heap"]),
                ("pool.freshness", &["Metaspace", "asked"]),
                ("pool.used", &["CodeCache", "non_heap"]),
            ],
        );
        let live = provider(
            ProviderId::Introspection,
            &[
                ("pool.used", &["CodeCache", "non_heap"]),
                ("thread.count", &["true", "runnable"]),
                ("thread.count", &["true", "blocked"]),
            ],
        );
        let merged = merge(region, &[asked.clone(), live.clone()]);
        let [metaspace, freshness, _] = &*asked.facts else { unreachable!() };
        let names: Vec<_> = merged.iter().map(|fact| fact.name).collect();
        assert_eq!(
            names,
            ["thread.live", "pool.used", "pool.freshness", "pool.used", "thread.count", "thread.count", "area.used"]
        );
        assert_eq!(merged[1..4], [metaspace.clone(), freshness.clone(), live.facts[0].clone()]);
        let Formula::Total(parts) = &merged[6].formula else { unreachable!() };
        assert_eq!(**parts, [metaspace.formula.clone(), live.facts[0].formula.clone()]);
    }

    #[test]
    fn a_jvm_without_class_space_has_an_area_outside_the_heap() {
        let pool = |name: &str, formula| {
            Fact::of("pool.used", vec![("pool", name.into()), ("type", "non_heap".into())], Some(formula)).unwrap()
        };
        let nonzero = |word| Formula::FirstNonZero([word].into(), Scale::One);
        let region = vec![pool("Metaspace", nonzero(8)), pool("Compressed Class Space", nonzero(16))];
        let live = provider(ProviderId::Introspection, &[("pool.used", &["CodeCache", "non_heap"])]);
        let merged = merge(region, std::slice::from_ref(&live));
        let Formula::Total(parts) = &merged.last().unwrap().formula else { unreachable!() };
        assert_eq!(**parts, [nonzero(8), Formula::Word(16, Scale::One), live.facts[0].formula.clone()]);
    }
}
