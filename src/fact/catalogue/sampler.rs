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
        "Lengths of the pauses since the exporter saw the JVM; count and sum are HotSpot's own, cause only where asked for.";
    INTERPOLATED = "gc.pauses_interpolated", ["gc", "action"], Counter, "{pause}",
        "Pauses that came too fast to be told apart, counted in gc.pause at their mean length.";
    PAUSE_MAX = "gc.pause_max", ["gc", "action", "window"], Gauge, "s",
        "Longest pause that ended in the last whole window of the wall clock, 0 where none did.";
    IN_PROGRESS = "gc.in_progress", [], Gauge, "", "1 while a collector has stopped the program.";
    PAUSE_AGE = "gc.pause_age", [], Gauge, "s", "How long the running pause has lasted; absent while none runs.";
    CYCLES = "gc.cycles", ["gc"], Counter, "{cycle}",
        "Concurrent cycles seen from start to end (ZGC, Shenandoah); back-to-back cycles may count as one.";
    CYCLE_TIME = "gc.cycle_time", ["gc"], Counter, "s",
        "Time in the cycles of gc.cycles, to within about 3 percent.";
    AFTER_GC = "pool.after_gc", ["pool", "type"], UpDownCounter, "By",
        "Bytes in use in a memory pool when the last collection of any kind had ended.";
    LIVE_SET = "heap.live_set", [], UpDownCounter, "By",
        "Bytes in use in the heap when the last collection of any kind had ended.";
    HEAP_MAX = "heap.used_max", ["window"], Gauge, "By",
        "Most bytes in use in the heap in the last whole window of the wall clock, as seen every 50 to 100 ms.";
    THREAD_MAX = "thread.max", ["window"], Gauge, "{thread}",
        "Most live platform threads in the last whole window of the wall clock, as seen every 50 to 100 ms.";
    CLASS_MAX = "class.max", ["window"], Gauge, "{class}",
        "Most loaded classes in the last whole window of the wall clock, as seen every 50 to 100 ms.";
    ALLOCATED = "alloc.bytes", [], Counter, "By",
        "Bytes that the program allocated since the exporter saw it: an estimate from TLABs, typically 10 percent low \
         to 2 percent high and far too low where most objects are of several kilobytes, that grows at collections only.";
    OVERWRITTEN = "alloc.overwritten", [], Counter, "{publication}",
        "Times that generational ZGC may have overwritten what it had published before it was seen; those bytes are \
         missing from alloc.bytes.";
}
