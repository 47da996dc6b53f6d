//! Following JVMs from scan to scan.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::slots::Slots;
use super::target::{Incarnation, State, Target, Vitals};
use super::{Roster, Starting};
use crate::config::Limits;
use crate::discovery::liveness::assess;
use crate::discovery::{Candidate, Liveness, Reason, Refusal, RegionId, Scan, Source};
use crate::exposition::Page;
use crate::formula::{BoardId, Formula};
use crate::hotspot::{self, Fact, Jvm};
use crate::mapping::{Dropped, Profile, Words};
use crate::metric::{Kind, Labels, Value};
use crate::perfdata::{Access, Freshness, Image, MemoryError, Region, RegionError, Seal, Via};
use crate::snapshot::Board;

/// `sun.os.hrt.ticks`: uptime, written every 50 ms by JDK 8 to 24 (JDK-8241678 removed it).
const HEARTBEAT: &str = "sun.os.hrt.ticks";

/// A heartbeat that stands still this long means that the JVM does not run. HotSpot's period is 50 ms; the rest is for
/// hosts without CPU to spare.
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(2);

/// What the census needs of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How regions are read.
    pub access: Access,
    /// Bounds.
    pub limits: Limits,
    /// The mappings.
    pub profiles: Vec<Arc<Profile>>,
    /// Names of `-D` properties that may name an app.
    pub properties: Vec<String>,
}

/// Gives a JVM that has just become readable the boards that other parts of the program keep for it.
pub trait Boards: Debug + Send {
    /// Called once per incarnation. A board is dropped with the JVM.
    fn attach(&mut self, target: &Target) -> Vec<(BoardId, Arc<dyn Board>)>;
}

/// The JVMs as of the last scan.
#[derive(Debug)]
pub struct Census {
    settings: Settings,
    boards: Box<dyn Boards>,
    followed: BTreeMap<RegionId, Followed>,
    slots: Slots,
    roster: Arc<Roster>,
    /// A JVM was replaced since the scan.
    unsettled: bool,
}

/// A region that is open, from its first sight to its JVM's end.
#[derive(Debug)]
struct Followed {
    candidate: Candidate,
    region: Arc<Region>,
    heartbeat: Option<Heartbeat>,
    target: Option<Arc<Target>>,
    boards: Vec<(BoardId, Arc<dyn Board>)>,
    /// The last scan showed it: the directory entry is still there, or the process with its memory.
    linked: bool,
}

/// The last change of a heartbeat.
#[derive(Debug)]
struct Heartbeat {
    offset: u32,
    ticks: i64,
    changed: Instant,
}

/// What an examination of a region found.
enum Finding {
    /// Nothing new.
    Unchanged,
    /// Not filled in yet.
    Starting,
    /// The JVM has ended.
    Ended,
    /// The region is not one that can be served.
    Refused(Reason, String),
    /// A target to serve from now on.
    Target(Box<Target>),
}

impl Census {
    /// Follows nobody yet.
    pub fn new(settings: Settings, boards: Box<dyn Boards>) -> Self {
        Self {
            settings,
            boards,
            followed: BTreeMap::new(),
            slots: Slots::default(),
            roster: Arc::default(),
            unsettled: false,
        }
    }

    /// Takes a new configuration; every JVM is planned anew at the next [`Census::update`].
    pub fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
        self.roster = Arc::default();
    }

    /// Whether a region is open already, so that a scan need not open it again.
    pub fn follows(&self, id: RegionId) -> bool {
        self.followed.contains_key(&id)
    }

    /// The roster after a scan.
    pub fn update(&mut self, scan: Scan) -> Arc<Roster> {
        let (unready, mut refusals): (Vec<_>, Vec<_>) =
            scan.refusals.into_iter().partition(|refusal| refusal.reason == Reason::NotReady);
        for followed in self.followed.values_mut() {
            followed.linked = false;
        }
        for mut candidate in scan.candidates {
            match (self.followed.get_mut(&candidate.id), candidate.source.take()) {
                (Some(followed), _) => followed.see(candidate),
                (None, Some(source)) => self.follow(candidate, source, &mut refusals),
                (None, None) => self.unsettled = true,
            }
        }
        let mut starting: Vec<_> = unready.into_iter().map(Starting::from).collect();
        let changed = self.examine_all(&mut starting, &mut refusals);
        self.publish(starting, refusals, changed)
    }

    /// Opens a region that was not known before.
    fn follow(&mut self, candidate: Candidate, source: Source, refusals: &mut Vec<Refusal>) {
        if self.followed.len() >= self.settings.limits.max_jvms {
            let detail =
                format!("limits.max_jvms is {}; raise it to serve this JVM too", self.settings.limits.max_jvms);
            refusals.push(refuse(&candidate, Reason::TooMany, detail));
            return;
        }
        match source.open(self.settings.access) {
            Ok(region) => {
                let region = Arc::new(region);
                let followed = Followed {
                    linked: candidate.linked,
                    candidate,
                    region,
                    heartbeat: None,
                    target: None,
                    boards: Vec::new(),
                };
                self.followed.insert(followed.candidate.id, followed);
            }
            Err(error) => refusals.push(refuse(&candidate, reason(&error), error.to_string())),
        }
    }

    /// Examines every JVM; those that ended or are refused are forgotten, and their slots are free. Returns whether the
    /// roster has changed.
    fn examine_all(&mut self, starting: &mut Vec<Starting>, refusals: &mut Vec<Refusal>) -> bool {
        let (mut over, mut born) = (Vec::new(), Vec::new());
        let anew = self.roster.pages.is_empty();
        for (id, followed) in &mut self.followed {
            match followed.examine(&self.settings, anew) {
                Finding::Unchanged => {}
                Finding::Starting => starting.push(followed.starting()),
                Finding::Ended => {
                    over.push(*id);
                    self.unsettled |= followed.linked && followed.target.is_some();
                    if followed.target.is_none() && followed.linked && followed.region.via() == Via::File {
                        let detail =
                            "its JVM was killed and left the file behind; the next JVM of this user deletes it";
                        refusals.push(refuse(&followed.candidate, Reason::Stale, detail.to_owned()));
                    }
                }
                Finding::Refused(reason, detail) => {
                    over.push(*id);
                    refusals.push(refuse(&followed.candidate, reason, detail));
                }
                Finding::Target(target) => born.push((*id, target)),
            }
        }
        let changed = !(over.is_empty() && born.is_empty());
        for id in over {
            self.forget(id);
        }
        // Slots are taken after all that ended have given theirs back, and in the order in which JVMs started, so that
        // an exporter that restarts hands out the same ones.
        born.sort_by_key(|(_, target)| target.incarnation.birth);
        for (id, target) in born {
            self.serve(id, *target);
        }
        changed
    }

    fn forget(&mut self, id: RegionId) {
        let Some(followed) = self.followed.remove(&id) else { return };
        if let Some(target) = &followed.target {
            self.slots.give_back(&target.app, &followed.candidate.labels, target.slot);
        }
    }

    /// Gives a target its identity, boards and plans.
    fn serve(&mut self, id: RegionId, mut target: Target) {
        let Some(followed) = self.followed.get_mut(&id) else { return };
        let slot = match &followed.target {
            Some(old) if old.app == target.app => old.slot,
            Some(old) => {
                self.slots.give_back(&old.app, &followed.candidate.labels, old.slot);
                self.slots.take(&target.app, &followed.candidate.labels)
            }
            None => self.slots.take(&target.app, &followed.candidate.labels),
        };
        target.slot = slot;
        target.identity = identity(&target.app, slot, &followed.candidate.labels);
        if followed.target.is_none() {
            followed.boards = self.boards.attach(&target);
        }
        target.boards = followed.boards.iter().map(|(id, board)| (*id, Arc::clone(board), board.read().0)).collect();
        if let Err(error) = target.plan(&self.settings) {
            tracing::debug!(path = %target.path.display(), %error, "the region changed while it was planned");
            return;
        }
        followed.target = Some(Arc::new(target));
    }

    fn publish(&mut self, starting: Vec<Starting>, refusals: Vec<Refusal>, changed: bool) -> Arc<Roster> {
        let targets: Vec<_> = self.followed.values().filter_map(|followed| followed.target.clone()).collect();
        let pages = if changed || self.roster.pages.is_empty() {
            let profiles = &self.settings.profiles;
            profiles.iter().for_each(|profile| profile.forget_unused());
            let page = |index| Arc::new(page(&targets, index));
            profiles.iter().enumerate().map(|(index, profile)| (profile.name.clone(), page(index))).collect()
        } else {
            self.roster.pages.clone()
        };
        let mut dropped = Dropped::default();
        for plan in targets.iter().flat_map(|target| &target.plans) {
            dropped.limit += plan.dropped.limit;
            dropped.duplicate += plan.dropped.duplicate;
            dropped.conflict += plan.dropped.conflict;
        }
        let scanned = SystemTime::now();
        let unsettled = std::mem::take(&mut self.unsettled);
        self.roster = Arc::new(Roster { targets, starting, refusals, pages, dropped, unsettled, scanned });
        Arc::clone(&self.roster)
    }
}

impl Followed {
    /// Takes in what a later scan says of the same file.
    fn see(&mut self, candidate: Candidate) {
        self.linked = candidate.linked;
        self.candidate.process = candidate.process.or(self.candidate.process.take());
    }

    fn examine(&mut self, settings: &Settings, anew: bool) -> Finding {
        // Memory is not held as a file is: a JVM that the scan does not name has ended, or is read by its file now.
        if self.region.via() == Via::Memory && !self.linked {
            return Finding::Ended;
        }
        let Some(target) = self.target.clone() else { return self.examine_newcomer(settings) };
        let state = match self.state(&target) {
            Some(state) => state,
            None => return Finding::Ended,
        };
        match self.region.gather(&target.seal, &[], &mut Vec::new()) {
            Ok(Freshness::Same) => {
                let same = target.boards.iter().all(|(_, board, shape)| Arc::ptr_eq(&board.read().0, shape));
                match (same && !anew, state == target.state) {
                    (true, true) => Finding::Unchanged,
                    (true, false) => Finding::Target(Box::new(target.with_state(state))),
                    (false, _) => self.read(settings, state),
                }
            }
            Ok(Freshness::Grown) => self.read(settings, state),
            // The next scan opens whatever took its place.
            Err(_) => Finding::Ended,
        }
    }

    /// A region that has no target yet.
    fn examine_newcomer(&mut self, settings: &Settings) -> Finding {
        match assess(self.candidate.process.as_deref(), &self.region) {
            Liveness::Dead => Finding::Ended,
            Liveness::Alive | Liveness::Unknown => self.read(settings, State::Mapped),
        }
    }

    /// Decodes the region and describes its JVM.
    fn read(&mut self, settings: &Settings, state: State) -> Finding {
        let image = match Image::read(&self.region) {
            Ok(image) => image,
            Err(RegionError::Decode(error)) if error.is_blank() => return Finding::Starting,
            Err(RegionError::Truncated | RegionError::Memory(MemoryError::Ended | MemoryError::Unmapped)) => {
                return Finding::Ended;
            }
            Err(error) => return Finding::Refused(reason(&error), error.to_string()),
        };
        let jvm = Jvm::of(&image, &settings.properties);
        if !image.prologue.accessible || (jvm.late_constants && !jvm.fully_up) {
            return Finding::Starting;
        }
        self.heartbeat = match (&self.heartbeat, image.entry(HEARTBEAT), image.word(HEARTBEAT)) {
            (None, Some(entry), Some(ticks)) if entry.is_word() => {
                Some(Heartbeat { offset: entry.offset, ticks, changed: Instant::now() })
            }
            _ => self.heartbeat.take(),
        };
        let process = self.candidate.process.clone();
        let app = jvm.app.clone().filter(|_| !jvm.app_is_launcher);
        let app = app.or_else(|| process.as_ref().and_then(|process| process.unit())).or_else(|| jvm.app.clone());
        let mut target = Target {
            incarnation: Incarnation {
                region: self.candidate.id,
                birth: image.word("sun.rt.createVmBeginTime").or(image.word("sun.rt.vmInitDoneTime")).unwrap_or(0),
            },
            state,
            path: self.candidate.path.clone(),
            vpid: self.candidate.vpid,
            user: self.candidate.user.as_str().into(),
            app: app.unwrap_or_else(|| "unknown".to_owned()).into(),
            slot: 0,
            identity: Labels::default(),
            jvm,
            process,
            region: Arc::clone(&self.region),
            seal: Seal::of(&image),
            words: Arc::from([]),
            vitals: Vitals::default(),
            plans: Vec::new(),
            boards: Vec::new(),
        };
        if let Some(state) = self.state(&target) {
            target.state = state;
        }
        Finding::Target(Box::new(target))
    }

    /// The state of a JVM that is being served; `None` when it has ended.
    fn state(&mut self, target: &Target) -> Option<State> {
        let unlinked = target.is_unlinked();
        let living = if unlinked { State::Unlinked } else { State::Mapped };
        match assess(self.candidate.process.as_deref(), &self.region) {
            Liveness::Alive => Some(living),
            Liveness::Dead => None,
            Liveness::Unknown => match self.beats(target) {
                Some(true) => Some(living),
                // Without a name, without a heartbeat, and without anybody to ask: nothing speaks for its life.
                _ if unlinked => None,
                Some(false) => Some(State::Stalled),
                None => Some(State::Unconfirmed),
            },
        }
    }

    /// Whether the heartbeat moves; `None` where the JDK has none.
    fn beats(&mut self, target: &Target) -> Option<bool> {
        let heartbeat = self.heartbeat.as_mut()?;
        let mut words = Vec::new();
        target.region.gather(&target.seal, &[heartbeat.offset], &mut words).ok()?;
        if words.first() != Some(&heartbeat.ticks) {
            heartbeat.ticks = words.first().copied()?;
            heartbeat.changed = Instant::now();
        }
        Some(heartbeat.changed.elapsed() < HEARTBEAT_PATIENCE)
    }

    fn starting(&self) -> Starting {
        Starting {
            path: self.candidate.path.clone(),
            vpid: self.candidate.vpid,
            pid: self.candidate.process.as_ref().map(|process| process.pid),
            via: Some(self.region.via()),
        }
    }
}

impl Target {
    /// Compiles the plans of every profile from the region as it is now.
    fn plan(&mut self, settings: &Settings) -> Result<(), RegionError> {
        let image = Image::read(&self.region)?;
        let mut facts = hotspot::facts(&image);
        facts.extend(self.facts());
        facts.extend(self.boards.iter().flat_map(|(_, _, shape)| shape.iter().cloned()));
        let mut words = Words::default();
        self.seal = Seal::of(&image);
        self.plans = settings
            .profiles
            .iter()
            .map(|profile| Arc::new(profile.plan(&image, &facts, &settings.limits, &mut words)))
            .collect();
        self.vitals = vitals(&facts, &mut words);
        self.words = words.offsets().into();
        Ok(())
    }

    /// What is known of a JVM beside its counters.
    pub fn facts(&self) -> Vec<Fact> {
        let pid = self.process.as_ref().map(|process| process.pid);
        let text = |value: Option<String>| value.unwrap_or_default().into_boxed_str();
        let info = vec![
            ("pid", pid.unwrap_or(self.vpid).to_string().into()),
            ("vpid", text(pid.filter(|pid| *pid != self.vpid).map(|_| self.vpid.to_string()))),
            ("user", self.user.clone()),
            ("main", text(self.jvm.main.clone())),
            ("java_version", text(self.jvm.java_version.clone())),
            ("vm_name", text(self.jvm.vm_name.clone())),
            ("vm_vendor", text(self.jvm.vm_vendor.clone())),
            ("vm_version", text(self.jvm.vm_version.clone())),
            ("gc", self.jvm.collector.map(|collector| collector.name()).unwrap_or_default().into()),
            ("container_id", text(self.process.as_ref().and_then(|process| process.container_id()))),
        ];
        let runtime = vec![
            ("version", text(self.jvm.vm_version.clone())),
            ("vendor", text(self.jvm.vm_vendor.clone())),
            ("runtime", text(self.jvm.vm_name.clone())),
        ];
        let fact = |source, labels, kind, formula| Fact { source, labels, kind, unit: "", formula };
        vec![
            fact("target.up", Vec::new(), Kind::Gauge, Formula::Up),
            fact("target.info", info, Kind::Info, Formula::Constant(Value::Int(1))),
            fact("target.runtime", runtime, Kind::Info, Formula::Constant(Value::Int(1))),
        ]
    }

    fn with_state(&self, state: State) -> Self {
        Self {
            state,
            path: self.path.clone(),
            user: self.user.clone(),
            app: self.app.clone(),
            identity: self.identity.clone(),
            jvm: self.jvm.clone(),
            process: self.process.clone(),
            region: Arc::clone(&self.region),
            words: Arc::clone(&self.words),
            vitals: self.vitals.clone(),
            plans: self.plans.clone(),
            boards: self.boards.clone(),
            ..*self
        }
    }
}

fn vitals(facts: &[Fact], words: &mut Words) -> Vitals {
    let mut find = |source: &str| {
        let fact = facts.iter().find(|fact| {
            fact.source == source && fact.labels.iter().all(|(name, value)| *name != "area" || **value == *"heap")
        })?;
        Some(fact.formula.map_words(&mut |offset| words.index(offset)))
    };
    Vitals {
        heap_used: find("area.used"),
        heap_committed: find("area.committed"),
        heap_limit: find("area.limit"),
        start_time: find("target.start_time"),
    }
}

/// The labels that a JVM's series begin with.
fn identity(app: &str, slot: u32, root: &Labels) -> Labels {
    let slot = slot.to_string();
    Labels::new(root.iter().chain([("app", app), ("slot", slot.as_str())]))
}

fn page(targets: &[Arc<Target>], profile: usize) -> Page {
    Page::new((0_u32..).zip(targets).flat_map(|(index, target)| {
        let series = target.plans.get(profile).map(|plan| plan.series.as_slice()).unwrap_or_default();
        series
            .iter()
            .map(move |planned| (&planned.family, (index, &target.identity, &*planned.labels, &planned.formula)))
    }))
}

fn reason(error: &RegionError) -> Reason {
    match error {
        RegionError::Size(size) if *size < crate::perfdata::REGION_MINIMUM => Reason::TooSmall,
        RegionError::Size(_) => Reason::TooLarge,
        RegionError::Decode(error) if error.is_version() => Reason::UnsupportedVersion,
        RegionError::Decode(_) | RegionError::Replaced | RegionError::Offset(_) => Reason::NotPerfdata,
        RegionError::Truncated => Reason::TooSmall,
        RegionError::Memory(_) | RegionError::Io(_) => Reason::IoError,
    }
}

fn refuse(candidate: &Candidate, reason: Reason, detail: String) -> Refusal {
    let pid = candidate.process.as_ref().map(|process| process.pid);
    Refusal { path: Some(candidate.path.clone()), pid, reason, detail }
}
