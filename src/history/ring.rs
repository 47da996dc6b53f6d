//! The points of one measure: a ring that grows to its capacity.

use half::f16;

use super::Measure;

/// Points by which a ring grows: a JVM that lives for seconds has no room for minutes.
const GROWTH: usize = 20;

/// A unit for parts of the heap: half precision is enough from 64 KiB on, and reaches 64 TiB.
const GIBIBYTE: f32 = (1 << 30) as f32;

/// Values by step; an unknown one is NaN. A new ring has no memory.
#[derive(Debug)]
pub(super) enum PointRing {
    /// For bytes.
    Single(Box<[f32]>),
    /// In half the memory, 11 bits exactly, as multiples of the unit: what is above 65,504 units is 65,504 units.
    Half(f32, Box<[f16]>),
}

impl PointRing {
    /// Without points.
    pub(super) fn of(measure: Measure) -> Self {
        match measure {
            Measure::Stopped | Measure::LongestPause | Measure::Cpu | Measure::Threads => {
                Self::Half(1.0, Box::default())
            }
            Measure::EdenUsed | Measure::SurvivorUsed | Measure::OldUsed | Measure::LiveSet => {
                Self::Half(GIBIBYTE, Box::default())
            }
            Measure::HeapUsed | Measure::AllocationRate | Measure::Rss | Measure::NativeCommitted => {
                Self::Single(Box::default())
            }
        }
    }

    /// Writes the value of the step `index`, which has all steps before it; no more than `capacity` are kept.
    pub(super) fn set(&mut self, index: usize, capacity: usize, value: Option<f32>) {
        match self {
            Self::Single(points) => set(points, index, capacity, value, f32::NAN),
            Self::Half(unit, points) => {
                let value = value.map(|value| f16::from_f32((value / *unit).min(f16::MAX.to_f32())));
                set(points, index, capacity, value, f16::NAN);
            }
        }
    }

    /// Whether no value was ever known.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Single(points) => points.is_empty(),
            Self::Half(_, points) => points.is_empty(),
        }
    }

    /// The value of the step `index`, which is also that of the steps that are a multiple of the capacity away.
    pub(super) fn get(&self, index: usize, capacity: usize) -> Option<f32> {
        self.at(index.checked_rem(capacity)?)
    }

    /// The values of the step `index` and of those after it, without end.
    pub(super) fn values(&self, index: usize, capacity: usize) -> impl Iterator<Item = Option<f32>> {
        let mut at = index.checked_rem(capacity).unwrap_or(0);
        std::iter::repeat_with(move || {
            let value = self.at(at);
            at = if at + 1 < capacity { at + 1 } else { 0 };
            value
        })
    }

    fn at(&self, place: usize) -> Option<f32> {
        let value = match self {
            Self::Single(points) => points.get(place).copied(),
            Self::Half(unit, points) => points.get(place).map(|point| point.to_f32() * unit),
        };
        value.filter(|value| !value.is_nan())
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Single(points) => size_of_val(&**points),
            Self::Half(_, points) => size_of_val(&**points),
        }
    }
}

fn set<T: Copy>(points: &mut Box<[T]>, index: usize, capacity: usize, value: Option<T>, unknown: T) {
    if points.is_empty() && value.is_none() {
        return;
    }
    let needed = index.saturating_add(1).min(capacity);
    if points.len() < needed {
        let room = needed.next_multiple_of(GROWTH).min(capacity);
        let mut grown = Vec::with_capacity(room);
        grown.extend_from_slice(points);
        grown.resize(room, unknown);
        *points = grown.into_boxed_slice();
    }
    if let Some(point) = index.checked_rem(capacity).and_then(|at| points.get_mut(at)) {
        *point = value.unwrap_or(unknown);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn get(ring: &PointRing, index: usize) -> Option<f32> {
        let value = ring.get(index, 180);
        assert_eq!(ring.values(index, 180).next(), Some(value));
        value
    }

    fn kept(measure: Measure, value: f32) -> f32 {
        let mut ring = PointRing::of(measure);
        ring.set(0, 180, Some(value));
        get(&ring, 0).unwrap()
    }

    #[test]
    fn half_precision_is_enough_for_a_chart() {
        for (measure, values) in [
            (Measure::Stopped, &[0.0, 1.0, 0.25, 0.1234, 1e-4][..]),
            (Measure::LongestPause, &[0.000_1, 0.012_3, 1.5, 80.0, 4_000.0]),
            (Measure::Cpu, &[0.001, 0.987, 63.9]),
            (Measure::Threads, &[1.0, 38.0, 2_048.0, 5_000.0, 60_000.0]),
            (Measure::EdenUsed, &[0.0, 65_536.0, 1e6, 52_428_800.0, 1e12]),
        ] {
            for value in values {
                let (kept, error) = (kept(measure, *value), value / 2_048.0);
                assert!((kept - value).abs() <= error.max(1e-7), "{measure:?}: {value} became {kept}");
            }
        }
        assert_eq!(kept(Measure::Threads, 1_234.0), 1_234.0, "counts up to 2,048 are exact");
        assert_eq!(kept(Measure::Threads, 1e6), 65_504.0, "and never infinite");
        assert_eq!(kept(Measure::HeapUsed, 4_294_967_296.0), 4_294_967_296.0);
    }

    #[test]
    fn a_ring_grows_with_its_points() {
        let mut ring = PointRing::of(Measure::Cpu);
        ring.set(0, 180, None);
        assert_eq!((ring.size(), get(&ring, 0)), (0, None), "nobody measures it");
        ring.set(3, 180, Some(1.0));
        assert_eq!(ring.size(), GROWTH * 2);
        assert_eq!([2, 3, 4, 183].map(|index| get(&ring, index)), [None, Some(1.0), None, Some(1.0)]);
        ring.set(1_000, 180, Some(2.0));
        assert_eq!((ring.size(), get(&ring, 1_000)), (360, Some(2.0)));
        ring.set(1_000, 180, None);
        assert_eq!(get(&ring, 1_000), None);
    }
}
