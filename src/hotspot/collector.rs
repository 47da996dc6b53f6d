//! Which garbage collector a JVM runs, and what its collectors are called.
//!
//! HotSpot has no counter for either; both follow from names (JDK 8 to 27, measured). The ordinals in
//! `sun.gc.collector.N` are sparse and mean different things, so nothing here relies on them.

use super::counters::Counters;
use crate::fact::Fact;
use crate::fact::Formula;
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

/// A `sun.gc.collector.N` whose `invocations` and `time` mean pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The N.
    pub ordinal: u32,
    /// The name of the GarbageCollectorMXBean that counts the same.
    pub gc: &'static str,
    /// The action that the bean's notifications name.
    pub action: &'static str,
}

/// The collectors of the JVM in `image` whose counters can be believed. None for Shenandoah, which lets nested
/// concurrent phases count as collections (every JDK to 27, measured), and for Epsilon, which collects nothing.
///
/// CMS on JDK 11 counts the pauses of its cycles apart from the collections in the foreground (JDK-8153333), on JDK 8
/// together with them; both are `ConcurrentMarkSweep` here.
pub fn pauses(image: &Image) -> Vec<Pauses> {
    let native = super::is_native_image(image);
    let pauses = |ordinal| {
        let name = image.text(&format!("sun.gc.collector.{ordinal}.name"))?;
        let (gc, action) = bean(&name, native)?;
        Some(Pauses { ordinal, gc, action })
    };
    (0..ORDINALS).filter_map(pauses).collect()
}

/// Bean and action of the collector that PerfData calls `name`.
fn bean(name: &str, native: bool) -> Option<(&'static str, &'static str)> {
    const MINOR: &str = "end of minor GC";
    const MAJOR: &str = "end of major GC";
    const PAUSE: &str = "end of GC pause";
    Some(match name {
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
        "G1 stop-the-world phases" | "G1 concurrent cycle pauses" => ("G1 Concurrent GC", "end of concurrent GC pause"),
        "Z concurrent cycle pauses" => ("ZGC Pauses", PAUSE),
        "ZGC minor collection pauses" => ("ZGC Minor Pauses", PAUSE),
        "ZGC major collection pauses" => ("ZGC Major Pauses", PAUSE),
        _ => return None,
    })
}

/// `gc.*`
pub(super) fn facts(image: &Image, counters: &Counters<'_>, into: &mut Vec<Fact>) {
    let pauses = pauses(image);
    let mut beans: Vec<&Pauses> = Vec::new();
    for one in &pauses {
        if !beans.iter().any(|other| other.gc == one.gc) {
            beans.push(one);
        }
    }
    for bean in beans {
        let names = |what: &str| -> Vec<String> {
            let same = pauses.iter().filter(|one| one.gc == bean.gc);
            same.map(|one| format!("sun.gc.collector.{}.{what}", one.ordinal)).collect()
        };
        let (invocations, times) = (names("invocations"), names("time"));
        let count = counters.sum(&borrowed(&invocations), &[]);
        let time = counters.seconds_of(&borrowed(&times), &[]);
        let labels = || vec![("gc", bean.gc.into()), ("action", bean.action.into())];
        if let (Some(count), Some(time)) = (&count, &time) {
            let formula = Formula::Summary(Box::new((count.clone(), time.clone())));
            into.extend(Fact::of("gc.total", vec![("gc", bean.gc.into())], Some(formula)));
        }
        into.extend(Fact::of("gc.count", labels(), count));
        into.extend(Fact::of("gc.time", labels(), time));
    }
    let threads = ["parallel_workers", "conc_mark", "conc_refine", "conc_refine_control", "service"];
    for thread in threads {
        let time = counters.seconds(&format!("sun.threads.cpu_time.gc_{thread}"));
        into.extend(Fact::of("gc.cpu_time", vec![("thread", thread.into())], time));
    }
    // String deduplication is the collector's, though its counter's name does not say so.
    let time = counters.seconds("sun.threads.cpu_time.conc_dedup");
    into.extend(Fact::of("gc.cpu_time", vec![("thread", "conc_dedup".into())], time));
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
