//! The identity of the JVM that writes a region.

use super::super::prologue::{ACCESSIBLE_OFFSET, PROLOGUE_LENGTH};
use super::super::{ByteOrder, Image};
use super::{LayoutChange, RegionError};

/// The identity of the JVM in a region: its prologue, and a counter that differs between any two JVMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionIdentity {
    head: [u64; HEAD.len()],
    pub(super) order: ByteOrder,
    pub(super) birth: Option<(u32, i64)>,
}

/// Offsets of the prologue's words.
pub(super) const HEAD: [u32; PROLOGUE_LENGTH / 8] = [0, 8, 16, 24];

/// Counters that a JVM writes once and that differ between any two JVMs, in order of preference: epoch milliseconds of
/// its start. GraalVM native images have only the second.
const BIRTH: [&str; 2] = ["sun.rt.createVmBeginTime", "sun.rt.vmInitDoneTime"];

impl RegionIdentity {
    /// The identity of the JVM in `image`.
    pub fn of(image: &Image) -> Self {
        let mut head = [0; HEAD.len()];
        for (word, bytes) in head.iter_mut().zip(image.bytes().chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        let birth = BIRTH.iter().find_map(|name| {
            let entry = image.entry(name).filter(|entry| entry.is_word())?;
            let value = image.word(name).filter(|value| *value != 0)?;
            Some((entry.offset, value))
        });
        Self { head, order: image.prologue.byte_order, birth }
    }

    /// Whether the identity has the birth counter, which no other JVM shares.
    pub(crate) fn is_certain(&self) -> bool {
        self.birth.is_some()
    }

    /// Offset of the birth counter.
    pub(super) fn birth_offset(&self) -> Option<u32> {
        self.birth.map(|(offset, _)| offset)
    }

    /// Whether the prologue `head` and the birth counter, just read, are still those of this JVM.
    pub(super) fn check(&self, head: [u64; HEAD.len()], birth: Option<u64>) -> Result<LayoutChange, RegionError> {
        if birth.map(|word| self.order.i64(word.to_ne_bytes())) != self.birth.map(|(_, value)| value) {
            return Err(RegionError::Replaced);
        }
        if head == self.head {
            return Ok(LayoutChange::Same);
        }
        let (old, new) = (PrologueNumbers::of(self.head, self.order), PrologueNumbers::of(head, self.order));
        // Entries are only ever appended. Without a birth counter, growth cannot be told from a replacement.
        let grown = self.birth.is_some() && new.continues(&old);
        grown.then_some(LayoutChange::Grown).ok_or(RegionError::Replaced)
    }
}

/// The numbers of a prologue, compared between two reads.
struct PrologueNumbers {
    fixed: (u64, i32),
    growing: [i32; 3],
    stamp: i64,
}

impl PrologueNumbers {
    fn of(head: [u64; HEAD.len()], order: ByteOrder) -> Self {
        let [first, used, stamp, entries] = head.map(u64::to_ne_bytes);
        let halves = |bytes: [u8; 8]| {
            let [a, b, c, d, e, f, g, h] = bytes;
            (order.i32([a, b, c, d]), order.i32([e, f, g, h]))
        };
        let (used, overflow) = halves(used);
        let (entry_offset, num_entries) = halves(entries);
        let mut opening = first;
        // `accessible` changes from 0 to 1 while the JVM starts.
        if let Some(byte) = opening.get_mut(ACCESSIBLE_OFFSET) {
            *byte = 1;
        }
        Self {
            fixed: (u64::from_ne_bytes(opening), entry_offset),
            growing: [used, overflow, num_entries],
            stamp: order.i64(stamp),
        }
    }

    fn continues(&self, old: &Self) -> bool {
        self.fixed == old.fixed
            && self.stamp >= old.stamp
            && self.growing.iter().zip(&old.growing).all(|(new, old)| new >= old)
    }
}
