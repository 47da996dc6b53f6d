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
            FlagKind::Double => FlagValue::Double(f64::from_ne_bytes(memory.bytes(self.value)?)),
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
