//! The true units of counters, where HotSpot's label is wrong or missing.

use crate::fact::Scale;
use crate::perfdata::Units;

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    /// Bytes.
    Bytes,
    /// Words of the heap, 8 bytes each on 64-bit systems.
    HeapWords,
    /// Ticks of `sun.os.hrt.frequency`.
    Ticks,
    /// Nanoseconds.
    Nanoseconds,
    /// Milliseconds since 1970.
    EpochMilliseconds,
    /// Milliseconds of duration.
    Milliseconds,
    /// Percent.
    Percent,
    /// Number of objects or events.
    Count,
    /// Ticks per second.
    Hertz,
    /// A string.
    Text,
    /// A number of unknown unit.
    Plain,
}

impl Unit {
    /// The metric's unit in UCUM; empty for plain numbers and text.
    pub(crate) fn ucum(self) -> &'static str {
        match self {
            Self::Bytes | Self::HeapWords => "By",
            Self::Ticks | Self::Nanoseconds | Self::EpochMilliseconds | Self::Milliseconds => "s",
            Self::Percent => "1",
            Self::Hertz => "Hz",
            Self::Count | Self::Text | Self::Plain => "",
        }
    }

    /// Converts the counter's word to [`Self::ucum`]. `frequency` is the JVM's `sun.os.hrt.frequency`, above 0; only
    /// ticks use it.
    pub(crate) fn scale(self, frequency: f64) -> Scale {
        match self {
            Self::HeapWords => Scale::Ratio(8.0, 1.0),
            Self::Ticks => Scale::Ratio(1.0, frequency),
            Self::Nanoseconds => Scale::Ratio(1.0, 1e9),
            Self::EpochMilliseconds | Self::Milliseconds => Scale::Ratio(1.0, 1e3),
            Self::Percent => Scale::Ratio(1.0, 1e2),
            Self::Bytes | Self::Count | Self::Hertz | Self::Text | Self::Plain => Scale::One,
        }
    }
}

/// The true unit of the counter of that name, where HotSpot's label is `units`.
///
/// A correction applies only to the label that is known to be wrong, so that a JDK with a correct label is not
/// affected.
pub(crate) fn correct(name: &str, units: Units) -> Unit {
    match units {
        Units::Bytes => match name {
            // compileBroker.cpp labels the number of compiler threads U_Bytes, JDK 8 to 25.
            "sun.ci.threads" => Unit::Count,
            _ if is_tlab_waste(name) => Unit::HeapWords,
            _ => Unit::Bytes,
        },
        Units::Ticks => match name {
            // classLoader.cpp labels this event counter U_Ticks, JDK 8 to 25.
            "sun.cls.defineAppClasses" => Unit::Count,
            "sun.threads.total_gc_cpu_time" => Unit::Nanoseconds,
            _ if name.starts_with("sun.threads.cpu_time.") => Unit::Nanoseconds,
            _ => name.strip_prefix("sun.gc.policy.").map_or(Unit::Ticks, policy),
        },
        Units::None => match name {
            "sun.rt.createVmBeginTime" | "sun.rt.createVmEndTime" | "sun.rt.vmInitDoneTime" => Unit::EpochMilliseconds,
            _ if is_java_time(name) => Unit::Nanoseconds,
            _ => Unit::Plain,
        },
        Units::Events => Unit::Count,
        Units::String => Unit::Text,
        Units::Hertz => Unit::Hertz,
        Units::Unknown(_) => Unit::Plain,
    }
}

/// `publish` of threadLocalAllocBuffer.cpp stores HeapWords and labels them bytes, JDK 8 to 25; the labels of the other
/// `sun.gc.tlab` counters are correct.
fn is_tlab_waste(name: &str) -> bool {
    name.strip_prefix("sun.gc.tlab.").is_some_and(|part| part == "alloc" || part.ends_with("Waste"))
}

/// `jdk.internal.perf.PerfCounter` (`sun.misc.PerfCounter` in JDK 8) labels everything "none"; its times are
/// differences of `System.nanoTime`.
fn is_java_time(name: &str) -> bool {
    let java = ["sun.classloader.", "sun.urlClassLoader.", "sun.zip.", "jdk.module."];
    name.ends_with("Time") && java.iter().any(|prefix| name.starts_with(prefix))
}

/// gcAdaptivePolicyCounters.cpp and psGCAdaptivePolicyCounters.cpp label all of these ticks, and none is, JDK 8 to 25.
fn policy(name: &str) -> Unit {
    if name.ends_with("PauseTime") || name.ends_with("IntervalTime") || name == "minorPauseTime" {
        Unit::Milliseconds
    } else if name.ends_with("GcCost") && !name.contains("Threshold") || name == "mutatorCost" {
        Unit::Percent
    } else {
        Unit::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrong_labels_are_corrected() {
        for (name, units, expected) in [
            ("sun.gc.tlab.alloc", Units::Bytes, Unit::HeapWords),
            ("sun.gc.tlab.maxRefillWaste", Units::Bytes, Unit::HeapWords),
            ("sun.gc.tlab.fills", Units::None, Unit::Plain),
            ("sun.ci.threads", Units::Bytes, Unit::Count),
            ("sun.ci.threads", Units::None, Unit::Plain),
            ("sun.cls.defineAppClasses", Units::Ticks, Unit::Count),
            ("sun.cls.time", Units::Ticks, Unit::Ticks),
            ("sun.rt.vmInitDoneTime", Units::None, Unit::EpochMilliseconds),
            ("sun.zip.zipFile.openTime", Units::None, Unit::Nanoseconds),
            ("sun.classloader.findClasses", Units::None, Unit::Plain),
            ("sun.classloader.findClassTime", Units::None, Unit::Nanoseconds),
            ("sun.gc.policy.avgMinorPauseTime", Units::Ticks, Unit::Milliseconds),
            ("sun.gc.policy.minorGcCost", Units::Ticks, Unit::Percent),
            ("sun.gc.policy.decrementTenuringThresholdForGcCost", Units::Ticks, Unit::Plain),
            ("sun.gc.policy.avgOldLive", Units::Bytes, Unit::Bytes),
            ("sun.gc.collector.0.lastEntryTime", Units::Ticks, Unit::Ticks),
            ("sun.os.hrt.frequency", Units::Hertz, Unit::Hertz),
            ("anything", Units::Unknown(9), Unit::Plain),
        ] {
            assert_eq!(correct(name, units), expected, "{name} labelled {units}");
        }
    }
}
