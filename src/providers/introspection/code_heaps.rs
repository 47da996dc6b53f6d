//! The code cache: its heaps, and how full they are.
//!
//! vmStructs describe the memory of a `CodeHeap` and the logarithm of its segments' size. What says how much of it is used
//! lies beside that logarithm, at the same distance in JDK 8 to 27 (heap.hpp, measured), and is believed only where the
//! neighbours that repeat a known size agree.

use crate::discovery::{HotSpotMemory, Implausible};

/// Most heaps; HotSpot has 3, and one more in development.
const HEAPS: u32 = 8;
/// Bytes of a heap that are read: HotSpot's have less than 400.
const LENGTH: usize = 512;
/// Longest name.
const NAME_LENGTH: usize = 48;
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
    pub(super) name: Box<str>,
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
        self.heaps.iter().map(|heap| self.heap(memory, *heap)).collect()
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
            && next <= segments;
        if !agrees {
            return Err(Implausible::Value("the segments of a code heap", next));
        }
        let used = next.saturating_sub(free).saturating_mul(segment);
        if self.jdk8 {
            let name = UNNAMED.into();
            return Ok(CodeHeapReading { name, used, committed, limit, nmethods: None, full: None });
        }
        let name = name(memory, near(56)?)?;
        let far = |distance: i64| half(self.log2.wrapping_add_signed(distance));
        Ok(CodeHeapReading { name, used, committed, limit, nmethods: Some(far(72)?), full: Some(far(80)?) })
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

fn name(memory: &HotSpotMemory, address: u64) -> Result<Box<str>, Implausible> {
    let bytes: [u8; NAME_LENGTH] = memory.bytes(address)?;
    let text = bytes.split(|byte| *byte == 0).next().and_then(|text| std::str::from_utf8(text).ok());
    let is_name = |text: &&str| {
        text.len() < NAME_LENGTH
            && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            && (*text == "CodeCache" || text.starts_with("CodeHeap '"))
    };
    text.filter(is_name).map(Into::into).ok_or(Implausible::Value("the name of a code heap", address))
}
