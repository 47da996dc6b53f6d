//! A JVM whose memory is open: its readers, and when each of them reads.

use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::buffers::{BUFFERS, BufferReader};
use super::class_loaders::{CLASS_LOADERS, ClassLoaderReader};
use super::code_heaps::CodeHeapsReader;
use super::flags::{FlagReading, FlagValue, FlagsReader};
use super::heap::HeapReader;
use super::humongous::HumongousReader;
use super::jvm::IntrospectionSubject;
use super::publish::LastReadings;
use super::threads::{ALLOCATED, DEADLOCKS, JvmTraits, STATES, ThreadReader};
use crate::discovery::{HotSpotMemory, Implausible};
use crate::hotspot::Collector;
use crate::providers::peak::{Peak, Windows, ordinals};

/// Time between two looks at a heap: as fresh as the counters of collectors whose region has them.
const HEAP_INTERVAL: Duration = Duration::from_millis(100);
/// The states of threads, and buffers, are read once in so many intervals; with ZGC, whose threads take a file each, less
/// often.
const THREAD_INTERVALS: u32 = 5;
const ZGC_THREAD_INTERVALS: u32 = 15;
/// Time between two readings of what seldom changes, or takes long to read: flags and class loaders.
const SLOW_INTERVAL: Duration = Duration::from_secs(60);

/// A value that failed its check, and why.
pub(super) type Rejected = (&'static str, Implausible);

/// The readers of a JVM that is open, and what they read last. A reader is `None` where the JDK does not describe what it
/// needs, or the collector moves it.
#[derive(Debug)]
pub(super) struct OpenJvm {
    memory: HotSpotMemory,
    heap: Option<HeapReader>,
    humongous: Option<HumongousReader>,
    code_heaps: Option<CodeHeapsReader>,
    threads: Option<ThreadReader>,
    buffers: Option<BufferReader>,
    class_loaders: Option<ClassLoaderReader>,
    flags: Option<FlagsReader>,
    windows: Windows,
    peak: Peak,
    /// What the exact count of allocated bytes was when it was first read.
    allocated_before: Option<u64>,
    schedule: ReadingTimes,
    /// What cannot be read in this JVM, and why, as a clause; empty where all of it can.
    pub(super) without: Arc<str>,
    pub(super) last: LastReadings,
}

/// When what is read next.
#[derive(Debug)]
struct ReadingTimes {
    normal: Instant,
    threads: Instant,
    slow: Instant,
}

impl OpenJvm {
    /// What this JDK does not describe is not read; what contradicts itself now is rejected for good.
    pub(super) fn of(memory: HotSpotMemory, subject: &IntrospectionSubject, rejected: &mut Vec<Rejected>) -> Self {
        let IntrospectionSubject { feature, collector, .. } = subject;
        let feature = *feature;
        let mut missing = Vec::new();
        let flags = known(&mut missing, rejected, FlagsReader::NAME, FlagsReader::of(&memory, feature));
        let values = flags.as_ref().and_then(|flags| flags.read(&memory).ok()).unwrap_or_default();
        let traits = collector.map(|collector| JvmTraits { feature, collector });
        let heap = heap(&memory, subject, &values);
        let humongous = (*collector == Some(Collector::G1)).then(|| HumongousReader::of(&memory));
        let now = Instant::now();
        let mut open = Self {
            heap: heap.and_then(|heap| known(&mut missing, rejected, HeapReader::NAME, heap).flatten()),
            humongous: humongous.and_then(|reader| known(&mut missing, rejected, HumongousReader::NAME, reader)),
            code_heaps: known(&mut missing, rejected, CodeHeapsReader::NAME, CodeHeapsReader::of(&memory, feature)),
            threads: traits.and_then(|traits| known(&mut missing, rejected, STATES, ThreadReader::of(&memory, traits))),
            buffers: traits
                .and_then(|traits| known(&mut missing, rejected, BUFFERS, BufferReader::of(&memory, traits))),
            class_loaders: known(&mut missing, rejected, CLASS_LOADERS, ClassLoaderReader::of(&memory)),
            flags,
            windows: Windows::default(),
            peak: Peak::default(),
            allocated_before: None,
            schedule: ReadingTimes { normal: now, threads: now, slow: now },
            without: Arc::default(),
            last: LastReadings::default(),
            memory,
        };
        open.without = missing.iter().map(|(what, why)| format!("; not {what}: {why}")).collect::<String>().into();
        open
    }

    /// When it is to be read next.
    pub(super) fn due(&self) -> Instant {
        match self.heap {
            Some(_) => self.schedule.normal.min(next_tick(Instant::now(), HEAP_INTERVAL)),
            None => self.schedule.normal,
        }
    }

    /// Reads the heap, and the rest where it is due. What was rejected is absent.
    pub(super) fn read(
        &mut self,
        subject: &IntrospectionSubject,
        now: Instant,
        interval: Duration,
        rejected: &mut Vec<Rejected>,
    ) {
        self.read_heap(rejected);
        self.last.is_heap_alone = now < self.schedule.normal;
        if self.last.is_heap_alone {
            return;
        }
        self.schedule.normal = next_tick(now, interval);
        let memory = &self.memory;
        if let Some(humongous) = &self.humongous {
            self.last.humongous = attempt(HumongousReader::NAME, || humongous.read(memory), rejected);
        }
        if let Some(code_heaps) = &self.code_heaps {
            let read = attempt(CodeHeapsReader::NAME, || code_heaps.read(memory), rejected);
            self.last.code_heaps = read.unwrap_or_default();
        }
        self.read_allocation(subject, rejected);
        if now >= self.schedule.threads {
            let is_zgc = subject.collector == Some(Collector::Zgc);
            let intervals = if is_zgc { ZGC_THREAD_INTERVALS } else { THREAD_INTERVALS };
            self.schedule.threads = next_tick(now, interval.saturating_mul(intervals));
            self.read_threads(subject, rejected);
        }
        if now >= self.schedule.slow {
            self.schedule.slow = next_tick(now, SLOW_INTERVAL);
            self.read_slowly(rejected);
        }
    }

    fn read_heap(&mut self, rejected: &mut Vec<Rejected>) {
        let Some(heap) = &self.heap else { return };
        self.last.heap = attempt(HeapReader::NAME, || heap.read(&self.memory), rejected);
        let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        if let Some(changes) = self.windows.advance(ordinals(u64::try_from(nanoseconds).unwrap_or_default())) {
            self.peak.advance(changes);
        }
        if let Some(heap) = &self.last.heap {
            self.peak.record(i64::try_from(heap.total.used).unwrap_or(i64::MAX));
        }
        self.last.peaks = [0, 1].map(|window| self.peak.last(window));
    }

    fn read_allocation(&mut self, subject: &IntrospectionSubject, rejected: &mut Vec<Rejected>) {
        let (memory, process) = (&self.memory, subject.process.directory().as_fd());
        let Some(threads) = &mut self.threads else { return };
        let allocated = found(ALLOCATED, threads.read_allocation(memory, process), rejected);
        if let Some(allocated) = allocated {
            let before = *self.allocated_before.get_or_insert(allocated);
            self.last.allocated = Some(allocated.saturating_sub(before));
        }
    }

    fn read_threads(&mut self, subject: &IntrospectionSubject, rejected: &mut Vec<Rejected>) {
        let (memory, process) = (&self.memory, subject.process.directory().as_fd());
        if let Some((threads, live)) = self.threads.as_mut().zip(subject.live.as_ref()) {
            let live = live.count();
            let states = live.map(|live| threads.read_states(memory, process, live));
            self.last.states = states.and_then(|states| found(STATES, states, rejected));
            self.last.deadlocked = found(DEADLOCKS, threads.read_deadlocks(memory, process), rejected);
        }
        if let Some(buffers) = &mut self.buffers {
            self.last.buffers = attempt(BUFFERS, || buffers.read(memory), rejected);
        }
    }

    fn read_slowly(&mut self, rejected: &mut Vec<Rejected>) {
        let memory = &self.memory;
        if let Some(flags) = &self.flags {
            self.last.flags = attempt(FlagsReader::NAME, || flags.read(memory), rejected).unwrap_or_default();
        }
        if let Some(class_loaders) = &mut self.class_loaders {
            self.last.class_loaders = attempt(CLASS_LOADERS, || class_loaders.read(memory), rejected);
        }
    }
}

/// The reader of the heap, where the region is not as fresh.
fn heap(
    memory: &HotSpotMemory,
    subject: &IntrospectionSubject,
    flags: &[FlagReading],
) -> Option<Result<Option<HeapReader>, Implausible>> {
    let collector = subject.collector.filter(|_| !subject.stale_pools.is_empty())?;
    let is_set = |name| flags.iter().any(|flag| flag.name == name && flag.value == FlagValue::Whole(1));
    // With NUMA, Parallel's eden is several spaces.
    let has_spaces = !(collector == Collector::Parallel && is_set("UseNUMA"));
    has_spaces.then(|| HeapReader::of(memory, collector, subject.feature, subject.stale_pools.len() > 1))
}

/// The reader; `None` where it cannot be made for this JVM, which `missing` says.
fn known<T>(
    missing: &mut Vec<Rejected>,
    rejected: &mut Vec<Rejected>,
    what: &'static str,
    reader: Result<T, Implausible>,
) -> Option<T> {
    missing.extend(reader.as_ref().err().map(|why| (what, *why)));
    found(what, reader, rejected)
}

/// The next multiple of `step` since the first call: JVMs are read together, so that the thread wakes up once for all.
fn next_tick(now: Instant, step: Duration) -> Instant {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    let begin = *BEGIN.get_or_init(|| now);
    let step = step.as_nanos().max(1);
    let ticks = now.saturating_duration_since(begin).as_nanos().checked_div(step).unwrap_or(0).saturating_add(1);
    let since = u64::try_from(ticks.saturating_mul(step)).map(Duration::from_nanos).unwrap_or(Duration::MAX);
    begin.checked_add(since).unwrap_or(now)
}

/// Reads twice, if need be: the JVM may have changed what was read.
fn attempt<T>(
    what: &'static str,
    mut read: impl FnMut() -> Result<T, Implausible>,
    rejected: &mut Vec<Rejected>,
) -> Option<T> {
    let value = read().or_else(|_| read());
    found(what, value, rejected)
}

/// The value; `None` where it was rejected. What this JDK does not describe is no rejection.
fn found<T>(what: &'static str, value: Result<T, Implausible>, rejected: &mut Vec<Rejected>) -> Option<T> {
    match value {
        Ok(value) => Some(value),
        Err(Implausible::Unknown(..)) => None,
        Err(error) => {
            rejected.push((what, error));
            None
        }
    }
}
