//! One counter of a region.

use super::DecodeErrorKind;
use super::prologue::Prologue;
use super::types::{DataType, Units, Variability};

/// Length of an entry header, in bytes (`PerfDataEntry`, perfMemory.hpp, JDK 8 to 27).
const ENTRY_HEADER_LENGTH: usize = 20;

/// Smallest legal entry: header, a name of one byte with its NUL, padded to 8.
pub(super) const ENTRY_MINIMUM: usize = 24;

/// Bit 0 of the flags: the name starts with `java.` or `com.sun.` (`PerfData::F_Supported`).
const FLAG_SUPPORTED: u8 = 1;

/// A counter. It is immutable once it is complete, so it is decoded once and only its value is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Dotted name; invalid UTF-8 is replaced.
    pub name: Box<str>,
    /// Element type.
    pub data_type: DataType,
    /// Flag bits as found.
    pub flags: u8,
    /// What the value counts, by HotSpot's label.
    pub units: Units,
    /// How the value may change, by HotSpot's label.
    pub variability: Variability,
    /// Offset of the value in the region, in bytes; `offset + size` is inside the region.
    pub offset: u32,
    /// Elements of a vector; 0 for a scalar.
    pub vector_length: u32,
}

impl Entry {
    /// Whether this is a number that one aligned 8-byte load reads whole.
    pub fn is_word(&self) -> bool {
        self.data_type == DataType::Long && self.vector_length == 0 && self.offset.is_multiple_of(8)
    }

    /// Whether this is a string.
    pub fn is_text(&self) -> bool {
        self.data_type == DataType::Byte && self.vector_length > 0
    }

    /// Whether HotSpot calls the counter a supported interface.
    pub fn is_supported(&self) -> bool {
        self.flags & FLAG_SUPPORTED != 0
    }
}

/// Decodes the entry at `at` and gives the offset of the next one, which is always larger.
pub(super) fn decode(prologue: &Prologue, bytes: &[u8], at: usize) -> Result<(Entry, usize), DecodeErrorKind> {
    let order = prologue.byte_order;
    let rest = bytes.get(at..).unwrap_or_default();
    let header: &[u8; ENTRY_HEADER_LENGTH] = rest.first_chunk().ok_or(DecodeErrorKind::Unfinished)?;
    let [l0, l1, l2, l3, n0, n1, n2, n3, v0, v1, v2, v3, data_type, flags, units, variability, d0, d1, d2, d3] =
        *header;
    let entry_length = order.i32([l0, l1, l2, l3]);
    if entry_length == 0 {
        return Err(DecodeErrorKind::Unfinished);
    }
    let length = usize::try_from(entry_length)
        .ok()
        .filter(|length| *length >= ENTRY_MINIMUM && length.is_multiple_of(4) && *length <= rest.len())
        .ok_or(DecodeErrorKind::EntryLength { found: entry_length, limit: rest.len() })?;
    let body = rest.get(..length).unwrap_or_default();

    let name_offset = order.i32([n0, n1, n2, n3]);
    let data_offset = order.i32([d0, d1, d2, d3]);
    if name_offset == 0 || data_offset == 0 || data_type == 0 {
        return Err(DecodeErrorKind::Unfinished);
    }
    let name_field = usize::try_from(name_offset)
        .ok()
        .filter(|offset| *offset >= ENTRY_HEADER_LENGTH)
        .zip(usize::try_from(data_offset).ok())
        .and_then(|(from, to)| body.get(from..to))
        .ok_or(DecodeErrorKind::NameOffset { name: name_offset, data: data_offset })?;
    let name_length = name_field.iter().position(|byte| *byte == 0).ok_or(DecodeErrorKind::NameUnterminated)?;
    let name = name_field.get(..name_length).unwrap_or_default();
    if name.is_empty() {
        return Err(DecodeErrorKind::Unfinished);
    }

    let vector_length = order.i32([v0, v1, v2, v3]);
    let oversized = DecodeErrorKind::VectorLength { found: vector_length, limit: length };
    let data_type = DataType::from_code(data_type);
    let Ok(elements) = u32::try_from(vector_length) else { return Err(oversized) };
    let element = if data_type == DataType::Long { 8_usize } else { 1 };
    let size = element.saturating_mul(elements.max(1) as usize);
    let data = usize::try_from(data_offset).unwrap_or(usize::MAX);
    if data.saturating_add(size) > length {
        return Err(oversized);
    }
    let offset = at
        .checked_add(data)
        .and_then(|offset| u32::try_from(offset).ok())
        .ok_or(DecodeErrorKind::NameOffset { name: name_offset, data: data_offset })?;

    let entry = Entry {
        name: str::from_utf8(name).map_or_else(|_| String::from_utf8_lossy(name).into(), Box::from),
        data_type,
        flags,
        units: Units::from_code(units),
        variability: Variability::from_code(variability),
        offset,
        vector_length: elements,
    };
    Ok((entry, at.saturating_add(length)))
}
