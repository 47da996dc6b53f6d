//! The configuration file, or a profile file alone, depending on the input. The same bytes also are a profile that the
//! configuration may name.
//!
//! Checks: no panic; every problem takes one line and names an existing line of the file.

#![no_main]

use std::io;
use std::path::Path;

use hotspot_exporter::config::{self, Overrides};
use hotspot_exporter::rules::Profile;
use libfuzzer_sys::fuzz_target;

/// Compiling the shipped profile takes a hundred times as long as everything else here, so most executions name a small
/// one.
const SMALL: &str = "\nprofiles: [small.yaml]\n";

fuzz_target!(|text: &str| {
    // Either character ends a line of YAML, and the end of the file may count as a line.
    let lines = text.split(['\n', '\r']).count() + 1;
    let choice = text.bytes().fold(0_u8, u8::wrapping_add);
    if choice % 2 == 0 {
        if let Err(problems) = Profile::parse("fuzz.yaml", text, &["container".to_owned()]) {
            for problem in &problems.list {
                assert!((problem.line as usize) <= lines, "{problem}");
            }
        }
        return;
    }
    let whole = choice < 2;
    let main = if whole { text.to_owned() } else { format!("{text}{SMALL}") };
    let read = |path: &Path| -> io::Result<String> {
        Ok(match path.file_name().and_then(|name| name.to_str()) {
            Some("main.yaml") => main.clone(),
            Some("small.yaml") => "profile: small\nrules: []\n".to_owned(),
            _ => text.to_owned(),
        })
    };
    match config::load(Some(Path::new("/fuzz/main.yaml")), &Overrides::default(), &read) {
        Ok(config) => assert!(!config.profiles.is_empty()),
        Err(problems) => {
            let shown = problems.to_string();
            assert_eq!(shown.split('\n').count(), problems.list.len() + usize::from(problems.further > 0), "{shown}");
        }
    }
});
