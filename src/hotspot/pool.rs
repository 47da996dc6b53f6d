//! Memory pools, under the names and with the meaning of the MemoryPoolMXBeans.
//!
//! PerfData has generations and spaces; what a pool's use, size and bound are follows from them by rules of each
//! collector (compared with the beans on JDK 17 and 25). `G` below is `sun.gc.generation`.

use super::Jvm;
use super::collector::Collector;
use super::counters::Counters;
use crate::fact::{Formula, Scale, Term};
use crate::metric::Value;

/// How the `used` of a pool is kept up between collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// With each change, or each new region.
    Live,
    /// On a timer: 50 ms for Serial, Parallel and CMS until JDK 24, 100 ms for Shenandoah, 200 ms in native images.
    Sampled,
    /// At the end of collections only.
    Collection,
}

impl Freshness {
    /// The word in `pool.freshness`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Sampled => "sampled",
            Self::Collection => "gc",
        }
    }
}

/// A pool and what is known of it; sizes are in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The name of its MemoryPoolMXBean.
    pub name: &'static str,
    /// How `used` is kept up.
    pub freshness: Freshness,
    /// Empty after each collection: eden.
    pub is_eden: bool,
    /// In use.
    pub used: Option<Usage>,
    /// From the operating system.
    pub committed: Option<Formula>,
    /// What it may grow to; never to be summed over pools.
    pub limit: Option<Formula>,
    /// What it started with.
    pub init: Option<Formula>,
}

/// What a pool holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The sum of these words.
    Sum(Box<[u32]>),
    /// That word, written together with the word `once`, and nothing while that is 0.
    Once {
        /// Where the bytes are.
        word: u32,
        /// Not 0 from the first measurement on.
        once: u32,
    },
    /// That word, and nothing while it is 0.
    NonZero(u32),
}

impl Usage {
    /// The value in bytes.
    pub fn formula(&self) -> Formula {
        match self {
            Self::Sum(words) => match &**words {
                [word] => Formula::Word(*word, Scale::One),
                words => {
                    Formula::Sum(words.iter().map(|word| Term { word: *word, negative: false }).collect(), Scale::One)
                }
            },
            Self::Once { word, once } => Formula::Once(*once, Box::new(Formula::Word(*word, Scale::One))),
            Self::NonZero(word) => Formula::FirstNonZero([*word].into(), Scale::One),
        }
    }

    /// The words whose sum it is once there is one.
    pub fn words(&self) -> &[u32] {
        match self {
            Self::Sum(words) => words,
            Self::Once { word, .. } | Self::NonZero(word) => std::slice::from_ref(word),
        }
    }
}

/// The heap and what is true of it as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heap {
    /// Its pools; none where the collector is not known.
    pub pools: Vec<Pool>,
    /// Bytes that it may grow to, which is never the sum of the pools' limits.
    pub limit: Option<Formula>,
    /// Bytes that it started with.
    pub init: Option<Formula>,
}

impl Heap {
    pub(super) fn of(jvm: &Jvm, counters: &Counters<'_>) -> Self {
        let pools = heap(jvm, counters);
        let init = heap_init(jvm, &pools);
        Self { pools, limit: heap_limit(jvm, counters), init }
    }

    /// Bytes in use, where every pool tells.
    pub fn used(&self) -> Option<Formula> {
        total(&self.pools, |pool| pool.used.as_ref().map(Usage::formula))
    }

    /// Bytes from the operating system, where every pool tells.
    pub fn committed(&self) -> Option<Formula> {
        total(&self.pools, |pool| pool.committed.clone())
    }
}

/// The sum over all pools; nothing where one of them does not tell.
fn total(heap: &[Pool], of: impl Fn(&Pool) -> Option<Formula>) -> Option<Formula> {
    let parts: Box<[Formula]> = heap.iter().map(of).collect::<Option<_>>()?;
    (!parts.is_empty()).then_some(Formula::Total(parts))
}

/// `InitialHeapSize`, where the pools sum up to it. ZGC without generations tells `MinHeapSize` (its bean too).
fn heap_init(jvm: &Jvm, heap: &[Pool]) -> Option<Formula> {
    let is_sum = match jvm.collector? {
        Collector::G1 | Collector::Shenandoah => true,
        Collector::Zgc => heap.len() > 1,
        Collector::Serial | Collector::Parallel | Collector::Cms | Collector::Epsilon => false,
    };
    if is_sum { total(heap, |pool| pool.init.clone()) } else { None }
}

/// The heap's own limit, which is never the sum of the pools'.
fn heap_limit(jvm: &Jvm, counters: &Counters<'_>) -> Option<Formula> {
    match jvm.collector? {
        // The generations share out the reserved heap. (The bean subtracts the survivor space that is always empty.)
        Collector::Serial | Collector::Parallel | Collector::Cms => {
            counters.sum(&["sun.gc.generation.0.maxCapacity", "sun.gc.generation.1.maxCapacity"], &[])
        }
        Collector::G1 => counters.sum(&["sun.gc.generation.1.maxCapacity"], &[G1_PAD]),
        // Every generation's maximum is the whole heap's.
        Collector::Zgc | Collector::Shenandoah | Collector::Epsilon => counters.word("sun.gc.generation.1.maxCapacity"),
    }
}

fn heap(jvm: &Jvm, counters: &Counters<'_>) -> Vec<Pool> {
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
        // Epsilon's minCapacity is 0 whatever it started with (JDK 25, measured).
        Some(Collector::Epsilon) if jvm.native_image => vec![whole("epsilon heap", counters)],
        Some(Collector::Epsilon) => vec![whole("Epsilon Heap", counters)],
        None => Vec::new(),
    }
}

/// Eden and survivor of the copying collectors: ParNew's differ.
fn young_names(counters: &Counters<'_>) -> (&'static str, &'static str) {
    match counters.text("sun.gc.collector.0.name").as_deref() {
        Some("PCopy") => ("Par Eden Space", "Par Survivor Space"),
        _ => ("Eden Space", "Survivor Space"),
    }
}

/// Whether HotSpot samples the spaces every 50 ms. JDK 25 removed that together with this counter (JDK-8241678); since
/// then eden of the stop-the-world collectors reads 0 at all times.
fn is_sampled(counters: &Counters<'_>) -> Option<Freshness> {
    counters.offset("sun.os.hrt.ticks").map(|_| Freshness::Sampled)
}

fn serial(counters: &Counters<'_>, [eden, survivor, old]: [&'static str; 3]) -> Vec<Pool> {
    let sampled = is_sampled(counters);
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
            // One of the two is empty, and both have one size.
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
    let sampled = is_sampled(counters);
    let freshness = sampled.unwrap_or(Freshness::Collection);
    let survivors = [1, 2].map(|space| {
        let used = counters.offset(&format!("sun.gc.generation.0.space.{space}.used"))?;
        Some((used, counters.offset(&format!("sun.gc.generation.0.space.{space}.capacity"))?))
    });
    // The survivor spaces may differ in size; the pool is the occupied one.
    let occupied = match survivors {
        [Some(first), Some(second)] => Some(Formula::Occupied([first, second].into(), Scale::One)),
        _ => None,
    };
    vec![
        Pool {
            name: "PS Eden Space",
            freshness,
            is_eden: true,
            used: sampled.and_then(|_| word(counters, "sun.gc.generation.0.space.0.used")),
            committed: counters.word("sun.gc.generation.0.space.0.capacity"),
            // The space's own maximum is computed once, at the start, and wrong as soon as the survivors grow.
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

/// Capacity of the survivor space that G1 does not have: the 8 bytes by which JDK 8 to 20 pad every capacity
/// (JDK-8307518 removed it), 0 later.
const G1_PAD: &str = "sun.gc.generation.0.space.1.capacity";

fn g1(counters: &Counters<'_>) -> Vec<Pool> {
    let unpadded = |name: &str| counters.sum(&[name], &[G1_PAD]);
    let young = |name, freshness, space: u32| Pool {
        name,
        freshness,
        is_eden: space == 0,
        used: word(counters, &format!("sun.gc.generation.0.space.{space}.used")),
        committed: unpadded(&format!("sun.gc.generation.0.space.{space}.capacity")),
        // Any region may become young: no bound below the heap's.
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

/// ZGC writes its sizes in pauses, together with those of metaspace; before the first, they are 0 or a minimum.
fn zgc(counters: &Counters<'_>) -> Vec<Pool> {
    let once = counters.offset("sun.gc.metaspace.used");
    let used = |name: &str| Some(Usage::Once { word: counters.offset(name)?, once: once? });
    let committed = |name: &str| Some(Formula::Once(once?, Box::new(counters.word(name)?)));
    let pool = |name, generation: u32, init: &str| Pool {
        name,
        freshness: Freshness::Collection,
        is_eden: false,
        used: used(&format!("sun.gc.generation.{generation}.space.0.used")),
        committed: committed(&format!("sun.gc.generation.{generation}.space.0.capacity")),
        limit: counters.word(&format!("sun.gc.generation.{generation}.space.0.maxCapacity")),
        init: counters.word(&format!("sun.gc.generation.{generation}.{init}")),
    };
    if counters.text("sun.gc.generation.0.name").is_some() {
        vec![
            pool("ZGC Young Generation", 0, "space.0.initCapacity"),
            pool("ZGC Old Generation", 1, "space.0.initCapacity"),
        ]
    } else {
        vec![pool("ZHeap", 1, "minCapacity")]
    }
}

/// A heap of one pool: Shenandoah, also in its generational mode, and Epsilon. The capacity of the space is the
/// maximum; the generation's is the committed size.
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
/// spaces, sizes by generation only, and the old space numbered on from the young ones.
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

/// Metaspace, which contains Compressed Class Space: never to be added up. A 0 means that there is none, or that
/// nothing has measured it yet.
pub(super) fn metaspace(jvm: &Jvm, counters: &Counters<'_>) -> [Pool; 2] {
    [
        Pool {
            name: "Metaspace",
            freshness: Freshness::Collection,
            is_eden: false,
            used: nonzero(counters, "sun.gc.metaspace.used"),
            committed: counters.nonzero("sun.gc.metaspace.capacity"),
            // maxCapacity is the reserved address space, not a bound.
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

fn word(counters: &Counters<'_>, name: &str) -> Option<Usage> {
    sum(counters, [name])
}

fn sum<'n>(counters: &Counters<'_>, names: impl IntoIterator<Item = &'n str>) -> Option<Usage> {
    names.into_iter().map(|name| counters.offset(name)).collect::<Option<_>>().map(Usage::Sum)
}

fn nonzero(counters: &Counters<'_>, name: &str) -> Option<Usage> {
    counters.offset(name).map(Usage::NonZero)
}
