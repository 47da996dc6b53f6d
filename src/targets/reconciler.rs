//! Tracks JVMs from scan to scan.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::duplicates::{self, second_views};
use super::examiner::Examiner;
use super::slot_record::{SlotRecord, SlotRecords};
use super::slots::Slots;
use super::target::Target;
use super::tracked::{Examination, TrackedRegion, reason};
use super::{Starting, TargetSet};
use crate::config::Config;
use crate::discovery::{Candidate, Refusal, RefusalReason, RegionId, RegionSource, Scan};
use crate::fact::{Provider, ProviderId};
use crate::hotspot::Model;
use crate::kubernetes::{Place, PodFinder};
use crate::metric::Labels;
use crate::rules::{self, Dropped, SeriesLimits};
use crate::sync::ExpendableThread;

/// The providers of one JVM.
pub type JvmProviders = Vec<(ProviderId, Arc<dyn Provider>)>;

/// Makes the providers of JVMs that have become readable.
pub trait AttachProviders: Debug + Send + Sync {
    /// The providers of each of these JVMs, in their order. Called on any thread, for an incarnation until it has a
    /// provider, at every new plan. A provider is dropped with the JVM.
    fn attach(&self, jvms: &[(&Target, &Model)]) -> Vec<JvmProviders>;
}

/// The JVMs as of the last scan.
#[derive(Debug)]
pub struct Reconciler {
    config: Arc<Config>,
    providers: Box<dyn AttachProviders>,
    tracked: BTreeMap<RegionId, TrackedRegion>,
    slots: Slots,
    /// What an earlier exporter had given out.
    records: SlotRecords,
    /// Slots were given out or freed.
    slots_changed: bool,
    pods: PodFinder,
    target_set: Arc<TargetSet>,
    /// JVMs whose end the last scan found.
    ended: Vec<Arc<Target>>,
    /// A JVM was replaced since the scan.
    unsettled: bool,
    given_up: Vec<RegionId>,
    /// Reads the memory of other processes.
    reader: ExpendableThread,
}

/// In this time after their start, most providers publish what they ever will.
const SETTLING: Duration = Duration::from_secs(5);

impl Reconciler {
    /// A reconciler that tracks no JVM.
    pub fn new(config: Arc<Config>, providers: Box<dyn AttachProviders>) -> Self {
        Self {
            pods: PodFinder::new(&config),
            config,
            providers,
            tracked: BTreeMap::new(),
            slots: Slots::default(),
            records: SlotRecords::default(),
            slots_changed: false,
            target_set: Arc::default(),
            ended: Vec::new(),
            unsettled: false,
            given_up: Vec::new(),
            reader: ExpendableThread::new("memory"),
        }
    }

    /// Applies a new configuration: the next [`Reconciler::update`] makes new plans for every JVM. New providers, if
    /// given, replace those of all JVMs.
    pub fn reconfigure(&mut self, config: Arc<Config>, providers: Option<Box<dyn AttachProviders>>) {
        if self.config.identity != config.identity || self.config.downward != config.downward {
            self.tracked.values_mut().for_each(|tracked| tracked.place = None);
        }
        self.pods = PodFinder::new(&config);
        self.config = config;
        if let Some(providers) = providers {
            self.providers = providers;
            self.tracked.values_mut().for_each(|tracked| tracked.providers.clear());
        }
        self.tracked.values_mut().for_each(|tracked| tracked.outdated = true);
        self.target_set = Arc::default();
    }

    /// Has JVMs get the slots that an earlier exporter gave them. To be called before the first scan.
    pub fn recall(&mut self, records: Vec<SlotRecord>) {
        self.records = SlotRecords::new(records);
    }

    /// The slots of all JVMs, if there was a change since the last call.
    pub fn take_slot_changes(&mut self) -> Option<Vec<SlotRecord>> {
        let of = |tracked: &TrackedRegion| {
            tracked.target.as_ref().map(|target| SlotRecord::of(target, &tracked.candidate.labels))
        };
        std::mem::take(&mut self.slots_changed).then(|| self.tracked.values().filter_map(of).collect())
    }

    /// Whether a region is already open, so that a scan need not open it again.
    pub fn tracks(&self, id: RegionId) -> bool {
        self.tracked.contains_key(&id)
    }

    /// The regions that are open.
    pub(crate) fn tracked(&self) -> HashSet<RegionId> {
        self.tracked.keys().copied().collect()
    }

    /// For JVMs that got their providers within the last [`SETTLING`], whether these have published facts for which there
    /// is no plan; `None` without such a JVM.
    pub(crate) fn new_facts(&self) -> Option<bool> {
        let settling = |tracked: &&TrackedRegion| tracked.attached.elapsed().is_ok_and(|since| since < SETTLING);
        let mut settling =
            self.tracked.values().filter(settling).filter_map(|tracked| tracked.target.as_ref()).peekable();
        settling.peek()?;
        Some(settling.any(|target| !target.has_planned_all_facts()))
    }

    /// The regions in memory whose reading did not end in the last scan: the next must not open them.
    pub(crate) fn take_given_up(&mut self) -> Vec<RegionId> {
        std::mem::take(&mut self.given_up)
    }

    /// The JVMs whose end the last scan found. Their regions can still be read if they are files.
    pub fn take_ended(&mut self) -> Vec<Arc<Target>> {
        std::mem::take(&mut self.ended)
    }

    /// The target set after a scan.
    pub fn update(&mut self, scan: Scan) -> Arc<TargetSet> {
        let (unready, mut refusals): (Vec<_>, Vec<_>) =
            scan.refusals.into_iter().partition(|refusal| refusal.reason == RefusalReason::NotReady);
        self.ended.clear();
        for tracked in self.tracked.values_mut() {
            tracked.linked = false;
        }
        for mut candidate in scan.candidates {
            match (self.tracked.get_mut(&candidate.id), candidate.source.take()) {
                (Some(tracked), _) => tracked.merge(candidate),
                (None, Some(source)) => self.track(candidate, source, &mut refusals),
                (None, None) => self.unsettled = true,
            }
        }
        self.find_pods();
        let mut starting: Vec<_> = unready.into_iter().map(Starting::from).collect();
        let changed = self.examine_all(&mut starting, &mut refusals);
        self.publish(starting, refusals, changed)
    }

    /// Finds the pods of JVMs that have none yet: a container's log may be named after its process has started.
    fn find_pods(&mut self) {
        let unknown = self.tracked.values_mut().filter(|tracked| tracked.place.is_none());
        let (mut tracked, processes): (Vec<_>, Vec<_>) = unknown
            .filter_map(|tracked| {
                let process = Arc::clone(tracked.candidate.process.as_ref()?);
                Some((tracked, process))
            })
            .unzip();
        for (at, place) in self.pods.find(&processes) {
            if let Some(tracked) = tracked.get_mut(at) {
                tracked.place = Some(place);
            }
        }
    }

    /// Opens a new region.
    fn track(&mut self, mut candidate: Candidate, source: RegionSource, refusals: &mut Vec<Refusal>) {
        match source.open(self.config.discovery.access) {
            Ok(region) => {
                // They become labels of the series and keys of the slots.
                let truncated =
                    |(name, value): (&str, &str)| (name.to_owned(), truncate(value, &self.config.limits.series()));
                candidate.labels = Labels::new(candidate.labels.iter().map(truncated));
                self.tracked.insert(candidate.id, TrackedRegion::new(candidate, region));
            }
            Err(error) => refusals.push(refuse(&candidate, reason(&error), error.to_string())),
        }
    }

    /// Examines every JVM, removes those that have ended or are refused, and frees their slots. Returns whether the
    /// target set has changed.
    fn examine_all(&mut self, starting: &mut Vec<Starting>, refusals: &mut Vec<Refusal>) -> bool {
        let (mut removed, mut planned) = (Vec::new(), Vec::new());
        let mut changed = false;
        for (id, first) in second_views(&self.tracked) {
            refusals.extend(self.tracked.get(&id).map(|view| duplicates::refusal(&view.candidate, &first)));
            changed |= self.tracked.get(&id).is_some_and(|view| view.target.is_some());
            self.remove(id);
        }
        let served = self.tracked.values().filter(|tracked| tracked.target.is_some()).count();
        let examiner = Examiner::new(&self.config, &*self.providers, served);
        for (id, examination) in examiner.examine_all(&mut self.tracked, &mut self.reader) {
            let Some(tracked) = self.tracked.get_mut(&id) else { continue };
            match examination {
                Examination::Unchanged => {}
                Examination::Starting => starting.push(tracked.starting()),
                Examination::Ended => {
                    removed.push(id);
                    self.ended.extend(tracked.target.clone());
                    self.unsettled |= tracked.linked && tracked.target.is_some();
                    refusals.extend(tracked.stale());
                }
                Examination::Refused(reason, detail) => {
                    if reason == RefusalReason::Unresponsive {
                        self.given_up.push(id);
                    }
                    removed.push(id);
                    refusals.push(refuse(&tracked.candidate, reason, detail));
                }
                Examination::State(state) => {
                    changed = true;
                    tracked.target =
                        tracked.target.take().map(|target| Arc::new(Target { state, ..(*target).clone() }));
                }
                Examination::Readable(target) => planned.push((id, *target)),
            }
        }
        changed |= !(removed.is_empty() && planned.is_empty());
        for id in removed {
            self.remove(id);
        }
        // Slots are allocated after those of ended JVMs are free: first those that an earlier exporter gave out, then in
        // the order in which the JVMs started.
        planned.sort_by_key(|(_, target)| (!self.records.knows(target), target.incarnation.start_millis));
        for (id, target) in planned {
            self.serve(id, target);
        }
        changed
    }

    fn remove(&mut self, id: RegionId) {
        let Some(tracked) = self.tracked.remove(&id) else { return };
        if let Some(target) = &tracked.target {
            self.slots.free(&target.app, &tracked.candidate.labels, target.slot);
            self.slots_changed = true;
        }
    }

    /// Assigns slot and identity to a target and serves it.
    fn serve(&mut self, id: RegionId, mut target: Target) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        let labels = &tracked.candidate.labels;
        target.slot = match &tracked.target {
            Some(old) if old.app == target.app => old.slot,
            Some(old) => {
                self.slots.free(&old.app, labels, old.slot);
                self.slots.allocate(&target.app, labels)
            }
            None => {
                let recalled = self.records.take(&target, labels);
                let free = recalled.filter(|slot| self.slots.take(&target.app, labels, *slot));
                free.unwrap_or_else(|| self.slots.allocate(&target.app, labels))
            }
        };
        self.slots_changed |=
            tracked.target.as_ref().is_none_or(|old| (&old.app, old.slot) != (&target.app, target.slot));
        let limits = self.config.limits.series();
        target.identity = identity(&target.app, target.slot, labels, target.place.as_deref(), &limits);
        tracked.outdated = false;
        tracked.target = Some(Arc::new(target));
    }

    fn publish(&mut self, starting: Vec<Starting>, refusals: Vec<Refusal>, changed: bool) -> Arc<TargetSet> {
        let current = self.tracked.values().filter(|tracked| !tracked.outdated);
        let targets: Vec<_> = current.filter_map(|tracked| tracked.target.clone()).collect();
        if changed {
            self.config.profiles.iter().for_each(|profile| profile.forget_unused());
        }
        let profiles = self.config.profiles.clone();
        let mut dropped = Dropped::default();
        for plan in targets.iter().flat_map(|target| &target.plans) {
            dropped.limit += plan.dropped.limit;
            dropped.duplicate += plan.dropped.duplicate;
            dropped.conflict += plan.dropped.conflict;
        }
        let scanned = SystemTime::now();
        let unsettled = std::mem::take(&mut self.unsettled);
        self.target_set = Arc::new(TargetSet { targets, starting, refusals, profiles, dropped, unsettled, scanned });
        Arc::clone(&self.target_set)
    }
}

/// A label value, truncated to the limit.
pub(super) fn truncate(value: &str, limits: &SeriesLimits) -> String {
    let mut value = value.to_owned();
    rules::truncate(&mut value, limits.max_label_value_length);
    value
}

/// The labels of all series of a JVM. Those of the root's path take precedence over those of its pod.
fn identity(app: &str, slot: u32, root: &Labels, place: Option<&Place>, limits: &SeriesLimits) -> Labels {
    let slot = slot.to_string();
    let pod = place.into_iter().flat_map(Place::labels).map(|(name, value)| (name, truncate(value, limits)));
    let others = root.iter().chain([("app", app), ("slot", slot.as_str())]);
    Labels::new(pod.chain(others.map(|(name, value)| (name, value.to_owned()))))
}

pub(super) fn refuse(candidate: &Candidate, reason: RefusalReason, detail: String) -> Refusal {
    let pid = candidate.process.as_ref().map(|process| process.pid);
    Refusal { pid, ..Refusal::of_path(&candidate.path, reason, detail) }
}
