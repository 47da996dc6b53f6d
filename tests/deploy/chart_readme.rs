//! The comments of the charts' values, in the form of helm-docs, and the tables that are made from them.

use std::fs;

use serde_json::Value;

use crate::manifest::parse;
use crate::support::package;

const CHARTS: [&str; 2] = ["hotspot-exporter", "hotspot-sidecar"];

/// A value that has a comment.
struct Row {
    key: String,
    description: String,
}

/// What `# -- …` above keys says, with the lines that go on with it; and the keys at which a value stands, each with
/// whether a comment above it or above a key around it describes it.
fn described(text: &str) -> (Vec<Row>, Vec<(String, bool)>) {
    let (mut rows, mut keys) = (Vec::<Row>::new(), Vec::new());
    // Keys around this line, each with its column and whether it has a comment.
    let mut around: Vec<(usize, String, bool)> = Vec::new();
    let mut comment: Option<String> = None;
    for line in text.lines() {
        let (column, content) = (line.len() - line.trim_start().len(), line.trim_start());
        if let Some(start) = content.strip_prefix("# -- ") {
            comment = Some(start.to_owned());
        } else if let Some(more) = content.strip_prefix('#') {
            comment = comment.map(|start| start + " " + more.trim());
        } else if let Some((key, value)) = content.split_once(':').filter(|_| !content.starts_with('-')) {
            around.retain(|(outer, ..)| *outer < column);
            let is_described = comment.is_some() || around.iter().any(|(.., described)| *described);
            around.push((column, key.to_owned(), is_described));
            let path: Vec<&str> = around.iter().map(|(_, key, _)| key.as_str()).collect();
            let path = path.join(".");
            rows.extend(comment.take().map(|description| Row { key: path.clone(), description }));
            if !value.is_empty() {
                keys.push((path, is_described));
            }
        } else {
            comment = None;
        }
    }
    (rows, keys)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
        // helm-docs takes null for a text too.
        Value::String(_) | Value::Null => "string",
    }
}

fn table(values: &Value, rows: &[Row]) -> String {
    let mut out = "| Key | Type | Default | Description |\n|-----|------|---------|-------------|\n".to_owned();
    for Row { key, description } in rows {
        let value = values.pointer(&format!("/{}", key.replace('.', "/"))).unwrap_or_else(|| panic!("no {key}"));
        // `# -- (int) …` names the type of a value that is null.
        let named = description.strip_prefix('(').and_then(|rest| rest.split_once(") "));
        let (kind, description) = named.unwrap_or((kind(value), description.as_str()));
        let description = description.replace('|', "\\|");
        out += &format!("| {key} | {kind} | `{}` | {description} |\n", value.to_string().replace('|', "\\|"));
    }
    out
}

#[test]
fn every_value_is_described_in_the_readme_of_its_chart() {
    for chart in CHARTS {
        let directory = package().join("helm").join(chart);
        let text = fs::read_to_string(directory.join("values.yaml")).unwrap();
        let (rows, keys) = described(&text);
        let silent: Vec<&String> = keys.iter().filter(|(_, described)| !described).map(|(key, _)| key).collect();
        assert!(rows.len() > 20 && silent.is_empty(), "{chart}: values without a comment `# -- `: {silent:?}");
        let readme = fs::read_to_string(directory.join("README.md")).unwrap();
        let end = "\n## Values\n";
        let start = readme.find(end).unwrap_or_else(|| panic!("{chart}: no {end:?}")) + end.len();
        // Text between the heading and the table stays.
        let table_start = readme[start..].find("\n| Key |").map_or(readme.len(), |offset| start + offset + 1);
        let expected = readme[..table_start].to_owned() + &table(&parse(&text)[0], &rows);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(directory.join("README.md"), &expected).unwrap();
        } else {
            assert!(readme == expected, "helm/{chart}/README.md is old; call `cargo test` with UPDATE_GOLDEN=1");
        }
    }
}

/// What Artifact Hub and `helm show chart` tell of a chart.
#[test]
fn charts_say_where_they_are_from() {
    let repository = env!("CARGO_PKG_REPOSITORY");
    for name in CHARTS {
        let chart = &parse(&fs::read_to_string(package().join("helm").join(name).join("Chart.yaml")).unwrap())[0];
        assert_eq!((&chart["home"], &chart["sources"][0]), (&repository.into(), &repository.into()), "{name}");
        assert_eq!(chart["maintainers"][0]["url"], repository, "{name}");
        let raw = repository.replace("github.com", "raw.githubusercontent.com") + "/main/";
        let icon = chart["icon"].as_str().and_then(|icon| icon.strip_prefix(&raw)).expect("an icon of the repository");
        assert!(package().join(icon).is_file(), "{name}: {icon}");
    }
}
