//! Which garbage collector a JVM runs, what its collectors are called, and what their pauses mean.
//!
//! HotSpot has no counter for either; both follow from names (JDK 8 to 27, measured). The ordinals in
//! `sun.gc.collector.N` are sparse and mean different things, so nothing here relies on them.

use super::counters::Counters;
use crate::perfdata::Image;

/// A garbage collector of HotSpot, or the one of the same name in GraalVM native images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collector {
    /// `-XX:+UseSerialGC`; on JDK 8 also with ParNew as its young collector.
    Serial,
    /// `-XX:+UseParallelGC`.
    Parallel,
    /// `-XX:+UseConcMarkSweepGC`, until JDK 13.
    Cms,
    /// `-XX:+UseG1GC`.
    G1,
    /// `-XX:+UseZGC`, generational or not.
    Zgc,
    /// `-XX:+UseShenandoahGC`, generational or not.
    Shenandoah,
    /// `-XX:+UseEpsilonGC`.
    Epsilon,
}

impl Collector {
    /// The name that operators know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serial => "Serial",
            Self::Parallel => "Parallel",
            Self::Cms => "CMS",
            Self::G1 => "G1",
            Self::Zgc => "ZGC",
            Self::Shenandoah => "Shenandoah",
            Self::Epsilon => "Epsilon",
        }
    }

    /// The collector of the JVM in `image`; `None` for one of another make, or while the names are not there yet.
    pub fn of(image: &Image) -> Option<Self> {
        let policy = image.text("sun.gc.policy.name").unwrap_or_default();
        match &*policy {
            "GarbageFirst" => return Some(Self::G1),
            "ParScav:MSC" => return Some(Self::Parallel),
            // JDK 8 pairs either young collector with either old one.
            "Copy:MSC" | "ParNew:MSC" => return Some(Self::Serial),
            "ParNew:CMS" | "Copy:CMS" => return Some(Self::Cms),
            _ => {}
        }
        let names: Vec<_> = (0..ORDINALS).filter_map(|n| image.text(&format!("sun.gc.collector.{n}.name"))).collect();
        let any = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        if any("Z") {
            return Some(Self::Zgc);
        }
        if any("Shenandoah") {
            return Some(Self::Shenandoah);
        }
        if any("Serial") {
            // A native image; its policy is named after how it sizes generations.
            return Some(Self::Serial);
        }
        if !names.is_empty() || image.entry("sun.gc.generation.0.name").is_some() {
            return None;
        }
        match image.text("sun.gc.generation.1.name").as_deref() {
            Some("Heap") => Some(Self::Epsilon),
            // ZGC of JDK 11 names no collectors.
            Some("old") => Some(Self::Zgc),
            _ => None,
        }
    }
}

/// One more than the largest ordinal of a collector, in every JDK.
const ORDINALS: u32 = 3;

/// What a kind of pause means for the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Collects the young generation, and perhaps some of the old one.
    Young,
    /// Collects the whole heap.
    Full,
    /// A phase of a concurrent cycle: nothing is collected in it.
    Phase,
    /// Likewise, of a major collection of generational ZGC.
    MajorPhase,
}

/// A `sun.gc.collector.N` whose `invocations` and `time` mean pauses. Offsets are those of its counters in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseCounters {
    /// The name of the GarbageCollectorMXBean that counts the same, `jvm.gc.name`.
    pub gc: &'static str,
    /// The action that the bean's notifications name, `jvm.gc.action`.
    pub action: &'static str,
    /// What its pauses do.
    pub role: Role,
    /// `invocations`
    pub invocations: Option<u32>,
    /// `time`, in ticks.
    pub time: Option<u32>,
    /// `lastEntryTime`, in ticks.
    pub last_entry: Option<u32>,
    /// `lastExitTime`, in ticks.
    pub last_exit: Option<u32>,
}

/// The collectors whose counters can be believed. None for Shenandoah, which lets nested concurrent phases count as
/// collections (every JDK to 27, measured), and for Epsilon, which collects nothing.
///
/// CMS on JDK 11 counts the pauses of its cycles apart from the collections in the foreground (JDK-8153333), on JDK 8
/// together with them; both are `ConcurrentMarkSweep` here.
pub(super) fn pauses(counters: &Counters<'_>, native_image: bool) -> Vec<PauseCounters> {
    let pauses = |ordinal| {
        let name = counters.text(&format!("sun.gc.collector.{ordinal}.name"))?;
        let (gc, action, role) = bean(&name, native_image)?;
        let word = |leaf| counters.offset(&format!("sun.gc.collector.{ordinal}.{leaf}"));
        Some(PauseCounters {
            gc,
            action,
            role,
            invocations: word("invocations"),
            time: word("time"),
            last_entry: word("lastEntryTime"),
            last_exit: word("lastExitTime"),
        })
    };
    (0..ORDINALS).filter_map(pauses).collect()
}

/// Bean, action and role of the collector that PerfData calls `name`.
fn bean(name: &str, native: bool) -> Option<(&'static str, &'static str, Role)> {
    const MINOR: (&str, Role) = ("end of minor GC", Role::Young);
    const MAJOR: (&str, Role) = ("end of major GC", Role::Full);
    const PAUSE: (&str, Role) = ("end of GC pause", Role::Phase);
    const MAJOR_PAUSE: (&str, Role) = ("end of GC pause", Role::MajorPhase);
    const CONCURRENT: (&str, Role) = ("end of concurrent GC pause", Role::Phase);
    let (gc, (action, role)) = match name {
        "Serial young collection pauses" if native => ("young generation scavenger", MINOR),
        "Serial full collection pauses" if native => ("complete scavenger", MAJOR),
        "Copy" | "Serial young collection pauses" => ("Copy", MINOR),
        "MSC" | "Serial full collection pauses" => ("MarkSweepCompact", MAJOR),
        "PSScavenge" | "Parallel young collection pauses" => ("PS Scavenge", MINOR),
        "PSParallelCompact" | "PSMarkSweep" | "Parallel full collection pauses" => ("PS MarkSweep", MAJOR),
        "PCopy" => ("ParNew", MINOR),
        "CMS" | "CMS stop-the-world phases" => ("ConcurrentMarkSweep", MAJOR),
        "G1 incremental collections" | "G1 young collection pauses" => ("G1 Young Generation", MINOR),
        "G1 stop-the-world full collections" | "G1 full collection pauses" => ("G1 Old Generation", MAJOR),
        // The bean exists since JDK 20 (JDK-8297247); the counter is older.
        "G1 stop-the-world phases" | "G1 concurrent cycle pauses" => ("G1 Concurrent GC", CONCURRENT),
        "Z concurrent cycle pauses" => ("ZGC Pauses", PAUSE),
        "ZGC minor collection pauses" => ("ZGC Minor Pauses", PAUSE),
        "ZGC major collection pauses" => ("ZGC Major Pauses", MAJOR_PAUSE),
        _ => return None,
    };
    Some((gc, action, role))
}
