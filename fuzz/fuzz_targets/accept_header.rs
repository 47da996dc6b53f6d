//! `Accept` and `Accept-Encoding`, one value per line.

#![no_main]

use hotspot_exporter::output::prometheus::negotiate::{encoding, representation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let values = || bytes.split(|byte| *byte == b'\n');
    let found = representation(values()).to_string();
    assert!(found.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{found} is no header value");
    let _ = encoding(values());
});
