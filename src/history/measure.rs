//! What has a history.

use serde::{Deserialize, Serialize};

/// A quantity with a history.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    strum::EnumCount,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Measure {
    /// Bytes in use in the whole heap.
    HeapUsed,
    /// Bytes in use in eden, or in the young generation where that has no eden.
    EdenUsed,
    /// Bytes in use in the survivor spaces.
    SurvivorUsed,
    /// Bytes in use in the old generation, or what the collector has in its place.
    OldUsed,
    /// Bytes of the heap in use after the last collection.
    LiveSet,
    /// Bytes allocated a second.
    AllocationRate,
    /// Share of the time in which the application stood still, 0 to 1.
    Stopped,
    /// Seconds of the longest pause of a collector.
    LongestPause,
    /// CPUs in use.
    Cpu,
    /// Live platform threads.
    Threads,
    /// Resident bytes.
    Rss,
    /// Bytes of native memory committed, by Native Memory Tracking.
    NativeCommitted,
}

impl Measure {
    /// One value for several points of a history: the highest where a short peak matters, else the mean. `None` where
    /// none is known.
    pub(super) fn condense(self, points: impl Iterator<Item = Option<f32>>) -> Option<f32> {
        let (mut count, mut sum, mut highest) = (0_u16, 0.0, f32::MIN);
        for point in points.flatten() {
            count += 1;
            sum += f64::from(point);
            highest = highest.max(point);
        }
        match self {
            _ if count == 0 => None,
            Self::Stopped | Self::LongestPause => Some(highest),
            _ => Some((sum / f64::from(count)) as f32),
        }
    }
}
