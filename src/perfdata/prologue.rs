//! The first 32 bytes of a region (`PerfDataPrologue`, perfMemory.hpp, unchanged from JDK 8 to 27).

use super::{DecodeError, DecodeErrorKind, types::ByteOrder};

/// Bytes at offset 0 in every byte order.
const MAGIC: [u8; 4] = [0xca, 0xfe, 0xc0, 0xc0];

/// Length of a version 2 prologue, in bytes; also the offset of the first entry in every known JDK.
pub(crate) const PROLOGUE_LENGTH: usize = 32;

/// Byte offset of `accessible` in a region.
pub(super) const ACCESSIBLE_OFFSET: usize = 7;

/// The header of a region. Numbers are kept as found, even negative ones, which `dump` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prologue {
    /// Byte order of every number that follows.
    pub byte_order: ByteOrder,
    /// Format version; 2 since Java 5.
    pub major: u8,
    /// 0 in every JDK.
    pub minor: u8,
    /// True once the JVM has completed the first part of its start; never reset, not even at exit.
    pub accessible: bool,
    /// Bytes in use, prologue included; the offset at which the next entry will be written.
    pub used: i32,
    /// Bytes of entries that did not fit and are in private memory of the JVM.
    pub overflow: i32,
    /// Ticks since JVM start at which the last entry was *created*; updates of values do not move it.
    pub mod_time_stamp: i64,
    /// Offset of the first entry.
    pub entry_offset: i32,
    /// Entries published; the last one may not be complete yet.
    pub num_entries: i32,
}

impl Prologue {
    /// Reads a prologue from the start of `bytes`. The magic number is 0 while the JVM is still creating the file.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let found = bytes.len();
        let head: &[u8; PROLOGUE_LENGTH] = bytes.first_chunk().ok_or_else(|| DecodeErrorKind::Short { found }.at(0))?;
        let [m0, m1, m2, m3, order, major, minor, accessible, ..] = *head;
        match [m0, m1, m2, m3] {
            MAGIC => {}
            [0, 0, 0, 0] => return Err(DecodeErrorKind::Blank.at(0)),
            other => return Err(DecodeErrorKind::Magic { found: u32::from_be_bytes(other) }.at(0)),
        }
        if major != 2 {
            return Err(DecodeErrorKind::Version { major, minor }.at(5));
        }
        let byte_order = if order == 0 { ByteOrder::Big } else { ByteOrder::Little };
        let at = |offset: usize| byte_order.i32(chunk(head, offset));
        Ok(Self {
            byte_order,
            major,
            minor,
            accessible: accessible != 0,
            used: at(8),
            overflow: at(12),
            mod_time_stamp: byte_order.i64(chunk(head, 16)),
            entry_offset: at(24),
            num_entries: at(28),
        })
    }
}

/// The bytes at `offset` of a prologue, which has them.
fn chunk<const N: usize>(head: &[u8; PROLOGUE_LENGTH], offset: usize) -> [u8; N] {
    head.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
