//! The sampling thread: JVMs grouped by rate, on one clock.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::SamplerCounters;
use super::fast_path::FastPath;
use super::in_memory::Attention;
use super::jvm::{JvmSampler, Scratch, Tick};
use super::rate::Rate;
use super::settings::SamplerSettings;
use crate::providers::peak;

/// A JVM's samples, shared by its provider and the thread. It is sampled for as long as the provider is held.
pub(super) type SharedSampler = Arc<Mutex<JvmSampler>>;

/// Samples JVMs until the sender of `arrivals` is gone.
pub(super) fn run(
    settings: &SamplerSettings,
    arrivals: &Receiver<SharedSampler>,
    counters: &SamplerCounters,
    attention: &Attention,
) {
    let mut schedule = Schedule::new(settings);
    while schedule.wait(arrivals, attention) {
        schedule.tick(counters, attention);
        attention.rest();
    }
}

/// Which JVMs are sampled when.
#[derive(Debug)]
struct Schedule {
    groups: [RateGroup; Rate::ALL.len()],
    /// JVMs that arrived or whose rate changed: they join a group at the end of a tick.
    moving: Vec<FastPath>,
    scratch: Scratch,
}

impl Schedule {
    fn new(settings: &SamplerSettings) -> Self {
        let groups = Rate::ALL.map(|rate| RateGroup { rate, period: settings.period(rate), due: 0, jvms: Vec::new() });
        Self { groups, moving: Vec::new(), scratch: Scratch::default() }
    }

    /// Sleeps until a group is due, or until a JVM arrives where there is none, and takes all arrivals. False: the
    /// sender is gone.
    fn wait(&mut self, arrivals: &Receiver<SharedSampler>, attention: &Attention) -> bool {
        let enter = |sampler: SharedSampler| {
            attention.turn_to(&sampler);
            FastPath::new(sampler)
        };
        match self.groups.iter().filter(|group| !group.jvms.is_empty()).map(|group| group.due).min() {
            Some(due) => sleep_until(due),
            None => match arrivals.recv() {
                Ok(sampler) => self.moving.push(enter(sampler)),
                Err(_) => return false,
            },
        }
        loop {
            match arrivals.try_recv() {
                Ok(sampler) => self.moving.push(enter(sampler)),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Samples the groups that are due.
    fn tick(&mut self, counters: &SamplerCounters, attention: &Attention) {
        let now = monotonic();
        let tick = Tick { monotonic: now, windows: peak::ordinals(wall()) };
        for group in self.groups.iter_mut().filter(|group| !group.jvms.is_empty() && group.due <= now) {
            counters.ticks.fetch_add(1, Relaxed);
            counters.samples.fetch_add(group.jvms.len() as u64, Relaxed);
            group.sample(tick, &mut self.scratch, &mut self.moving, attention);
            counters.overruns.fetch_add(group.advance(monotonic()), Relaxed);
        }
        for jvm in self.moving.drain(..) {
            if let Some(group) = self.groups.iter_mut().find(|group| group.rate == jvm.rate) {
                group.add(jvm, now);
            }
        }
    }
}

/// JVMs that are sampled together.
#[derive(Debug)]
struct RateGroup {
    rate: Rate,
    period: u64,
    /// When the next sample is due; a multiple of `period`, so that groups coincide.
    due: u64,
    jvms: Vec<FastPath>,
}

impl RateGroup {
    fn add(&mut self, jvm: FastPath, now: u64) {
        if self.jvms.is_empty() {
            self.due = next_multiple(now, self.period);
        }
        self.jvms.push(jvm);
    }

    /// Takes one sample of every JVM. Those whose rate changed go to `moving`; those that are lost or without a
    /// provider are dropped.
    fn sample(&mut self, tick: Tick, scratch: &mut Scratch, moving: &mut Vec<FastPath>, attention: &Attention) {
        let mut at = 0;
        while let Some(jvm) = self.jvms.get_mut(at) {
            jvm.attract(attention);
            let stays = jvm.sample(tick, scratch);
            if stays && jvm.rate == self.rate {
                at = at.saturating_add(1);
                continue;
            }
            let jvm = self.jvms.swap_remove(at);
            if stays {
                moving.push(jvm);
            }
        }
    }

    /// Sets the time of the next sample, and returns how many were missed: they are skipped, never caught up.
    fn advance(&mut self, now: u64) -> u64 {
        let next = self.due.saturating_add(self.period);
        if now < next {
            self.due = next;
            return 0;
        }
        let due = next_multiple(now, self.period);
        let missed = due.saturating_sub(next).checked_div(self.period).unwrap_or(0);
        self.due = due;
        missed
    }
}

/// Nanoseconds of the monotonic clock.
pub(super) fn monotonic() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds since the epoch.
pub(super) fn wall() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

fn nanoseconds(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Absolute, so that a late wake-up does not shift later ones. A signal only makes one sample come early.
fn sleep_until(due: u64) {
    let at = Timespec {
        tv_sec: i64::try_from(due / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(due % 1_000_000_000).unwrap_or(0),
    };
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &at);
}

fn next_multiple(now: u64, period: u64) -> u64 {
    now.checked_div(period).and_then(|whole| whole.checked_add(1)).unwrap_or(0).saturating_mul(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_samples_are_counted_and_skipped() {
        let mut group = RateGroup { rate: Rate::Normal, period: 10, due: 100, jvms: Vec::new() };
        for (now, missed, due) in [(101, 0, 110), (119, 0, 120), (130, 1, 140), (175, 3, 180), (185, 0, 190)] {
            assert_eq!((group.advance(now), group.due), (missed, due), "at {now}");
        }
    }
}
