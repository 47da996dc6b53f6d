//! Following JVMs from scan to scan.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use super::slots::Slots;
use super::target::Target;
use super::tracked::{Examination, TrackedRegion, reason};
use super::{Starting, TargetSet};
use crate::config::{Config, Limits};
use crate::discovery::{Candidate, Refusal, RefusalReason, RegionId, RegionSource, Scan};
use crate::fact::Provider;
use crate::fact::ProviderId;
use crate::metric::Labels;
use crate::perfdata::{FileMode, Image, Transport};
use crate::rules::{self, Dropped, Profile, SeriesLimits};

/// What the reconciler needs of the configuration.
#[derive(Clone, Debug)]
pub struct ReconcilerSettings {
    /// How regions are read.
    pub access: FileMode,
    /// Bounds.
    pub limits: Limits,
    /// The mappings.
    pub profiles: Vec<Arc<Profile>>,
    /// Names of `-D` properties that may name an app.
    pub properties: Vec<String>,
}

impl From<&Config> for ReconcilerSettings {
    fn from(config: &Config) -> Self {
        Self {
            access: config.discovery.access,
            limits: config.limits.clone(),
            profiles: config.profiles.clone(),
            properties: config.identity.properties.clone(),
        }
    }
}

/// Gives a JVM that has just become readable the providers that other parts of the program keep for it.
pub trait AttachProviders: Debug + Send {
    /// Called with a copy of the JVM's region, once per incarnation if it gives any provider. A provider is dropped with the JVM.
    fn attach(&mut self, target: &Target, image: &Image) -> Vec<(ProviderId, Arc<dyn Provider>)>;
}

/// The JVMs as of the last scan.
#[derive(Debug)]
pub struct Reconciler {
    settings: ReconcilerSettings,
    providers: Box<dyn AttachProviders>,
    followed: BTreeMap<RegionId, TrackedRegion>,
    slots: Slots,
    target_set: Arc<TargetSet>,
    /// JVMs that have ended, until they are taken.
    ended: Vec<Arc<Target>>,
    /// A JVM was replaced since the scan.
    unsettled: bool,
}

impl Reconciler {
    /// Follows nobody yet.
    pub fn new(settings: ReconcilerSettings, providers: Box<dyn AttachProviders>) -> Self {
        Self {
            settings,
            providers,
            followed: BTreeMap::new(),
            slots: Slots::default(),
            target_set: Arc::default(),
            ended: Vec::new(),
            unsettled: false,
        }
    }

    /// Takes a new configuration; every JVM is planned anew at the next [`Reconciler::update`]. New providers, where they are
    /// given, take the place of those that the JVMs have.
    pub fn reconfigure(&mut self, settings: ReconcilerSettings, providers: Option<Box<dyn AttachProviders>>) {
        self.settings = settings;
        if let Some(providers) = providers {
            self.providers = providers;
            self.followed.values_mut().for_each(|followed| followed.providers.clear());
        }
        self.followed.values_mut().for_each(|followed| followed.outdated = true);
        self.target_set = Arc::default();
    }

    /// Whether a region is open already, so that a scan need not open it again.
    pub fn follows(&self, id: RegionId) -> bool {
        self.followed.contains_key(&id)
    }

    /// JVMs whose end the last scan has found. Their regions can still be read where they are files.
    pub fn take_ended(&mut self) -> Vec<Arc<Target>> {
        std::mem::take(&mut self.ended)
    }

    /// The target_set after a scan.
    pub fn update(&mut self, scan: Scan) -> Arc<TargetSet> {
        let (unready, mut refusals): (Vec<_>, Vec<_>) =
            scan.refusals.into_iter().partition(|refusal| refusal.reason == RefusalReason::NotReady);
        self.ended.clear();
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
    fn follow(&mut self, mut candidate: Candidate, source: RegionSource, refusals: &mut Vec<Refusal>) {
        match source.open(self.settings.access) {
            Ok(region) => {
                // These become labels, and what names a slot.
                let label = |(name, value): (&str, &str)| (name.to_owned(), cut(value, &self.settings.limits.series));
                candidate.labels = Labels::new(candidate.labels.iter().map(label));
                self.followed.insert(candidate.id, TrackedRegion::new(candidate, region));
            }
            Err(error) => refusals.push(refuse(&candidate, reason(&error), error.to_string())),
        }
    }

    /// Examines every JVM; those that ended or are refused are forgotten, and their slots are free. Returns whether the
    /// target_set has changed.
    fn examine_all(&mut self, starting: &mut Vec<Starting>, refusals: &mut Vec<Refusal>) -> bool {
        let (mut over, mut born) = (Vec::new(), Vec::new());
        // Only what lives takes a place, and those who have one keep it: files of the dead must not crowd anybody out.
        let max_jvms = self.settings.limits.max_jvms;
        let served = self.followed.values().filter(|followed| followed.target.is_some()).count();
        let mut places = max_jvms.saturating_sub(served);
        for (id, followed) in &mut self.followed {
            let newcomer = followed.target.is_none();
            let mut finding = followed.examine(&self.settings);
            if newcomer && matches!(finding, Examination::Starting | Examination::Target(_)) {
                match places.checked_sub(1) {
                    Some(left) => places = left,
                    None => {
                        let detail = format!("limits.max_jvms is {max_jvms}; raise it to serve this JVM too");
                        finding = Examination::Refused(RefusalReason::TooMany, detail);
                    }
                }
            }
            match finding {
                Examination::Unchanged => {}
                Examination::Starting => starting.push(followed.starting()),
                Examination::Ended => {
                    over.push(*id);
                    self.ended.extend(followed.target.clone());
                    self.unsettled |= followed.linked && followed.target.is_some();
                    if followed.target.is_none() && followed.linked && followed.region.transport() == Transport::File {
                        let detail =
                            "its JVM was killed and left the file behind; the next JVM of this user deletes it";
                        refusals.push(refuse(&followed.candidate, RefusalReason::Stale, detail.to_owned()));
                    }
                }
                Examination::Refused(reason, detail) => {
                    over.push(*id);
                    refusals.push(refuse(&followed.candidate, reason, detail));
                }
                Examination::Target(target) => born.push((*id, target)),
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

    /// Gives a target its providers, plans and identity.
    fn serve(&mut self, id: RegionId, mut target: Target) {
        let Some(followed) = self.followed.get_mut(&id) else { return };
        // Read anew rather than kept from the examination: a thousand images are tens of megabytes.
        let image = match Image::read(&followed.region) {
            Ok(image) => image,
            Err(error) => {
                tracing::debug!(path = %target.path.display(), %error, "the region changed while it was planned");
                return;
            }
        };
        if followed.providers.is_empty() {
            followed.providers = self.providers.attach(&target, &image);
            followed.attached = SystemTime::now();
        }
        target.attached = followed.attached;
        target.app = cut(&target.app, &self.settings.limits.series).into();
        target.providers =
            followed.providers.iter().map(|(id, provider)| (*id, Arc::clone(provider), provider.read().0)).collect();
        target.plan(&image, &self.settings);
        let labels = &followed.candidate.labels;
        target.slot = match &followed.target {
            Some(old) if old.app == target.app => old.slot,
            Some(old) => {
                self.slots.give_back(&old.app, labels, old.slot);
                self.slots.take(&target.app, labels)
            }
            None => self.slots.take(&target.app, labels),
        };
        target.identity = identity(&target.app, target.slot, labels);
        followed.outdated = false;
        followed.target = Some(Arc::new(target));
    }

    fn publish(&mut self, starting: Vec<Starting>, refusals: Vec<Refusal>, changed: bool) -> Arc<TargetSet> {
        let current = self.followed.values().filter(|followed| !followed.outdated);
        let targets: Vec<_> = current.filter_map(|followed| followed.target.clone()).collect();
        if changed {
            self.settings.profiles.iter().for_each(|profile| profile.forget_unused());
        }
        let profiles = self.settings.profiles.iter().map(|profile| profile.name.clone()).collect();
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

/// A label's value, as long as one may be.
fn cut(value: &str, limits: &SeriesLimits) -> String {
    let mut value = value.to_owned();
    rules::cut(&mut value, limits.max_label_value_length);
    value
}

/// The labels that a JVM's series begin with.
fn identity(app: &str, slot: u32, root: &Labels) -> Labels {
    let slot = slot.to_string();
    Labels::new(root.iter().chain([("app", app), ("slot", slot.as_str())]))
}

fn refuse(candidate: &Candidate, reason: RefusalReason, detail: String) -> Refusal {
    let pid = candidate.process.as_ref().map(|process| process.pid);
    Refusal { path: Some(candidate.path.clone()), pid, reason, detail }
}
