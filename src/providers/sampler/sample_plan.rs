//! Which words of a region the sampler looks at, and what each collector's words can be trusted for.

use super::allocation::AllocationRule;
use crate::hotspot::{Collector, Model, PauseCounters, Pool, Role, TextCounter};

/// One collector's pauses. Offsets are those of its counters in the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PauseSource {
    /// Name of its MXBean, `jvm.gc.name`.
    pub gc: &'static str,
    /// What its MXBean calls the end of one, `jvm.gc.action`.
    pub action: &'static str,
    /// What it does.
    pub role: Role,
    /// `sun.gc.collector.N.invocations`
    pub invocations: u32,
    /// `sun.gc.collector.N.time`
    pub time: u32,
    /// `sun.gc.collector.N.lastEntryTime`
    pub entry: u32,
    /// `sun.gc.collector.N.lastExitTime`
    pub exit: u32,
}

/// One heap pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSource {
    /// Name of its MXBean.
    pub pool: &'static str,
    /// Offsets of the words whose sum is used.
    pub used: Box<[u32]>,
}

/// When the pools hold what survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// At the end of a young or full collection.
    AfterPause,
    /// At the end of a concurrent cycle.
    AfterCycle,
}

/// Where the allocation estimate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocationSource {
    /// How collections tell themselves.
    pub rule: AllocationRule,
    /// `sun.gc.tlab.alloc`
    pub tlab: u32,
    /// G1's old generation, which takes humongous objects directly.
    pub old: Option<u32>,
}

/// All that is looked at in one JVM. What is unsound for its collector and JDK is not in it.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplePlan {
    /// `sun.os.hrt.frequency`, ticks per second.
    pub frequency: f64,
    /// Tick 0 in milliseconds since the epoch; 0 while the JVM has not said.
    pub begin: i64,
    /// `sun.rt.safepoints` and `sun.rt.safepointTime`
    pub safepoints: Option<[u32; 2]>,
    /// Collectors whose words count true pauses.
    pub pauses: Vec<PauseSource>,
    /// The collector whose concurrent cycles `sun.gc.cause` tells, and that counter.
    pub cycles: Option<(&'static str, TextCounter)>,
    /// `sun.gc.lastCause`
    pub last_cause: Option<TextCounter>,
    /// Pools that make up the heap.
    pub pools: Vec<PoolSource>,
    /// When `pools` tell the live set, if ever.
    pub survivors: Option<Survivors>,
    /// Whether `pools` are updated between collections, so that their sum has a true peak.
    pub heap_peak: bool,
    /// `java.threads.live`
    pub threads: Option<u32>,
    /// Loaded and shared-loaded classes, then those unloaded.
    pub classes: Option<[u32; 4]>,
    /// The allocation estimate.
    pub allocation: Option<AllocationSource>,
}

impl SamplePlan {
    /// What to look at in that JVM. `None` while it has not published its tick frequency.
    pub fn of(model: &Model) -> Option<Self> {
        // Native images keep these counters by other rules, which were not measured.
        let collector = model.jvm.collector.filter(|_| !model.jvm.native_image);
        let pools = collector.and_then(|_| pools(&model.heap.pools)).unwrap_or_default();
        let pauses = collector.map(|collector| pauses(collector, &model.pauses)).unwrap_or_default();
        let allocation = collector.and_then(|collector| allocation(collector, &pauses, model));
        Some(Self {
            frequency: model.frequency?,
            begin: model.begin_millis,
            safepoints: model.safepoints.count.zip(model.safepoints.ticks).map(<[u32; 2]>::from),
            pauses,
            cycles: match collector {
                Some(Collector::Zgc) => model.cause.map(|cause| ("ZGC", cause)),
                Some(Collector::Shenandoah) => model.cause.map(|cause| ("Shenandoah", cause)),
                _ => None,
            },
            last_cause: model.last_cause,
            survivors: match collector {
                _ if pools.is_empty() => None,
                Some(Collector::Serial | Collector::Parallel | Collector::G1) => Some(Survivors::AfterPause),
                Some(Collector::Zgc) => Some(Survivors::AfterCycle),
                _ => None,
            },
            // Only where every pool tells between collections too: not with Serial and Parallel on JDK 25.
            heap_peak: matches!(
                collector,
                Some(Collector::Serial | Collector::Parallel | Collector::G1 | Collector::Shenandoah)
            ) && model.heap.used().is_some(),
            pools,
            threads: model.threads.live,
            classes: model
                .classes
                .loaded
                .zip(model.classes.unloaded)
                .map(|([loaded, shared], [unloaded, rest])| [loaded, shared, unloaded, rest]),
            allocation,
        })
    }

    /// The words that change before a collector does anything, and when it is done: no collector here pauses outside of
    /// a safepoint, which is counted before threads are stopped and whose time is added when it is over
    /// (`RuntimeService`, `SafepointTracing`; JDK 8 to 27), and concurrent cycles show in the cause. Some may be named
    /// twice. `None` in a JVM that does not count safepoints.
    pub(super) fn pulse_offsets(&self) -> Option<[u32; PULSE]> {
        let [count, time] = self.safepoints?;
        let mut cause = self.cause_offsets().chain([count, count]);
        Some([count, time, cause.next()?, cause.next()?])
    }

    /// The pulse, the words of [`super::jvm::JvmSampler::settled`], and those of the levels in the order in which
    /// [`super::level::Gauges`] takes them. `None` without a pulse.
    pub(super) fn level_offsets(&self) -> Option<Vec<u32>> {
        let invocations = self.pauses.iter().map(|source| source.invocations);
        let old = self.allocation.iter().filter_map(|source| source.old);
        let pools = self.pools.iter().filter(|_| self.heap_peak).flat_map(|pool| pool.used.iter().copied());
        let classes = self.classes.iter().flatten().copied();
        let levels = pools.chain(self.threads).chain(classes);
        Some(self.pulse_offsets()?.into_iter().chain(invocations).chain(old).chain(levels).collect())
    }

    fn cause_offsets(&self) -> impl Iterator<Item = u32> {
        self.cycles.iter().flat_map(|(_, cause)| cause.words(NO_GC_BYTES))
    }

    /// The words of a whole look, in the order in which [`super::jvm`] takes them.
    pub(super) fn offsets(&self) -> Vec<u32> {
        let pauses = self.pauses.iter().flat_map(PauseSource::offsets);
        let pools = self.pools.iter().flat_map(|pool| pool.used.iter().copied());
        let classes = self.classes.iter().flatten().copied();
        let allocation = self.allocation.iter().flat_map(|source| std::iter::once(source.tlab).chain(source.old));
        pauses.chain(self.cause_offsets()).chain(pools).chain(self.threads).chain(classes).chain(allocation).collect()
    }
}

/// `sun.gc.cause` while no collection runs, in every collector.
pub(super) const NO_GC: &str = "No GC";

/// Words of a pulse: the safepoints, the time in them, and the cause's first bytes, which may lie across two words.
pub(super) const PULSE: usize = 4;

/// Bytes of [`NO_GC`] and its NUL.
pub(super) const NO_GC_BYTES: u32 = 6;

impl PauseSource {
    /// The words of one [`super::pause::PauseReading`], in its order.
    pub(super) fn offsets(&self) -> [u32; 4] {
        [self.invocations, self.time, self.entry, self.exit]
    }
}

/// The collectors whose counters are pauses, one by one. Of CMS only the young one: what it counts for the old
/// generation differs between JDK 8 and 11, and was not compared with a log.
fn pauses(collector: Collector, known: &[PauseCounters]) -> Vec<PauseSource> {
    let source = |pauses: &PauseCounters| {
        Some(PauseSource {
            gc: pauses.gc,
            action: pauses.action,
            role: pauses.role,
            invocations: pauses.invocations?,
            time: pauses.time?,
            entry: pauses.last_entry?,
            exit: pauses.last_exit?,
        })
    };
    let known = known.iter().filter(|pauses| collector != Collector::Cms || pauses.role == Role::Young);
    known.filter_map(source).collect()
}

fn allocation(collector: Collector, pauses: &[PauseSource], model: &Model) -> Option<AllocationSource> {
    let is_generational = pauses.iter().any(|source| source.role == Role::MajorPhase);
    let (rule, old) = match collector {
        Collector::Serial | Collector::Parallel => (AllocationRule::EachCollection, None),
        Collector::G1 => (AllocationRule::EachCollection, model.old_used),
        Collector::Zgc if is_generational => (AllocationRule::Overwritten, None),
        Collector::Zgc => (AllocationRule::EachChange, None),
        Collector::Cms | Collector::Shenandoah | Collector::Epsilon => return None,
    };
    Some(AllocationSource { rule, tlab: model.tlab_allocated?, old })
}

/// The heap's pools, where every one of them tells what it holds. Eden need not: after a collection it is empty. What is
/// published only after a first collection is looked at only after one.
fn pools(heap: &[Pool]) -> Option<Vec<PoolSource>> {
    let known = heap.iter().filter(|pool| pool.committed.is_some() && !(pool.used.is_none() && pool.is_eden));
    known.map(|pool| Some(PoolSource { pool: pool.name, used: pool.used.as_ref()?.words().into() })).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perfdata::Image;

    fn plan_of(image: &Image) -> Option<SamplePlan> {
        SamplePlan::of(&Model::of(image, &[]))
    }

    fn list(name: &str) -> SamplePlan {
        let path = format!("{}/tests/fixtures/perfdata/{name}.hsperfdata", env!("CARGO_MANIFEST_DIR"));
        plan_of(&Image::decode(std::fs::read(path).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn only_what_a_collector_tells_truly_is_looked_at() {
        // Collectors with pauses; pools; live set, heap peak, cycles, allocation.
        for (name, pauses, pools, live, peak, cycles, allocation) in [
            ("jdk8-Serial", 2, 3, true, true, false, true),
            ("jdk8-G1", 2, 3, true, true, false, true),
            ("jdk11-Parallel", 2, 3, true, true, false, true),
            ("jdk11-ConcMarkSweep", 1, 3, false, false, false, false),
            ("jdk11-Shenandoah", 0, 1, false, true, true, false),
            ("jdk17-G1", 3, 3, true, true, false, true),
            ("jdk17-Z", 1, 1, true, false, true, true),
            ("jdk25-Serial", 2, 2, true, false, false, true),
            ("jdk25-Parallel", 2, 2, true, false, false, true),
            ("jdk25-G1", 3, 3, true, true, false, true),
            ("jdk25-Z", 2, 2, true, false, true, true),
            ("jdk25-Shenandoah", 0, 1, false, true, true, false),
        ] {
            let list = list(name);
            assert_eq!((list.pauses.len(), list.pools.len()), (pauses, pools), "{name}");
            assert_eq!((list.survivors.is_some(), list.heap_peak), (live, peak), "{name}");
            assert_eq!((list.cycles.is_some(), list.allocation.is_some()), (cycles, allocation), "{name}");
            assert!(list.threads.is_some() && list.classes.is_some() && list.begin > 0, "{name}");
        }
    }

    #[test]
    fn only_generational_zgc_overwrites_what_it_published() {
        for (name, rule) in [
            ("jdk17-Z", AllocationRule::EachChange),
            ("jdk21-Z", AllocationRule::EachChange),
            ("jdk25-Z", AllocationRule::Overwritten),
            ("jdk25-G1", AllocationRule::EachCollection),
        ] {
            assert_eq!(list(name).allocation.map(|source| source.rule), Some(rule), "{name}");
        }
    }

    #[test]
    fn a_jvm_without_a_tick_frequency_is_not_ready() {
        let path = format!("{}/tests/fixtures/perfdata/jdk17-G1.hsperfdata", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = std::fs::read(path).unwrap();
        let offset = Image::decode(bytes.clone()).unwrap().entry("sun.os.hrt.frequency").unwrap().offset as usize;
        bytes.get_mut(offset..offset + 8).unwrap().fill(0);
        assert_eq!(plan_of(&Image::decode(bytes).unwrap()), None);
    }
}
