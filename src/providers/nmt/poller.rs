//! Who is asked when: every JVM at its own time, by a bounded number of workers.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::attach::{AttachError, Capabilities, ask};
use super::record::{NmtRecord, NmtState};
use super::{Attachable, Nmt, NmtMode};
use crate::fact::Provider;
use crate::fact::Reading;
use crate::sync::{lock, wait, wait_timeout};

/// Most JVMs that are asked at one time.
const WORKERS: usize = 8;

/// Most workers that JVMs may hold that did not answer last time: however many are stopped, the others go on.
const SUSPECT_WORKERS: usize = 2;

/// Longest wait between two questions to a JVM that does not answer, unless the interval itself is longer.
const BACK_OFF_MAXIMUM: Duration = Duration::from_secs(600);

/// A worker needs little: its buffers are on the heap.
const STACK: usize = 256 << 10;

/// Asks JVMs for their native memory in the background. Dropped, it asks no more.
#[derive(Debug)]
pub struct Poller {
    shared: Arc<PollerState>,
}

/// One JVM as the poller sees it. While it is held, the JVM is asked.
#[derive(Debug)]
pub struct PolledJvm {
    ledger: Mutex<NmtRecord>,
    target: Mutex<Arc<Attachable>>,
}

impl PolledJvm {
    /// Where the questions to this JVM stand.
    pub fn state(&self) -> NmtState {
        lock(&self.ledger).state().clone()
    }
}

/// Asks a JVM once and at once, unless its region says that there is no use in it.
pub fn ask_once(target: Attachable, mode: NmtMode, timeout: Duration) -> PolledJvm {
    let mut ledger = NmtRecord::new();
    ledger.learn(&target);
    let watch = PolledJvm { ledger: Mutex::new(ledger), target: Mutex::new(Arc::new(target)) };
    if !watch.state().is_final() {
        question(&watch, mode, timeout, &mut Capabilities::default());
    }
    watch
}

impl Provider for PolledJvm {
    fn read(&self) -> Reading {
        lock(&self.ledger).read()
    }
}

#[derive(Debug)]
struct PollerState {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    settings: Nmt,
    slots: HashMap<u64, PolledSlot>,
    workers: usize,
    failures: HashMap<&'static str, u64>,
    stopped: bool,
}

#[derive(Debug)]
struct PolledSlot {
    watch: Weak<PolledJvm>,
    dialect: Capabilities,
    due: Instant,
    asking: bool,
    /// Questions in a row without an answer.
    failed: u32,
}

/// What a worker does next.
enum Step {
    Ask(u64, Arc<PolledJvm>, Capabilities),
    Wait(Option<Duration>),
}

impl Poller {
    /// A poller without JVMs, and so without threads.
    pub fn new(settings: Nmt) -> Self {
        let queue = Queue { settings, slots: HashMap::new(), workers: 0, failures: HashMap::new(), stopped: false };
        Self { shared: Arc::new(PollerState { queue: Mutex::new(queue), changed: Condvar::new() }) }
    }

    /// Uses other settings from the next question on; what is known of the JVMs stays.
    pub fn configure(&self, settings: Nmt) {
        lock(&self.shared.queue).settings = settings;
        self.shared.changed.notify_all();
    }

    /// Asks this JVM for as long as the result is held. For a JVM that is being watched the new target replaces the
    /// old one, since what is known of a JVM grows while it starts, and the result is the same watch.
    pub fn watch(&self, target: Attachable) -> Arc<PolledJvm> {
        let mut queue = lock(&self.shared.queue);
        let id = target.id;
        if let Some(watch) = queue.slots.get(&id).and_then(|slot| slot.watch.upgrade()) {
            lock(&watch.ledger).learn(&target);
            *lock(&watch.target) = Arc::new(target);
            self.shared.changed.notify_one();
            return watch;
        }
        let mut ledger = NmtRecord::new();
        ledger.learn(&target);
        let watch = Arc::new(PolledJvm { ledger: Mutex::new(ledger), target: Mutex::new(Arc::new(target)) });
        // A tenth of the interval spreads those that were found together.
        let due = later(Instant::now(), queue.settings.interval.mul_f64(0.1 * chance(id)));
        let slot = PolledSlot {
            watch: Arc::downgrade(&watch),
            dialect: Capabilities::default(),
            due,
            asking: false,
            failed: 0,
        };
        queue.slots.insert(id, slot);
        self.staff(&mut queue);
        self.shared.changed.notify_one();
        watch
    }

    /// Failed queries by reason: every one of [`AttachError::REASONS`], and `unknown_reply`.
    pub fn failures(&self) -> Vec<(&'static str, u64)> {
        let queue = lock(&self.shared.queue);
        let reasons = AttachError::REASONS.into_iter().chain(["unknown_reply"]);
        reasons.map(|reason| (reason, queue.failures.get(reason).copied().unwrap_or(0))).collect()
    }

    /// One worker per JVM, up to the bound.
    fn staff(&self, queue: &mut Queue) {
        if queue.workers >= WORKERS.min(queue.slots.len()) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let worker = thread::Builder::new().name("nmt".to_owned()).stack_size(STACK).spawn(move || shared.work());
        match worker {
            Ok(_) => queue.workers = queue.workers.saturating_add(1),
            Err(error) => tracing::warn!(%error, "cannot start a thread that asks for native memory"),
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
            match queue.step(Instant::now()) {
                Step::Ask(id, watch, mut dialect) => {
                    let Nmt { mode, timeout, .. } = queue.settings;
                    drop(queue);
                    let failure = question(&watch, mode, timeout, &mut dialect);
                    queue = lock(&self.queue);
                    queue.finish(id, dialect, failure);
                    self.changed.notify_all();
                }
                Step::Wait(None) => queue = wait(&self.changed, queue),
                Step::Wait(Some(time)) => {
                    queue = wait_timeout(&self.changed, queue, time);
                }
            }
        }
    }
}

impl Queue {
    /// The JVM that has waited longest beyond its time, if one is due; forgets those that nobody holds.
    fn step(&mut self, now: Instant) -> Step {
        self.slots.retain(|_, slot| slot.asking || slot.watch.strong_count() > 0);
        if self.settings.mode == NmtMode::Off {
            return Step::Wait(None);
        }
        let suspects = self.slots.values().filter(|slot| slot.asking && slot.failed > 0).count();
        let ready = |slot: &PolledSlot| -> Option<Arc<PolledJvm>> {
            let watch = slot.watch.upgrade().filter(|_| !slot.asking)?;
            let attachable = !lock(&watch.ledger).state().is_final();
            let room = slot.failed == 0 || suspects < SUSPECT_WORKERS;
            (attachable && room).then_some(watch)
        };
        let next = self
            .slots
            .iter_mut()
            .filter_map(|(id, slot)| ready(slot).map(|watch| (*id, slot, watch)))
            .min_by_key(|(_, slot, _)| slot.due);
        match next {
            Some((id, slot, watch)) if slot.due <= now => {
                slot.asking = true;
                Step::Ask(id, watch, slot.dialect)
            }
            Some((_, slot, _)) => Step::Wait(Some(slot.due.saturating_duration_since(now))),
            None => Step::Wait(None),
        }
    }

    /// Takes note of a question's end and sets the time of the next.
    fn finish(&mut self, id: u64, dialect: Capabilities, failure: Option<&'static str>) {
        if let Some(reason) = failure {
            let count = self.failures.entry(reason).or_default();
            *count = count.saturating_add(1);
        }
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.asking = false;
        slot.dialect = dialect;
        slot.failed = match failure {
            // Looking for a socket costs the JVM nothing.
            None | Some("no_socket") => 0,
            Some(_) => slot.failed.saturating_add(1),
        };
        let interval = self.settings.interval;
        let wait = interval.saturating_mul(1 << slot.failed.min(16)).min(BACK_OFF_MAXIMUM.max(interval));
        slot.due = later(Instant::now(), wait.mul_f64(0.9 + 0.2 * chance(id)));
    }
}

/// Asks once; the reason if there was no summary and no final word.
fn question(watch: &PolledJvm, mode: NmtMode, timeout: Duration, dialect: &mut Capabilities) -> Option<&'static str> {
    let target = Arc::clone(&lock(&watch.target));
    let begin = Instant::now();
    let outcome = ask(&target, mode, dialect, later(begin, timeout));
    let mut ledger = lock(&watch.ledger);
    ledger.record(outcome, begin.elapsed());
    match ledger.state() {
        NmtState::Failing { reason, message } => {
            tracing::debug!(vpid = target.vpid, reason, %message, "no native memory summary");
            Some(reason)
        }
        _ => None,
    }
}

/// `begin` plus `wait`; a time beyond the clock is a day off.
fn later(begin: Instant, wait: Duration) -> Instant {
    begin.checked_add(wait).or_else(|| begin.checked_add(Duration::from_secs(86400))).unwrap_or(begin)
}

/// A number in 0..1 that differs at every call.
fn chance(id: u64) -> f64 {
    let bits = RandomState::new().hash_one(id) >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / 4_294_967_296.0
}
