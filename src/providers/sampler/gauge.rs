//! Gauges: what rises and falls without a collection too.

use super::peak::{Peak, WINDOW_COUNT, WindowChange};
use super::sample_plan::SamplePlan;
use super::words::{WordCursor, sum};

/// The highest value of each gauge over some samples; `None` for a gauge that is not sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GaugeMaxima {
    /// Bytes used in the heap.
    pub(super) heap: Option<i64>,
    /// Live threads.
    pub(super) threads: Option<i64>,
    /// Loaded classes.
    pub(super) classes: Option<i64>,
}

/// Which gauges a JVM has, and how many words make up each.
#[derive(Clone, Copy, Debug)]
pub(super) struct GaugeLayout {
    heap: usize,
    threads: bool,
    classes: bool,
}

impl GaugeLayout {
    /// The gauges of a plan, in the order of [`SamplePlan::gauge_offsets`].
    pub(super) fn of(plan: &SamplePlan) -> Self {
        let heap = if plan.heap_peak { plan.pools.iter().map(|pool| pool.used.len()).sum() } else { 0 };
        Self { heap, threads: plan.threads.is_some(), classes: plan.classes.is_some() }
    }

    /// Raises `maxima` to the values in `words`.
    pub(super) fn raise(self, maxima: &mut GaugeMaxima, words: &mut WordCursor<'_>) {
        if self.heap > 0 {
            maxima.heap = maxima.heap.max(Some(sum(words.take(self.heap))));
        }
        if self.threads {
            maxima.threads = maxima.threads.max(Some(words.thread_count()));
        }
        if self.classes {
            maxima.classes = maxima.classes.max(Some(words.class_count()));
        }
    }
}

/// The peak of each gauge per window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GaugePeaks {
    pub(super) heap: Peak,
    pub(super) threads: Peak,
    pub(super) classes: Peak,
}

impl GaugePeaks {
    /// Adds values to the open windows.
    pub(super) fn record(&mut self, maxima: GaugeMaxima) {
        for (peak, value) in self.peaks().into_iter().zip([maxima.heap, maxima.threads, maxima.classes]) {
            if let Some(value) = value {
                peak.record(value);
            }
        }
    }

    /// Closes windows.
    pub(super) fn advance(&mut self, changes: [WindowChange; WINDOW_COUNT]) {
        for peak in self.peaks() {
            peak.advance(changes);
        }
    }

    fn peaks(&mut self) -> [&mut Peak; 3] {
        [&mut self.heap, &mut self.threads, &mut self.classes]
    }
}
