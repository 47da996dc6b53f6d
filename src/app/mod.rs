//! The running exporter: what connects scans, scrapes, pushes and reloads.
//!
//! One thread scans and publishes the set of targets; scrapes and pushes read the last one on other threads. A reload
//! takes effect only when all of it is valid. Nothing that the kernel may hold for ever runs on the thread that scans, on
//! those that serve, or in the way of the end.

mod metrics;
mod omissions;
mod past;
mod push;
mod reload;
mod scan;
mod scan_thread;
mod silence;
mod slot_file;
mod source;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::config::Config;
use crate::discovery::DirectoryWatcher;
use crate::discovery::watch::{Waker, WatchList};
use crate::history::{self, History};
use crate::output::prometheus::{self, ExpositionFormat, PageBuffer, Pages};
use crate::providers::{Providers, attach::Poller, sampler::Sampler};
use crate::report;
use crate::report::list::{JvmRow, Listing};
use crate::report::overview::{JvmDetail, JvmKey, Measure, Overview};
use crate::server::{Backend, Readiness};
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::targets::{Reconciler, TargetSet};
use crate::telemetry::{Counter, HttpMetrics};
use metrics::AppMetrics;
pub use metrics::declarations;
use omissions::Omissions;
use push::OtlpPush;
use reload::Reloads;
use scan::ScanLoop;
use scan_thread::ScanThread;
pub use source::ConfigSource;

/// Time to read all JVMs for a page that shows their states.
const LISTING_DEADLINE: Duration = Duration::from_secs(5);

/// Scan intervals after which the exporter is not ready, since its list of JVMs is out of date.
const OVERDUE_INTERVALS: u32 = 10;

/// Time to read all JVMs for a command that prints them.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// What scrapes and pushes read: the targets of the last scan, with the pages that are laid out for them.
#[derive(Debug, Default)]
struct Served {
    targets: Arc<TargetSet>,
    pages: Pages,
    /// When the scan ended; `None` before the first.
    scanned: Option<Instant>,
}

/// The running exporter.
#[derive(Debug)]
pub struct App {
    source: ConfigSource,
    config: ArcSwap<Config>,
    served: ArcSwap<Served>,
    metrics: AppMetrics,
    omissions: Omissions,
    http: Arc<HttpMetrics>,
    waker: Waker,
    sampler: ArcSwapOption<Sampler>,
    poller: Arc<Poller>,
    push: OtlpPush,
    history: Arc<History<JvmRow>>,
    /// Time between two points of it.
    history_step: Mutex<Duration>,
    reloads: Reloads,
    /// The log says that the configuration's files do not answer.
    reload_stuck: AtomicBool,
    stopping: AtomicBool,
    service: Service,
}

impl App {
    /// An exporter that has not scanned yet, and what its scanning thread waits on. Fails if no descriptor is left.
    pub fn new(
        source: ConfigSource,
        config: Config,
        http: Arc<HttpMetrics>,
    ) -> std::io::Result<(Arc<Self>, DirectoryWatcher)> {
        let watcher = DirectoryWatcher::new()?;
        let app = Self {
            source,
            poller: Arc::new(Poller::new(config.attach.clone())),
            config: ArcSwap::from_pointee(config),
            served: ArcSwap::default(),
            metrics: AppMetrics::default(),
            omissions: Omissions::starting(),
            http,
            waker: watcher.waker(),
            sampler: ArcSwapOption::empty(),
            push: OtlpPush::default(),
            history: Arc::default(),
            history_step: Mutex::new(history::STEP),
            reloads: Reloads::default(),
            reload_stuck: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            service: Service::from_environment(),
        };
        app.metrics.config_loaded();
        Ok((Arc::new(app), watcher))
    }

    /// Starts the thread that scans until [`App::stop`].
    pub fn start_scanning(self: &Arc<Self>, watcher: DirectoryWatcher) -> std::io::Result<JoinHandle<()>> {
        let app = Arc::clone(self);
        std::thread::Builder::new().name("scan".to_owned()).spawn(move || ScanLoop::new(app, watcher).run())
    }

    /// Notifies the service manager of the shutdown; JVMs are served until [`App::stop`].
    pub fn stopping(&self) {
        self.service.stopping();
    }

    /// Ends the scanning thread soon.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Scans once and takes a snapshot without native memory, pauses and peaks, for commands that print and exit.
    pub fn scan_once(&self) -> Snapshot {
        let (started, config) = (Instant::now(), self.config.load_full());
        let mut reconciler = Reconciler::new(Arc::clone(&config), Box::<Providers>::default());
        let known = HashSet::new();
        let scan = ScanThread::new(&config.discovery).scan(&known, &WatchList::default(), &self.stopping, || {});
        let scan = scan.map(|(scan, _)| scan).unwrap_or_default();
        self.publish(reconciler.update(scan), started.elapsed());
        Snapshot::take(self.targets(), Instant::now() + COMMAND_DEADLINE)
    }

    /// Looks for threads that the kernel holds.
    fn look_after_threads(&self) {
        if self.sampler.load().as_ref().is_some_and(|sampler| sampler.give_up_held()) {
            self.waker.wake();
        }
        let stuck = self.reloads.is_stuck();
        if stuck && !self.reload_stuck.swap(stuck, Ordering::Relaxed) {
            self.metrics.config_reloaded(false);
            tracing::error!("the configuration's files do not answer; the previous configuration stays in force");
        }
        self.reload_stuck.store(stuck, Ordering::Relaxed);
    }

    /// The targets of the last scan.
    fn targets(&self) -> Arc<TargetSet> {
        Arc::clone(&self.served.load().targets)
    }

    /// Makes the targets of a scan that took so long the ones that are served.
    fn publish(&self, targets: Arc<TargetSet>, took: Duration) {
        self.metrics.scanned(&targets, took);
        self.note_omissions();
        let pages = Pages::of(&targets, &self.served.load().pages);
        self.served.store(Arc::new(Served { targets, pages, scanned: Some(Instant::now()) }));
    }

    /// Takes a snapshot of these targets, counts the JVMs that could not be read, and has an outdated set replaced.
    fn snapshot_of(&self, targets: Arc<TargetSet>, deadline: Instant) -> Snapshot {
        let snapshot = Snapshot::take(targets, deadline);
        self.note_outcome(&snapshot);
        snapshot
    }

    fn note_outcome(&self, snapshot: &Snapshot) {
        for reason in &snapshot.failures {
            self.metrics.read_failures.with(*reason, Counter::increment);
        }
        if snapshot.outdated {
            self.waker.wake();
        }
    }
}

impl Backend for App {
    fn profiles(&self) -> Vec<String> {
        self.config.load().profiles.iter().map(|profile| profile.name.to_string()).collect()
    }

    fn exposition(&self, profile: &str, format: ExpositionFormat, deadline: Instant, out: &mut PageBuffer<'_>) -> bool {
        let config = self.config.load();
        let Some(index) = config.profiles.iter().position(|known| *known.name == *profile) else { return false };
        let served = self.served.load_full();
        let snapshot = self.snapshot_of(Arc::clone(&served.targets), deadline);
        let own = (index == 0).then(|| self.page_families(&served.targets));
        let page = served.pages.get(profile).map(|page| &**page);
        let samples = prometheus::write(&snapshot, page, format, own.as_deref(), out);
        self.http.set_samples(profile, samples as u64);
        true
    }

    fn gzip_level(&self) -> Option<u32> {
        self.config.load().web.gzip_level()
    }

    fn targets(&self) -> Listing {
        Listing::of(&Snapshot::take_vitals(self.targets(), Instant::now() + LISTING_DEADLINE))
    }

    fn overview(&self, measures: &[Measure]) -> Overview {
        App::overview(self, measures)
    }

    fn jvm(&self, key: &JvmKey) -> Option<JvmDetail> {
        App::jvm(self, key)
    }

    fn explain(&self, key: &JvmKey) -> Option<String> {
        let targets = self.targets();
        let target = targets.targets.iter().find(|target| key.is_target(target))?;
        report::explain_served(target, &self.config.load()).ok()
    }

    fn readiness(&self) -> Readiness {
        let overdue = self.config.load().discovery.interval * OVERDUE_INTERVALS;
        match self.served.load().scanned.map(|scanned| scanned.elapsed()) {
            None => Readiness::Starting,
            Some(age) if age > overdue => Readiness::Overdue(age),
            Some(_) => Readiness::Ready,
        }
    }

    fn reload(&self) -> Result<(), String> {
        self.request_reload()
    }
}
