//! Concurrent cycles of ZGC and Shenandoah. `sun.gc.cause` reads "No GC" exactly while none runs; a cycle that is shorter
//! than the time between two looks shows in its pauses, or in a word that it leaves changed.

/// Pauses of a cycle of ZGC (measured on JDK 17 and 21), or of a minor collection (on 21, 25, 26, 27). Marking seldom takes
/// one more (`pause_mark_end`, zDriver.cpp).
const PAUSES: u64 = 3;

/// Pauses of a major collection of generational ZGC (measured on JDK 21, 25, 26, 27): 5 with the causes Warmup and
/// Allocation Rate; 8 with System.gc(), which collects the young generation twice. The two of the old generation count as
/// pauses of a minor collection while one runs.
const MAJOR_PAUSES: u64 = 5;
const MAJOR_PAUSES_AT_MOST: u64 = MAJOR_PAUSES + PAUSES;

/// One look at a JVM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// A cycle runs.
    pub(super) running: bool,
    /// The word that every cycle changes, where pauses do not count them.
    pub(super) trace: Option<i64>,
    /// Pauses of cycles or of minor collections since the previous look.
    pub(super) phases: u64,
    /// Pauses of major collections since the previous look.
    pub(super) major: u64,
}

/// Counts cycles and their time. Where pauses do not count them, cycles that follow each other between two looks merge
/// into one. The time is that of the looks that saw one run: within 3 % of the bean's at 10 ms (measured, JDK 17, 25).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cycles {
    phase: Phase,
    /// At the last look at which none ran.
    trace: Option<i64>,
    /// Pauses of cycles that are not counted yet.
    phases: u64,
    major: u64,
    /// Cycles that ended.
    pub(super) count: u64,
    /// Their summed length, in nanoseconds.
    pub(super) nanoseconds: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// A cycle that began before the first look has no known length.
    #[default]
    Unknown,
    Idle,
    Running {
        since: u64,
    },
}

impl Cycles {
    /// Adds a look at `now`, in nanoseconds of the monotonic clock. Returns how many cycles or minor collections it
    /// counted by their pauses.
    pub(super) fn record(&mut self, look: Look, now: u64) -> u64 {
        self.phases = self.phases.saturating_add(look.phases);
        self.major = self.major.saturating_add(look.major);
        if look.running {
            if self.phase == Phase::Idle {
                self.phase = Phase::Running { since: now };
            }
            // A collector that never rests: the last of its cycles waits for more of its pauses.
            let complete = (self.phases / PAUSES).saturating_sub(1);
            self.phases = self.phases.saturating_sub(complete.saturating_mul(PAUSES));
            self.count = self.count.saturating_add(complete);
            return complete;
        }
        let seen = match self.phase {
            Phase::Running { since } => {
                self.nanoseconds = self.nanoseconds.saturating_add(now.saturating_sub(since));
                1
            }
            Phase::Idle => u64::from(look.trace != self.trace),
            Phase::Unknown => 0,
        };
        let (by_pauses, others) = match look.trace {
            Some(_) => (0, seen),
            None if self.phase == Phase::Unknown => (0, 0),
            None => (self.phases / PAUSES, major_collections(self.major.saturating_add(self.phases % PAUSES))),
        };
        *self = Self { phase: Phase::Idle, trace: look.trace, phases: 0, major: 0, ..*self };
        self.count = self.count.saturating_add(by_pauses).saturating_add(others);
        by_pauses
    }
}

/// Major collections that have so many pauses together, the fewest where several numbers fit.
fn major_collections(pauses: u64) -> u64 {
    let fits = |count: &u64| {
        pauses.checked_sub(count.saturating_mul(MAJOR_PAUSES)).is_some_and(|extra| extra.is_multiple_of(PAUSES))
    };
    // Marking that took a pause more fits none.
    let fewest = (pauses / MAJOR_PAUSES_AT_MOST).max(u64::from(pauses > MAJOR_PAUSES));
    (pauses.div_ceil(MAJOR_PAUSES_AT_MOST)..=pauses / MAJOR_PAUSES).find(fits).unwrap_or(fewest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cycles_observed_from_their_start_have_a_length() {
        let mut cycles = Cycles::default();
        for (running, now) in [(true, 0), (false, 5), (true, 10), (true, 20), (false, 40), (false, 50), (true, 60)] {
            cycles.record(Look { running, trace: Some(0), ..Look::default() }, now);
        }
        assert_eq!((cycles.count, cycles.nanoseconds), (1, 30));
    }

    #[test]
    fn a_cycle_between_two_looks_leaves_a_trace() {
        let mut cycles = Cycles::default();
        for (running, trace) in [(false, 7), (false, 7), (false, 8), (true, 9), (false, 10), (false, 10), (false, 12)] {
            cycles.record(Look { running, trace: Some(trace), ..Look::default() }, 0);
        }
        assert_eq!(cycles.count, 3);
    }

    #[test]
    fn pauses_count_cycles_of_zgc() {
        // Whether one runs, pauses of cycles or minor collections, those of major ones; then cycles.
        for (looks, count, why) in [
            (&[(false, 0, 0), (false, 3, 0), (false, 6, 0)][..], 3, "each between two looks"),
            (&[(false, 0, 0), (true, 2, 0), (false, 1, 0)], 1, "seen at work"),
            (&[(false, 0, 0), (true, 1, 0), (true, 3, 0), (false, 2, 0)], 2, "one ends and the next begins unseen"),
            (&[(false, 0, 0), (false, 4, 0), (false, 4, 0)], 2, "marking that took a pause more"),
            (&[(false, 0, 0), (true, 30, 0)], 9, "a collector that never rests"),
            (&[(false, 0, 0), (true, 0, 3), (false, 0, 2), (false, 0, 8)], 2, "one major collection of each kind"),
            (&[(false, 0, 0), (true, 3, 4), (false, 0, 9)], 3, "a minor one within a major one"),
            (&[(false, 0, 0), (true, 4, 3), (false, 6, 1)], 4, "an old pause within one of three minor ones"),
            (&[(true, 2, 1), (false, 1, 4), (false, 0, 5)], 1, "those that ran at the first look do not count"),
        ] {
            let mut cycles = Cycles::default();
            for (running, phases, major) in looks {
                cycles.record(Look { running: *running, phases: *phases, major: *major, trace: None }, 0);
            }
            assert_eq!(cycles.count, count, "{why}");
        }
    }

    #[test]
    fn pauses_of_major_collections_add_up() {
        for (pauses, count) in [(0, 0), (5, 1), (8, 1), (10, 2), (13, 2), (16, 2), (21, 3), (24, 3), (6, 1), (9, 1)] {
            assert_eq!(major_collections(pauses), count, "{pauses}");
        }
    }
}
