//! Gauges: what rises and falls without a collection too.

use super::sample_plan::SamplePlan;
use super::words::{WordCursor, sum};

/// The highest values over some samples of bytes used in the heap, of live threads and of loaded classes; `None` for a
/// gauge that is not sampled.
pub(super) type GaugeMaxima = [Option<i64>; 3];

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
        let [heap, threads, classes] = maxima;
        if self.heap > 0 {
            *heap = (*heap).max(Some(sum(words.take(self.heap))));
        }
        if self.threads {
            *threads = (*threads).max(Some(words.thread_count()));
        }
        if self.classes {
            *classes = (*classes).max(Some(words.class_count()));
        }
    }
}
