//! What only samples between scrapes can show: single pauses, true peaks, allocation.
//!
//! One thread samples every JVM: usually every 10 ms; every 100 ms where nothing is collected; every 2 ms where pauses,
//! or what ZGC publishes, come faster than samples. Most samples find no change, from a word or two that change with
//! every collection. Gauges, which move without one, are sampled as often as HotSpot itself writes them, and every word
//! whenever a collector was active. The results are a [`Provider`], behind a lock that is held for one sample or one
//! read.
//!
//! # Promise
//! The count and sum of `gc.pause` always equal the change of HotSpot's own counters since the JVM was added: a late
//! sample only blurs which bucket a pause falls into, and such pauses are counted. What is unsound for a collector or
//! JDK has no fact: see [`SamplePlan`].

mod allocation;
mod cycle;
mod distribution;
mod facts;
mod fast_path;
mod gauge;
mod gc_pauses;
mod in_memory;
mod jvm;
mod old_generation;
mod pause;
mod pause_log;
mod rate;
mod sample_plan;
mod schedule;
mod settings;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) use sample_plan::SamplePlan;

use crate::config::Sampling;
use crate::fact::{Fact, PauseBatch, Provider, Reading};
use crate::perfdata::{Region, RegionIdentity, Transport};
use crate::sync::lock;
use crate::targets::guarded::PATIENCE;
use in_memory::{Attention, MemorySampling};
use jvm::JvmSampler;
use schedule::SharedSampler;
use settings::SamplerSettings;

/// One incarnation of a JVM, to be sampled.
#[derive(Debug)]
pub(crate) struct SampleSubject {
    /// Its region.
    pub(crate) region: Arc<Region>,
    /// Its identity: words of another incarnation are not taken.
    pub(crate) region_identity: RegionIdentity,
    /// What to sample.
    pub(crate) plan: SamplePlan,
}

impl SampleSubject {
    /// Reads words outside of a full sample; `None` where they cannot be read now.
    fn read<'a>(&self, offsets: &[u32], words: &'a mut Vec<i64>) -> Option<&'a [i64]> {
        self.region.read_fast(&self.region_identity, offsets, words).ok()?;
        Some(words)
    }
}

/// The sampling thread. Dropped, it stops within one period of the slowest rate.
#[derive(Debug)]
pub(crate) struct Sampler {
    settings: SamplerSettings,
    arrivals: Option<Sender<SharedSampler>>,
    counters: Arc<SamplerCounters>,
    thread: Option<JoinHandle<()>>,
    in_memory: Mutex<MemorySampling>,
}

/// What the sampling thread has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SamplerStatistics {
    /// Times that JVMs of one rate were sampled together.
    pub(crate) ticks: u64,
    /// Samples of single JVMs.
    pub(crate) samples: u64,
    /// Ticks skipped because the previous one ended too late.
    pub(crate) overruns: u64,
}

/// [`SamplerStatistics`], written by the sampling thread only.
#[derive(Debug, Default)]
struct SamplerCounters {
    ticks: AtomicU64,
    samples: AtomicU64,
    overruns: AtomicU64,
}

impl Sampler {
    /// Starts the thread; `None` where `sampling.interval` is zero. Without a JVM the thread sleeps and never wakes.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(config: &Sampling) -> std::io::Result<Option<Self>> {
        if config.interval.is_zero() {
            return Ok(None);
        }
        let settings = SamplerSettings::from(config);
        let counters = Arc::new(SamplerCounters::default());
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("sampler".into()).spawn({
            let (settings, counters) = (settings.clone(), Arc::clone(&counters));
            move || schedule::run(&settings, &receiver, &counters, &Attention::default())
        })?;
        let in_memory = Mutex::default();
        Ok(Some(Self { settings, arrivals: Some(sender), counters, thread: Some(thread), in_memory }))
    }

    /// Samples a JVM for as long as the result is held.
    ///
    /// A region that gains entries must be added again only if its [`SamplePlan`] changes: histograms and sums start at
    /// zero each time.
    pub(crate) fn add(&self, subject: SampleSubject) -> SampledJvm {
        let now = seconds(schedule::wall());
        let region = Arc::clone(&subject.region);
        let jvm = JvmSampler::new(subject, &self.settings, now, schedule::monotonic());
        let jvm = Arc::new(Mutex::new(jvm));
        if region.transport() == Transport::Memory {
            lock(&self.in_memory).add(Arc::clone(&jvm), Arc::clone(&region), &self.settings, &self.counters);
        } else if let Some(arrivals) = &self.arrivals {
            // The thread ends only when this sender is gone.
            let _ = arrivals.send(Arc::clone(&jvm));
        }
        SampledJvm { jvm, region }
    }

    /// Gives up the JVM whose memory has held the thread since the last call, at least [`PATIENCE`] ago, and samples the
    /// others on a new thread. Whether there was one.
    pub(crate) fn give_up_held(&self) -> bool {
        lock(&self.in_memory).give_up_held(&self.settings, &self.counters)
    }

    /// What the thread has done so far.
    pub(crate) fn statistics(&self) -> SamplerStatistics {
        let [ticks, samples, overruns] = [&self.counters.ticks, &self.counters.samples, &self.counters.overruns]
            .map(|count| count.load(Ordering::Relaxed));
        SamplerStatistics { ticks, samples, overruns }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.arrivals = None;
        if let Some(thread) = self.thread.take() {
            // Its hook reports a panic of the thread.
            let _ = thread.join();
        }
    }
}

/// A sampled JVM, and the provider of its values. Dropped, it is sampled no more.
pub(crate) struct SampledJvm {
    jvm: SharedSampler,
    region: Arc<Region>,
}

impl Provider for SampledJvm {
    fn read(&self) -> Reading {
        let now = seconds(schedule::wall());
        self.look(|jvm| jvm.read(now)).unwrap_or_else(|| (Arc::from([]), Vec::new()))
    }

    fn read_some(&self, wanted: &[u32]) -> Reading {
        let now = seconds(schedule::wall());
        self.look(|jvm| jvm.read_some(wanted, now)).unwrap_or_else(|| (Arc::from([]), Vec::new()))
    }

    fn facts(&self) -> Arc<[Fact]> {
        self.look(JvmSampler::facts).unwrap_or_else(|| Arc::from([]))
    }

    /// Those of a JVM that is being sampled in memory are left for the next call.
    fn take_pauses(&self) -> Option<PauseBatch> {
        let now = schedule::monotonic();
        match self.region.transport() {
            Transport::File => lock(&self.jvm).take_pauses(now),
            Transport::Memory => self.jvm.try_lock().ok()?.take_pauses(now),
        }
    }
}

impl SampledJvm {
    /// What `take` finds in the sampler; `None` where a read of the JVM's memory does not end.
    fn look<T>(&self, take: impl FnOnce(&JvmSampler) -> T) -> Option<T> {
        if self.region.transport() == Transport::File {
            return Some(take(&lock(&self.jvm)));
        }
        // The thread that samples it holds the lock while it reads the JVM's memory, which may never end.
        let begin = Instant::now();
        loop {
            match self.jvm.try_lock() {
                Ok(jvm) => return Some(take(&jvm)),
                Err(TryLockError::Poisoned(jvm)) => return Some(take(&jvm.into_inner())),
                Err(TryLockError::WouldBlock) if self.region.is_given_up() || begin.elapsed() > PATIENCE => {
                    self.region.give_up();
                    return None;
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}

impl fmt::Debug for SampledJvm {
    /// Without the lock, which the sampling thread may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SampledJvm").finish_non_exhaustive()
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}
