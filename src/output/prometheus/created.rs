//! When the cumulative series of each JVM were zero: formatted once for a page, since it is the same for all its series.

use std::ops::Range;

use super::Page;
use crate::fact::{Since, Values};

/// Formatted times by JVM and moment.
#[derive(Debug, Default)]
pub(super) struct CreatedTimes {
    bytes: Vec<u8>,
    /// In `bytes`, of each JVM; empty where the time is not known.
    ranges: Vec<[Range<usize>; 2]>,
}

impl CreatedTimes {
    /// The times of every JVM of a page; `format` appends one in seconds since the epoch.
    pub(super) fn of<'v, V: Values + 'v>(
        page: &Page,
        values: impl Fn(u32) -> &'v V,
        format: impl Fn(f64, &mut Vec<u8>),
    ) -> Self {
        let mut times = Self::default();
        times.ranges.reserve_exact(page.identities.len());
        for (target, _) in (0..).zip(&page.identities) {
            let values = values(target);
            let ranges = [Since::Start, Since::Attached].map(|since| {
                let begin = times.bytes.len();
                if let Some(seconds) = values.created(since).filter(is_known) {
                    format(seconds, &mut times.bytes);
                }
                begin..times.bytes.len()
            });
            times.ranges.push(ranges);
        }
        times
    }

    /// Empty where the time is not known.
    pub(super) fn get(&self, target: u32, since: Since) -> &[u8] {
        let moment = match since {
            Since::Start => 0,
            Since::Attached => 1,
            Since::Before => return &[],
        };
        let range = self.ranges.get(target as usize).and_then(|ranges| ranges.get(moment));
        range.and_then(|range| self.bytes.get(range.clone())).unwrap_or_default()
    }
}

/// Whether a time can be that of a JVM.
pub(super) fn is_known(seconds: &f64) -> bool {
    *seconds > 0.0 && seconds.is_finite()
}
