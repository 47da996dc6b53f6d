//! Rates of counters that are read every step, and that may change less often.

use std::time::{Duration, Instant};

/// The rate of a counter.
///
/// A counter that its source refreshes less often than it is read keeps its rate in between, and the next change is
/// divided by all the time since the last one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CounterRate {
    /// The last change: the value and when it was seen.
    changed: Option<(f64, Instant)>,
    rate: Option<f32>,
}

impl CounterRate {
    /// The rate a second after the counter was read as `value`. One that has not changed for `hold` has the rate `idle`.
    /// `None` at the first value, and where the counter has fallen: it began anew.
    pub(super) fn update(
        &mut self,
        value: Option<f64>,
        now: Instant,
        hold: Duration,
        idle: Option<f32>,
    ) -> Option<f32> {
        let (rate, changed) = match (self.changed, value) {
            (Some((before, then)), Some(value)) if value > before => {
                let seconds = now.saturating_duration_since(then).as_secs_f64();
                ((seconds > 0.0).then(|| ((value - before) / seconds) as f32), Some((value, now)))
            }
            (Some((before, then)), Some(value)) if value == before => {
                let is_idle = now.saturating_duration_since(then) >= hold;
                // Where nothing is known in between, the next change is spread over all of the time.
                let changed = if is_idle && idle.is_some() { (value, now) } else { (before, then) };
                (if is_idle { idle } else { self.rate }, Some(changed))
            }
            (_, value) => (None, value.map(|value| (value, now))),
        };
        (self.rate, self.changed) = (rate, changed);
        rate
    }

    /// The last rate.
    pub(super) fn last(&self) -> Option<f32> {
        self.rate
    }
}

/// The share of one counter's growth in another's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GrowthShare {
    changed: Option<[f64; 2]>,
    share: Option<f32>,
}

impl GrowthShare {
    /// Takes the values of the part and of the whole. The share stays while the whole does not grow.
    pub(super) fn update(&mut self, values: Option<[f64; 2]>) {
        (self.share, self.changed) = match (self.changed, values) {
            (Some([part_before, before]), Some([part, whole])) if whole > before && part >= part_before => {
                (Some(((part - part_before) / (whole - before)).min(1.0) as f32), values)
            }
            (Some([part_before, before]), Some([part, whole])) if whole == before && part == part_before => {
                (self.share, values)
            }
            _ => (None, values),
        };
    }

    /// The last share.
    pub(super) fn last(&self) -> Option<f32> {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(5);

    /// The rates of a counter that is read every step.
    fn rates(values: &[Option<f64>], hold: Duration, idle: Option<f32>) -> Vec<Option<f32>> {
        let (mut rate, mut now) = (CounterRate::default(), Instant::now());
        let update = |value: &Option<f64>| {
            now += STEP;
            rate.update(*value, now, hold, idle)
        };
        values.iter().map(update).collect()
    }

    #[test]
    fn a_rate_is_over_the_time_since_the_last_change() {
        let zero = Some(0.0);
        for (values, hold, idle, expected, why) in [
            (&[10.0, 20.0, 20.0, 25.0][..], 0, zero, &[None, Some(2.0), Some(0.0), Some(1.0)][..], "always fresh"),
            (
                &[10.0, 20.0, 20.0, 30.0],
                15,
                zero,
                &[None, Some(2.0), Some(2.0), Some(1.0)],
                "refreshed every second time",
            ),
            (&[10.0, 20.0, 20.0, 20.0], 10, zero, &[None, Some(2.0), Some(2.0), Some(0.0)], "idle"),
            (&[10.0, 20.0, 20.0, 50.0], 5, None, &[None, Some(2.0), None, Some(3.0)], "unknown in between"),
            (&[10.0, 20.0, 5.0, 15.0], 0, zero, &[None, Some(2.0), None, Some(2.0)], "it began anew"),
        ] {
            let values: Vec<_> = values.iter().copied().map(Some).collect();
            assert_eq!(rates(&values, Duration::from_secs(hold), idle), expected, "{why}");
        }
    }

    #[test]
    fn a_gap_has_no_rate() {
        let values = [Some(10.0), None, Some(20.0), Some(30.0)];
        assert_eq!(rates(&values, Duration::ZERO, Some(0.0)), [None, None, None, Some(2.0)]);
    }

    #[test]
    fn a_share_is_of_what_both_grew() {
        let mut share = GrowthShare::default();
        let mut update = |values| {
            share.update(values);
            share.last()
        };
        assert_eq!(update(Some([5.0, 10.0])), None);
        assert_eq!(update(Some([10.0, 20.0])), Some(0.5));
        assert_eq!(update(Some([10.0, 20.0])), Some(0.5), "not refreshed");
        assert_eq!(update(Some([0.0, 1.0])), None, "another group");
        assert_eq!(update(None), None);
    }
}
