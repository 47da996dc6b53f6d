//! A private copy of a region, decoded.

use std::{borrow::Cow, sync::Arc};

use super::{DataType, DecodeError, Entries, Entry, Region, RegionError, prologue::Prologue};

/// A copy of one region at one moment. Its values do not change; those of different counters may be microseconds apart,
/// since HotSpot does not order writes of different counters.
#[derive(Clone, Debug)]
pub struct Image {
    /// The header.
    pub prologue: Prologue,
    /// The complete entries, shared by the images of regions that differ in values only.
    pub entries: Arc<Entries>,
    /// Size of the region in bytes, of which the image has at most the first [`super::IMAGE_MAXIMUM`].
    pub region_size: usize,
    bytes: Vec<u8>,
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
        let entries = Entries::of(&prologue, &bytes);
        Ok(Self { prologue, entries, region_size: bytes.len(), bytes })
    }

    /// Copies and decodes a live region.
    pub fn read(region: &Region) -> Result<Self, RegionError> {
        let mut bytes = Vec::new();
        region.copy(&mut bytes)?;
        Ok(Self { region_size: region.length(), ..Self::decode(bytes)? })
    }

    /// The entry of that exact name; the first one of several.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.find(name)
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
