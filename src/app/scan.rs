//! The thread that scans.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::App;
use crate::config::Config;
use crate::discovery::{DirectoryWatcher, Scanner, Woken};
use crate::providers::{self, Providers};
use crate::server::Backend as _;
use crate::targets::changes::ChangeLog;
use crate::targets::{AttachProviders, Reconciler};
use crate::yaml::Fingerprint;

/// Shortest time from one scan's start to the next, and the part of the time that scans may take: whoever may write to
/// a watched directory can cause any number of scans.
const SCAN_SPACING: Duration = Duration::from_millis(100);
const SCAN_SHARE: u32 = 10;

/// Finds JVMs again and again, publishes them, and puts a reloaded configuration into force.
pub(super) struct ScanLoop {
    app: Arc<App>,
    watcher: DirectoryWatcher,
    /// The configuration in force on this thread.
    config: Arc<Config>,
    scanner: Scanner,
    reconciler: Reconciler,
    changes: ChangeLog,
    /// The configuration's files when they were last read.
    files: Fingerprint,
}

impl ScanLoop {
    pub(super) fn new(app: Arc<App>, watcher: DirectoryWatcher) -> Self {
        let config = app.config.load_full();
        let providers = start_providers(&app, &config);
        Self {
            scanner: Scanner::new(&config.discovery),
            reconciler: Reconciler::new(Arc::clone(&config), providers),
            changes: ChangeLog::default(),
            files: config.seen.clone(),
            app,
            watcher,
            config,
        }
    }

    /// Scans until [`App::stop`].
    pub(super) fn run(mut self) {
        while !self.is_stopping() {
            let started = Instant::now();
            let is_settled = self.scan(started);
            self.wait(started, if is_settled { self.config.discovery.interval } else { Duration::ZERO });
            self.follow_configuration();
        }
    }

    fn is_stopping(&self) -> bool {
        self.app.stopping.load(Ordering::Acquire)
    }

    /// Scans once. Whether the set of JVMs is settled; otherwise the next scan should come at once.
    fn scan(&mut self, started: Instant) -> bool {
        let scan = self.scanner.scan(&|id| self.reconciler.tracks(id));
        self.watcher.follow(&scan.watched);
        let targets = self.reconciler.update(scan);
        self.changes.log(&self.app.targets(), &targets, &self.config);
        self.app.publish(Arc::clone(&targets), started.elapsed());
        self.app.service.scanned(&targets);
        self.app.push.ended(self.reconciler.take_ended());
        !targets.unsettled
    }

    /// Waits for the next scan after the one that began at `started`: until something happens, at most `interval`, and
    /// at least as long as keeps scans within their part of the time.
    fn wait(&self, started: Instant, interval: Duration) {
        let ended = Instant::now();
        let spacing = SCAN_SPACING.max((ended - started) * SCAN_SHARE).min(self.config.discovery.interval);
        self.wait_until(ended + interval, |time| self.watcher.wait(time) != Woken::Timeout);
        let mut woken = true;
        while woken && !self.is_stopping() {
            woken = self.wait_until(started + spacing, |time| self.watcher.wait_for_call(time));
        }
    }

    /// Calls `wait` until then, and notifies the watchdog whenever that is due. Whether `wait` ended before its time.
    fn wait_until(&self, deadline: Instant, wait: impl Fn(Duration) -> bool) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let time = self.app.service.until_keep_alive(left);
            if wait(time) {
                return true;
            }
            if time == left {
                return false;
            }
            self.app.service.keep_alive();
        }
    }

    /// Reads the configuration again where its files have changed, and puts a new one into force.
    fn follow_configuration(&mut self) {
        let mut current = self.app.config.load_full();
        // Files that a signal has had read already are not read again unless they have changed since.
        if Arc::ptr_eq(&current, &self.config) && !self.files.holds() {
            self.files = Fingerprint::of(&self.config.files);
            // A failure is counted and logged.
            let _ = self.app.reload();
            current = self.app.config.load_full();
        }
        if !Arc::ptr_eq(&current, &self.config) {
            self.reconfigure(current);
        }
    }

    /// Puts a new configuration into force. Providers are replaced only if their own configuration has changed, since
    /// their sums and histograms start at zero.
    fn reconfigure(&mut self, new: Arc<Config>) {
        let old = std::mem::replace(&mut self.config, new);
        let new = &self.config;
        self.app.poller.configure(new.nmt.clone());
        if old.otlp != new.otlp {
            self.app.configure_push(&new.otlp);
        }
        let keeps_providers =
            old.sampling == new.sampling && old.threads == new.threads && old.discovery.procfs == new.discovery.procfs;
        let providers = (!keeps_providers).then(|| start_providers(&self.app, new));
        self.files = new.seen.clone();
        self.scanner = Scanner::new(&new.discovery);
        self.reconciler.reconfigure(Arc::clone(new), providers);
    }
}

/// Starts what measures JVMs beside their counters.
fn start_providers(app: &App, config: &Config) -> Box<dyn AttachProviders> {
    let sampler = providers::start_sampler(&config.sampling);
    app.sampler.store(sampler.clone());
    Box::new(Providers::new(sampler, Some(Arc::clone(&app.poller)), &config.threads))
}
