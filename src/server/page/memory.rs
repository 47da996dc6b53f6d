//! Where a JVM's memory went, as one picture: what it committed, what is resident, and what is left to the limit.

use maud::{Markup, html};

use super::chart::short;
use super::units::Quantity;
use crate::report::details::{FactValue, JvmFacts};
use crate::report::overview::{JvmDetail, Measure};

/// A part of a bar.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    name: &'static str,
    class: &'static str,
    bytes: f64,
}

/// A bar of parts, from 0.
#[derive(Clone, Debug, PartialEq)]
struct Bar {
    name: &'static str,
    note: &'static str,
    parts: Vec<Part>,
}

impl Bar {
    fn total(&self) -> f64 {
        self.parts.iter().filter(|part| part.class != "free").map(|part| part.bytes).sum()
    }

    fn add(&mut self, name: &'static str, class: &'static str, bytes: Option<f64>) {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > 0.0) {
            self.parts.push(Part { name, class, bytes });
        }
    }
}

/// The section, or what is missing for it.
pub(super) fn picture(jvm: &JvmDetail) -> Markup {
    let bars = [committed(jvm), resident(jvm)];
    let limit = jvm.jvm.values.cgroup_limit;
    let end = bars.iter().map(Bar::total).chain(limit).fold(0.0, f64::max);
    html! {
        section aria-labelledby="memory" {
            h2 #memory { "Where the memory went" }
            @if end > 0.0 {
                @for bar in bars.iter().filter(|bar| !bar.parts.is_empty()) { (draw(bar, end, limit)) }
            } @else {
                p.absent { "The JVM's process and its native memory are not visible to the exporter." }
            }
            @if jvm.jvm.values.nmt_enabled != Some(true) {
                p.quiet {
                    "Categories of native memory need Native Memory Tracking: start the JVM with "
                    code { "-XX:NativeMemoryTracking=summary" } "."
                }
            }
        }
    }
}

fn draw(bar: &Bar, end: f64, limit: Option<f64>) -> Markup {
    let mut at = 0.0;
    let placed: Vec<_> = bar
        .parts
        .iter()
        .map(|part| {
            let from = at;
            at += part.bytes;
            (part, short(from / end * 100.0), short(part.bytes / end * 100.0))
        })
        .collect();
    let text = |bytes: f64| Quantity::Bytes.text(bytes);
    let words: Vec<_> = bar.parts.iter().map(|part| format!("{} {}", part.name, text(part.bytes))).collect();
    html! {
        figure.memory {
            figcaption {
                h3 { (bar.name) " " b { (text(bar.total())) } }
                span.quiet { (bar.note) }
            }
            svg role="img" aria-label={ (bar.name) ": " (words.join(", ")) } {
                @for (part, from, width) in &placed {
                    rect class=(part.class) x={ (from) "%" } width={ (width) "%" } height="28" {
                        title { (part.name) " " (text(part.bytes)) }
                    }
                }
                @if let Some(limit) = limit {
                    rect.limit x={ (short((limit / end * 100.0).min(99.8))) "%" } width="2" height="28" {
                        title { "limit of the cgroup " (text(limit)) }
                    }
                }
            }
            ul.legend {
                @for part in &bar.parts { li class=(part.class) { span { (part.name) } " " b { (text(part.bytes)) } } }
                @if let Some(limit) = limit { li.level.limit { span { "limit of the cgroup" } " " b { (text(limit)) } } }
            }
        }
    }
}

/// What the JVM has committed: by its native memory tracking, else as far as heap and pools tell.
fn committed(jvm: &JvmDetail) -> Bar {
    let facts = &jvm.details;
    let mut bar =
        Bar { name: "Committed", note: "what the JVM has asked the system for, resident or not", parts: Vec::new() };
    let category = |names: &[&str]| sum(facts, "nmt.committed", "category", |name| names.contains(&name));
    let heap = category(&["Java Heap"]);
    let Some(total) = jvm.jvm.values.last.get(&Measure::NativeCommitted).copied().filter(|_| heap.is_some()) else {
        let pool = |prefix: &str| sum(facts, "pool.committed", "pool", |name| name.starts_with(prefix));
        bar.add("heap", "java-heap", jvm.jvm.row.heap_committed.map(|bytes| bytes as f64));
        bar.add("metaspace", "metaspace", pool("Metaspace"));
        bar.add("code", "code", pool("Code"));
        return bar;
    };
    bar.add("heap", "java-heap", heap);
    bar.add("metaspace", "metaspace", category(&["Class", "Metaspace"]));
    bar.add("code", "code", category(&["Code"]));
    bar.add("threads", "threads", category(&["Thread", "Thread Stack"]));
    bar.add("GC", "gc", category(&["GC"]));
    let known: f64 = bar.parts.iter().map(|part| part.bytes).sum();
    bar.add("other native", "native", Some(total - known));
    bar
}

/// What of it, and of what the JVM does not know, is resident.
fn resident(jvm: &JvmDetail) -> Bar {
    let facts = &jvm.details;
    let mut bar = Bar { name: "Resident", note: "what the process takes of the machine's memory", parts: Vec::new() };
    let Some(rss) = jvm.jvm.values.last.get(&Measure::Rss).copied() else { return bar };
    let part = |name: &str| sum(facts, "proc.memory_resident_part", "type", |value| value == name);
    let (anonymous, files, shared) = (part("anonymous"), part("file"), part("shared"));
    match anonymous {
        Some(anonymous) => {
            bar.add("anonymous", "anonymous", Some(anonymous));
            bar.add("files", "files", files);
            bar.add("shared", "shared", shared);
        }
        None => bar.add("resident", "anonymous", Some(rss)),
    }
    // The group may have other processes, and the page cache.
    let values = &jvm.jvm.values;
    if let Some((used, limit)) = values.cgroup_used.zip(values.cgroup_limit) {
        bar.add("rest of its cgroup", "others", Some(used - rss));
        bar.add("free to the limit", "free", Some(limit - used.max(rss)));
    }
    bar
}

/// The sum of the values whose label is accepted; `None` without any.
pub(super) fn sum(facts: &JvmFacts, fact: &str, label: &str, accepts: impl Fn(&str) -> bool) -> Option<f64> {
    let values = facts.facts.get(fact)?.iter();
    let accepted = |value: &&FactValue| value.labels.get(label).is_some_and(|value| accepts(value));
    values.filter(accepted).map(|value| value.value).reduce(|one, other| one + other)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::overview::{JvmOverview, Measurements};

    const MIB: f64 = 1_048_576.0;

    fn facts(of: &[(&str, &str, &str, f64)]) -> JvmFacts {
        let mut facts = JvmFacts::default();
        for (fact, label, name, mib) in of {
            let labels = BTreeMap::from([((*label).to_owned(), (*name).to_owned())]);
            facts.facts.entry((*fact).to_owned()).or_default().push(FactValue { labels, value: mib * MIB });
        }
        facts
    }

    fn parts(bar: &Bar) -> Vec<(&str, f64)> {
        bar.parts.iter().map(|part| (part.name, part.bytes / MIB)).collect()
    }

    #[test]
    fn what_tracking_counts_adds_up_to_its_total() {
        let details = facts(&[
            ("nmt.committed", "category", "Java Heap", 256.0),
            ("nmt.committed", "category", "Class", 4.0),
            ("nmt.committed", "category", "Metaspace", 16.0),
            ("nmt.committed", "category", "Symbol", 2.0),
            ("proc.memory_resident_part", "type", "anonymous", 200.0),
            ("proc.memory_resident_part", "type", "file", 20.0),
        ]);
        let last = BTreeMap::from([(Measure::NativeCommitted, 300.0 * MIB), (Measure::Rss, 220.0 * MIB)]);
        let values = Measurements {
            last,
            cgroup_used: Some(230.0 * MIB),
            cgroup_limit: Some(512.0 * MIB),
            ..Measurements::default()
        };
        let jvm = JvmOverview { values, ..JvmOverview::default() };
        let jvm = JvmDetail { jvm, details, ..JvmDetail::default() };
        assert_eq!(parts(&committed(&jvm)), [("heap", 256.0), ("metaspace", 20.0), ("other native", 24.0)]);
        assert_eq!(committed(&jvm).total(), 300.0 * MIB);
        let expected =
            [("anonymous", 200.0), ("files", 20.0), ("rest of its cgroup", 10.0), ("free to the limit", 282.0)];
        assert_eq!(parts(&resident(&jvm)), expected);
        let html = picture(&jvm).into_string();
        assert!(html.contains("limit of the cgroup") && html.contains("512 MiB"), "{html}");
    }

    #[test]
    fn without_tracking_pools_are_shown() {
        let details = facts(&[
            ("pool.committed", "pool", "Metaspace", 16.0),
            ("pool.committed", "pool", "CodeHeap 'profiled nmethods'", 3.0),
            ("pool.committed", "pool", "CodeHeap 'non-nmethods'", 2.0),
        ]);
        let jvm = JvmDetail { details, ..JvmDetail::default() };
        assert_eq!(parts(&committed(&jvm)), [("metaspace", 16.0), ("code", 5.0)]);
        assert_eq!(parts(&resident(&jvm)), []);
        assert!(picture(&JvmDetail::default()).into_string().contains("not visible"));
    }
}
