//! Pause lengths as a histogram, with fixed and with exponential buckets.

use std::sync::Arc;

use super::pause::CompletedPauses;
use crate::metric::{Histogram, exponential};

/// A histogram that readers share; a reader that still holds the last state costs the next change one copy.
#[derive(Clone, Debug)]
pub(super) struct Distribution {
    pub(super) histogram: Arc<Histogram>,
    /// The sum in ticks, so that it stays exactly that of PerfData.
    ticks: i64,
    frequency: f64,
}

impl Distribution {
    /// Empty, with these upper bounds in seconds, for ticks of that frequency; `created` in seconds since the epoch.
    pub(super) fn new(bounds: &Arc<[f64]>, frequency: f64, created: f64) -> Self {
        let histogram = Histogram {
            bounds: Arc::clone(bounds),
            counts: vec![0; bounds.len().saturating_add(1)],
            sum: 0.0,
            created,
            exponential: Some(exponential::empty()),
        };
        Self { histogram: Arc::new(histogram), ticks: 0, frequency }
    }

    /// Adds pauses: exact lengths where known, the others at their mean.
    pub(super) fn add(&mut self, pauses: &CompletedPauses) {
        self.ticks = self.ticks.saturating_add(pauses.time);
        let histogram = Arc::make_mut(&mut self.histogram);
        histogram.sum = self.ticks as f64 / self.frequency;
        if let Some(last) = pauses.last {
            insert(histogram, last as f64 / self.frequency, 1);
        }
        if let (count @ 1.., time) = pauses.others() {
            insert(histogram, time as f64 / count as f64 / self.frequency, count);
        }
    }
}

fn insert(histogram: &mut Histogram, seconds: f64, times: u64) {
    let bucket = histogram.bounds.partition_point(|bound| *bound < seconds);
    if let Some(count) = histogram.counts.get_mut(bucket) {
        *count = count.saturating_add(times);
    }
    if let Some(buckets) = &mut histogram.exponential {
        exponential::record(buckets, seconds, times);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_the_sum_is_exact() {
        let mut distribution = Distribution::new(&[0.01, 0.1, 1.0, 10.0].into(), 1e9, 5.0);
        for (count, time, last) in [
            (1, 10_000_000, Some(10_000_000)),
            (1, 10_000_001, Some(10_000_001)),
            (3, 9_000_003, Some(9_000_000)),
            (2, 40_000_000_000, None),
            (0, 7, None),
        ] {
            distribution.add(&CompletedPauses { count, time, last });
        }
        let histogram = distribution.histogram;
        assert_eq!(histogram.counts, [4, 1, 0, 0, 2]);
        assert_eq!(histogram.sum, 40_029_000_011.0 / 1e9);
        assert_eq!(histogram.created, 5.0);
        let exponential = histogram.exponential.as_ref().unwrap();
        assert_eq!(exponential.counts.iter().sum::<u64>() + exponential.zero_count, 7);
    }
}
