//! The sampler's values as facts that rules may name.

use std::sync::Arc;
use std::time::Duration;

use super::Settings;
use super::allocation::Rule;
use super::peak::WINDOWS;
use super::watchlist::Watchlist;
use crate::formula::{BoardId, CellId, Formula, Since};
use crate::hotspot::{Fact, SourceInfo};
use crate::metric::Kind::{self, Counter, Gauge, Histogram, UpDownCounter};
use crate::snapshot::share;

/// One value of a JVM's board. Numbers are indexes into the watchlist, the known causes or the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Pauses(usize),
    PausesByCause(usize),
    Interpolated(usize),
    LongestPause(usize, usize),
    InProgress,
    PauseAge,
    Cycles,
    CycleTime,
    PoolSurvivors(usize),
    LiveSet,
    HeapPeak(usize),
    ThreadPeak(usize),
    ClassPeak(usize),
    Allocated,
    Overwritten,
}

macro_rules! sources {
    ($($name:ident = $text:literal, $labels:expr, $kind:ident, $unit:literal, $help:literal;)*) => {
        $(const $name: SourceInfo =
            SourceInfo { name: $text, labels: &$labels, kind: $kind, unit: $unit, help: $help };)*

        /// Every source that the sampler gives.
        pub const SOURCES: &[SourceInfo] = &[$($name),*];
    };
}

sources! {
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

/// What the board of a JVM with this watchlist shows, before any cause is known.
pub(super) fn cells(list: &Watchlist, causes: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    let windows = || 0..WINDOWS;
    for number in 0..list.pauses.len() {
        if !causes {
            cells.push(Cell::Pauses(number));
        }
        cells.push(Cell::Interpolated(number));
        cells.extend(windows().map(|window| Cell::LongestPause(number, window)));
    }
    if !list.pauses.is_empty() {
        cells.extend([Cell::InProgress, Cell::PauseAge]);
    }
    if list.cycles.is_some() {
        cells.extend([Cell::Cycles, Cell::CycleTime]);
    }
    if list.survivors.is_some() && !list.pools.is_empty() {
        cells.extend((0..list.pools.len()).map(Cell::PoolSurvivors).chain([Cell::LiveSet]));
    }
    if list.heap_peak && !list.pools.is_empty() {
        cells.extend(windows().map(Cell::HeapPeak));
    }
    if list.threads.is_some() {
        cells.extend(windows().map(Cell::ThreadPeak));
    }
    if list.classes.is_some() {
        cells.extend(windows().map(Cell::ClassPeak));
    }
    if let Some(source) = list.allocation {
        cells.push(Cell::Allocated);
        if source.rule == Rule::Overwritten {
            cells.push(Cell::Overwritten);
        }
    }
    cells.shrink_to_fit();
    cells
}

/// The facts of these cells, in their order; `causes` are the known ones with their collectors.
pub(super) fn facts(cells: &[Cell], list: &Watchlist, settings: &Settings, causes: &[(usize, &str)]) -> Arc<[Fact]> {
    let pause = |number: usize| {
        let source = list.pauses.get(number);
        let text = |text: Option<&Box<str>>| text.cloned().unwrap_or_default();
        vec![("gc", text(source.map(|source| &source.gc))), ("action", text(source.map(|source| &source.action)))]
    };
    let window =
        |at: usize| ("window", settings.windows.get(at).map(|length| window_label(*length)).unwrap_or_default());
    let collector = || vec![("gc", list.cycles.map(|(gc, _)| gc).unwrap_or_default().into())];
    let all = cells.iter().zip(0..).map(|(cell, index)| {
        let (source, labels): (SourceInfo, Vec<(&'static str, Box<str>)>) = match *cell {
            Cell::Pauses(number) => (PAUSE, pause(number)),
            Cell::PausesByCause(at) => {
                let (number, cause) = causes.get(at).copied().unwrap_or_default();
                (PAUSE, [pause(number), vec![("cause", cause.into())]].concat())
            }
            Cell::Interpolated(number) => (INTERPOLATED, pause(number)),
            Cell::LongestPause(number, at) => (PAUSE_MAX, [pause(number), vec![window(at)]].concat()),
            Cell::InProgress => (IN_PROGRESS, vec![]),
            Cell::PauseAge => (PAUSE_AGE, vec![]),
            Cell::Cycles => (CYCLES, collector()),
            Cell::CycleTime => (CYCLE_TIME, collector()),
            Cell::PoolSurvivors(at) => {
                let pool = list.pools.get(at).map(|pool| pool.pool.clone()).unwrap_or_default();
                (AFTER_GC, vec![("pool", pool), ("type", "heap".into())])
            }
            Cell::LiveSet => (LIVE_SET, vec![]),
            Cell::HeapPeak(at) => (HEAP_MAX, vec![window(at)]),
            Cell::ThreadPeak(at) => (THREAD_MAX, vec![window(at)]),
            Cell::ClassPeak(at) => (CLASS_MAX, vec![window(at)]),
            Cell::Allocated => (ALLOCATED, vec![]),
            Cell::Overwritten => (OVERWRITTEN, vec![]),
        };
        let SourceInfo { name, kind, unit, .. } = source;
        let kind: Kind = kind;
        let formula = Formula::Cell(CellId { board: BoardId::Sampler, index }, Since::Attached);
        Fact { source: name, labels, kind, unit, formula }
    });
    share(all.collect())
}

/// A window's length as a label: whole seconds where it is so.
fn window_label(length: Duration) -> Box<str> {
    match length.subsec_millis() {
        0 => format!("{}s", length.as_secs()),
        _ => format!("{}ms", length.as_millis()),
    }
    .into()
}
