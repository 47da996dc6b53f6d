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
    bytes("nmt.reserved", CATEGORY, "Address space reserved, by category; malloc counts as reserved."),
    bytes("nmt.committed", CATEGORY, "Memory committed, by category; malloc counts as committed."),
    bytes("nmt.malloc", CATEGORY, "Memory from malloc, by category."),
    blocks("nmt.malloc_blocks", CATEGORY, "Blocks from malloc that are not freed, by category."),
    peak(
        "nmt.malloc_peak",
        CATEGORY,
        "Most memory from malloc since the JVM started, by category (17.0.10 and later).",
    ),
    bytes("nmt.arena", CATEGORY, "Memory in arenas, by category."),
    blocks("nmt.arena_blocks", CATEGORY, "Arenas, by category."),
    peak("nmt.arena_peak", CATEGORY, "Most memory in arenas since the JVM started, by category (17.0.10 and later)."),
    bytes("nmt.mmap_reserved", CATEGORY, "Address space reserved with mmap, by category."),
    bytes("nmt.mmap_committed", CATEGORY, "Memory committed with mmap, by category."),
    peak(
        "nmt.mmap_peak",
        CATEGORY,
        "Most memory committed with mmap since the JVM started, by category (21 and later).",
    ),
    bytes("nmt.total_reserved", &[], "Address space reserved by all categories together."),
    bytes("nmt.total_committed", &[], "Memory committed by all categories together."),
    bytes("nmt.total_malloc", &[], "Memory from malloc in all categories (17.0.6 and later)."),
    blocks("nmt.total_malloc_blocks", &[], "Blocks from malloc in all categories (17.0.6 and later)."),
    peak(
        "nmt.total_malloc_peak",
        &[],
        "Most memory from malloc in all categories since the JVM started (25 and later).",
    ),
    bytes("nmt.total_mmap_reserved", &[], "Address space reserved with mmap in all categories (17.0.6 and later)."),
    bytes("nmt.total_mmap_committed", &[], "Memory committed with mmap in all categories (17.0.6 and later)."),
    FactInfo {
        name: "nmt.threads",
        labels: &[],
        kind: Kind::UpDownCounter,
        unit: "{thread}",
        help: "Threads with a stack that NMT counts, the JVM's own ones too.",
        since: Since::Start,
    },
    bytes("nmt.stack_reserved", &[], "Address space of thread stacks."),
    bytes("nmt.stack_committed", &[], "Resident part of thread stacks (11 and later; JDK 8 repeats what is reserved)."),
    peak("nmt.stack_peak", &[], "Most memory of thread stacks since the JVM started (21 and later)."),
    FactInfo {
        name: "nmt.classes",
        labels: &["type"],
        kind: Kind::UpDownCounter,
        unit: "{class}",
        help: "Loaded classes, by type (11 and later).",
        since: Since::Start,
    },
    bytes("nmt.metaspace_used", PART, "Metaspace that holds metadata, by part (11 and later)."),
    bytes("nmt.metaspace_committed", PART, "Metaspace committed, by part (11 and later)."),
    bytes("nmt.metaspace_reserved", PART, "Address space of metaspace, by part (11 and later)."),
    bytes("nmt.metaspace_waste", PART, "Metaspace committed and of no use, by part (11 and later)."),
    bytes("nmt.tracking_overhead", &[], "What tracking itself adds to malloc."),
    bytes("nmt.readonly", CATEGORY, "Read-only part of a category: the shared class archive (21 and later)."),
    gauge("nmt.enabled", "", "1 where the JVM tracks its native memory, 0 where it does not."),
    gauge("nmt.duration", "s", "Time that the last question took."),
    gauge("nmt.last_success", "s", "Time of the last answer, since the epoch."),
    gauge("nmt.age", "s", "Age of the values beside it."),
];
