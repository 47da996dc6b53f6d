//! Sizes of the heap where a region has them late or not at all: Serial and Parallel on JDK 25 and later, whose eden reads
//! 0 there (JDK-8353559), and ZGC, which publishes at pauses only.
//!
//! The paths are those of vmStructs of JDK 11 to 27 (vmStructs_serial.hpp, vmStructs_parallelgc.hpp, vmStructs_z.hpp), and
//! what they lead to equals the MemoryPoolMXBeans (measured, 9,897 of 9,900 reads under load).

use crate::discovery::{HotSpotMemory, Implausible, object};
use crate::hotspot::Collector;

/// Most NUMA nodes; Linux supports 1,024.
const PARTITIONS: u32 = 1024;
/// Largest heap of ZGC.
const ZGC_MAXIMUM: u64 = 16 << 40;

/// Where a heap keeps its sizes.
#[derive(Debug)]
pub(super) enum HeapReader {
    Spaces(SpacesReader),
    Pages(PagesReader),
}

/// A heap at one moment, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HeapReading {
    /// Used and committed bytes of each pool, in the order of the region's pools; none where the collector has no sizes
    /// by pool.
    pub(super) pools: Vec<SpaceSize>,
    /// Used and committed bytes of all of it.
    pub(super) total: SpaceSize,
    /// The largest size, where the collector keeps it beside the others.
    pub(super) limit: Option<u64>,
}

/// Used and committed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SpaceSize {
    pub(super) used: u64,
    /// `None` where the JDK does not describe it (ZGC of JDK 11).
    pub(super) committed: Option<u64>,
}

impl HeapReader {
    pub(super) const NAME: &str = "heap";

    /// The reader of a JVM's heap; `None` for collectors whose region is as fresh. `generational` is ZGC's mode.
    pub(super) fn of(
        memory: &HotSpotMemory,
        collector: Collector,
        feature: u32,
        generational: bool,
    ) -> Result<Option<Self>, Implausible> {
        let heap = memory.pointer(memory.address("Universe", "_collectedHeap")?)?;
        Ok(match collector {
            Collector::Serial if feature >= 25 => Some(Self::Spaces(SpacesReader::serial(memory, heap)?)),
            Collector::Parallel if feature >= 25 => Some(Self::Spaces(SpacesReader::parallel(memory, heap, feature)?)),
            Collector::Zgc => Some(Self::Pages(PagesReader::of(memory, heap, feature, generational)?)),
            _ => None,
        })
    }

    pub(super) fn read(&self, memory: &HotSpotMemory) -> Result<HeapReading, Implausible> {
        match self {
            Self::Spaces(spaces) => spaces.read(memory),
            Self::Pages(pages) => pages.read(memory),
        }
    }
}

/// Serial's and Parallel's heap of contiguous spaces.
#[derive(Debug)]
pub(super) struct SpacesReader {
    /// The address of the young generation's pointers to eden, and to the survivor spaces, which collections swap.
    eden: u64,
    from: u64,
    old: u64,
    /// Offsets in a space.
    bottom: u64,
    top: u64,
    end: u64,
    /// The addresses that the heap reserved.
    reserved: std::ops::Range<u64>,
}

impl SpacesReader {
    fn serial(memory: &HotSpotMemory, heap: u64) -> Result<Self, Implausible> {
        let generation = |field| memory.pointer(heap.wrapping_add(memory.offset("SerialHeap", field)?));
        let young = generation("_young_gen")?;
        let old = generation("_old_gen")?;
        let space = |field| memory.offset("ContiguousSpace", field);
        Ok(Self {
            eden: memory.pointer(young.wrapping_add(memory.offset("DefNewGeneration", "_eden_space")?))?,
            from: young.wrapping_add(memory.offset("DefNewGeneration", "_from_space")?),
            old: memory.pointer(old.wrapping_add(memory.offset("TenuredGeneration", "_the_space")?))?,
            bottom: space("_bottom")?,
            top: space("_top")?,
            end: space("_end")?,
            reserved: reserved(memory, heap)?,
        })
    }

    /// The generations are static fields until JDK 26.
    fn parallel(memory: &HotSpotMemory, heap: u64, feature: u32) -> Result<Self, Implausible> {
        let generation = |field| {
            memory.pointer(match feature {
                ..=26 => memory.address("ParallelScavengeHeap", field)?,
                _ => heap.wrapping_add(memory.offset("ParallelScavengeHeap", field)?),
            })
        };
        let young = generation("_young_gen")?;
        let old = generation("_old_gen")?;
        let space = |field| memory.offset("MutableSpace", field);
        Ok(Self {
            eden: memory.pointer(young.wrapping_add(memory.offset("PSYoungGen", "_eden_space")?))?,
            from: young.wrapping_add(memory.offset("PSYoungGen", "_from_space")?),
            old: memory.pointer(old.wrapping_add(memory.offset("PSOldGen", "_object_space")?))?,
            bottom: space("_bottom")?,
            top: space("_top")?,
            end: space("_end")?,
            reserved: reserved(memory, heap)?,
        })
    }

    fn read(&self, memory: &HotSpotMemory) -> Result<HeapReading, Implausible> {
        let from = memory.pointer(self.from)?;
        let pools = vec![self.space(memory, self.eden)?, self.space(memory, from)?, self.space(memory, self.old)?];
        // A collection swapped the survivor spaces meanwhile.
        if memory.pointer(self.from)? != from {
            return Err(Implausible::Value("the survivor space", from));
        }
        let used = pools.iter().map(|pool| pool.used).fold(0, u64::saturating_add);
        let committed = pools.iter().filter_map(|pool| pool.committed).fold(0, u64::saturating_add);
        let total = SpaceSize { used, committed: Some(committed) };
        Ok(HeapReading { pools, total, limit: None })
    }

    fn space(&self, memory: &HotSpotMemory, space: u64) -> Result<SpaceSize, Implausible> {
        let first = self.bottom.min(self.top).min(self.end);
        let span = self.bottom.max(self.top).max(self.end).saturating_sub(first);
        let mut bytes = [0; 256];
        let length = usize::try_from(span).unwrap_or(usize::MAX).saturating_add(8);
        let into = bytes.get_mut(..length).ok_or(Implausible::Value("the size of a space", span))?;
        memory.read(space.wrapping_add(first), into)?;
        let word = |offset: u64| {
            let at = usize::try_from(offset.saturating_sub(first)).ok()?;
            into.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_ne_bytes)
        };
        let [bottom, top, end] = [self.bottom, self.top, self.end].map(|offset| word(offset).unwrap_or_default());
        if bottom < self.reserved.start || end > self.reserved.end || bottom > top || top > end {
            return Err(Implausible::Value("the top of a space", top));
        }
        Ok(SpaceSize { used: top.saturating_sub(bottom), committed: Some(end.saturating_sub(bottom)) })
    }
}

/// The addresses that a heap reserved.
fn reserved(memory: &HotSpotMemory, heap: u64) -> Result<std::ops::Range<u64>, Implausible> {
    let region = heap.wrapping_add(memory.offset("CollectedHeap", "_reserved")?);
    let start = memory.pointer(region.wrapping_add(memory.offset("MemRegion", "_start")?))?;
    let words = memory.word(region.wrapping_add(memory.offset("MemRegion", "_word_size")?))?;
    let end = words.checked_mul(8).and_then(|bytes| start.checked_add(bytes));
    let end = end.and_then(|end| object(end).ok()).ok_or(Implausible::Value("the size of the heap", words))?;
    Ok(start..end)
}

/// ZGC's heap, whose sizes are those of its allocator of pages.
#[derive(Debug)]
pub(super) struct PagesReader {
    /// The addresses of the used bytes and of the capacity, of each part of the heap.
    parts: Vec<(u64, Option<u64>)>,
    /// The largest capacity.
    limit: Option<u64>,
    /// Its generations are pools, which vmStructs do not describe.
    generational: bool,
}

impl PagesReader {
    fn of(memory: &HotSpotMemory, heap: u64, feature: u32, generational: bool) -> Result<Self, Implausible> {
        // JDK 21 to 23 have both: what was ZGC is XGC there.
        let [collected, inner, pages] = match feature {
            21..=23 if !generational => ["XCollectedHeap", "XHeap", "XPageAllocator"],
            _ => ["ZCollectedHeap", "ZHeap", "ZPageAllocator"],
        };
        let inner_offset = memory.offset(inner, "_page_allocator")?;
        let allocator = heap.wrapping_add(memory.offset(collected, "_heap")?).wrapping_add(inner_offset);
        let limit =
            memory.offset(pages, "_max_capacity").and_then(|offset| memory.word(allocator.wrapping_add(offset))).ok();
        if let Some(limit) = limit.filter(|limit| *limit > ZGC_MAXIMUM) {
            return Err(Implausible::Value("the largest size of the heap", limit));
        }
        let parts = match feature {
            25.. => partitions(memory, allocator)?,
            _ => {
                let capacity = memory.offset(pages, "_capacity").ok();
                let capacity = capacity.map(|offset| allocator.wrapping_add(offset));
                vec![(allocator.wrapping_add(memory.offset(pages, "_used")?), capacity)]
            }
        };
        Ok(Self { parts, limit, generational })
    }

    fn read(&self, memory: &HotSpotMemory) -> Result<HeapReading, Implausible> {
        let mut total = SpaceSize::default();
        for (used, capacity) in &self.parts {
            let (used, capacity) = used_and_capacity(memory, *used, *capacity)?;
            total.used = total.used.saturating_add(used);
            let committed = capacity.map(|capacity| total.committed.unwrap_or_default().saturating_add(capacity));
            total.committed = committed.or(total.committed);
        }
        let most = self.limit.unwrap_or(ZGC_MAXIMUM);
        if total.used > most || total.committed.is_some_and(|committed| committed > most) {
            return Err(Implausible::Value("the use of the heap", total.used));
        }
        let pools = if self.generational { Vec::new() } else { vec![total] };
        Ok(HeapReading { pools, total, limit: self.limit })
    }
}

/// The words at two addresses. They are fields of one object, so one read takes both.
fn used_and_capacity(
    memory: &HotSpotMemory,
    used: u64,
    capacity: Option<u64>,
) -> Result<(u64, Option<u64>), Implausible> {
    let Some(capacity) = capacity else { return Ok((memory.word(used)?, None)) };
    let first = used.min(capacity);
    let mut bytes = [0; 256];
    let length = usize::try_from(used.abs_diff(capacity)).unwrap_or(usize::MAX).saturating_add(8);
    let Some(bytes) = bytes.get_mut(..length) else { return Ok((memory.word(used)?, Some(memory.word(capacity)?))) };
    memory.read(first, bytes)?;
    let [low, high] = [bytes.first_chunk(), bytes.last_chunk()].map(|word| word.copied().map(u64::from_ne_bytes));
    let (low, high) = (low.unwrap_or_default(), high.unwrap_or_default());
    Ok(if used == first { (low, Some(high)) } else { (high, Some(low)) })
}

/// JDK 25 and later have one partition for each NUMA node.
fn partitions(memory: &HotSpotMemory, allocator: u64) -> Result<Vec<(u64, Option<u64>)>, Implausible> {
    let array = memory.offset("ZPageAllocator", "_partitions")?;
    let array = array.wrapping_add(memory.offset("ZPerNUMAZPartition", "_addr")?);
    let first = memory.pointer(allocator.wrapping_add(array))?;
    let size = memory.size("ZPartition")?;
    let count = memory.half(memory.address("ZNUMA", "_count")?)?;
    if !(1..=PARTITIONS).contains(&count) {
        return Err(Implausible::Value("the number of NUMA nodes", count.into()));
    }
    let (used, capacity) = (memory.offset("ZPartition", "_used")?, memory.offset("ZPartition", "_capacity")?);
    let partition = |number: u32| first.wrapping_add(u64::from(number).wrapping_mul(size));
    let part = |number| (partition(number).wrapping_add(used), Some(partition(number).wrapping_add(capacity)));
    Ok((0..count).map(part).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use crate::providers::introspection::planted::Planted;

    const MIB: u64 = 1 << 20;
    /// Where the heap is reserved: nothing is read there.
    const RESERVED: u64 = 1 << 45;

    /// Serial's heap of JDK 25; the addresses of heap, young generation and spaces.
    fn serial() -> (Planted, u64, u64, [u64; 3]) {
        let mut planted = Planted::new();
        let space = |planted: &mut Planted, from, used, committed| {
            planted.object(&[
                RESERVED + from * MIB,
                RESERVED + (from + used) * MIB,
                RESERVED + (from + committed) * MIB,
            ])
        };
        let spaces = [(0, 1, 4), (4, 2, 2), (8, 3, 56)].map(|(from, used, all)| space(&mut planted, from, used, all));
        let young = planted.object(&spaces[..2]);
        let old = planted.object(&spaces[2..]);
        let heap = planted.object(&[young, old, RESERVED, 8 * MIB]);
        planted.field("Universe", "_collectedHeap", heap);
        planted.fields(&[
            ("SerialHeap", "_young_gen", 0),
            ("SerialHeap", "_old_gen", 8),
            ("CollectedHeap", "_reserved", 16),
            ("MemRegion", "_start", 0),
            ("MemRegion", "_word_size", 8),
            ("DefNewGeneration", "_eden_space", 0),
            ("DefNewGeneration", "_from_space", 8),
            ("TenuredGeneration", "_the_space", 0),
            ("ContiguousSpace", "_bottom", 0),
            ("ContiguousSpace", "_top", 8),
            ("ContiguousSpace", "_end", 16),
        ]);
        (planted, heap, young, spaces)
    }

    fn read(planted: &Planted, collector: Collector) -> Result<Option<HeapReading>, Implausible> {
        let memory = planted.memory();
        let reader = HeapReader::of(&memory, collector, 25, false)?;
        reader.map(|reader| reader.read(&memory)).transpose()
    }

    #[test]
    fn spaces_are_added_up() {
        let reading = read(&serial().0, Collector::Serial).unwrap().unwrap();
        let used: Vec<u64> = reading.pools.iter().map(|pool| pool.used / MIB).collect();
        assert_eq!((used, reading.total.used, reading.total.committed), (vec![1, 2, 3], 6 * MIB, Some(62 * MIB)));
    }

    #[test]
    fn spaces_that_contradict_themselves_or_the_heap_are_refused() {
        for space in 0..3 {
            for (word, value) in [
                (0, 0),
                (0, RESERVED - 8),
                (0, u64::MAX),
                (1, 0),
                (1, u64::MAX),
                (2, 0),
                (2, RESERVED + 64 * MIB + 8),
                (2, u64::MAX),
            ] {
                let (mut planted, _, _, spaces) = serial();
                planted.set(spaces[space] + 8 * word, value);
                assert!(matches!(read(&planted, Collector::Serial), Err(Implausible::Value(..))), "{word} {value:#x}");
            }
        }
        for words in [1 << 44, 1 << 60, u64::MAX] {
            let (mut planted, heap, ..) = serial();
            planted.set(heap + 24, words);
            assert!(read(&planted, Collector::Serial).is_err(), "{words:#x}");
        }
    }

    #[test]
    fn wild_pointers_are_refused() {
        for wild in [0, 1, 8, 1 << 46, 1 << 47, 0xffff_8000_0000_0000, u64::MAX - 7] {
            for at in [0, 8, 16] {
                let (mut planted, heap, ..) = serial();
                planted.set(heap + at, wild);
                assert!(read(&planted, Collector::Serial).is_err(), "heap {at} {wild:#x}");
            }
            for at in [0, 8] {
                let (mut planted, _, young, _) = serial();
                planted.set(young + at, wild);
                assert!(read(&planted, Collector::Serial).is_err(), "young {at} {wild:#x}");
            }
        }
    }

    /// ZGC's heap of JDK 25 with that many partitions of 64 bytes; the addresses of the heap, the partitions and their
    /// number.
    fn zgc(count: u64) -> (Planted, u64, u64, u64) {
        let mut planted = Planted::new();
        let partitions = planted.object(&[0, 2 * MIB, 4 * MIB, 0, 0, 0, 0, 0].repeat(2));
        let heap = planted.object(&[0, 64 * MIB, partitions]);
        planted.field("Universe", "_collectedHeap", heap);
        let count = planted.field("ZNUMA", "_count", count);
        planted.fields(&[
            ("ZCollectedHeap", "_heap", 0),
            ("ZHeap", "_page_allocator", 0),
            ("ZPageAllocator", "_max_capacity", 8),
            ("ZPageAllocator", "_partitions", 16),
            ("ZPerNUMAZPartition", "_addr", 0),
            ("ZPartition", "sizeof", 64),
            ("ZPartition", "_used", 8),
            ("ZPartition", "_capacity", 16),
        ]);
        (planted, heap, partitions, count)
    }

    #[test]
    fn partitions_are_added_up() {
        let reading = read(&zgc(2).0, Collector::Zgc).unwrap().unwrap();
        let total = SpaceSize { used: 4 * MIB, committed: Some(8 * MIB) };
        assert_eq!((reading.total, reading.limit), (total, Some(64 * MIB)));
    }

    #[test]
    fn partitions_that_cannot_be_are_refused() {
        for count in [0, 1025, u64::from(u32::MAX)] {
            assert!(matches!(read(&zgc(count).0, Collector::Zgc), Err(Implausible::Value(_, found)) if found == count));
        }
        for (word, value) in [(1, 64 * MIB), (1, u64::MAX), (2, 64 * MIB), (2, u64::MAX)] {
            let (mut planted, _, partitions, _) = zgc(2);
            planted.set(partitions + 8 * word, value);
            assert!(matches!(read(&planted, Collector::Zgc), Err(Implausible::Value(..))), "{word} {value:#x}");
        }
        for limit in [ZGC_MAXIMUM + 1, u64::MAX] {
            let (mut planted, heap, ..) = zgc(2);
            planted.set(heap + 8, limit);
            assert!(matches!(read(&planted, Collector::Zgc), Err(Implausible::Value(_, found)) if found == limit));
        }
        for wild in [0, 1, 1 << 46, u64::MAX - 7] {
            let (mut planted, heap, ..) = zgc(2);
            planted.set(heap + 16, wild);
            assert!(read(&planted, Collector::Zgc).is_err(), "{wild:#x}");
        }
    }
}
