//! The fields of a class in either form in which a JVM's memory has them.
//!
//! Checks: no panic; a bounded number of fields, and of a stream no more than its bytes can hold.

#![no_main]

use hotspot_exporter::providers::introspection::objects::field_layout::{FIELDS_MAXIMUM, of_array, of_stream};
use libfuzzer_sys::fuzz_target;

/// A field takes at least so many bytes of a stream, and of an array.
const STREAM_BYTES: usize = 5;
const ARRAY_BYTES: usize = 12;

fuzz_target!(|bytes: &[u8]| {
    let count = usize::from(bytes.first().copied().unwrap_or_default()) << 4;
    assert!(of_array(bytes, count).len() <= count.min(FIELDS_MAXIMUM).min(bytes.len() / ARRAY_BYTES));
    if let Some(fields) = of_stream(bytes) {
        assert!(fields.len() <= FIELDS_MAXIMUM.min(bytes.len() / STREAM_BYTES));
    }
});
