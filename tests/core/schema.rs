//! The JSON Schemas and the default configuration are generated from the declarations of the keys, and every
//! configuration that is shipped or shown is valid. `UPDATE_GOLDEN=1 cargo test --test core schema` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use hotspot_exporter::config::{self, Overrides, Problems};
use hotspot_exporter::rules;
use regex::Regex;
use serde_json::Value as Json;

use crate::support::package;

/// Longest line of a generated file.
const WIDTH: usize = 120;

/// What stands above the keys of the default configuration.
const HEAD: &str = "\
# The configuration of hotspot-exporter: every key with its default. The file and every key in it are optional.
# `hotspot-exporter --config.check --config.file=FILE` prints every problem of a file. SIGHUP reloads it.
";

fn read(path: impl AsRef<Path>) -> String {
    let path = package().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files of a directory of the package with that extension.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(package().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|file| file.extension().is_some_and(|end| end == extension)).collect();
    files.sort();
    assert!(!files.is_empty(), "{directory}");
    files
}

/// Compares a generated file, or writes it.
fn compare(path: &str, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(package().join(path), text).unwrap();
        return;
    }
    let kept = fs::read_to_string(package().join(path)).unwrap_or_default();
    let differs = text.lines().zip(kept.lines()).find(|(one, other)| one != other);
    assert!(text == kept, "{path} is old: UPDATE_GOLDEN=1 cargo test --test core schema\n{differs:#?}");
}

/// JSON with each value on one line if it fits.
fn pretty(value: &Json) -> String {
    let mut out = String::new();
    write(value, 0, 0, &mut out);
    out.push('\n');
    out
}

/// `column` is where the value starts.
fn write(value: &Json, indent: usize, column: usize, out: &mut String) {
    let line = one_line(value);
    let entries: Vec<(String, &Json)> = match value {
        Json::Object(object) => {
            object.iter().map(|(key, value)| (format!("{}: ", Json::from(&**key)), value)).collect()
        }
        Json::Array(list) => list.iter().map(|value| (String::new(), value)).collect(),
        _ => Vec::new(),
    };
    // With the comma after it.
    if entries.is_empty() || column + line.chars().count() < WIDTH {
        out.push_str(&line);
        return;
    }
    let (open, close) = if value.is_object() { ('{', '}') } else { ('[', ']') };
    out.push(open);
    for (number, (key, value)) in entries.iter().enumerate() {
        out.push_str(if number > 0 { ",\n" } else { "\n" });
        out.push_str(&" ".repeat(indent + 2));
        out.push_str(key);
        write(value, indent + 2, indent + 2 + key.len(), out);
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push(close);
}

fn one_line(value: &Json) -> String {
    match value {
        Json::Object(object) => {
            let pairs: Vec<String> =
                object.iter().map(|(key, value)| format!("{}: {}", Json::from(&**key), one_line(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Json::Array(list) => format!("[{}]", list.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[test]
fn schemas_follow_from_the_declarations() {
    compare("config/schema.json", &pretty(&config::schema()));
    compare("config/profile.schema.json", &pretty(&rules::schema()));
}

/// Both charts take the exporter's configuration as their value `config`.
#[test]
fn charts_take_the_same_configuration() {
    for (chart, kinds) in
        [("hotspot-exporter", "object".into()), ("hotspot-sidecar", serde_json::json!(["object", "null"]))]
    {
        let mut schema = config::schema();
        let schema = schema.as_object_mut().unwrap();
        schema.retain(|key, _| !key.starts_with('$') && key != "title");
        schema["type"] = kinds;
        let path = format!("helm/{chart}/values.schema.json");
        let mut values: Json = serde_json::from_str(&read(&path)).unwrap();
        values["properties"]["config"] = Json::Object(schema.clone());
        compare(&path, &pretty(&values));
    }
}

/// The default configuration has every key in the order of its declaration, its documentation and its default.
#[test]
fn the_default_file_follows_from_the_declarations() {
    let mut text = HEAD.to_owned();
    write_keys(&config::schema(), "", &mut text);
    compare("config/hotspot-exporter.yaml", &text);
}

fn write_keys(schema: &Json, indent: &str, out: &mut String) {
    for (key, property) in schema["properties"].as_object().unwrap() {
        if indent.is_empty() {
            out.push('\n');
        }
        comment(property["description"].as_str().unwrap(), indent, out);
        let value = property.get("default").map(|value| format!(" {}", flow(value))).unwrap_or_default();
        out.push_str(&format!("{indent}{key}:{value}\n"));
        if property["properties"].is_object() {
            write_keys(property, &format!("{indent}  "), out);
        }
    }
}

/// A description as a comment; fenced lines are indented and stay as they are.
fn comment(description: &str, indent: &str, out: &mut String) {
    let mut is_fenced = false;
    for line in description.lines() {
        if line.starts_with("```") {
            is_fenced ^= true;
        } else if is_fenced {
            out.push_str(format!("{indent}#   {line}").trim_end());
            out.push('\n');
        } else {
            let mut row = format!("{indent}#");
            for word in line.split(' ') {
                if row.chars().count() + 1 + word.chars().count() > WIDTH {
                    out.push_str(&row);
                    row = format!("\n{indent}#");
                }
                row.push(' ');
                row.push_str(word);
            }
            out.push_str(row.trim_end());
            out.push('\n');
        }
    }
}

/// A value in YAML, on one line.
fn flow(value: &Json) -> String {
    match value {
        Json::String(text) if Regex::new("^[A-Za-z0-9_./]+$").unwrap().is_match(text) => text.clone(),
        Json::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// What a schema finds wrong with a document.
fn violations(schema: &Json, text: &str) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    let document: Json = yaml_serde::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// Loads a configuration that names no file.
fn load(text: &str) -> Result<(), Problems> {
    let file = Path::new("shown.yaml");
    let read = |path: &Path| if path == file { Ok(text.to_owned()) } else { Err(std::io::ErrorKind::NotFound.into()) };
    config::load(Some(file), &Overrides::default(), &read).map(drop)
}

#[test]
fn schemas_are_schemas() {
    for schema in [config::schema(), rules::schema()] {
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn shipped_files_follow_the_schemas() {
    assert_eq!(violations(&config::schema(), &read("config/hotspot-exporter.yaml")), [""; 0]);
    for file in files("config/profiles", "yaml") {
        assert_eq!(violations(&rules::schema(), &read(&file)), [""; 0], "{}", file.display());
    }
}

/// The configurations that Helm renders, and that of the manifests for use without Helm.
#[test]
fn config_maps_hold_valid_configurations() {
    let mut found = 0;
    for file in [files("tests/golden/helm", "yaml"), files("deploy/kubernetes", "yaml")].concat() {
        for document in read(&file).split("\n---\n") {
            let Ok(manifest) = yaml_serde::from_str::<Json>(document) else { continue };
            let Some(text) = manifest["data"]["config.yaml"].as_str() else { continue };
            found += 1;
            assert_eq!(violations(&config::schema(), text), [""; 0], "{}", file.display());
            load(text).unwrap_or_else(|problems| panic!("{}: {problems}", file.display()));
        }
    }
    assert!(found >= 3, "{found}");
}

/// A block of YAML in a document is a configuration of the exporter, unless its first line names another file.
#[test]
fn documents_show_valid_configurations() {
    let block = Regex::new(r"(?ms)^ *```ya?ml\n(.*?)^ *```$").unwrap();
    let other_file = Regex::new(r"^# [\w./-]+\.ya?ml\n").unwrap();
    let mut found = 0;
    for file in [files("", "md"), files("docs", "md"), files("docs/runbooks", "md")].concat() {
        for captures in block.captures_iter(&read(&file)).filter(|captures| !other_file.is_match(&captures[1])) {
            let text = &captures[1];
            found += 1;
            assert_eq!(violations(&config::schema(), text), [""; 0], "{}:\n{text}", file.display());
            load(text).unwrap_or_else(|problems| panic!("{}:\n{text}{problems}", file.display()));
        }
    }
    assert!(found >= 5, "{found}");
}

/// The schema and the program agree on what is valid.
#[test]
fn the_schema_accepts_what_the_program_accepts() {
    let rule = |rule: &str| format!("rules: [{rule}]");
    for text in [
        "{}",
        "discovery:\nidentity:\nrules:\n",
        "discovery: {roots: , procfs: {enabled: false}, processes: off}",
        "discovery: {roots: [/tmp, {path: '/a/{b}'}], interval: 1m30s}",
        "sampling: {interval: 0, idle_interval: '0', causes: on}",
        "nmt: {mode: false, interval: 5m}",
        "otlp: {enabled: on, endpoint: , protocol: , interval: , headers: {a: 1, b: x}, resource_attributes: {n: 1}}",
        "otlp: {enabled: false, endpoint: 'HTTPS://[::1]:4317/x'}",
        &rule("{counter: a, metric: 'm.x', type: info, unit: '{x}', scale: 1e-3, help: H., labels: {a.b: 1, c: x}}"),
        &rule("{source: pool.used, metric: m, labels: }"),
        &rule("{counter: 'a.*', action: derive, prefix: p}"),
    ] {
        assert_eq!(violations(&config::schema(), text), [""; 0], "{text}");
        load(text).unwrap_or_else(|problems| panic!("{text}: {problems}"));
    }
    for text in [
        "[]",
        "discovry: {}",
        "discovery: {interval: 5}",
        "discovery: {interval: 0}",
        "discovery: {interval: 1d}",
        "discovery: {roots: [tmp]}",
        "discovery: {roots: [{}]}",
        "discovery: {roots: [{path: /a, label: b}]}",
        "discovery: {procfs: {enabled: true}}",
        "discovery: {procfs: {path: proc}}",
        "identity: {properties: [-Dx]}",
        "identity: {properties: [x=y]}",
        "sampling: {interval: 1}",
        "sampling: {buckets: []}",
        "sampling: {buckets: [0]}",
        "sampling: {causes: maybe}",
        "nmt: {mode: loud}",
        "profiles: []",
        "otlp: {endpoint: 'localhost:4317'}",
        "otlp: {endpoint: 'http://user@host'}",
        "otlp: {protocol: carrier}",
        "otlp: {headers: {a: {value: x}}}",
        "limits: {max_jvms: 0}",
        "limits: {max_jvms: 1.5}",
        "limits: {max_label_value_length: 8}",
        &rule("{metric: m}"),
        &rule("{counter: a, source: pool.used, metric: m}"),
        &rule("{counter: a}"),
        &rule("{counter: a, action: drop, metric: m}"),
        &rule("{counter: a, metric: m, prefix: p}"),
        &rule("{source: pool.usd, metric: m}"),
        &rule("{counter: a, metric: m, type: meter}"),
        &rule("{counter: a, metric: m, unit: 'a b'}"),
        &rule("{counter: a, metric: m, scale: 0}"),
        &rule("{counter: a, metric: m, labels: {'b c': x}}"),
    ] {
        assert!(load(text).is_err(), "the program accepts {text}");
        assert_ne!(violations(&config::schema(), text), [""; 0], "the schema accepts {text}");
    }
}
