//! The JVM's flags (`-XX`), their values and who set them, from an allow-list of numbers and switches: texts may hold paths
//! and secrets.
//!
//! Values and origins equal those of `jcmd VM.flags -all` (measured on JDK 8 to 27).

use std::collections::HashMap;

use crate::discovery::{HotSpotMemory, Implausible};
use crate::hotspot::PUBLISHED_FLAGS;

/// Read, and not published: what other readers depend on.
const INTERNAL: &[&str] = &["UseCompressedClassPointers", "UseNUMA", "ZGenerational"];
/// Most flags; JDKs have 800 to 1,500.
const FLAGS: u64 = 8192;
/// Bytes of a name that are read; the names above are shorter.
const NAME_LENGTH: usize = 32;
const PAGE: u64 = 4096;

/// Where the flags are.
#[derive(Debug)]
pub(super) struct FlagsReader {
    flags: Vec<FlagPlace>,
}

#[derive(Debug)]
struct FlagPlace {
    name: &'static str,
    is_internal: bool,
    value: u64,
    /// The address of the word with the origin.
    origin: u64,
    kind: FlagKind,
}

/// How a value is stored (jvmFlag.hpp; on JDK 8 and 11 by the text of its type).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlagKind {
    Bool,
    Int,
    Uint,
    Intx,
    Uintx,
    Double,
}

/// A flag's value and origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FlagReading {
    pub(super) name: &'static str,
    /// Who set it, in words of jvmFlag.hpp.
    pub(super) origin: &'static str,
    pub(super) value: FlagValue,
    /// Not to be published.
    pub(super) is_internal: bool,
}

/// A number or a switch, which is 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FlagValue {
    Whole(i64),
    Double(f64),
}

impl FlagsReader {
    pub(super) const NAME: &str = "flags";

    pub(super) fn of(memory: &HotSpotMemory, feature: u32) -> Result<Self, Implausible> {
        let flag_type = if feature == 8 { "Flag" } else { "JVMFlag" };
        let array = memory.pointer(memory.address(flag_type, "flags")?)?;
        let count = memory.word(memory.address(flag_type, "numFlags")?)?;
        let size = memory.size(flag_type)?;
        if !(1..=FLAGS).contains(&count) || !(24..=128).contains(&size) {
            return Err(Implausible::Value("the number of flags", count));
        }
        let [name, address, origin, kind] =
            ["_name", "_addr", "_flags", "_type"].map(|field| memory.offset(flag_type, field));
        let (name, address, origin, kind) = (name?, address?, origin?, kind?);
        let mut block = vec![0; usize::try_from(count.wrapping_mul(size)).unwrap_or_default()];
        memory.read(array, &mut block)?;
        let mut names = FlagNames { memory, pages: HashMap::new() };
        let mut flags = Vec::new();
        for (number, entry) in (0..count).zip(block.chunks_exact(usize::try_from(size).unwrap_or(1))) {
            let word = |offset: u64| {
                let at = usize::try_from(offset).ok()?;
                let bytes = entry.get(at..at.saturating_add(8).min(entry.len()))?;
                let mut word = [0; 8];
                word.get_mut(..bytes.len())?.copy_from_slice(bytes);
                Some(u64::from_ne_bytes(word))
            };
            let Some(found) = word(name).and_then(|name| names.wanted(name)) else { continue };
            let kind = match feature {
                ..=16 => word(kind).and_then(|text| names.kind(text)),
                _ => word(kind).and_then(kind_of_number),
            };
            let (Some(value), Some(kind)) = (word(address), kind) else { continue };
            let origin = array.wrapping_add(number.wrapping_mul(size)).wrapping_add(origin);
            if flags.iter().any(|flag: &FlagPlace| flag.name == found) {
                return Err(Implausible::Value("a flag for the second time, of which the number", number));
            }
            let is_internal = INTERNAL.contains(&found);
            flags.push(FlagPlace { name: found, is_internal, value, origin, kind });
        }
        Ok(Self { flags })
    }

    pub(super) fn read(&self, memory: &HotSpotMemory) -> Result<Vec<FlagReading>, Implausible> {
        self.flags.iter().map(|flag| flag.read(memory)).collect()
    }
}

impl FlagPlace {
    fn read(&self, memory: &HotSpotMemory) -> Result<FlagReading, Implausible> {
        let value = match self.kind {
            FlagKind::Bool => match memory.bytes::<1>(self.value)? {
                [value @ 0..=1] => FlagValue::Whole(value.into()),
                [value] => return Err(Implausible::Value("a switch", value.into())),
            },
            FlagKind::Int => FlagValue::Whole(i32::from_ne_bytes(memory.bytes(self.value)?).into()),
            FlagKind::Uint => FlagValue::Whole(memory.half(self.value)?.into()),
            FlagKind::Intx => FlagValue::Whole(memory.word(self.value)?.cast_signed()),
            // Beyond i64 are limits that mean none.
            FlagKind::Uintx => match i64::try_from(memory.word(self.value)?) {
                Ok(value) => FlagValue::Whole(value),
                Err(_) => FlagValue::Double(memory.word(self.value)? as f64),
            },
            FlagKind::Double => match f64::from_ne_bytes(memory.bytes(self.value)?) {
                value if value.is_finite() => FlagValue::Double(value),
                value => return Err(Implausible::Value("a flag of real numbers", value.to_bits())),
            },
        };
        let origin = match memory.half(self.origin)? & 0xf {
            0 => "default",
            1 => "command_line",
            2 => "environment",
            3 => "config_file",
            4 => "management",
            5 => "ergonomic",
            6 => "attach",
            7 => "internal",
            other => return Err(Implausible::Value("the origin of a flag", other.into())),
        };
        Ok(FlagReading { name: self.name, origin, value, is_internal: self.is_internal })
    }
}

/// jvmFlag.hpp, JDK 17 to 27; texts and sizes of other kinds are not published.
fn kind_of_number(word: u64) -> Option<FlagKind> {
    match word & 0xffff_ffff {
        0 => Some(FlagKind::Bool),
        1 => Some(FlagKind::Int),
        2 => Some(FlagKind::Uint),
        3 => Some(FlagKind::Intx),
        4..=6 => Some(FlagKind::Uintx),
        7 => Some(FlagKind::Double),
        _ => None,
    }
}

/// Names and types of flags in the library's constant data, a page at a time: they lie close together.
struct FlagNames<'a> {
    memory: &'a HotSpotMemory,
    pages: HashMap<u64, Option<Box<[u8; 4096]>>>,
}

impl FlagNames<'_> {
    /// The text at an address, as far as it is read.
    fn bytes(&mut self, address: u64) -> Option<[u8; NAME_LENGTH]> {
        let page = address / PAGE;
        // Hostile names could lie anywhere.
        if self.pages.len() > 256 {
            return None;
        }
        let memory = self.memory;
        let bytes = self.pages.entry(page).or_insert_with(|| memory.bytes(page.wrapping_mul(PAGE)).ok().map(Box::new));
        let from = usize::try_from(address % PAGE).ok()?;
        match bytes.as_ref()?.get(from..from.checked_add(NAME_LENGTH)?) {
            Some(bytes) => bytes.try_into().ok(),
            None => memory.bytes(address).ok(),
        }
    }

    fn wanted(&mut self, address: u64) -> Option<&'static str> {
        let bytes = self.bytes(address)?;
        let name = bytes.split(|byte| *byte == 0).next().filter(|name| name.len() < NAME_LENGTH)?;
        PUBLISHED_FLAGS.iter().chain(INTERNAL).find(|wanted| wanted.as_bytes() == name).copied()
    }

    fn kind(&mut self, address: u64) -> Option<FlagKind> {
        let bytes = self.bytes(address)?;
        match bytes.split(|byte| *byte == 0).next()? {
            b"bool" => Some(FlagKind::Bool),
            b"int" => Some(FlagKind::Int),
            b"uint" => Some(FlagKind::Uint),
            b"intx" => Some(FlagKind::Intx),
            b"uintx" | b"uint64_t" | b"size_t" => Some(FlagKind::Uintx),
            b"double" => Some(FlagKind::Double),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use crate::providers::introspection::planted::Planted;

    /// Flags of JDK 17 by name and kind, each with the value 1; the addresses of the entries and of the values.
    struct PlantedFlags {
        planted: Planted,
        entries: u64,
        values: u64,
        count: u64,
    }

    impl PlantedFlags {
        fn new(flags: &[(&str, u64)], size: u64) -> Self {
            let mut planted = Planted::new();
            let values = planted.object(&vec![1; flags.len()]);
            let names: Vec<u64> = flags.iter().map(|(name, _)| text(&mut planted, name)).collect();
            let entry = |(number, (_, kind)): (usize, &(&str, u64))| {
                [values + 8 * number as u64, names[number], kind << 32 | 5]
            };
            let words: Vec<u64> = flags.iter().enumerate().flat_map(entry).collect();
            let entries = planted.object(&words);
            planted.field("JVMFlag", "flags", entries);
            let count = planted.field("JVMFlag", "numFlags", flags.len() as u64);
            planted.fields(&[
                ("JVMFlag", "_addr", 0),
                ("JVMFlag", "_name", 8),
                ("JVMFlag", "_flags", 16),
                ("JVMFlag", "_type", 20),
                ("JVMFlag", "sizeof", size),
            ]);
            Self { planted, entries, values, count }
        }

        fn read(&self) -> Result<Vec<(&'static str, FlagValue)>, Implausible> {
            let memory = self.planted.memory();
            let flags = FlagsReader::of(&memory, 17)?.read(&memory)?;
            assert!(flags.iter().all(|flag| flag.origin == "ergonomic"));
            Ok(flags.into_iter().map(|flag| (flag.name, flag.value)).collect())
        }
    }

    fn text(planted: &mut Planted, text: &str) -> u64 {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(48, 0);
        let (words, _) = bytes.as_chunks();
        planted.object(&words.iter().map(|word| u64::from_ne_bytes(*word)).collect::<Vec<_>>())
    }

    fn two() -> PlantedFlags {
        PlantedFlags::new(&[("UseG1GC", 0), ("Other", 0), ("MaxRAMPercentage", 7)], 24)
    }

    #[test]
    fn allowed_flags_are_read_and_others_are_not() {
        let tiny = f64::from_bits(1);
        let expected = vec![("UseG1GC", FlagValue::Whole(1)), ("MaxRAMPercentage", FlagValue::Double(tiny))];
        assert_eq!(two().read(), Ok(expected));
        let text = PlantedFlags::new(&[("UseG1GC", 8), ("MaxHeapSize", 9), ("UseZGC", u64::from(u32::MAX))], 24);
        assert_eq!(text.read(), Ok(vec![]), "no texts");
    }

    #[test]
    fn numbers_and_sizes_that_no_jdk_has_are_refused() {
        for count in [0, FLAGS + 1, 1 << 32, u64::MAX] {
            let mut flags = two();
            flags.planted.set(flags.count, count);
            assert_eq!(flags.read(), Err(Implausible::Value("the number of flags", count)));
        }
        for size in [0, 23, 129, (1 << 20) - 1] {
            assert!(matches!(PlantedFlags::new(&[("UseG1GC", 0)], size).read(), Err(Implausible::Value(..))), "{size}");
        }
    }

    #[test]
    fn a_flag_that_comes_twice_is_none() {
        let flags = PlantedFlags::new(&[("UseG1GC", 0), ("Other", 0), ("UseG1GC", 0)], 24);
        assert!(matches!(flags.read(), Err(Implausible::Value(_, 2))));
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for (word, value) in [(0, 2), (0, 0xff), (2, f64::NAN.to_bits()), (2, f64::INFINITY.to_bits())] {
            let mut flags = two();
            flags.planted.set(flags.values + 8 * word, value);
            assert!(matches!(flags.read(), Err(Implausible::Value(..))), "{word} {value:#x}");
        }
        for wild in [0, 1, 1 << 46, 0xffff_8000_0000_0000, u64::MAX] {
            let mut flags = two();
            flags.planted.set(flags.entries, wild);
            assert!(flags.read().is_err(), "value at {wild:#x}");
            let mut flags = two();
            flags.planted.set(flags.entries + 8, wild);
            assert_eq!(flags.read().map(|flags| flags.len()), Ok(1), "name at {wild:#x}");
        }
        let mut flags = two();
        flags.planted.set(flags.entries + 16, 8);
        assert_eq!(flags.read(), Err(Implausible::Value("the origin of a flag", 8)));
    }
}
