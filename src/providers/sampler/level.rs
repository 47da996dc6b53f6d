//! What rises and falls without a collection too.

use super::jvm::{WordCursor, sum};
use super::sample_plan::SamplePlan;

/// The highest seen of each, where it is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    /// Bytes used in the heap.
    pub(super) heap: Option<i64>,
    /// Live threads.
    pub(super) threads: Option<i64>,
    /// Loaded classes.
    pub(super) classes: Option<i64>,
}

/// Which levels there are, and of how many words each is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gauges {
    heap: usize,
    threads: bool,
    classes: bool,
}

impl Gauges {
    /// Those of a sample_plan, in their order in [`SamplePlan::level_offsets`].
    pub(super) fn of(list: &SamplePlan) -> Self {
        let heap = if list.heap_peak { list.pools.iter().map(|pool| pool.used.len()).sum() } else { 0 };
        Self { heap, threads: list.threads.is_some(), classes: list.classes.is_some() }
    }

    /// Lifts `levels` to what the words say.
    pub(super) fn read(self, words: &mut WordCursor<'_>, levels: &mut Levels) {
        if self.heap > 0 {
            levels.heap = levels.heap.max(Some(sum(words.take(self.heap))));
        }
        if self.threads {
            levels.threads = levels.threads.max(Some(sum(words.take(1))));
        }
        if self.classes {
            let loaded = sum(words.take(2));
            levels.classes = levels.classes.max(Some(loaded.saturating_sub(sum(words.take(2)))));
        }
    }
}
