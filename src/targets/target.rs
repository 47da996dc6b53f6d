//! A JVM that is served.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::kind::{JvmKinds, interned_words};
use super::{JvmDescription, Vitals, sources};
use crate::config::Config;
use crate::discovery::RegionId;
use crate::fact::{AttachedProvider, Fact, Formula};
use crate::hotspot::{Jvm, Model};
use crate::kubernetes::Place;
use crate::metric::{Labels, Value};
use crate::perfdata::{Image, Region, RegionIdentity};
use crate::proc::Process;
use crate::rules::{Plan, Profile, WordIndex};

/// Identifies one run of one JVM. A restarted JVM is a new incarnation, even with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// Its region.
    pub region: RegionId,
    /// The start in milliseconds since the epoch, which distinguishes two JVMs in the same file.
    pub start_millis: i64,
}

/// The state of a JVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum TargetState {
    /// Its region is not initialized yet: empty, without a magic number, not accessible, or without the constants that
    /// identify the JVM. It has no series.
    Starting,
    /// Served.
    Mapped,
    /// Served from the open file, which was unlinked while the JVM runs: by a tmp cleaner, or by an old JDK that shares
    /// its `/tmp`.
    Unlinked,
    /// Served, but nothing shows whether it still runs: its process is not visible, a file lease tells nothing, and its
    /// JDK has no heartbeat.
    Unconfirmed,
    /// Its heartbeat does not advance: stopped, frozen, or killed where its process is not visible. `jvm_up` is 0 and
    /// all other series are absent.
    Stalled,
}

/// A JVM of a target set. Immutable: after a change, the next target set has a new one for the same region.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which run of which JVM.
    pub incarnation: Incarnation,
    /// Its state.
    pub state: TargetState,
    /// Where its region is.
    pub path: PathBuf,
    /// The JVM's pid in its own pid namespace: the name of its region file.
    pub vpid: i32,
    /// The `USER` of `hsperfdata_USER`; where there is no file, its owner.
    pub user: Box<str>,
    /// The application's name.
    pub app: Box<str>,
    /// Lowest free ordinal among the JVMs of the same `app` and root labels.
    pub slot: u32,
    /// The labels of all its series: `app`, `slot`, those of the root's path and those of its pod.
    pub identity: Labels,
    /// Its identity as it publishes it.
    pub jvm: Jvm,
    /// When it started, in seconds since the epoch, by the kernel's account, where its own word cannot be true.
    pub(crate) corrected_start: Option<f64>,
    /// Its process, where it is visible.
    pub process: Option<Arc<Process>>,
    /// Its pod, where that is known.
    pub place: Option<Arc<Place>>,
    /// Its region, which contains the counters.
    pub region: Arc<Region>,
    /// What identifies it inside the region.
    pub region_identity: RegionIdentity,
    /// Offsets of the words of its vitals and plans; their formulas name a word by its index here.
    pub words: Arc<[u32]>,
    /// How many of them vitals have, which come first.
    pub(crate) vital_words: usize,
    /// What lists of JVMs show, independent of the rules.
    pub(crate) vitals: Arc<Vitals>,
    /// One plan per profile, in the order of the configuration.
    pub plans: Vec<Arc<Plan>>,
    /// Its providers, with the facts from which the plans were made.
    pub(crate) providers: Vec<AttachedProvider>,
    /// When it got its providers: what they count themselves is zero then.
    pub attached: SystemTime,
    /// Made for the first list.
    pub(super) description: OnceLock<Arc<JvmDescription>>,
}

impl Target {
    /// What lists show of it, whatever its state.
    pub(crate) fn description(&self) -> Arc<JvmDescription> {
        let make = || {
            let labels = self.identity.iter().filter(|(name, _)| !["app", "slot"].contains(name));
            Arc::new(JvmDescription {
                app: Some(self.app.to_string()),
                slot: Some(self.slot),
                pid: u32::try_from(self.process.as_ref().map_or(self.vpid, |process| process.pid)).ok(),
                main_class: self.jvm.main.clone(),
                java_version: self.jvm.java_version.clone(),
                gc: self.jvm.collector.map(|collector| collector.name().to_owned()),
                path: Some(self.path.display().to_string()),
                via: Some(self.region.transport().as_str().to_owned()),
                labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                vm_vendor: self.jvm.vm_vendor.clone(),
                user: Some(self.user.to_string()),
            })
        };
        Arc::clone(self.description.get_or_init(make))
    }

    /// Whether the region is a file that was unlinked.
    pub(crate) fn is_unlinked(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.region.file().and_then(|file| file.metadata().ok()).is_some_and(|file| file.nlink() == 0)
    }

    /// Whether the plans are made from all facts that its providers have now.
    pub(super) fn has_planned_all_facts(&self) -> bool {
        self.providers.iter().all(|attached| Arc::ptr_eq(&attached.provider.facts(), &attached.facts))
    }

    /// Makes the plans of every profile from a copy of the region and its model.
    pub(super) fn plan(&mut self, image: &Image, model: &Model, config: &Config, kinds: &JvmKinds) {
        let limits = config.limits.series();
        let kind = kinds.of(image, model, &self.providers, config);
        let own = self.facts();
        let profiles = config.profiles.iter().zip(&kind.plans);
        let joined: Option<Vec<_>> = profiles
            .map(|(profile, shared)| shared.join(&profile.plan_facts(image, &own, &limits), &limits).map(Arc::new))
            .collect();
        (self.vitals, self.words) = (Arc::clone(&kind.vitals), Arc::clone(&kind.words));
        self.vital_words = kind.vital_words;
        self.plans = joined.unwrap_or_else(|| {
            let facts = self.merged_facts(model);
            let mut words = WordIndex::default();
            self.vitals = Vitals::of(model, &facts, &mut words);
            self.vital_words = words.offsets().len();
            let plan = |profile: &Arc<Profile>| Arc::new(profile.plan(image, &facts, &limits, &mut words));
            let plans = config.profiles.iter().map(plan).collect();
            self.words = interned_words(&words);
            plans
        });
    }

    /// The facts of all sources, each of the freshest.
    pub(crate) fn merged_facts(&self, model: &Model) -> Vec<Fact> {
        let mut facts = self.facts();
        facts.extend_from_slice(&model.facts);
        sources::merge(facts, &self.providers)
    }

    /// The facts of the target itself, which are not in the region.
    pub(crate) fn facts(&self) -> Vec<Fact> {
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
            ("container_id", text(self.process.as_ref().and_then(|process| process.container_id.clone()))),
        ];
        let runtime = vec![
            ("version", text(self.jvm.vm_version.clone())),
            ("vendor", text(self.jvm.vm_vendor.clone())),
            ("runtime", text(self.jvm.vm_name.clone())),
        ];
        let one = || Some(Formula::Constant(Value::Int(1)));
        let facts = [
            Fact::of("target.up", Vec::new(), Some(Formula::Up)),
            Fact::of("target.info", info, one()),
            Fact::of("target.runtime", runtime, one()),
        ];
        facts.into_iter().flatten().collect()
    }
}
