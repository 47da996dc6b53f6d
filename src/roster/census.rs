//! Following JVMs from scan to scan.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use super::followed::{Finding, Followed, reason};
use super::slots::Slots;
use super::target::Target;
use super::{Roster, Starting};
use crate::config::{Config, Limits};
use crate::discovery::{Candidate, Reason, Refusal, RegionId, Scan, Source};
use crate::exposition::{Page, Series};
use crate::formula::BoardId;
use crate::mapping::{self, Dropped, Profile};
use crate::metric::Labels;
use crate::perfdata::{Access, Image, Via};
use crate::snapshot::Board;

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

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            access: config.discovery.access,
            limits: config.limits.clone(),
            profiles: config.profiles.clone(),
            properties: config.identity.properties.clone(),
        }
    }
}

/// Gives a JVM that has just become readable the boards that other parts of the program keep for it.
pub trait Boards: Debug + Send {
    /// Called with a copy of the JVM's region, once per incarnation if it gives any board. A board is dropped with the JVM.
    fn attach(&mut self, target: &Target, image: &Image) -> Vec<(BoardId, Arc<dyn Board>)>;
}

/// The JVMs as of the last scan.
#[derive(Debug)]
pub struct Census {
    settings: Settings,
    boards: Box<dyn Boards>,
    followed: BTreeMap<RegionId, Followed>,
    slots: Slots,
    roster: Arc<Roster>,
    /// JVMs that have ended, until they are taken.
    ended: Vec<Arc<Target>>,
    /// A JVM was replaced since the scan.
    unsettled: bool,
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
            ended: Vec::new(),
            unsettled: false,
        }
    }

    /// Takes a new configuration; every JVM is planned anew at the next [`Census::update`]. New boards, where they are
    /// given, take the place of those that the JVMs have.
    pub fn reconfigure(&mut self, settings: Settings, boards: Option<Box<dyn Boards>>) {
        self.settings = settings;
        if let Some(boards) = boards {
            self.boards = boards;
            self.followed.values_mut().for_each(|followed| followed.boards.clear());
        }
        self.followed.values_mut().for_each(|followed| followed.outdated = true);
        self.roster = Arc::default();
    }

    /// Whether a region is open already, so that a scan need not open it again.
    pub fn follows(&self, id: RegionId) -> bool {
        self.followed.contains_key(&id)
    }

    /// JVMs whose end the last scan has found. Their regions can still be read where they are files.
    pub fn take_ended(&mut self) -> Vec<Arc<Target>> {
        std::mem::take(&mut self.ended)
    }

    /// The roster after a scan.
    pub fn update(&mut self, scan: Scan) -> Arc<Roster> {
        let (unready, mut refusals): (Vec<_>, Vec<_>) =
            scan.refusals.into_iter().partition(|refusal| refusal.reason == Reason::NotReady);
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
    fn follow(&mut self, mut candidate: Candidate, source: Source, refusals: &mut Vec<Refusal>) {
        match source.open(self.settings.access) {
            Ok(region) => {
                // These become labels, and what names a slot.
                let label = |(name, value): (&str, &str)| (name.to_owned(), cut(value, &self.settings.limits));
                candidate.labels = Labels::new(candidate.labels.iter().map(label));
                self.followed.insert(candidate.id, Followed::new(candidate, region));
            }
            Err(error) => refusals.push(refuse(&candidate, reason(&error), error.to_string())),
        }
    }

    /// Examines every JVM; those that ended or are refused are forgotten, and their slots are free. Returns whether the
    /// roster has changed.
    fn examine_all(&mut self, starting: &mut Vec<Starting>, refusals: &mut Vec<Refusal>) -> bool {
        let (mut over, mut born) = (Vec::new(), Vec::new());
        // Only what lives takes a place, and those who have one keep it: files of the dead must not crowd anybody out.
        let max_jvms = self.settings.limits.max_jvms;
        let served = self.followed.values().filter(|followed| followed.target.is_some()).count();
        let mut places = max_jvms.saturating_sub(served);
        for (id, followed) in &mut self.followed {
            let newcomer = followed.target.is_none();
            let mut finding = followed.examine(&self.settings);
            if newcomer && matches!(finding, Finding::Starting | Finding::Target(_)) {
                match places.checked_sub(1) {
                    Some(left) => places = left,
                    None => {
                        let detail = format!("limits.max_jvms is {max_jvms}; raise it to serve this JVM too");
                        finding = Finding::Refused(Reason::TooMany, detail);
                    }
                }
            }
            match finding {
                Finding::Unchanged => {}
                Finding::Starting => starting.push(followed.starting()),
                Finding::Ended => {
                    over.push(*id);
                    self.ended.extend(followed.target.clone());
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

    /// Gives a target its boards, plans and identity.
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
        if followed.boards.is_empty() {
            followed.boards = self.boards.attach(&target, &image);
            followed.attached = SystemTime::now();
        }
        target.attached = followed.attached;
        target.app = cut(&target.app, &self.settings.limits).into();
        target.boards = followed.boards.iter().map(|(id, board)| (*id, Arc::clone(board), board.read().0)).collect();
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

    fn publish(&mut self, starting: Vec<Starting>, refusals: Vec<Refusal>, changed: bool) -> Arc<Roster> {
        let current = self.followed.values().filter(|followed| !followed.outdated);
        let targets: Vec<_> = current.filter_map(|followed| followed.target.clone()).collect();
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

/// A label's value, as long as one may be.
fn cut(value: &str, limits: &Limits) -> String {
    let mut value = value.to_owned();
    mapping::cut(&mut value, limits.max_label_value_length);
    value
}

/// The labels that a JVM's series begin with.
fn identity(app: &str, slot: u32, root: &Labels) -> Labels {
    let slot = slot.to_string();
    Labels::new(root.iter().chain([("app", app), ("slot", slot.as_str())]))
}

fn page(targets: &[Arc<Target>], profile: usize) -> Page {
    let identities = targets.iter().map(|target| target.identity.clone()).collect();
    let series = (0_u32..).zip(targets).flat_map(|(target, jvm)| {
        let families = jvm.plans.get(profile).map(|plan| &*plan.families).unwrap_or_default();
        families.iter().map(move |(family, list)| Series { family, target, list })
    });
    Page::new(identities, series)
}

fn refuse(candidate: &Candidate, reason: Reason, detail: String) -> Refusal {
    let pid = candidate.process.as_ref().map(|process| process.pid);
    Refusal { path: Some(candidate.path.clone()), pid, reason, detail }
}
