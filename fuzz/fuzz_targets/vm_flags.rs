//! A JVM's reply to `VM.flags`.

#![no_main]

use hotspot_exporter::metric::Value;
use hotspot_exporter::providers::attach::diagnostics::parse_flags;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let flags = parse_flags(&String::from_utf8_lossy(bytes));
    for (index, flag) in flags.iter().enumerate() {
        match flag.value {
            Value::Int(_) => {}
            Value::Float(value) => assert!(value.is_finite(), "{flag:?}"),
            _ => panic!("{flag:?} is a number or a switch"),
        }
        assert!(flags[..index].iter().all(|other| other.name != flag.name), "{flag:?}");
    }
});
