//! The fields of a class as HotSpot stores them: an array of shorts up to JDK 20 (fieldInfo.hpp), a stream of compressed
//! numbers from JDK 21 on (fieldInfo.hpp, unsigned5.hpp).
//!
//! Arbitrary bytes give at most [`FIELDS_MAXIMUM`] fields and never panic.

/// Most fields of a class that are looked at; `java.lang.Thread` has about 30.
pub const FIELDS_MAXIMUM: usize = 1024;
/// Shorts of a field in the array.
const SHORTS: usize = 6;
/// Bits of the array's offset that say what it is.
const TAG_BITS: u32 = 2;

/// A field that Java code declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldEntry {
    /// The number of its name in the class's constant pool.
    pub name: u32,
    /// Bytes from the start of the object, or, of a static field, from that of the class's mirror.
    pub offset: u32,
}

/// The first `count` fields of an array: access, name, signature, initial value, and the two halves of the offset.
pub fn of_array(shorts: &[u8], count: usize) -> Vec<FieldEntry> {
    let (shorts, _) = shorts.as_chunks();
    let shorts: Vec<u32> = shorts.iter().map(|short| u16::from_ne_bytes(*short).into()).collect();
    let (fields, _) = shorts.as_chunks::<SHORTS>();
    let entry = |[_, name, _, _, low, high]: &[u32; SHORTS]| {
        let packed = (*high << u16::BITS) | *low;
        FieldEntry { name: *name, offset: packed >> TAG_BITS }
    };
    fields.iter().take(count.min(FIELDS_MAXIMUM)).map(entry).collect()
}

/// The fields of a stream; `None` for one that ends too early. It begins with the numbers of declared and of injected
/// fields. Each has name, signature, offset, access flags and field flags, and what the latter announce.
pub fn of_stream(bytes: &[u8]) -> Option<Vec<FieldEntry>> {
    const INITIALIZED: u32 = 1;
    const INJECTED: u32 = 1 << 1;
    const GENERIC: u32 = 1 << 2;
    const CONTENDED: u32 = 1 << 4;
    let mut numbers = Unsigned5(bytes);
    let (declared, injected) = (numbers.next()?, numbers.next()?);
    let count = usize::try_from(declared.checked_add(injected)?).ok().filter(|count| *count <= FIELDS_MAXIMUM)?;
    let mut fields = Vec::new();
    for _ in 0..count {
        let [name, _signature, offset, _access, flags] = numbers.array()?;
        for announced in [INITIALIZED, GENERIC, CONTENDED] {
            if flags & announced != 0 {
                numbers.next()?;
            }
        }
        // The names of injected fields are HotSpot's own symbols.
        if flags & INJECTED == 0 {
            fields.push(FieldEntry { name, offset });
        }
    }
    Some(fields)
}

/// Numbers of 1 to 5 bytes. 0 is no byte of a number; bytes below 192 end one.
struct Unsigned5<'b>(&'b [u8]);

impl Unsigned5<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u32; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = self.next()?;
        }
        Some(numbers)
    }
}

impl Iterator for Unsigned5<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        const LONGEST: usize = 5;
        /// Digits from this on continue the number.
        const CONTINUES: u32 = 191;
        const DIGIT_BITS: u32 = 6;
        let mut number = 0_u32;
        for position in 0..LONGEST {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let digit = u32::from(byte.checked_sub(1)?);
            let shift = DIGIT_BITS.wrapping_mul(u32::try_from(position).ok()?);
            number = number.wrapping_add(digit.wrapping_shl(shift));
            if digit < CONTINUES {
                break;
            }
        }
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use proptest::prelude::*;

    use super::*;

    /// As `UNSIGNED5::write_uint` of unsigned5.hpp.
    fn written(numbers: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in numbers {
            let mut rest = *number;
            for position in 0..5 {
                if rest < 191 || position == 4 {
                    bytes.push(rest as u8 + 1);
                    break;
                }
                rest -= 191;
                bytes.push(192 + (rest % 64) as u8);
                rest >>= 6;
            }
        }
        bytes
    }

    #[test]
    fn a_stream_gives_declared_fields() {
        let fields = |bytes: &[u8]| of_stream(bytes).map(|fields| fields.iter().map(|f| (f.name, f.offset)).collect());
        let plain = [7, 8, 16, 2, 0];
        let full = [300, 8, 70_000, 2, 0b1_0101, 1, 2, 3];
        let injected = [1, 2, 24, 0, 0b10];
        let whole = written(&[&[2, 1][..], &plain, &full, &injected].concat());
        assert_eq!(fields(&whole), Some(vec![(7, 16), (300, 70_000)]));
        for length in 0..whole.len() {
            assert_eq!(fields(&whole[..length]), None::<Vec<_>>, "cut to {length}");
        }
        assert_eq!(fields(&written(&[0, 0])), Some(vec![]));
        for counts in [[1025, 0], [1024, 1], [u32::MAX, 1], [1, u32::MAX]] {
            assert_eq!(fields(&written(&counts)), None, "{counts:?}");
        }
        assert_eq!(fields(&[2, 1, 0, 9, 9, 9, 9, 9]), None, "a zero byte");
    }

    #[test]
    fn an_array_gives_declared_fields() {
        let shorts: [u16; 13] = [2, 7, 8, 0, (16 << 2) | 1, 0, 2, 9, 8, 0, 1, 1, 77];
        let bytes: Vec<u8> = shorts.iter().flat_map(|short| short.to_ne_bytes()).collect();
        let expected = [FieldEntry { name: 7, offset: 16 }, FieldEntry { name: 9, offset: 1 << 14 }];
        assert_eq!(of_array(&bytes, 9), expected);
        assert_eq!(of_array(&bytes, 1), expected[..1]);
        assert_eq!(of_array(&bytes[..11], 9), []);
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(numbers in proptest::collection::vec(any::<u32>(), 0..40)) {
            let bytes = written(&numbers);
            prop_assert_eq!(Unsigned5(&bytes).collect::<Vec<_>>(), numbers);
        }

        #[test]
        fn any_bytes_are_legal(bytes: Vec<u8>, count: usize) {
            prop_assert!(of_array(&bytes, count).len() <= FIELDS_MAXIMUM);
            prop_assert!(of_stream(&bytes).is_none_or(|fields| fields.len() <= FIELDS_MAXIMUM));
        }
    }
}
