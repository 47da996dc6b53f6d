//! The whole of vmStructs: where HotSpot's types have their fields, how large they are, and the values of constants.
//!
//! The text of a field's type is not read: it changes from release to release (`Atomic<HeapWord*>` in JDK 27). All of it
//! lies in the process's memory and is hostile: at most [`ENTRIES`] entries of an array are read, at most
//! [`TEXT_MAXIMUM`] bytes of a name, and at most [`PAGES`] pages with names. Names are kept as hashes, so that no more is
//! kept of a library than numbers, whatever names it has.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::libjvm::{ColumnSymbols, Symbols};
use super::vm_structs::{ENTRIES, STRIDE};
use crate::perfdata::{MemoryError, ProcessMemory};

/// Longest name; HotSpot's have at most 70 bytes.
const TEXT_MAXIMUM: usize = 128;
/// Pages that may hold names; HotSpot's take about 30.
const PAGES: usize = 1024;
const PAGE: u64 = 4096;
const PAGE_LENGTH: usize = 4096;
/// Entries that are read at once.
const BLOCK: usize = 256;

/// The fields, types and constants of one libjvm. Addresses are relative to where the library is loaded, so all
/// processes that run the library share it.
#[derive(Debug, Default)]
pub(super) struct Structures {
    names: NameHasher,
    /// By type and field.
    fields: HashMap<u64, FieldPlace>,
    sizes: HashMap<u64, u64>,
    constants: HashMap<u64, i64>,
}

/// Hashes names with a seed that no process knows.
#[derive(Debug, Default)]
struct NameHasher(RandomState);

impl NameHasher {
    fn field(&self, type_name: &str, field: &str) -> u64 {
        self.0.hash_one((type_name, field))
    }

    fn name(&self, name: &str) -> u64 {
        self.0.hash_one(name)
    }
}

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldPlace {
    /// Bytes from the start of its object.
    Instance(u64),
    /// Its address, relative to that of the library.
    Static(u64),
}

/// Why a process's vmStructs cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StructuresError {
    /// A read failed.
    #[error("its vmStructs: {0}")]
    Memory(#[from] MemoryError),
    /// The library does not export the tables.
    #[error("its libjvm.so does not export the tables of vmStructs")]
    Symbols,
    /// Sizes and offsets that no JDK has.
    #[error("its vmStructs have entries of {0} bytes with a column at {1}, expected 16 to 256 bytes")]
    Entry(u64, u64),
    /// More than any JDK has.
    #[error("its vmStructs have more than {ENTRIES} entries, or names on more than {PAGES} pages")]
    Endless,
}

impl Structures {
    /// Reads the tables of a process whose library is loaded at `base`.
    pub(super) fn read(memory: &ProcessMemory, base: u64, symbols: &Symbols) -> Result<Self, StructuresError> {
        let tables = symbols.tables.as_ref().ok_or(StructuresError::Symbols)?;
        let variable = |symbol: u64| memory.bytes(base.wrapping_add(symbol)).map(u64::from_ne_bytes);
        let mut texts = Texts { memory, pages: HashMap::new() };
        let mut found = Self::default();

        let columns = [symbols.type_name, symbols.field_name, symbols.is_static, tables.field_offset, symbols.address];
        let mut offsets = [0; 5];
        for (offset, symbol) in offsets.iter_mut().zip(columns) {
            *offset = variable(symbol)?;
        }
        let array = Array { start: variable(symbols.structs)?, stride: variable(symbols.stride)? };
        array.read(memory, offsets, |[type_name, field, is_static, offset, address]| {
            let place = match is_static & 0xffff_ffff {
                0 => FieldPlace::Instance(offset),
                _ => FieldPlace::Static(address.wrapping_sub(base)),
            };
            let (Some(type_name), Some(field)) = (texts.text(type_name)?, texts.text(field)?) else { return Ok(()) };
            found.fields.insert(found.names.field(&type_name, &field), place);
            Ok(())
        })?;
        let Self { names, sizes, constants, .. } = &mut found;
        let mut columns = |symbols: &ColumnSymbols, insert: &mut dyn FnMut(u64, u64)| {
            let array = Array { start: variable(symbols.array)?, stride: variable(symbols.stride)? };
            let offsets = [variable(symbols.name)?, variable(symbols.number)?];
            array.read(memory, offsets, |[name, number]| {
                if let Some(name) = texts.text(name)? {
                    insert(names.name(&name), number);
                }
                Ok(())
            })
        };
        columns(&tables.types, &mut |name, size| _ = sizes.insert(name, size))?;
        // The upper half of an int's word is padding.
        let int = |number: u64| i64::from(i32::from_ne_bytes(u32::to_ne_bytes((number & 0xffff_ffff) as u32)));
        columns(&tables.ints, &mut |name, number| _ = constants.insert(name, int(number)))?;
        columns(&tables.longs, &mut |name, number| _ = constants.insert(name, number.cast_signed()))?;
        found.fields.shrink_to_fit();
        found.sizes.shrink_to_fit();
        found.constants.shrink_to_fit();
        Ok(found)
    }

    /// Those of a test. A field `sizeof` is the size of its type.
    #[cfg(test)]
    pub(super) fn planted<'n>(
        fields: impl Iterator<Item = (&'n str, &'n str, FieldPlace)>,
        constants: &[(&str, i64)],
    ) -> Self {
        let mut planted = Self::default();
        for (type_name, field, place) in fields {
            match place {
                FieldPlace::Instance(size) if field == "sizeof" => {
                    _ = planted.sizes.insert(planted.names.name(type_name), size);
                }
                place => _ = planted.fields.insert(planted.names.field(type_name, field), place),
            }
        }
        planted.constants.extend(constants.iter().map(|(name, value)| (planted.names.name(name), *value)));
        planted
    }

    pub(super) fn field(&self, type_name: &str, field: &str) -> Option<FieldPlace> {
        self.fields.get(&self.names.field(type_name, field)).copied()
    }

    pub(super) fn size(&self, type_name: &str) -> Option<u64> {
        self.sizes.get(&self.names.name(type_name)).copied()
    }

    pub(super) fn constant(&self, name: &str) -> Option<i64> {
        self.constants.get(&self.names.name(name)).copied()
    }
}

/// An array of entries that ends with one without a name.
struct Array {
    start: u64,
    stride: u64,
}

impl Array {
    /// Calls `take` with the words at these offsets of each entry, the first of which is not 0.
    fn read<const N: usize>(
        &self,
        memory: &ProcessMemory,
        offsets: [u64; N],
        mut take: impl FnMut([u64; N]) -> Result<(), StructuresError>,
    ) -> Result<(), StructuresError> {
        let last = offsets.into_iter().max().unwrap_or_default();
        let fits = last.checked_add(8).is_some_and(|end| end <= self.stride);
        if !fits || self.stride < 16 || self.stride > *STRIDE.end() {
            return Err(StructuresError::Entry(self.stride, last));
        }
        let stride = usize::try_from(self.stride).unwrap_or_default();
        let mut block = vec![0; stride.saturating_mul(BLOCK)];
        for number in 0..ENTRIES.div_ceil(BLOCK as u64) {
            let start = self.start.wrapping_add(number.wrapping_mul(block.len() as u64));
            // The last block of an array may reach beyond the mapping; then entries are read one by one.
            let whole = memory.read(start, &mut block).is_ok();
            for at in 0..BLOCK {
                let from = at.saturating_mul(stride);
                let Some(entry) = block.get_mut(from..from.saturating_add(stride)) else { break };
                if !whole {
                    memory.read(start.wrapping_add(from as u64), entry)?;
                }
                let word = |offset: u64| {
                    let at = usize::try_from(offset).ok()?;
                    entry.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_ne_bytes)
                };
                let words = offsets.map(|offset| word(offset).unwrap_or_default());
                if words.first().is_none_or(|name| *name == 0) {
                    return Ok(());
                }
                take(words)?;
            }
        }
        Err(StructuresError::Endless)
    }
}

/// Names in the library's constant data, a page at a time: they lie close together.
struct Texts<'a> {
    memory: &'a ProcessMemory,
    pages: HashMap<u64, Option<Box<[u8; PAGE_LENGTH]>>>,
}

impl Texts<'_> {
    /// The text at an address; `None` if it has none of ASCII that ends within [`TEXT_MAXIMUM`] bytes.
    fn text(&mut self, address: u64) -> Result<Option<Box<str>>, StructuresError> {
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < TEXT_MAXIMUM {
            let number = at / PAGE;
            if !self.pages.contains_key(&number) {
                if self.pages.len() >= PAGES {
                    return Err(StructuresError::Endless);
                }
                let page = self.memory.bytes(number.wrapping_mul(PAGE)).ok();
                self.pages.insert(number, page.map(Box::new));
            }
            let Some(Some(page)) = self.pages.get(&number) else { return Ok(None) };
            let from = usize::try_from(at % PAGE).unwrap_or_default();
            let rest = page.get(from..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == 0);
            text.extend_from_slice(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
            if end.is_some() {
                break;
            }
            at = at.wrapping_add(rest.len() as u64);
        }
        let text = String::from_utf8(text).ok().filter(|text| text.is_ascii());
        Ok(text.filter(|text| (1..=TEXT_MAXIMUM).contains(&text.len())).map(Into::into))
    }
}

#[cfg(test)]
#[path = "structures_tests.rs"]
mod tests;
