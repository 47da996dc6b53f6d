//! Largest values of fixed windows of the wall clock, so that any number of scrapers see the same maximum.

/// Number of window lengths that are kept side by side.
pub(super) const WINDOWS: usize = 2;

/// The windows that are open now: all peaks of one JVM open and close theirs together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    open: [Option<i64>; WINDOWS],
    /// Whether the open window was watched from its start.
    whole: [bool; WINDOWS],
}

/// What becomes of one window at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It goes on.
    Stays,
    /// It closed, watched from start to end, and the next one opened.
    Closed,
    /// It closed without having been watched wholly, or the clock jumped.
    Lost,
}

impl Windows {
    /// No window yet; the first to open is not whole.
    pub(super) fn new() -> Self {
        Self { open: [None; WINDOWS], whole: [false; WINDOWS] }
    }

    /// Moves on to the windows with these ordinals (time since the epoch divided by the window's length). `None`: all
    /// go on.
    pub(super) fn turn(&mut self, ordinals: [i64; WINDOWS]) -> Option<[Turn; WINDOWS]> {
        if self.open == ordinals.map(Some) {
            return None;
        }
        let mut turns = [Turn::Stays; WINDOWS];
        for (((turn, open), whole), ordinal) in turns.iter_mut().zip(&mut self.open).zip(&mut self.whole).zip(ordinals)
        {
            if *open == Some(ordinal) {
                continue;
            }
            let follows = open.is_some_and(|open| open.checked_add(1) == Some(ordinal));
            *turn = if follows && *whole { Turn::Closed } else { Turn::Lost };
            *whole = follows;
            *open = Some(ordinal);
        }
        Some(turns)
    }
}

/// The largest value of one quantity in each window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peak {
    open: [i64; WINDOWS],
    last: [Option<i64>; WINDOWS],
}

impl Peak {
    /// Nothing seen.
    pub(super) fn new() -> Self {
        Self { open: [i64::MIN; WINDOWS], last: [None; WINDOWS] }
    }

    /// Closes windows, as [`Windows::turn`] told.
    pub(super) fn turn(&mut self, turns: [Turn; WINDOWS]) {
        for ((turn, open), last) in turns.iter().zip(&mut self.open).zip(&mut self.last) {
            if *turn != Turn::Stays {
                *last = (*turn == Turn::Closed && *open != i64::MIN).then_some(*open);
                *open = i64::MIN;
            }
        }
    }

    /// A value seen in the open windows.
    pub(super) fn see(&mut self, value: i64) {
        for open in &mut self.open {
            *open = value.max(*open);
        }
    }

    /// The largest value of the last window of that length; `None` until one was watched from start to end.
    pub(super) fn last(&self, window: usize) -> Option<i64> {
        self.last.get(window).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_windows_watched_from_start_to_end_are_told() {
        let (mut windows, mut peak) = (Windows::new(), Peak::new());
        let mut look = |ordinals, value| {
            if let Some(turns) = windows.turn(ordinals) {
                peak.turn(turns);
            }
            peak.see(value);
            [peak.last(0), peak.last(1)]
        };
        for (ordinals, value, expected, why) in [
            ([10, 2], 99, [None, None], "attached in the middle"),
            ([11, 2], 5, [None, None], "the first window was not whole"),
            ([11, 2], 7, [None, None], "still open"),
            ([12, 3], 1, [Some(7), None], "the second was"),
            ([13, 3], 2, [Some(1), None], "and the third"),
            ([14, 4], 3, [Some(2), Some(2)], "long windows likewise"),
            ([17, 4], 4, [None, Some(2)], "a gap: the last window was not watched"),
            ([18, 4], 4, [None, Some(2)], "nor was this one from its start"),
            ([19, 5], 4, [Some(4), Some(4)], "whole again"),
            ([3, 1], 4, [None, None], "the clock was set back"),
        ] {
            assert_eq!(look(ordinals, value), expected, "{why}");
        }
    }
}
