//! Pauses that ended since somebody last asked.

use crate::fact::{CompletedPause, PauseBatch};

/// Pauses that are kept singly.
const PAUSES_MAXIMUM: usize = 32;

/// The longest pause, and the longest ones singly, in ticks, with the time of the sample that found each.
#[derive(Debug, Default)]
pub(super) struct PauseLog {
    longest: i64,
    /// The time in nanoseconds of the monotonic clock, and the length.
    pauses: Vec<(u64, i64)>,
}

impl PauseLog {
    /// Adds a pause.
    pub(super) fn add(&mut self, monotonic: u64, ticks: i64) {
        self.longest = self.longest.max(ticks);
        if self.pauses.len() < PAUSES_MAXIMUM {
            self.pauses.push((monotonic, ticks));
        } else if let Some(shortest) = self.pauses.iter_mut().min_by_key(|(_, ticks)| *ticks)
            && shortest.1 < ticks
        {
            *shortest = (monotonic, ticks);
        }
    }

    /// What was added since the last call, and how long before `now` that was.
    pub(super) fn take(&mut self, now: u64, frequency: f64) -> PauseBatch {
        let Self { longest, pauses } = std::mem::take(self);
        #[allow(clippy::cast_possible_truncation, reason = "seven digits are enough to draw")]
        let seconds = |ticks: i64| (ticks as f64 / frequency) as f32;
        let pause = |(at, ticks): (u64, i64)| CompletedPause {
            millis_ago: u32::try_from(now.saturating_sub(at).wrapping_div(1_000_000)).unwrap_or(u32::MAX),
            seconds: seconds(ticks),
        };
        PauseBatch { longest: seconds(longest), pauses: pauses.into_iter().map(pause).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::arithmetic_side_effects)]
    fn the_longest_pauses_are_given_once() {
        let mut log = PauseLog::default();
        for pause in 1..=40_u32 {
            log.add(u64::from(pause) * 1_000_000, i64::from(pause) * 10);
        }
        log.add(41_000_000, 5);
        let batch = log.take(50_000_000, 1000.0);
        assert_eq!((batch.longest, batch.pauses.len()), (0.4, PAUSES_MAXIMUM));
        assert!(batch.pauses.contains(&CompletedPause { millis_ago: 10, seconds: 0.4 }), "{batch:?}");
        assert!(batch.pauses.iter().all(|pause| pause.seconds > 0.08), "the shortest were left out: {batch:?}");
        assert_eq!(log.take(60_000_000, 1000.0), PauseBatch::default());
    }
}
