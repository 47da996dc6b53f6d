//! Completed pauses of one collector, from four words that HotSpot writes without any synchronization with
//! readers.
//!
//! A pause writes, in this order, `invocations + 1`, `lastEntryTime`; at its end `lastExitTime`, then `time + length`
//! (`TraceCollectorStats` around `PerfTraceTimedEvent`, JDK 8 to 27). So a pause runs while `entry > exit`, and
//! `invocations` without the running one is the number completed. Between two of these stores the words contradict each
//! other for nanoseconds, or for as long as the VM thread is descheduled.

/// The words of one collector at one time, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PauseReading {
    /// `invocations`: pauses begun.
    pub(super) invocations: i64,
    /// `time`: summed length of the pauses completed.
    pub(super) time: i64,
    /// `lastEntryTime`.
    pub(super) entry: i64,
    /// `lastExitTime`.
    pub(super) exit: i64,
}

impl PauseReading {
    /// Whether a pause runs.
    pub(super) fn is_running(&self) -> bool {
        self.entry > self.exit
    }

    fn completed(&self) -> i64 {
        self.invocations.wrapping_sub(i64::from(self.is_running()))
    }
}

/// Pauses that ended since the previous reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompletedPauses {
    /// How many. 0 where `time` came late, for a pause that is counted already.
    pub(super) count: u64,
    /// Their summed length, in ticks, never negative.
    pub(super) time: i64,
    /// Length of the last of them where it is known, in ticks, 0 to `time`.
    pub(super) last: Option<i64>,
}

impl CompletedPauses {
    /// The pauses whose lengths are known as a sum only: how many, and that sum. A single one is exact.
    pub(super) fn others(&self) -> (u64, i64) {
        let last = u64::from(self.last.is_some());
        (self.count.saturating_sub(last), self.time.saturating_sub(self.last.unwrap_or(0)))
    }

    /// The longest of them, in ticks, as far as known: of several others their mean.
    pub(super) fn longest(&self) -> i64 {
        let (count, time) = self.others();
        let mean = i64::try_from(count).ok().and_then(|count| time.checked_div(count)).unwrap_or(0);
        mean.max(self.last.unwrap_or(0))
    }

    /// How many lengths are means rather than measured.
    pub(super) fn interpolated(&self) -> u64 {
        match self.others().0 {
            0 | 1 => 0,
            several => several,
        }
    }
}

/// Reads until two readings in a row agree; `None` after three that do not. A contradiction between two stores lasts
/// nanoseconds, so that two equal readings contain one only when the writer was interrupted there.
pub(super) fn stable_reading(
    first: PauseReading,
    mut reread: impl FnMut() -> Option<PauseReading>,
) -> Option<PauseReading> {
    let mut previous = first;
    for _ in 0..2 {
        let next = reread()?;
        if next == previous {
            return Some(previous);
        }
        previous = next;
    }
    None
}

/// Readings in a row that may contradict the last accepted one before they are accepted: 1 s at 10 ms. An interrupted
/// writer goes on sooner; what lasts longer is how this JVM counts.
const CONTRADICTIONS_MAXIMUM: u32 = 100;

/// The last accepted reading of one collector.
#[derive(Clone, Copy, Debug)]
pub(super) struct PauseTracker {
    /// Pauses begun.
    pub(super) invocations: i64,
    completed: i64,
    time: i64,
    /// When the running pause began, in ticks.
    pub(super) running_since: Option<i64>,
    contradictions: u32,
}

impl PauseTracker {
    /// Starts counting after `first`; a pause that runs then is counted when it ends.
    pub(super) fn new(first: PauseReading) -> Self {
        Self {
            invocations: first.invocations,
            completed: first.completed(),
            time: first.time,
            running_since: first.is_running().then_some(first.entry),
            contradictions: 0,
        }
    }

    /// Whether `reading` differs, and so must be confirmed by [`stable_reading`].
    pub(super) fn has_changed(&self, reading: &PauseReading) -> bool {
        reading.invocations != self.invocations || reading.time != self.time
    }

    /// Updates whether a pause runs.
    pub(super) fn set_running(&mut self, reading: &PauseReading) {
        self.running_since = reading.is_running().then_some(reading.entry);
    }

    /// Adds a stable reading. `None`: nothing completed, or the words contradict each other and the next reading
    /// decides.
    ///
    /// Over any time the counts and times returned add up to the change of PerfData's own counters.
    pub(super) fn update(&mut self, reading: PauseReading) -> Option<CompletedPauses> {
        let count = reading.completed().wrapping_sub(self.completed);
        let time = reading.time.wrapping_sub(self.time);
        if reading.invocations < self.invocations || time < 0 {
            // Neither ever falls within one life of a JVM.
            *self = Self::new(reading);
            return None;
        }
        self.set_running(&reading);
        if count <= 0 && time == 0 {
            self.contradictions = 0;
            return None;
        }
        let last = reading.exit.saturating_sub(reading.entry);
        // Counted and not yet timed, or timed and not yet counted, or timed without the pause that ended last.
        let contradiction = count < 1 || time == 0 || (!reading.is_running() && time < last);
        if contradiction && self.contradictions < CONTRADICTIONS_MAXIMUM {
            self.contradictions = self.contradictions.saturating_add(1);
            return None;
        }
        self.contradictions = 0;
        self.time = reading.time;
        let count = u64::try_from(count).unwrap_or(0);
        if count > 0 {
            self.completed = reading.completed();
            self.invocations = reading.invocations;
        }
        let last = match count {
            0 => None,
            1 => Some(time),
            _ if reading.is_running() => None,
            _ => Some(last.clamp(0, time)),
        };
        Some(CompletedPauses { count, time, last })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used)]
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// One store of HotSpot's.
    #[derive(Clone, Copy, Debug)]
    enum Store {
        Begin,
        Entry(i64),
        Exit(i64),
        Time(i64),
    }

    fn apply(words: &mut PauseReading, store: Store) {
        match store {
            Store::Begin => words.invocations += 1,
            Store::Entry(at) => words.entry = at,
            Store::Exit(at) => words.exit = at,
            Store::Time(length) => words.time += length,
        }
    }

    /// The stores of pauses, which begin at a time and last some; the timer encloses the two stamps.
    fn stores(pauses: &[(i64, i64)]) -> Vec<(i64, Store)> {
        let of = |(begin, length): &(i64, i64)| {
            let (entry, exit) = (begin + 1, begin + length - 1);
            [
                (*begin, Store::Begin),
                (entry, Store::Entry(entry)),
                (exit, Store::Exit(exit)),
                (begin + length, Store::Time(*length)),
            ]
        };
        pauses.iter().flat_map(of).collect()
    }

    /// What readings every `period` make of pauses, when no store falls between the loads of a reading.
    fn sample(pauses: &[(i64, i64)], period: i64) -> Vec<CompletedPauses> {
        let mut words = PauseReading::default();
        let mut tracker = PauseTracker::new(words);
        let mut stores = stores(pauses).into_iter().peekable();
        let end = pauses.last().map_or(0, |(begin, length)| begin + length) + 2 * period;
        let mut completed = Vec::new();
        for now in (0..=end).step_by(usize::try_from(period).unwrap()) {
            while let Some((_, store)) = stores.next_if(|(at, _)| *at <= now) {
                apply(&mut words, store);
            }
            completed.extend(tracker.update(words));
        }
        completed
    }

    #[test]
    fn pauses_between_samples() {
        let exact = |length| CompletedPauses { count: 1, time: length, last: Some(length) };
        for (pauses, expected, interpolated, why) in [
            (vec![(105, 30), (250, 420)], vec![exact(30), exact(420)], 0, "one at a time, over several samples"),
            (
                vec![(101, 30), (140, 20)],
                vec![CompletedPauses { count: 2, time: 50, last: Some(18) }],
                0,
                "two: both known",
            ),
            (
                vec![(101, 10), (120, 20), (150, 30)],
                vec![CompletedPauses { count: 3, time: 60, last: Some(28) }],
                2,
                "three: the last known, the others by their mean",
            ),
            (
                vec![(101, 10), (120, 20), (150, 400)],
                vec![CompletedPauses { count: 2, time: 30, last: None }, exact(400)],
                2,
                "the next one runs: its stamp hides that of the last",
            ),
            (vec![(101, 10), (150, 400)], vec![exact(10), exact(400)], 0, "one, and the next one runs"),
        ] {
            let completed = sample(&pauses, 100);
            assert_eq!(completed, expected, "{why}");
            assert_eq!(completed.iter().map(CompletedPauses::interpolated).sum::<u64>(), interpolated, "{why}");
        }
    }

    #[test]
    fn a_pause_that_runs_at_attach_counts_when_it_ends() {
        let running = PauseReading { invocations: 5, time: 70, entry: 100, exit: 90 };
        let mut tracker = PauseTracker::new(running);
        assert_eq!(tracker.running_since, Some(100));
        assert_eq!(
            tracker.update(PauseReading { exit: 130, time: 101, ..running }).map(|pauses| (pauses.count, pauses.time)),
            Some((1, 31))
        );
        assert_eq!(tracker.running_since, None);
    }

    #[test]
    fn counters_that_fall_start_anew_and_show_nothing() {
        let mut tracker = PauseTracker::new(PauseReading { invocations: 50, time: 7_000, entry: 10, exit: 20 });
        let restarted = PauseReading { invocations: 1, time: 30, entry: 100, exit: 130 };
        assert_eq!(tracker.update(restarted), None);
        let next = PauseReading { invocations: 2, time: 70, entry: 200, exit: 239 };
        assert_eq!(tracker.update(next), Some(CompletedPauses { count: 1, time: 40, last: Some(40) }));
    }

    #[test]
    fn contradictions_wait_and_are_accepted_in_the_end() {
        let before = PauseReading { invocations: 1, time: 30, entry: 100, exit: 129 };
        for (torn, count, time, why) in [
            (PauseReading { invocations: 2, ..before }, 1, 0, "begun, not stamped"),
            (PauseReading { invocations: 2, entry: 200, exit: 260, ..before }, 1, 0, "ended, not timed"),
            (PauseReading { time: 40, ..before }, 0, 10, "timed, not begun"),
            (PauseReading { invocations: 4, entry: 200, exit: 260, time: 50 }, 3, 20, "less time than its last pause"),
        ] {
            let mut tracker = PauseTracker::new(before);
            for _ in 0..CONTRADICTIONS_MAXIMUM {
                assert_eq!(tracker.update(torn), None, "{why}");
            }
            assert_eq!(tracker.update(torn).map(|pauses| (pauses.count, pauses.time)), Some((count, time)), "{why}");
        }
    }

    /// A reader whose loads come in some order, with some stores between every two of them.
    struct PauseReader<'a> {
        words: PauseReading,
        stores: std::vec::IntoIter<(i64, Store)>,
        orders: &'a [[usize; 4]],
        gaps: &'a [usize],
        at: usize,
    }

    impl PauseReader<'_> {
        fn step(&mut self) {
            for _ in 0..self.gaps[self.at % self.gaps.len()] {
                if let Some((_, store)) = self.stores.next() {
                    apply(&mut self.words, store);
                }
            }
            self.at += 1;
        }

        fn read(&mut self) -> PauseReading {
            let mut reading = PauseReading::default();
            for load in self.orders[self.at % self.orders.len()] {
                self.step();
                match load {
                    0 => reading.invocations = self.words.invocations,
                    1 => reading.time = self.words.time,
                    2 => reading.entry = self.words.entry,
                    _ => reading.exit = self.words.exit,
                }
            }
            reading
        }
    }

    /// A permutation of four loads.
    fn order() -> impl Strategy<Value = [usize; 4]> {
        any::<[Index; 4]>().prop_map(|picks| {
            let mut left = vec![0, 1, 2, 3];
            picks.map(|pick| left.remove(pick.index(left.len())))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever the order of the loads and the stores between them, count and time end up as PerfData's own, and
        /// no reading reports a length as exact that never was.
        #[test]
        fn count_and_time_always_match(
            lengths in prop::collection::vec((1i64..1_000, 5i64..50_000), 0..40),
            orders in prop::collection::vec(order(), 1..8),
            gaps in prop::collection::vec(prop_oneof![6 => Just(0usize), 2 => Just(1), 1 => 2usize..12], 1..60),
        ) {
            let mut now = 0;
            let pauses: Vec<(i64, i64)> = lengths.iter().map(|(idle, length)| {
                now += idle;
                let begin = now;
                now += length;
                (begin, *length)
            }).collect();
            let mut reader =
                PauseReader { words: PauseReading::default(), stores: stores(&pauses).into_iter(), orders: &orders, gaps: &gaps, at: 0 };
            let mut tracker = PauseTracker::new(reader.words);
            let (mut count, mut time) = (0, 0);
            let mut tick = |reader: &mut PauseReader<'_>| {
                let first = reader.read();
                let stable = stable_reading(first, || Some(reader.read()));
                if let Some(pauses) = stable.and_then(|reading| tracker.update(reading)) {
                    let (others, rest) = pauses.others();
                    assert!(rest >= 0 && pauses.last.is_none_or(|last| last >= 0), "{pauses:?}");
                    assert!(others > 0 || rest == 0 || pauses.count == 0, "{pauses:?}");
                    count += pauses.count;
                    time += pauses.time;
                }
            };
            for _ in 0..400 {
                tick(&mut reader);
            }
            // The JVM comes to rest.
            for (_, store) in reader.stores.by_ref() {
                apply(&mut reader.words, store);
            }
            for _ in 0..2 * CONTRADICTIONS_MAXIMUM + 2 {
                tick(&mut reader);
            }
            prop_assert_eq!(count, pauses.len() as u64);
            prop_assert_eq!(time, pauses.iter().map(|(_, length)| length).sum::<i64>());
        }
    }
}
