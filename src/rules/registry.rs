//! Interns families, label sets, lists of series and of families: all plans share one copy of each.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Weak};

use super::{PlannedFamily, PlannedSeries, explanation::SkipReason, name::is_of_process, name::is_of_prometheus};
use crate::metric::{Family, Kind, Labels};

/// Most families of one profile: a JVM can publish counters with any names, and captures can make metrics of them.
const FAMILY_MAXIMUM: usize = 10_000;

/// The index of a family in its registry; valid until [`Registry::forget_unused`].
pub(crate) type FamilyId = u32;

/// The interned families, label sets and lists of series of a profile.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    families: Vec<Registered>,
    /// The Prometheus names of every family's samples, so that no two families write the same line. Hashed with a
    /// random seed, as labels are: both may come from a JVM.
    names: HashMap<Box<str>, FamilyId>,
    labels: HashSet<Arc<Labels>>,
    /// Lists of series by the hash of their content.
    series: HashMap<u64, Vec<Arc<[PlannedSeries]>>>,
    /// The families of plans, by a hash of their addresses.
    plans: HashMap<u64, Vec<Weak<[PlannedFamily]>>>,
    /// The place of each family among all by its Prometheus name; empty where a family has been added since.
    places: Vec<u32>,
    seed: RandomState,
    /// Metrics of the exporter's own process are on another page: these names are free.
    has_processes: bool,
}

#[derive(Debug)]
struct Registered {
    family: Arc<Family>,
    prometheus: Box<str>,
}

impl Registry {
    /// An empty registry.
    pub(crate) fn new(has_processes: bool) -> Self {
        Self { has_processes, ..Self::default() }
    }

    /// Registers a family. The first family of a name determines kind, unit and help; another kind or unit is a
    /// conflict.
    pub(crate) fn family(&mut self, family: Family) -> Result<FamilyId, SkipReason> {
        let prometheus = family.prometheus();
        if let Some(id) = self.names.get(&*prometheus) {
            let known = self.families.get(*id as usize).ok_or(SkipReason::Conflict)?;
            let same = known.family.kind == family.kind && known.family.unit == family.unit;
            return if same && *known.prometheus == *prometheus { Ok(*id) } else { Err(SkipReason::Conflict) };
        }
        if self.families.len() >= FAMILY_MAXIMUM {
            return Err(SkipReason::Limit);
        }
        let names = sample_names(&prometheus, family.kind);
        let is_taken = |name: &str| is_of_prometheus(name) || !self.has_processes && is_of_process(name);
        if names.iter().any(|name| self.names.contains_key(name) || is_taken(name)) {
            return Err(SkipReason::Conflict);
        }
        let id = FamilyId::try_from(self.families.len()).map_err(|_| SkipReason::Limit)?;
        self.names.extend(names.into_iter().map(|name| (name, id)));
        self.families.push(Registered { family: Arc::new(family), prometheus: prometheus.into() });
        Ok(id)
    }

    pub(crate) fn get(&self, id: FamilyId) -> Option<&Arc<Family>> {
        self.families.get(id as usize).map(|known| &known.family)
    }

    /// Interns a list of series, all of one family.
    pub(crate) fn series(&mut self, series: &[(FamilyId, PlannedSeries)]) -> Option<PlannedFamily> {
        let family = Arc::clone(self.get(series.first()?.0)?);
        let mut hasher = self.seed.build_hasher();
        for (_, planned) in series {
            Arc::as_ptr(&planned.labels).hash(&mut hasher);
            planned.formula.hash(&mut hasher);
        }
        let same_hash = self.series.entry(hasher.finish()).or_default();
        let equal = |known: &&Arc<[PlannedSeries]>| known.iter().eq(series.iter().map(|(_, planned)| planned));
        let interned = same_hash.iter().find(equal).cloned().unwrap_or_else(|| {
            let new: Arc<[PlannedSeries]> = series.iter().map(|(_, planned)| planned.clone()).collect();
            same_hash.push(Arc::clone(&new));
            new
        });
        Some(PlannedFamily { family, series: interned })
    }

    /// Interns the families of a plan, which are interned.
    pub(crate) fn plan(&mut self, families: Vec<PlannedFamily>) -> Arc<[PlannedFamily]> {
        let is_same = |known: &Arc<[PlannedFamily]>| {
            let mut pairs = known.iter().zip(&families);
            let is_one = |(one, other): (&PlannedFamily, &PlannedFamily)| {
                Arc::ptr_eq(&one.family, &other.family) && Arc::ptr_eq(&one.series, &other.series)
            };
            known.len() == families.len() && pairs.all(is_one)
        };
        let mut hasher = self.seed.build_hasher();
        families.iter().for_each(|planned| planned.series.as_ptr().hash(&mut hasher));
        let same_hash = self.plans.entry(hasher.finish()).or_default();
        if let Some(same) = same_hash.iter().filter_map(Weak::upgrade).find(is_same) {
            return same;
        }
        let families: Arc<[PlannedFamily]> = families.into();
        same_hash.push(Arc::downgrade(&families));
        families
    }

    pub(crate) fn labels(&mut self, labels: Labels) -> Arc<Labels> {
        if let Some(interned) = self.labels.get(&labels) {
            return Arc::clone(interned);
        }
        let labels = Arc::new(labels);
        self.labels.insert(Arc::clone(&labels));
        labels
    }

    /// Sorts lists of series by the Prometheus names of their families.
    pub(crate) fn sort_by_name<T>(&mut self, lists: &mut [&[(FamilyId, T)]]) {
        if self.places.len() != self.families.len() {
            let mut ids: Vec<FamilyId> = (0..).zip(&self.families).map(|(id, _)| id).collect();
            ids.sort_by_key(|id| self.families.get(*id as usize).map(|known| &*known.prometheus));
            self.places = vec![0; ids.len()];
            for (place, id) in (0..).zip(ids) {
                if let Some(own) = self.places.get_mut(id as usize) {
                    *own = place;
                }
            }
        }
        lists.sort_unstable_by_key(|list| list.first().and_then(|(id, _)| self.places.get(*id as usize)));
    }

    /// Drops what is not used elsewhere. Invalidates all indexes.
    pub(crate) fn forget_unused(&mut self) {
        self.series.retain(|_, same_hash| {
            same_hash.retain(|series| Arc::strong_count(series) > 1);
            !same_hash.is_empty()
        });
        self.series.shrink_to_fit();
        self.plans.retain(|_, same_hash| {
            same_hash.retain(|plan| plan.strong_count() > 0);
            !same_hash.is_empty()
        });
        self.plans.shrink_to_fit();
        self.places.clear();
        self.labels.retain(|labels| Arc::strong_count(labels) > 1);
        self.labels.shrink_to_fit();
        self.families.retain(|known| Arc::strong_count(&known.family) > 1);
        self.names.clear();
        for (id, known) in (0..).zip(&self.families) {
            self.names.extend(sample_names(&known.prometheus, known.family.kind).into_iter().map(|name| (name, id)));
        }
    }
}

/// The Prometheus names of a family's samples, its own name first.
fn sample_names(prometheus: &str, kind: Kind) -> Vec<Box<str>> {
    let suffixes: &[&str] = match kind {
        Kind::Counter => &["", "_total"],
        Kind::Histogram => &["", "_bucket", "_sum", "_count"],
        Kind::Summary => &["", "_sum", "_count"],
        Kind::Gauge | Kind::UpDownCounter | Kind::Info => &[""],
    };
    suffixes.iter().map(|suffix| format!("{prometheus}{suffix}").into()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn family(name: &str, kind: Kind, unit: &str) -> Family {
        Family { name: name.into(), unit: unit.into(), kind, help: "".into() }
    }

    #[test]
    fn no_two_families_write_the_same_line() {
        let mut registry = Registry::default();
        let used = registry.family(family("jvm.memory.used", Kind::Gauge, "By")).unwrap();
        for (name, kind, unit, expected) in [
            ("jvm.memory.used", Kind::Gauge, "By", Ok(used)),
            ("jvm_memory_used_bytes", Kind::Gauge, "By", Ok(used)),
            ("jvm.memory.used", Kind::UpDownCounter, "By", Err(SkipReason::Conflict)),
            ("jvm.memory.used.bytes", Kind::Gauge, "", Err(SkipReason::Conflict)),
            ("gc", Kind::Summary, "s", Ok(used + 1)),
            ("gc.seconds.count", Kind::Gauge, "", Err(SkipReason::Conflict)),
            ("a.total", Kind::Gauge, "", Ok(used + 2)),
            ("a", Kind::Counter, "", Err(SkipReason::Conflict)),
            ("process.resident_memory", Kind::Gauge, "By", Err(SkipReason::Conflict)),
            ("process.cpu", Kind::Counter, "s", Err(SkipReason::Conflict)),
        ] {
            assert_eq!(registry.family(family(name, kind, unit)), expected, "{name} {kind:?} {unit}");
        }
    }

    #[test]
    fn unused_families_and_labels_are_dropped() {
        let mut registry = Registry::default();
        let gone = registry.family(family("b", Kind::Gauge, "")).unwrap();
        let kept = registry.family(family("a", Kind::Gauge, "")).unwrap();
        assert_eq!(
            (
                registry.families[gone as usize].prometheus.to_string(),
                registry.families[kept as usize].prometheus.to_string()
            ),
            ("b".to_owned(), "a".to_owned())
        );
        let held = Arc::clone(registry.get(kept).unwrap());
        let labels = registry.labels(Labels::new([("x", "1")]));
        registry.labels(Labels::new([("x", "2")]));
        registry.forget_unused();
        assert_eq!((registry.families.len(), registry.labels.len()), (1, 1));
        let again = registry.family(family("a", Kind::Gauge, "")).unwrap();
        assert!(Arc::ptr_eq(registry.get(again).unwrap(), &held));
        assert!(Arc::ptr_eq(&registry.labels(Labels::new([("x", "1")])), &labels));
    }
}
