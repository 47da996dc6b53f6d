//! PerfData: HotSpot's counters in shared memory.
//!
//! A [`Region`] is the foreign memory; only [`region`] accesses it, and only whole words or a private copy leave it. An
//! [`Image`] is such a copy, decoded: a [`Prologue`] and its [`Entry`] list.
//!
//! # Promise
//! Any bytes are legal input. Decoding never panics, reads at most one entry per 24 bytes, and needs memory proportional
//! to the input. A region has at most [`REGION_MAXIMUM`] bytes, and its image at most [`IMAGE_MAXIMUM`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![deny(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![deny(clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod entries;
mod entry;
mod image;
pub(crate) mod name;
mod prologue;
pub mod region;
mod types;

pub use entries::Entries;
pub use entry::Entry;
pub use image::{CounterValue, Image};
pub(crate) use prologue::PROLOGUE_LENGTH;
pub use prologue::Prologue;
pub use region::{
    ChangeDetector, Consistency, FileMode, LayoutChange, MemoryError, ProcessMemory, Region, RegionError,
    RegionIdentity, Transport, WriterState,
};
pub use types::{ByteOrder, DataType, Units, Variability};

/// Smallest region, in bytes: a prologue.
pub const REGION_MINIMUM: u64 = 32;

/// Largest region that is supported, in bytes. `PerfDataMemorySize`, rounded up to the page size, is at most 2 MiB in
/// JDK 11 and later (globals.hpp, range 128 to 32*64*K); JDK 8 takes any number.
pub const REGION_MAXIMUM: u64 = 32 << 20;

/// Bytes from the start of a region that are decoded. JVMs fill less than 100 KiB, whatever size the region has.
pub const IMAGE_MAXIMUM: usize = 4 << 20;

/// Why bytes are not a region, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {kind}")]
pub struct DecodeError {
    /// Offset in the region, in bytes.
    pub offset: usize,
    kind: DecodeErrorKind,
}

impl DecodeError {
    /// The region's magic number is still zero: its JVM has created the file and not yet written to it.
    pub fn is_blank(&self) -> bool {
        matches!(self.kind, DecodeErrorKind::Blank)
    }

    /// The entry at the offset is not complete yet, as opposed to damaged.
    pub fn is_unfinished(&self) -> bool {
        matches!(self.kind, DecodeErrorKind::Unfinished)
    }

    /// The format version is not supported.
    pub(crate) fn is_version(&self) -> bool {
        matches!(self.kind, DecodeErrorKind::Version { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeErrorKind {
    #[error(
        "a prologue has {PROLOGUE_LENGTH} bytes, found {found}: not a PerfData file, or its JVM is still creating it"
    )]
    Short { found: usize },
    #[error("the magic number is still zero: the JVM has not written its prologue yet")]
    Blank,
    #[error("expected magic cafec0c0, found {found:08x}: not a PerfData file")]
    Magic { found: u32 },
    #[error("expected PerfData version 2, found {major}.{minor}: only JDK 5 and later are supported")]
    Version { major: u8, minor: u8 },
    #[error("the first entry must be at {PROLOGUE_LENGTH} or beyond, a multiple of 4; found {found}")]
    EntryOffset { found: i32 },
    #[error("an entry takes 24 to {limit} bytes here, a multiple of 4; found {found}")]
    EntryLength { found: i32, limit: usize },
    #[error("the name at {name} and the value at {data} do not fit into the entry")]
    NameOffset { name: i32, data: i32 },
    #[error("the name does not end before the value")]
    NameUnterminated,
    #[error("a value of {found} elements does not fit into an entry of {limit} bytes")]
    VectorLength { found: i32, limit: usize },
    #[error("the entry is not fully written yet")]
    Unfinished,
}

impl DecodeErrorKind {
    fn at(self, offset: usize) -> DecodeError {
        DecodeError { offset, kind: self }
    }
}
