//! What the writers of protobuf have in common: messages that are put together from encoded pieces.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Appends the key and length of a field that is a message or a text. The caller appends its `length` bytes.
pub(super) fn begin(field: u32, length: usize, out: &mut Vec<u8>) {
    // Nearly all fields are small, and one begins with every value of a page or push.
    match (u8::try_from(field), length) {
        (Ok(0..16), 0..0x80) => out.extend_from_slice(&[message_key(field), length as u8]),
        (Ok(0..16), 0x80..0x4000) => {
            out.extend_from_slice(&[message_key(field), length as u8 | 0x80, (length >> 7) as u8]);
        }
        _ => {
            encode_key(field, WireType::LengthDelimited, out);
            encode_varint(length as u64, out);
        }
    }
}

/// Bytes of a field with `length` bytes of content.
pub(super) fn framed_length(field: u32, length: usize) -> usize {
    key_len(field) + encoded_len_varint(length as u64) + length
}

/// The key of a field that is a message or a text, with a number below 16.
pub(super) const fn message_key(field: u32) -> u8 {
    (field << 3) as u8 | WireType::LengthDelimited as u8
}

/// The key of a double or another field of 64 bits, with a number below 16.
pub(super) const fn fixed_key(field: u32) -> u8 {
    (field << 3) as u8 | WireType::SixtyFourBit as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_begins_as_prost_begins_it() {
        for field in [1, 4, 15, 16, 2047] {
            for length in [0, 1, 127, 128, 255, 256, 16_383, 16_384, 65_535, 65_536, 1 << 30] {
                let (mut own, mut expected) = (Vec::new(), Vec::new());
                begin(field, length, &mut own);
                encode_key(field, WireType::LengthDelimited, &mut expected);
                encode_varint(length as u64, &mut expected);
                assert_eq!(own, expected, "field {field} of {length} bytes");
                assert_eq!(framed_length(field, length), expected.len() + length);
            }
        }
        assert_eq!((message_key(15), fixed_key(3)), (0x7a, 0x19));
    }
}
