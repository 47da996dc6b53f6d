//! Names that metrics and labels may have.

use super::pattern::Template;
use crate::metric::{label_name, metric_name};

/// Longest metric or label name, in bytes: what OpenTelemetry allows for a metric.
const NAME_MAXIMUM: usize = 255;
/// The exporter's own metrics.
const RESERVED_PREFIX: &str = "hotspot_exporter_";
/// Those of its own process, on the same page as the first profile's, unless a rule of that profile names one of them.
const OWN_PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_threads",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
];
/// Metrics that Prometheus makes itself (its documentation, "Automatically generated labels and time series", and
/// recorded alerts).
const OF_PROMETHEUS: [&str; 10] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
    "ALERTS",
    "ALERTS_FOR_STATE",
];
/// Labels that mean something to the exporter or to Prometheus.
const RESERVED_LABELS: [&str; 4] = ["app", "slot", "le", "quantile"];

/// Checks the text of a metric's name as far as it is known before its references are filled in. Facts may be exported
/// as metrics of a process, counters may not.
pub(crate) fn check_metric(template: &Template, of_fact: bool) -> Result<(), String> {
    let mut filled = template.fill(|_| "x");
    if template.literal().is_none() {
        filled.truncate(filled.len().min(NAME_MAXIMUM));
    }
    let mut characters = filled.chars();
    if filled.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if filled.len() > NAME_MAXIMUM {
        return Err(format!("the name has {} bytes, at most {NAME_MAXIMUM}", filled.len()));
    }
    if !characters.next().is_some_and(|c| c.is_ascii_alphabetic()) {
        return Err("a metric's name starts with a letter".to_owned());
    }
    if let Some(wrong) = characters.find(|c| !is_metric_character(*c)) {
        return Err(format!("a metric's name has letters, digits and `_.:-/`, found {wrong:?}"));
    }
    if !of_fact && is_of_process(&metric_name(&filled)) {
        return Err(format!("`{}` tells of a process: only a fact can be exported as it", metric_name(&filled)));
    }
    if OF_PROMETHEUS.contains(&&*metric_name(&filled)) {
        return Err(format!(
            "`{}` is a metric that Prometheus makes of each scrape; choose another name",
            metric_name(&filled)
        ));
    }
    if is_reserved(&filled) {
        return Err(format!("names that start with `{RESERVED_PREFIX}` are the exporter's own"));
    }
    Ok(())
}

/// A legal metric name of a text that holds parts of a counter's name: illegal characters become `_`. `None` where it
/// is empty, too long or reserved.
pub(crate) fn metric(text: &str) -> Option<String> {
    if text.len() > NAME_MAXIMUM || !text.starts_with(|c: char| c.is_ascii_alphabetic()) || is_reserved(text) {
        return None;
    }
    Some(text.chars().map(|c| if is_metric_character(c) { c } else { '_' }).collect())
}

/// Checks a label's name. `reserved` are the names that every series has already.
pub(crate) fn check_label(name: &str, reserved: &[String]) -> Result<(), String> {
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    if !legal {
        return Err("a label's name has letters, digits, `_` and `.`, and does not start with a digit".to_owned());
    }
    if name.len() > NAME_MAXIMUM {
        return Err(format!("the name has {} bytes, at most {NAME_MAXIMUM}", name.len()));
    }
    if name.starts_with("__") {
        return Err("names that start with `__` are Prometheus' own".to_owned());
    }
    if is_reserved_label(name, reserved) {
        return Err(format!("the label `{}` has a meaning already", label_name(name)));
    }
    Ok(())
}

/// Whether a label's name is taken: by the exporter, by Prometheus or by a root's path.
pub(crate) fn is_reserved_label(name: &str, reserved: &[String]) -> bool {
    let name = label_name(name);
    RESERVED_LABELS.contains(&&*name) || reserved.iter().any(|other| label_name(other) == name)
}

fn is_metric_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-' | '/')
}

fn is_reserved(name: &str) -> bool {
    let name = metric_name(name);
    name.starts_with(RESERVED_PREFIX) || is_of_prometheus(&name)
}

/// Whether Prometheus makes a metric of that name, with unit and suffix.
pub(crate) fn is_of_prometheus(name: &str) -> bool {
    OF_PROMETHEUS.contains(&name)
}

/// Whether the exporter exports its own process under that name: the whole name, with unit and suffix, or one without
/// the suffix of a counter.
pub(crate) fn is_of_process(name: &str) -> bool {
    OWN_PROCESS.iter().any(|own| *own == name || own.strip_suffix("_total") == Some(name))
}
