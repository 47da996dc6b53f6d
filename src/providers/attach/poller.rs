//! Which JVM is asked what and when: each topic at its own interval, by a bounded number of workers.

use std::collections::{BTreeSet, HashMap, hash_map::RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};
use std::{hash::BuildHasher, thread};

use strum::VariantArray;

use super::diagnostics::DiagnosticPlan;
use super::jvm::{AttachTopic, PolledJvm, after};
use super::protocol::Capabilities;
use super::{AttachFailureReason, Attachable};
use crate::config::{AttachMode, AttachSettings};
use crate::sync::{lock, wait, wait_timeout};

/// Most JVMs that are asked at one time.
const WORKERS_MAXIMUM: usize = 8;

/// Most workers for JVMs that did not reply last time: however many hang, the others are asked.
const UNRESPONSIVE_WORKERS_MAXIMUM: usize = 2;

/// Longest time between two questions to a JVM that does not reply, unless the interval itself is longer.
const BACKOFF_MAXIMUM: Duration = Duration::from_secs(600);

/// How often the time between two looks for the socket of a JVM that does not listen is doubled.
const SILENT_DOUBLINGS: u32 = 2;

/// A question may be late by this part of the shorter interval: JVMs that are due at nearly one time cost one wake-up.
const SLACK: u32 = 32;

/// A worker needs little stack: its buffers are on the heap.
const STACK: usize = 256 << 10;

/// Asks JVMs over their attach sockets in the background. Dropped, it stops.
#[derive(Debug)]
pub struct Poller {
    shared: Arc<PollerState>,
}

#[derive(Debug)]
struct PollerState {
    queue: Mutex<PollQueue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct PollQueue {
    settings: AttachSettings,
    /// JVMs about which a question can tell anything.
    jvms: HashMap<u64, PollEntry>,
    /// Those that no worker asks now, by when they are asked next.
    due: BTreeSet<(Instant, u64)>,
    /// The same, of JVMs that did not reply last time.
    unresponsive: BTreeSet<(Instant, u64)>,
    next_id: u64,
    workers: usize,
    /// Workers that ask JVMs that did not reply last time.
    held_workers: usize,
    /// Until when one of the resting workers sleeps; the others sleep until they are called.
    watched_until: Option<Instant>,
    /// Failed questions, in the order of [`AttachFailureReason::VARIANTS`].
    failures: [u64; AttachFailureReason::VARIANTS.len()],
    stopped: bool,
}

#[derive(Debug)]
struct PollEntry {
    jvm: Weak<PolledJvm>,
    capabilities: Capabilities,
    /// In the order of [`AttachTopic::VARIANTS`].
    schedules: [PollSchedule; AttachTopic::VARIANTS.len()],
    /// Questions in a row without a reply, whatever their topic.
    unanswered: u32,
}

/// When a JVM is asked about one topic.
#[derive(Clone, Copy, Debug)]
struct PollSchedule {
    due: Instant,
    /// Replies in a row that were of no use.
    useless: u32,
    /// Looks in a row that found no socket.
    silent: u32,
}

/// What a worker does next.
enum Step {
    Ask(u64, AttachTopic, Arc<PolledJvm>, Capabilities),
    Rest(Option<Instant>),
}

impl Poller {
    /// A poller without JVMs, and so without threads.
    pub fn new(settings: AttachSettings) -> Self {
        let queue = Mutex::new(PollQueue { settings, ..PollQueue::default() });
        Self { shared: Arc::new(PollerState { queue, changed: Condvar::new() }) }
    }

    /// Uses other settings from the next question on. Where no JVM is asked any more, what they answered is forgotten.
    pub fn configure(&self, settings: AttachSettings) {
        let mut queue = lock(&self.shared.queue);
        queue.settings = settings;
        if queue.settings.mode == AttachMode::Off {
            queue.jvms.values().filter_map(|entry| entry.jvm.upgrade()).for_each(|jvm| jvm.forget());
        }
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// Asks a JVM for as long as the result, or one of its providers, is held.
    pub fn add(&self, attachable: Attachable, plan: DiagnosticPlan) -> Arc<PolledJvm> {
        let jvm = Arc::new(PolledJvm::new(attachable, plan));
        let mut queue = lock(&self.shared.queue);
        let id = queue.next_id;
        queue.next_id = id.wrapping_add(1);
        // A tenth of the interval spreads JVMs that are discovered together.
        let (now, spread) = (Instant::now(), 0.1 * random());
        let schedules = [AttachTopic::NativeMemory, AttachTopic::Diagnostics].map(|topic| PollSchedule {
            due: after(now, topic.interval(&queue.settings).mul_f64(spread)),
            useless: 0,
            silent: 0,
        });
        let capabilities = Capabilities::default();
        let entry = PollEntry { jvm: Arc::downgrade(&jvm), capabilities, schedules, unanswered: 0 };
        queue.jvms.insert(id, entry);
        if let Some(due) = queue.schedule(id) {
            self.start_worker(&mut queue);
            if queue.watched_until.is_none_or(|watched| due < watched) {
                self.shared.changed.notify_one();
            }
        }
        jvm
    }

    /// Questions without an answer, for every reason.
    pub fn failures(&self) -> Vec<(AttachFailureReason, u64)> {
        let failures = lock(&self.shared.queue).failures;
        AttachFailureReason::VARIANTS.iter().copied().zip(failures).collect()
    }

    /// One worker per JVM, up to the maximum.
    fn start_worker(&self, queue: &mut PollQueue) {
        if queue.workers >= WORKERS_MAXIMUM.min(queue.jvms.len()) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let worker =
            thread::Builder::new().name("attach-poll".to_owned()).stack_size(STACK).spawn(move || shared.work());
        match worker {
            Ok(_) => queue.workers = queue.workers.saturating_add(1),
            Err(error) => tracing::warn!(%error, "cannot start a thread for questions over attach sockets"),
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
                Step::Ask(id, topic, jvm, mut capabilities) => {
                    if queue.watched_until.is_none() {
                        // Others may be due, too.
                        self.changed.notify_one();
                    }
                    let settings = queue.settings.clone();
                    drop(queue);
                    let failure = jvm.ask(topic, &settings, &mut capabilities);
                    queue = lock(&self.queue);
                    if queue.settings.mode == AttachMode::Off {
                        // It was turned off meanwhile.
                        jvm.forget();
                    }
                    drop(jvm);
                    queue.finish(id, topic, capabilities, failure);
                }
                Step::Rest(until) => queue = self.rest(queue, until),
            }
        }
    }

    /// Waits until then, if no other worker does, or until something changes.
    fn rest<'a>(&self, mut queue: MutexGuard<'a, PollQueue>, until: Option<Instant>) -> MutexGuard<'a, PollQueue> {
        let until = until.filter(|until| queue.watched_until.is_none_or(|watched| *until < watched));
        let Some(until) = until else { return wait(&self.changed, queue) };
        queue.watched_until = Some(until);
        queue = wait_timeout(&self.changed, queue, until.saturating_duration_since(Instant::now()));
        queue.watched_until.take_if(|watched| *watched == until);
        queue
    }
}

impl PollQueue {
    /// The question that is overdue longest, if one is due.
    fn next(&mut self, now: Instant) -> Step {
        while self.settings.mode != AttachMode::Off {
            let has_worker = self.held_workers < UNRESPONSIVE_WORKERS_MAXIMUM;
            let unresponsive = self.unresponsive.first().filter(|_| has_worker);
            let Some((due, id)) = self.due.first().into_iter().chain(unresponsive).min().copied() else { break };
            if due > now {
                let slack = self.settings.native_memory.min(self.settings.diagnostics).checked_div(SLACK);
                return Step::Rest(Some(after(due, slack.unwrap_or_default())));
            }
            if let Some(step) = self.take(due, id) {
                return step;
            }
        }
        Step::Rest(None)
    }

    /// Has a worker ask this JVM; `None` if its providers are dropped.
    fn take(&mut self, due: Instant, id: u64) -> Option<Step> {
        self.due.remove(&(due, id));
        self.unresponsive.remove(&(due, id));
        let entry = self.jvms.get(&id)?;
        let Some((jvm, (topic, _))) = entry.jvm.upgrade().and_then(|jvm| Some((Arc::clone(&jvm), entry.next(&jvm)?)))
        else {
            self.jvms.remove(&id);
            return None;
        };
        self.held_workers = self.held_workers.saturating_add(entry.is_unresponsive().into());
        Some(Step::Ask(id, topic, jvm, entry.capabilities))
    }

    /// Notes when a JVM that no worker asks is due, or forgets it: its providers are dropped, or no further question can
    /// tell anything.
    fn schedule(&mut self, id: u64) -> Option<Instant> {
        let entry = self.jvms.get(&id)?;
        let Some((_, due)) = entry.jvm.upgrade().and_then(|jvm| entry.next(&jvm)) else {
            self.jvms.remove(&id);
            return None;
        };
        let times = if entry.is_unresponsive() { &mut self.unresponsive } else { &mut self.due };
        times.insert((due, id));
        Some(due)
    }

    /// Records the end of a question and sets the time of the next.
    fn finish(
        &mut self,
        id: u64,
        topic: AttachTopic,
        capabilities: Capabilities,
        failure: Option<AttachFailureReason>,
    ) {
        // Most JVMs do not listen, and only native memory is something that they were started for.
        let is_counted = |reason: &AttachFailureReason| {
            *reason != AttachFailureReason::NoSocket || topic == AttachTopic::NativeMemory
        };
        let counted = failure.filter(is_counted);
        if let Some(count) = counted.and_then(|reason| self.failures.get_mut(reason as usize)) {
            *count = count.saturating_add(1);
        }
        let Some(entry) = self.jvms.get_mut(&id) else { return };
        self.held_workers = self.held_workers.saturating_sub(entry.is_unresponsive().into());
        entry.capabilities = capabilities;
        entry.finish(topic, failure, &self.settings);
        self.schedule(id);
    }
}

impl PollEntry {
    /// The topic that is due first, of those about which a question can tell anything, and when.
    fn next(&self, jvm: &PolledJvm) -> Option<(AttachTopic, Instant)> {
        let topics = AttachTopic::VARIANTS.iter().zip(&self.schedules).filter(|(topic, _)| !jvm.is_final(**topic));
        topics.map(|(topic, schedule)| (*topic, schedule.due)).min_by_key(|(_, due)| *due)
    }

    fn is_unresponsive(&self) -> bool {
        self.unanswered > 0
    }

    /// A JVM that did not reply is left alone about everything.
    fn finish(&mut self, topic: AttachTopic, failure: Option<AttachFailureReason>, settings: &AttachSettings) {
        let is_useless = failure.is_some_and(AttachFailureReason::is_reply);
        self.unanswered = match failure {
            // A search for a socket costs the JVM nothing.
            None | Some(AttachFailureReason::NoSocket) => 0,
            Some(_) if is_useless => 0,
            Some(_) => self.unanswered.saturating_add(1),
        };
        let now = Instant::now();
        for (of, schedule) in AttachTopic::VARIANTS.iter().zip(&mut self.schedules) {
            let is_asked = *of == topic;
            if is_asked {
                let is_silent = failure == Some(AttachFailureReason::NoSocket);
                schedule.useless = if is_useless { schedule.useless.saturating_add(1) } else { 0 };
                schedule.silent = if is_silent { schedule.silent.saturating_add(1) } else { 0 };
            } else if failure.is_none() && schedule.silent > 0 {
                (schedule.silent, schedule.due) = (0, now);
            }
            let interval = of.interval(settings);
            let silent = schedule.silent.saturating_sub(1).min(SILENT_DOUBLINGS);
            let doublings = self.unanswered.max(schedule.useless).min(16).max(silent);
            let wait = interval.saturating_mul(1 << doublings).min(BACKOFF_MAXIMUM.max(interval));
            let due = after(now, wait.mul_f64(0.9 + 0.2 * random()));
            if is_asked || self.unanswered > 0 {
                schedule.due = if is_asked { due } else { due.max(schedule.due) };
            }
        }
    }
}

/// A number in 0..1, for jitter.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(()) >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_jvm_that_does_not_listen_is_looked_at_less_often_until_it_answers() {
        let settings = AttachSettings::default();
        let schedule = PollSchedule { due: Instant::now(), useless: 0, silent: 0 };
        let capabilities = Capabilities::default();
        let mut entry = PollEntry { jvm: Weak::new(), capabilities, schedules: [schedule; 2], unanswered: 0 };
        let topics = [AttachTopic::NativeMemory, AttachTopic::Diagnostics];
        for intervals in [1.0, 2.0, 4.0, 4.0] {
            for (number, topic) in topics.into_iter().enumerate() {
                entry.finish(topic, Some(AttachFailureReason::NoSocket), &settings);
                let wait = entry.schedules[number].due.saturating_duration_since(Instant::now());
                let expected = topic.interval(&settings).mul_f64(intervals);
                assert!(wait > expected.mul_f64(0.8) && wait < expected.mul_f64(1.2), "{topic:?}: {wait:?}");
            }
        }
        entry.finish(AttachTopic::NativeMemory, None, &settings);
        let [native, diagnostics] = entry.schedules;
        assert!(diagnostics.due <= Instant::now(), "it listens, so the other question follows at once");
        let wait = native.due.saturating_duration_since(Instant::now());
        assert!(wait < settings.native_memory.mul_f64(1.2), "{wait:?}");
    }
}
