//! What a JVM keeps in fields of its own, read from the memory of its process: what its counters lack, or have late.
//!
//! HotSpot describes its own structures for debuggers (vmStructs); [`HotSpotMemory`](crate::discovery::HotSpotMemory)
//! finds fields by their names. Reading stops nothing and changes nothing in the JVM. Each reader of this module is made
//! once for a JVM, from the names that its JDK has, and reads one fact per pass.
//!
//! # Promise
//! The memory is hostile: lengths and loops are bounded, and a value that contradicts another is absent and counted
//! (`introspection.rejected`), never published. A page that never answers holds a thread of this module, which is given
//! up, and its JVM with it for good; never a scrape, a scan, the sampler or another JVM. No JVM takes more than a fiftieth
//! of a CPU, whatever it has us look at. Releases that were not tested are left alone unless `introspection.mode` is
//! `force`.

mod buffers;
mod class_loaders;
mod code_heaps;
mod fields;
mod flags;
mod heap;
mod held;
mod humongous;
mod jvm;
pub mod objects;
mod open_jvm;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
mod planted;
mod publish;
mod threads;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Introspection, IntrospectionMode};
use crate::discovery::HotSpotFinder;
use crate::sync::{ExpendableThread, lock, wait, wait_timeout};
use crate::targets::guarded::PATIENCE;
use held::HeldThreads;
pub(crate) use jvm::{IntrospectedJvm, IntrospectionSubject};

/// The others are not kept waiting longer for one JVM; what is read of it goes on for [`PATIENCE`].
const COURTESY: Duration = Duration::from_millis(250);

/// Reads JVMs in the background. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct Introspector {
    settings: Introspection,
    shared: Arc<IntrospectorState>,
}

#[derive(Debug, Default)]
struct IntrospectorState {
    queue: Mutex<IntrospectionQueue>,
    changed: Condvar,
    held: Arc<HeldThreads>,
}

#[derive(Debug, Default)]
struct IntrospectionQueue {
    jvms: Vec<Weak<IntrospectedJvm>>,
    running: bool,
    stopped: bool,
}

impl Introspector {
    /// One without JVMs, and so without threads; `None` where introspection is off.
    pub(crate) fn new(settings: &Introspection) -> Option<Self> {
        let is_on = settings.mode != IntrospectionMode::Off;
        is_on.then(|| Self { settings: settings.clone(), shared: Arc::default() })
    }

    /// Reads a JVM for as long as the result is held.
    pub(crate) fn add(&self, subject: IntrospectionSubject) -> Arc<IntrospectedJvm> {
        let jvm = Arc::new(IntrospectedJvm::new(subject, &self.settings, Arc::clone(&self.shared.held)));
        let mut queue = lock(&self.shared.queue);
        queue.jvms.push(Arc::downgrade(&jvm));
        if !queue.running {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("introspection".to_owned()).stack_size(256 << 10);
            match thread.spawn(move || shared.run()) {
                Ok(_) => queue.running = true,
                Err(error) => tracing::warn!(%error, "cannot start the thread that reads JVMs' memory"),
            }
        }
        self.shared.changed.notify_all();
        jvm
    }
}

/// Reads a JVM once and at once, on a thread that is given up if it is held.
pub(crate) fn read_once(subject: IntrospectionSubject, settings: &Introspection) -> Arc<IntrospectedJvm> {
    let jvm = Arc::new(IntrospectedJvm::new(subject, settings, Arc::default()));
    if jvm.due().is_some() {
        let reading = Arc::clone(&jvm);
        let read = move || reading.update(&HotSpotFinder::default());
        if ExpendableThread::new("memory-reader").call(read, PATIENCE, || true).is_none() {
            jvm.give_up();
        }
    }
    jvm
}

impl Drop for Introspector {
    fn drop(&mut self) {
        lock(&self.shared.queue).stopped = true;
        self.shared.changed.notify_all();
    }
}

/// JVMs that are read one after the other.
struct IntrospectionRound {
    jvms: Vec<Arc<IntrospectedJvm>>,
    /// The number of the one that is read.
    at: AtomicUsize,
    /// Another thread has taken over; the one that is read is the last.
    left: AtomicBool,
}

impl IntrospectionRound {
    fn run(&self, finder: &HotSpotFinder) {
        for (number, jvm) in self.jvms.iter().enumerate() {
            self.at.store(number, Ordering::Release);
            jvm.update(finder);
            if self.left.load(Ordering::Acquire) {
                return;
            }
        }
    }
}

impl IntrospectorState {
    /// Has JVMs read that are due. A JVM that keeps the others waiting keeps the thread that reads it, and the others get
    /// another one.
    fn run(&self) {
        let mut reader = ExpendableThread::new("memory-reader");
        let finder: Arc<HotSpotFinder> = Arc::default();
        let mut queue = lock(&self.queue);
        while !queue.stopped {
            queue.jvms.retain(|jvm| jvm.strong_count() > 0);
            let jvms: Vec<_> = queue.jvms.iter().filter_map(Weak::upgrade).collect();
            let next = jvms.iter().filter_map(|jvm| jvm.due()).min();
            let wait_for = next.map(|next| next.saturating_duration_since(Instant::now()));
            if wait_for != Some(Duration::ZERO) {
                drop(jvms);
                queue = match wait_for {
                    Some(time) => wait_timeout(&self.changed, queue, time),
                    None => wait(&self.changed, queue),
                };
                continue;
            }
            drop(queue);
            self.round(jvms, &finder, &mut reader);
            queue = lock(&self.queue);
        }
    }

    fn round(&self, jvms: Vec<Arc<IntrospectedJvm>>, finder: &Arc<HotSpotFinder>, reader: &mut ExpendableThread) {
        let now = Instant::now();
        jvms.iter().filter(|jvm| jvm.is_overdue(now)).for_each(|jvm| jvm.give_up());
        let jvms = jvms.into_iter().filter(|jvm| jvm.is_ready(now)).collect();
        let round = Arc::new(IntrospectionRound { jvms, at: AtomicUsize::new(0), left: AtomicBool::new(false) });
        let (running, finder) = (Arc::clone(&round), Arc::clone(finder));
        let mut seen = None;
        let is_kept_waiting = || {
            let at = round.at.load(Ordering::Acquire);
            let waits = seen.replace(at) == Some(at);
            round.left.store(waits, Ordering::Release);
            waits
        };
        reader.call(move || running.run(&finder), COURTESY, is_kept_waiting);
    }
}
