//! vmStructs: the description of its own structures that HotSpot keeps in every libjvm for debuggers (vmStructs.cpp, the
//! same in JDK 8 to 27), read from a running process. It gives the addresses of PerfMemory's static fields.
//!
//! All of it lies in the process's writable memory and is hostile: at most [`ENTRIES`] entries of the array are read, and
//! of a string no more than the text that it is compared with.

use std::collections::HashMap;

use super::libjvm::Symbols;
use crate::perfdata::{MemoryError, PROLOGUE_LENGTH, ProcessMemory, REGION_MAXIMUM, REGION_MINIMUM};

/// Entries that are read; JDKs have 1,000 to 3,500.
pub(super) const ENTRIES: u64 = 4096;
/// Possible sizes of an entry in bytes; HotSpot's have 48.
pub(super) const STRIDE: std::ops::RangeInclusive<u64> = 32..=256;

/// Where a JVM keeps its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PerfMemory {
    /// Address of the region.
    pub(super) start: u64,
    /// Its bytes.
    pub(super) capacity: u64,
}

/// Why vmStructs lead to no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VmStructsError {
    /// A read failed.
    #[error(transparent)]
    ProcessMemory(#[from] MemoryError),
    /// Entries of a size that no JDK has.
    #[error("its vmStructs have entries of {0} bytes, expected 32 to 256")]
    Stride(u64),
    /// The entries that were read do not name the field.
    #[error("its vmStructs have no PerfMemory::{0}")]
    Field(&'static str),
    /// PerfMemory is not set up.
    #[error("it has not set up its counters")]
    NotInitialized,
    /// Not the size of a region.
    #[error("its PerfMemory has {0} bytes, expected {REGION_MINIMUM} to {REGION_MAXIMUM}")]
    Capacity(u64),
    /// An address without memory.
    #[error("its PerfMemory lies at {0:#x}, where it has no memory that can be read")]
    Start(u64),
}

/// Finds PerfMemory in a process whose libjvm is loaded at `base`.
pub(super) fn locate(memory: &ProcessMemory, base: u64, symbols: &Symbols) -> Result<PerfMemory, VmStructsError> {
    let fields = StaticFields::find(memory, base, symbols)?;
    if i32::from_ne_bytes(memory.bytes(fields.initialized)?) != 1 {
        return Err(VmStructsError::NotInitialized);
    }
    let (start, capacity) = (word(memory, fields.start)?, word(memory, fields.capacity)?);
    if !(REGION_MINIMUM..=REGION_MAXIMUM).contains(&capacity) {
        return Err(VmStructsError::Capacity(capacity));
    }
    let last = start.checked_add(capacity).and_then(|end| end.checked_sub(1)).ok_or(VmStructsError::Start(start))?;
    let ends = memory.bytes::<PROLOGUE_LENGTH>(start).and_then(|_| memory.bytes::<1>(last));
    if ends.is_err() || !start.is_multiple_of(8) {
        return Err(VmStructsError::Start(start));
    }
    Ok(PerfMemory { start, capacity })
}

fn word(memory: &ProcessMemory, address: u64) -> Result<u64, MemoryError> {
    memory.bytes(address).map(u64::from_ne_bytes)
}

/// Addresses of PerfMemory's static fields.
struct StaticFields {
    start: u64,
    capacity: u64,
    initialized: u64,
}

impl StaticFields {
    fn find(memory: &ProcessMemory, base: u64, symbols: &Symbols) -> Result<Self, VmStructsError> {
        // A sum that wraps is an address without memory.
        let variable = |symbol: u64| word(memory, base.wrapping_add(symbol));
        let (array, stride) = (variable(symbols.structs)?, variable(symbols.stride)?);
        if !STRIDE.contains(&stride) {
            return Err(VmStructsError::Stride(stride));
        }
        let type_name = variable(symbols.type_name)?;
        let (field_name, is_static) = (variable(symbols.field_name)?, variable(symbols.is_static)?);
        let address = variable(symbols.address)?;
        let mut found = [("_start", None), ("_capacity", None), ("_initialized", None)];
        // All entries of a type share its name.
        let mut names = HashMap::new();
        for index in 0..ENTRIES {
            let entry = array.wrapping_add(index.wrapping_mul(stride));
            let name = word(memory, entry.wrapping_add(type_name))?;
            if name == 0 {
                break;
            }
            if !*names.entry(name).or_insert_with(|| holds(memory, name, b"PerfMemory\0")) {
                continue;
            }
            let name = word(memory, entry.wrapping_add(field_name))?;
            let is_static = memory.bytes::<4>(entry.wrapping_add(is_static))? != [0; 4];
            for (field, at) in found.iter_mut().filter(|(_, at)| at.is_none() && is_static) {
                let text = format!("{field}\0");
                if holds(memory, name, text.as_bytes()) {
                    *at = Some(word(memory, entry.wrapping_add(address))?);
                }
            }
            if let [(_, Some(start)), (_, Some(capacity)), (_, Some(initialized))] = found {
                return Ok(Self { start, capacity, initialized });
            }
        }
        let missing = found.iter().find(|(_, at)| at.is_none()).map_or("", |(field, _)| field);
        Err(VmStructsError::Field(missing))
    }
}

/// Whether that text, which ends with its NUL, lies at an address.
fn holds(memory: &ProcessMemory, address: u64, text: &[u8]) -> bool {
    let mut bytes = [0; 16];
    bytes.get_mut(..text.len()).is_some_and(|bytes| memory.read(address, bytes).is_ok() && *bytes == *text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;

    const STRIDE: usize = 48;

    /// vmStructs in the memory of this process, which may read its own.
    struct Planted {
        /// Array pointer, stride and the offsets of type name, field name, static flag and address.
        variables: Vec<u64>,
        entries: Vec<u64>,
        strings: Vec<Box<[u8]>>,
        statics: Box<[u64; 3]>,
        region: Vec<u64>,
    }

    impl Planted {
        fn new() -> Self {
            let region = vec![0_u64; 4096];
            let statics = Box::new([address(&region[..]), 32768, 1]);
            let mut planted = Self { variables: Vec::new(), entries: Vec::new(), strings: Vec::new(), statics, region };
            planted.entry(b"Klass\0", b"_name\0", 0, 0);
            for (at, field) in [&b"_start\0"[..], b"_capacity\0", b"_initialized\0"].into_iter().enumerate() {
                let static_field = address(&planted.statics[at..]);
                planted.entry(b"PerfMemory\0", field, 1, static_field);
            }
            planted
        }

        fn entry(&mut self, type_name: &[u8], field: &[u8], is_static: u64, value: u64) {
            let [type_name, field] = [type_name, field].map(|text| {
                self.strings.push(text.into());
                address(&self.strings[self.strings.len() - 1][..])
            });
            self.entries.extend([type_name, field, 0, is_static, 0, value]);
        }

        fn locate(&mut self, ended: bool) -> Result<PerfMemory, VmStructsError> {
            if ended {
                self.entries.extend([0; STRIDE / 8]);
            }
            self.variables = vec![address(&self.entries[..]), STRIDE as u64, 0, 8, 24, 40];
            self.locate_again()
        }

        fn locate_again(&self) -> Result<PerfMemory, VmStructsError> {
            let symbols = Symbols {
                structs: 0,
                stride: 8,
                type_name: 16,
                field_name: 24,
                is_static: 32,
                address: 40,
                tables: None,
            };
            let own = ProcessMemory::open(std::fs::File::open("/proc/self").unwrap()).unwrap();
            locate(&own, address(&self.variables[..]), &symbols)
        }
    }

    fn address<T>(of: &[T]) -> u64 {
        of.as_ptr() as u64
    }

    #[test]
    fn perf_memory_is_found_by_its_names() {
        let mut planted = Planted::new();
        let expected = PerfMemory { start: address(&planted.region[..]), capacity: 32768 };
        assert_eq!(planted.locate(true), Ok(expected));
        planted.statics[2] = 0;
        assert_eq!(planted.locate_again(), Err(VmStructsError::NotInitialized));
    }

    #[test]
    fn an_array_without_end_is_left() {
        let mut planted = Planted::new();
        planted.entries.truncate(STRIDE / 8);
        let klass = planted.entries.clone();
        planted.entries = klass.repeat(usize::try_from(ENTRIES).unwrap() + 10);
        assert_eq!(planted.locate(false), Err(VmStructsError::Field("_start")));
    }

    #[test]
    fn wild_values_are_refused() {
        let mut planted = Planted::new();
        planted.locate(true).unwrap();
        for (at, value, expected) in [
            (0, 8, VmStructsError::ProcessMemory(MemoryError::Unmapped)),
            (0, u64::MAX, VmStructsError::ProcessMemory(MemoryError::Unmapped)),
            (1, 0, VmStructsError::Stride(0)),
            (1, u64::MAX, VmStructsError::Stride(u64::MAX)),
            (2, u64::MAX / 2, VmStructsError::ProcessMemory(MemoryError::Unmapped)),
            (3, u64::MAX / 2, VmStructsError::ProcessMemory(MemoryError::Unmapped)),
        ] {
            let before = std::mem::replace(&mut planted.variables[at], value);
            assert_eq!(planted.locate_again(), Err(expected), "{at} {value:#x}");
            planted.variables[at] = before;
        }
        for (at, value, expected) in [
            (0, 0, VmStructsError::Start(0)),
            (0, u64::MAX - 7, VmStructsError::Start(u64::MAX - 7)),
            (0, 0xffff_8000_0000_0000, VmStructsError::Start(0xffff_8000_0000_0000)),
            (1, 0, VmStructsError::Capacity(0)),
            (1, 31, VmStructsError::Capacity(31)),
            (1, REGION_MAXIMUM + 1, VmStructsError::Capacity(REGION_MAXIMUM + 1)),
            (1, u64::MAX, VmStructsError::Capacity(u64::MAX)),
        ] {
            let before = std::mem::replace(&mut planted.statics[at], value);
            assert_eq!(planted.locate_again(), Err(expected), "{at} {value:#x}");
            planted.statics[at] = before;
        }
        let odd = planted.statics[0] + 1;
        planted.statics[0] = odd;
        assert_eq!(planted.locate_again(), Err(VmStructsError::Start(odd)));
    }

    #[test]
    fn names_that_lead_nowhere_are_passed_over() {
        let mut planted = Planted::new();
        let good = std::mem::take(&mut planted.entries);
        planted.entry(b"PerfMemoryX", b"_start\0", 1, 0);
        planted.entry(b"PerfMemory\0", b"_startX", 1, 0);
        planted.entry(b"PerfMemory\0", b"_start\0", 0, 0);
        planted.entries.extend([1, 0, 0, 1, 0, 0]);
        planted.entries.extend(good);
        assert!(planted.locate(true).is_ok());
    }
}
