//! A JVM's reply to `VM.metaspace basic`.

#![no_main]

use hotspot_exporter::providers::attach::diagnostics::parse_metaspace;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let reply = parse_metaspace(&String::from_utf8_lossy(bytes));
    for size in [reply.whole, reply.class_space].into_iter().flatten() {
        assert!(i64::try_from(size.used.max(size.committed)).is_ok(), "{size:?}");
    }
});
