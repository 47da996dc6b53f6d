//! A JVM as it is served.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::reconciler::ReconcilerSettings;
use crate::discovery::RegionId;
use crate::fact::Attached;
use crate::fact::Fact;
use crate::fact::Formula;
use crate::hotspot::{Jvm, Model};
use crate::metric::{Labels, Value};
use crate::perfdata::{Image, Region, RegionIdentity};
use crate::proc::Process;
use crate::rules::{Plan, WordIndex};

/// One life of one JVM. A restarted JVM, with the same pid or not, is another incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation {
    /// Where its counters are.
    pub region: RegionId,
    /// What tells two JVMs in the same file apart: epoch milliseconds of the start.
    pub birth: i64,
}

/// Where a JVM is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetState {
    /// Its region is not filled in yet: empty, without a magic number, not accessible, or without the constants that
    /// identify it. It has no series.
    Starting,
    /// Served.
    Mapped,
    /// Served from the mapping; the file was unlinked under the living JVM, by a tmp cleaner or an old JDK that shares
    /// its `/tmp`.
    Unlinked,
    /// Served, but nothing can be asked whether it lives: its process is out of sight, its file's leases say nothing,
    /// and its JDK has no heartbeat.
    Unconfirmed,
    /// Its heartbeat stands still: stopped, frozen or killed out of our sight. `jvm_up` is 0 and all else is absent.
    Stalled,
}

impl TargetState {
    /// Every state, for metrics that show zeros too.
    pub const ALL: [Self; 5] = [Self::Starting, Self::Mapped, Self::Unlinked, Self::Unconfirmed, Self::Stalled];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Mapped => "mapped",
            Self::Unlinked => "unlinked",
            Self::Unconfirmed => "unconfirmed",
            Self::Stalled => "stalled",
        }
    }
}

/// A JVM of a target_set. Immutable: when anything of it changes, the next target_set has a new one over the same region.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which life.
    pub incarnation: Incarnation,
    /// Where it is in its life.
    pub state: TargetState,
    /// Where its region was found.
    pub path: PathBuf,
    /// The JVM's pid in its own pid namespace: the name of its region file.
    pub vpid: i32,
    /// The `USER` of `hsperfdata_USER`, or what it would be.
    pub user: Box<str>,
    /// What the program is called.
    pub app: Box<str>,
    /// Lowest free ordinal among the JVMs of the same `app` and root labels.
    pub slot: u32,
    /// `app`, `slot` and the labels that the root's path gives.
    pub identity: Labels,
    /// What kind of JVM it is.
    pub jvm: Jvm,
    /// Its process, where it is visible.
    pub process: Option<Arc<Process>>,
    /// Its counters.
    pub region: Arc<Region>,
    /// Its identity inside the region.
    pub region_identity: RegionIdentity,
    /// Offsets of the words that its plans and vitals need; formulas name them by their index here.
    pub words: Arc<[u32]>,
    /// What lists and pages show of it, whatever the rules say.
    pub vitals: Vitals,
    /// One plan per profile, in the order of the configuration.
    pub plans: Vec<Arc<Plan>>,
    /// What else is known of it, and the facts from which the plans were made.
    pub providers: Vec<Attached>,
    /// When it was given its providers: what they count by looking began at zero then.
    pub attached: SystemTime,
}

/// Facts that every list of JVMs shows; absent where the JVM does not tell.
#[derive(Clone, Debug, Default)]
pub struct Vitals {
    /// Bytes in use in the heap.
    pub heap_used: Option<Formula>,
    /// Bytes that the heap has from the operating system.
    pub heap_committed: Option<Formula>,
    /// Bytes that the heap may grow to.
    pub heap_limit: Option<Formula>,
    /// When the JVM started, in seconds since the epoch.
    pub start_time: Option<Formula>,
}

impl Target {
    /// Whether there is a region file and it has no name any more.
    pub fn is_unlinked(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.region.file().and_then(|file| file.metadata().ok()).is_some_and(|file| file.nlink() == 0)
    }

    /// Compiles the plans of every profile from a copy of the region and what it means.
    pub(super) fn plan(&mut self, image: &Image, model: &Model, settings: &ReconcilerSettings) {
        let mut facts = model.facts();
        facts.extend(self.facts());
        facts.extend(self.providers.iter().flat_map(|(_, _, shape)| shape.iter().cloned()));
        let mut words = WordIndex::default();
        self.plans = settings
            .profiles
            .iter()
            .map(|profile| Arc::new(profile.plan(image, &facts, &settings.limits.series(), &mut words)))
            .collect();
        self.vitals = Vitals::of(model, &mut words);
        self.words = words.offsets().into();
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
        let one = || Some(Formula::Constant(Value::Int(1)));
        let facts = [
            Fact::of("target.up", Vec::new(), Some(Formula::Up)),
            Fact::of("target.info", info, one()),
            Fact::of("target.runtime", runtime, one()),
        ];
        facts.into_iter().flatten().collect()
    }
}

impl Vitals {
    fn of(model: &Model, words: &mut WordIndex) -> Self {
        let mut index = |formula: Option<Formula>| Some(formula?.map_words(&mut |offset| words.index(offset)));
        Self {
            heap_used: index(model.heap.used()),
            heap_committed: index(model.heap.committed()),
            heap_limit: index(model.heap.limit.clone()),
            start_time: index(model.start_time.clone()),
        }
    }
}
