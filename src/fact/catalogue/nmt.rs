//! The facts that Native Memory Tracking provides.

use super::{FactInfo, Since};
use crate::metric::Kind;

const fn bytes(name: &'static str, labels: &'static [&'static str], help: &'static str) -> FactInfo {
    FactInfo { name, labels, kind: Kind::UpDownCounter, unit: "By", help, since: Since::Start }
}

const fn blocks(name: &'static str, labels: &'static [&'static str], help: &'static str) -> FactInfo {
    FactInfo { name, labels, kind: Kind::UpDownCounter, unit: "{block}", help, since: Since::Start }
}

const fn peak(name: &'static str, labels: &'static [&'static str], help: &'static str) -> FactInfo {
    FactInfo { name, labels, kind: Kind::Gauge, unit: "By", help, since: Since::Start }
}

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> FactInfo {
    FactInfo { name, labels: &[], kind: Kind::Gauge, unit, help, since: Since::Start }
}

const CATEGORY: &[&str] = &["category"];
const PART: &[&str] = &["part"];

/// `category` is HotSpot's name and differs between releases; `part` is `metadata` or `class_space`; `type` is
/// `instance` or `array`.
pub(super) const FACTS: &[FactInfo] = &[
    bytes("nmt.reserved", CATEGORY, "Address space reserved, by category, including malloc."),
    bytes("nmt.committed", CATEGORY, "Memory committed, by category, including malloc."),
    bytes("nmt.malloc", CATEGORY, "Memory allocated with malloc, by category."),
    blocks("nmt.malloc_blocks", CATEGORY, "Live malloc blocks, by category."),
    peak(
        "nmt.malloc_peak",
        CATEGORY,
        "Peak memory allocated with malloc since the JVM started, by category (17.0.10 and later).",
    ),
    bytes("nmt.arena", CATEGORY, "Memory in arenas, by category."),
    blocks("nmt.arena_blocks", CATEGORY, "Live arenas, by category."),
    peak("nmt.arena_peak", CATEGORY, "Peak memory in arenas since the JVM started, by category (17.0.10 and later)."),
    bytes("nmt.mmap_reserved", CATEGORY, "Address space reserved with mmap, by category."),
    bytes("nmt.mmap_committed", CATEGORY, "Memory committed with mmap, by category."),
    peak(
        "nmt.mmap_peak",
        CATEGORY,
        "Peak memory committed with mmap since the JVM started, by category (21 and later).",
    ),
    bytes("nmt.total_reserved", &[], "Address space reserved by all categories."),
    bytes("nmt.total_committed", &[], "Memory committed by all categories."),
    bytes("nmt.total_malloc", &[], "Memory allocated with malloc by all categories (17.0.6 and later)."),
    blocks("nmt.total_malloc_blocks", &[], "Live malloc blocks of all categories (17.0.6 and later)."),
    peak(
        "nmt.total_malloc_peak",
        &[],
        "Peak memory allocated with malloc by all categories since the JVM started (25 and later).",
    ),
    bytes("nmt.total_mmap_reserved", &[], "Address space reserved with mmap by all categories (17.0.6 and later)."),
    bytes("nmt.total_mmap_committed", &[], "Memory committed with mmap by all categories (17.0.6 and later)."),
    FactInfo {
        name: "nmt.threads",
        labels: &[],
        kind: Kind::UpDownCounter,
        unit: "{thread}",
        help: "Threads whose stacks NMT counts, including the JVM's internal threads.",
        since: Since::Start,
    },
    bytes("nmt.stack_reserved", &[], "Address space of thread stacks."),
    bytes(
        "nmt.stack_committed",
        &[],
        "Resident memory of thread stacks (11 and later; JDK 8 repeats the reserved size).",
    ),
    peak("nmt.stack_peak", &[], "Peak memory of thread stacks since the JVM started (21 and later)."),
    FactInfo {
        name: "nmt.classes",
        labels: &["type"],
        kind: Kind::UpDownCounter,
        unit: "{class}",
        help: "Loaded classes, by type (11 and later).",
        since: Since::Start,
    },
    bytes("nmt.metaspace_used", PART, "Metaspace in use for metadata, by part (11 and later)."),
    bytes("nmt.metaspace_committed", PART, "Metaspace committed, by part (11 and later)."),
    bytes("nmt.metaspace_reserved", PART, "Address space reserved for metaspace, by part (11 and later)."),
    bytes("nmt.metaspace_waste", PART, "Metaspace committed and wasted, by part (11 and later)."),
    bytes("nmt.tracking_overhead", &[], "Memory that tracking itself adds to malloc."),
    bytes("nmt.readonly", CATEGORY, "Read-only memory of a category: the shared class archive (21 and later)."),
    gauge("nmt.enabled", "", "Whether the JVM tracks its native memory (1) or not (0)."),
    gauge("nmt.duration", "s", "Duration of the last native memory query."),
    gauge("nmt.last_success", "s", "Time of the last successful native memory query since the Unix epoch in seconds."),
    gauge("nmt.age", "s", "Age of the native memory values."),
];
