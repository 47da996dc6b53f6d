//! One JVM: when it is read, and what is published of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::open_jvm::OpenJvm;
use crate::discovery::{HotSpotFinder, Implausible};
use crate::fact::{Provider, ProviderId, Reading, ValueTable};
use crate::hotspot::{Collector, Model};
use crate::metric::Value;
use crate::perfdata::{MemoryError, Region, RegionIdentity};
use crate::proc::Process;
use crate::sync::lock;
use crate::targets::Target;

/// A JVM to be read.
#[derive(Debug)]
pub(crate) struct IntrospectionSubject {
    pub(crate) process: Arc<Process>,
    /// Feature release.
    pub(crate) feature: u32,
    pub(crate) collector: Option<Collector>,
    /// The heap's pools, if the region has their use late or not at all.
    pub(crate) stale_pools: Vec<&'static str>,
    pub(crate) live: Option<LiveThreads>,
}

/// Where the region has the number of live threads.
#[derive(Debug)]
pub(crate) struct LiveThreads {
    region: Arc<Region>,
    identity: RegionIdentity,
    offset: u32,
}

impl LiveThreads {
    /// `java.threads.live` now.
    pub(super) fn count(&self) -> Option<u64> {
        let mut words = Vec::new();
        self.region.read(&self.identity, &[self.offset], &mut words).ok()?;
        u64::try_from(*words.first()?).ok()
    }
}

impl IntrospectionSubject {
    /// What must be known of a JVM; `None` for a native image and an unknown release.
    pub(crate) fn of(target: &Target, model: &Model) -> Option<Self> {
        let process = Arc::clone(target.process.as_ref()?);
        let feature = model.jvm.feature.filter(|_| !model.jvm.native_image)?;
        let collector = model.jvm.collector;
        let is_fresh = model.heap.is_fresh() || collector == Some(Collector::G1);
        let pools = model.heap.pools.iter().filter(|_| !is_fresh).map(|pool| pool.name).collect();
        let live = model.threads.map(|offset| LiveThreads {
            region: Arc::clone(&target.region),
            identity: target.region_identity,
            offset,
        });
        Some(Self { process, feature, collector, stale_pools: pools, live })
    }
}

/// Whether a JVM's memory is read.
#[derive(Clone, Debug, PartialEq, Eq, strum::Display)]
pub(crate) enum IntrospectionState {
    /// Not read yet.
    #[strum(to_string = "not read yet")]
    Waiting,
    /// Read, but for the readers named, whose structures this JDK does not describe.
    #[strum(to_string = "read")]
    Reading,
    /// A release that was not tested.
    #[strum(to_string = "absent: JDK {0} was not tested; introspection.mode: force reads it all the same")]
    Untested(u32),
    /// It cannot be read.
    #[strum(to_string = "absent: {0}")]
    Unreadable(Box<str>),
    /// A read never ended.
    #[strum(to_string = "absent: a page of its memory did not answer within 2 s")]
    Unresponsive,
}

/// A JVM in the introspector, and the provider of its values. Dropped, the JVM is read no more.
#[derive(Debug)]
pub(crate) struct IntrospectedJvm {
    subject: IntrospectionSubject,
    interval: Duration,
    /// `None` until the first reading. Locked while the memory is read, perhaps for ever.
    open: Mutex<Option<OpenJvm>>,
    published: Mutex<Published>,
}

/// What others than the reading thread see; locked for an instant only.
#[derive(Debug)]
struct Published {
    table: ValueTable,
    state: IntrospectionState,
    /// When to read next; `None` for never again.
    due: Option<Instant>,
    rejected: BTreeMap<&'static str, i64>,
}

impl IntrospectedJvm {
    pub(super) fn new(subject: IntrospectionSubject, interval: Duration, is_tested: bool) -> Self {
        let mut table = ValueTable::new(ProviderId::Introspection);
        if is_tested {
            // Until it is known whether the count can be read, nobody else begins to count.
            table.claim("alloc.bytes", &[]);
            table.claim("alloc.source", &["exact"]);
        }
        let state = if is_tested { IntrospectionState::Waiting } else { IntrospectionState::Untested(subject.feature) };
        let published = Published {
            table,
            due: (state == IntrospectionState::Waiting).then(Instant::now),
            state,
            rejected: BTreeMap::new(),
        };
        Self { subject, interval, open: Mutex::default(), published: Mutex::new(published) }
    }

    /// When it is to be read next; `None` for never again.
    pub(super) fn due(&self) -> Option<Instant> {
        lock(&self.published).due
    }

    /// Whether it is read.
    pub(crate) fn state(&self) -> IntrospectionState {
        lock(&self.published).state.clone()
    }

    /// Never reads it again: a read did not end.
    pub(super) fn give_up(&self) {
        let pid = self.subject.process.pid;
        tracing::error!(pid, "the memory of a JVM does not answer; what is read there is absent");
        self.end(IntrospectionState::Unresponsive);
    }

    fn end(&self, state: IntrospectionState) {
        let mut published = lock(&self.published);
        published.table.release_all();
        (published.state, published.due) = (state, None);
    }

    /// Reads what is due. May be held by the JVM's memory.
    pub(super) fn update(&self, finder: &mut HotSpotFinder) {
        let mut slot = lock(&self.open);
        if slot.is_none() {
            match finder.open(&self.subject.process) {
                Ok(memory) => *slot = Some(OpenJvm::of(memory, &self.subject)),
                Err(obstacle) => {
                    let remedy = obstacle.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default();
                    return self.end(IntrospectionState::Unreadable(format!("{obstacle}{remedy}").into()));
                }
            }
        }
        let Some(open) = &mut *slot else { return };
        let now = Instant::now();
        let mut rejected = Vec::new();
        open.read(&self.subject, now, self.interval, &mut rejected);
        if rejected.iter().any(|(_, why)| matches!(why, Implausible::Memory(MemoryError::Ended))) {
            return self.end(IntrospectionState::Unreadable("the process has ended, or runs another program".into()));
        }
        let mut published = lock(&self.published);
        // It was given up meanwhile.
        if published.state == IntrospectionState::Unresponsive {
            return;
        }
        published.state = IntrospectionState::Reading;
        published.due = Some(open.due());
        for (what, why) in rejected {
            let pid = self.subject.process.pid;
            tracing::debug!(pid, what, %why, "a value in the memory of a JVM was rejected");
            let count = published.rejected.entry(what).or_default();
            *count = count.saturating_add(1);
        }
        let Published { table, rejected, .. } = &mut *published;
        open.last.publish(&self.subject.stale_pools, table);
        for (what, count) in rejected {
            table.set("introspection.rejected", &[what], Value::Int(*count));
        }
        table.release_absent(now);
    }
}

impl Provider for IntrospectedJvm {
    fn read(&self) -> Reading {
        lock(&self.published).table.read()
    }
}
