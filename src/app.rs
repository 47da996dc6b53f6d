//! Wiring: who scans, who answers, and what happens at a signal.
//!
//! One thread scans and publishes rosters; scrapes read the last one on blocking threads. A reload builds everything
//! anew and takes effect only when it is whole.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::config::{self, Config, Overrides, Problems};
use crate::discovery::watch::Waker;
use crate::discovery::{Reason, Scanner, Watch};
use crate::exposition::{Format, finish, write_families, write_page};
use crate::formula::Formula;
use crate::listing::{JvmRow, Listing, RefusedRow};
use crate::mapping::Origin;
use crate::nmt::Poller;
use crate::roster::{Boards, Census, Roster, Settings, State, Target};
use crate::sampler::Sampler;
use crate::server::Site;
use crate::snapshot::{FailureReason, Snapshot, View};
use crate::surroundings::{self, Surroundings};
use crate::telemetry::{self, Quiet, ReloadOutcome, SelfMetrics, Vocabulary};

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
        config::load(self.file.as_deref(), &self.overrides, &|path| std::fs::read_to_string(path))
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
    /// Bytes that the next exposition will take, about.
    expected: AtomicUsize,
    ready: AtomicBool,
    stopping: AtomicBool,
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
            expected: AtomicUsize::new(0),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
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

    fn scan_until_stopped(&self, mut watch: Watch) {
        let mut config = self.config.load_full();
        let mut scanner = Scanner::new(&config.discovery);
        let mut census = Census::new(Settings::from(&*config), Box::new(self.surroundings(&config)));
        let complaints = Quiet::default();
        let mut files = Fingerprint::of(&config.files);
        while !self.stopping.load(Ordering::Acquire) {
            let started = Instant::now();
            let scan = scanner.scan(&|id| census.follows(id));
            watch.follow(&scan.watched);
            let roster = census.update(scan);
            let unsettled = roster.unsettled;
            self.complain(&roster, &config, &complaints);
            self.publish(roster, started.elapsed());
            if !unsettled {
                watch.wait(config.discovery.interval);
            }
            let now = Fingerprint::of(&config.files);
            if now != files {
                files = now;
                let _ = self.reload();
            }
            let current = self.config.load_full();
            if !Arc::ptr_eq(&current, &config) {
                let boards = self.reconfigure(&config, &current);
                config = current;
                files = Fingerprint::of(&config.files);
                scanner = Scanner::new(&config.discovery);
                census.reconfigure(Settings::from(&*config), boards);
            }
        }
    }

    /// Starts what is known of JVMs beside their counters.
    fn surroundings(&self, config: &Config) -> Surroundings {
        let sampler = surroundings::start_sampler(&config.sampling);
        self.sampler.store(sampler.clone());
        Surroundings::new(sampler, Some(Arc::clone(&self.poller)), config.discovery.procfs.visible())
    }

    /// Puts a new configuration into force. Boards are made anew only where they depend on what has changed, since
    /// sums and histograms start anew with them.
    fn reconfigure(&self, old: &Config, new: &Config) -> Option<Box<dyn Boards>> {
        self.poller.configure(new.nmt.clone());
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

    /// Logs what changed in the list of JVMs and refusals, each complaint once.
    fn complain(&self, roster: &Roster, config: &Config, complaints: &Quiet<String>) {
        let now = Instant::now();
        // Shipped rules are for every JDK and collector; only the user's own are meant for what runs here.
        let own = |rule: &Origin| config.files.iter().any(|file| *rule.file == *file.to_string_lossy());
        let unmatched = config.profiles.iter().flat_map(|profile| profile.unmatched()).filter(own);
        let unmatched: Vec<_> = unmatched.map(|rule| format!("{rule}: {}", rule.takes)).collect();
        if !roster.targets.is_empty() {
            for rule in &unmatched {
                if complaints.is_news(rule.clone(), "unmatched", now) {
                    tracing::warn!(rule, "the rule matches nothing of the JVMs found so far; see `explain`");
                }
            }
        }
        for refusal in &roster.refusals {
            let subject = refusal.subject();
            if complaints.is_news(subject.clone(), refusal.reason.as_str(), now) {
                tracing::info!(subject, reason = refusal.reason.as_str(), detail = refusal.detail, "not served");
            }
        }
        complaints.retain(|subject| {
            unmatched.contains(subject) || roster.refusals.iter().any(|refusal| refusal.subject() == *subject)
        });
        let before = self.roster.load();
        let is_in =
            |list: &[Arc<Target>], target: &Target| list.iter().any(|other| other.incarnation == target.incarnation);
        for target in roster.targets.iter().filter(|target| !is_in(&before.targets, target)) {
            let (app, slot, path) = (&*target.app, target.slot, target.path.display());
            tracing::info!(app, slot, %path, state = target.state.as_str(), "JVM found");
        }
        for target in before.targets.iter().filter(|target| !is_in(&roster.targets, target)) {
            let (app, slot, path) = (&*target.app, target.slot, target.path.display());
            tracing::info!(app, slot, %path, "JVM gone");
        }
    }
}

impl Site for App {
    fn profiles(&self) -> Vec<String> {
        self.config.load().profiles.iter().map(|profile| profile.name.to_string()).collect()
    }

    fn exposition(&self, profile: &str, format: Format, deadline: Instant) -> Option<Vec<u8>> {
        let roster = self.roster.load_full();
        let index = self.config.load().profiles.iter().position(|known| *known.name == *profile)?;
        let snapshot = Snapshot::take(roster, deadline);
        for failure in &snapshot.failures {
            self.telemetry.read_failed(failure.reason.as_str());
        }
        if snapshot.outdated {
            self.waker.wake();
        }
        let own = (index == 0).then(|| self.own_families());
        // As much as the last one took: growing a buffer of megabytes costs more than filling it.
        let mut out = Vec::with_capacity(self.expected.load(Ordering::Relaxed));
        let samples = render(&snapshot, profile, format, own.as_deref(), &mut out);
        self.expected.store(out.len() + out.len() / 16, Ordering::Relaxed);
        self.telemetry.set_samples(profile, samples as u64);
        Some(out)
    }

    fn targets(&self) -> Listing {
        listing(&Snapshot::take(self.roster.load_full(), Instant::now() + Duration::from_secs(5)))
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn reload(&self) -> Result<(), String> {
        match self.source.load() {
            Ok(config) => {
                self.config.store(Arc::new(config));
                self.telemetry.reloaded(ReloadOutcome::Success);
                tracing::info!("configuration reloaded");
                self.waker.wake();
                Ok(())
            }
            Err(problems) => {
                self.telemetry.reloaded(ReloadOutcome::Failure);
                tracing::error!(problems = %problems, "the configuration has problems; the old one stays in force");
                Err(problems.to_string())
            }
        }
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

/// What tells that a file was changed, or a mounted ConfigMap swapped.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint(Vec<Option<(u64, u64, SystemTime)>>);

impl Fingerprint {
    fn of(files: &[PathBuf]) -> Self {
        use std::os::unix::fs::MetadataExt;
        let stamp = |path: &PathBuf| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.ino(), file.len(), file.modified().ok()?))
        };
        Self(files.iter().map(stamp).collect())
    }
}
