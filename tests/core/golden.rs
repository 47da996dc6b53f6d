//! Golden files of recorded regions of JDK 8 to 25. `UPDATE_GOLDEN=1 cargo test --test core golden` updates them.

use std::collections::BTreeMap;
use std::fs;

use crate::support::exporter::command;
use crate::support::golden::{assert_no_differences, compare};
use crate::support::regions::{Root, fixture, fixtures};
use serde_json::Value;

/// Regions that together cover most collectors and JDKs. There are golden files of every profile and the explanation.
const FULL: [&str; 3] = ["jdk8-Parallel", "jdk21-Z", "jdk25-G1"];

/// Standard output of a call that succeeds.
fn output(arguments: &[String]) -> String {
    let output = command(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}\n{error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The JVM's families of one profile, for one recorded region that is open for writing.
fn exposition(name: &str, profile: &str) -> String {
    let root = Root::new();
    let config = root.path().join("exporter.yaml");
    fs::write(&config, format!("profiles: [{profile}]\n")).unwrap();
    let _writer = root.put(name, 4711);
    let [roots, procfs] = root.flags();
    let page = output(&[format!("--config.file={}", config.display()), roots, procfs, "--once".to_owned()]);
    let has_processes = ["client_java", "micrometer"].contains(&profile);
    let about_jvms = |line: &&str| {
        let name = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
        // Without a process. Of the exporter's own process nothing is on a page with those of JVMs.
        let is_jvms = has_processes && name.starts_with("process_") && !name.starts_with("process_uptime_seconds");
        name.starts_with("jvm_") || name.starts_with("hsperf_") || is_jvms
    };
    page.lines().filter(about_jvms).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn expositions_of_regions() {
    let mut differences = Vec::new();
    for (name, _) in fixtures() {
        let all: &[&str] = &["otel", "client_java", "micrometer", "raw"];
        let profiles = if FULL.contains(&name.as_str()) { all } else { &["otel"] };
        for profile in profiles {
            differences.extend(compare(&format!("{profile}/{name}.prom"), &exposition(&name, profile)).err());
        }
    }
    assert_no_differences(&differences);
}

#[test]
fn explanations_of_regions() {
    let mut differences = Vec::new();
    for name in FULL {
        let path = fixture(name);
        let text = output(&["explain".to_owned(), path.display().to_string()]);
        let text = text.replace(path.to_str().unwrap(), "FILE");
        differences.extend(compare(&format!("explain/{name}.txt"), &text).err());
    }
    assert_no_differences(&differences);
}

/// `dump` of every region equals the output of the JDK's `jstat -snap`.
#[test]
fn dump_equals_the_jdks_own_decoding() {
    for (name, path) in fixtures() {
        let dump: Value =
            serde_json::from_str(&output(&["dump".into(), path.display().to_string(), "--format=json".into()]))
                .unwrap();
        let mut ours = BTreeMap::new();
        for entry in dump["entries"].as_array().unwrap() {
            let value = match &entry["value"] {
                Value::String(text) => format!("\"{text}\""),
                number => number.to_string(),
            };
            ours.insert(entry["name"].as_str().unwrap().to_owned(), value);
        }
        let prologue = &dump["prologue"];
        for (pseudo, field) in [
            ("majorVersion", "major"),
            ("minorVersion", "minor"),
            ("used", "used"),
            ("overflow", "overflow"),
            ("timestamp", "mod_time_stamp"),
        ] {
            ours.insert(format!("sun.perfdata.{pseudo}"), prologue[field].to_string());
        }
        ours.insert("sun.perfdata.size".to_owned(), fs::metadata(&path).unwrap().len().to_string());
        let text = fs::read_to_string(path.with_extension("jstat.txt")).unwrap();
        let theirs: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(ours, theirs, "{name}");
    }
}
