//! The thread that scans.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::App;
use super::scan_thread::{ScanThread, cpu_time};
use super::silence::Silence;
use super::slot_file::SlotFile;
use crate::config::Config;
use crate::discovery::{DirectoryWatcher, RegionId, Woken};
use crate::providers::introspection::Introspector;
use crate::providers::{self, Providers};
use crate::targets::changes::ChangeLog;
use crate::targets::{AttachProviders, Reconciler, TargetSet};

/// Shortest time from one scan's start to the next, and the part of a CPU that scans may take: whoever may write to a
/// watched directory can cause any number of scans.
const SCAN_SPACING: Duration = Duration::from_millis(100);
const SCAN_SHARE: u32 = 10;

/// A JVM that starts is looked at again after this part of the time since it was first seen: it is served soon after it is
/// ready, and one that never gets ready costs less and less.
const START_SHARE: u32 = 32;
const START_SPACING: Duration = Duration::from_millis(50);

/// Time between two looks for processes that have started.
const NEWCOMERS: Duration = Duration::from_secs(1);

/// Finds JVMs again and again, publishes them, and puts a reloaded configuration into force.
pub(super) struct ScanLoop {
    app: Arc<App>,
    watcher: DirectoryWatcher,
    /// The configuration in force on this thread.
    config: Arc<Config>,
    scanner: ScanThread,
    reconciler: Reconciler,
    slot_file: SlotFile,
    silence: Silence,
    changes: ChangeLog,
    /// When each JVM that starts was first seen.
    starts: HashMap<(PathBuf, Option<i32>), Instant>,
    /// CPU time of the last scan.
    spent: Duration,
}

impl ScanLoop {
    pub(super) fn new(app: Arc<App>, watcher: DirectoryWatcher) -> Self {
        let config = app.config.load_full();
        let providers = start_providers(&app, &config);
        let mut reconciler = Reconciler::new(Arc::clone(&config), providers);
        let mut slot_file = SlotFile::new(config.state_directory.clone());
        reconciler.recall(slot_file.read());
        Self {
            scanner: ScanThread::new(&config.discovery),
            reconciler,
            slot_file,
            silence: Silence::default(),
            changes: ChangeLog::default(),
            starts: HashMap::new(),
            spent: Duration::ZERO,
            app,
            watcher,
            config,
        }
    }

    /// Scans until [`App::stop`].
    pub(super) fn run(mut self) {
        while !self.is_stopping() {
            let started = Instant::now();
            let Some(targets) = self.scan(started) else { return };
            self.app.look_after_threads();
            let next = self.next(&targets);
            self.wait(started, next);
            self.follow_configuration();
        }
    }

    fn is_stopping(&self) -> bool {
        self.app.stopping.load(Ordering::Acquire)
    }

    /// Scans once; `None` while stopping.
    fn scan(&mut self, started: Instant) -> Option<Arc<TargetSet>> {
        let begin = cpu_time();
        let alive = || self.app.service.keep_alive();
        let (scan, spent) =
            self.scanner.scan(&self.reconciler.tracked(), &self.watcher.list(), &self.app.stopping, alive)?;
        let targets = self.reconciler.update(scan);
        for id in self.reconciler.take_given_up() {
            if let RegionId::Memory { pid, start_ticks, .. } = id {
                self.scanner.leave_alone(pid, start_ticks);
            }
        }
        self.spent = spent + cpu_time().saturating_sub(begin);
        self.changes.log(&self.app.targets(), &targets, &self.config);
        self.app.publish(Arc::clone(&targets), started.elapsed());
        self.app.service.scanned(&targets);
        let silent = self.silence.observe(&targets, &self.config, Instant::now());
        self.app.metrics.silent(silent, &self.config);
        if let Some(records) = self.reconciler.take_slot_changes() {
            self.slot_file.write(records);
        }
        let ended = self.reconciler.take_ended();
        self.app.remember(&ended, &targets);
        self.app.push.ended(ended);
        Some(targets)
    }

    /// The longest time until the next scan.
    fn next(&mut self, targets: &TargetSet) -> Duration {
        let now = Instant::now();
        let first_seen = targets.starting.iter().map(|starting| {
            let key = (starting.path.clone(), starting.pid);
            let since = self.starts.get(&key).copied().unwrap_or(now);
            (key, since)
        });
        self.starts = first_seen.collect();
        let interval = self.config.discovery.interval;
        match self.starts.values().max() {
            _ if targets.unsettled => Duration::ZERO,
            Some(since) => ((now - *since) / START_SHARE).max(START_SPACING).min(interval),
            None => interval,
        }
    }

    /// Waits for the next scan after the one that began at `started`: until something happens, at most `interval`, and
    /// at least as long as keeps scans within their part of the time.
    fn wait(&mut self, started: Instant, interval: Duration) {
        let spacing = SCAN_SPACING
            .min(interval.max(START_SPACING))
            .max(self.spent * SCAN_SHARE)
            .min(self.config.discovery.interval);
        let deadline = Instant::now() + interval;
        loop {
            // What providers of new JVMs find is served soon.
            let new_facts = self.reconciler.new_facts();
            if new_facts == Some(true) {
                break;
            }
            let look = if new_facts.is_some() { NEWCOMERS / 5 } else { NEWCOMERS };
            let until = deadline.min(Instant::now() + look);
            if self.wait_until(until, |time| self.watcher.wait(time) != Woken::Timeout) || until == deadline {
                break;
            }
            self.app.look_after_threads();
            if self.scanner.has_newcomer(&self.app.stopping) {
                break;
            }
        }
        let mut woken = true;
        while woken && !self.is_stopping() {
            woken = self.wait_until(started + spacing, |time| self.watcher.wait_for_call(time));
        }
    }

    /// Calls `wait` until then, and notifies the watchdog at least when that is due, at the end too: many short waits may
    /// follow each other. Whether `wait` ended before its time.
    fn wait_until(&self, deadline: Instant, wait: impl Fn(Duration) -> bool) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let time = self.app.service.until_keep_alive(left);
            if wait(time) {
                return true;
            }
            self.app.service.keep_alive();
            if time == left {
                return false;
            }
        }
    }

    /// Puts a configuration into force that was read since.
    fn follow_configuration(&mut self) {
        let current = self.app.config.load_full();
        if !Arc::ptr_eq(&current, &self.config) {
            self.reconfigure(current);
        }
    }

    /// Puts a new configuration into force. Providers are replaced only if their own configuration has changed, since
    /// their sums and histograms start at zero.
    fn reconfigure(&mut self, new: Arc<Config>) {
        let old = std::mem::replace(&mut self.config, new);
        let new = &self.config;
        self.app.poller.configure(new.attach.clone());
        self.app.configure_history(new.history);
        if old.otlp != new.otlp {
            self.app.configure_push(&new.otlp);
        }
        let keeps_providers = old.sampling == new.sampling
            && old.threads == new.threads
            && old.introspection == new.introspection
            && old.discovery.procfs == new.discovery.procfs;
        let providers = (!keeps_providers).then(|| start_providers(&self.app, new));
        if old.discovery != new.discovery {
            self.silence.reset();
        }
        self.scanner.configure(&new.discovery);
        self.reconciler.reconfigure(Arc::clone(new), providers);
    }
}

/// Starts what measures JVMs beside their counters.
fn start_providers(app: &App, config: &Config) -> Box<dyn AttachProviders> {
    let sampler = providers::start_sampler(&config.sampling);
    app.sampler.store(sampler.clone());
    let introspector = Introspector::new(&config.introspection);
    Box::new(Providers::new(sampler, Some(Arc::clone(&app.poller)), introspector, &config.threads))
}
