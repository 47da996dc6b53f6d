//! One JVM: when it is read, and what is published of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::held::HeldThreads;
use super::open_jvm::{OpenJvm, Rejected};
use super::publish::LastReadings;
use crate::config::{Introspection, IntrospectionMode};
use crate::discovery::{HotSpotFinder, Implausible, Obstacle};
use crate::fact::{Provider, ProviderId, Reading, ValueTable};
use crate::hotspot::{Collector, Model};
use crate::metric::Value;
use crate::perfdata::{MemoryError, Region, RegionIdentity};
use crate::proc::Process;
use crate::sync::lock;
use crate::targets::Target;
use crate::targets::guarded::PATIENCE;

/// Newest release whose structures were compared with the JVM's own word.
const NEWEST: u32 = 27;
/// After a pass, a JVM is left alone for so many times as long as the pass has taken of a CPU.
const REST: u32 = 50;
/// Time until a JVM is tried again that could not be read for a lack that passes.
const RETRY: Duration = Duration::from_secs(10);

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
    /// Read, but for what is named, with the reason, in a clause that may be empty.
    #[strum(to_string = "read{0}")]
    Reading(Arc<str>),
    /// A release that was not tested.
    #[strum(to_string = "absent: JDK {0} was not tested; introspection.mode: force reads it all the same")]
    Untested(u32),
    /// It cannot be read.
    #[strum(to_string = "absent: {0}")]
    Unreadable(Box<str>),
    /// A read never ended.
    #[strum(to_string = "absent: a page of its memory did not answer within 2 s")]
    Unresponsive,
    /// Others do not answer.
    #[strum(to_string = "absent: the memory of too many other JVMs does not answer")]
    Crowded,
}

/// A JVM in the introspector, and the provider of its values. Dropped, the JVM is read no more.
#[derive(Debug)]
pub(crate) struct IntrospectedJvm {
    subject: IntrospectionSubject,
    interval: Duration,
    /// `None` until the first reading. Locked while the memory is read, perhaps for ever.
    open: Mutex<Option<OpenJvm>>,
    published: Mutex<Published>,
    held: Arc<HeldThreads>,
}

/// What others than the reading thread see; locked for an instant only.
#[derive(Debug)]
struct Published {
    table: ValueTable,
    state: IntrospectionState,
    /// When to read next; `None` for never again.
    due: Option<Instant>,
    /// Since when a thread has been reading.
    reading_since: Option<Instant>,
    /// It was read once.
    answered: bool,
    rejected: BTreeMap<&'static str, i64>,
}

impl IntrospectedJvm {
    /// `held` counts the threads that this JVM and others hold.
    pub(super) fn new(subject: IntrospectionSubject, settings: &Introspection, held: Arc<HeldThreads>) -> Self {
        let (interval, is_forced) = (settings.interval, settings.mode == IntrospectionMode::Force);
        let is_tested = subject.feature <= NEWEST || is_forced;
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
            reading_since: None,
            answered: false,
            rejected: BTreeMap::new(),
        };
        Self { subject, interval, open: Mutex::default(), published: Mutex::new(published), held }
    }

    /// When something is to be done with it next: it is to be read, or to be given up. `None` for never again.
    pub(super) fn due(&self) -> Option<Instant> {
        let published = lock(&self.published);
        match published.reading_since {
            Some(since) => published.due.and_then(|_| since.checked_add(PATIENCE)),
            None => published.due,
        }
    }

    /// Whether it is to be read now, and no thread does so.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        let published = lock(&self.published);
        published.reading_since.is_none() && published.due.is_some_and(|due| due <= now)
    }

    /// Whether it is to be given up.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let published = lock(&self.published);
        let took = published.reading_since.map(|since| now.saturating_duration_since(since));
        published.due.is_some() && took.is_some_and(|took| took >= PATIENCE)
    }

    /// Whether it is read.
    pub(crate) fn state(&self) -> IntrospectionState {
        lock(&self.published).state.clone()
    }

    /// Never reads it again: a read did not end.
    pub(super) fn give_up(&self) {
        let process = &self.subject.process;
        let mut published = lock(&self.published);
        // It may have ended now.
        if published.reading_since.is_some() {
            let pid = process.pid;
            tracing::error!(pid, "the memory of a JVM does not answer; what is read there is absent");
            self.held.add(process.uid);
            published.end(IntrospectionState::Unresponsive);
        }
    }

    /// Reads what is due. May be held by the JVM's memory.
    pub(super) fn update(&self, finder: &HotSpotFinder) {
        if !self.begin() {
            return;
        }
        let mut slot = lock(&self.open);
        let mut rejected = Vec::new();
        let next = self.pass(&mut slot, finder, &mut rejected);
        let mut published = lock(&self.published);
        published.reading_since = None;
        match (next, &*slot) {
            // It was given up meanwhile.
            _ if published.state == IntrospectionState::Unresponsive => self.held.remove(self.subject.process.uid),
            (Ok(due), Some(open)) => {
                (published.state, published.due) = (IntrospectionState::Reading(Arc::clone(&open.without)), Some(due));
                published.answered = true;
                self.publish(&mut published, &open.last, &rejected);
            }
            (Ok(_), None) => {}
            (Err((state, true)), _) => published.pause(state),
            (Err((state, false)), _) => published.end(state),
        }
    }

    /// Whether this thread may risk to be held, and no other thread reads it.
    fn begin(&self) -> bool {
        let mut published = lock(&self.published);
        if published.reading_since.is_some() {
            return false;
        }
        if self.held.refuses(self.subject.process.uid, published.answered) {
            published.pause(IntrospectionState::Crowded);
            return false;
        }
        published.reading_since = Some(Instant::now());
        true
    }

    /// When to read again; or why it cannot be read, and whether that may pass.
    fn pass(
        &self,
        slot: &mut Option<OpenJvm>,
        finder: &HotSpotFinder,
        rejected: &mut Vec<Rejected>,
    ) -> Result<Instant, (IntrospectionState, bool)> {
        let open = match slot {
            Some(open) => open,
            None => {
                let memory = finder.open(&self.subject.process).map_err(|obstacle| unreadable(&obstacle))?;
                slot.insert(OpenJvm::of(memory, &self.subject, rejected))
            }
        };
        let (now, before) = (Instant::now(), cpu_time());
        open.read(&self.subject, now, self.interval, rejected);
        if rejected.iter().any(|(_, why)| matches!(why, Implausible::Memory(MemoryError::Ended))) {
            let why = "the process has ended, or runs another program";
            return Err((IntrospectionState::Unreadable(why.into()), false));
        }
        let rest = cpu_time().saturating_sub(before).saturating_mul(REST);
        let rested = Instant::now().checked_add(rest).unwrap_or(now);
        Ok(open.due().max(rested))
    }

    fn publish(&self, published: &mut Published, last: &LastReadings, rejected: &[Rejected]) {
        let pid = self.subject.process.pid;
        for (what, why) in rejected {
            tracing::debug!(pid, what, %why, "a value in the memory of a JVM was rejected");
            let count = published.rejected.entry(what).or_default();
            *count = count.saturating_add(1);
        }
        let Published { table, rejected, .. } = published;
        last.publish(&self.subject.stale_pools, table);
        for (what, count) in rejected {
            table.set("introspection.rejected", &[what], Value::Int(*count));
        }
        table.release_absent(Instant::now());
    }
}

impl Published {
    /// Withdraws all values for good.
    fn end(&mut self, state: IntrospectionState) {
        self.table.release_all();
        (self.state, self.due) = (state, None);
    }

    /// Has no values for now. What was never read is not left to other sources: the count of allocated bytes must not
    /// begin twice.
    fn pause(&mut self, state: IntrospectionState) {
        let now = Instant::now();
        if self.answered {
            self.table.clear();
            self.table.release_absent(now);
        }
        (self.state, self.due) = (state, now.checked_add(RETRY));
    }
}

fn unreadable(obstacle: &Obstacle) -> (IntrospectionState, bool) {
    let remedy = obstacle.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default();
    (IntrospectionState::Unreadable(format!("{obstacle}{remedy}").into()), obstacle.passes())
}

/// What this thread has taken of a CPU.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

impl Provider for IntrospectedJvm {
    fn read(&self) -> Reading {
        lock(&self.published).table.read()
    }
}
