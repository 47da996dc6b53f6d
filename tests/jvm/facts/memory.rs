//! Pools, code heaps, the whole heap and both areas between answers of the memory beans.

use std::time::Duration;

use super::{Case, Source};
use crate::support::ensure;
use crate::support::facts::{Beans, Bracket};
use crate::support::jdk::{Collector, Jdk};
use crate::support::jvm::{Pool, Usage};

/// Bytes of code, or of classes, that may come and go between two answers.
const UNSEEN_CODE: f64 = 65_536.0;

/// Bytes of metaspace that a JVM may take after a collection without loading a class: counters of methods and the like.
const UNSEEN_METASPACE: f64 = 16_384.0;

/// Epsilon updates its counters after so many allocated bytes (EpsilonUpdateCountersStep).
const EPSILON_STEP: f64 = 1_048_576.0;

/// How the published use of a pool relates to the bean's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The same number, or one from a moment ago.
    Now,
    /// That of the end of the last collection.
    AfterCollection,
    /// That of some pause: only its range can be checked.
    Sometime,
    /// Not at all.
    Never,
}

impl Known {
    fn of(case: &Case, pool: &Pool) -> Self {
        let is_extended = case.source != Source::Region;
        let name = pool.name.as_str();
        match case.collector {
            _ if is_code(name) && (case.source == Source::Region || !has_code(case)) => Self::Never,
            // JDK-8241678 removed the sampler of eden.
            Collector::Serial | Collector::Parallel
                if case.jdk.feature >= 25 && name.contains("Eden") && !is_extended =>
            {
                Self::Never
            }
            // No type that HotSpot exports tells the generations apart.
            _ if name.starts_with("ZGC ") => Self::Sometime,
            _ if name == "ZHeap" && !is_extended => Self::Sometime,
            _ if is_metaspace(name) && !is_metaspace_asked(case, name) => Self::AfterCollection,
            _ => Self::Now,
        }
    }
}

fn is_code(name: &str) -> bool {
    name.contains("Code")
}

fn is_metaspace(name: &str) -> bool {
    name == "Metaspace" || name == "Compressed Class Space"
}

/// JDK 8 has no command for code heaps.
fn has_code(case: &Case) -> bool {
    case.source == Source::Introspection || case.jdk.feature >= 11
}

/// ZGC of JDK 11 says nothing of the class space.
fn is_metaspace_asked(case: &Case, name: &str) -> bool {
    let is_silent = case.jdk.feature == 11 && case.is_z() && name != "Metaspace";
    case.source == Source::Diagnostics && is_metaspace(name) && !is_silent
}

/// What a JVM says that stands still after a collection: every byte is the same.
pub(super) fn still(bracket: &mut Bracket, case: &Case) {
    pools(bracket, case, true);
    heap(bracket, case);
    areas(bracket, case);
}

/// What a JVM says while it makes garbage and code.
pub(super) fn moving(bracket: &mut Bracket, case: &Case) {
    pools(bracket, case, false);
    heap(bracket, case);
}

fn pools(bracket: &mut Bracket, case: &Case, is_still: bool) {
    let rounding = case.source.rounding();
    for pool in bracket.last().pools.clone() {
        let name = pool.name.as_str();
        let of = |value: fn(&Usage) -> i64| move |beans: &Beans| Some(value(&beans.pool(name)?.usage));
        let kind = if pool.kind == "HEAP" { "heap" } else { "non_heap" };
        let labels = [("jvm_memory_type", kind), ("jvm_memory_pool_name", name)];
        let tolerance = match () {
            () if pool.kind == "HEAP" => bracket.unseen + rounding + step(case),
            () if is_still => rounding,
            () => rounding + UNSEEN_CODE,
        };
        let used = "jvm_memory_used_bytes";
        match Known::of(case, &pool) {
            Known::Never => {
                bracket.absent(used, &labels);
                continue;
            }
            Known::Now => bracket.inside(used, &labels, tolerance, of(|usage| usage.used)),
            Known::AfterCollection if is_still => {
                bracket.inside(used, &labels, rounding + UNSEEN_METASPACE, of(|usage| usage.used));
            }
            Known::AfterCollection => continue,
            Known::Sometime => {
                let most = bracket.last().heap.max as f64;
                bracket.between(used, &labels, 0.0, most);
                bracket.between("jvm_memory_committed_bytes", &labels, 0.0, most);
                continue;
            }
        }
        bracket.inside("jvm_memory_committed_bytes", &labels, rounding, of(|usage| usage.committed));
        let limit = "jvm_memory_limit_bytes";
        if pool.usage.max < 0 {
            bracket.absent(limit, &labels);
        } else {
            bracket.inside(limit, &labels, rounding, of(|usage| usage.max));
        }
        bracket.inside_if_there("jvm_memory_init_bytes", &labels, rounding, of(|usage| usage.init));
        freshness(bracket, case, name);
    }
}

/// A pool has one way by which it is known, and says so.
fn freshness(bracket: &mut Bracket, case: &Case, name: &str) {
    let labels = [("jvm_memory_pool_name", name)];
    let found = bracket.page.all("jvm_hotspot_memory_pool_freshness_info", &labels);
    let modes: Vec<String> = found.filter_map(|sample| sample.labels.get("mode").cloned()).collect();
    let expected: &[&str] = match case.source {
        Source::Introspection if is_code(name) => &["live"],
        Source::Diagnostics if is_code(name) || is_metaspace_asked(case, name) => &["asked"],
        _ => &["live", "asked", "sampled", "gc", "pause"],
    };
    if modes.len() != 1 || !expected.contains(&modes[0].as_str()) {
        bracket.differences.push(format!("freshness of {name}: {modes:?}, not one of {expected:?}"));
    }
}

fn step(case: &Case) -> f64 {
    if case.collector == Collector::Epsilon { EPSILON_STEP } else { 0.0 }
}

/// The whole heap. CMS has free lists that nobody can add up from outside.
fn heap(bracket: &mut Bracket, case: &Case) {
    let tolerance = bracket.unseen + case.source.rounding() + step(case);
    let is_expected = case.source != Source::Region && case.collector != Collector::ConcMarkSweep;
    for (name, tolerance, value) in [
        ("jvm_hotspot_heap_used_bytes", tolerance, (|beans| Some(beans.heap.used)) as fn(&Beans) -> Option<i64>),
        ("jvm_hotspot_heap_committed_bytes", case.source.rounding(), |beans| Some(beans.heap.committed)),
    ] {
        if is_expected {
            bracket.inside(name, &[], tolerance, value);
        } else {
            bracket.inside_if_there(name, &[], tolerance, value);
        }
    } // The bean's maximum lacks the survivor space that is empty.
    let name = "jvm_hotspot_heap_limit_bytes";
    if is_expected || bracket.page.value(name, &[]).is_some() {
        let least = bracket.last().heap.max as f64;
        bracket.between(name, &[], least, case.heap_maximum);
    }
}

/// The areas of the Java client: heap, and the pools that are not of it, added up as the bean does.
fn areas(bracket: &mut Bracket, case: &Case) {
    if case.source == Source::Region {
        return;
    }
    let rounding = case.source.rounding() * bracket.last().pools.len() as f64;
    // The bean counts the class space twice.
    let metaspace = if case.source == Source::Introspection { 2.0 * UNSEEN_METASPACE } else { 0.0 };
    for (name, tolerance, value) in [
        ("jvm_memory_used_bytes", metaspace, (|usage| usage.used) as fn(&Usage) -> i64),
        ("jvm_memory_committed_bytes", 0.0, |usage| usage.committed),
    ] {
        if has_code(case) {
            let labels = [("area", "nonheap")];
            bracket.inside(name, &labels, rounding + tolerance, |beans| Some(value(&beans.nonheap)));
        }
        if case.collector != Collector::ConcMarkSweep {
            let labels = [("area", "heap")];
            bracket.inside(name, &labels, rounding + step(case), |beans| Some(value(&beans.heap)));
        }
    }
}

/// What the exporter and the bean say that this JVM has allocated.
struct Allocated {
    counted: f64,
    least: f64,
    most: f64,
}

impl Allocated {
    fn of(bracket: &Bracket) -> Result<Self, String> {
        let name = "jvm_hotspot_allocated_bytes_total";
        let counted = bracket.page.value(name, &[]).ok_or(format!("no {name}"))?;
        let exact = bracket.page.value("jvm_hotspot_allocated_source_info", &[("mode", "exact")]);
        ensure(exact == Some(1.0), "it is not exact")?;
        let (least, most) = bracket.range(|beans| Some(beans.allocated)).ok_or("no bean")?;
        Ok(Self { counted, least, most })
    }
}

/// Whether the exporter counts all bytes that a JVM allocates which stood still in this bracket.
pub(super) fn allocation(case: &mut Case, before: &Bracket) {
    let result = Allocated::of(before).and_then(|before| {
        case.facts.obey("allocate 20");
        // It is read in every interval.
        let (age, exporter) = (Duration::from_secs(1), &case.exporter);
        let after = Allocated::of(&case.facts.still(age, |pid| super::look(exporter, pid))?)?;
        let (grown, least, most) =
            (after.counted - before.counted, after.least - before.most, after.most - before.least);
        ensure(least <= grown && grown <= most, format!("{grown} bytes, not {least} to {most}"))
    });
    case.note("allocation", result);
}

/// G1's regions of humongous objects, of a megabyte each in a heap this small.
pub(super) fn humongous(bracket: &mut Bracket, case: &Case) {
    let name = "jvm_hotspot_g1_humongous_bytes";
    if case.collector == Collector::G1 {
        bracket.equal(name, &[], 5.0 * 1024.0 * 1024.0);
    } else {
        bracket.absent(name, &[]);
    }
}

/// Direct and mapped buffers, where the objects of the class library can be read.
pub(super) fn buffers(bracket: &mut Bracket, case: &Case) {
    let is_expected = case.jdk.feature >= 11 && !case.is_z();
    for pool in ["direct", "mapped"] {
        for (metric, client, value) in [
            (
                "jvm_buffer_memory_used_bytes",
                "jvm_buffer_pool_used_bytes",
                (|beans, pool| Some(beans.buffer(pool)?.used)) as fn(&Beans, &str) -> Option<i64>,
            ),
            ("jvm_buffer_memory_limit_bytes", "jvm_buffer_pool_capacity_bytes", |beans, pool| {
                Some(beans.buffer(pool)?.capacity)
            }),
            ("jvm_buffer_count", "jvm_buffer_pool_used_buffers", |beans, pool| Some(beans.buffer(pool)?.count)),
        ] {
            for (name, label) in [(metric, "jvm_buffer_pool_name"), (client, "pool")] {
                let labels = [(label, pool)];
                if is_expected {
                    bracket.inside(name, &labels, 0.0, |beans| value(beans, pool));
                } else {
                    bracket.inside_if_there(name, &labels, 0.0, |beans| value(beans, pool));
                }
            }
        }
    }
}

/// `Other` of native memory: direct buffers, and little else in a JVM without other users of it.
pub(super) fn direct(bracket: &mut Bracket, jdk: &Jdk) {
    if jdk.feature >= 11 {
        let (least, most) = bracket.range(|beans| Some(beans.buffer("direct")?.used)).unwrap_or_default();
        bracket.between("jvm_nmt_direct_bytes", &[], least, most + 65_536.0);
    }
}
