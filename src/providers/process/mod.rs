//! What the kernel reports about a JVM's process: /proc and its cgroup. It includes what Native Memory Tracking cannot
//! see: memory of native libraries, mapped files, allocator slack, and the limit at which the kernel kills the process.
//!
//! [`ProcessMonitor`] reads all processes in turn at its own interval, on one thread, never during a scrape. A process
//! that is not visible (a sidecar without a shared pid namespace) has no provider; where its cgroup cannot be seen, what
//! depends on it is absent: `cgroup.*`, the number of CPUs and their utilization.

mod threads;
mod usage;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Threads;
use crate::fact::{Provider, ProviderId, Reading, ValueTable};
use crate::hotspot::CpuSetting;
use crate::metric::Value;
use crate::proc::Process;
use crate::proc::cgroup::Hierarchies;
use crate::proc::oom::OomCounts;
use crate::proc::stat;
use crate::sync::{ExpendableThread, lock, wait_timeout};
use crate::targets::guarded::PATIENCE;
use threads::ThreadSums;
use usage::{PreviousUsage, ProcessUsage};

/// Longest time between two readings of a process: about 50 us of work each, more with many threads.
const INTERVAL: Duration = Duration::from_secs(15);

/// Whoever reads threads more often than by default also sees the rest of the process earlier.
const INTERVAL_OF_THREADS: u32 = 3;

/// Reads processes in the background. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct ProcessMonitor {
    shared: Arc<MonitorState>,
    /// For the first readings, which the scanning thread waits for.
    reader: Mutex<ExpendableThread>,
}

/// A process in the monitor, and the provider of its values. Dropped, the process is read no more.
#[derive(Debug)]
pub(crate) struct MonitoredProcess {
    process: Arc<Process>,
    setting: CpuSetting,
    /// A reading did not end: a file system of the process does not answer.
    held: AtomicBool,
    previous: Mutex<PreviousUsage>,
    ooms: Mutex<OomCounts>,
    shared: Weak<MonitorState>,
    threads: Mutex<ThreadSums>,
    table: Mutex<ValueTable>,
}

/// What is read at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Everything.
    Process,
    /// The CPU time of the JVM's own threads, and of the process.
    OwnThreads,
}

#[derive(Debug)]
struct MonitorState {
    cgroups: Hierarchies,
    /// How often threads are read, and whether those of the application are grouped by name.
    threads: Threads,
    queue: Mutex<MonitorQueue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct MonitorQueue {
    processes: Vec<Weak<MonitoredProcess>>,
    running: bool,
    stopped: bool,
}

impl ProcessMonitor {
    /// A monitor without processes, and so without a thread.
    pub(crate) fn new(config: &Threads) -> Self {
        let cgroups = Hierarchies::visible().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read the cgroup mounts; cgroup facts are absent");
            Hierarchies::default()
        });
        let shared =
            MonitorState { cgroups, threads: config.clone(), queue: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), reader: Mutex::new(ExpendableThread::new("process")) }
    }

    /// Reads the process at once, and then again and again for as long as the result is held.
    pub(crate) fn add(&self, process: Arc<Process>, setting: CpuSetting) -> Arc<MonitoredProcess> {
        let table = Mutex::new(ValueTable::new(ProviderId::Process));
        let (previous, threads, ooms) = (Mutex::default(), Mutex::default(), Mutex::default());
        let shared = Arc::downgrade(&self.shared);
        let held = AtomicBool::new(false);
        let process = Arc::new(MonitoredProcess { process, setting, held, previous, ooms, shared, threads, table });
        process.update_on(&mut lock(&self.reader), &self.shared, Scope::Process);
        let mut queue = lock(&self.shared.queue);
        queue.processes.push(Arc::downgrade(&process));
        if !queue.running {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("process".to_owned()).stack_size(256 << 10);
            match thread.spawn(move || shared.run()) {
                Ok(_) => queue.running = true,
                Err(error) => tracing::warn!(%error, "cannot start the thread that reads processes"),
            }
        }
        process
    }
}

impl Drop for ProcessMonitor {
    fn drop(&mut self) {
        lock(&self.shared.queue).stopped = true;
        self.shared.changed.notify_all();
    }
}

impl MonitorState {
    fn run(self: &Arc<Self>) {
        let mut reader = ExpendableThread::new("process");
        let mut queue = lock(&self.queue);
        let mut whole = Instant::now();
        loop {
            let begin = Instant::now();
            let interval = self.threads.interval;
            while !queue.stopped && begin.elapsed() < interval {
                queue = wait_timeout(&self.changed, queue, interval.saturating_sub(begin.elapsed()));
            }
            let every = interval.saturating_mul(INTERVAL_OF_THREADS).min(INTERVAL);
            let scope = if whole.elapsed() < every { Scope::OwnThreads } else { Scope::Process };
            if scope == Scope::Process {
                whole = Instant::now();
            }
            if queue.stopped {
                return;
            }
            queue.processes.retain(|process| process.strong_count() > 0);
            let processes = queue.processes.clone();
            drop(queue);
            for process in processes.iter().filter_map(Weak::upgrade) {
                process.update_on(&mut reader, self, scope);
            }
            queue = lock(&self.queue);
        }
    }
}

impl MonitoredProcess {
    /// Reads on a thread that is given up with the process if the reading does not end.
    fn update_on(self: &Arc<Self>, reader: &mut ExpendableThread, shared: &Arc<MonitorState>, scope: Scope) {
        if self.held.load(Ordering::Acquire) {
            return;
        }
        let (process, state) = (Arc::clone(self), Arc::clone(shared));
        if reader.call(move || process.update(&state, scope), PATIENCE, || true).is_none() {
            self.held.store(true, Ordering::Release);
            lock(&self.table).clear();
            let pid = self.process.pid;
            tracing::error!(pid, "a file system of the process does not answer; proc.* and cgroup.* are absent");
        }
    }

    /// Reads before it locks the table, so that a scrape never waits for the kernel.
    fn update(&self, shared: &MonitorState, scope: Scope) {
        let directory = self.process.directory().as_fd();
        if scope == Scope::OwnThreads {
            let mut threads = lock(&self.threads);
            let Some(process) = threads.update_own(directory) else { return };
            let mut table = lock(&self.table);
            if !self.held.load(Ordering::Acquire) {
                threads.publish_times(process, &mut table);
                table.set("proc.cpu_time", &[], Value::Float(stat::seconds(process)));
            }
            return;
        }
        let usage = ProcessUsage::read(directory, &shared.cgroups, self.setting, &mut lock(&self.previous));
        let ooms = OomCounts::read(&shared.cgroups, directory, self.process.pod_uid.is_some());
        // Of a process that has ended, the counts before its end tell.
        if usage.is_ok() && self.process.is_alive() {
            *lock(&self.ooms) = ooms;
        }
        let mut threads = lock(&self.threads);
        threads.update(directory, shared.threads.groups);
        let mut table = lock(&self.table);
        if self.held.load(Ordering::Acquire) {
            return;
        }
        match usage {
            Ok(usage) => {
                usage.publish(&mut table);
                threads.publish(usage.cpu_ticks(), &mut table);
            }
            Err(error) => {
                tracing::debug!(%error, "cannot read the process");
                table.clear();
            }
        }
    }
}

impl Provider for MonitoredProcess {
    fn read(&self) -> Reading {
        lock(&self.table).read()
    }

    fn counts_oom_kill(&self) -> Option<bool> {
        if self.held.load(Ordering::Acquire) {
            return None;
        }
        let (shared, ooms) = (self.shared.upgrade()?, lock(&self.ooms).clone());
        let mut reader = ExpendableThread::new("process");
        reader.call(move || ooms.has_grown(&shared.cgroups), PATIENCE, || true).flatten()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn value(reading: &Reading, source: &str) -> Option<Value> {
        let at = reading.0.iter().position(|fact| fact.name == source)?;
        reading.1[at].clone()
    }

    fn process(pid: u32) -> Arc<Process> {
        Arc::new(Process::open(Path::new("/proc"), i32::try_from(pid).unwrap()).unwrap())
    }

    #[test]
    fn the_exporters_own_process_has_facts() {
        let monitor = ProcessMonitor::new(&Threads::default());
        let monitored = monitor.add(process(std::process::id()), CpuSetting::Available);
        let reading = monitored.read();
        for source in ["proc.memory_resident", "proc.memory_virtual", "proc.threads", "proc.descriptors"] {
            assert!(matches!(value(&reading, source), Some(Value::Int(1..))), "{source}");
        }
        assert!(matches!(value(&reading, "proc.cpu_time"), Some(Value::Float(0.0..))));
        assert!(matches!(value(&reading, "proc.context_switches"), Some(Value::Int(_))));
    }

    #[test]
    fn a_process_that_ended_has_no_values() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let monitor = ProcessMonitor::new(&Threads::default());
        let monitored = monitor.add(process(child.id()), CpuSetting::Available);
        assert!(value(&monitored.read(), "proc.threads").is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        monitored.update(&monitor.shared, Scope::Process);
        assert!(monitored.read().1.iter().all(Option::is_none));
    }
}
