//! What people see of a panel: units, axes, columns, and what it says when there is nothing to show.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::{Provider, expressions, is_merged, metrics};

/// Limits that lie so far above what they limit that on one axis both are flat.
const FAR_LIMITS: [&str; 3] = ["jvm_file_descriptor_limit", "process_max_fds", "jvm_cpu_count"];

/// What the board of one JVM shows of the JVM's memory and its answers.
const FACTS: [&str; 24] = [
    "jvm_hotspot_thread_states",
    "jvm_hotspot_thread_deadlocked",
    "jvm_hotspot_thread_virtual_mounted",
    "jvm_hotspot_thread_cpu_time_seconds_total",
    "jvm_hotspot_thread_cpu_wait_seconds_total",
    "jvm_hotspot_code_cache_full_total",
    "jvm_hotspot_code_cache_nmethods",
    "jvm_hotspot_jit_enabled",
    "jvm_buffer_memory_used_bytes",
    "jvm_buffer_memory_limit_bytes",
    "jvm_buffer_count",
    "jvm_hotspot_heap_used_bytes",
    "jvm_hotspot_heap_committed_bytes",
    "jvm_hotspot_heap_limit_bytes",
    "jvm_hotspot_allocated_bytes_total",
    "jvm_hotspot_allocated_source_info",
    "jvm_hotspot_g1_humongous_bytes",
    "jvm_hotspot_class_loaders",
    "jvm_hotspot_flag",
    "jvm_hotspot_memory_pool_freshness_info",
    "jvm_hotspot_diagnostics_age_seconds",
    "jvm_memory_limit_bytes",
    "jvm_nmt_committed_bytes",
    "jvm_hotspot_cgroup_memory_limit_bytes",
];

fn each(mut check: impl FnMut(&str, &Value)) {
    for provider in Provider::all() {
        for panel in provider.panels().iter().filter(|panel| panel["type"] != "row") {
            check(&format!("{}: {}", provider.file, panel["title"]), panel);
        }
    }
}

/// Of a field's overrides, those of the column or series of that name.
fn overridden<'a>(panel: &'a Value, name: &str, property: &str) -> Option<&'a Value> {
    let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap();
    let own = overrides.iter().filter(|one| one["matcher"]["options"] == name);
    let mut properties = own.flat_map(|one| one["properties"].as_array().unwrap());
    properties.find(|one| one["id"] == property).map(|one| &one["value"])
}

#[test]
fn a_panel_without_data_says_why() {
    each(|place, panel| {
        let says = panel["fieldConfig"]["defaults"]["noValue"].as_str();
        assert!(says.is_some_and(|text| !text.trim().is_empty()), "{place}: noValue");
    });
}

/// Grafana gives a series of zeros an axis to 100, which is 10,000 % or a minute and a half.
#[test]
fn axes_of_zeros_have_an_end() {
    each(|place, panel| {
        let defaults = &panel["fieldConfig"]["defaults"];
        let custom = &defaults["custom"];
        match panel["type"].as_str().unwrap() {
            "timeseries" => {
                assert!(defaults["min"] == 0 || custom["axisSoftMin"] == 0, "{place}: starts at 0");
                assert!(defaults["max"].is_number() || custom["axisSoftMax"].is_number(), "{place}: ends");
                // A line through one point is nothing.
                assert_eq!(custom["showPoints"], "auto", "{place}");
            }
            "stat" if defaults["unit"] == "percentunit" => {
                assert!(defaults["min"] == 0 && defaults["max"] == 1, "{place}: a share");
            }
            "heatmap" => assert_eq!(panel["options"]["yAxis"]["unit"], "s", "{place}"),
            _ => {}
        }
        if panel["fieldConfig"]["defaults"]["unit"] == "none" && panel["type"] == "stat" {
            assert_eq!(defaults["decimals"], 0, "{place}: there are no halves");
        }
        for one in panel["fieldConfig"]["overrides"].as_array().unwrap() {
            let value = |id: &str| one["properties"].as_array().unwrap().iter().find(|it| it["id"] == id);
            let is_share = value("unit").is_some_and(|unit| unit["value"] == "percentunit");
            if panel["type"] == "timeseries" && is_share {
                let at = |id: &str| value(id).map_or(&Value::Null, |it| &it["value"]);
                assert!(at("min") == 0 && at("max") == 1, "{place}: {one}");
                assert_eq!(at("custom.axisPlacement"), "right", "{place}: a share beside an amount has its own axis");
            }
        }
    });
}

#[test]
fn a_far_limit_does_not_flatten_what_it_limits() {
    each(|place, panel| {
        for expression in expressions(panel).into_iter().filter(|_| panel["type"] == "timeseries") {
            let bare = |name: &&str| expression.starts_with(&format!("{name}{{"));
            assert!(!FAR_LIMITS.iter().any(bare), "{place}: {expression}: show the share");
        }
    });
}

/// Texts that happen to be numbers, such as a process id or a slot, stay as they are: a unit would make them 6.51 K.
#[test]
fn columns_of_labels_have_no_unit() {
    let mut tables = 0;
    each(|place, panel| {
        if panel["type"] != "table" {
            return;
        }
        tables += 1;
        assert_eq!(panel["fieldConfig"]["defaults"]["unit"], "string", "{place}");
        let steps = panel["transformations"].as_array().unwrap();
        let columns = &steps.iter().find(|step| step["id"] == "organize").unwrap()["options"];
        let asked = panel["targets"].as_array().unwrap();
        for target in asked {
            let value = if asked.len() == 1 {
                "Value".to_owned()
            } else {
                format!("Value #{}", target["refId"].as_str().unwrap())
            };
            if columns["excludeByName"][&value] == true {
                continue;
            }
            let name =
                columns["renameByName"][&value].as_str().unwrap_or_else(|| panic!("{place}: {value} has no name"));
            let unit = overridden(panel, name, "unit").unwrap_or_else(|| panic!("{place}: {name} has no unit"));
            assert_ne!(unit, "string", "{place}: {name}");
        }
        for name in columns["renameByName"].as_object().unwrap().iter().filter(|(of, _)| !of.starts_with("Value")) {
            assert_eq!(overridden(panel, name.1.as_str().unwrap(), "unit"), None, "{place}: {}", name.0);
        }
    });
    assert!(tables >= 5, "{tables}");
}

/// Grafana merges rows that agree in all columns of the same name, and `__name__` is one.
#[test]
fn at_most_one_query_of_a_merged_table_keeps_its_name() {
    // A selector alone, or one that others only restrict.
    let named = Regex::new(r"^\w+(\{[^}]*\})?( (and|or|unless) .*)?$").unwrap();
    each(|place, panel| {
        if is_merged(panel) {
            let keeping: Vec<&str> = expressions(panel).into_iter().filter(|it| named.is_match(it)).collect();
            assert!(keeping.len() <= 1, "{place}: {keeping:#?}");
        }
    });
}

/// With two sources of one value, of which only one keeps its name, a JVM that changes from one to the other has two lines.
#[test]
fn a_value_of_two_sources_is_one_line() {
    let named = Regex::new(r"^\w+\{[^}]*\} or ").unwrap();
    each(|place, panel| {
        for expression in expressions(panel) {
            assert!(!named.is_match(expression), "{place}: {expression}");
        }
    });
}

/// The many short pauses leave the few long ones visible.
#[test]
fn heat_maps_show_what_is_rare() {
    let mut maps = 0;
    each(|place, panel| {
        if panel["type"] == "heatmap" {
            maps += 1;
            let color = &panel["options"]["color"];
            assert!(color["mode"] == "opacity" && color["scale"] == "exponential", "{place}: {color}");
            assert!(color["exponent"].as_f64().unwrap() < 0.5, "{place}: {color}");
        }
    });
    assert_eq!(maps, 1);
}

/// Without a pause a quantile is no number: a series without a line, and a legend that says nothing.
#[test]
fn quantiles_of_nothing_are_absent() {
    each(|place, panel| {
        for expression in expressions(panel).into_iter().filter(|it| it.starts_with("histogram_quantile(")) {
            assert!(expression.ends_with(") >= 0"), "{place}: {expression}");
        }
    });
}

/// Names that begin with `process_` are the exporter's own without `app`, and a JVM's with it.
#[test]
fn a_process_is_that_of_the_board() {
    let selector = Regex::new(r"\b(process_\w+)(\{[^}]*\})?").unwrap();
    let mut seen = BTreeSet::new();
    for provider in Provider::all() {
        let own: &[&str] = if provider.is_of_jvms() { &[r#"app=~"$app""#, r#"app="$app""#] } else { &[r#"app="""#] };
        for (panel, expression) in provider.queries() {
            let names = metrics(expression);
            for found in selector.captures_iter(expression).filter(|found| names.contains(&&found[1])) {
                let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
                assert!(
                    own.iter().any(|own| matchers.contains(own)),
                    "{}: {}: {expression}",
                    provider.file,
                    panel["title"]
                );
                seen.insert(provider.is_of_jvms());
            }
        }
    }
    assert_eq!(seen.len(), 2, "boards of JVMs and of the exporter show processes");
}

#[test]
fn the_board_of_a_jvm_shows_what_is_known_of_it() {
    let boards = Provider::all();
    let board = boards.iter().find(|board| board.file == "jvm.json").unwrap();
    let shown: BTreeSet<&str> = board.queries().into_iter().flat_map(|(_, expression)| metrics(expression)).collect();
    for fact in FACTS {
        assert!(shown.contains(fact), "{fact}");
    }
}

/// What is committed, not tracked and left is stacked; the limit and what is resident lie over it as lines.
#[test]
fn the_board_of_a_pod_stacks_up_to_the_limit() {
    let boards = Provider::all();
    let board = boards.iter().find(|board| board.file == "pod.json").unwrap();
    for (title, lines) in
        [("Committed below the limit", ["resident", "limit"]), ("Charged below the limit", ["charged", "limit"])]
    {
        let panel = board.panels().iter().find(|panel| panel["title"] == title).unwrap();
        assert_eq!(panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"], "normal", "{title}");
        let series: Vec<&str> =
            panel["targets"].as_array().unwrap().iter().map(|it| it["legendFormat"].as_str().unwrap()).collect();
        assert!(series.contains(&"left"), "{title}: {series:?}");
        for line in lines {
            assert!(series.contains(&line), "{title}: {line}");
            let stacking = overridden(panel, line, "custom.stacking").unwrap_or(&Value::Null);
            assert_eq!(stacking["mode"], "none", "{title}: {line} is no part of the stack");
        }
        assert_eq!(overridden(panel, "left", "custom.stacking"), None, "{title}");
    }
}
