//! A JVM's reply to `Compiler.codecache`.

#![no_main]

use hotspot_exporter::providers::attach::diagnostics::{CODE_HEAPS_MAXIMUM, parse_code_cache};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let reply = parse_code_cache(&String::from_utf8_lossy(bytes));
    assert!(reply.heaps.len() <= CODE_HEAPS_MAXIMUM);
    for (index, heap) in reply.heaps.iter().enumerate() {
        assert!(heap.used <= heap.committed && heap.committed <= heap.limit, "{heap:?}");
        assert!(!heap.name.contains(char::is_control) && i64::try_from(heap.limit).is_ok(), "{heap:?}");
        assert!(reply.heaps[..index].iter().all(|other| other.name != heap.name), "{heap:?}");
    }
});
