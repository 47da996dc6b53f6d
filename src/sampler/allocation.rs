//! An estimate of the bytes that the program allocated.
//!
//! `sun.gc.tlab.alloc` holds what was allocated in TLABs before the last collection, in heap words of 8 bytes although
//! labelled bytes, overwritten at each collection (threadLocalAllocBuffer.cpp, `publish`). Against
//! `getThreadAllocatedBytes` the sum over collections is typically 10 % low to 2 % high (metrics measured on JDK 17 and 25).

/// Bytes of a heap word on 64-bit machines.
const HEAP_WORD: i64 = 8;

/// How collections tell themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Serial, Parallel, G1: for every young collection that completed, since equal edens give equal words; a full
    /// collection tells itself by changing the word, for Parallel's follow a young one that has told already.
    EachCollection,
    /// ZGC: whenever the word changes, since its pauses are not collections.
    EachChange,
}

/// What one look tells the estimator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interval {
    /// `sun.gc.tlab.alloc`, heap words.
    pub(super) tlab: i64,
    /// Bytes used in the generation that takes humongous objects directly, where the collector has such.
    pub(super) old: Option<i64>,
    /// Young collections completed since the look before.
    pub(super) young: u64,
    /// Whether a pause runs, or ended since the look before, so that `old` may hold promoted objects.
    pub(super) disturbed: bool,
}

/// The estimate since attach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allocation {
    rule: Rule,
    last: Interval,
    /// Collections whose word was added when it changed, before they completed.
    ahead: u64,
    bytes: i64,
}

impl Allocation {
    /// Starts at zero.
    pub(super) fn new(rule: Rule, first: Interval) -> Self {
        Self { rule, last: first, ahead: 0, bytes: 0 }
    }

    /// Bytes allocated since.
    pub(super) fn bytes(&self) -> i64 {
        self.bytes
    }

    /// Bytes used in the generation that takes humongous objects, as taken in.
    pub(super) fn old(&self) -> Option<i64> {
        self.last.old
    }

    /// Takes the interval up to this look in.
    pub(super) fn look(&mut self, now: Interval) {
        let mut times = u64::from(now.tlab != self.last.tlab);
        if self.rule == Rule::EachCollection {
            self.ahead = self.ahead.saturating_add(times);
            times = times.saturating_add(now.young.saturating_sub(self.ahead));
            self.ahead = if now.disturbed { self.ahead.saturating_sub(now.young) } else { 0 };
        }
        let in_tlabs = now.tlab.max(0).saturating_mul(HEAP_WORD).saturating_mul(i64::try_from(times).unwrap_or(0));
        let humongous = match (self.last.old, now.old) {
            (Some(before), Some(after)) if !now.disturbed => after.saturating_sub(before).max(0),
            _ => 0,
        };
        self.bytes = self.bytes.saturating_add(in_tlabs).saturating_add(humongous);
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn each_rule_adds_what_a_collection_published() {
        use Rule::{EachChange, EachCollection};
        // Word, young collections completed, whether a pause runs or ended.
        for (rule, looks, words, why) in [
            (
                EachCollection,
                vec![(10, 1, true), (10, 1, true), (10, 0, false), (12, 2, true)],
                44,
                "equal words count",
            ),
            (
                EachCollection,
                vec![(10, 0, true), (10, 1, true), (10, 1, true)],
                20,
                "seen within the pause, counted once",
            ),
            (EachCollection, vec![(10, 8, true), (11, 0, true), (12, 6, true)], 80 + 11 + 60, "ahead of a crowd"),
            (EachCollection, vec![(10, 1, true), (4, 0, true), (4, 0, true)], 14, "a full collection by its change"),
            (EachCollection, vec![(10, 1, true), (10, 0, true)], 10, "one that publishes nothing adds nothing"),
            (EachCollection, vec![(4, 0, true), (4, 0, false), (9, 1, true)], 13, "nothing stays ahead at rest"),
            (EachChange, vec![(0, 0, false), (10, 0, false), (10, 3, true), (7, 0, false)], 17, "changes only"),
            (EachCollection, vec![(i64::MIN, 9, true), (-4, 1, true)], 0, "nonsense"),
        ] {
            let mut allocation = Allocation::new(rule, Interval::default());
            for (tlab, young, disturbed) in looks {
                allocation.look(Interval { tlab, young, disturbed, old: None });
            }
            assert_eq!(allocation.bytes(), words * 8, "{why}");
        }
    }

    #[test]
    fn humongous_objects_are_growth_of_the_old_generation_outside_pauses() {
        let mut allocation = Allocation::new(Rule::EachCollection, Interval { old: Some(100), ..Interval::default() });
        for (old, disturbed) in [(150, false), (140, false), (500, true), (600, false), (610, false)] {
            allocation.look(Interval { old: Some(old), disturbed, ..Interval::default() });
        }
        assert_eq!(allocation.bytes(), 50 + 100 + 10, "promotion does not count");
    }
}
