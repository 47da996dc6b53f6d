//! Which garbage collector a JVM runs, and which of its counters count pauses.
//!
//! HotSpot has no counter for either; both follow from the names that it publishes (measured on JDK 8 to 27). The
//! ordinals in `sun.gc.collector.N` are sparse and differ in meaning between collectors, so nothing relies on them.

use super::counters::Counters;
use crate::perfdata::Image;

/// A garbage collector of HotSpot, or the collector of the same name in GraalVM native images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Collector {
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
    /// The common name.
    pub(crate) fn name(self) -> &'static str {
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

    /// The collector of the JVM in `image`; `None` for an unknown collector, and while the JVM has not published names.
    pub(crate) fn of(image: &Image) -> Option<Self> {
        let policy = image.text("sun.gc.policy.name").unwrap_or_default();
        match &*policy {
            "GarbageFirst" => return Some(Self::G1),
            "ParScav:MSC" => return Some(Self::Parallel),
            // JDK 8 combines either young collector with either old collector.
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
            // A native image, whose policy's name says how it sizes generations.
            return Some(Self::Serial);
        }
        if !names.is_empty() || image.entry("sun.gc.generation.0.name").is_some() {
            return None;
        }
        match image.text("sun.gc.generation.1.name").as_deref() {
            Some("Heap") => Some(Self::Epsilon),
            // ZGC of JDK 11 publishes no collector names.
            Some("old") => Some(Self::Zgc),
            _ => None,
        }
    }
}

/// The ordinals of collectors are below this in every JDK.
const ORDINALS: u32 = 3;

/// What a pause does to the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Collects the young generation, and possibly part of the old one.
    Young,
    /// Collects the whole heap.
    Full,
    /// A phase of a concurrent cycle: it collects nothing.
    Phase,
    /// A phase of a major collection of generational ZGC: it collects nothing.
    MajorPhase,
}

/// The counters `sun.gc.collector.N.*` of a collector whose `invocations` and `time` count pauses, by their offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PauseCounters {
    /// The name of the GarbageCollectorMXBean that counts the same pauses: `jvm.gc.name`.
    pub(crate) gc: &'static str,
    /// The action in the bean's notifications: `jvm.gc.action`.
    pub(crate) action: &'static str,
    /// What the pauses do.
    pub(crate) role: Role,
    /// `invocations`
    pub(crate) invocations: Option<u32>,
    /// `time`, in ticks.
    pub(crate) time: Option<u32>,
    /// `lastEntryTime`, in ticks.
    pub(crate) last_entry: Option<u32>,
    /// `lastExitTime`, in ticks.
    pub(crate) last_exit: Option<u32>,
}

/// The collectors whose counters count pauses. There is none for Shenandoah, which counts nested concurrent phases as
/// collections (measured up to JDK 27), and for Epsilon, which does not collect.
///
/// CMS of JDK 11 counts the pauses of its concurrent cycles, two each, apart from its foreground collections
/// (JDK-8153333), CMS of JDK 8 together with them; both are `ConcurrentMarkSweep` here.
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

/// Bean, action and role of the collector whose name in PerfData is `name`.
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
        "CMS" => ("ConcurrentMarkSweep", MAJOR),
        "CMS stop-the-world phases" => ("ConcurrentMarkSweep", (MAJOR.0, Role::Phase)),
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
