//! G1's regions that hold humongous objects, which no bean tells.
//!
//! `HeapRegion` became `G1HeapRegion` in JDK 23 (measured on 21 and 25), and JDK 8 keeps the length of a set of regions in
//! an object of its own.

use crate::discovery::{HotSpotMemory, Implausible};

/// Where G1 counts humongous regions.
#[derive(Debug)]
pub(super) struct HumongousReader {
    /// The address of the number of regions.
    length: u64,
    /// Bytes of a region.
    region: u64,
}

impl HumongousReader {
    pub(super) const NAME: &str = "humongous";

    pub(super) fn of(memory: &HotSpotMemory) -> Result<Self, Implausible> {
        let heap = memory.pointer(memory.address("Universe", "_collectedHeap")?)?;
        let set = heap.wrapping_add(memory.offset("G1CollectedHeap", "_humongous_set")?);
        let length = memory
            .offset("G1HeapRegionSetBase", "_length")
            .or_else(|_| memory.offset("HeapRegionSetBase", "_length"))
            .or_else(|_| {
                let count = memory.offset("HeapRegionSetBase", "_count")?;
                Ok::<u64, Implausible>(count.wrapping_add(memory.offset("HeapRegionSetCount", "_length")?))
            })?;
        let region =
            memory.address("G1HeapRegion", "GrainBytes").or_else(|_| memory.address("HeapRegion", "GrainBytes"))?;
        let region = memory.word(region)?;
        // G1 takes 1 to 32 MB, since JDK 18 up to 512 MB.
        if !region.is_power_of_two() || !(1 << 20..=512 << 20).contains(&region) {
            return Err(Implausible::Value("the size of a region of G1", region));
        }
        Ok(Self { length: set.wrapping_add(length), region })
    }

    /// Bytes of humongous regions.
    pub(super) fn read(&self, memory: &HotSpotMemory) -> Result<u64, Implausible> {
        let length = memory.half(self.length)?;
        let bytes = u64::from(length).checked_mul(self.region).filter(|bytes| *bytes <= 1 << 44);
        bytes.ok_or(Implausible::Value("the number of humongous regions", length.into()))
    }
}
