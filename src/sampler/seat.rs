//! A JVM's place in the sampling thread: enough to see that nothing happened, without its lock.

use std::sync::{Arc, PoisonError};

use super::pace::Pace;
use super::peak::WINDOWS;
use super::rounds::Shared;
use super::track::{Moment, Quiet, Scratch, Words, sum};
use super::watchlist::{NO_GC, NO_GC_BYTES, Text};
use crate::perfdata::{Region, Seal};

/// Collectors that a JVM may have.
const COLLECTORS: usize = 4;

/// Most words of a quick look: the collectors, two of a cause, four of pools.
const WORDS: usize = COLLECTORS + 6;

/// Most looks find nothing new. What those need lies here in one piece, seats side by side: with a thousand JVMs the
/// price of a look is the memory that it touches.
#[derive(Debug)]
pub(super) struct Seat {
    region: Arc<Region>,
    seal: Seal,
    offsets: [u32; WORDS],
    /// How many of `offsets` there are; none where they would not fit, and every look is whole.
    words: usize,
    collectors: usize,
    /// `invocations` as last taken in.
    invocations: [i64; COLLECTORS],
    cause: Option<Text>,
    sums_heap: bool,
    quiet: Quiet,
    rests: bool,
    /// When a whole look is due, nanoseconds of the steady clock.
    whole_at: u64,
    windows: [i64; WINDOWS],
    pace: Pace,
    track: Shared,
}

impl Seat {
    /// A place for a JVM that was not looked at yet.
    pub(super) fn new(track: Shared) -> Self {
        let (region, seal, list) = {
            let track = track.lock().unwrap_or_else(PoisonError::into_inner);
            let (region, seal, list) = track.parts();
            (region, seal, list.clone())
        };
        let offsets = list.quick_offsets();
        let fits = offsets.len() <= WORDS && list.pauses.len() <= COLLECTORS;
        Self {
            region,
            seal,
            offsets: std::array::from_fn(|at| offsets.get(at).copied().unwrap_or(0)),
            words: if fits { offsets.len() } else { 0 },
            collectors: list.pauses.len(),
            invocations: [0; COLLECTORS],
            cause: list.cycles.map(|(_, cause)| cause),
            sums_heap: list.heap_peak,
            quiet: Quiet::default(),
            rests: false,
            whole_at: 0,
            windows: [0; WINDOWS],
            pace: Pace::Busy,
            track,
        }
    }

    /// When to look again, as last decided.
    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Looks once; a whole look comes at least every `whole` nanoseconds. False: there is nothing left to look at, or
    /// nobody to look for.
    pub(super) fn look(&mut self, now: Moment, whole: u64, scratch: &mut Scratch) -> bool {
        if self.is_quiet(now, scratch) {
            self.quiet.looks = self.quiet.looks.saturating_add(1);
            return true;
        }
        if Arc::strong_count(&self.track) == 1 {
            return false;
        }
        let mut track = self.track.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(outlook) = track.look(now, std::mem::take(&mut self.quiet), scratch) else { return false };
        for (known, invocations) in self.invocations.iter_mut().zip(track.invocations()) {
            *known = invocations;
        }
        drop(track);
        self.pace = outlook.pace;
        self.rests = outlook.rests && self.words > 0;
        self.whole_at = now.steady.saturating_add(whole);
        self.windows = now.windows;
        true
    }

    /// Whether nothing happened that wants a whole look.
    fn is_quiet(&mut self, now: Moment, scratch: &mut Scratch) -> bool {
        if !self.rests || now.steady >= self.whole_at || self.windows != now.windows {
            return false;
        }
        let offsets = self.offsets.get(..self.words).unwrap_or_default();
        if self.region.peek(&self.seal, offsets, &mut scratch.words).is_err() {
            // The whole look meets the same error, and says so to the board.
            return false;
        }
        let mut words = Words(&scratch.words);
        if Some(words.take(self.collectors)) != self.invocations.get(..self.collectors) {
            return false;
        }
        let cause = self.cause.map(|cause| (cause, words.take(cause.words(NO_GC_BYTES).count())));
        if cause.is_some_and(|(cause, words)| !cause.is(words, NO_GC)) {
            return false;
        }
        if self.sums_heap {
            self.quiet.heap = self.quiet.heap.max(Some(sum(words.0)));
        }
        true
    }
}
