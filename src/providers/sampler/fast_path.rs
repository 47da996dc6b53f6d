//! A JVM's place in the sampling thread: enough to see that nothing happened, without its lock.

use std::sync::Arc;

use super::jvm::{Scratch, Tick, WordCursor};
use super::level::{Gauges, Levels};
use super::peak::WINDOWS;
use super::rate::{Rate, STRETCH};
use super::sample_plan::PULSE;
use super::schedule::SharedSampler;
use crate::perfdata::{ChangeDetector, Consistency, Region, RegionIdentity};
use crate::sync::lock;

/// Nanoseconds between two looks at the levels of a JVM that rests. HotSpot writes them every 50 ms
/// (`PerfDataSamplingInterval`); a little less, so that a tick that comes early does not leave one out.
const LEVELS: u64 = 45_000_000;

/// Most looks find nothing new. With a thousand JVMs their price is the memory that they touch, so what those need is
/// a cache line or two here, and of the region.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct FastPath {
    /// `None` where nothing tells that nothing happened: every look is whole then.
    pulse: Option<ChangeDetector<PULSE>>,
    /// The pulse when all was last taken in.
    known: [i64; PULSE],
    /// When more than the pulse is due, on the steady clock; 0 while a collector does anything.
    levels_at: u64,
    /// When a whole look is due.
    whole_at: u64,
    windows: [i64; WINDOWS],
    region: Arc<Region>,
    region_identity: RegionIdentity,
    /// [`SamplePlan::level_offsets`](super::sample_plan::SamplePlan::level_offsets)
    offsets: Box<[u32]>,
    /// [`JvmSampler::settled`](super::jvm::JvmSampler::settled) when all was last taken in.
    settled: Vec<i64>,
    gauges: Gauges,
    levels: Levels,
    pace: Rate,
    track: SharedSampler,
}

impl FastPath {
    /// A place for a JVM that was not looked at yet.
    pub(super) fn new(track: SharedSampler) -> Self {
        let (region, region_identity, list) = lock(&track).parts();
        Self {
            pulse: list.pulse_offsets().and_then(|offsets| ChangeDetector::new(&region, &region_identity, offsets)),
            known: [0; PULSE],
            levels_at: 0,
            whole_at: 0,
            windows: [0; WINDOWS],
            region,
            region_identity,
            offsets: list.level_offsets().unwrap_or_default().into(),
            settled: Vec::new(),
            gauges: Gauges::of(&list),
            levels: Levels::default(),
            pace: Rate::Busy,
            track,
        }
    }

    /// When to look again, as last decided.
    pub(super) fn pace(&self) -> Rate {
        self.pace
    }

    /// Looks once, in most cases with one read. False: there is nothing left to look at, or nobody to look for.
    pub(super) fn look(&mut self, now: Tick, scratch: &mut Scratch) -> bool {
        if self.levels_at > 0 && now.steady >= self.levels_at && self.look_at_levels(now, scratch) {
            return true;
        }
        let pulse = self.pulse.as_ref().and_then(ChangeDetector::load);
        if pulse == Some(self.known) && now.steady < self.levels_at {
            return true;
        }
        self.look_at_all(now, pulse, scratch)
    }

    /// False: a whole look is wanted.
    fn look_at_levels(&mut self, now: Tick, scratch: &mut Scratch) -> bool {
        if now.steady >= self.whole_at || self.windows != now.windows {
            return false;
        }
        // The whole look meets the same error, and says so to the provider.
        let Ok(sight) = self.region.read_once(&self.region_identity, &self.offsets, &mut scratch.words) else {
            return false;
        };
        let Some(mut levels) = self.levels_of(scratch) else { return false };
        if sight == Consistency::MaybeTorn && levels != self.levels {
            if self.region.read_fast(&self.region_identity, &self.offsets, &mut scratch.words).is_err() {
                return false;
            }
            let Some(whole) = self.levels_of(scratch) else { return false };
            levels = whole;
        }
        self.levels = levels;
        self.levels_at = now.steady.saturating_add(LEVELS);
        true
    }

    /// The levels with those of the words read; `None` where the words before them are not those that were taken in.
    fn levels_of(&self, scratch: &Scratch) -> Option<Levels> {
        let mut words = WordCursor(&scratch.words);
        let rests = words.take(PULSE) == self.known && words.take(self.settled.len()) == self.settled;
        let mut levels = self.levels;
        rests.then(|| self.gauges.read(&mut words, &mut levels))?;
        Some(levels)
    }

    /// `pulse` is from before the words of this look, so that what happens after them makes it another one.
    fn look_at_all(&mut self, now: Tick, pulse: Option<[i64; PULSE]>, scratch: &mut Scratch) -> bool {
        if Arc::strong_count(&self.track) == 1 {
            return false;
        }
        let mut track = lock(&self.track);
        let Some(outlook) = track.look(now, std::mem::take(&mut self.levels), scratch) else { return false };
        self.settled.clear();
        self.settled.extend(track.settled());
        drop(track);
        self.pace = outlook.pace;
        self.known = pulse.unwrap_or_default();
        self.levels_at = if outlook.rests && pulse.is_some() { now.steady.saturating_add(LEVELS) } else { 0 };
        self.whole_at = now.steady.saturating_add(STRETCH);
        self.windows = now.windows;
        true
    }
}
