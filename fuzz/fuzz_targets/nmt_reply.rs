//! A JVM's reply to `VM.native_memory`, through the parser to both output formats of the command line.

#![no_main]

use hotspot_exporter::providers::attach::native_memory::{CATEGORY_MAXIMUM, NmtReply, parse, table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let NmtReply::Summary(summary) = parse(&text) {
        assert!(summary.categories.len() <= CATEGORY_MAXIMUM);
        for (index, category) in summary.categories.iter().enumerate() {
            assert!(summary.categories[..index].iter().all(|other| other.name != category.name), "{}", category.name);
        }
        assert!(!table(&summary).is_empty());
        serde_json::to_vec(&summary).expect("a summary is JSON");
    }
});
