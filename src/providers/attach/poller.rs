//! Which JVM is queried when: each at its own interval, by a bounded number of workers.

use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};
use std::{collections::HashMap, collections::hash_map::RandomState, hash::BuildHasher, thread};

use strum::VariantArray;

use super::native_memory::{NmtRecord, NmtState};
use super::protocol::{Capabilities, query};
use super::{Attachable, NmtFailureReason};
use crate::config::{Nmt, NmtMode};
use crate::fact::{Provider, Reading};
use crate::sync::{lock, wait, wait_timeout};

/// Most JVMs that are queried at one time.
const WORKERS_MAXIMUM: usize = 8;

/// Most workers for JVMs that did not reply last time: however many hang, the others are queried.
const UNRESPONSIVE_WORKERS_MAXIMUM: usize = 2;

/// Longest time between two queries of a JVM that does not reply, unless the interval itself is longer.
const BACKOFF_MAXIMUM: Duration = Duration::from_secs(600);

/// A worker needs little stack: its buffers are on the heap.
const STACK: usize = 256 << 10;

/// Queries JVMs for their native memory in the background. Dropped, it stops.
#[derive(Debug)]
pub struct Poller {
    shared: Arc<PollerState>,
}

/// A JVM in the poller, and the provider of its values. Dropped, the JVM is queried no more.
#[derive(Debug)]
pub struct PolledJvm {
    attachable: Attachable,
    record: Mutex<NmtRecord>,
}

#[derive(Debug)]
struct PollerState {
    queue: Mutex<PollQueue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PollQueue {
    settings: Nmt,
    jvms: HashMap<u64, PollEntry>,
    next_id: u64,
    workers: usize,
    /// Failed queries, in the order of [`NmtFailureReason::VARIANTS`].
    failures: [u64; NmtFailureReason::VARIANTS.len()],
    stopped: bool,
}

#[derive(Debug)]
struct PollEntry {
    jvm: Weak<PolledJvm>,
    capabilities: Capabilities,
    due: Instant,
    /// A worker queries the JVM.
    active: bool,
    /// Queries in a row without a reply.
    failures: u32,
}

/// What a worker does next.
enum Step {
    Query(u64, Arc<PolledJvm>, Capabilities),
    Wait(Option<Duration>),
}

impl Poller {
    /// A poller without JVMs, and so without threads.
    pub fn new(settings: Nmt) -> Self {
        let queue = Mutex::new(PollQueue { settings, ..PollQueue::default() });
        Self { shared: Arc::new(PollerState { queue, changed: Condvar::new() }) }
    }

    /// Uses other settings from the next query on; values and states of the JVMs stay.
    pub(crate) fn configure(&self, settings: Nmt) {
        lock(&self.shared.queue).settings = settings;
        self.shared.changed.notify_all();
    }

    /// Queries a JVM for as long as the result is held.
    pub fn add(&self, attachable: Attachable) -> Arc<PolledJvm> {
        let jvm = Arc::new(PolledJvm::new(attachable));
        let mut queue = lock(&self.shared.queue);
        let id = queue.next_id;
        queue.next_id = id.wrapping_add(1);
        // A tenth of the interval spreads JVMs that are discovered together.
        let due = after(Instant::now(), queue.settings.interval.mul_f64(0.1 * random()));
        let capabilities = Capabilities::default();
        queue.jvms.insert(id, PollEntry { jvm: Arc::downgrade(&jvm), capabilities, due, active: false, failures: 0 });
        self.start_worker(&mut queue);
        self.shared.changed.notify_one();
        jvm
    }

    /// Queries without a summary, for every reason.
    pub fn failures(&self) -> Vec<(NmtFailureReason, u64)> {
        let failures = lock(&self.shared.queue).failures;
        NmtFailureReason::VARIANTS.iter().copied().zip(failures).collect()
    }

    /// One worker per JVM, up to the maximum.
    fn start_worker(&self, queue: &mut PollQueue) {
        if queue.workers >= WORKERS_MAXIMUM.min(queue.jvms.len()) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let worker = thread::Builder::new().name("nmt".to_owned()).stack_size(STACK).spawn(move || shared.work());
        match worker {
            Ok(_) => queue.workers = queue.workers.saturating_add(1),
            Err(error) => tracing::warn!(%error, "cannot start a thread for native memory queries"),
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        lock(&self.shared.queue).stopped = true;
        self.shared.changed.notify_all();
    }
}

impl PollerState {
    fn work(&self) {
        let mut queue = lock(&self.queue);
        while !queue.stopped {
            match queue.next(Instant::now()) {
                Step::Query(id, jvm, mut capabilities) => {
                    let Nmt { mode, timeout, .. } = queue.settings;
                    drop(queue);
                    let failure = jvm.query(mode, timeout, &mut capabilities);
                    queue = lock(&self.queue);
                    queue.finish(id, capabilities, failure);
                    self.changed.notify_all();
                }
                Step::Wait(None) => queue = wait(&self.changed, queue),
                Step::Wait(Some(time)) => queue = wait_timeout(&self.changed, queue, time),
            }
        }
    }
}

impl PollQueue {
    /// The JVM that is overdue longest, if one is due. Removes JVMs whose provider is dropped.
    fn next(&mut self, now: Instant) -> Step {
        self.jvms.retain(|_, entry| entry.active || entry.jvm.strong_count() > 0);
        if self.settings.mode == NmtMode::Off {
            return Step::Wait(None);
        }
        let unresponsive = self.jvms.values().filter(|entry| entry.active && entry.failures > 0).count();
        let ready = |entry: &PollEntry| -> Option<Arc<PolledJvm>> {
            let jvm = entry.jvm.upgrade().filter(|_| !entry.active)?;
            let is_final = lock(&jvm.record).state().is_final();
            let has_worker = entry.failures == 0 || unresponsive < UNRESPONSIVE_WORKERS_MAXIMUM;
            (!is_final && has_worker).then_some(jvm)
        };
        let next = self
            .jvms
            .iter_mut()
            .filter_map(|(id, entry)| ready(entry).map(|jvm| (*id, entry, jvm)))
            .min_by_key(|(_, entry, _)| entry.due);
        match next {
            Some((id, entry, jvm)) if entry.due <= now => {
                entry.active = true;
                Step::Query(id, jvm, entry.capabilities)
            }
            Some((_, entry, _)) => Step::Wait(Some(entry.due.saturating_duration_since(now))),
            None => Step::Wait(None),
        }
    }

    /// Records the end of a query and sets the time of the next.
    fn finish(&mut self, id: u64, capabilities: Capabilities, failure: Option<NmtFailureReason>) {
        if let Some(count) = failure.and_then(|failure| self.failures.get_mut(failure as usize)) {
            *count = count.saturating_add(1);
        }
        let Some(entry) = self.jvms.get_mut(&id) else { return };
        entry.active = false;
        entry.capabilities = capabilities;
        entry.failures = match failure {
            // A search for a socket costs the JVM nothing.
            None | Some(NmtFailureReason::NoSocket) => 0,
            Some(_) => entry.failures.saturating_add(1),
        };
        let interval = self.settings.interval;
        let wait = interval.saturating_mul(1 << entry.failures.min(16)).min(BACKOFF_MAXIMUM.max(interval));
        entry.due = after(Instant::now(), wait.mul_f64(0.9 + 0.2 * random()));
    }
}

impl PolledJvm {
    fn new(attachable: Attachable) -> Self {
        let record = NmtRecord::new(attachable.setting, attachable.attach_supported);
        Self { attachable, record: Mutex::new(record) }
    }

    /// The state of its queries.
    pub fn state(&self) -> NmtState {
        lock(&self.record).state().clone()
    }

    /// Queries once. Returns the reason if the state is neither a summary nor final.
    fn query(&self, mode: NmtMode, timeout: Duration, capabilities: &mut Capabilities) -> Option<NmtFailureReason> {
        let begin = Instant::now();
        let outcome = query(&self.attachable, mode, capabilities, after(begin, timeout));
        let mut record = lock(&self.record);
        record.update(outcome, begin.elapsed());
        match record.state() {
            NmtState::Failing { reason, message } => {
                let (vpid, reason) = (self.attachable.vpid, *reason);
                tracing::debug!(vpid, reason = reason.as_str(), %message, "native memory query failed");
                Some(reason)
            }
            _ => None,
        }
    }
}

impl Provider for PolledJvm {
    fn read(&self) -> Reading {
        lock(&self.record).read()
    }
}

/// Queries a JVM once and at once, unless its region shows that no query can succeed.
pub(crate) fn query_once(attachable: Attachable, mode: NmtMode, timeout: Duration) -> PolledJvm {
    let jvm = PolledJvm::new(attachable);
    if !jvm.state().is_final() {
        jvm.query(mode, timeout, &mut Capabilities::default());
    }
    jvm
}

/// `begin` plus `wait`; a time beyond the clock is a day away.
fn after(begin: Instant, wait: Duration) -> Instant {
    begin.checked_add(wait).or_else(|| begin.checked_add(Duration::from_secs(86400))).unwrap_or(begin)
}

/// A number in 0..1, for jitter.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(()) >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / 4_294_967_296.0
}
