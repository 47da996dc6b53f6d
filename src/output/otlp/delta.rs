//! Decides in which form and with which temporality a value is pushed, and computes deltas between the values of
//! successive requests that the receiver accepted: the window of a failed request becomes part of the next one.

#![allow(clippy::disallowed_types, reason = "keys are seeded fingerprints, and at most `limits.max_jvms` incarnations")]

use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use rustc_hash::{FxHashMap, FxHashSet};

use super::body::MetricShape;
use super::encode::nanoseconds;
use super::message::Form;
use crate::config::{HistogramForm, Otlp, Temporality};
use crate::metric::exponential::coarsen;
use crate::metric::{Exponential, Histogram, Kind, Value};
use crate::targets::Incarnation;

/// The owner of a series: a JVM, or `None` for the exporter.
pub(super) type Owner = Option<Incarnation>;

/// Fingerprints of a series' family and labels.
pub(super) type SeriesId = (u64, u64);

/// The value of a series, and when it was zero, in nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) value: Value,
    pub(super) start: u64,
}

#[derive(Clone, Debug)]
struct Reported {
    point: Point,
    /// When the value was read.
    time: u64,
}

/// The last reported value of every series that is pushed as deltas.
#[derive(Debug)]
pub(super) struct DeltaStore {
    temporality: Temporality,
    histograms: HistogramForm,
    /// Of values that were zero before this time, an earlier exporter may have reported a part.
    opened: u64,
    reported: FxHashMap<Owner, FxHashMap<SeriesId, Reported>>,
    /// Values of the current request, which is not acknowledged yet.
    pending: Vec<(Owner, SeriesId, Reported)>,
    /// Owners that were not live at the last call of [`Self::retain`].
    absent: FxHashSet<Incarnation>,
}

impl DeltaStore {
    pub(super) fn new(config: &Otlp, now: u64) -> Self {
        Self {
            temporality: config.temporality,
            histograms: config.histograms,
            opened: now,
            reported: FxHashMap::default(),
            pending: Vec::new(),
            absent: FxHashSet::default(),
        }
    }

    /// Applies a new configuration. The values stay, so that deltas continue.
    pub(super) fn configure(&mut self, config: &Otlp) {
        self.temporality = config.temporality;
        self.histograms = config.histograms;
    }

    /// The metric's message and the point in it. `None` if the value does not fit the kind, or there is no delta.
    pub(super) fn encode(
        &mut self,
        owner: Owner,
        kind: Kind,
        id: SeriesId,
        mut point: Point,
        now: u64,
    ) -> Option<(MetricShape, Point)> {
        let form = match (kind, &point.value) {
            (Kind::Counter | Kind::UpDownCounter, Value::Int(_) | Value::Float(_)) => Form::Sum,
            (Kind::Gauge | Kind::Info, Value::Int(_) | Value::Float(_)) => Form::Gauge,
            (Kind::Summary, Value::Summary { .. }) => Form::Summary,
            (Kind::Histogram, Value::Histogram(histogram)) => {
                point.start = nanoseconds(histogram.created);
                match (self.histograms, &histogram.exponential) {
                    (HistogramForm::Exponential, Some(_)) => Form::Exponential,
                    _ => Form::Histogram,
                }
            }
            _ => return None,
        };
        let is_delta = match self.temporality {
            Temporality::Cumulative => false,
            Temporality::Delta => matches!(kind, Kind::Counter | Kind::Histogram),
            // All values are read as cumulative ones; only cumulative histograms cost a receiver memory.
            Temporality::LowMemory => kind == Kind::Histogram,
        };
        let temporality = if is_delta { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative };
        if form == Form::Gauge {
            point.start = 0;
        }
        if is_delta {
            point = self.delta(owner, id, point, now)?;
        }
        // The start is after `now` where the clock was set back.
        point.start = point.start.min(now);
        Some((MetricShape { form, temporality, is_monotonic: kind == Kind::Counter }, point))
    }

    /// The growth of a series since its last reported value. `None` for the first value of a series that was zero
    /// before the store was opened: another exporter may have reported a part of it.
    fn delta(&mut self, owner: Owner, id: SeriesId, point: Point, now: u64) -> Option<Point> {
        let before = self.reported.get(&owner).and_then(|series| series.get(&id));
        let delta = match before {
            None if point.start < self.opened => None,
            None => Some(point.clone()),
            // The series restarted.
            Some(before) if before.point.start != point.start => Some(point.clone()),
            Some(before) => subtract(&point.value, &before.point.value)
                .map(|value| Point { value, start: before.time.max(point.start) }),
        };
        self.pending.push((owner, id, Reported { point, time: now }));
        delta
    }

    /// The current end of the pending values, for [`Self::rollback`].
    pub(super) fn checkpoint(&self) -> usize {
        self.pending.len()
    }

    /// Discards the values that became pending after the checkpoint.
    pub(super) fn rollback(&mut self, checkpoint: usize) {
        self.pending.truncate(checkpoint);
    }

    /// The receiver has accepted the request: the pending values become the last reported ones.
    pub(super) fn acknowledge(&mut self) {
        for (owner, id, value) in self.pending.drain(..) {
            self.reported.entry(owner).or_default().insert(id, value);
        }
    }

    /// Removes owners that are not live at two calls in a row: last values of a JVM may be reported after its end.
    pub(super) fn retain(&mut self, live: &FxHashSet<Incarnation>) {
        let before = std::mem::take(&mut self.absent);
        self.absent = self.reported.keys().flatten().filter(|owner| !live.contains(owner)).copied().collect();
        self.reported
            .retain(|owner, _| owner.is_none_or(|owner| !self.absent.contains(&owner) || !before.contains(&owner)));
    }

    pub(super) fn remove(&mut self, jvm: Incarnation) {
        self.reported.remove(&Some(jvm));
    }
}

/// `None` where the value has decreased, which a cumulative value does not do without a restart.
fn subtract(now: &Value, before: &Value) -> Option<Value> {
    match (now, before) {
        (Value::Int(now), Value::Int(before)) => now.checked_sub(*before).filter(|grown| *grown >= 0).map(Value::Int),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            Some(now.as_f64() - before.as_f64()).filter(|grown| *grown >= 0.0).map(Value::Float)
        }
        (Value::Histogram(now), Value::Histogram(before)) => {
            histogram(now, before).map(|grown| Value::Histogram(Arc::new(grown)))
        }
        _ => None,
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
    let counts = now.counts.iter().zip(&before.counts).map(|(now, before)| now.checked_sub(*before));
    Some(Histogram {
        bounds: Arc::clone(&now.bounds),
        counts: counts.collect::<Option<_>>()?,
        sum: (now.sum - before.sum).max(0.0),
        created: now.created,
        exponential,
    })
}

/// Buckets become coarser over time, not finer.
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

    /// Pushes one value in a request that the receiver accepts or not.
    fn push(store: &mut DeltaStore, value: Value, start: u64, now: u64, is_accepted: bool) -> Option<Point> {
        let delta = store.delta(None, SERIES, point(value, start), now);
        match is_accepted {
            true => store.acknowledge(),
            false => store.rollback(0),
        }
        delta
    }

    #[test]
    fn windows_are_contiguous_and_failed_ones_are_merged() {
        let mut store = DeltaStore::new(&Otlp::default(), 100);
        let int = |value, start| Some(point(Value::Int(value), start));
        // The series is older than the store: there is no first delta.
        assert_eq!(push(&mut store, Value::Int(5), 50, 110, true), None);
        assert_eq!(push(&mut store, Value::Int(8), 50, 120, true), int(3, 110));
        assert_eq!(push(&mut store, Value::Int(9), 50, 130, false), int(1, 120));
        assert_eq!(push(&mut store, Value::Int(11), 50, 140, true), int(3, 120));
        // After a restart the whole value is new.
        assert_eq!(push(&mut store, Value::Int(4), 145, 150, true), int(4, 145));
        // A decrease gives no delta; the next one starts there.
        assert_eq!(push(&mut store, Value::Int(2), 145, 160, true), None);
        assert_eq!(push(&mut store, Value::Int(7), 145, 170, true), int(5, 160));
    }

    #[test]
    fn a_series_younger_than_the_store_is_reported_from_its_start() {
        let mut store = DeltaStore::new(&Otlp::default(), 100);
        let delta = push(&mut store, Value::Float(2.5), 105, 110, true);
        assert_eq!(delta, Some(point(Value::Float(2.5), 105)));
    }

    #[test]
    fn histograms_are_subtracted_also_when_they_have_become_coarser() {
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
        assert_eq!(subtract(&before, &now), None, "buckets do not become finer");
        assert_eq!(subtract(&now, &Value::Int(1)), None);
    }

    #[test]
    fn ended_jvms_are_removed() {
        let mut store = DeltaStore::new(&Otlp::default(), 100);
        push(&mut store, Value::Int(5), 200, 210, true);
        let region = crate::discovery::RegionId::Memory { pid: 1, start_ticks: 2, address: 3 };
        let jvm = Incarnation { region, start_millis: 3 };
        store.delta(Some(jvm), SERIES, point(Value::Int(1), 200), 210);
        store.acknowledge();
        store.retain(&FxHashSet::default());
        assert_eq!(store.reported.len(), 2, "its last values may still be reported");
        store.retain(&FxHashSet::default());
        assert_eq!(store.reported.keys().collect::<Vec<_>>(), [&None]);
    }

    #[test]
    fn a_clock_set_back_to_before_the_start_does_not_restart_a_sum() {
        let config = Otlp { temporality: Temporality::Delta, ..Otlp::default() };
        let mut store = DeltaStore::new(&config, 50);
        let mut push = |value, now| {
            let point = Point { value: Value::Int(value), start: 1000 };
            let encoded = store.encode(None, Kind::Counter, (1, 2), point, now);
            store.acknowledge();
            encoded.map(|(_, point)| (point.value, point.start))
        };
        assert_eq!(push(5, 100), Some((Value::Int(5), 100)));
        assert_eq!(push(7, 110), Some((Value::Int(2), 110)));
        assert_eq!(push(8, 1020), Some((Value::Int(1), 1000)));
    }
}
