//! How often a JVM needs a sample.

/// The rates of sampling, from the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// Several pauses, or publications, fell between two samples.
    Fast,
    /// The configured interval.
    Normal,
    /// Nothing was collected for a while.
    Idle,
}

impl Rate {
    /// All of them, from the fastest.
    pub(super) const ALL: [Self; 3] = [Self::Fast, Self::Normal, Self::Idle];
}

/// Time after which the rate is decided again, in nanoseconds.
pub(super) const EVALUATION_PERIOD: u64 = 1_000_000_000;

/// Evaluations in a row without activity after which a JVM is idle.
const IDLE_AFTER: u32 = 5;

/// How long publications that followed each other too fast keep the rate fast, in nanoseconds: twice as long as ZGC
/// waits before it collects a heap at rest (`rule_major_proactive`, zDirector.cpp, JDK 21 to 25).
const FAST_HOLD: u64 = 600_000_000_000;

/// Decides the rate from what the samples since the last evaluation found.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateController {
    rate: Rate,
    /// The normal time between two samples, in nanoseconds.
    interval: u64,
    /// Whether the JVM may become idle.
    may_idle: bool,
    activity: Activity,
    /// Evaluations in a row without activity.
    inactive: u32,
    /// When the last publication was read, and until when earlier ones keep the rate fast.
    published: u64,
    fast_until: u64,
}

/// What the samples since the last evaluation found.
#[derive(Clone, Copy, Debug, Default)]
struct Activity {
    since: u64,
    /// Samples that found several pauses of one collector.
    crowded: u64,
    pauses: u64,
    any: bool,
}

impl RateController {
    /// Starts at the normal rate, and never goes below it unless the JVM `may_idle`.
    pub(super) fn new(interval: u64, may_idle: bool, now: u64) -> Self {
        let activity = Activity { since: now, ..Activity::default() };
        Self { rate: Rate::Normal, interval, may_idle, activity, inactive: 0, published: 0, fast_until: 0 }
    }

    /// Adds a publication that the next one overwrites, and whether it overwrote others that no sample read. Two within
    /// a normal interval are too fast for it.
    pub(super) fn record_publication(&mut self, now: u64, lost: bool) {
        let since = now.saturating_sub(std::mem::replace(&mut self.published, now));
        if lost || since < self.interval {
            self.fast_until = now.saturating_add(FAST_HOLD);
        }
    }

    /// Adds a sample: the pauses completed since the previous one in the busiest collector, and whether a collector is
    /// active. Returns the rate from here on.
    pub(super) fn record_sample(&mut self, now: u64, pauses: u64, active: bool) -> Rate {
        let activity = &mut self.activity;
        activity.crowded = activity.crowded.saturating_add(u64::from(pauses > 1));
        activity.pauses = activity.pauses.saturating_add(pauses);
        activity.any |= active || pauses > 0;
        if self.rate == Rate::Idle && activity.any {
            self.evaluate(now, Rate::Normal);
        } else if now.saturating_sub(activity.since) >= EVALUATION_PERIOD {
            self.evaluate(now, self.next(now));
        }
        if now < self.fast_until {
            self.rate = Rate::Fast;
        }
        self.rate
    }

    fn evaluate(&mut self, now: u64, rate: Rate) {
        self.rate = rate;
        self.inactive = if self.activity.any { 0 } else { self.inactive.saturating_add(1) };
        self.activity = Activity { since: now, ..Activity::default() };
    }

    fn next(&self, now: u64) -> Rate {
        let Activity { since, crowded, pauses, any } = self.activity;
        let samples = now.saturating_sub(since).checked_div(self.interval).unwrap_or(0);
        match self.rate {
            // More than a tenth of the samples found pauses whose lengths they could not separate.
            Rate::Normal if crowded.saturating_mul(10) > samples => Rate::Fast,
            Rate::Normal if self.may_idle && !any && self.inactive >= IDLE_AFTER => Rate::Idle,
            // At less than one pause in four normal intervals, two in one are rare.
            Rate::Fast if pauses.saturating_mul(self.interval).saturating_mul(4) < EVALUATION_PERIOD => Rate::Normal,
            rate => rate,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
    use super::*;

    /// Rates at the end of each second, where every so many samples find these pauses.
    fn rates(may_idle: bool, seconds: &[(u64, u64)]) -> Vec<Rate> {
        let mut controller = RateController::new(10_000_000, may_idle, 0);
        let mut now = 0_u64;
        seconds
            .iter()
            .map(|(every, pauses)| {
                let mut rate = Rate::Normal;
                for sample in 0..100 {
                    now += 10_000_000;
                    rate = controller.record_sample(now, if sample % every == 0 { *pauses } else { 0 }, false);
                }
                rate
            })
            .collect()
    }

    #[test]
    fn crowded_samples_raise_the_rate_and_inactivity_lowers_it() {
        use Rate::{Fast, Idle, Normal};
        assert_eq!(rates(true, &[(2, 2), (1, 1), (10, 1), (10, 1)]), [Fast, Fast, Normal, Normal]);
        assert_eq!(rates(true, &[(20, 2), (20, 2)]), [Normal, Normal], "one sample in twenty is not crowded enough");
        assert_eq!(rates(true, &[(1, 0); 7])[4..], [Normal, Idle, Idle]);
        assert_eq!(rates(true, &[(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (100, 1)]).last(), Some(&Normal));
        assert_eq!(rates(false, &[(1, 0); 7]), [Normal; 7], "one that may not become idle");
    }

    #[test]
    fn publications_that_come_too_fast_hold_the_fast_rate() {
        const SECOND: u64 = 1_000_000_000;
        for (first, second, lost, rate) in [
            (SECOND, 2 * SECOND, false, Rate::Normal),
            (SECOND, SECOND + 8_000_000, false, Rate::Fast),
            (SECOND, 2 * SECOND, true, Rate::Fast),
        ] {
            let mut controller = RateController::new(10_000_000, false, 0);
            controller.record_publication(first, false);
            controller.record_publication(second, lost);
            assert_eq!(controller.record_sample(second, 1, false), rate);
            assert_eq!(controller.record_sample(second + 599 * SECOND, 0, false), rate);
            controller.record_sample(second + 600 * SECOND, 0, false);
            assert_eq!(controller.record_sample(second + 601 * SECOND, 0, false), Rate::Normal);
        }
    }
}
