//! Strings of a live region, read as words.

use crate::perfdata::ByteOrder;

/// A string counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextCounter {
    offset: u32,
    length: u32,
    order: ByteOrder,
}

impl TextCounter {
    /// A string of at most `length` bytes at a byte offset of the region.
    pub(super) fn new(offset: u32, length: u32, order: ByteOrder) -> Self {
        Self { offset, length, order }
    }

    /// Offsets of the words that contain the first `bytes` bytes of the string.
    pub(crate) fn words(&self, bytes: u32) -> impl Iterator<Item = u32> + use<> {
        let end = self.offset.saturating_add(bytes.min(self.length));
        (self.offset & !7..end).step_by(8)
    }

    /// The string in those words, up to its NUL; invalid UTF-8 is replaced.
    pub(crate) fn decode(&self, words: &[i64]) -> String {
        let bytes: Vec<u8> = words.iter().flat_map(|word| bytes_of(*word, self.order)).collect();
        let from = usize::try_from(self.offset & 7).unwrap_or(0);
        let text = bytes.get(from..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// Whether the string in those words is `text`.
    pub(crate) fn is(&self, words: &[i64], text: &str) -> bool {
        let bytes = words.iter().flat_map(|word| bytes_of(*word, self.order));
        let from = usize::try_from(self.offset & 7).unwrap_or(0);
        bytes.skip(from).take(text.len().saturating_add(1)).eq(text.bytes().chain([0]))
    }

    /// Length in bytes, including the NUL.
    pub(crate) fn length(&self) -> u32 {
        self.length
    }
}

fn bytes_of(word: i64, order: ByteOrder) -> [u8; 8] {
    match order {
        ByteOrder::Big => word.to_be_bytes(),
        ByteOrder::Little => word.to_le_bytes(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn texts_are_read_at_any_offset() {
        for offset in 0..8 {
            for order in [ByteOrder::Little, ByteOrder::Big] {
                let mut bytes = vec![b'x'; 8 + 24];
                bytes.splice(offset..offset + 6, *b"No GC\0");
                let text = TextCounter::new(u32::try_from(offset).unwrap(), 20, order);
                let read = |count: u32| -> Vec<i64> {
                    text.words(count)
                        .map(|at| order.i64(*bytes.get(at as usize..).unwrap().first_chunk().unwrap()))
                        .collect()
                };
                assert!(text.is(&read(6), "No GC"), "{offset}");
                assert!(!text.is(&read(6), "No G"), "a prefix is not it");
                assert_eq!(text.decode(&read(text.length())), "No GC", "{offset}");
            }
        }
    }
}
