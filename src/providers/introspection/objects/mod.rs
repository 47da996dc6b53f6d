//! Java objects: which class an object has, and where its fields are.
//!
//! How a JVM encodes the class in an object's header and references in its fields depends on flags. Whoever reads an
//! object knows which class it must have, so each encoding that this JDK has is tried, and that is taken which leads to
//! the class of that name.
//!
//! ZGC moves objects while the program runs and keeps the way to the new place beside the heap, so its objects are not
//! read at all. The other collectors may move an object between two reads, too: a reader must find its proof in the
//! object, such as an address that it has to hold.

mod classes;
pub mod field_layout;

use crate::discovery::{HotSpotMemory, Implausible, object};
use crate::providers::introspection::fields::FieldBytes;
pub(super) use classes::ClassReader;

/// Bytes of the header that every object has.
pub(super) const HEADER: u64 = 16;

/// How an object's header tells its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClassEncoding {
    /// The address of the class.
    Wide { offset: u64 },
    /// 32 bits (UseCompressedClassPointers).
    Narrow { offset: u64, base: u64, shift: u32 },
    /// The upper bits of the header's first word (UseCompactObjectHeaders).
    Compact { mark_shift: u32, base: u64, shift: u32 },
}

/// How a field refers to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReferenceEncoding {
    /// Its address.
    Wide,
    /// 32 bits (UseCompressedOops).
    Narrow { base: u64, shift: u32 },
}

impl ClassEncoding {
    /// The encodings that this JDK has.
    pub(super) fn all(memory: &HotSpotMemory) -> Vec<Self> {
        let fields = [["_base", "_narrow_klass._base"], ["_shift", "_narrow_klass._shift"]];
        let narrow = narrow(memory, ["CompressedKlassPointers", "Universe"], fields);
        let narrow_offset = memory
            .offset("oopDesc", "_metadata._compressed_klass")
            .or_else(|_| memory.offset("oopDesc", "_compressed_klass"));
        let mark_shift = memory.constant("markWord::klass_shift").ok();
        let mark_shift = mark_shift.and_then(|shift| u32::try_from(shift).ok()).filter(|shift| *shift < u64::BITS);
        let wide = memory.offset("oopDesc", "_metadata._klass").ok().map(|offset| Self::Wide { offset });
        let (narrow, compact) = match narrow {
            Some((base, shift)) => (
                narrow_offset.ok().map(|offset| Self::Narrow { offset, base, shift }),
                mark_shift.map(|mark_shift| Self::Compact { mark_shift, base, shift }),
            ),
            None => (None, None),
        };
        [compact, narrow, wide].into_iter().flatten().collect()
    }

    /// Bytes of the header that tell the class: offset and size.
    pub(super) fn place(self) -> (u64, u64) {
        match self {
            Self::Wide { offset } => (offset, 8),
            Self::Narrow { offset, .. } => (offset, 4),
            Self::Compact { .. } => (0, 8),
        }
    }

    /// What the header says of the class: equal for objects of the same class.
    pub(super) fn tag(self, header: FieldBytes<'_>) -> Option<u64> {
        match self {
            Self::Wide { offset } => header.word(offset),
            Self::Narrow { offset, .. } => header.half(offset).map(u64::from),
            Self::Compact { mark_shift, .. } => header.word(0)?.checked_shr(mark_shift),
        }
    }

    /// The address of the class of that tag.
    pub(super) fn class(self, tag: u64) -> Result<u64, Implausible> {
        match self {
            Self::Wide { .. } => object(tag),
            Self::Narrow { base, shift, .. } | Self::Compact { base, shift, .. } => decoded(tag, base, shift),
        }
    }
}

impl ReferenceEncoding {
    /// The encodings that this JDK has.
    pub(super) fn all(memory: &HotSpotMemory) -> Vec<Self> {
        let fields = [["_base", "_narrow_oop._base"], ["_shift", "_narrow_oop._shift"]];
        let narrow = narrow(memory, ["CompressedOops", "Universe"], fields);
        let narrow = narrow.map(|(base, shift)| Self::Narrow { base, shift });
        [narrow, Some(Self::Wide)].into_iter().flatten().collect()
    }

    /// Bytes of a field.
    pub(super) fn size(self) -> u64 {
        match self {
            Self::Wide => 8,
            Self::Narrow { .. } => 4,
        }
    }

    /// The object to which the field at that offset refers. The field may be null, and then it is no object's.
    pub(super) fn reference(self, fields: FieldBytes<'_>, offset: u64) -> Result<u64, Implausible> {
        match self {
            Self::Wide => object(fields.word(offset).unwrap_or_default()),
            Self::Narrow { base, shift } => match fields.half(offset).unwrap_or_default() {
                0 => Err(Implausible::Pointer(0)),
                narrow => decoded(narrow.into(), base, shift),
            },
        }
    }
}

fn decoded(narrow: u64, base: u64, shift: u32) -> Result<u64, Implausible> {
    object(narrow.checked_shl(shift).unwrap_or_default().wrapping_add(base))
}

/// Base and shift of narrow numbers, static fields of one of these types. Up to JDK 21 they are in a structure.
fn narrow(memory: &HotSpotMemory, types: [&'static str; 2], fields: [[&'static str; 2]; 2]) -> Option<(u64, u32)> {
    let [base, shift] = fields.map(|names| {
        let mut places = types.iter().flat_map(|type_name| names.map(|name| (*type_name, name)));
        places.find_map(|(type_name, name)| memory.address(type_name, name).ok())
    });
    let shift = memory.half(shift?).ok().filter(|shift| *shift < u64::BITS)?;
    Some((memory.word(base?).ok()?, shift))
}
