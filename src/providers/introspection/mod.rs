//! What a JVM keeps in fields of its own, read from the memory of its process: what its counters lack, or have late.
//!
//! HotSpot describes its own structures for debuggers (vmStructs); [`HotSpotMemory`](crate::discovery::HotSpotMemory)
//! finds fields by their names. Reading stops nothing and changes nothing in the JVM. Each reader of this module is made
//! once for a JVM, from the names that its JDK has, and reads one fact per pass.
//!
//! # Promise
//! The memory is hostile: lengths and loops are bounded, and a value that contradicts another is absent and counted
//! (`introspection.rejected`), never published. A page that never answers holds a thread of this module, which is given
//! up, and its JVM with it for good; never a scrape, a scan or the sampler. Releases that were not tested are left alone
//! unless `introspection.mode` is `force`.

mod buffers;
mod class_loaders;
mod code_heaps;
mod fields;
mod flags;
mod heap;
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

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Introspection, IntrospectionMode};
use crate::discovery::HotSpotFinder;
use crate::sync::{ExpendableThread, lock, wait, wait_timeout};
use crate::targets::guarded::PATIENCE;
pub(crate) use jvm::{IntrospectedJvm, IntrospectionSubject};

/// Newest release whose structures were compared with the JVM's own word.
const NEWEST: u32 = 27;

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
        let is_tested = subject.feature <= NEWEST || self.settings.mode == IntrospectionMode::Force;
        let jvm = Arc::new(IntrospectedJvm::new(subject, self.settings.interval, is_tested));
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
    let is_tested = subject.feature <= NEWEST || settings.mode == IntrospectionMode::Force;
    let jvm = Arc::new(IntrospectedJvm::new(subject, settings.interval, is_tested));
    if jvm.due().is_some() {
        let reading = Arc::clone(&jvm);
        let read = move || reading.update(&mut HotSpotFinder::default());
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

impl IntrospectorState {
    /// Hands the JVMs that are due to a thread that may be held, and gives both up if it is.
    fn run(&self) {
        let mut reader = ExpendableThread::new("memory-reader");
        let mut finder: Arc<Mutex<HotSpotFinder>> = Arc::default();
        let mut queue = lock(&self.queue);
        while !queue.stopped {
            queue.jvms.retain(|jvm| jvm.strong_count() > 0);
            let now = Instant::now();
            let jvms: Vec<_> = queue.jvms.iter().filter_map(Weak::upgrade).collect();
            let next = jvms.iter().filter_map(|jvm| jvm.due()).min();
            let wait_for = next.map(|next| next.saturating_duration_since(now));
            if wait_for != Some(Duration::ZERO) {
                drop(jvms);
                queue = match wait_for {
                    Some(time) => wait_timeout(&self.changed, queue, time),
                    None => wait(&self.changed, queue),
                };
                continue;
            }
            drop(queue);
            let due: Arc<[_]> = jvms.into_iter().filter(|jvm| jvm.due().is_some_and(|due| due <= now)).collect();
            let at = Arc::new(AtomicUsize::new(0));
            let (round, progress, shared_finder) = (Arc::clone(&due), Arc::clone(&at), Arc::clone(&finder));
            let work = move || {
                let mut finder = lock(&shared_finder);
                for (number, jvm) in round.iter().enumerate() {
                    progress.store(number, Ordering::Release);
                    jvm.update(&mut finder);
                }
            };
            let mut seen = None;
            let gives_up = || seen.replace(at.load(Ordering::Acquire)) == Some(at.load(Ordering::Acquire));
            if reader.call(work, PATIENCE, gives_up).is_none() {
                if let Some(held) = due.get(at.load(Ordering::Acquire)) {
                    held.give_up();
                }
                finder = Arc::default();
            }
            drop(due);
            queue = lock(&self.queue);
        }
    }
}
