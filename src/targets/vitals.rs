//! What lists, the page and `top` show of a JVM, whatever the rules say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, Weak};

use strum::EnumCount as _;

use crate::fact::{Fact, Formula, ProviderId, PublishedId};
use crate::hotspot::Model;
use crate::rules::WordIndex;
use crate::sync::lock;

/// Formulas of what every list of JVMs shows; `None` where the JVM does not publish it. Each is of the freshest source.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Vitals {
    /// The start in seconds since the epoch.
    pub(crate) start_time: Option<Formula>,
    /// Bytes of counters that did not fit into the region.
    pub(crate) overflow: Option<Formula>,
    /// Bytes in use in the heap.
    pub(crate) heap_used: Option<Formula>,
    /// Committed bytes of the heap.
    pub(crate) heap_committed: Option<Formula>,
    /// Maximum bytes of the heap.
    pub(crate) heap_limit: Option<Formula>,
    /// Bytes in use in the old generation, or the heap's only pool.
    pub(crate) old_used: Option<Formula>,
    /// Bytes in use in eden, or in the young generation where that has no eden.
    pub(crate) eden_used: Option<Formula>,
    /// Bytes in use in the survivor spaces.
    pub(crate) survivor_used: Option<Formula>,
    /// Bytes of the heap in use after the last collection.
    pub(crate) live_set: Option<Formula>,
    /// Share of the old generation in use after the last collection.
    pub(crate) old_usage_after_gc: Option<Formula>,
    /// Bytes allocated.
    pub(crate) allocated: Option<Formula>,
    /// `allocated` is the JVM's own count, which grows with each thread's buffer; else it changes at collections.
    pub(crate) allocation_is_exact: bool,
    /// Seconds in which the application stood still.
    pub(crate) stopped_time: Option<Formula>,
    /// Seconds of collections.
    pub(crate) gc_time: Option<Formula>,
    /// Collections of the whole heap.
    pub(crate) full_collections: Option<Formula>,
    /// Seconds since the pause that runs began.
    pub(crate) pause_age: Option<Formula>,
    /// Live platform threads.
    pub(crate) threads: Option<Formula>,
    /// CPU time of the process in seconds.
    pub(crate) cpu_time: Option<Formula>,
    /// CPUs of the JVM.
    pub(crate) cpu_count: Option<Formula>,
    /// CPUs that the cgroup's quota allows.
    pub(crate) cpu_quota: Option<Formula>,
    /// The quota's periods in which the cgroup was runnable.
    pub(crate) cpu_periods: Option<Formula>,
    /// Those in which it was throttled.
    pub(crate) throttled_periods: Option<Formula>,
    /// Resident bytes.
    pub(crate) rss: Option<Formula>,
    /// Bytes of native memory committed.
    pub(crate) native_committed: Option<Formula>,
    /// Those of the heap.
    pub(crate) native_heap: Option<Formula>,
    /// Bytes charged to the cgroup.
    pub(crate) cgroup_used: Option<Formula>,
    /// Lowest memory limit of the cgroup and those above it.
    pub(crate) cgroup_limit: Option<Formula>,
    /// Processes of the cgroup killed for lack of memory.
    pub(crate) oom_kills: Option<Formula>,
    /// Share of each code heap in use.
    pub(crate) code_usage: Vec<Formula>,
    /// Committed share of what is reserved for code.
    pub(crate) native_code_usage: Option<Formula>,
    /// Share of the limit of metaspace in use.
    pub(crate) metaspace_usage: Option<Formula>,
    /// Share of the limit of the compressed class space in use.
    pub(crate) class_space_usage: Option<Formula>,
    /// Whether the JVM compiles.
    pub(crate) jit_enabled: Option<Formula>,
    /// Whether the JVM tracks its native memory.
    pub(crate) nmt_enabled: Option<Formula>,
    /// The values of each provider that these formulas refer to, as ascending indexes.
    pub(crate) published: [Box<[u32]>; ProviderId::COUNT],
}

impl Vitals {
    /// From the facts of all sources, each of the freshest; shared by all JVMs of one kind.
    pub(super) fn of(model: &Model, facts: &[Fact], words: &mut WordIndex) -> Arc<Self> {
        let find = |name: &str| facts.iter().find(|fact| fact.name == name);
        let mut published = Vec::new();
        let mut index = |formula: Option<Formula>| {
            let formula = formula?;
            published.extend(formula.published());
            Some(formula.map_words(&mut |offset| words.index(offset)))
        };
        let mut fact = |name: &str| index(find(name).map(|fact| fact.formula.clone()));
        let vitals = Self {
            heap_used: fact("heap.used"),
            heap_committed: fact("heap.committed"),
            heap_limit: fact("heap.limit"),
            live_set: fact("heap.live_set"),
            old_usage_after_gc: fact("old.usage_after_gc"),
            allocated: fact("alloc.bytes"),
            stopped_time: fact("safepoint.stopped_time"),
            pause_age: fact("gc.pause_age"),
            threads: fact("thread.live"),
            cpu_time: fact("proc.cpu_time"),
            cpu_count: fact("proc.cpu_count"),
            cpu_quota: fact("cgroup.cpu_quota"),
            cpu_periods: fact("cgroup.cpu_periods"),
            throttled_periods: fact("cgroup.cpu_throttled_periods"),
            rss: fact("proc.memory_resident"),
            native_committed: fact("nmt.total_committed"),
            cgroup_used: fact("cgroup.memory_current"),
            cgroup_limit: fact("cgroup.memory_limit"),
            oom_kills: fact("cgroup.oom_kills"),
            jit_enabled: fact("jit.enabled"),
            nmt_enabled: fact("nmt.enabled"),
            ..Self::default()
        };
        let is_exact = |fact: &Fact| fact.formula.providers().contains(&ProviderId::Introspection);
        let heap = facts.iter().find(|fact| fact.name == "nmt.committed" && label(fact, "category") == "Java Heap");
        let vitals = Self {
            start_time: index(model.start_time.clone()),
            overflow: model.overflow.clone(),
            heap_used: vitals.heap_used.or_else(|| index(model.heap.used())),
            heap_committed: vitals.heap_committed.or_else(|| index(model.heap.committed())),
            heap_limit: vitals.heap_limit.or_else(|| index(model.heap.limit.clone())),
            old_used: index(old_used(facts)),
            eden_used: index(heap_pool(facts, &["Eden"]).or_else(|| heap_pool(facts, &["Young"]))),
            survivor_used: index(heap_pool(facts, &["Survivor"])),
            allocation_is_exact: find("alloc.bytes").is_some_and(is_exact),
            gc_time: index(total(facts, "gc.time", &|_| true)),
            full_collections: index(total(facts, "gc.count", &|fact| label(fact, "action") == "end of major GC")),
            native_heap: index(heap.map(|fact| fact.formula.clone())),
            native_code_usage: index(share(facts, "nmt.committed", "nmt.reserved", ("category", "Code"))),
            metaspace_usage: index(share(facts, "pool.used", "pool.limit", ("pool", "Metaspace"))),
            class_space_usage: index(share(facts, "pool.used", "pool.limit", ("pool", "Compressed Class Space"))),
            code_usage: code_usage(facts).into_iter().filter_map(|usage| index(Some(usage))).collect(),
            ..vitals
        };
        Self { published: by_provider(&published), ..vitals }.interned()
    }

    /// The one copy of these formulas.
    fn interned(self) -> Arc<Self> {
        static INTERNED: Mutex<Vec<Weak<Vitals>>> = Mutex::new(Vec::new());
        let mut interned = lock(&INTERNED);
        interned.retain(|other| other.strong_count() > 0);
        if let Some(same) = interned.iter().filter_map(Weak::upgrade).find(|other| **other == self) {
            return same;
        }
        let vitals = Arc::new(self);
        interned.push(Arc::downgrade(&vitals));
        vitals
    }
}

/// The indexes of each provider, ascending.
fn by_provider(published: &[PublishedId]) -> [Box<[u32]>; ProviderId::COUNT] {
    std::array::from_fn(|provider| {
        let of_it = published.iter().filter(|id| id.provider as usize == provider);
        let indexes: BTreeSet<u32> = of_it.map(|id| id.index).collect();
        indexes.into_iter().collect()
    })
}

fn label<'a>(fact: &'a Fact, name: &str) -> &'a str {
    fact.labels.iter().find(|(label, _)| *label == name).map_or("", |(_, value)| value)
}

/// The sum of the facts of a name that are wanted.
fn total(facts: &[Fact], name: &str, is_wanted: &dyn Fn(&Fact) -> bool) -> Option<Formula> {
    let facts = facts.iter().filter(|fact| fact.name == name && is_wanted(fact));
    let parts: Box<[Formula]> = facts.map(|fact| fact.formula.clone()).collect();
    (!parts.is_empty()).then_some(Formula::Total(parts))
}

/// The use of the pool of long-lived objects: the old generation, or the heap's only pool.
fn old_used(facts: &[Fact]) -> Option<Formula> {
    let mut heap = heap_pools(facts);
    let only = heap.next().filter(|_| heap.next().is_none());
    heap_pool(facts, &["Old", "Tenured"]).or_else(|| only.map(|fact| fact.formula.clone()))
}

/// The use of the pool of the heap that has one of these words in its name.
fn heap_pool(facts: &[Fact], words: &[&str]) -> Option<Formula> {
    let is_it = |fact: &&Fact| words.iter().any(|word| label(fact, "pool").contains(word));
    heap_pools(facts).find(is_it).map(|fact| fact.formula.clone())
}

fn heap_pools(facts: &[Fact]) -> impl Iterator<Item = &Fact> {
    facts.iter().filter(|fact| fact.name == "pool.used" && label(fact, "type") == "heap")
}

/// What share of one fact another is, of two that have this label.
fn share(facts: &[Fact], part: &str, whole: &str, (name, value): (&str, &str)) -> Option<Formula> {
    let find = |wanted: &str| facts.iter().find(|fact| fact.name == wanted && label(fact, name) == value);
    Some(Formula::Ratio(Box::new((find(part)?.formula.clone(), find(whole)?.formula.clone()))))
}

/// The share of each code heap in use. Code that was compiled ahead of time always fills its heap.
fn code_usage(facts: &[Fact]) -> Vec<Formula> {
    let is_code = |fact: &&Fact| label(fact, "pool").starts_with("Code") && label(fact, "pool") != "CodeHeap 'AOT'";
    let used = facts.iter().filter(|fact| fact.name == "pool.used").filter(is_code);
    used.filter_map(|used| share(facts, "pool.used", "pool.limit", ("pool", label(used, "pool")))).collect()
}
