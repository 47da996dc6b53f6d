//! Memory pools, under the names and with the meaning of the MemoryPoolMXBeans.
//!
//! PerfData has generations and spaces; what a pool's use, size and bound are follows from them by rules of each
//! collector (compared with the beans on JDK 17 and 25). `G` below is `sun.gc.generation`.

use super::Jvm;
use super::collector::Collector;
use super::counters::Counters;
use crate::fact::Fact;
use crate::fact::Formula;
use crate::metric::Value;

/// How the `used` of a pool is kept up between collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Freshness {
    /// With each change, or each new region.
    Live,
    /// On a timer: 50 ms for Serial, Parallel and CMS until JDK 24, 100 ms for Shenandoah, 200 ms in native images.
    Sampled,
    /// At the end of collections only.
    Collection,
}

impl Freshness {
    fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Sampled => "sampled",
            Self::Collection => "gc",
        }
    }
}

/// A pool and what is known of it.
#[derive(Debug)]
struct Pool {
    name: &'static str,
    freshness: Freshness,
    used: Option<Formula>,
    committed: Option<Formula>,
    limit: Option<Formula>,
    init: Option<Formula>,
}

/// `pool.*`, `area.*` and `metaspace.*`
pub(super) fn facts(jvm: &Jvm, counters: &Counters<'_>, into: &mut Vec<Fact>) {
    let heap = heap(jvm, counters);
    area(&heap, heap_limit(jvm, counters), heap_init(jvm, &heap), into);
    for pool in heap {
        publish(pool, "heap", into);
    }
    for pool in metaspace(jvm, counters) {
        publish(pool, "non_heap", into);
    }
    into.extend(Fact::of("metaspace.reserved", vec![], counters.nonzero("sun.gc.metaspace.maxCapacity")));
}

fn publish(pool: Pool, kind: &'static str, into: &mut Vec<Fact>) {
    let name = || ("pool", pool.name.into());
    if pool.used.is_some() {
        let mode = ("mode", pool.freshness.as_str().into());
        into.extend(Fact::of("pool.freshness", vec![name(), mode], Some(Formula::Constant(Value::Int(1)))));
    }
    let facts = [
        ("pool.used", pool.used),
        ("pool.committed", pool.committed),
        ("pool.limit", pool.limit),
        ("pool.init", pool.init),
    ];
    for (source, formula) in facts {
        into.extend(Fact::of(source, vec![name(), ("type", kind.into())], formula));
    }
}

/// The heap as one: the sums of what every one of its pools tells, and its own limit and start.
fn area(heap: &[Pool], limit: Option<Formula>, init: Option<Formula>, into: &mut Vec<Fact>) {
    let facts = [
        ("area.used", total(heap, |pool| &pool.used)),
        ("area.committed", total(heap, |pool| &pool.committed)),
        ("area.limit", limit),
        ("area.init", init),
    ];
    for (source, formula) in facts {
        into.extend(Fact::of(source, vec![("area", "heap".into())], formula));
    }
}

/// The sum over all pools; nothing where one of them does not tell.
fn total(heap: &[Pool], of: fn(&Pool) -> &Option<Formula>) -> Option<Formula> {
    let parts: Box<[Formula]> = heap.iter().map(|pool| of(pool).clone()).collect::<Option<_>>()?;
    (!parts.is_empty()).then_some(Formula::Total(parts))
}

/// `InitialHeapSize`, where the pools sum up to it. ZGC without generations tells `MinHeapSize` (its bean too).
fn heap_init(jvm: &Jvm, heap: &[Pool]) -> Option<Formula> {
    let is_sum = match jvm.collector? {
        Collector::G1 | Collector::Shenandoah => true,
        Collector::Zgc => heap.len() > 1,
        Collector::Serial | Collector::Parallel | Collector::Cms | Collector::Epsilon => false,
    };
    if is_sum { total(heap, |pool| &pool.init) } else { None }
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
            used: sampled.and_then(|_| counters.word("sun.gc.generation.0.space.0.used")),
            committed: counters.word("sun.gc.generation.0.space.0.capacity"),
            limit: counters.word("sun.gc.generation.0.space.0.maxCapacity"),
            init: None,
        },
        Pool {
            name: survivor,
            freshness,
            // One of the two is empty, and both have one size.
            used: counters.sum(&["sun.gc.generation.0.space.1.used", "sun.gc.generation.0.space.2.used"], &[]),
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
        used: counters.word("sun.gc.generation.1.space.0.used"),
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
        [Some(first), Some(second)] => Some(Formula::Occupied([first, second].into(), crate::fact::Scale::One)),
        _ => None,
    };
    vec![
        Pool {
            name: "PS Eden Space",
            freshness,
            used: sampled.and_then(|_| counters.word("sun.gc.generation.0.space.0.used")),
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
            used: counters.sum(&["sun.gc.generation.0.space.1.used", "sun.gc.generation.0.space.2.used"], &[]),
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
        used: counters.word(&format!("sun.gc.generation.0.space.{space}.used")),
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
            used: counters.word("sun.gc.generation.1.space.0.used"),
            committed: unpadded("sun.gc.generation.1.space.0.capacity"),
            limit: unpadded("sun.gc.generation.1.maxCapacity"),
            init: unpadded("sun.gc.generation.1.space.0.initCapacity"),
        },
    ]
}

/// ZGC writes its sizes in pauses, together with those of metaspace; before the first, they are 0 or a minimum.
fn zgc(counters: &Counters<'_>) -> Vec<Pool> {
    let measured = |name: String| {
        let size = counters.word(&name)?;
        Some(Formula::Once(counters.offset("sun.gc.metaspace.used")?, Box::new(size)))
    };
    let pool = |name, generation: u32, init: &str| Pool {
        name,
        freshness: Freshness::Collection,
        used: measured(format!("sun.gc.generation.{generation}.space.0.used")),
        committed: measured(format!("sun.gc.generation.{generation}.space.0.capacity")),
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
        used: counters.word("sun.gc.generation.1.space.0.used"),
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
        let used: Vec<&str> = used.iter().map(String::as_str).collect();
        let used = if used.is_empty() { None } else { counters.sum(&used, &[]) };
        Pool { name, freshness: Freshness::Sampled, used, committed: None, limit: None, init: None }
    };
    vec![pool("eden space", 0, "eden"), pool("survivor space", 0, "s"), pool("old generation space", 1, "old")]
}

/// Metaspace, which contains Compressed Class Space: never to be added up. A 0 means that there is none, or that
/// nothing has measured it yet.
fn metaspace(jvm: &Jvm, counters: &Counters<'_>) -> [Pool; 2] {
    [
        Pool {
            name: "Metaspace",
            freshness: Freshness::Collection,
            used: counters.nonzero("sun.gc.metaspace.used"),
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
            used: counters.nonzero("sun.gc.compressedclassspace.used"),
            committed: counters.nonzero("sun.gc.compressedclassspace.capacity"),
            limit: counters.nonzero("sun.gc.compressedclassspace.maxCapacity"),
            init: None,
        },
    ]
}
