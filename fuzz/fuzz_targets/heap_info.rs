//! A JVM's reply to `GC.heap_info`.

#![no_main]

use hotspot_exporter::providers::attach::diagnostics::parse_heap_info;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let reply = parse_heap_info(&String::from_utf8_lossy(bytes));
    for (index, pool) in reply.pools.iter().enumerate() {
        assert!(pool.used <= pool.committed && i64::try_from(pool.committed).is_ok(), "{pool:?}");
        assert!(reply.pools[..index].iter().all(|other| other.name != pool.name), "{pool:?}");
    }
});
