//! Start time, threads, classes and the JIT compiler: what does not depend on the collector.

use super::counters::Counters;
use crate::fact::{Formula, Scale};

/// Offsets of the counters of platform threads. HotSpot does not count virtual threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadCounters {
    /// `java.threads.live`, daemon threads included.
    pub(crate) live: Option<u32>,
    /// `java.threads.daemon`
    pub(crate) daemon: Option<u32>,
    /// `java.threads.livePeak`
    pub(crate) peak: Option<u32>,
    /// `java.threads.started`
    pub(crate) started: Option<u32>,
}

impl ThreadCounters {
    pub(super) fn of(counters: &Counters<'_>) -> Self {
        Self {
            live: counters.offset("java.threads.live"),
            daemon: counters.offset("java.threads.daemon"),
            peak: counters.offset("java.threads.livePeak"),
            started: counters.offset("java.threads.started"),
        }
    }
}

/// Offsets of the counters of classes: those loaded from class files, then those from the CDS archive, which are the
/// majority since JDK 12. A native image publishes only a constant for class files, and so has none of these.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ClassCounters {
    /// Loaded since start.
    pub(crate) loaded: Option<[u32; 2]>,
    /// Unloaded since start.
    pub(crate) unloaded: Option<[u32; 2]>,
    /// Bytes of metadata of the classes loaded.
    pub(crate) loaded_bytes: Option<[u32; 2]>,
    /// Bytes of metadata of the classes unloaded.
    pub(crate) unloaded_bytes: Option<[u32; 2]>,
    /// Seconds spent loading classes.
    pub(crate) load_time: Option<Formula>,
}

impl ClassCounters {
    pub(super) fn of(counters: &Counters<'_>) -> Self {
        let pair = |own, shared| Some([counters.offset(own)?, counters.offset(shared)?]);
        Self {
            loaded: pair("java.cls.loadedClasses", "java.cls.sharedLoadedClasses"),
            unloaded: pair("java.cls.unloadedClasses", "java.cls.sharedUnloadedClasses"),
            loaded_bytes: pair("sun.cls.loadedBytes", "sun.cls.sharedLoadedBytes"),
            unloaded_bytes: pair("sun.cls.unloadedBytes", "sun.cls.sharedUnloadedBytes"),
            load_time: counters.seconds("sun.cls.time"),
        }
    }
}

/// The counters of the JIT compiler: offsets of numbers, formulas of seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CompilerCounters {
    /// Seconds of finished compilations.
    pub(crate) time: Option<Formula>,
    /// `sun.ci.standardCompiles`
    pub(crate) standard: Option<u32>,
    /// `sun.ci.osrCompiles`: on-stack replacements.
    pub(crate) osr: Option<u32>,
    /// `sun.ci.totalBailouts`
    pub(crate) bailouts: Option<u32>,
    /// `sun.ci.totalInvalidates`
    pub(crate) invalidations: Option<u32>,
}

impl CompilerCounters {
    pub(super) fn of(counters: &Counters<'_>) -> Self {
        Self {
            time: counters.seconds("java.ci.totalTime"),
            standard: counters.offset("sun.ci.standardCompiles"),
            osr: counters.offset("sun.ci.osrCompiles"),
            bailouts: counters.offset("sun.ci.totalBailouts"),
            invalidations: counters.offset("sun.ci.totalInvalidates"),
        }
    }
}

/// The start in seconds since the epoch. `createVmBeginTime` is 0 until the JVM is up, and native images lack it;
/// `vmInitDoneTime` is written earlier, and names a time a fraction of a second after the start.
pub(super) fn start_time(counters: &Counters<'_>) -> Option<Formula> {
    let words = ["sun.rt.createVmBeginTime", "sun.rt.vmInitDoneTime"];
    let words: Box<[u32]> = words.iter().filter_map(|name| counters.offset(name)).collect();
    (!words.is_empty()).then_some(Formula::FirstNonZero(words, Scale::Ratio(1.0, 1000.0)))
}
