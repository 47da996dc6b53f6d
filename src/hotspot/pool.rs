//! Memory pools, under the names and with the meaning of the MemoryPoolMXBeans.
//!
//! PerfData has generations and spaces. How a pool's used, committed and maximum bytes follow from them depends on the
//! collector; the rules here were compared with the beans on JDK 17 and 25.

use super::Jvm;
use super::collector::Collector;
use super::counters::Counters;
use crate::fact::{Formula, Scale};
use crate::metric::Value;

/// Names of code heaps, which are those of their MemoryPoolMXBeans (codeCache.cpp, JDK 9 to 27): a process may not add series
/// as it likes.
pub(crate) const CODE_HEAP_NAMES: [&str; 6] = [
    "CodeCache",
    "CodeHeap 'AOT'",
    "CodeHeap 'hot nmethods'",
    "CodeHeap 'non-nmethods'",
    "CodeHeap 'non-profiled nmethods'",
    "CodeHeap 'profiled nmethods'",
];

/// When HotSpot updates a pool's used bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// At each change, or with each new heap region.
    Live,
    /// By a timer: every 50 ms with Serial, Parallel and CMS until JDK 24, 100 ms with Shenandoah, 200 ms in native
    /// images.
    Sampled,
    /// Only at the end of collections.
    Collection,
    /// Only in ZGC's pauses, the last of which comes before the collection moves objects and so frees what they leave.
    Pause,
}

impl Freshness {
    /// The `mode` of `pool.freshness`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Sampled => "sampled",
            Self::Collection => "gc",
            Self::Pause => "pause",
        }
    }
}

/// A memory pool; sizes are in bytes. What the JVM does not publish is `None`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pool {
    /// The name of its MemoryPoolMXBean.
    pub(crate) name: &'static str,
    /// When `used` is updated.
    pub(crate) freshness: Freshness,
    /// Eden: the pool is empty after each collection.
    pub(crate) is_eden: bool,
    /// Bytes in use.
    pub(crate) used: Option<UsedBytes>,
    /// Bytes committed by the operating system.
    pub(crate) committed: Option<Formula>,
    /// Maximum size. Must not be summed over pools.
    pub(crate) limit: Option<Formula>,
    /// Initial size.
    pub(crate) init: Option<Formula>,
}

/// The words that hold a pool's used bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UsedBytes {
    /// The sum of these words.
    Sum(Box<[u32]>),
    /// The word, absent while `guard` is 0.
    IfNonZero {
        /// The bytes.
        word: u32,
        /// 0 until HotSpot writes both words for the first time.
        guard: u32,
    },
    /// The word, absent while it is 0.
    NonZero(u32),
}

impl UsedBytes {
    /// The value in bytes.
    pub(crate) fn formula(&self) -> Formula {
        match self {
            Self::Sum(words) => Formula::sum(words, &[], Scale::One),
            Self::IfNonZero { word, guard } => Formula::IfNonZero(*guard, Box::new(Formula::Word(*word, Scale::One))),
            Self::NonZero(word) => Formula::FirstNonZero([*word].into(), Scale::One),
        }
    }

    /// The words whose sum is the value while it is present.
    pub(crate) fn words(&self) -> &[u32] {
        match self {
            Self::Sum(words) => words,
            Self::IfNonZero { word, .. } | Self::NonZero(word) => std::slice::from_ref(word),
        }
    }
}

/// The heap.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Heap {
    /// Its pools; none where the collector is unknown.
    pub(crate) pools: Vec<Pool>,
    /// Maximum bytes, which is not the sum of the pools' limits.
    pub(crate) limit: Option<Formula>,
    /// Initial bytes.
    pub(crate) init: Option<Formula>,
}

impl Heap {
    pub(super) fn of(jvm: &Jvm, counters: &Counters<'_>) -> Self {
        let pools = heap_pools(jvm, counters);
        let init = heap_init(jvm, &pools, counters);
        Self { pools, limit: heap_limit(jvm, counters), init }
    }

    /// The pool where long-lived objects end up: the old generation, or the only one.
    pub(crate) fn old(&self) -> Option<&Pool> {
        self.pools.last()
    }

    /// Bytes in use; `None` where one of the pools does not publish them.
    pub(crate) fn used(&self) -> Option<Formula> {
        total(&self.pools, |pool| pool.used.as_ref().map(UsedBytes::formula))
    }

    /// Whether its used bytes are at most some tenths of a second old. Survivor spaces change at collections only.
    pub(crate) fn is_fresh(&self) -> bool {
        let is_fresh = |pool: &Pool| matches!(pool.freshness, Freshness::Live | Freshness::Sampled);
        self.pools.iter().all(|pool| pool.used.is_some())
            && self.pools.iter().all(|pool| is_fresh(pool) || pool.name.ends_with("Survivor Space"))
    }

    /// Committed bytes; `None` where one of the pools does not publish them.
    pub(crate) fn committed(&self) -> Option<Formula> {
        total(&self.pools, |pool| pool.committed.clone())
    }
}

/// The sum over all pools; `None` where one of them has no value.
fn total(pools: &[Pool], of: impl Fn(&Pool) -> Option<Formula>) -> Option<Formula> {
    let parts: Box<[Formula]> = pools.iter().map(of).collect::<Option<_>>()?;
    (!parts.is_empty()).then_some(Formula::Total(parts))
}

/// `InitialHeapSize`, where it is the sum of the pools' initial sizes, or generational ZGC's initial capacity: ZGC's pools
/// have `MinHeapSize`, as its beans do (measured on JDK 21, 25, 26, 27).
fn heap_init(jvm: &Jvm, pools: &[Pool], counters: &Counters<'_>) -> Option<Formula> {
    match jvm.collector? {
        Collector::G1 | Collector::Shenandoah => total(pools, |pool| pool.init.clone()),
        Collector::Zgc => counters.word("sun.gc.generation.0.space.0.initCapacity"),
        Collector::Serial | Collector::Parallel | Collector::Cms | Collector::Epsilon => None,
    }
}

/// The heap's maximum size.
fn heap_limit(jvm: &Jvm, counters: &Counters<'_>) -> Option<Formula> {
    match jvm.collector? {
        // The generations divide the reserved heap. (The bean subtracts the survivor space that is always empty.)
        Collector::Serial | Collector::Parallel | Collector::Cms => {
            counters.sum(&["sun.gc.generation.0.maxCapacity", "sun.gc.generation.1.maxCapacity"], &[])
        }
        Collector::G1 => counters.sum(&["sun.gc.generation.1.maxCapacity"], &[G1_PAD]),
        // Each generation's maximum is that of the whole heap.
        Collector::Zgc | Collector::Shenandoah | Collector::Epsilon => counters.word("sun.gc.generation.1.maxCapacity"),
    }
}

fn heap_pools(jvm: &Jvm, counters: &Counters<'_>) -> Vec<Pool> {
    match jvm.collector {
        Some(Collector::Serial) if jvm.native_image => native(counters),
        Some(Collector::Serial) => {
            let (eden, survivor) = young_names(counters);
            serial(counters, [eden, survivor, "Tenured Gen"])
        }
        Some(Collector::Cms) => {
            let (eden, survivor) = young_names(counters);
            serial(counters, [eden, survivor, "CMS Old Gen"])
        }
        Some(Collector::Parallel) => parallel(counters),
        Some(Collector::G1) => g1(counters),
        Some(Collector::Zgc) => zgc(counters),
        Some(Collector::Shenandoah) => {
            let init = counters.word("sun.gc.generation.1.minCapacity");
            vec![Pool { init, ..whole("Shenandoah", counters) }]
        }
        // With Epsilon, minCapacity is 0 whatever the initial size (measured on JDK 25).
        Some(Collector::Epsilon) if jvm.native_image => vec![whole("epsilon heap", counters)],
        Some(Collector::Epsilon) => vec![whole("Epsilon Heap", counters)],
        None => Vec::new(),
    }
}

/// The names of eden and survivor space: ParNew's differ from those of the other copying collectors.
fn young_names(counters: &Counters<'_>) -> (&'static str, &'static str) {
    match counters.text("sun.gc.collector.0.name").as_deref() {
        Some("PCopy") => ("Par Eden Space", "Par Survivor Space"),
        _ => ("Eden Space", "Survivor Space"),
    }
}

/// `Some` where HotSpot samples the spaces every 50 ms. JDK 25 removed the sampling together with this counter
/// (JDK-8241678); since then, used of eden is always 0 with Serial and Parallel.
fn sampled(counters: &Counters<'_>) -> Option<Freshness> {
    counters.offset("sun.os.hrt.ticks").map(|_| Freshness::Sampled)
}

fn serial(counters: &Counters<'_>, [eden, survivor, old]: [&'static str; 3]) -> Vec<Pool> {
    let sampled = sampled(counters);
    let freshness = sampled.unwrap_or(Freshness::Collection);
    vec![
        Pool {
            name: eden,
            freshness,
            is_eden: true,
            used: sampled.and_then(|_| word(counters, "sun.gc.generation.0.space.0.used")),
            committed: counters.word("sun.gc.generation.0.space.0.capacity"),
            limit: counters.word("sun.gc.generation.0.space.0.maxCapacity"),
            init: None,
        },
        Pool {
            name: survivor,
            freshness,
            is_eden: false,
            // One of the two spaces is empty, and both have the same size.
            used: sum(counters, ["sun.gc.generation.0.space.1.used", "sun.gc.generation.0.space.2.used"]),
            committed: counters.word("sun.gc.generation.0.space.1.capacity"),
            limit: counters.word("sun.gc.generation.0.space.1.maxCapacity"),
            init: None,
        },
        old_generation(old, freshness, counters),
    ]
}

/// The old generation of Serial, CMS and Parallel.
fn old_generation(name: &'static str, freshness: Freshness, counters: &Counters<'_>) -> Pool {
    Pool {
        name,
        freshness,
        is_eden: false,
        used: word(counters, "sun.gc.generation.1.space.0.used"),
        committed: counters.word("sun.gc.generation.1.space.0.capacity"),
        limit: counters.word("sun.gc.generation.1.space.0.maxCapacity"),
        init: counters.word("sun.gc.generation.1.space.0.initCapacity"),
    }
}

fn parallel(counters: &Counters<'_>) -> Vec<Pool> {
    let sampled = sampled(counters);
    let freshness = sampled.unwrap_or(Freshness::Collection);
    let survivors = [1, 2].map(|space| {
        let used = counters.offset(&format!("sun.gc.generation.0.space.{space}.used"))?;
        Some((used, counters.offset(&format!("sun.gc.generation.0.space.{space}.capacity"))?))
    });
    // The survivor spaces may differ in size; the pool has the size of the occupied one.
    let occupied = match survivors {
        [Some(first), Some(second)] => Some(Formula::SelectNonZero([first, second].into(), Scale::One)),
        _ => None,
    };
    vec![
        Pool {
            name: "PS Eden Space",
            freshness,
            is_eden: true,
            used: sampled.and_then(|_| word(counters, "sun.gc.generation.0.space.0.used")),
            committed: counters.word("sun.gc.generation.0.space.0.capacity"),
            // HotSpot computes the space's own maximum only at the start; it is wrong once the survivor spaces grow.
            limit: counters.sum(
                &["sun.gc.generation.0.maxCapacity"],
                &["sun.gc.generation.0.space.1.capacity", "sun.gc.generation.0.space.2.capacity"],
            ),
            init: None,
        },
        Pool {
            name: "PS Survivor Space",
            freshness,
            is_eden: false,
            used: sum(counters, ["sun.gc.generation.0.space.1.used", "sun.gc.generation.0.space.2.used"]),
            committed: occupied.clone(),
            limit: occupied,
            init: None,
        },
        old_generation("PS Old Gen", freshness, counters),
    ]
}

/// Capacity of the survivor space that G1 does not use: the 8 bytes by which JDK 8 to 20 pad every capacity, 0 since
/// JDK-8307518.
const G1_PAD: &str = "sun.gc.generation.0.space.1.capacity";

fn g1(counters: &Counters<'_>) -> Vec<Pool> {
    let unpadded = |name: &str| counters.sum(&[name], &[G1_PAD]);
    let young = |name, freshness, space: u32| Pool {
        name,
        freshness,
        is_eden: space == 0,
        used: word(counters, &format!("sun.gc.generation.0.space.{space}.used")),
        committed: unpadded(&format!("sun.gc.generation.0.space.{space}.capacity")),
        // Any heap region may become young: there is no limit below that of the heap.
        limit: None,
        init: unpadded(&format!("sun.gc.generation.0.space.{space}.initCapacity")),
    };
    vec![
        young("G1 Eden Space", Freshness::Live, 0),
        young("G1 Survivor Space", Freshness::Collection, 2),
        Pool {
            name: "G1 Old Gen",
            freshness: Freshness::Collection,
            is_eden: false,
            used: word(counters, "sun.gc.generation.1.space.0.used"),
            committed: unpadded("sun.gc.generation.1.space.0.capacity"),
            limit: unpadded("sun.gc.generation.1.maxCapacity"),
            init: unpadded("sun.gc.generation.1.space.0.initCapacity"),
        },
    ]
}

/// ZGC writes its sizes in pauses, together with those of metaspace; before the first pause they are 0 or a minimum.
fn zgc(counters: &Counters<'_>) -> Vec<Pool> {
    let guard = counters.offset("sun.gc.metaspace.used");
    let used = |name: &str| Some(UsedBytes::IfNonZero { word: counters.offset(name)?, guard: guard? });
    let committed = |name: &str| Some(Formula::IfNonZero(guard?, Box::new(counters.word(name)?)));
    let pool = |name, generation: u32| Pool {
        name,
        freshness: Freshness::Pause,
        is_eden: false,
        used: used(&format!("sun.gc.generation.{generation}.space.0.used")),
        committed: committed(&format!("sun.gc.generation.{generation}.space.0.capacity")),
        limit: counters.word(&format!("sun.gc.generation.{generation}.space.0.maxCapacity")),
        init: counters.word(&format!("sun.gc.generation.{generation}.minCapacity")),
    };
    if counters.text("sun.gc.generation.0.name").is_some() {
        vec![pool("ZGC Young Generation", 0), pool("ZGC Old Generation", 1)]
    } else {
        vec![pool("ZHeap", 1)]
    }
}

/// A heap of one pool: Shenandoah, also in its generational mode, and Epsilon. The space's capacity is the maximum
/// size, the generation's capacity the committed size.
fn whole(name: &'static str, counters: &Counters<'_>) -> Pool {
    Pool {
        name,
        freshness: Freshness::Sampled,
        is_eden: false,
        used: word(counters, "sun.gc.generation.1.space.0.used"),
        committed: counters.word("sun.gc.generation.1.capacity"),
        limit: counters.word("sun.gc.generation.1.maxCapacity"),
        init: None,
    }
}

/// The serial collector of GraalVM native images (genscavenge/jvmstat/SerialGCPerfData.java): any number of survivor
/// spaces, sizes only by generation, and the old space numbered after the young ones.
fn native(counters: &Counters<'_>) -> Vec<Pool> {
    const SPACES: u32 = 64;
    let spaces = |generation: u32, prefix: &str| -> Vec<String> {
        let named = |space: &u32| {
            let name = counters.text(&format!("sun.gc.generation.{generation}.space.{space}.name"));
            name.is_some_and(|name| name.starts_with(prefix))
        };
        let used = |space| format!("sun.gc.generation.{generation}.space.{space}.used");
        (0..SPACES).filter(named).map(used).collect()
    };
    let pool = |name, generation, prefix| {
        let used = spaces(generation, prefix);
        let used = if used.is_empty() { None } else { sum(counters, used.iter().map(String::as_str)) };
        Pool { name, freshness: Freshness::Sampled, is_eden: false, used, committed: None, limit: None, init: None }
    };
    vec![pool("eden space", 0, "eden"), pool("survivor space", 0, "s"), pool("old generation space", 1, "old")]
}

/// Metaspace, and Compressed Class Space, which is a part of it; the two must not be added up. A 0 means that the space
/// does not exist or is not measured yet.
pub(super) fn metaspace(jvm: &Jvm, counters: &Counters<'_>) -> [Pool; 2] {
    [
        Pool {
            name: "Metaspace",
            freshness: Freshness::Collection,
            is_eden: false,
            used: nonzero(counters, "sun.gc.metaspace.used"),
            committed: counters.nonzero("sun.gc.metaspace.capacity"),
            // maxCapacity is the reserved address space, not a limit.
            limit: jvm
                .max_metaspace
                .and_then(|bytes| i64::try_from(bytes).ok())
                .map(|bytes| Formula::Constant(Value::Int(bytes))),
            init: None,
        },
        Pool {
            name: "Compressed Class Space",
            freshness: Freshness::Collection,
            is_eden: false,
            used: nonzero(counters, "sun.gc.compressedclassspace.used"),
            committed: counters.nonzero("sun.gc.compressedclassspace.capacity"),
            limit: counters.nonzero("sun.gc.compressedclassspace.maxCapacity"),
            init: None,
        },
    ]
}

fn word(counters: &Counters<'_>, name: &str) -> Option<UsedBytes> {
    sum(counters, [name])
}

fn sum<'n>(counters: &Counters<'_>, names: impl IntoIterator<Item = &'n str>) -> Option<UsedBytes> {
    names.into_iter().map(|name| counters.offset(name)).collect::<Option<_>>().map(UsedBytes::Sum)
}

fn nonzero(counters: &Counters<'_>, name: &str) -> Option<UsedBytes> {
    counters.offset(name).map(UsedBytes::NonZero)
}
