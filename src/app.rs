//! Wiring: who scans, who answers, and what happens at a signal.
//!
//! One thread scans and publishes rosters; scrapes read the last one on blocking threads. A reload builds everything
//! anew and takes effect only when it is whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::config::{self, Config, Overrides};
use crate::discovery::watch::Waker;
use crate::discovery::{DirectoryWatcher, RefusalReason, Scanner, Woken};
use crate::metric::FamilySamples;
use crate::output::otlp::{self, Push};
use crate::output::prometheus::{self, ExpositionFormat, Pages};
use crate::privilege;
use crate::providers::nmt::Poller;
use crate::providers::sampler::Sampler;
use crate::providers::{self, Providers};
use crate::report::list::Listing;
use crate::server::Backend;
use crate::service::Service;
use crate::snapshot::{ReadFailure, Snapshot};
use crate::sync::lock;
use crate::targets::changes::ChangeLog;
use crate::targets::{AttachProviders, Reconciler, ReconcilerSettings, TargetSet, TargetState};
use crate::telemetry::{self, ReloadOutcome, SelfMetrics, Vocabulary};
use crate::yaml::Fingerprint;
use crate::yaml::Problems;

/// Shortest time from one scan's start to the next, and the share of the time that scans may take: who may write to a
/// directory can ask for as many as he likes.
const BETWEEN_SCANS: Duration = Duration::from_millis(100);
const SHARE: u32 = 10;

/// Time to read all JVMs for a push.
const PUSH_PATIENCE: Duration = Duration::from_secs(5);

/// The label values of the exporter's own metrics.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        states: TargetState::ALL.map(TargetState::as_str).into(),
        refusals: RefusalReason::ALL.map(RefusalReason::as_str).into(),
        read_failures: ReadFailure::ALL.map(ReadFailure::as_str).into(),
        drops: ["limit", "duplicate", "conflict"].into(),
    }
}

/// Where the configuration comes from, every time it is read.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// `--config.file`
    pub file: Option<PathBuf>,
    /// Flags that replace parts of it.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Reads and checks it.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn load(&self) -> Result<Config, Problems> {
        let seen = RefCell::new(Fingerprint::default());
        let read = |path: &Path| {
            seen.borrow_mut().note(path);
            std::fs::read_to_string(path)
        };
        let config = config::load(self.file.as_deref(), &self.overrides, &read)?;
        Ok(Config { seen: seen.into_inner(), ..config })
    }
}

/// What scrapes and pushes read: the targets of the last scan, with the pages that are laid out for them.
#[derive(Debug, Default)]
struct Served {
    targets: Arc<TargetSet>,
    pages: Pages,
}

/// The running exporter, as the server sees it.
#[derive(Debug)]
pub struct App {
    source: ConfigSource,
    config: ArcSwap<Config>,
    served: ArcSwap<Served>,
    telemetry: Arc<SelfMetrics>,
    waker: Waker,
    sampler: ArcSwapOption<Sampler>,
    poller: Arc<Poller>,
    pushes: Arc<otlp::PushStatistics>,
    push: Mutex<Option<Push>>,
    ready: AtomicBool,
    stopping: AtomicBool,
    service: Service,
}

impl App {
    /// An exporter that has not scanned yet, and what its scanning thread will wait on.
    ///
    /// # Errors
    /// The operating system has no inotify or eventfd descriptor left.
    pub fn new(
        source: ConfigSource,
        config: Config,
        telemetry: Arc<SelfMetrics>,
    ) -> std::io::Result<(Arc<Self>, DirectoryWatcher)> {
        let watch = DirectoryWatcher::new()?;
        let poller = Arc::new(Poller::new(config.nmt.clone()));
        let app = Self {
            source,
            config: ArcSwap::from_pointee(config),
            served: ArcSwap::default(),
            telemetry,
            waker: watch.waker(),
            sampler: ArcSwapOption::empty(),
            poller,
            pushes: Arc::default(),
            push: Mutex::new(None),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            service: Service::from_environment(),
        };
        Ok((Arc::new(app), watch))
    }

    /// Starts the thread that scans, until [`App::stop`].
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start_scanning(self: &Arc<Self>, watch: DirectoryWatcher) -> std::io::Result<JoinHandle<()>> {
        let app = Arc::clone(self);
        std::thread::Builder::new().name("scan".to_owned()).spawn(move || app.scan_until_stopped(watch))
    }

    /// Tells the service manager that the end has begun; JVMs are served until [`App::stop`].
    pub fn stopping(&self) {
        self.service.stopping();
    }

    /// Ends the scanning thread soon.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Scans once and takes a snapshot, for calls that print and exit. No JVM is asked for its native memory, and
    /// nothing is sampled: both need time.
    pub fn scan_once(&self) -> Snapshot {
        let config = self.config.load_full();
        let providers = Providers::default();
        let mut reconciler = Reconciler::new(ReconcilerSettings::from(&*config), Box::new(providers));
        let scan = Scanner::new(&config.discovery).scan(&|_| false);
        self.publish(reconciler.update(scan), Duration::ZERO);
        Snapshot::take(self.targets(), Instant::now() + Duration::from_secs(60))
    }

    fn scan_until_stopped(self: &Arc<Self>, mut watch: DirectoryWatcher) {
        let mut config = self.config.load_full();
        let mut scanner = Scanner::new(&config.discovery);
        let mut reconciler = Reconciler::new(ReconcilerSettings::from(&*config), Box::new(self.providers(&config)));
        let news = ChangeLog::default();
        let mut files = config.seen.clone();
        while !self.stopping.load(Ordering::Acquire) {
            let started = Instant::now();
            let scan = scanner.scan(&|id| reconciler.tracks(id));
            watch.follow(&scan.watched);
            let target_set = reconciler.update(scan);
            let unsettled = target_set.unsettled;
            news.log(&self.targets(), &target_set, &config);
            self.publish(target_set, started.elapsed());
            self.service.scanned(&self.targets());
            if let Some(push) = &*self.push() {
                push.ended(reconciler.take_ended());
            }
            let rest = if unsettled { Duration::ZERO } else { config.discovery.interval };
            self.rest(&watch, started, rest);
            let mut current = self.config.load_full();
            // A file that a signal has had read already is not read again, unless it has changed since.
            if Arc::ptr_eq(&current, &config) && !files.holds() {
                files = Fingerprint::of(&config.files);
                let _ = self.reload();
                current = self.config.load_full();
            }
            if !Arc::ptr_eq(&current, &config) {
                let providers = self.reconfigure(&config, &current);
                config = current;
                files = config.seen.clone();
                scanner = Scanner::new(&config.discovery);
                reconciler.reconfigure(ReconcilerSettings::from(&*config), providers);
            }
        }
    }

    /// Waits for the next scan after the one that began at `started`: until something happens, at most `interval`, and at
    /// least as long as keeps scans from taking all of the time.
    fn rest(&self, watch: &DirectoryWatcher, started: Instant, interval: Duration) {
        let began = Instant::now();
        let pause = BETWEEN_SCANS.max((began - started) * SHARE).min(self.config.load().discovery.interval);
        self.sleep(began + interval, |time| watch.wait(time) != Woken::Timeout);
        let mut called = true;
        while called && !self.stopping.load(Ordering::Acquire) {
            called = self.sleep(started + pause, |time| watch.wait_for_call(time));
        }
    }

    /// Waits until then, with a sign of life whenever one is due. Whether `wait` was ended before.
    fn sleep(&self, until: Instant, wait: impl Fn(Duration) -> bool) -> bool {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let nap = self.service.nap(left);
            if wait(nap) {
                return true;
            }
            if nap == left {
                return false;
            }
            self.service.alive();
        }
    }

    fn load_again(&self) -> Result<(), String> {
        match self.source.load() {
            Ok(config) => {
                privilege::warn_of_missing(&config);
                self.config.store(Arc::new(config));
                self.telemetry.reloaded(ReloadOutcome::Success);
                tracing::info!("configuration reloaded");
                Ok(())
            }
            Err(problems) => {
                self.telemetry.reloaded(ReloadOutcome::Failure);
                tracing::error!(problems = %problems, "the configuration has problems; the old one stays in force");
                Err(problems.to_string())
            }
        }
    }

    /// Starts pushing where the configuration says so.
    pub fn start_pushing(self: &Arc<Self>) {
        self.push_as(&self.config.load().otlp);
    }

    /// Pushes once more and ends pushing, within [`otlp::FLUSH`].
    pub fn stop_pushing(&self) {
        let push = self.push().take();
        if let Some(push) = push {
            push.stop();
        }
    }

    fn push(&self) -> MutexGuard<'_, Option<Push>> {
        lock(&self.push)
    }

    /// Pushes as the configuration says, or not at all.
    fn push_as(self: &Arc<Self>, config: &config::Otlp) {
        let mut push = self.push();
        match &*push {
            Some(running) if config.enabled => running.configure(config.clone()),
            Some(_) => {
                if let Some(running) = push.take() {
                    running.stop();
                }
            }
            None if config.enabled => {
                let source = Arc::clone(self) as Arc<dyn otlp::PushSource>;
                match Push::start(config.clone(), source, Arc::clone(&self.pushes)) {
                    Ok(started) => *push = Some(started),
                    Err(error) => tracing::error!(%error, "cannot start the thread that pushes over OTLP"),
                }
            }
            None => {}
        }
    }

    /// The targets of the last scan.
    fn targets(&self) -> Arc<TargetSet> {
        Arc::clone(&self.served.load().targets)
    }

    /// Takes a snapshot of these targets, and counts and acts on what could not be read.
    fn snapshot_of(&self, targets: Arc<TargetSet>, deadline: Instant) -> Snapshot {
        let snapshot = Snapshot::take(targets, deadline);
        for failure in &snapshot.failures {
            self.telemetry.read_failed(failure.reason.as_str());
        }
        if snapshot.outdated {
            self.waker.wake();
        }
        snapshot
    }

    /// Starts what is known of JVMs beside their counters.
    fn providers(&self, config: &Config) -> Providers {
        let sampler = providers::start_sampler(&config.sampling);
        self.sampler.store(sampler.clone());
        Providers::new(sampler, Some(Arc::clone(&self.poller)))
    }

    /// Puts a new configuration into force. AttachProviders are made anew only where they depend on what has changed, since
    /// sums and histograms start anew with them.
    fn reconfigure(self: &Arc<Self>, old: &Config, new: &Config) -> Option<Box<dyn AttachProviders>> {
        self.poller.configure(new.nmt.clone());
        if old.otlp != new.otlp {
            self.push_as(&new.otlp);
        }
        let same = old.sampling == new.sampling && old.discovery.procfs == new.discovery.procfs;
        (!same).then(|| Box::new(self.providers(new)) as Box<dyn AttachProviders>)
    }

    /// The exporter's own metrics.
    pub fn own_families(&self) -> Vec<FamilySamples> {
        let sampler = self.sampler.load();
        let sampled = sampler.as_ref().map(|sampler| sampler.statistics()).unwrap_or_default();
        let mut families = self.telemetry.families();
        families.extend(telemetry::sampler(sampled.ticks, sampled.samples, sampled.overruns));
        families.push(telemetry::nmt_failures(&self.poller.failures()));
        if self.config.load().otlp.enabled {
            families.extend(self.pushes.families());
        }
        families
    }

    fn publish(&self, target_set: Arc<TargetSet>, took: Duration) {
        let mut refused = BTreeMap::new();
        for refusal in &target_set.refusals {
            *refused.entry(refusal.reason.as_str()).or_insert(0) += 1;
        }
        let states = TargetState::ALL.map(|state| (state.as_str(), target_set.count(state) as u64));
        let dropped = [
            ("limit", target_set.dropped.limit),
            ("duplicate", target_set.dropped.duplicate),
            ("conflict", target_set.dropped.conflict),
        ];
        self.telemetry.scanned(took, &states.into(), &refused, &dropped.map(|(why, n)| (why, n.into())).into());
        let pages = Pages::of(&target_set, &self.served.load().pages);
        self.served.store(Arc::new(Served { targets: target_set, pages }));
        self.ready.store(true, Ordering::Release);
    }
}

impl Backend for App {
    fn profiles(&self) -> Vec<String> {
        self.config.load().profiles.iter().map(|profile| profile.name.to_string()).collect()
    }

    fn exposition(&self, profile: &str, format: ExpositionFormat, deadline: Instant, out: &mut Vec<u8>) -> bool {
        let Some(index) = self.config.load().profiles.iter().position(|known| *known.name == *profile) else {
            return false;
        };
        let served = self.served.load_full();
        let snapshot = self.snapshot_of(Arc::clone(&served.targets), deadline);
        let own = (index == 0).then(|| self.own_families());
        let page = served.pages.get(profile).map(|page| &**page);
        let samples = prometheus::write(&snapshot, page, format, own.as_deref(), out);
        self.telemetry.set_samples(profile, samples as u64);
        true
    }

    fn targets(&self) -> Listing {
        Listing::of(&Snapshot::take(self.targets(), Instant::now() + Duration::from_secs(5)))
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn reload(&self) -> Result<(), String> {
        self.service.reloading();
        let outcome = self.load_again();
        self.service.reloaded(outcome.is_ok());
        self.waker.wake();
        outcome
    }
}

impl otlp::PushSource for App {
    fn snapshot(&self) -> Snapshot {
        self.snapshot_of(self.targets(), Instant::now() + PUSH_PATIENCE)
    }

    fn last_snapshot(&self) -> Snapshot {
        Snapshot::last(self.targets().targets.clone())
    }

    fn own(&self) -> (Vec<FamilySamples>, f64) {
        (self.own_families(), telemetry::process_start_time().unwrap_or_default())
    }
}
