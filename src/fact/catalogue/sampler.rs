//! The facts that only sampling between scrapes can provide.

use super::{FactInfo, Since};
use crate::metric::Kind::{Counter, Gauge, Histogram, UpDownCounter};

macro_rules! facts {
    ($($name:ident = $text:literal, $labels:expr, $kind:ident, $unit:literal, $help:literal;)*) => {
        $(pub(crate) const $name: FactInfo =
            FactInfo { name: $text, labels: &$labels, kind: $kind, unit: $unit, help: $help, since: Since::Attached };)*

        /// Every fact that the sampler provides.
        pub(super) const FACTS: &[FactInfo] = &[$($name),*];
    };
}

facts! {
    PAUSE = "gc.pause", ["gc", "action", "cause"], Histogram, "s",
        "Duration of collector pauses since discovery; count and sum are HotSpot's own, cause only where configured.";
    INTERPOLATED = "gc.pauses_interpolated", ["gc", "action"], Counter, "{pause}",
        "Pauses that followed too fast to be measured singly, counted in gc.pause at their mean.";
    PAUSE_MAX = "gc.pause_max", ["gc", "action", "window"], Gauge, "s",
        "Longest pause that ended in the last complete window, 0 if none did.";
    IN_PROGRESS = "gc.in_progress", [], Gauge, "", "Whether a collector has stopped the application (1) or not (0).";
    PAUSE_AGE = "gc.pause_age", [], Gauge, "s", "Time since the current pause began, absent outside pauses.";
    CYCLES = "gc.cycles", ["gc"], Counter, "{cycle}",
        "Concurrent cycles observed from start to end (ZGC, Shenandoah); back-to-back cycles may count as one.";
    CYCLE_TIME = "gc.cycle_time", ["gc"], Counter, "s",
        "Duration of the cycles of gc.cycles, accurate to about 3 percent.";
    AFTER_GC = "pool.after_gc", ["pool", "type"], UpDownCounter, "By",
        "Memory in use in a memory pool at the end of the last collection of any kind.";
    LIVE_SET = "heap.live_set", [], UpDownCounter, "By",
        "Heap memory in use at the end of the last collection of any kind.";
    HEAP_MAX = "heap.used_max", ["window"], Gauge, "By",
        "Peak heap usage in the last complete window (sampled every 50 to 100 ms).";
    THREAD_MAX = "thread.max", ["window"], Gauge, "{thread}",
        "Peak number of live platform threads in the last complete window (sampled every 50 to 100 ms).";
    CLASS_MAX = "class.max", ["window"], Gauge, "{class}",
        "Peak number of loaded classes in the last complete window (sampled every 50 to 100 ms).";
    ALLOCATED = "alloc.bytes", [], Counter, "By",
        "Bytes allocated since discovery, updated at collections; estimated from TLABs, too low for objects of kilobytes.";
    OVERWRITTEN = "alloc.overwritten", [], Counter, "{publication}",
        "Times that generational ZGC may have overwritten an allocation total before it was read.";
}
