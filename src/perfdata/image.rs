//! A private copy of a region, decoded.

use std::hash::{BuildHasher, RandomState};
use std::{borrow::Cow, sync::LazyLock};

use super::entry::{Entries, Entry, walk};
use super::{DataType, DecodeError, Region, RegionError, prologue::Prologue};

/// A copy of one region at one moment. Its values do not change; those of different counters may be microseconds apart,
/// since HotSpot does not order writes of different counters.
#[derive(Clone, Debug)]
pub struct Image {
    /// The header.
    pub prologue: Prologue,
    /// The complete entries.
    pub entries: Entries,
    /// Size of the region in bytes, of which the image has at most the first [`super::IMAGE_MAXIMUM`].
    pub region_size: usize,
    bytes: Vec<u8>,
    /// Hash of each name and its index in the list, in ascending order.
    by_name: Vec<(u64, u32)>,
}

/// A counter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CounterValue<'a> {
    /// A scalar.
    Long(i64),
    /// A string, up to its NUL; invalid UTF-8 is replaced.
    Text(Cow<'a, str>),
    /// Bytes of a type that HotSpot does not write.
    Opaque(&'a [u8]),
}

impl Image {
    /// Decodes the bytes of a region. Damage after the prologue is no error: see [`Entries::stopped`].
    pub fn decode(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let prologue = Prologue::decode(&bytes)?;
        let entries = walk(&prologue, &bytes);
        let hashes = entries.list.iter().map(|entry| hash(&entry.name));
        let mut by_name: Vec<_> = hashes.zip(0..).collect();
        by_name.sort_unstable();
        Ok(Self { prologue, entries, region_size: bytes.len(), bytes, by_name })
    }

    /// Copies and decodes a live region.
    pub fn read(region: &Region) -> Result<Self, RegionError> {
        let mut bytes = Vec::new();
        region.copy(&mut bytes)?;
        Ok(Self { region_size: region.length(), ..Self::decode(bytes)? })
    }

    /// The entry of that exact name; the first one of several.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        let wanted = hash(name);
        let from = self.by_name.partition_point(|(hash, _)| *hash < wanted);
        let candidates = self.by_name.get(from..).unwrap_or_default().iter().take_while(|(hash, _)| *hash == wanted);
        candidates.filter_map(|(_, index)| self.entries.list.get(*index as usize)).find(|entry| *entry.name == *name)
    }

    /// The number of that name; `None` where it is absent or not a scalar.
    pub fn word(&self, name: &str) -> Option<i64> {
        let CounterValue::Long(value) = self.value(self.entry(name)?) else { return None };
        Some(value)
    }

    /// The word at an offset; `None` behind the end.
    pub(crate) fn word_at(&self, offset: u32) -> Option<i64> {
        Some(self.prologue.byte_order.i64(*self.bytes.get(offset as usize..)?.first_chunk()?))
    }

    /// The string of that name; `None` where it is absent or not a string. An empty string may mean "not written yet".
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        let CounterValue::Text(text) = self.value(self.entry(name)?) else { return None };
        Some(text)
    }

    /// The value of an entry of this image.
    pub fn value(&self, entry: &Entry) -> CounterValue<'_> {
        let data = self.bytes.get(entry.offset as usize..).unwrap_or_default();
        if entry.is_text() {
            let field = data.get(..entry.vector_length as usize).unwrap_or(data);
            let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
            return CounterValue::Text(String::from_utf8_lossy(text));
        }
        match (entry.data_type, data.first_chunk()) {
            (DataType::Long, Some(word)) if entry.vector_length == 0 => {
                CounterValue::Long(self.prologue.byte_order.i64(*word))
            }
            _ => CounterValue::Opaque(data.get(..entry.vector_length.max(1) as usize).unwrap_or(data)),
        }
    }

    /// The bytes of the copy.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The hash has a seed: otherwise a region could hold thousands of names with the hash of a name that is looked up.
fn hash(name: &str) -> u64 {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SEED.hash_one(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_types, reason = "they have no seed")]
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use rustc_hash::FxHasher;

    use super::*;

    #[test]
    fn names_are_hashed_with_a_seed() {
        let name = "sun.gc.cause";
        assert_eq!(hash(name), hash(name));
        assert_ne!(hash(name), BuildHasherDefault::<DefaultHasher>::default().hash_one(name));
        assert_ne!(hash(name), BuildHasherDefault::<FxHasher>::default().hash_one(name));
    }
}
