//! The code cache: its heaps, and how full they are.
//!
//! vmStructs describe the memory of a `CodeHeap` and the logarithm of its segments' size. What says how much of it is used
//! lies beside that logarithm, at the same distance in JDK 8 to 27 (heap.hpp, measured), and is believed only where the
//! neighbours that repeat a known size agree.

use std::collections::HashSet;

use crate::discovery::{HotSpotMemory, Implausible};
use crate::hotspot::CODE_HEAP_NAMES;

/// Most heaps; HotSpot has 3, and one more in development.
const HEAPS: u32 = 8;
/// Bytes of a heap that are read: HotSpot's have less than 400.
const LENGTH: usize = 512;
/// Bytes of a name that are read.
const NAME_LENGTH: usize = 48;
/// Largest code cache (CODE_CACHE_SIZE_LIMIT).
const SIZE_MAXIMUM: u64 = 2 << 30;
/// JDK 8 has no name for its only heap; this is its MemoryPoolMXBean's.
const UNNAMED: &str = "Code Cache";

/// Where a JVM keeps its code heaps.
#[derive(Debug)]
pub(super) struct CodeHeapsReader {
    heaps: Vec<u64>,
    /// Offset of the heap's `VirtualSpace`, and of four fields in it.
    space: u64,
    low: u64,
    high: u64,
    low_boundary: u64,
    high_boundary: u64,
    /// Offset of the logarithm.
    log2: u64,
    jdk8: bool,
}

/// One code heap at one moment; sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodeHeapReading {
    /// The name of its MemoryPoolMXBean.
    pub(super) name: &'static str,
    pub(super) used: u64,
    pub(super) committed: u64,
    pub(super) limit: u64,
    /// Compiled methods in it, and how often it was full; JDK 11 and later.
    pub(super) nmethods: Option<u32>,
    pub(super) full: Option<u32>,
}

impl CodeHeapsReader {
    pub(super) const NAME: &str = "code_heaps";

    pub(super) fn of(memory: &HotSpotMemory, feature: u32) -> Result<Self, Implausible> {
        let jdk8 = feature == 8;
        let heaps = if jdk8 { vec![memory.pointer(memory.address("CodeCache", "_heap")?)?] } else { heaps(memory)? };
        let space = |field| memory.offset("VirtualSpace", field);
        Ok(Self {
            heaps,
            space: memory.offset("CodeHeap", "_memory")?,
            low: space("_low")?,
            high: space("_high")?,
            low_boundary: space("_low_boundary")?,
            high_boundary: space("_high_boundary")?,
            log2: memory.offset("CodeHeap", "_log2_segment_size")?,
            jdk8,
        })
    }

    pub(super) fn read(&self, memory: &HotSpotMemory) -> Result<Vec<CodeHeapReading>, Implausible> {
        let heaps: Vec<_> = self.heaps.iter().map(|heap| self.heap(memory, *heap)).collect::<Result<_, _>>()?;
        let names: HashSet<_> = heaps.iter().map(|heap| heap.name).collect();
        match names.len() == heaps.len() {
            true => Ok(heaps),
            false => Err(Implausible::Value("the number of code heaps with different names", names.len() as u64)),
        }
    }

    fn heap(&self, memory: &HotSpotMemory, heap: u64) -> Result<CodeHeapReading, Implausible> {
        let bytes: [u8; LENGTH] = memory.bytes(heap)?;
        let word = |offset: u64| {
            let at = usize::try_from(offset).ok()?;
            bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_ne_bytes)
        };
        let beyond = || Implausible::Value("the offset of a field of CodeHeap", self.log2);
        let word = |offset: u64| word(offset).ok_or_else(beyond);
        let half = |offset: u64| word(offset).map(|word| (word & 0xffff_ffff) as u32);
        // Fields of `CodeHeap` around the logarithm, and of its `VirtualSpace`.
        let near = |distance: i64| word(self.log2.wrapping_add_signed(distance));
        let space = |offset: u64| word(self.space.wrapping_add(offset));
        let size = |low: u64, high: u64| Ok::<u64, Implausible>(space(high)?.wrapping_sub(space(low)?));

        let segment = near(-8)?;
        let committed = size(self.low, self.high)?;
        let limit = size(self.low_boundary, self.high_boundary)?;
        let next = near(8)?;
        let free = near(if self.jdk8 { 24 } else { 32 })?;
        let segments = near(-24)?;
        let log2 = half(self.log2)?;
        let agrees = 1_u64.checked_shl(log2) == Some(segment)
            && segments.checked_mul(segment) == Some(committed)
            && near(-16)?.checked_mul(segment) == Some(limit)
            && free <= next
            && next <= segments
            && committed <= limit
            && limit <= SIZE_MAXIMUM;
        if !agrees {
            return Err(Implausible::Value("the segments of a code heap", next));
        }
        let used = next.saturating_sub(free).saturating_mul(segment);
        if self.jdk8 {
            return Ok(CodeHeapReading { name: UNNAMED, used, committed, limit, nmethods: None, full: None });
        }
        let name = name(memory, near(56)?)?;
        let count = |distance: i64| {
            let count = half(self.log2.wrapping_add_signed(distance))?;
            // An int in HotSpot.
            i32::try_from(count).map(|_| count).map_err(|_| Implausible::Value("a count of a code heap", count.into()))
        };
        Ok(CodeHeapReading { name, used, committed, limit, nmethods: Some(count(72)?), full: Some(count(80)?) })
    }
}

/// The addresses of the heaps in `CodeCache::_heaps`.
fn heaps(memory: &HotSpotMemory) -> Result<Vec<u64>, Implausible> {
    let array = memory.pointer(memory.address("CodeCache", "_heaps")?)?;
    // GenericGrowableArray became GrowableArrayBase in JDK 16.
    let length =
        memory.offset("GrowableArrayBase", "_len").or_else(|_| memory.offset("GenericGrowableArray", "_len"))?;
    let length = memory.half(array.wrapping_add(length))?;
    if !(1..=HEAPS).contains(&length) {
        return Err(Implausible::Value("the number of code heaps", length.into()));
    }
    let data = memory.pointer(array.wrapping_add(memory.offset("GrowableArray<int>", "_data")?))?;
    (0..length).map(|number| memory.pointer(data.wrapping_add(u64::from(number).wrapping_mul(8)))).collect()
}

fn name(memory: &HotSpotMemory, address: u64) -> Result<&'static str, Implausible> {
    let bytes: [u8; NAME_LENGTH] = memory.bytes(address)?;
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let known = CODE_HEAP_NAMES.iter().find(|name| name.as_bytes() == text);
    known.copied().ok_or(Implausible::Value("the name of a code heap", address))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use crate::providers::introspection::planted::Planted;

    /// The word of the logarithm in a heap, and of the first field of its `VirtualSpace`.
    const LOG2: usize = 16;
    const SPACE: usize = 1;

    /// Heaps of JDK 11 and later, by name; the addresses of the list, its array and the heaps.
    fn planted(names: &[&str]) -> (Planted, u64, u64, Vec<u64>) {
        let mut planted = Planted::new();
        let heaps: Vec<u64> = names.iter().map(|name| heap(&mut planted, name)).collect();
        let array = planted.object(&heaps);
        let list = planted.object(&[names.len() as u64, array]);
        planted.field("CodeCache", "_heaps", list);
        planted.fields(&[
            ("GrowableArrayBase", "_len", 0),
            ("GrowableArray<int>", "_data", 8),
            ("CodeHeap", "_memory", 8 * SPACE as u64),
            ("VirtualSpace", "_low_boundary", 0),
            ("VirtualSpace", "_high_boundary", 8),
            ("VirtualSpace", "_low", 16),
            ("VirtualSpace", "_high", 24),
            ("CodeHeap", "_log2_segment_size", 8 * LOG2 as u64),
        ]);
        (planted, list, array, heaps)
    }

    /// A heap of 1,000 segments of 128 bytes, of which 500 are committed and 90 used.
    fn heap(planted: &mut Planted, name: &str) -> u64 {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(NAME_LENGTH.next_multiple_of(8), 0);
        let (words, _) = bytes.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let name = planted.object(&words);
        let mut heap = [0; LENGTH / 8];
        heap[SPACE..SPACE + 4].copy_from_slice(&[1 << 20, (1 << 20) + 128_000, 1 << 20, (1 << 20) + 64_000]);
        heap[LOG2 - 3..=LOG2 + 1].copy_from_slice(&[500, 1000, 128, 7, 100]);
        heap[LOG2 + 4] = 10;
        (heap[LOG2 + 7], heap[LOG2 + 9], heap[LOG2 + 10]) = (name, 3, 1);
        planted.object(&heap)
    }

    fn read(planted: &Planted) -> Result<Vec<CodeHeapReading>, Implausible> {
        let memory = planted.memory();
        CodeHeapsReader::of(&memory, 17)?.read(&memory)
    }

    #[test]
    fn heaps_are_read_by_the_names_that_hotspot_gives() {
        let (planted, ..) = planted(&["CodeHeap 'non-nmethods'", "CodeCache"]);
        let reading = |name| CodeHeapReading {
            name,
            used: 11_520,
            committed: 64_000,
            limit: 128_000,
            nmethods: Some(3),
            full: Some(1),
        };
        assert_eq!(read(&planted), Ok(vec![reading("CodeHeap 'non-nmethods'"), reading("CodeCache")]));
    }

    #[test]
    fn other_names_and_a_name_for_the_second_time_are_refused() {
        for names in [&["CodeHeap 'x'"][..], &[""], &["CodeCacheX"], &["CodeHeap '"], &["CodeCache", "CodeCache"]] {
            assert!(matches!(read(&planted(names).0), Err(Implausible::Value(..))), "{names:?}");
        }
    }

    #[test]
    fn neighbours_that_disagree_are_refused() {
        let huge = (1 << 32) - 1;
        for (word, values) in [
            (SPACE, [0, u64::MAX]),
            (SPACE + 1, [0, u64::MAX]),
            (SPACE + 2, [0, u64::MAX]),
            (SPACE + 3, [0, u64::MAX]),
            (LOG2 - 3, [0, huge]),
            (LOG2 - 2, [0, huge]),
            (LOG2 - 1, [0, 64]),
            (LOG2, [64, huge]),
            (LOG2 + 1, [9, 501]),
            (LOG2 + 4, [101, u64::MAX]),
            (LOG2 + 7, [0, u64::MAX]),
            (LOG2 + 9, [1 << 31, huge]),
            (LOG2 + 10, [1 << 31, huge]),
        ] {
            for value in values {
                let (mut planted, _, _, heaps) = planted(&["CodeCache"]);
                planted.set(heaps[0] + 8 * word as u64, value);
                assert!(read(&planted).is_err(), "{word} {value:#x}");
            }
        }
        // They agree that it is larger than any.
        let (mut planted, _, _, heaps) = planted(&["CodeCache"]);
        planted.set(heaps[0] + 8 * (SPACE as u64 + 1), (1 << 20) + (1 << 39));
        planted.set(heaps[0] + 8 * (LOG2 as u64 - 2), 1 << 32);
        assert!(matches!(read(&planted), Err(Implausible::Value(..))));
    }

    #[test]
    fn wild_lists_are_refused() {
        for length in [0, 9, u64::from(u32::MAX)] {
            let (mut planted, list, ..) = planted(&["CodeCache"]);
            planted.set(list, length);
            assert!(matches!(read(&planted), Err(Implausible::Value(_, found)) if found == length), "{length}");
        }
        for wild in [0, 1, 1 << 46, 1 << 47, u64::MAX - 7] {
            let (mut planted, list, array, _) = planted(&["CodeCache"]);
            planted.set(array, wild);
            assert!(read(&planted).is_err(), "{wild:#x}");
            planted.set(list + 8, wild);
            assert!(read(&planted).is_err(), "{wild:#x}");
        }
    }
}
