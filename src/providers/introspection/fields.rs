//! Fields of HotSpot's objects, many objects at once and with few system calls.
//!
//! A call costs about 0.6 us whatever it copies below some kilobytes, and objects of one kind lie close together. So the
//! stretch of an object that holds the fields in question is read at once, and neighbours are read with it.

use crate::discovery::{HotSpotMemory, Implausible, object};

/// Longest stretch of one object.
const SPAN_MAXIMUM: u64 = 4096;
/// Bytes between two objects that cost less than another call.
const GAP_MAXIMUM: u64 = 2048;
/// Most bytes of one call.
const RUN_MAXIMUM: u64 = 16 << 10;

/// The stretch of an object that holds some of its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSpan {
    /// Bytes from the object's address.
    start: u64,
    length: u64,
}

impl FieldSpan {
    /// Covers fields, each given by its offset and size in bytes.
    pub(super) fn covering(fields: &[(u64, u64)]) -> Result<Self, Implausible> {
        let start = fields.iter().map(|(offset, _)| *offset).min().unwrap_or_default();
        let end = fields.iter().map(|(offset, size)| offset.saturating_add(*size)).max().unwrap_or_default();
        match end.saturating_sub(start) {
            length if length <= SPAN_MAXIMUM => Ok(Self { start, length }),
            length => Err(Implausible::Value("the distance of two fields", length)),
        }
    }

    /// Reads the stretch of one object.
    pub(super) fn read<'b>(
        &self,
        memory: &HotSpotMemory,
        address: u64,
        buffer: &'b mut Vec<u8>,
    ) -> Result<FieldBytes<'b>, Implausible> {
        buffer.clear();
        buffer.resize(usize::try_from(self.length).unwrap_or_default(), 0);
        memory.read(object(address)?.wrapping_add(self.start), buffer)?;
        Ok(FieldBytes { start: self.start, bytes: buffer })
    }
}

/// The stretch of one object. A field outside of it has no value.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldBytes<'b> {
    start: u64,
    bytes: &'b [u8],
}

impl<'b> FieldBytes<'b> {
    /// The bytes from an offset on.
    pub(super) fn from(&self, offset: u64) -> &'b [u8] {
        let at = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }

    pub(super) fn word(&self, offset: u64) -> Option<u64> {
        self.from(offset).first_chunk().copied().map(u64::from_ne_bytes)
    }

    pub(super) fn half(&self, offset: u64) -> Option<u32> {
        self.from(offset).first_chunk().copied().map(u32::from_ne_bytes)
    }

    pub(super) fn short(&self, offset: u64) -> Option<u16> {
        self.from(offset).first_chunk().copied().map(u16::from_ne_bytes)
    }

    pub(super) fn byte(&self, offset: u64) -> Option<u8> {
        self.from(offset).first().copied()
    }
}

/// The stretches of many objects. Kept from pass to pass, it keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    span: FieldSpan,
    bytes: Vec<u8>,
    /// Where the stretch of each object begins in `bytes`; `None` where it could not be read.
    places: Vec<Option<usize>>,
    /// The objects by address, with their indices.
    order: Vec<(u64, usize)>,
}

impl Gathered {
    /// Reads the stretch of each of these objects. One that cannot be read, or is at no object's address, has none.
    pub(super) fn read(&mut self, memory: &HotSpotMemory, span: FieldSpan, objects: impl Iterator<Item = u64>) {
        self.begin(span);
        for (index, address) in objects.enumerate() {
            self.places.push(None);
            if object(address).is_ok() {
                self.order.push((address.wrapping_add(span.start), index));
            }
        }
        self.order.sort_unstable();
        let mut from = 0;
        while let Some((start, _)) = self.order.get(from).copied() {
            let (mut to, mut end) = (from, start);
            while let Some((next, _)) = self.order.get(to) {
                let next_end = next.saturating_add(span.length);
                let apart = next.saturating_sub(end);
                if to > from && (apart > GAP_MAXIMUM || next_end.saturating_sub(start) > RUN_MAXIMUM) {
                    break;
                }
                end = next_end;
                to = to.saturating_add(1);
            }
            self.read_run(memory, from, to, end.saturating_sub(start));
            from = to;
        }
    }

    /// Forgets what was read, for [`Self::add`].
    pub(super) fn begin(&mut self, span: FieldSpan) {
        self.span = span;
        self.bytes.clear();
        self.places.clear();
        self.order.clear();
    }

    /// Reads the stretch of one more object.
    pub(super) fn add(&mut self, memory: &HotSpotMemory, address: u64) -> Result<FieldBytes<'_>, Implausible> {
        let base = self.bytes.len();
        self.bytes.resize(base.saturating_add(usize::try_from(self.span.length).unwrap_or_default()), 0);
        let into = self.bytes.get_mut(base..).unwrap_or_default();
        memory.read(object(address)?.wrapping_add(self.span.start), into)?;
        self.places.push(Some(base));
        Ok(FieldBytes { start: self.span.start, bytes: self.bytes.get(base..).unwrap_or_default() })
    }

    /// Reads the objects of `order[from..to]`, which lie within `length` bytes.
    fn read_run(&mut self, memory: &HotSpotMemory, from: usize, to: usize, length: u64) {
        let run = self.order.get(from..to).unwrap_or_default();
        let Some((start, _)) = run.first().copied() else { return };
        let base = self.bytes.len();
        self.bytes.resize(base.saturating_add(usize::try_from(length).unwrap_or_default()), 0);
        let into = self.bytes.get_mut(base..).unwrap_or_default();
        if memory.read(start, into).is_ok() {
            for (address, index) in run {
                let distance = usize::try_from(address.saturating_sub(start)).unwrap_or_default();
                if let Some(place) = self.places.get_mut(*index) {
                    *place = Some(base.saturating_add(distance));
                }
            }
            return;
        }
        self.bytes.truncate(base);
        if run.len() > 1 {
            // A hole between two of them, or one that is no object.
            for at in from..to {
                self.read_run(memory, at, at.saturating_add(1), self.span.length);
            }
        }
    }

    /// The stretch of the object of that index.
    pub(super) fn get(&self, index: usize) -> Option<FieldBytes<'_>> {
        let from = self.places.get(index).copied().flatten()?;
        let to = from.checked_add(usize::try_from(self.span.length).ok()?)?;
        Some(FieldBytes { start: self.span.start, bytes: self.bytes.get(from..to)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use crate::discovery::HotSpotMemory;

    #[test]
    fn each_object_has_its_own_bytes_wherever_it_lies() {
        let memory = HotSpotMemory::own(&[], &[], &[]);
        let words: Vec<u64> = (0..8192).collect();
        let base = words.as_ptr() as u64;
        let span = FieldSpan::covering(&[(16, 8), (40, 4)]).unwrap();
        let indices = [5000_usize, 0, 3, 3, 10, 700, 8000, 140, 141];
        let mut objects: Vec<u64> = indices.iter().map(|index| base + *index as u64 * 8).collect();
        // Nothing, no object, unmapped, and the kernel's.
        let bad = [0, base + 1, 4096, 0xffff_8000_0000_0000, u64::MAX - 7];
        objects.extend(bad);
        let mut gathered = Gathered::default();
        for _ in 0..2 {
            gathered.read(&memory, span, objects.iter().copied());
            for (at, index) in indices.iter().enumerate() {
                let fields = gathered.get(at).unwrap();
                assert_eq!(fields.word(16), Some(*index as u64 + 2));
                assert_eq!(fields.half(40), Some(*index as u32 + 5));
                assert_eq!((fields.word(8), fields.word(40), fields.byte(44)), (None, None, None), "outside");
            }
            assert!((indices.len()..objects.len() + 1).all(|at| gathered.get(at).is_none()));
        }
    }

    #[test]
    fn neighbours_of_a_hole_are_read() {
        let page = 4096;
        let map = memmap2::MmapRaw::from(memmap2::MmapMut::map_anon(3 * page).unwrap());
        let start = map.as_ptr() as u64;
        // The pages beyond the end of a file are a hole.
        let file = tempfile::tempfile().unwrap();
        file.set_len(page as u64).unwrap();
        let holed = memmap2::MmapOptions::new().len(2 * page).map_raw_read_only(&file).unwrap();
        let edge = holed.as_ptr() as u64 + page as u64;
        let memory = HotSpotMemory::own(&[], &[], &[]);
        let span = FieldSpan::covering(&[(0, 8)]).unwrap();
        let mut gathered = Gathered::default();
        gathered.read(&memory, span, [edge - 16, edge - 8, edge, edge + 8, start].into_iter());
        let known: Vec<bool> = (0..5).map(|at| gathered.get(at).is_some()).collect();
        assert_eq!(known, [true, true, false, false, true]);
    }

    #[test]
    fn fields_that_lie_far_apart_are_refused() {
        assert!(FieldSpan::covering(&[(0, 8), (4088, 8)]).is_ok());
        for far in [4089, u64::MAX] {
            assert!(matches!(FieldSpan::covering(&[(0, 8), (far, 8)]), Err(Implausible::Value(..))), "{far}");
        }
    }
}
