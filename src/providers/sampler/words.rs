//! The words of a sample: their offsets in the region, and a cursor that takes them in the same order.

use super::pause::PauseReading;
use super::sample_plan::SamplePlan;

/// `sun.gc.cause` while no collection runs, in every collector.
pub(super) const NO_GC: &str = "No GC";

/// Bytes of [`NO_GC`] and its NUL.
pub(super) const NO_GC_BYTES: u32 = 6;

/// Words of a change detector: the safepoints, the time in them, and the cause's first bytes, which may lie across two
/// words.
pub(super) const DETECTOR_WORDS: usize = 4;

/// Words of one [`PauseReading`].
pub(super) const PAUSE_WORDS: usize = 4;

impl SamplePlan {
    /// The words of a full sample, in the order in which [`super::jvm`] takes them.
    pub(super) fn full_offsets(&self) -> Vec<u32> {
        let pauses = self.pauses.iter().flat_map(|source| source.offsets);
        let pools = self.pools.iter().flat_map(|pool| pool.used.iter().copied());
        let classes = self.classes.iter().flatten().copied();
        let allocation = self
            .allocation
            .iter()
            .flat_map(|source| std::iter::once(source.tlab).chain(source.old).chain(source.eden.into_iter().flatten()));
        let trace = self.cycles.iter().filter_map(|cycles| cycles.trace);
        pauses
            .chain(self.cause_offsets())
            .chain(trace)
            .chain(pools)
            .chain(self.threads)
            .chain(classes)
            .chain(allocation)
            .collect()
    }

    /// The words that change before a collector does anything, and again when it is done: no collector here pauses
    /// outside of a safepoint, which is counted before threads are stopped and whose time is added when it is over
    /// (`RuntimeService`, `SafepointTracing`; JDK 8 to 27), and concurrent cycles show in the cause. An offset may
    /// occur twice. `None` in a JVM that does not count safepoints.
    pub(super) fn detector_offsets(&self) -> Option<[u32; DETECTOR_WORDS]> {
        let [count, time] = self.safepoints?;
        let mut cause = self.cause_offsets().chain([count, count]);
        Some([count, time, cause.next()?, cause.next()?])
    }

    /// The words of the detector, those of [`super::jvm::JvmSampler::undetected_words`], and those of the gauges in the
    /// order in which [`super::gauge::GaugeLayout`] takes them. `None` without a detector.
    pub(super) fn gauge_offsets(&self) -> Option<Vec<u32>> {
        let invocations = self.pauses.iter().map(|source| source.offsets[0]);
        let old = self.allocation.iter().filter_map(|source| source.old);
        let pools = self.pools.iter().filter(|_| self.heap_peak).flat_map(|pool| pool.used.iter().copied());
        let classes = self.classes.iter().flatten().copied();
        let gauges = pools.chain(self.threads).chain(classes);
        Some(self.detector_offsets()?.into_iter().chain(invocations).chain(old).chain(gauges).collect())
    }

    fn cause_offsets(&self) -> impl Iterator<Item = u32> {
        self.cycles.iter().flat_map(|cycles| cycles.cause.words(NO_GC_BYTES))
    }
}

impl PauseReading {
    /// The reading in these words, which lie in the order of [`PauseSource::offsets`](super::sample_plan::PauseSource::offsets).
    pub(super) fn from_words(words: &[i64]) -> Option<Self> {
        let [invocations, time, entry, exit] = *words else { return None };
        Some(Self { invocations, time, entry, exit })
    }
}

/// The words of a sample that are not taken yet.
pub(super) struct WordCursor<'a>(pub(super) &'a [i64]);

impl<'a> WordCursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> &'a [i64] {
        let (taken, rest) = self.0.split_at_checked(count).unwrap_or_default();
        self.0 = rest;
        taken
    }

    pub(super) fn thread_count(&mut self) -> i64 {
        sum(self.take(1))
    }

    /// Classes loaded and shared-loaded, less those unloaded.
    pub(super) fn class_count(&mut self) -> i64 {
        let loaded = sum(self.take(2));
        loaded.saturating_sub(sum(self.take(2)))
    }
}

pub(super) fn sum(words: &[i64]) -> i64 {
    words.iter().copied().fold(0, i64::saturating_add)
}
