//! Sampling JVMs in the memory of processes, on a thread that can be given up: a hostile JVM may hold whoever reads it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use super::jvm::JvmSampler;
use super::schedule::{self, SharedSampler};
use super::settings::SamplerSettings;
use super::{PATIENCE, SamplerCounters};
use crate::perfdata::Region;

/// What the thread looks at, written before each look.
#[derive(Debug, Default)]
pub(super) struct Attention {
    /// The address of the JVM's sampler; 0 between two ticks.
    jvm: AtomicUsize,
    looks: AtomicU64,
}

impl Attention {
    pub(super) fn turn_to(&self, jvm: &SharedSampler) {
        self.jvm.store(address(Arc::as_ptr(jvm)), Relaxed);
        // One thread writes.
        self.looks.store(self.looks.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(super) fn rest(&self) {
        self.jvm.store(0, Relaxed);
    }
}

fn address(jvm: *const Mutex<JvmSampler>) -> usize {
    jvm as usize
}

/// The thread, and what it takes to replace it.
#[derive(Debug, Default)]
pub(super) struct MemorySampling {
    /// `None` without a thread. Dropped, the thread ends; nobody waits for it.
    arrivals: Option<Sender<SharedSampler>>,
    attention: Arc<Attention>,
    jvms: Vec<(Weak<Mutex<JvmSampler>>, Arc<Region>)>,
    /// What the thread looked at, and since when it is known to.
    seen: Option<(usize, u64, Instant)>,
}

impl MemorySampling {
    pub(super) fn add(
        &mut self,
        jvm: SharedSampler,
        region: Arc<Region>,
        settings: &SamplerSettings,
        counters: &Arc<SamplerCounters>,
    ) {
        self.jvms.push((Arc::downgrade(&jvm), region));
        if self.arrivals.is_none() {
            let (sender, receiver) = channel();
            self.attention = Arc::default();
            let (settings, counters, attention) = (settings.clone(), Arc::clone(counters), Arc::clone(&self.attention));
            let run = move || schedule::run(&settings, &receiver, &counters, &attention);
            match std::thread::Builder::new().name("memory-sampler".into()).spawn(run) {
                Ok(_) => self.arrivals = Some(sender),
                Err(error) => tracing::error!(%error, "cannot start a sampling thread"),
            }
        }
        if let Some(arrivals) = &self.arrivals {
            let _ = arrivals.send(jvm);
        }
    }

    /// See [`Sampler::give_up_held`](super::Sampler::give_up_held).
    pub(super) fn give_up_held(&mut self, settings: &SamplerSettings, counters: &Arc<SamplerCounters>) -> bool {
        self.jvms.retain(|(jvm, _)| jvm.strong_count() > 0);
        let (jvm, looks) = (self.attention.jvm.load(Relaxed), self.attention.looks.load(Relaxed));
        match self.seen {
            Some((seen, number, since)) if (seen, number) == (jvm, looks) && jvm != 0 => {
                if since.elapsed() < PATIENCE {
                    return false;
                }
            }
            _ => {
                self.seen = Some((jvm, looks, Instant::now()));
                return false;
            }
        }
        (self.arrivals, self.seen) = (None, None);
        for (sampler, region) in std::mem::take(&mut self.jvms) {
            if address(sampler.as_ptr()) == jvm {
                region.give_up();
            } else if let Some(sampler) = sampler.upgrade() {
                self.add(sampler, region, settings, counters);
            }
        }
        true
    }
}
