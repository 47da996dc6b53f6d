//! How often a JVM wants to be looked at.

/// Seats of the three rounds, from the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// Several pauses, or publications, fell between two looks.
    Fast,
    /// The usual.
    Busy,
    /// Nothing was collected for a while.
    Idle,
}

impl Rate {
    /// All of them, from the fastest.
    pub(super) const ALL: [Self; 3] = [Self::Fast, Self::Busy, Self::Idle];
}

/// Length of the stretches after which the pace is thought over, in nanoseconds.
pub(super) const STRETCH: u64 = 1_000_000_000;

/// LogDedup stretches after which a JVM counts as idle.
const QUIET: u32 = 5;

/// How long publications that followed each other too fast keep the pace fast, in nanoseconds: twice as long as ZGC
/// lets pass before it collects a heap at rest (`rule_major_proactive`, zDirector.cpp, JDK 21 to 25).
const HASTE: u64 = 600_000_000_000;

/// Decides the pace from what the looks of the last stretch saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateController {
    pace: Rate,
    /// The usual time between two looks, in nanoseconds.
    interval: u64,
    /// Whether it may count as idle.
    rests: bool,
    stretch: Stretch,
    quiet: u32,
    /// When the last publication was seen, and until when those before ask for haste.
    published: u64,
    hasty_until: u64,
}

/// What the looks of a stretch saw.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    began: u64,
    crowded: u64,
    pauses: u64,
    stirred: bool,
}

impl RateController {
    /// Starts at the usual pace, and stays there at least unless it `rests`.
    pub(super) fn new(interval: u64, rests: bool, now: u64) -> Self {
        let stretch = Stretch { began: now, ..Stretch::default() };
        Self { pace: Rate::Busy, interval, rests, stretch, quiet: 0, published: 0, hasty_until: 0 }
    }

    /// Takes in that words were published that the next publication overwrites, and whether they overwrote others unseen.
    /// Two within a usual interval are too fast for it.
    pub(super) fn publication(&mut self, now: u64, lost: bool) {
        let since = now.saturating_sub(std::mem::replace(&mut self.published, now));
        if lost || since < self.interval {
            self.hasty_until = now.saturating_add(HASTE);
        }
    }

    /// Takes a look in: the pauses completed since the one before in the busiest collector, and whether a collector
    /// does anything now.
    pub(super) fn look(&mut self, now: u64, pauses: u64, stirring: bool) -> Rate {
        let stretch = &mut self.stretch;
        stretch.crowded = stretch.crowded.saturating_add(u64::from(pauses > 1));
        stretch.pauses = stretch.pauses.saturating_add(pauses);
        stretch.stirred |= stirring || pauses > 0;
        if self.pace == Rate::Idle && stretch.stirred {
            self.turn(now, Rate::Busy);
        } else if now.saturating_sub(stretch.began) >= STRETCH {
            self.turn(now, self.next(now));
        }
        if now < self.hasty_until {
            self.pace = Rate::Fast;
        }
        self.pace
    }

    /// Begins the next stretch.
    fn turn(&mut self, now: u64, pace: Rate) {
        self.pace = pace;
        self.quiet = if self.stretch.stirred { 0 } else { self.quiet.saturating_add(1) };
        self.stretch = Stretch { began: now, ..Stretch::default() };
    }

    fn next(&self, now: u64) -> Rate {
        let Stretch { began, crowded, pauses, stirred } = self.stretch;
        let looks = now.saturating_sub(began).checked_div(self.interval).unwrap_or(0);
        match self.pace {
            // More than a tenth of the looks could not tell their pauses apart.
            Rate::Busy if crowded.saturating_mul(10) > looks => Rate::Fast,
            Rate::Busy if self.rests && !stirred && self.quiet >= QUIET => Rate::Idle,
            // At less than one pause in four usual intervals, two in one are rare.
            Rate::Fast if pauses.saturating_mul(self.interval).saturating_mul(4) < STRETCH => Rate::Busy,
            pace => pace,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
    use super::*;

    /// Paces at the end of each second, when every look of that second sees these pauses.
    fn paces(rests: bool, seconds: &[(u64, u64)]) -> Vec<Rate> {
        let mut tempo = RateController::new(10_000_000, rests, 0);
        let mut now = 0_u64;
        seconds
            .iter()
            .map(|(every, pauses)| {
                let mut pace = Rate::Busy;
                for look in 0..100 {
                    now += 10_000_000;
                    pace = tempo.look(now, if look % every == 0 { *pauses } else { 0 }, false);
                }
                pace
            })
            .collect()
    }

    #[test]
    fn crowded_looks_make_it_fast_and_quiet_makes_it_idle() {
        use Rate::{Busy, Fast, Idle};
        assert_eq!(paces(true, &[(2, 2), (1, 1), (10, 1), (10, 1)]), [Fast, Fast, Busy, Busy]);
        assert_eq!(paces(true, &[(20, 2), (20, 2)]), [Busy, Busy], "one look in twenty is not crowded enough");
        assert_eq!(paces(true, &[(1, 0); 7])[4..], [Busy, Idle, Idle]);
        assert_eq!(paces(true, &[(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (100, 1)]).last(), Some(&Busy));
        assert_eq!(paces(false, &[(1, 0); 7]), [Busy; 7], "one that must not be left alone");
    }

    #[test]
    fn publications_that_come_too_fast_make_it_fast_for_a_while() {
        const SECOND: u64 = 1_000_000_000;
        for (first, second, lost, pace) in [
            (SECOND, 2 * SECOND, false, Rate::Busy),
            (SECOND, SECOND + 8_000_000, false, Rate::Fast),
            (SECOND, 2 * SECOND, true, Rate::Fast),
        ] {
            let mut tempo = RateController::new(10_000_000, false, 0);
            tempo.publication(first, false);
            tempo.publication(second, lost);
            assert_eq!(tempo.look(second, 1, false), pace);
            assert_eq!(tempo.look(second + 599 * SECOND, 0, false), pace);
            tempo.look(second + 600 * SECOND, 0, false);
            assert_eq!(tempo.look(second + 601 * SECOND, 0, false), Rate::Busy);
        }
    }
}
