//! Which words of a region to sample, and what each collector's words are reliable for.

use super::words::PAUSE_WORDS;
use crate::hotspot::{Collector, Model, PauseCounters, Pool, Role, TextCounter};

/// One collector's pauses. Offsets are those of its counters in the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PauseSource {
    /// Name of its MXBean, `jvm.gc.name`.
    pub(crate) gc: &'static str,
    /// What its MXBean calls the end of a pause, `jvm.gc.action`.
    pub(crate) action: &'static str,
    /// What it does.
    pub(crate) role: Role,
    /// `sun.gc.collector.N.invocations`, `time`, `lastEntryTime` and `lastExitTime`.
    pub(crate) offsets: [u32; PAUSE_WORDS],
}

/// One heap pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolSource {
    /// Name of its MXBean.
    pub(crate) pool: &'static str,
    /// Offsets of the words whose sum is used.
    pub(crate) used: Box<[u32]>,
}

/// What shows the concurrent cycles of ZGC or Shenandoah.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CycleSource {
    /// The collector.
    pub(crate) gc: &'static str,
    /// `sun.gc.cause`
    pub(crate) cause: TextCounter,
    /// A word that every cycle changes, where pauses do not count them.
    pub(crate) trace: Option<u32>,
}

/// Where the allocation estimate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AllocationSource {
    /// Generational ZGC: a major collection publishes more than once.
    ///
    /// Marking the roots of either generation does so (`ZMarkThreadClosure`, zMark.cpp, JDK 21 to 25), the old one's a
    /// young collection later, with what was allocated meanwhile. A sample after both reads the last one only. At 10 ms
    /// samples find between 0.2 and all of what a small heap allocated (measured, JDK 25, collected every 2 s).
    pub(crate) overwritten: bool,
    /// `sun.gc.tlab.alloc`
    pub(crate) tlab: u32,
    /// G1's old generation, which takes humongous objects directly.
    pub(crate) old: Option<u32>,
    /// Bytes used in eden, and its capacity, where each collection empties it.
    pub(crate) eden: Option<[u32; 2]>,
    /// No more than eden's capacity was allocated in TLABs: G1 of JDK 8 publishes the size that a thread's buffer should
    /// have had for each refill, and gives less.
    pub(crate) capped: bool,
}

/// What to sample in one JVM. It leaves out what is unsound for its collector and JDK.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SamplePlan {
    /// `sun.os.hrt.frequency`, ticks per second.
    pub(crate) frequency: f64,
    /// Tick 0 in milliseconds since the epoch; 0 while the JVM has not written it.
    pub(crate) begin_millis: i64,
    /// `sun.rt.safepoints` and `sun.rt.safepointTime`
    pub(crate) safepoints: Option<[u32; 2]>,
    /// Collectors whose words count real pauses.
    pub(crate) pauses: Vec<PauseSource>,
    /// The concurrent cycles, where the collector has such.
    pub(crate) cycles: Option<CycleSource>,
    /// `sun.gc.cause`
    pub(crate) cause: Option<TextCounter>,
    /// `sun.gc.lastCause`, which reads "No GC" while a collection runs.
    pub(crate) last_cause: Option<TextCounter>,
    /// Pools that make up the heap.
    pub(crate) pools: Vec<PoolSource>,
    /// Whether `pools` hold the live set at the end of a young or full collection.
    pub(crate) live_set: bool,
    /// Whether `pools` are updated between collections, so that their sum has a true peak.
    pub(crate) heap_peak: bool,
    /// `java.threads.live`
    pub(crate) threads: Option<u32>,
    /// Loaded and shared-loaded classes, then those unloaded.
    pub(crate) classes: Option<[u32; 4]>,
    /// The allocation estimate.
    pub(crate) allocation: Option<AllocationSource>,
}

impl SamplePlan {
    /// The plan for a JVM. `None` while it has not published its tick frequency.
    pub(crate) fn of(model: &Model) -> Option<Self> {
        // Native images update these counters by other rules, which are not measured.
        let collector = model.jvm.collector.filter(|_| !model.jvm.native_image);
        let pools = collector.and_then(|_| pools(&model.heap.pools)).unwrap_or_default();
        let pauses = collector.map(|collector| pauses(collector, &model.pauses)).unwrap_or_default();
        let allocation = collector.and_then(|collector| allocation(collector, &pauses, model));
        Some(Self {
            frequency: model.frequency?,
            begin_millis: model.begin_millis,
            safepoints: model.safepoints,
            cycles: collector.and_then(|collector| cycles(collector, &pauses, model)),
            pauses,
            cause: model.cause,
            last_cause: model.last_cause,
            // ZGC writes its sizes for the last time before it moves objects: 306 to 339 MB where a collection of all
            // left 52 to 54 (measured on JDK 17, 21, 25, 26, 27).
            live_set: matches!(collector, Some(Collector::Serial | Collector::Parallel | Collector::G1))
                && !pools.is_empty(),
            // Only where every pool is updated between collections too: not with Serial and Parallel on JDK 25.
            heap_peak: matches!(
                collector,
                Some(Collector::Serial | Collector::Parallel | Collector::G1 | Collector::Shenandoah)
            ) && model.heap.used().is_some(),
            pools,
            threads: model.threads,
            classes: model.classes,
            allocation,
        })
    }
}

/// The collectors whose counters are single pauses. Of CMS only the young one: what it counts for the old generation
/// differs between JDK 8 and 11, and is not verified against a log.
fn pauses(collector: Collector, known: &[PauseCounters]) -> Vec<PauseSource> {
    let source = |pauses: &PauseCounters| {
        Some(PauseSource {
            gc: pauses.gc,
            action: pauses.action,
            role: pauses.role,
            offsets: [pauses.invocations?, pauses.time?, pauses.last_entry?, pauses.last_exit?],
        })
    };
    let known = known.iter().filter(|pauses| collector != Collector::Cms || pauses.role == Role::Young);
    known.filter_map(source).collect()
}

/// ZGC's cycles show in its pauses, except on JDK 11, which counts none but publishes what each cycle found allocated.
/// Shenandoah's timers end with each cycle.
fn cycles(collector: Collector, pauses: &[PauseSource], model: &Model) -> Option<CycleSource> {
    let (gc, trace) = match collector {
        Collector::Zgc if pauses.is_empty() => ("ZGC", model.tlab_allocated),
        Collector::Zgc => ("ZGC", None),
        Collector::Shenandoah => ("Shenandoah", model.shenandoah_exit),
        _ => return None,
    };
    Some(CycleSource { gc, cause: model.cause?, trace })
}

fn allocation(collector: Collector, pauses: &[PauseSource], model: &Model) -> Option<AllocationSource> {
    let (old, eden) = match collector {
        Collector::Serial | Collector::Parallel => (None, model.eden),
        Collector::G1 => (model.old_used, model.eden),
        Collector::Zgc => (None, None),
        Collector::Cms | Collector::Shenandoah | Collector::Epsilon => return None,
    };
    let overwritten = pauses.iter().any(|source| source.role == Role::MajorPhase);
    let capped = collector == Collector::G1 && model.jvm.feature == Some(8);
    Some(AllocationSource { overwritten, tlab: model.tlab_allocated?, old, eden, capped })
}

/// The heap's pools, where every one of them publishes its use. Eden need not: after a collection it is empty. A pool
/// that publishes only after the first collection is sampled only after one.
fn pools(heap: &[Pool]) -> Option<Vec<PoolSource>> {
    let known = heap.iter().filter(|pool| pool.committed.is_some() && !(pool.used.is_none() && pool.is_eden));
    known.map(|pool| Some(PoolSource { pool: pool.name, used: pool.used.as_ref()?.words().into() })).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perfdata::Image;

    fn of_image(image: &Image) -> Option<SamplePlan> {
        SamplePlan::of(&Model::of(image, &[]))
    }

    fn of_fixture(name: &str) -> SamplePlan {
        let path = format!("{}/tests/fixtures/perfdata/{name}.hsperfdata", env!("CARGO_MANIFEST_DIR"));
        of_image(&Image::decode(std::fs::read(path).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn only_what_a_collector_publishes_correctly_is_sampled() {
        // Collectors with pauses; pools; live set, heap peak, cycles, allocation.
        for (name, pauses, pools, live, peak, cycles, allocation) in [
            ("jdk8-Serial", 2, 3, true, true, false, true),
            ("jdk8-G1", 2, 3, true, true, false, true),
            ("jdk11-Parallel", 2, 3, true, true, false, true),
            ("jdk11-ConcMarkSweep", 1, 3, false, false, false, false),
            ("jdk11-Shenandoah", 0, 1, false, true, true, false),
            ("jdk17-G1", 3, 3, true, true, false, true),
            ("jdk17-Z", 1, 1, false, false, true, true),
            ("jdk25-Serial", 2, 2, true, false, false, true),
            ("jdk25-Parallel", 2, 2, true, false, false, true),
            ("jdk25-G1", 3, 3, true, true, false, true),
            ("jdk25-Z", 2, 2, false, false, true, true),
            ("jdk25-Shenandoah", 0, 1, false, true, true, false),
        ] {
            let plan = of_fixture(name);
            assert_eq!((plan.pauses.len(), plan.pools.len()), (pauses, pools), "{name}");
            assert_eq!((plan.live_set, plan.heap_peak), (live, peak), "{name}");
            assert_eq!((plan.cycles.is_some(), plan.allocation.is_some()), (cycles, allocation), "{name}");
            assert!(plan.threads.is_some() && plan.classes.is_some() && plan.begin_millis > 0, "{name}");
        }
    }

    #[test]
    fn only_generational_zgc_overwrites_its_publications() {
        for (name, overwritten) in [("jdk17-Z", false), ("jdk21-Z", false), ("jdk25-Z", true), ("jdk25-G1", false)] {
            assert_eq!(of_fixture(name).allocation.map(|source| source.overwritten), Some(overwritten), "{name}");
        }
    }

    #[test]
    fn a_jvm_without_a_tick_frequency_is_not_ready() {
        let path = format!("{}/tests/fixtures/perfdata/jdk17-G1.hsperfdata", env!("CARGO_MANIFEST_DIR"));
        let mut bytes = std::fs::read(path).unwrap();
        let offset = Image::decode(bytes.clone()).unwrap().entry("sun.os.hrt.frequency").unwrap().offset as usize;
        bytes.get_mut(offset..offset + 8).unwrap().fill(0);
        assert_eq!(of_image(&Image::decode(bytes).unwrap()), None);
    }
}
