//! Cumulative values as differences between pushes that arrived.
//!
//! What was told last is kept per series and moves on only when the receiver has taken it: a window that could not be
//! delivered becomes part of the next one.

#![allow(
    clippy::disallowed_types,
    reason = "keys are seeded fingerprints, and identities of which there are at most `limits.max_jvms`"
)]

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::metric::exponential::coarsen;
use crate::metric::{Exponential, Histogram, Value};
use crate::targets::Incarnation;

/// Whose series: a JVM's, or the exporter's own.
pub(super) type Owner = Option<Incarnation>;

/// Fingerprints of a series' family and labels.
pub(super) type SeriesId = (u64, u64);

/// One series' value, and since when it counts, in nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) value: Value,
    pub(super) start: u64,
}

/// A value that was told.
#[derive(Clone, Debug)]
struct Reported {
    value: Value,
    /// When the cumulative value began at zero.
    start: u64,
    /// When the value was read.
    time: u64,
}

/// What has been told of every series that is pushed as differences.
#[derive(Debug)]
pub(super) struct DeltaStore {
    /// Values that began before this moment may have been told by an exporter before this one.
    opened: u64,
    told: FxHashMap<Owner, FxHashMap<SeriesId, Reported>>,
    pending: Vec<(Owner, SeriesId, Reported)>,
    /// Owners that were not among the living when that was asked last.
    absent: FxHashSet<Incarnation>,
}

impl DeltaStore {
    /// Nothing is told yet at `now`.
    pub(super) fn new(now: u64) -> Self {
        Self { opened: now, told: FxHashMap::default(), pending: Vec::new(), absent: FxHashSet::default() }
    }

    /// The growth of a series since it was told last. A series that is seen for the first time and began before the
    /// ledger was opened gives none: from there on it is told, since another exporter may have told what was before.
    pub(super) fn difference(&mut self, owner: Owner, id: SeriesId, point: Point, now: u64) -> Option<Point> {
        let before = self.told.get(&owner).and_then(|series| series.get(&id));
        let difference = match before {
            None if point.start < self.opened => None,
            None => Some(point.clone()),
            // It began anew.
            Some(before) if before.start != point.start => Some(point.clone()),
            Some(before) => {
                subtract(&point.value, &before.value).map(|value| Point { value, start: before.time.max(point.start) })
            }
        };
        self.pending.push((owner, id, Reported { value: point.value, start: point.start, time: now }));
        difference
    }

    /// How much is pending, for [`Self::take_back`].
    pub(super) fn mark(&self) -> usize {
        self.pending.len()
    }

    /// Forgets what became pending after the mark.
    pub(super) fn take_back(&mut self, mark: usize) {
        self.pending.truncate(mark);
    }

    /// The receiver took what is pending.
    pub(super) fn commit(&mut self) {
        for (owner, id, told) in self.pending.drain(..) {
            self.told.entry(owner).or_default().insert(id, told);
        }
    }

    /// Forgets owners that are not among the living for the second time: the last values of one that has just ended may
    /// still have to be told.
    pub(super) fn retain(&mut self, living: &FxHashSet<Incarnation>) {
        let before = std::mem::take(&mut self.absent);
        self.absent = self.told.keys().flatten().filter(|owner| !living.contains(owner)).copied().collect();
        self.told
            .retain(|owner, _| owner.is_none_or(|owner| !self.absent.contains(&owner) || !before.contains(&owner)));
    }

    /// Forgets one JVM.
    pub(super) fn forget(&mut self, jvm: Incarnation) {
        self.told.remove(&Some(jvm));
    }
}

/// `None` where the value went back, which a cumulative value of one life does not.
fn subtract(now: &Value, before: &Value) -> Option<Value> {
    match (now, before) {
        (Value::Int(now), Value::Int(before)) => now.checked_sub(*before).filter(|grown| *grown >= 0).map(Value::Int),
        (Value::Histogram(now), Value::Histogram(before)) => {
            histogram(now, before).map(|grown| Value::Histogram(Arc::new(grown)))
        }
        (Value::Histogram(_), _)
        | (_, Value::Histogram(_))
        | (Value::Summary { .. }, _)
        | (_, Value::Summary { .. }) => None,
        (now, before) => Some(now.as_f64() - before.as_f64()).filter(|grown| *grown >= 0.0).map(Value::Float),
    }
}

fn histogram(now: &Histogram, before: &Histogram) -> Option<Histogram> {
    if now.bounds != before.bounds || now.counts.len() != before.counts.len() {
        return None;
    }
    let exponential = match (&now.exponential, &before.exponential) {
        (Some(now), Some(before)) => Some(buckets(now, before)?),
        _ => None,
    };
    Some(Histogram {
        bounds: Arc::clone(&now.bounds),
        counts: now
            .counts
            .iter()
            .zip(&before.counts)
            .map(|(now, before)| now.checked_sub(*before))
            .collect::<Option<_>>()?,
        sum: (now.sum - before.sum).max(0.0),
        created: now.created,
        exponential,
    })
}

/// The later buckets may be coarser than the earlier ones, never finer.
fn buckets(now: &Exponential, before: &Exponential) -> Option<Exponential> {
    let steps = before.schema.checked_sub(now.schema).filter(|steps| *steps >= 0)?;
    let mut grown = now.clone();
    grown.zero_count = now.zero_count.checked_sub(before.zero_count)?;
    for (index, count) in (before.offset..).zip(&before.counts) {
        if *count == 0 {
            continue;
        }
        let at = usize::try_from(coarsen(index, steps).checked_sub(now.offset)?).ok()?;
        let bucket = grown.counts.get_mut(at)?;
        *bucket = bucket.checked_sub(*count)?;
    }
    Some(grown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SERIES: SeriesId = (1, 2);

    fn point(value: Value, start: u64) -> Point {
        Point { value, start }
    }

    /// Tells one value and, if it arrives, commits.
    fn tell(ledger: &mut DeltaStore, value: Value, start: u64, now: u64, arrives: bool) -> Option<Point> {
        let told = ledger.difference(None, SERIES, point(value, start), now);
        match arrives {
            true => ledger.commit(),
            false => ledger.take_back(0),
        }
        told
    }

    #[test]
    fn windows_touch_and_lost_ones_are_merged() {
        let mut ledger = DeltaStore::new(100);
        let int = |value, start| Some(point(Value::Int(value), start));
        // It began before the ledger: nothing is told of what was before.
        assert_eq!(tell(&mut ledger, Value::Int(5), 50, 110, true), None);
        assert_eq!(tell(&mut ledger, Value::Int(8), 50, 120, true), int(3, 110));
        assert_eq!(tell(&mut ledger, Value::Int(9), 50, 130, false), int(1, 120));
        assert_eq!(tell(&mut ledger, Value::Int(11), 50, 140, true), int(3, 120));
        // It began anew, so all of it is new.
        assert_eq!(tell(&mut ledger, Value::Int(4), 145, 150, true), int(4, 145));
        // A value that goes back is not told, and goes on from there.
        assert_eq!(tell(&mut ledger, Value::Int(2), 145, 160, true), None);
        assert_eq!(tell(&mut ledger, Value::Int(7), 145, 170, true), int(5, 160));
    }

    #[test]
    fn what_begins_later_is_told_from_its_start() {
        let mut ledger = DeltaStore::new(100);
        let told = tell(&mut ledger, Value::Float(2.5), 105, 110, true);
        assert_eq!(told, Some(point(Value::Float(2.5), 105)));
    }

    #[test]
    fn histograms_differ_bucket_by_bucket_also_when_they_have_become_coarser() {
        let histogram = |counts: Vec<u64>, sum, schema, offset, buckets: Vec<u64>| {
            let exponential = Exponential { schema, zero_count: 0, zero_threshold: 0.0, offset, counts: buckets };
            let histogram =
                Histogram { bounds: [1.0].into(), counts, sum, created: 0.0, exponential: Some(exponential) };
            Value::Histogram(Arc::new(histogram))
        };
        // Buckets 1 to 4 of schema 1 are 1 and 2 of schema 0.
        let before = histogram(vec![1, 3], 8.0, 1, 1, vec![1, 0, 1, 2]);
        let now = histogram(vec![2, 5], 15.0, 0, 0, vec![1, 1, 5]);
        let expected = histogram(vec![1, 2], 7.0, 0, 0, vec![1, 0, 2]);
        assert_eq!(subtract(&now, &before), Some(expected));
        assert_eq!(subtract(&before, &now), None, "it never becomes finer");
        assert_eq!(subtract(&now, &Value::Int(1)), None);
    }

    #[test]
    fn the_dead_are_forgotten() {
        let mut ledger = DeltaStore::new(100);
        tell(&mut ledger, Value::Int(5), 200, 210, true);
        let region = crate::discovery::RegionId::Memory { pid: 1, start_ticks: 2, address: 3 };
        let jvm = Incarnation { region, birth: 3 };
        ledger.difference(Some(jvm), SERIES, point(Value::Int(1), 200), 210);
        ledger.commit();
        ledger.retain(&FxHashSet::default());
        assert_eq!(ledger.told.len(), 2, "its last values may still come");
        ledger.retain(&FxHashSet::default());
        assert_eq!(ledger.told.keys().collect::<Vec<_>>(), [&None]);
    }
}
