//! The sampling thread: three rounds of JVMs, one clock.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};

use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::fast_path::FastPath;
use super::jvm::{JvmSampler, Scratch, Tick};
use super::peak::WINDOWS;
use super::rate::Rate;
use super::{SamplerCounters, SamplerSettings};

/// A JVM under watch, shared by its provider and the thread. It is watched for as long as the provider is held.
pub(super) type SharedSampler = Arc<Mutex<JvmSampler>>;

/// JVMs that are looked at together.
#[derive(Debug)]
struct Round {
    pace: Rate,
    period: u64,
    /// When the next look is due; a multiple of `period`, so that rounds coincide.
    due: u64,
    seats: Vec<FastPath>,
}

impl Round {
    fn admit(&mut self, seat: FastPath, now: u64) {
        if self.seats.is_empty() {
            self.due = next_multiple(now, self.period);
        }
        self.seats.push(seat);
    }

    /// Sets the next look, and tells how many were missed: they are left out, never caught up.
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

/// Looks at JVMs until the sender of `arrivals` is gone.
pub(super) fn run(settings: &SamplerSettings, arrivals: &Receiver<SharedSampler>, counters: &SamplerCounters) {
    let mut rounds = Rate::ALL.map(|pace| Round { pace, period: settings.period(pace), due: 0, seats: Vec::new() });
    let mut scratch = Scratch::default();
    let mut moves: Vec<FastPath> = Vec::new();
    loop {
        let occupied = rounds.iter().filter(|round| !round.seats.is_empty());
        match occupied.map(|round| round.due).min() {
            Some(due) => sleep_until(due),
            // Nobody to look at, and so nothing to wake up for.
            None => match arrivals.recv() {
                Ok(track) => moves.push(FastPath::new(track)),
                Err(_) => return,
            },
        }
        loop {
            match arrivals.try_recv() {
                Ok(track) => moves.push(FastPath::new(track)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let now = steady();
        let moment = Tick { steady: now, windows: ordinals(settings) };
        for round in rounds.iter_mut().filter(|round| !round.seats.is_empty() && round.due <= now) {
            counters.ticks.add(1);
            counters.looks.add(round.seats.len() as u64);
            look_at(round, moment, &mut scratch, &mut moves);
            counters.overruns.add(round.advance(steady()));
        }
        for seat in moves.drain(..) {
            if let Some(round) = rounds.iter_mut().find(|round| round.pace == seat.pace()) {
                round.admit(seat, now);
            }
        }
    }
}

/// One look at every JVM of a round; those that want another pace go to `moves`, those without a provider are let go.
fn look_at(round: &mut Round, moment: Tick, scratch: &mut Scratch, moves: &mut Vec<FastPath>) {
    let mut at = 0;
    while let Some(seat) = round.seats.get_mut(at) {
        let stays = seat.look(moment, scratch);
        if stays && seat.pace() == round.pace {
            at = at.saturating_add(1);
            continue;
        }
        let seat = round.seats.swap_remove(at);
        if stays {
            moves.push(seat);
        }
    }
}

/// Nanoseconds of the monotonic clock.
pub(super) fn steady() -> u64 {
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

fn ordinals(settings: &SamplerSettings) -> [i64; WINDOWS] {
    let now = wall();
    settings.windows.map(|length| {
        let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        now.checked_div(length).and_then(|ordinal| i64::try_from(ordinal).ok()).unwrap_or(0)
    })
}

/// Absolute, so that a late wake-up does not shift the ones after it. A signal only makes a look come early.
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
    fn missed_looks_are_counted_and_left_out() {
        let mut round = Round { pace: Rate::Busy, period: 10, due: 100, seats: Vec::new() };
        for (now, missed, due) in [(101, 0, 110), (119, 0, 120), (130, 1, 140), (175, 3, 180), (185, 0, 190)] {
            assert_eq!((round.advance(now), round.due), (missed, due), "at {now}");
        }
    }
}
