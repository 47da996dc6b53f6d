//! Largest values of fixed windows of the wall clock, so that any number of scrapers read the same maximum.

use std::time::Duration;

/// Number of window lengths that are kept side by side.
pub(crate) const WINDOW_COUNT: usize = 2;

/// Lengths of the windows, each aligned to multiples of itself since the epoch.
pub(crate) const WINDOW_LENGTHS: [Duration; WINDOW_COUNT] = [Duration::from_secs(15), Duration::from_secs(60)];

/// The ordinal of the open window of each length: the time since the epoch, in nanoseconds, divided by the length.
pub(crate) fn ordinals(now: u64) -> [i64; WINDOW_COUNT] {
    WINDOW_LENGTHS.map(|length| {
        let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        now.checked_div(length).and_then(|ordinal| i64::try_from(ordinal).ok()).unwrap_or(0)
    })
}

/// The open windows: all peaks of one JVM open and close theirs together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Windows {
    open: [Option<i64>; WINDOW_COUNT],
    /// Whether the open window was sampled from its start.
    complete: [bool; WINDOW_COUNT],
}

/// What a sample does to the window of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowChange {
    /// It stays open.
    Unchanged,
    /// It closed, sampled from start to end, and the next one opened.
    Completed,
    /// It closed without having been sampled completely, or the clock jumped.
    Discarded,
}

impl Windows {
    /// Moves on to the windows with these [`ordinals`]. `None`: all stay open.
    pub(crate) fn advance(&mut self, ordinals: [i64; WINDOW_COUNT]) -> Option<[WindowChange; WINDOW_COUNT]> {
        if self.open == ordinals.map(Some) {
            return None;
        }
        let mut changes = [WindowChange::Unchanged; WINDOW_COUNT];
        let windows = changes.iter_mut().zip(&mut self.open).zip(&mut self.complete).zip(ordinals);
        for (((change, open), complete), ordinal) in windows {
            if *open == Some(ordinal) {
                continue;
            }
            let follows = open.is_some_and(|open| open.checked_add(1) == Some(ordinal));
            *change = if follows && *complete { WindowChange::Completed } else { WindowChange::Discarded };
            *complete = follows;
            *open = Some(ordinal);
        }
        Some(changes)
    }
}

/// The largest value of one quantity in each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peak {
    open: [i64; WINDOW_COUNT],
    last: [Option<i64>; WINDOW_COUNT],
}

impl Default for Peak {
    fn default() -> Self {
        Self { open: [i64::MIN; WINDOW_COUNT], last: [None; WINDOW_COUNT] }
    }
}

impl Peak {
    /// Closes windows, as [`Windows::advance`] returned.
    pub(crate) fn advance(&mut self, changes: [WindowChange; WINDOW_COUNT]) {
        for ((change, open), last) in changes.iter().zip(&mut self.open).zip(&mut self.last) {
            if *change != WindowChange::Unchanged {
                *last = (*change == WindowChange::Completed && *open != i64::MIN).then_some(*open);
                *open = i64::MIN;
            }
        }
    }

    /// Adds a value to the open windows.
    pub(crate) fn record(&mut self, value: i64) {
        for open in &mut self.open {
            *open = value.max(*open);
        }
    }

    /// The largest value of the last window of that length; `None` until one was sampled from start to end.
    pub(crate) fn last(&self, window: usize) -> Option<i64> {
        self.last.get(window).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_windows_sampled_from_start_to_end_are_reported() {
        let (mut windows, mut peak) = (Windows::default(), Peak::default());
        let mut sample = |ordinals, value| {
            if let Some(changes) = windows.advance(ordinals) {
                peak.advance(changes);
            }
            peak.record(value);
            [peak.last(0), peak.last(1)]
        };
        for (ordinals, value, expected, why) in [
            ([10, 2], 99, [None, None], "attached in the middle"),
            ([11, 2], 5, [None, None], "the first window was not complete"),
            ([11, 2], 7, [None, None], "still open"),
            ([12, 3], 1, [Some(7), None], "the second was"),
            ([13, 3], 2, [Some(1), None], "and the third"),
            ([14, 4], 3, [Some(2), Some(2)], "long windows likewise"),
            ([17, 4], 4, [None, Some(2)], "a gap: the last window was not sampled"),
            ([18, 4], 4, [None, Some(2)], "nor was this one from its start"),
            ([19, 5], 4, [Some(4), Some(4)], "complete again"),
            ([3, 1], 4, [None, None], "the clock was set back"),
        ] {
            assert_eq!(sample(ordinals, value), expected, "{why}");
        }
    }
}
