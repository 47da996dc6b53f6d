//! One region, from the scan that found it until its JVM's end.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use super::kind::JvmKinds;
use super::reconciler::{JvmProviders, refuse, truncate};
use super::start::StartBounds;
use super::target::{Incarnation, Target, TargetState};
use super::{Starting, guarded};
use crate::config::Config;
use crate::discovery::liveness::assess;
use crate::discovery::{Candidate, Liveness, Refusal, RefusalReason};
use crate::fact::AttachedProvider;
use crate::hotspot::{Jvm, Model, ProcessStart, VARIABLES};
use crate::kubernetes::Place;
use crate::metric::Labels;
use crate::perfdata::{Image, LayoutChange, MemoryError, Region, RegionError, RegionIdentity, Transport};
use crate::proc::{Process, start};
use crate::sync::ExpendableThread;

/// A heartbeat that does not advance for this long means that the JVM does not run. HotSpot's period is 50 ms; the rest
/// allows for hosts under load.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// An open region, from the scan that found it until its JVM's end.
#[derive(Debug)]
pub(super) struct TrackedRegion {
    pub(super) candidate: Candidate,
    pub(super) region: Arc<Region>,
    heartbeat: Option<Heartbeat>,
    start_bounds: Option<StartBounds>,
    /// Its pod, once that is known.
    pub(super) place: Option<Arc<Place>>,
    pub(super) target: Option<Arc<Target>>,
    pub(super) providers: JvmProviders,
    /// When the JVM got its providers.
    pub(super) attached: SystemTime,
    /// The target's plans are of an earlier configuration: it must not be served.
    pub(super) outdated: bool,
    /// The last scan found it: by its directory entry, or by the process with its memory.
    pub(super) linked: bool,
}

/// The last change of a heartbeat.
#[derive(Debug)]
struct Heartbeat {
    offset: u32,
    ticks: i64,
    changed: Instant,
}

/// The result of examining a region.
pub(super) enum Examination<T> {
    /// No change.
    Unchanged,
    /// The region is not initialized yet.
    Starting,
    /// The JVM has ended.
    Ended,
    /// The region cannot be served.
    Refused(RefusalReason, String),
    /// Only the target's state has changed.
    State(TargetState),
    /// The region needs plans, for the first time or again; or its target with them.
    Readable(Box<T>),
}

/// A region that can be served: a copy, its model, and its target without plans.
pub(super) struct Readable {
    image: Image,
    pub(super) model: Model,
    pub(super) target: Target,
}

impl TrackedRegion {
    /// A candidate whose region has just been opened.
    pub(super) fn new(candidate: Candidate, region: Region) -> Self {
        Self {
            linked: candidate.linked,
            candidate,
            region: Arc::new(region),
            heartbeat: None,
            start_bounds: None,
            place: None,
            target: None,
            providers: Vec::new(),
            attached: SystemTime::now(),
            outdated: false,
        }
    }

    /// Merges what a later scan found of the same region.
    pub(super) fn merge(&mut self, candidate: Candidate) {
        self.linked = candidate.linked;
        self.candidate.orphaned = candidate.orphaned;
        self.candidate.process = candidate.process.or(self.candidate.process.take());
    }

    /// Checks whether the JVM runs and what has changed in its region.
    pub(super) fn examine(&mut self, config: &Config, reader: &mut ExpendableThread) -> Examination<Readable> {
        if self.region.is_given_up() {
            return unresponsive();
        }
        // A file stays open after its JVM's end, memory does not: a JVM that the scan did not find has ended, or has a
        // file.
        if self.region.transport() == Transport::Memory && !self.linked {
            return Examination::Ended;
        }
        let Some(target) = self.target.clone() else { return self.examine_new(config, reader) };
        let state = match self.state(&target, reader) {
            Some(state) => state,
            None => return Examination::Ended,
        };
        let identity = target.region_identity;
        match guarded::read(&self.region, reader, move |region| region.read(&identity, &[], &mut Vec::new())) {
            Ok(LayoutChange::Same) => {
                let same = target.has_planned_all_facts() && target.place == self.place;
                let same_start = self.corrected_start(target.incarnation.start_millis) == target.corrected_start;
                match (same && same_start && !self.outdated, state == target.state) {
                    (true, true) => Examination::Unchanged,
                    (true, false) => Examination::State(state),
                    (false, _) => self.read(config, state, reader),
                }
            }
            Ok(LayoutChange::Grown) => self.read(config, state, reader),
            Err(RegionError::Unsettled) => Examination::Unchanged,
            Err(RegionError::Unresponsive) => unresponsive(),
            // The next scan opens the region that replaced it.
            Err(_) => Examination::Ended,
        }
    }

    /// The start of the JVM where its own word cannot be true.
    fn corrected_start(&self, start_millis: i64) -> Option<f64> {
        let before = self.target.as_ref().and_then(|target| target.corrected_start);
        self.start_bounds?.corrected(start_millis, before)
    }

    fn liveness(&self) -> Liveness {
        if self.candidate.orphaned { Liveness::Dead } else { assess(self.candidate.process.as_deref(), &self.region) }
    }

    /// Examines a region that has no target yet.
    fn examine_new(&mut self, config: &Config, reader: &mut ExpendableThread) -> Examination<Readable> {
        match self.liveness() {
            Liveness::Dead => Examination::Ended,
            Liveness::Alive | Liveness::Unknown => self.read(config, TargetState::Mapped, reader),
        }
    }

    /// Decodes the region and makes its JVM's target.
    fn read(&mut self, config: &Config, state: TargetState, reader: &mut ExpendableThread) -> Examination<Readable> {
        let image = match guarded::read(&self.region, reader, Image::read) {
            Ok(image) => image,
            Err(RegionError::Decode(error)) if error.is_blank() => return Examination::Starting,
            Err(RegionError::Unsettled) if self.target.is_some() => return Examination::Unchanged,
            Err(RegionError::Unsettled) => return Examination::Starting,
            Err(RegionError::Truncated | RegionError::Memory(MemoryError::Ended | MemoryError::Unmapped)) => {
                return Examination::Ended;
            }
            Err(error) => return Examination::Refused(reason(&error), error.to_string()),
        };
        let (process, mut start) = (self.candidate.process.clone(), ProcessStart::default());
        if let Some(process) = &process {
            let held = Arc::clone(process);
            let words = move || start::words(held.directory(), &VARIABLES);
            let Some((arguments, variables)) = reader.call(words, guarded::PATIENCE, || true) else {
                self.region.give_up();
                return unresponsive();
            };
            start = ProcessStart { arguments, variables };
        }
        let mut model = Model::launched(&image, &start, &config.identity.properties);
        // Until the JVM is up, the times of its start are 0, and constants that HotSpot writes with them are missing.
        if !image.prologue.accessible || !model.jvm.fully_up {
            return Examination::Starting;
        }
        let jvm = model.jvm.clone();
        if self.heartbeat.is_none() {
            let heartbeat = |(offset, ticks)| Heartbeat { offset, ticks, changed: Instant::now() };
            self.heartbeat = model.uptime_ticks.map(heartbeat);
        }
        self.start_bounds = self.start_bounds.or_else(|| process.as_deref().map(StartBounds::of));
        let corrected_start = self.corrected_start(model.start_millis);
        if let Some(seconds) = corrected_start {
            model.correct_start(seconds);
        }
        let app = app_name(&jvm, process.as_deref());
        let mut target = Target {
            incarnation: Incarnation { region: self.candidate.id, start_millis: model.start_millis },
            state,
            path: self.candidate.path.clone(),
            vpid: self.candidate.vpid,
            user: self.candidate.user.as_str().into(),
            app: app.into(),
            slot: 0,
            identity: Labels::default(),
            jvm,
            corrected_start,
            process,
            place: self.place.clone(),
            region: Arc::clone(&self.region),
            region_identity: RegionIdentity::of(&image),
            words: Arc::from([]),
            vital_words: 0,
            vitals: Arc::default(),
            plans: Vec::new(),
            providers: Vec::new(),
            attached: self.attached,
            description: OnceLock::new(),
        };
        if let Some(state) = self.state(&target, reader) {
            target.state = state;
        }
        Examination::Readable(Box::new(Readable { image, model, target }))
    }

    /// Makes the plans of a readable JVM from all facts of its providers. The caller assigns slot and identity.
    pub(super) fn plan(&mut self, readable: Readable, config: &Config, kinds: &JvmKinds) -> Target {
        let Readable { image, model, mut target } = readable;
        target.attached = self.attached;
        target.app = truncate(&target.app, &config.limits.series()).into();
        target.providers = self
            .providers
            .iter()
            .map(|(id, provider)| AttachedProvider { id: *id, provider: Arc::clone(provider), facts: provider.facts() })
            .collect();
        target.plan(&image, &model, config, kinds);
        target
    }

    /// The state of a JVM that is served; `None` if it has ended.
    fn state(&mut self, target: &Target, reader: &mut ExpendableThread) -> Option<TargetState> {
        // The scan has just found its name.
        let unlinked = !self.linked && target.is_unlinked();
        let alive = if unlinked { TargetState::Unlinked } else { TargetState::Mapped };
        match self.liveness() {
            Liveness::Alive => Some(alive),
            Liveness::Dead => None,
            Liveness::Unknown => match self.is_beating(target, reader) {
                Some(true) => Some(alive),
                // Without a file name and a heartbeat there is no sign that it runs.
                _ if unlinked => None,
                Some(false) => Some(TargetState::Stalled),
                None => Some(TargetState::Unconfirmed),
            },
        }
    }

    /// Whether the heartbeat advances; `None` where the JDK has none.
    fn is_beating(&mut self, target: &Target, reader: &mut ExpendableThread) -> Option<bool> {
        let heartbeat = self.heartbeat.as_mut()?;
        let (identity, offset) = (target.region_identity, heartbeat.offset);
        let read = move |region: &Region| {
            let mut words = Vec::new();
            region.read(&identity, &[offset], &mut words).map(|_| words)
        };
        let words = guarded::read(&target.region, reader, read).ok()?;
        if words.first() != Some(&heartbeat.ticks) {
            heartbeat.ticks = words.first().copied()?;
            heartbeat.changed = Instant::now();
        }
        Some(heartbeat.changed.elapsed() < HEARTBEAT_TIMEOUT)
    }

    /// The refusal of a file that was left behind by a JVM that never became a target.
    pub(super) fn stale(&self) -> Option<Refusal> {
        let is_left_behind = self.target.is_none() && self.linked && self.region.transport() == Transport::File;
        let detail = if self.candidate.orphaned {
            "its JVM was killed, and a process that it had forked still holds the file open"
        } else {
            "its JVM was killed and left the file behind"
        };
        is_left_behind.then(|| refuse(&self.candidate, RefusalReason::Stale, detail.to_owned()))
    }

    pub(super) fn starting(&self) -> Starting {
        Starting {
            path: self.candidate.path.clone(),
            vpid: self.candidate.vpid,
            pid: self.candidate.process.as_ref().map(|process| process.pid),
            transport: Some(self.region.transport()),
        }
    }
}

/// What the application is called: by itself, by its unit, by its launcher, or by the program that has the JVM inside.
fn app_name(jvm: &Jvm, process: Option<&Process>) -> String {
    let app = jvm.app.clone().filter(|_| !jvm.app_is_launcher);
    let app = app.or_else(|| process?.unit.clone()).or_else(|| jvm.app.clone());
    let program = || process.map(|process| process.name.clone()).filter(|name| !matches!(&**name, "" | "java"));
    app.or_else(program).unwrap_or_else(|| "unknown".to_owned())
}

/// Why a region that cannot be read is refused.
pub(super) fn reason(error: &RegionError) -> RefusalReason {
    match error {
        RegionError::Size(size) if *size < crate::perfdata::REGION_MINIMUM => RefusalReason::TooSmall,
        RegionError::Size(_) => RefusalReason::TooLarge,
        RegionError::Decode(error) if error.is_version() => RefusalReason::UnsupportedVersion,
        RegionError::Decode(_) | RegionError::Replaced | RegionError::Offset(_) => RefusalReason::NotPerfdata,
        RegionError::Truncated => RefusalReason::TooSmall,
        RegionError::Unsettled => RefusalReason::NotReady,
        RegionError::Unresponsive => RefusalReason::Unresponsive,
        RegionError::Memory(_) | RegionError::Io(_) => RefusalReason::IoError,
    }
}

fn unresponsive() -> Examination<Readable> {
    Examination::Refused(RefusalReason::Unresponsive, RegionError::Unresponsive.to_string())
}
