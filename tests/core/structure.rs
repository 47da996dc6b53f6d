//! How the source is built: modules form no cycle, and one name means one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Types whose names the wire format gives (io.prometheus.client, and tonic's codec).
const GIVEN: &[&str] =
    &["Counter", "Gauge", "Histogram", "Metric", "Summary", "Decode", "Decoder", "Encode", "Encoder"];

/// Source files without those of tests, relative to `src`, with their text: comments and inline tests are cut away.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let comment = Regex::new(r"(?m)^\s*//.*$").unwrap();
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_owned();
            let text = name.to_str().unwrap();
            let is_test = text.ends_with("tests.rs") || text.contains("tests/");
            if text.ends_with(".rs") && !is_test && text != "lib.rs" && text != "main.rs" {
                let source = fs::read_to_string(&path).unwrap();
                let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
                found.push((name, comment.replace_all(code, "").into_owned()));
            }
        }
    }
    found
}

/// The top-level module of a file: `config` of `config/load.rs` and of `config.rs`.
fn module(file: &Path) -> String {
    file.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The first names behind `crate::`, of `crate::{a, b::c}` each.
fn used(code: &str) -> BTreeSet<String> {
    let uses = Regex::new(r"crate::(?:\{([^}]*)\}|(\w+))").unwrap();
    let mut names = BTreeSet::new();
    for found in uses.captures_iter(code) {
        let list = found.get(1).or(found.get(2)).unwrap().as_str();
        names.extend(list.split(',').map(|item| item.trim().split("::").next().unwrap().to_owned()));
    }
    names
}

/// A cycle among modules, as the names along it.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk<'e>(
        at: &'e str,
        edges: &'e BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<&'e str>,
        done: &mut BTreeSet<&'e str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|module| *module == at) {
            return Some(way[start..].iter().chain([&at]).map(|module| (*module).to_owned()).collect());
        }
        if !done.insert(at) {
            return None;
        }
        way.push(at);
        let found = edges.get(at).and_then(|next| next.iter().find_map(|next| walk(next, edges, way, done)));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|start| walk(start, edges, &mut Vec::new(), &mut done))
}

#[test]
fn top_level_modules_form_no_cycle() {
    let sources = sources();
    let modules: BTreeSet<String> = sources.iter().map(|(file, _)| module(file)).collect();
    assert!(modules.len() > 15, "the source was read: {modules:?}");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, code) in &sources {
        let own = module(file);
        let others = used(code).into_iter().filter(|other| *other != own && modules.contains(other));
        edges.entry(own.clone()).or_default().extend(others);
    }
    assert_eq!(cycle(&edges), None, "a module uses one above it; see the picture in ARCHITECTURE.md");
}

#[test]
fn a_cycle_is_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    };
    assert_eq!(cycle(&edges(&[("a", "b"), ("a", "c"), ("b", "c")])), None);
    let found = cycle(&edges(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap();
    assert_eq!(found, ["b", "c", "b"]);
    let names = used("use crate::{a, b::c};\nfn f() -> crate::d::E {}\nuse other::f;");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "d"]);
}

#[test]
fn no_two_types_have_one_name() {
    let declaration = Regex::new(r"(?m)^\s*(?:pub(?:\([a-z]+\))? )?(?:struct|enum|trait|union|type) (\w+)").unwrap();
    let mut places: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for (file, code) in sources() {
        for found in declaration.captures_iter(&without_associated_types(&code)) {
            places.entry(found[1].to_owned()).or_default().insert(file.clone());
        }
    }
    places.retain(|name, files| files.len() > 1 && !GIVEN.contains(&name.as_str()));
    assert!(places.is_empty(), "one word for one thing: {places:#?}");
}

/// The code without the bodies of traits and their implementations, whose associated types are no types of their own.
fn without_associated_types(code: &str) -> String {
    let opens = Regex::new(r"^(?:(?:pub(?:\([a-z]+\))? )?trait|impl)\b.*[^}]$").unwrap();
    let mut is_inside = false;
    let kept = code.lines().filter(|line| {
        let keep = !is_inside;
        is_inside = (is_inside || opens.is_match(line)) && *line != "}";
        keep
    });
    kept.collect::<Vec<_>>().join("\n")
}
