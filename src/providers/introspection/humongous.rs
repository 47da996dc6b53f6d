//! G1's regions that hold humongous objects, which no bean tells.
//!
//! `HeapRegion` became `G1HeapRegion` in JDK 23 (measured on 21 and 25). JDK 8 counts only the first region of an object,
//! and the bytes of all.

use crate::discovery::{HotSpotMemory, Implausible};

/// Where G1 counts humongous regions.
#[derive(Debug)]
pub(super) struct HumongousReader {
    /// The address of the number of regions, or of their bytes.
    amount: u64,
    /// Bytes of a region; `None` where the amount is in bytes.
    region: Option<u64>,
}

impl HumongousReader {
    pub(super) const NAME: &str = "humongous";

    pub(super) fn of(memory: &HotSpotMemory) -> Result<Self, Implausible> {
        let heap = memory.pointer(memory.address("Universe", "_collectedHeap")?)?;
        let set = heap.wrapping_add(memory.offset("G1CollectedHeap", "_humongous_set")?);
        let length =
            memory.offset("G1HeapRegionSetBase", "_length").or_else(|_| memory.offset("HeapRegionSetBase", "_length"));
        let Ok(length) = length else {
            let count = set.wrapping_add(memory.offset("HeapRegionSetBase", "_count")?);
            let bytes = count.wrapping_add(memory.offset("HeapRegionSetCount", "_capacity")?);
            return Ok(Self { amount: bytes, region: None });
        };
        let region =
            memory.address("G1HeapRegion", "GrainBytes").or_else(|_| memory.address("HeapRegion", "GrainBytes"))?;
        let region = memory.word(region)?;
        // G1 takes 1 to 32 MB, since JDK 18 up to 512 MB.
        if !region.is_power_of_two() || !(1 << 20..=512 << 20).contains(&region) {
            return Err(Implausible::Value("the size of a region of G1", region));
        }
        Ok(Self { amount: set.wrapping_add(length), region: Some(region) })
    }

    /// Bytes of humongous regions.
    pub(super) fn read(&self, memory: &HotSpotMemory) -> Result<u64, Implausible> {
        let bytes = match self.region {
            Some(region) => u64::from(memory.half(self.amount)?).checked_mul(region),
            None => Some(memory.word(self.amount)?),
        };
        let bytes = bytes.filter(|bytes| *bytes <= 1 << 44);
        bytes.ok_or(Implausible::Value("the bytes of humongous regions", bytes.unwrap_or(u64::MAX)))
    }
}
