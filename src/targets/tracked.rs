//! One region from its first sight to its JVM's end.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Starting;
use super::reconciler::{AttachProviders, ReconcilerSettings, cut, refuse};
use super::target::{Incarnation, Target, TargetState, Vitals};
use crate::discovery::liveness::assess;
use crate::discovery::{Candidate, Liveness, Refusal, RefusalReason};
use crate::fact::Provider;
use crate::fact::ProviderId;
use crate::hotspot::Model;
use crate::metric::Labels;
use crate::perfdata::{Image, LayoutChange, MemoryError, Region, RegionError, RegionIdentity, Transport};

/// A heartbeat that stands still this long means that the JVM does not run. HotSpot's period is 50 ms; the rest is for
/// hosts without CPU to spare.
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(2);

/// A region that is open, from its first sight to its JVM's end.
#[derive(Debug)]
pub(super) struct TrackedRegion {
    pub(super) candidate: Candidate,
    pub(super) region: Arc<Region>,
    heartbeat: Option<Heartbeat>,
    pub(super) target: Option<Arc<Target>>,
    pub(super) providers: Vec<(ProviderId, Arc<dyn Provider>)>,
    /// When it was given them.
    pub(super) attached: SystemTime,
    /// The target's plans are those of an earlier configuration: it is not to be shown.
    pub(super) outdated: bool,
    /// The last scan showed it: the directory entry is still there, or the process with its memory.
    pub(super) linked: bool,
}

/// The last change of a heartbeat.
#[derive(Debug)]
struct Heartbeat {
    offset: u32,
    ticks: i64,
    changed: Instant,
}

/// What an examination of a region found.
pub(super) enum Examination {
    /// Nothing new.
    Unchanged,
    /// Not filled in yet.
    Starting,
    /// The JVM has ended.
    Ended,
    /// The region is not one that can be served.
    Refused(RefusalReason, String),
    /// The target is the same, in another state.
    State(TargetState),
    /// The region is to be planned, for the first time or anew.
    Readable(Box<Readable>),
}

/// A region that can be served: a copy of it, what it means, and its target without plans.
pub(super) struct Readable {
    image: Image,
    model: Model,
    target: Target,
}

impl TrackedRegion {
    /// A candidate whose region was opened a moment ago.
    pub(super) fn new(candidate: Candidate, region: Region) -> Self {
        Self {
            linked: candidate.linked,
            candidate,
            region: Arc::new(region),
            heartbeat: None,
            target: None,
            providers: Vec::new(),
            attached: SystemTime::now(),
            outdated: false,
        }
    }

    /// Takes in what a later scan says of the same file.
    pub(super) fn see(&mut self, candidate: Candidate) {
        self.linked = candidate.linked;
        self.candidate.process = candidate.process.or(self.candidate.process.take());
    }

    /// Looks at the region and asks whether its JVM lives.
    pub(super) fn examine(&mut self, settings: &ReconcilerSettings) -> Examination {
        // Memory is not held as a file is: a JVM that the scan does not name has ended, or is read by its file now.
        if self.region.transport() == Transport::Memory && !self.linked {
            return Examination::Ended;
        }
        let Some(target) = self.target.clone() else { return self.examine_newcomer(settings) };
        let state = match self.state(&target) {
            Some(state) => state,
            None => return Examination::Ended,
        };
        match self.region.read(&target.region_identity, &[], &mut Vec::new()) {
            Ok(LayoutChange::Same) => {
                let same = target.providers.iter().all(|(_, provider, shape)| Arc::ptr_eq(&provider.read().0, shape));
                match (same && !self.outdated, state == target.state) {
                    (true, true) => Examination::Unchanged,
                    (true, false) => Examination::State(state),
                    (false, _) => self.read(settings, state),
                }
            }
            Ok(LayoutChange::Grown) => self.read(settings, state),
            Err(RegionError::Unsettled) => Examination::Unchanged,
            // The next scan opens whatever took its place.
            Err(_) => Examination::Ended,
        }
    }

    /// A region that has no target yet.
    fn examine_newcomer(&mut self, settings: &ReconcilerSettings) -> Examination {
        match assess(self.candidate.process.as_deref(), &self.region) {
            Liveness::Dead => Examination::Ended,
            Liveness::Alive | Liveness::Unknown => self.read(settings, TargetState::Mapped),
        }
    }

    /// Decodes the region and describes its JVM.
    fn read(&mut self, settings: &ReconcilerSettings, state: TargetState) -> Examination {
        let image = match Image::read(&self.region) {
            Ok(image) => image,
            Err(RegionError::Decode(error)) if error.is_blank() => return Examination::Starting,
            Err(RegionError::Unsettled) if self.target.is_some() => return Examination::Unchanged,
            Err(RegionError::Unsettled) => return Examination::Starting,
            Err(RegionError::Truncated | RegionError::Memory(MemoryError::Ended | MemoryError::Unmapped)) => {
                return Examination::Ended;
            }
            Err(error) => return Examination::Refused(reason(&error), error.to_string()),
        };
        let model = Model::of(&image, &settings.properties);
        let jvm = model.jvm.clone();
        // Until then times of the start are 0, and constants that come with them are missing.
        if !image.prologue.accessible || !jvm.fully_up {
            return Examination::Starting;
        }
        if self.heartbeat.is_none() {
            let beating = |(offset, ticks)| Heartbeat { offset, ticks, changed: Instant::now() };
            self.heartbeat = model.uptime_ticks.map(beating);
        }
        let process = self.candidate.process.clone();
        let app = jvm.app.clone().filter(|_| !jvm.app_is_launcher);
        let app = app.or_else(|| process.as_ref().and_then(|process| process.unit())).or_else(|| jvm.app.clone());
        let mut target = Target {
            incarnation: Incarnation { region: self.candidate.id, birth: model.birth },
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
            region_identity: RegionIdentity::of(&image),
            words: Arc::from([]),
            vitals: Vitals::default(),
            plans: Vec::new(),
            providers: Vec::new(),
            attached: self.attached,
        };
        if let Some(state) = self.state(&target) {
            target.state = state;
        }
        Examination::Readable(Box::new(Readable { image, model, target }))
    }

    /// Gives a readable JVM its providers and plans; slot and identity come later.
    pub(super) fn plan(
        &mut self,
        readable: Readable,
        providers: &mut dyn AttachProviders,
        settings: &ReconcilerSettings,
    ) -> Target {
        let Readable { image, model, mut target } = readable;
        if self.providers.is_empty() {
            self.providers = providers.attach(&target, &model);
            self.attached = SystemTime::now();
        }
        target.attached = self.attached;
        target.app = cut(&target.app, &settings.limits.series()).into();
        target.providers =
            self.providers.iter().map(|(id, provider)| (*id, Arc::clone(provider), provider.read().0)).collect();
        target.plan(&image, &model, settings);
        target
    }

    /// The state of a JVM that is being served; `None` when it has ended.
    fn state(&mut self, target: &Target) -> Option<TargetState> {
        let unlinked = target.is_unlinked();
        let living = if unlinked { TargetState::Unlinked } else { TargetState::Mapped };
        match assess(self.candidate.process.as_deref(), &self.region) {
            Liveness::Alive => Some(living),
            Liveness::Dead => None,
            Liveness::Unknown => match self.beats(target) {
                Some(true) => Some(living),
                // Without a name, without a heartbeat, and without anybody to ask: nothing speaks for its life.
                _ if unlinked => None,
                Some(false) => Some(TargetState::Stalled),
                None => Some(TargetState::Unconfirmed),
            },
        }
    }

    /// Whether the heartbeat moves; `None` where the JDK has none.
    fn beats(&mut self, target: &Target) -> Option<bool> {
        let heartbeat = self.heartbeat.as_mut()?;
        let mut words = Vec::new();
        target.region.read(&target.region_identity, &[heartbeat.offset], &mut words).ok()?;
        if words.first() != Some(&heartbeat.ticks) {
            heartbeat.ticks = words.first().copied()?;
            heartbeat.changed = Instant::now();
        }
        Some(heartbeat.changed.elapsed() < HEARTBEAT_PATIENCE)
    }

    /// The refusal of a file that a JVM left behind which never became a target.
    pub(super) fn stale(&self) -> Option<Refusal> {
        let left = self.target.is_none() && self.linked && self.region.transport() == Transport::File;
        let detail = "its JVM was killed and left the file behind; the next JVM of this user deletes it";
        left.then(|| refuse(&self.candidate, RefusalReason::Stale, detail.to_owned()))
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

/// The reason to refuse a region that cannot be read.
pub(super) fn reason(error: &RegionError) -> RefusalReason {
    match error {
        RegionError::Size(size) if *size < crate::perfdata::REGION_MINIMUM => RefusalReason::TooSmall,
        RegionError::Size(_) => RefusalReason::TooLarge,
        RegionError::Decode(error) if error.is_version() => RefusalReason::UnsupportedVersion,
        RegionError::Decode(_) | RegionError::Replaced | RegionError::Offset(_) => RefusalReason::NotPerfdata,
        RegionError::Truncated => RefusalReason::TooSmall,
        RegionError::Unsettled => RefusalReason::NotReady,
        RegionError::Memory(_) | RegionError::Io(_) => RefusalReason::IoError,
    }
}
