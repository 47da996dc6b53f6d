//! Wiring: who scans, who answers, and what happens at a signal.
//!
//! One thread scans and publishes rosters; scrapes read the last one on blocking threads. A reload builds everything
//! anew and takes effect only when it is whole.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::config::{self, Config, Fingerprint, Overrides, Problems};
use crate::discovery::watch::Waker;
use crate::discovery::{Reason, Scanner, Watch, Woken};
use crate::exposition::{Format, finish, write_families, write_page};
use crate::formula::Formula;
use crate::listing::{JvmRow, Listing, RefusedRow};
use crate::news::News;
use crate::nmt::Poller;
use crate::otlp::{self, Push};
use crate::privilege;
use crate::roster::{Boards, Census, Roster, Settings, State, Target};
use crate::sampler::Sampler;
use crate::server::Site;
use crate::service::Service;
use crate::snapshot::{FailureReason, Snapshot, View};
use crate::surroundings::{self, Surroundings};
use crate::telemetry::{self, ReloadOutcome, SelfMetrics, Vocabulary};

/// Shortest time from one scan's start to the next, and the share of the time that scans may take: who may write to a
/// directory can ask for as many as he likes.
const BETWEEN_SCANS: Duration = Duration::from_millis(100);
const SHARE: u32 = 10;

/// Time to read all JVMs for a push.
const PUSH_PATIENCE: Duration = Duration::from_secs(5);

/// The label values of the exporter's own metrics.
pub fn vocabulary() -> Vocabulary {
    Vocabulary {
        states: State::ALL.map(State::as_str).into(),
        refusals: Reason::ALL.map(Reason::as_str).into(),
        read_failures: FailureReason::ALL.map(FailureReason::as_str).into(),
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

/// The running exporter, as the server sees it.
#[derive(Debug)]
pub struct App {
    source: ConfigSource,
    config: ArcSwap<Config>,
    roster: ArcSwap<Roster>,
    telemetry: Arc<SelfMetrics>,
    waker: Waker,
    sampler: ArcSwapOption<Sampler>,
    poller: Arc<Poller>,
    pushes: Arc<otlp::Statistics>,
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
    ) -> std::io::Result<(Arc<Self>, Watch)> {
        let watch = Watch::new()?;
        let poller = Arc::new(Poller::new(config.nmt.clone()));
        let app = Self {
            source,
            config: ArcSwap::from_pointee(config),
            roster: ArcSwap::default(),
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
    pub fn start_scanning(self: &Arc<Self>, watch: Watch) -> std::io::Result<JoinHandle<()>> {
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
        let surroundings = Surroundings::new(None, None, config.discovery.procfs.visible());
        let mut census = Census::new(Settings::from(&*config), Box::new(surroundings));
        let scan = Scanner::new(&config.discovery).scan(&|_| false);
        self.publish(census.update(scan), Duration::ZERO);
        Snapshot::take(self.roster.load_full(), Instant::now() + Duration::from_secs(60))
    }

    fn scan_until_stopped(self: &Arc<Self>, mut watch: Watch) {
        let mut config = self.config.load_full();
        let mut scanner = Scanner::new(&config.discovery);
        let mut census = Census::new(Settings::from(&*config), Box::new(self.surroundings(&config)));
        let news = News::default();
        let mut files = config.seen.clone();
        while !self.stopping.load(Ordering::Acquire) {
            let started = Instant::now();
            let scan = scanner.scan(&|id| census.follows(id));
            watch.follow(&scan.watched);
            let roster = census.update(scan);
            let unsettled = roster.unsettled;
            news.tell(&self.roster.load(), &roster, &config);
            self.publish(roster, started.elapsed());
            self.service.scanned(&self.roster.load());
            if let Some(push) = &*self.push() {
                push.ended(census.take_ended());
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
                let boards = self.reconfigure(&config, &current);
                config = current;
                files = config.seen.clone();
                scanner = Scanner::new(&config.discovery);
                census.reconfigure(Settings::from(&*config), boards);
            }
        }
    }

    /// Waits for the next scan after the one that began at `started`: until something happens, at most `interval`, and at
    /// least as long as keeps scans from taking all of the time.
    fn rest(&self, watch: &Watch, started: Instant, interval: Duration) {
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
        self.push.lock().unwrap_or_else(PoisonError::into_inner)
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
                let source = Arc::clone(self) as Arc<dyn otlp::Source>;
                match Push::start(config.clone(), source, Arc::clone(&self.pushes)) {
                    Ok(started) => *push = Some(started),
                    Err(error) => tracing::error!(%error, "cannot start the thread that pushes over OTLP"),
                }
            }
            None => {}
        }
    }

    /// Takes a snapshot, and counts and acts on what could not be read.
    fn snapshot_until(&self, deadline: Instant) -> Snapshot {
        let snapshot = Snapshot::take(self.roster.load_full(), deadline);
        for failure in &snapshot.failures {
            self.telemetry.read_failed(failure.reason.as_str());
        }
        if snapshot.outdated {
            self.waker.wake();
        }
        snapshot
    }

    /// Starts what is known of JVMs beside their counters.
    fn surroundings(&self, config: &Config) -> Surroundings {
        let sampler = surroundings::start_sampler(&config.sampling);
        self.sampler.store(sampler.clone());
        Surroundings::new(sampler, Some(Arc::clone(&self.poller)), config.discovery.procfs.visible())
    }

    /// Puts a new configuration into force. Boards are made anew only where they depend on what has changed, since
    /// sums and histograms start anew with them.
    fn reconfigure(self: &Arc<Self>, old: &Config, new: &Config) -> Option<Box<dyn Boards>> {
        self.poller.configure(new.nmt.clone());
        if old.otlp != new.otlp {
            self.push_as(&new.otlp);
        }
        let same = old.sampling == new.sampling && old.discovery.procfs == new.discovery.procfs;
        (!same).then(|| Box::new(self.surroundings(new)) as Box<dyn Boards>)
    }

    /// The exporter's own metrics.
    pub fn own_families(&self) -> Vec<telemetry::Series> {
        let sampler = self.sampler.load();
        let sampled = sampler.as_ref().map(|sampler| sampler.statistics()).unwrap_or_default();
        let mut families = self.telemetry.families();
        families.extend(telemetry::sampler(sampled.ticks, sampled.looks, sampled.overruns));
        families.push(telemetry::nmt_failures(&self.poller.failures()));
        if self.config.load().otlp.enabled {
            families.extend(self.pushes.families());
        }
        families
    }

    fn publish(&self, roster: Arc<Roster>, took: Duration) {
        let mut refused = BTreeMap::new();
        for refusal in &roster.refusals {
            *refused.entry(refusal.reason.as_str()).or_insert(0) += 1;
        }
        let states = State::ALL.map(|state| (state.as_str(), roster.count(state) as u64));
        let dropped = [
            ("limit", roster.dropped.limit),
            ("duplicate", roster.dropped.duplicate),
            ("conflict", roster.dropped.conflict),
        ];
        self.telemetry.scanned(took, &states.into(), &refused, &dropped.map(|(why, n)| (why, n.into())).into());
        self.roster.store(roster);
        self.ready.store(true, Ordering::Release);
    }
}

impl Site for App {
    fn profiles(&self) -> Vec<String> {
        self.config.load().profiles.iter().map(|profile| profile.name.to_string()).collect()
    }

    fn exposition(&self, profile: &str, format: Format, deadline: Instant, out: &mut Vec<u8>) -> bool {
        let Some(index) = self.config.load().profiles.iter().position(|known| *known.name == *profile) else {
            return false;
        };
        let snapshot = self.snapshot_until(deadline);
        let own = (index == 0).then(|| self.own_families());
        let samples = render(&snapshot, profile, format, own.as_deref(), out);
        self.telemetry.set_samples(profile, samples as u64);
        true
    }

    fn targets(&self) -> Listing {
        listing(&Snapshot::take(self.roster.load_full(), Instant::now() + Duration::from_secs(5)))
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

impl otlp::Source for App {
    fn snapshot(&self) -> Snapshot {
        self.snapshot_until(Instant::now() + PUSH_PATIENCE)
    }

    fn last_snapshot(&self) -> Snapshot {
        Snapshot::last(self.roster.load().targets.clone())
    }

    fn own(&self) -> (Vec<telemetry::Series>, f64) {
        (self.own_families(), telemetry::process_start_time().unwrap_or_default())
    }
}

/// Appends one exposition of one profile, with the exporter's own metrics where they are given. Returns the number of
/// the JVMs' samples.
pub fn render(
    snapshot: &Snapshot,
    profile: &str,
    format: Format,
    own: Option<&[telemetry::Series]>,
    out: &mut Vec<u8>,
) -> usize {
    let views: Vec<View<'_>> = (0..snapshot.roster.targets.len() as u32).map(|index| snapshot.of(index)).collect();
    let mut samples = 0;
    if let Some((_, page)) = snapshot.roster.pages.iter().find(|(name, _)| **name == *profile) {
        samples = write_page(page, format, |target| &views[target as usize], out);
    }
    if let Some(own) = own {
        write_families(own, format, out);
    }
    finish(format, out);
    samples
}

/// What `list` prints and `/targets` serves.
pub fn listing(snapshot: &Snapshot) -> Listing {
    let mut listing = Listing::default();
    for (index, target) in (0..).zip(&snapshot.roster.targets) {
        let view = snapshot.of(index);
        if !view.is_gone() {
            listing.jvms.push(row(target, &view));
        }
    }
    for starting in &snapshot.roster.starting {
        listing.jvms.push(JvmRow {
            pid: starting.pid.or(Some(starting.vpid)).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
            state: State::Starting.as_str().to_owned(),
            path: Some(starting.path.display().to_string()).filter(|path| !path.is_empty()),
            via: starting.via.map(|via| via.as_str().to_owned()),
            ..JvmRow::default()
        });
    }
    for refusal in &snapshot.roster.refusals {
        listing.refused.push(RefusedRow {
            path: refusal.path.as_ref().map(|path| path.display().to_string()),
            pid: refusal.pid.and_then(|pid| u32::try_from(pid).ok()),
            reason: refusal.reason.as_str().to_owned(),
            detail: refusal.detail.clone(),
            remedy: String::new(),
        });
    }
    listing
}

fn row(target: &Target, view: &View<'_>) -> JvmRow {
    let number = |formula: &Option<Formula>| Some(formula.as_ref()?.evaluate(view)?.as_f64());
    let bytes = |formula| number(formula).filter(|bytes| *bytes >= 0.0).map(|bytes| bytes as u64);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let own = ["app", "slot"];
    JvmRow {
        app: Some(target.app.to_string()),
        slot: Some(target.slot),
        pid: u32::try_from(target.process.as_ref().map_or(target.vpid, |process| process.pid)).ok(),
        state: target.state.as_str().to_owned(),
        main_class: target.jvm.main.clone(),
        java_version: target.jvm.java_version.clone(),
        gc: target.jvm.collector.map(|collector| collector.name().to_owned()),
        path: Some(target.path.display().to_string()),
        via: Some(target.region.via().as_str().to_owned()),
        labels: target
            .identity
            .iter()
            .filter(|(name, _)| !own.contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        uptime_seconds: number(&target.vitals.start_time).map(|start| (now - start).max(0.0)),
        heap_used: bytes(&target.vitals.heap_used),
        heap_committed: bytes(&target.vitals.heap_committed),
        heap_limit: bytes(&target.vitals.heap_limit),
        vm_vendor: target.jvm.vm_vendor.clone(),
        user: Some(target.user.to_string()),
    }
}
