//! How often a JVM wants to be looked at.

/// Seats of the three rounds, from the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Several pauses fell between two looks too often.
    Fast,
    /// The usual.
    Busy,
    /// Nothing was collected for a while.
    Idle,
}

impl Pace {
    /// All of them, from the fastest.
    pub(super) const ALL: [Self; 3] = [Self::Fast, Self::Busy, Self::Idle];
}

/// Length of the stretches after which the pace is thought over, in nanoseconds.
pub(super) const STRETCH: u64 = 1_000_000_000;

/// Quiet stretches after which a JVM counts as idle.
const QUIET: u32 = 5;

/// Decides the pace from what the looks of the last stretch saw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tempo {
    pace: Pace,
    /// The usual time between two looks, in nanoseconds.
    interval: u64,
    began: u64,
    crowded: u64,
    pauses: u64,
    stirred: bool,
    quiet: u32,
}

impl Tempo {
    /// Starts at the usual pace.
    pub(super) fn new(interval: u64, now: u64) -> Self {
        Self { pace: Pace::Busy, interval, began: now, crowded: 0, pauses: 0, stirred: false, quiet: 0 }
    }

    /// Takes a look in: the pauses completed since the one before in the busiest collector, and whether a collector
    /// does anything now.
    pub(super) fn look(&mut self, now: u64, pauses: u64, stirring: bool) -> Pace {
        self.crowded = self.crowded.saturating_add(u64::from(pauses > 1));
        self.pauses = self.pauses.saturating_add(pauses);
        self.stirred |= stirring || pauses > 0;
        if self.pace == Pace::Idle && self.stirred {
            *self = Self::new(self.interval, now);
        } else if now.saturating_sub(self.began) >= STRETCH {
            let pace = self.next(now);
            let quiet = if self.stirred { 0 } else { self.quiet.saturating_add(1) };
            *self = Self { pace, quiet, ..Self::new(self.interval, now) };
        }
        self.pace
    }

    fn next(&self, now: u64) -> Pace {
        let looks = now.saturating_sub(self.began).checked_div(self.interval).unwrap_or(0);
        match self.pace {
            // More than a tenth of the looks could not tell their pauses apart.
            Pace::Busy if self.crowded.saturating_mul(10) > looks => Pace::Fast,
            Pace::Busy if !self.stirred && self.quiet >= QUIET => Pace::Idle,
            // At less than one pause in four usual intervals, two in one are rare.
            Pace::Fast if self.pauses.saturating_mul(self.interval).saturating_mul(4) < STRETCH => Pace::Busy,
            pace => pace,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
    use super::*;

    /// Paces at the end of each second, when every look of that second sees these pauses.
    fn paces(seconds: &[(u64, u64)]) -> Vec<Pace> {
        let mut tempo = Tempo::new(10_000_000, 0);
        let mut now = 0_u64;
        seconds
            .iter()
            .map(|(every, pauses)| {
                let mut pace = Pace::Busy;
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
        use Pace::{Busy, Fast, Idle};
        assert_eq!(paces(&[(2, 2), (1, 1), (10, 1), (10, 1)]), [Fast, Fast, Busy, Busy]);
        assert_eq!(paces(&[(20, 2), (20, 2)]), [Busy, Busy], "one look in twenty is not crowded enough");
        assert_eq!(paces(&[(1, 0); 7])[4..], [Busy, Idle, Idle]);
        assert_eq!(paces(&[(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (100, 1)]).last(), Some(&Busy));
    }
}
