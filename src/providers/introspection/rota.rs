//! Which JVM is read when, by a thread that another one replaces when a JVM's memory holds it.
//!
//! The reading thread follows the schedule itself: handing over each of ten looks a second at a heap would cost more than
//! the looks. While it reads, a timer runs; the thread that waits for the timer wakes up only if a read takes long.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::held::HeldThreads;
use super::jvm::IntrospectedJvm;
use crate::discovery::HotSpotFinder;
use crate::sync::{lock, wait, wait_timeout};

/// The others are not kept waiting longer for one JVM, but for as long again; what is read of it goes on for
/// [`PATIENCE`](crate::targets::guarded::PATIENCE).
const COURTESY: Duration = Duration::from_millis(250);

/// JVMs, and the threads that read them.
#[derive(Debug)]
pub(super) struct Rota {
    queue: Mutex<RotaQueue>,
    changed: Condvar,
    alarm: Alarm,
    finder: HotSpotFinder,
    pub(super) held: Arc<HeldThreads>,
}

#[derive(Debug, Default)]
struct RotaQueue {
    jvms: Vec<Weak<IntrospectedJvm>>,
    running: bool,
    stopped: bool,
}

/// The time for which one thread reads; shared with the thread that watches it.
#[derive(Debug, Default)]
struct Turn {
    /// The number of the JVM that is read, which is never used again; 0 between two rounds.
    look: AtomicU64,
    /// Another thread has taken over; the JVM that is read is the last. Set while the queue is locked.
    is_over: AtomicBool,
}

impl Rota {
    /// Without JVMs, and so without threads.
    ///
    /// # Errors
    /// The exporter has no descriptor left.
    pub(super) fn new() -> Result<Self, Errno> {
        let (queue, changed, alarm) = (Mutex::default(), Condvar::new(), Alarm::new()?);
        Ok(Self { queue, changed, alarm, finder: HotSpotFinder::default(), held: Arc::default() })
    }

    /// Has a JVM read for as long as others hold it.
    pub(super) fn add(self: &Arc<Self>, jvm: &Arc<IntrospectedJvm>) {
        let mut queue = lock(&self.queue);
        queue.jvms.push(Arc::downgrade(jvm));
        if !queue.running {
            let shared = Arc::clone(self);
            let thread = thread::Builder::new().name("introspection".to_owned()).stack_size(64 << 10);
            match thread.spawn(move || shared.watch()) {
                Ok(_) => queue.running = true,
                Err(error) => tracing::warn!(%error, "cannot start the thread that watches reads of JVMs' memory"),
            }
        }
        self.changed.notify_all();
    }

    /// Ends the threads, but one that is held.
    pub(super) fn stop(&self) {
        lock(&self.queue).stopped = true;
        self.alarm.ring();
        self.changed.notify_all();
    }

    /// Has JVMs read, until the end. A JVM that keeps the others waiting keeps the thread that reads it, and the others get
    /// another one.
    fn watch(self: &Arc<Self>) {
        let (mut turn, mut seen) = (self.begin_turn(), 0);
        while self.alarm.wait() {
            let queue = lock(&self.queue);
            if queue.stopped {
                return;
            }
            let look = turn.look.load(Ordering::Acquire);
            let is_held = look != 0 && look == seen;
            turn.is_over.store(is_held, Ordering::Release);
            drop(queue);
            seen = look;
            if is_held {
                (turn, seen) = (self.begin_turn(), 0);
            }
        }
    }

    fn begin_turn(self: &Arc<Self>) -> Arc<Turn> {
        let turn: Arc<Turn> = Arc::default();
        let (rota, shared) = (Arc::clone(self), Arc::clone(&turn));
        let thread = thread::Builder::new().name("memory-reader".to_owned());
        if let Err(error) = thread.spawn(move || rota.read(&shared)) {
            tracing::warn!(%error, "cannot start the thread that reads JVMs' memory; it is tried again");
            turn.look.store(1, Ordering::Release);
            self.alarm.start();
        }
        turn
    }

    /// Reads JVMs when they are due, as long as it is this thread's turn.
    fn read(&self, turn: &Turn) {
        let is_over = || turn.is_over.load(Ordering::Acquire);
        let mut looks = 0_u64;
        let mut queue = lock(&self.queue);
        while !queue.stopped && !is_over() {
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
            self.alarm.start();
            drop(queue);
            let now = Instant::now();
            jvms.iter().filter(|jvm| jvm.is_overdue(now)).for_each(|jvm| jvm.give_up());
            for jvm in jvms.iter().filter(|jvm| jvm.is_ready(now)).take_while(|_| !is_over()) {
                looks = looks.saturating_add(1);
                turn.look.store(looks, Ordering::Release);
                jvm.update(&self.finder);
            }
            turn.look.store(0, Ordering::Release);
            drop(jvms);
            queue = lock(&self.queue);
            if !queue.stopped && !is_over() {
                self.alarm.stop();
            }
        }
    }
}

/// A timer that somebody waits for. Starting and stopping it wakes nobody, and costs a system call of a microsecond.
#[derive(Debug)]
struct Alarm(OwnedFd);

impl Alarm {
    fn new() -> Result<Self, Errno> {
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).map(Self)
    }

    /// Rings every [`COURTESY`] from now on.
    fn start(&self) {
        self.set(COURTESY, COURTESY);
    }

    /// Never rings.
    fn stop(&self) {
        self.set(Duration::ZERO, Duration::ZERO);
    }

    /// Rings once, now.
    fn ring(&self) {
        self.set(Duration::from_nanos(1), Duration::ZERO);
    }

    fn set(&self, first: Duration, then: Duration) {
        let [it_value, it_interval] = [first, then].map(|time| Timespec::try_from(time).unwrap_or_default());
        // Fails for a time that is none only.
        let _ = timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value });
    }

    /// Waits until it rings. False: it never will.
    fn wait(&self) -> bool {
        loop {
            match read(&self.0, &mut [0; 8]) {
                Ok(_) => return true,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    tracing::error!(%errno, "cannot wait for a timer; a JVM's memory may hold the reading of others");
                    return false;
                }
            }
        }
    }
}
