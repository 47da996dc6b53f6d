//! One JVM: when it is read, and what is published of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::code_heaps::CodeHeapsReader;
use super::flags::{FlagValue, FlagsReader};
use super::heap::HeapReader;
use super::humongous::HumongousReader;
use super::publish::LastReadings;
use crate::discovery::{HotSpotFinder, HotSpotMemory, Implausible, Obstacle};
use crate::fact::{Provider, ProviderId, Reading, ValueTable};
use crate::hotspot::{Collector, Model};
use crate::metric::Value;
use crate::perfdata::MemoryError;
use crate::proc::Process;
use crate::providers::peak::{Peak, Windows, ordinals};
use crate::sync::lock;

/// Time between two looks at a heap: as fresh as the counters of collectors whose region has them.
const HEAP_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two readings of the flags, few of which can change.
const FLAGS_INTERVAL: Duration = Duration::from_secs(60);

/// A JVM to be read.
#[derive(Debug)]
pub(crate) struct IntrospectionSubject {
    pub(crate) process: Arc<Process>,
    /// Feature release.
    pub(crate) feature: u32,
    pub(crate) collector: Option<Collector>,
    /// The heap's pools, if the region has their use late or not at all.
    pub(crate) stale_pools: Vec<&'static str>,
}

impl IntrospectionSubject {
    /// What must be known of a JVM; `None` for a native image and an unknown release.
    pub(crate) fn of(process: &Arc<Process>, model: &Model) -> Option<Self> {
        let feature = model.jvm.feature.filter(|_| !model.jvm.native_image)?;
        let collector = model.jvm.collector;
        let is_fresh = model.heap.is_fresh() || collector == Some(Collector::G1);
        let pools = model.heap.pools.iter().filter(|_| !is_fresh).map(|pool| pool.name).collect();
        Some(Self { process: Arc::clone(process), feature, collector, stale_pools: pools })
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

/// The readers of a JVM that is open, and what they read last.
#[derive(Debug)]
struct OpenJvm {
    memory: HotSpotMemory,
    heap: Option<HeapReader>,
    humongous: Option<HumongousReader>,
    code_heaps: Option<CodeHeapsReader>,
    flags: Option<FlagsReader>,
    windows: Windows,
    peak: Peak,
    /// When all but the heap is read next, and when the flags are.
    next: Instant,
    next_flags: Instant,
    last: LastReadings,
}

impl IntrospectedJvm {
    pub(super) fn new(subject: IntrospectionSubject, interval: Duration, is_tested: bool) -> Self {
        let state = if is_tested { IntrospectionState::Waiting } else { IntrospectionState::Untested(subject.feature) };
        let published = Published {
            table: ValueTable::new(ProviderId::Introspection),
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
        published.table.clear();
        published.table.release_absent(Instant::now());
        (published.state, published.due) = (state, None);
    }

    /// Reads what is due. May be held by the JVM's memory.
    pub(super) fn update(&self, finder: &mut HotSpotFinder) {
        let mut slot = lock(&self.open);
        if slot.is_none() {
            match self.open(finder) {
                Ok(open) => *slot = Some(open),
                Err(obstacle) => {
                    let remedy = obstacle.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default();
                    return self.end(IntrospectionState::Unreadable(format!("{obstacle}{remedy}").into()));
                }
            }
        }
        let Some(open) = &mut *slot else { return };
        let now = Instant::now();
        let mut rejected = Vec::new();
        open.read(now, self.interval, &mut rejected);
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

    fn open(&self, finder: &mut HotSpotFinder) -> Result<OpenJvm, Obstacle> {
        let memory = finder.open(&self.subject.process)?;
        let IntrospectionSubject { feature, collector, stale_pools, .. } = &self.subject;
        let feature = *feature;
        let pid = self.subject.process.pid;
        let known = |what: &str, error: Implausible| tracing::debug!(pid, what, %error, "cannot be read in this JVM");
        let flags = FlagsReader::of(&memory, feature).map_err(|error| known(FlagsReader::NAME, error)).ok();
        let values = flags.as_ref().and_then(|flags| flags.read(&memory).ok()).unwrap_or_default();
        let is_set = |name| values.iter().any(|flag| flag.name == name && flag.value == FlagValue::Whole(1));
        // With NUMA, Parallel's eden is several spaces.
        let has_spaces = !(*collector == Some(Collector::Parallel) && is_set("UseNUMA"));
        let heap = collector.filter(|_| !stale_pools.is_empty() && has_spaces).and_then(|collector| {
            let heap = HeapReader::of(&memory, collector, feature, stale_pools.len() > 1);
            heap.map_err(|error| known(HeapReader::NAME, error)).ok().flatten()
        });
        let humongous = (*collector == Some(Collector::G1)).then(|| HumongousReader::of(&memory));
        let humongous = humongous.and_then(|reader| reader.map_err(|error| known(HumongousReader::NAME, error)).ok());
        let code_heaps = CodeHeapsReader::of(&memory, feature);
        let code_heaps = code_heaps.map_err(|error| known(CodeHeapsReader::NAME, error)).ok();
        let now = Instant::now();
        let (windows, peak, last) = (Windows::default(), Peak::default(), LastReadings::default());
        Ok(OpenJvm { memory, heap, humongous, code_heaps, flags, windows, peak, next: now, next_flags: now, last })
    }
}

impl OpenJvm {
    fn due(&self) -> Instant {
        match self.heap {
            Some(_) => self.next.min(Instant::now().checked_add(HEAP_INTERVAL).unwrap_or(self.next)),
            None => self.next,
        }
    }

    /// Reads the heap, and the rest where it is due. What was rejected is absent.
    fn read(&mut self, now: Instant, interval: Duration, rejected: &mut Vec<(&'static str, Implausible)>) {
        let memory = &self.memory;
        if let Some(heap) = &self.heap {
            self.last.heap = attempt(HeapReader::NAME, || heap.read(memory), rejected);
            let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            if let Some(changes) = self.windows.advance(ordinals(u64::try_from(nanoseconds).unwrap_or_default())) {
                self.peak.advance(changes);
            }
            if let Some(heap) = &self.last.heap {
                self.peak.record(i64::try_from(heap.total.used).unwrap_or(i64::MAX));
            }
            self.last.peaks = [0, 1].map(|window| self.peak.last(window));
        }
        if now < self.next {
            return;
        }
        self.next = now.checked_add(interval).unwrap_or(now);
        if let Some(humongous) = &self.humongous {
            self.last.humongous = attempt(HumongousReader::NAME, || humongous.read(memory), rejected);
        }
        if let Some(code_heaps) = &self.code_heaps {
            let read = attempt(CodeHeapsReader::NAME, || code_heaps.read(memory), rejected);
            self.last.code_heaps = read.unwrap_or_default();
        }
        if let Some(flags) = self.flags.as_ref().filter(|_| now >= self.next_flags) {
            self.next_flags = now.checked_add(FLAGS_INTERVAL).unwrap_or(now);
            self.last.flags = attempt(FlagsReader::NAME, || flags.read(memory), rejected).unwrap_or_default();
        }
    }
}

/// Reads twice, if need be: the JVM may have changed what was read.
fn attempt<T>(
    what: &'static str,
    mut read: impl FnMut() -> Result<T, Implausible>,
    rejected: &mut Vec<(&'static str, Implausible)>,
) -> Option<T> {
    match read().or_else(|_| read()) {
        Ok(value) => Some(value),
        Err(error) => {
            rejected.push((what, error));
            None
        }
    }
}

impl Provider for IntrospectedJvm {
    fn read(&self) -> Reading {
        lock(&self.published).table.read()
    }
}
