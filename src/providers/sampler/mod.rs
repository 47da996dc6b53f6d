//! What only a mapped region can tell between scrapes: pauses one by one, true peaks, allocation.
//!
//! One thread looks at every JVM, usually every 10 ms; where nothing is collected every 100 ms, and where pauses or what
//! ZGC publishes come faster than looks, every 2 ms. Most looks find that nothing happened, from a word or two that
//! change with every collection. What moves without one is looked at as often as HotSpot itself writes it, and all of it
//! whenever a collector did something. What a look adds up to is a [`Provider`], read under a lock that is held for one look
//! or one read.
//!
//! # Promise
//! The count and sum of `gc.pause` always equal the change of HotSpot's own counters since the JVM was
//! added: a look that comes too late only blurs which bucket a pause falls into, and such pauses are counted.
//! What is unsound for a collector or JDK has no fact: see [`SamplePlan`].

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::panic
)]

mod allocation;
mod cycle;
mod distribution;
mod facts;
mod fast_path;
mod jvm;
mod level;
mod pause;
mod peak;
mod rate;
mod sample_plan;
mod schedule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub use allocation::AllocationRule;
pub use sample_plan::{AllocationSource, PauseSource, PoolSource, SamplePlan, Survivors};

use crate::fact::Provider;
use crate::fact::Reading;
use crate::perfdata::{Region, RegionIdentity};
use jvm::JvmSampler;
use rate::Rate;

use crate::sync::lock;

/// How often to look, and what to make of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerSettings {
    /// Time between two looks at a JVM that collects; where pauses crowd, a fifth of it. Zero: no sampling.
    pub interval: Duration,
    /// Time between two looks at a JVM that does not, and whose collector has no concurrent cycles, which might begin and
    /// end between two of them; at least `interval`.
    pub idle_interval: Duration,
    /// Upper bounds of the buckets of pauses in seconds, ascending.
    pub bounds: Arc<[f64]>,
    /// Whether pauses are told apart by their cause, which multiplies their series.
    pub causes: bool,
    /// Lengths of the windows that peaks are kept for, each aligned to multiples of itself since the epoch.
    pub windows: [Duration; peak::WINDOWS],
}

impl Default for SamplerSettings {
    /// 10 ms, 100 ms, the bounds of the semantic conventions, no causes, windows of 15 s and 60 s.
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(10),
            idle_interval: Duration::from_millis(100),
            bounds: [0.01, 0.1, 1.0, 10.0].into(),
            causes: false,
            windows: [Duration::from_secs(15), Duration::from_secs(60)],
        }
    }
}

impl SamplerSettings {
    /// `interval` in nanoseconds.
    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Time between two looks at a pace, in nanoseconds, never zero.
    fn period(&self, pace: Rate) -> u64 {
        let busy = self.nanoseconds().max(1_000_000);
        match pace {
            Rate::Fast => (busy / 5).max(1_000_000),
            Rate::Busy => busy,
            Rate::Idle => u64::try_from(self.idle_interval.as_nanos()).unwrap_or(u64::MAX).max(busy),
        }
    }
}

/// One life of a JVM, to be watched.
#[derive(Debug)]
pub struct SampleSubject {
    /// Its region.
    pub region: Arc<Region>,
    /// The life: words of another are not taken.
    pub region_identity: RegionIdentity,
    /// What to look at.
    pub list: SamplePlan,
}

/// The sampling thread. Dropped, it stops within one look of the slowest pace.
#[derive(Debug)]
pub struct Sampler {
    settings: Arc<SamplerSettings>,
    arrivals: Option<Sender<schedule::SharedSampler>>,
    counters: Arc<SamplerCounters>,
    thread: Option<JoinHandle<()>>,
}

/// Numbers about the sampler itself, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SamplerStatistics {
    /// Schedule of looks.
    pub ticks: u64,
    /// Looks at single JVMs.
    pub looks: u64,
    /// Schedule that were left out because the one before had not ended in time.
    pub overruns: u64,
}

#[derive(Debug, Default)]
struct SamplerCounters {
    ticks: Count,
    looks: Count,
    overruns: Count,
}

/// Written by the sampling thread only.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Sampler {
    /// Starts the thread; `None` where `settings.interval` is zero. Without a JVM the thread sleeps and never wakes.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(settings: SamplerSettings) -> std::io::Result<Option<Self>> {
        if settings.interval.is_zero() {
            return Ok(None);
        }
        let settings = Arc::new(settings);
        let counters = Arc::new(SamplerCounters::default());
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("sampler".into()).spawn({
            let (settings, counters) = (Arc::clone(&settings), Arc::clone(&counters));
            move || schedule::run(&settings, &receiver, &counters)
        })?;
        Ok(Some(Self { settings, arrivals: Some(sender), counters, thread: Some(thread) }))
    }

    /// Watches a JVM from now on, for as long as the watch is held.
    ///
    /// A region that gains entries needs a new watch only if its [`SamplePlan`] became another one: histograms and
    /// sums start anew with each watch.
    pub fn watch(&self, subject: SampleSubject) -> SampledJvm {
        let track = JvmSampler::new(subject, Arc::clone(&self.settings), seconds(schedule::wall()), schedule::steady());
        let track = Arc::new(Mutex::new(track));
        if let Some(arrivals) = &self.arrivals {
            // The thread ends only when this sender is gone.
            let _ = arrivals.send(Arc::clone(&track));
        }
        SampledJvm(track)
    }

    /// What the thread has done so far.
    pub fn statistics(&self) -> SamplerStatistics {
        SamplerStatistics {
            ticks: self.counters.ticks.get(),
            looks: self.counters.looks.get(),
            overruns: self.counters.overruns.get(),
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.arrivals = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its hook.
            let _ = thread.join();
        }
    }
}

/// A JVM under watch, and the provider with what was seen. Dropped, the JVM is watched no more.
pub struct SampledJvm(schedule::SharedSampler);

impl Provider for SampledJvm {
    fn read(&self) -> Reading {
        let now = seconds(schedule::wall());
        lock(&self.0).read(now)
    }
}

impl fmt::Debug for SampledJvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
