//! A metric made from a counter's own name: `sun.gc.collector.0.time` is `hsperf_sun_gc_collector_time{collector="0"}`.

use super::name::is_reserved_label;
use crate::metric::label_name;

/// The label of the object that a counter belongs to: the string in its sibling `….name`.
const NAME_LABEL: &str = "name";

/// The parts of a counter's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Derived {
    /// The prefix and the parts that are not numbers, in snake case.
    pub(crate) metric: String,
    /// The numbers in the name, each labelled with the part before it.
    pub(crate) labels: Vec<(String, String)>,
    /// The label for the object's name, and the string counter that contains it.
    pub(crate) sibling: Option<(String, String)>,
    /// The counter's name with `*` in place of numbers.
    pub(crate) pattern: String,
}

/// Splits a counter's name. Labels get names that are neither reserved nor used twice.
pub(crate) fn derive(prefix: &str, name: &str, reserved: &[String]) -> Derived {
    let mut metric = prefix.to_owned();
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut pattern = String::with_capacity(name.len());
    let mut before = "index";
    let mut end_of_number = None;
    let mut at = 0;
    for part in name.split('.') {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if at > 0 {
            pattern.push('.');
        }
        at += part.len() + 1;
        if is_number {
            let significant = part.trim_start_matches('0');
            let value = if significant.is_empty() { "0" } else { significant };
            labels.push((free(label_of(before), &labels, reserved), value.to_owned()));
            pattern.push('*');
            end_of_number = Some(at - 1);
        } else {
            metric.push('_');
            metric.push_str(&snake(part));
            pattern.push_str(part);
            before = part;
        }
    }
    let sibling = end_of_number.and_then(|end| name.get(..end)).map(|object| {
        let label = free(NAME_LABEL.to_owned(), &labels, reserved);
        (label, format!("{object}.{NAME_LABEL}"))
    });
    Derived { metric, labels, sibling, pattern }
}

/// The label of a number, by the part before it.
fn label_of(part: &str) -> String {
    match label_name(&snake(part)).trim_start_matches('_') {
        "" => "index",
        // `sun.gc.generation.0.agetable.bytes.03`: bytes of objects that survived three collections (ageTable.cpp).
        _ if part == "bytes" => "age",
        name => name,
    }
    .to_owned()
}

/// The name, or a variation of it that is neither in use nor reserved.
fn free(name: String, labels: &[(String, String)], reserved: &[String]) -> String {
    let in_use = |name: &str| is_reserved_label(name, reserved) || labels.iter().any(|(other, _)| other == name);
    let name = if is_reserved_label(&name, reserved) { format!("{name}_index") } else { name };
    if !in_use(&name) {
        return name;
    }
    // Ends: at most as many names are in use as there are labels.
    let variation = (2..).map(|number| format!("{name}_{number}")).find(|name| !in_use(name));
    variation.unwrap_or(name)
}

/// `lastEntryTime` is `last_entry_time`, `JMXConnectorServer` is `jmx_connector_server`.
fn snake(part: &str) -> String {
    let mut out = String::with_capacity(part.len() + 4);
    let characters: Vec<char> = part.chars().collect();
    for (index, c) in characters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| characters.get(before));
        let after = characters.get(index + 1);
        let starts_word = c.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase)
            });
        if starts_word {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_metrics_and_labels() {
        for (name, metric, labels, sibling) in [
            ("sun.rt.safepointSyncTime", "p_sun_rt_safepoint_sync_time", "", ""),
            (
                "sun.gc.collector.0.lastEntryTime",
                "p_sun_gc_collector_last_entry_time",
                "collector=0",
                "name=sun.gc.collector.0.name",
            ),
            (
                "sun.gc.generation.1.space.2.used",
                "p_sun_gc_generation_space_used",
                "generation=1,space=2",
                "name=sun.gc.generation.1.space.2.name",
            ),
            (
                "sun.gc.generation.0.agetable.bytes.03",
                "p_sun_gc_generation_agetable_bytes",
                "generation=0,age=3",
                "name=sun.gc.generation.0.agetable.bytes.03.name",
            ),
            ("7.7", "p", "index=7,index_2=7", "name=7.7.name"),
            ("x.app.0.pod.1", "p_x_app_pod", "app_index=0,pod_index=1", "name=x.app.0.pod.1.name"),
            ("a.name.00", "p_a_name", "name=0", "name_2=a.name.00.name"),
            (
                "sun.management.JMXConnectorServer.0.ssl",
                "p_sun_management_jmx_connector_server_ssl",
                "jmx_connector_server=0",
                "name=sun.management.JMXConnectorServer.0.name",
            ),
        ] {
            let derived = derive("p", name, &["pod".to_owned()]);
            let pairs: Vec<String> = derived.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
            let found = derived.sibling.map(|(label, counter)| format!("{label}={counter}")).unwrap_or_default();
            assert_eq!((&*derived.metric, &*pairs.join(","), &*found), (metric, labels, sibling), "{name}");
        }
    }

    #[test]
    fn words_are_found_in_camel_case() {
        for (part, expected) in [
            ("osrBytes", "osr_bytes"),
            ("_sync_Inflations", "_sync_inflations"),
            ("JMXConnectorServer", "jmx_connector_server"),
            ("s0Size", "s0_size"),
            ("MSC", "msc"),
        ] {
            assert_eq!(snake(part), expected);
        }
    }
}
