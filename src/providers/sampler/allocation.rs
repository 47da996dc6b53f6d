//! An estimate of the bytes that the application allocated.
//!
//! `sun.gc.tlab.alloc` holds what was allocated in TLABs before the last collection, in heap words of 8 bytes although
//! labelled bytes, overwritten at each collection (threadLocalAllocBuffer.cpp, `publish`). Objects of more than about a
//! 64th of a TLAB (`TLABRefillWasteFraction`) mostly bypass it, and their bytes are published nowhere. But they fill
//! eden: a collection that found it full tells its capacity, any other one what was last seen in it. The larger of both
//! counts, eden's under G1 only where the difference is plain. docs/accuracy.md compares the sum with `getThreadAllocatedBytes`.

use super::sample_plan::AllocationSource;

/// Bytes of a heap word on 64-bit machines.
const HEAP_WORD: i64 = 8;

/// Most collections whose word changed and that are not counted yet: one that ran and one that runs.
const AHEAD_MAXIMUM: u64 = 2;

/// G1 collects before the last regions of eden are full: with small objects only, eden is 7 to 9 % larger than what was
/// allocated (measured, JDK 11 to 21). So less than this part of it is no sign of objects outside of TLABs.
const G1_DOUBT: i64 = 8;

/// Whether a collection with this cause found eden full. Parallel's "Ergonomics" follows a young collection at once.
pub(super) fn eden_was_full(cause: &str) -> bool {
    matches!(cause, "Allocation Failure" | "Ergonomics" | "G1 Evacuation Pause")
}

/// What happened between two samples.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interval {
    /// `sun.gc.tlab.alloc`, heap words.
    pub(super) tlab: i64,
    /// Bytes used in the generation that takes humongous objects directly, where the collector has such.
    pub(super) old: Option<i64>,
    /// Bytes used in eden and its capacity, where each collection empties it.
    pub(super) eden: Option<[i64; 2]>,
    /// Young collections, or ZGC's cycles and minor collections, completed since the previous sample.
    pub(super) young: u64,
    /// Full collections completed since the previous sample.
    pub(super) full: u64,
    /// The last of them found eden full, and so is taken to have the others.
    pub(super) filled: bool,
    /// Pauses of major collections of generational ZGC completed since the previous sample.
    pub(super) major: u64,
    /// Whether a cycle or a pause runs, or a pause ended since the previous sample, so that `old` may hold promoted
    /// objects.
    pub(super) active: bool,
}

/// The estimate since the first sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allocation {
    source: AllocationSource,
    pub(super) last: Interval,
    /// Bytes that a collection finds in eden that completes next, as last seen.
    in_eden: i64,
    /// Collections whose word was added when it changed, before they completed.
    ahead: u64,
    /// Bytes of their words, of which a full collection that follows at once leaves no trace.
    unfinished: i64,
    /// A young collection completed and no sample at rest followed: a full one that completes now is a part of it.
    emptied: bool,
    pub(super) bytes: i64,
    /// The previous sample read a publication of generational ZGC.
    read_before: bool,
    /// Publications that may have been overwritten before a sample read them; their bytes are missing.
    pub(super) overwritten: u64,
}

/// A publication of generational ZGC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Publication {
    /// It may have overwritten one that no sample read.
    pub(super) lost: bool,
}

/// Pauses between the publications of a major collection: the end of the young generation's marking, and the start of
/// its relocation.
const PAUSES_BETWEEN: u64 = 2;

impl Allocation {
    /// Starts at zero.
    pub(super) fn new(source: AllocationSource, first: Interval) -> Self {
        Self {
            source,
            last: first,
            in_eden: first.eden.map_or(0, |[used, _]| used),
            ahead: 0,
            unfinished: 0,
            emptied: false,
            bytes: 0,
            read_before: false,
            overwritten: 0,
        }
    }

    /// Adds an interval. Returns what generational ZGC published, if it did.
    ///
    /// Every young collection that completed counts, since equal edens give equal words, and so does every change of the
    /// word: of a full collection, since Parallel's follow a young one that counts already, and of a major one of ZGC. The
    /// words of edens that were not full differ: a collection that found such a one and left the word found no TLAB, of
    /// which HotSpot publishes nothing (threadLocalAllocBuffer.cpp, `publish`, JDK 8 to 27).
    pub(super) fn record(&mut self, now: Interval) -> Option<Publication> {
        let changed = now.tlab != self.last.tlab;
        let ahead = self.ahead.saturating_add(changed.into());
        let unpublished = now.eden.is_some() && !now.filled;
        let equal = now.young.saturating_sub(ahead).saturating_sub(unpublished.into());
        let times = equal.saturating_add(changed.into());
        // A word is published just before its pause begins.
        let has_begun = now.active || changed;
        self.ahead = if has_begun { ahead.saturating_sub(now.young).min(AHEAD_MAXIMUM) } else { 0 };
        let capacity = self.last.eden.map_or(0, |[_, capacity]| capacity);
        let most = if self.source.capped { capacity } else { i64::MAX };
        let in_tlabs = now.tlab.max(0).saturating_mul(HEAP_WORD).min(most);
        let collections = match now.young {
            0 if self.emptied => 0,
            0 => now.full,
            young => young,
        };
        self.emptied = now.active && (self.emptied || now.young > 0);
        let doubt = if now.old.is_some() { capacity / G1_DOUBT } else { 0 };
        let beside = |eden: i64| Some(eden.saturating_sub(in_tlabs)).filter(|bytes| *bytes > doubt).unwrap_or(0);
        let beside = match (now.filled, collections) {
            (true, collections) => scaled(beside(capacity), collections),
            (false, 0) => 0,
            (false, _) => beside(self.in_eden),
        };
        let overwritten = self.unfinished.saturating_sub(in_tlabs).max(0);
        let beside = beside.saturating_sub(overwritten).max(0);
        let in_tlabs = scaled(in_tlabs, times);
        self.unfinished = if now.active && collections == 0 { self.unfinished.saturating_add(in_tlabs) } else { 0 };
        let humongous = match (self.last.old, now.old) {
            (Some(before), Some(after)) if !now.active => after.saturating_sub(before).max(0),
            _ => 0,
        };
        self.bytes = self.bytes.saturating_add(in_tlabs).saturating_add(beside).saturating_add(humongous);
        self.see_eden(&now);
        self.last = now;
        let published = self.source.overwritten && changed;
        let read_before = std::mem::replace(&mut self.read_before, published);
        // What the previous sample read is not lost.
        let lost = published && !read_before && now.major >= PAUSES_BETWEEN;
        self.overwritten = self.overwritten.saturating_add(lost.into());
        published.then_some(Publication { lost })
    }

    /// Words are read one after the other, and a JVM writes use and pauses one after the other: eden may be read as empty
    /// before its collection is seen to complete, and as full when it is, although that collection has emptied it.
    fn see_eden(&mut self, now: &Interval) {
        let used = now.eden.map_or(0, |[used, _]| used);
        self.in_eden = match (now.young > 0 || now.full > 0, now.active) {
            (true, _) => 0,
            (false, true) => self.in_eden.max(used),
            (false, false) => used,
        };
    }
}

fn scaled(bytes: i64, times: u64) -> i64 {
    bytes.saturating_mul(i64::try_from(times).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    const SOURCE: AllocationSource =
        AllocationSource { overwritten: false, tlab: 0, old: None, eden: None, capped: false };

    #[test]
    fn eden_counts_where_more_was_in_it_than_in_tlabs() {
        // Words in TLABs, bytes seen in eden, young and full collections, whether eden was full, whether no more than its
        // 100 bytes count; then bytes.
        for (tlab, used, young, full, filled, capped, bytes, why) in [
            (1, 0, 1, 0, true, false, 100, "a full eden of large objects"),
            (1, 0, 3, 0, true, false, 300, "each of a crowd"),
            (1, 60, 0, 1, true, false, 100, "a full collection without a young one"),
            (1, 60, 1, 1, true, false, 100, "a full collection after a young one"),
            (20, 0, 1, 0, true, false, 160, "more in TLABs than eden was thought to hold"),
            (20, 0, 1, 0, true, true, 100, "which JDK 8 publishes wrongly"),
            (1, 60, 1, 1, false, false, 60, "System.gc() finds what is there"),
            (9, 60, 1, 1, false, false, 72, "or more"),
            (0, 60, 0, 0, true, false, 0, "nothing was collected"),
        ] {
            let eden = |used| Some([used, 100]);
            let mut allocation = Allocation::new(
                AllocationSource { capped, ..SOURCE },
                Interval { eden: eden(used), ..Interval::default() },
            );
            let now = Interval { tlab, eden: eden(0), young, full, filled, active: true, ..Interval::default() };
            allocation.record(now);
            assert_eq!(allocation.bytes, bytes, "{why}");
        }
    }

    #[test]
    fn a_full_collection_that_follows_a_young_one_finds_eden_empty() {
        let eden = Some([60, 100]);
        let mut allocation = Allocation::new(SOURCE, Interval { eden, ..Interval::default() });
        for (young, full, active, bytes) in
            [(1, 0, true, 100), (0, 0, true, 100), (0, 1, true, 100), (0, 0, false, 100), (0, 1, true, 200)]
        {
            allocation.record(Interval { eden, young, full, filled: true, active, ..Interval::default() });
            assert_eq!(allocation.bytes, bytes);
        }
    }

    #[test]
    fn a_collection_that_follows_at_once_publishes_nothing() {
        // Words published, young collections completed, whether eden was full, whether one runs or ended.
        for (samples, why) in [
            (&[(12, 0, false, true), (12, 1, true, true), (12, 1, false, true)][..], "seen by itself"),
            (&[(12, 0, false, true), (12, 2, false, true)], "seen together"),
            (&[(12, 2, false, true)], "in one sample"),
        ] {
            let mut allocation = Allocation::new(SOURCE, Interval { eden: Some([96, 100]), ..Interval::default() });
            for (tlab, young, filled, active) in samples {
                let (tlab, young, filled, active) = (*tlab, *young, *filled, *active);
                allocation.record(Interval {
                    tlab,
                    eden: Some([0, 100]),
                    young,
                    filled,
                    active,
                    ..Interval::default()
                });
            }
            assert!((96..=100).contains(&allocation.bytes), "{why}: {}", allocation.bytes);
        }
    }

    #[test]
    fn what_was_seen_in_eden_counts_once() {
        // Bytes seen in eden, young collections completed, whether eden was full, whether one runs or ended; then bytes.
        for (samples, why) in [
            (
                &[(90, 0, false, true, 0), (90, 1, true, true, 100), (0, 1, false, true, 100)][..],
                "read as full too late",
            ),
            (&[(90, 0, false, true, 0), (0, 0, false, true, 0), (0, 1, false, true, 90)], "read as empty too early"),
            (
                &[
                    (90, 1, true, true, 100),
                    (90, 0, false, false, 100),
                    (5, 0, false, false, 100),
                    (0, 1, false, true, 105),
                ],
                "at rest the last counts",
            ),
        ] {
            let mut allocation = Allocation::new(SOURCE, Interval { eden: Some([0, 100]), ..Interval::default() });
            for (used, young, filled, active, bytes) in samples {
                let (eden, young, filled, active) = (Some([*used, 100]), *young, *filled, *active);
                allocation.record(Interval { eden, young, filled, active, ..Interval::default() });
                assert_eq!(allocation.bytes, *bytes, "{why}");
            }
        }
    }

    #[test]
    fn a_word_counts_once_though_a_full_collection_overwrites_it_before_the_young_one_completes() {
        let eden = Some([90, 100]);
        let mut allocation = Allocation::new(SOURCE, Interval { eden, ..Interval::default() });
        for (tlab, young, full, bytes) in [(10, 0, 0, 80), (0, 1, 0, 90), (0, 0, 1, 90)] {
            allocation.record(Interval { tlab, eden, young, full, active: true, ..Interval::default() });
            assert_eq!(allocation.bytes, bytes);
        }
    }

    #[test]
    fn each_collection_adds_what_it_published() {
        // Word, young collections completed, whether a pause runs or ended.
        for (samples, words, why) in [
            (vec![(10, 1, true), (10, 1, true), (10, 0, false), (12, 2, true)], 44, "equal words count"),
            (vec![(10, 0, true), (10, 1, true), (10, 1, true)], 20, "sampled within the pause, counted once"),
            (vec![(10, 0, false), (10, 0, true), (10, 1, true)], 10, "sampled before the pause, counted once"),
            (vec![(10, 0, true), (11, 0, true), (12, 1, true), (12, 2, false)], 33, "cycles that count one late"),
            (
                vec![(10, 0, true), (9, 0, true), (8, 0, true), (7, 0, true), (7, 4, true)],
                48,
                "majors hide two at most",
            ),
            (vec![(10, 8, true), (11, 0, true), (12, 6, true)], 80 + 11 + 60, "ahead of a crowd"),
            (vec![(10, 1, true), (4, 0, true), (4, 0, true)], 14, "a full collection by its change"),
            (vec![(10, 1, true), (10, 0, true)], 10, "one that publishes nothing adds nothing"),
            (vec![(4, 0, true), (4, 0, false), (9, 1, true)], 13, "nothing stays ahead at rest"),
            (vec![(i64::MIN, 9, true), (-4, 1, true)], 0, "nonsense"),
        ] {
            let mut allocation = Allocation::new(SOURCE, Interval::default());
            for (tlab, young, active) in samples {
                allocation.record(Interval { tlab, young, active, ..Interval::default() });
            }
            assert_eq!(allocation.bytes, words * 8, "{why}");
        }
    }

    #[test]
    fn publications_that_a_major_collection_may_have_overwritten_are_counted() {
        // Words published, pauses of major collections; then publications lost.
        for (samples, lost, why) in [
            (&[(20, 1), (20, 2), (1, 1), (1, 1)][..], 0, "each was read by itself"),
            (&[(20, 1), (1, 3), (1, 1)], 0, "each was read, by consecutive samples"),
            (&[(1, 4), (1, 1)], 1, "the last only"),
            (&[(1, 8), (1, 0), (2, 5)], 2, "twice"),
            (&[(20, 0), (20, 0), (30, 0)], 0, "minor collections publish once"),
        ] {
            let source = AllocationSource { overwritten: true, ..SOURCE };
            let mut allocation = Allocation::new(source, Interval::default());
            for (tlab, major) in samples {
                allocation.record(Interval { tlab: *tlab, major: *major, ..Interval::default() });
            }
            assert_eq!(allocation.overwritten, lost, "{why}");
        }
    }

    #[test]
    fn humongous_objects_are_growth_of_the_old_generation_outside_pauses() {
        let mut allocation = Allocation::new(SOURCE, Interval { old: Some(100), ..Interval::default() });
        for (old, active) in [(150, false), (140, false), (500, true), (600, false), (610, false)] {
            allocation.record(Interval { old: Some(old), active, ..Interval::default() });
        }
        assert_eq!(allocation.bytes, 50 + 100 + 10, "promotion does not count");
    }
}
