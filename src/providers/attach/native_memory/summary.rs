//! What a JVM reports about its native memory.

use serde::Serialize;

/// A reply to `VM.native_memory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NmtReply {
    /// Totals and categories.
    Summary(Box<NmtSummary>),
    /// The JVM was started without NativeMemoryTracking; it cannot be switched on later.
    NotEnabled,
    /// A tool has shut tracking down (JDK 8 to 11); it cannot be switched on again.
    ShutDown,
    /// The JDK does not support the scale: JDK 8 has no bytes.
    ScaleRefused,
    /// Anything else: its first line, shortened.
    Unknown(Box<str>),
}

/// One report. All amounts are bytes, whatever the scale of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NmtSummary {
    /// The sum over all categories.
    pub total: Total,
    /// In the order of the text; each name once.
    pub categories: Vec<Category>,
    /// Whether the text was in bytes. Else every amount is rounded to a kibibyte or more, and the categories need not
    /// sum to the total.
    pub exact: bool,
}

/// The `Total:` paragraph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Address space, bytes; malloc counts as reserved and committed.
    pub reserved: u64,
    /// Backed by memory or swap on touch, bytes.
    pub committed: u64,
    /// From malloc (17.0.6 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malloc: Option<BlockMemory>,
    /// From mmap (17.0.6 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mmap: Option<MappedMemory>,
}

/// One category with the lines under it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Category {
    /// As HotSpot spells it in that release: `Java Heap`, `GC`.
    pub name: Box<str>,
    /// Bytes.
    pub reserved: u64,
    /// Bytes.
    pub committed: u64,
    /// Read-only part of the shared class space, bytes (JDK 21 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readonly: Option<u64>,
    /// Loaded classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassCounts>,
    /// Threads whose stacks NMT tracks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<u64>,
    /// Thread stacks. On JDK 8 `committed` repeats `reserved`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<MappedMemory>,
    /// From malloc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub malloc: Option<BlockMemory>,
    /// From mmap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mmap: Option<MappedMemory>,
    /// From arenas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arena: Option<BlockMemory>,
    /// Memory of tracking itself, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking_overhead: Option<u64>,
    /// The part of metaspace outside the class space (JDK 11 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetaspaceMemory>,
    /// The compressed class space (JDK 11 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_space: Option<MetaspaceMemory>,
}

/// Memory in blocks, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlockMemory {
    pub bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// May be below `bytes` for an instant (JDK 25 counts them separately).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_count: Option<u64>,
}

/// Memory in mappings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MappedMemory {
    pub reserved: u64,
    pub committed: u64,
    /// Peak committed bytes (JDK 21 and later).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    pub total: u64,
    /// JDK 11 and later, as `array`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<u64>,
}

/// One part of metaspace, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MetaspaceMemory {
    pub reserved: u64,
    pub committed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Free in committed chunks (JDK 11 to 15).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waste: Option<u64>,
}
