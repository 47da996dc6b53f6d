//! `/jvm/{app}/{slot}`: one JVM over the whole history.

use maud::{Markup, html};

use super::chart::{Chart, ChartLine, Dot, Level};
use super::memory::{self, sum};
use super::units::Quantity;
use super::{Foreign, Site, breakable, ended, findings};
use crate::report::details::FactValue;
use crate::report::list::duration;
use crate::report::overview::{JvmDetail, Measure};
use crate::server::jvm_path;

/// Most parts of a whole that are shown singly.
const PARTS_MAXIMUM: usize = 12;

/// The document.
pub(crate) fn jvm_page(site: &Site<'_>, jvm: &JvmDetail) -> String {
    let row = &jvm.jvm.row;
    let app = row.description.app.as_deref().unwrap_or("JVM");
    let controls = html! {
        p.back { a href="/" { "← All JVMs" } }
        div.controls {
            h1 { (Foreign(app)) @if let Some(slot) = row.description.slot { " " span.count title="slot" { "#" (slot) } } }
        }
    };
    let content = html! {
        (head(jvm))
        @if !jvm.jvm.findings.is_empty() {
            section aria-labelledby="findings" { h2 #findings { "What is wrong" } (findings(&jvm.jvm.findings)) }
        }
        @if jvm.step.is_some() {
            section aria-labelledby="time" {
                h2 #time { "Over time" }
                div.charts { @for chart in charts(jvm) { (chart.render()) } }
            }
        } @else {
            p.absent { "No history is kept: history is off in the configuration." }
        }
        @if jvm.jvm.end.is_none() {
            (memory::picture(jvm))
            (now(jvm))
            (flags(jvm))
        }
        (explain(jvm))
    };
    site.document(&format!("{app} – HotSpot exporter"), &controls, &content)
}

/// What it is.
fn head(jvm: &JvmDetail) -> Markup {
    let row = &jvm.jvm.row;
    let java = match (&row.description.java_version, &row.description.vm_vendor) {
        (Some(version), Some(vendor)) => Some(format!("{version}, {vendor}")),
        (version, vendor) => version.clone().or(vendor.clone()),
    };
    let process = match (row.description.pid, &row.description.user) {
        (Some(pid), Some(user)) => Some(format!("{pid}, user {user}")),
        (Some(pid), None) => Some(pid.to_string()),
        (None, user) => user.clone(),
    };
    let facts = [
        ("Main class", row.description.main_class.clone()),
        ("JDK", java),
        ("Collector", row.description.gc.clone()),
        ("Process", process),
        ("Uptime", row.uptime_seconds.map(duration)),
        ("Region", row.description.path.clone()),
    ];
    let labels = row.description.labels.iter().map(|(name, value)| (name.as_str(), Some(value.clone())));
    html! {
        @if let Some(end) = jvm.jvm.end {
            @let (word, why) = ended::how(end.how);
            p.banner { strong { "Ended: " (word) } " " (duration(jvm.now - end.at)) " ago. " (why) }
        } @else if row.state != "mapped" {
            p.banner { strong { "State: " (Foreign(&row.state)) } }
        }
        dl.facts.wide {
            @for (name, value) in facts.into_iter().chain(labels) {
                @if let Some(value) = value { div { dt { (Foreign(name)) } dd { (breakable(&value)) } } }
            }
        }
    }
}

fn charts(jvm: &JvmDetail) -> Vec<Chart<'_>> {
    let past = ChartSource::of(jvm);
    let stopped = past.line("of the time", "stopped", Measure::Stopped, true);
    let allocated = past.line("allocated", "allocation", Measure::AllocationRate, true);
    let unknown = "Nothing is known of allocation: its collector publishes none, or has not collected yet.";
    let used = past.line("CPUs in use", "cpu", Measure::Cpu, true);
    let hidden = "The process is not visible to the exporter.";
    let cpu_limit = level("CPUs that it may use", "limit", jvm.jvm.values.cpu_limit);
    let threads = past.line("live", "live-threads", Measure::Threads, true);
    let mut charts = vec![past.heap()];
    charts.extend(past.pools());
    charts.extend([
        past.pauses(),
        past.chart("Time stopped", "The JVM does not publish its safepoints.", (Quantity::Share, 0.01), [stopped], []),
        past.chart("Allocation", unknown, (Quantity::BytesPerSecond, 1024.0), [allocated], []),
        past.chart("CPU", hidden, (Quantity::Count, 0.1), [used], [cpu_limit]),
        past.memory(),
        past.chart("Threads", "The JVM does not publish its threads.", (Quantity::Count, 4.0), [threads], []),
    ]);
    charts
}

/// What charts of one JVM are made of.
struct ChartSource<'a> {
    jvm: &'a JvmDetail,
    /// Seconds that each chart shows.
    span: f64,
}

impl<'a> ChartSource<'a> {
    fn of(jvm: &'a JvmDetail) -> Self {
        let count = jvm.jvm.history.values().map(Vec::len).max().unwrap_or(0);
        Self { jvm, span: (jvm.step.unwrap_or(1.0) * count as f64).max(1.0) }
    }

    fn line(&self, name: &'static str, class: &'static str, measure: Measure, filled: bool) -> ChartLine<'a> {
        let points = self.jvm.jvm.history.get(&measure).map_or(&[][..], Vec::as_slice);
        ChartLine { name, class, points, filled }
    }

    /// `absent` is said where no line has a point. The axis ends at the least value or above.
    fn chart<const LINES: usize, const LEVELS: usize>(
        &self,
        title: &'static str,
        absent: &'static str,
        (quantity, least): (Quantity, f64),
        lines: [ChartLine<'a>; LINES],
        levels: [Option<Level<'static>>; LEVELS],
    ) -> Chart<'a> {
        let levels = levels.into_iter().flatten().collect();
        Chart { title, absent, quantity, least, lines: lines.into(), levels, dots: Vec::new(), span: self.span }
    }

    fn heap(&self) -> Chart<'a> {
        let row = &self.jvm.jvm.row;
        let lines = [
            self.line("used", "used", Measure::HeapUsed, true),
            self.line("after collections", "live", Measure::LiveSet, false),
        ];
        let levels = [
            level("committed", "committed", row.heap_committed.map(|bytes| bytes as f64)),
            level("limit", "limit", row.heap_limit.map(|bytes| bytes as f64)),
        ];
        self.chart("Heap", "The JVM does not publish its heap.", (Quantity::Bytes, 0.0), lines, levels)
    }

    /// `None` for a heap of one pool.
    fn pools(&self) -> Option<Chart<'a>> {
        let history = &self.jvm.jvm.history;
        let eden = if history.contains_key(&Measure::SurvivorUsed) { "eden" } else { "young generation" };
        let lines = [
            self.line("old generation", "old", Measure::OldUsed, false),
            self.line(eden, "eden", Measure::EdenUsed, false),
            self.line("survivors", "survivor", Measure::SurvivorUsed, false),
        ];
        let has_pools = history.contains_key(&Measure::EdenUsed);
        has_pools.then(|| self.chart("Heap by pool", "", (Quantity::Bytes, 0.0), lines, []))
    }

    fn pauses(&self) -> Chart<'a> {
        let absent = "This collector's pauses are not measured, or sampling is off.";
        let longest = self.line("longest in a step", "pause", Measure::LongestPause, false);
        let chart = self.chart("Pauses of collectors", absent, (Quantity::Seconds, 0.001), [longest], []);
        let dot = |(at, length): &(f64, f32)| dot(self.jvm.now - at, f64::from(*length), self.span);
        Chart { dots: self.jvm.pauses.iter().map(dot).collect(), ..chart }
    }

    fn memory(&self) -> Chart<'a> {
        let absent = "Neither the process nor its native memory is visible to the exporter.";
        let lines = [
            self.line("resident", "rss", Measure::Rss, true),
            self.line("committed by the JVM", "native", Measure::NativeCommitted, false),
        ];
        let limit = level("limit of the cgroup", "limit", self.jvm.jvm.values.cgroup_limit);
        self.chart("Process memory", absent, (Quantity::Bytes, 0.0), lines, [limit])
    }
}

fn level(name: &'static str, class: &'static str, value: Option<f64>) -> Option<Level<'static>> {
    value.map(|value| Level { name, class, value })
}

fn dot(ago: f64, seconds: f64, span: f64) -> Dot {
    let text = format!("{}, {} ago", Quantity::Seconds.text(seconds), duration(ago));
    Dot { ago: ago / span, value: seconds, text }
}

/// Values of this moment that have parts.
fn now(jvm: &JvmDetail) -> Markup {
    let facts = &jvm.details;
    let group = |fact: &str, label: &str| {
        let values = facts.facts.get(fact).into_iter().flatten();
        let mut parts: Vec<_> = values
            .map(|value| (value.labels.get(label).cloned().unwrap_or_default(), value.value))
            .filter(|(_, value)| *value > 0.0)
            .collect();
        parts.sort_by(|one, other| other.1.total_cmp(&one.1));
        parts
    };
    let values = &jvm.jvm.values;
    let single = |fact: &str| facts.facts.get(fact)?.first().map(|value| value.value);
    let other = [
        ("Collecting", values.gc_share.map(|share| Quantity::Share.text(share))),
        ("Old generation after collections", values.old_usage_after_gc.map(|share| Quantity::Share.text(share))),
        (
            "Throttled by its cgroup",
            values.throttled.map(|share| format!("{} of periods", Quantity::Share.text(share))),
        ),
        ("Fullest code heap", values.code_usage.map(|share| Quantity::Share.text(share))),
        ("Compiler", values.jit_enabled.map(|on| if on { "on" } else { "off" }.to_owned())),
        ("Classes", single("class.count").map(|count| count.to_string())),
        ("Most threads so far", single("thread.peak").map(|count| count.to_string())),
        ("Threads in a deadlock", single("thread.deadlocked").map(|count| count.to_string())),
        ("Swapped", single("proc.memory_swap").filter(|bytes| *bytes > 0.0).map(|bytes| Quantity::Bytes.text(bytes))),
        (
            "Open files",
            single("proc.descriptors").map(|open| match single("proc.descriptor_limit") {
                Some(limit) => format!("{open} of {limit}"),
                None => open.to_string(),
            }),
        ),
    ];
    html! {
        section aria-labelledby="now" {
            h2 #now { "Now" }
            div.panels {
                (pools(jvm))
                (bars("Threads by state", group("thread.states", "state"), Quantity::Count))
                (bars("CPU time by kind of thread", group("thread.cpu_time", "kind"), Quantity::Seconds))
                (bars("Native memory by category", group("nmt.committed", "category"), Quantity::Bytes))
                (bars("Buffers", group("buffer.used", "pool"), Quantity::Bytes))
                figure.panel {
                    figcaption { h3 { "More" } }
                    dl.facts { @for (name, value) in other { @if let Some(value) = value { dt { (name) } dd { (value) } } } }
                }
            }
        }
    }
}

/// Memory pools: used against committed and limit.
fn pools(jvm: &JvmDetail) -> Markup {
    let of = |fact: &str, pool: &str| sum(&jvm.details, fact, "pool", |name| name == pool);
    let pools = jvm.details.facts.get("pool.committed").into_iter().flatten();
    let names: Vec<_> = pools.filter_map(|value: &FactValue| value.labels.get("pool")).collect();
    html! {
        @if !names.is_empty() {
            figure.panel {
                figcaption { h3 { "Memory pools" } }
                table.parts {
                    thead { tr { th scope="col" { "Pool" } th scope="col" { "Used" } th scope="col" { "Committed" } th scope="col" { "Limit" } } }
                    tbody {
                        @for name in names {
                            tr {
                                th scope="row" { (Foreign(name)) }
                                @for fact in ["pool.used", "pool.committed", "pool.limit"] {
                                    @let value = of(fact, name).map(|bytes| Quantity::Bytes.text(bytes));
                                    td { (value.as_deref().unwrap_or("–")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Parts of a whole, the largest first, as bars; the small ones together.
fn bars(title: &str, mut parts: Vec<(String, f64)>, quantity: Quantity) -> Markup {
    let highest = parts.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    if parts.len() > PARTS_MAXIMUM {
        let rest = parts.split_off(PARTS_MAXIMUM - 1);
        parts.push((format!("{} others", rest.len()), rest.iter().map(|(_, value)| value).sum()));
    }
    html! {
        @if !parts.is_empty() {
            figure.panel {
                figcaption { h3 { (title) } }
                table.parts {
                    tbody {
                        @for (name, value) in &parts {
                            tr {
                                th scope="row" { (Foreign(&name.replace('_', " "))) }
                                td.bar { svg.bar aria-hidden="true" { rect height="8" width={ (super::chart::short(value / highest * 100.0)) "%" } {} } }
                                td { (quantity.text(*value)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Flags of the JVM that may be shown.
fn flags(jvm: &JvmDetail) -> Markup {
    let flags = jvm.details.facts.get("flag.value").into_iter().flatten();
    let label = |value: &FactValue, name: &str| value.labels.get(name).cloned().unwrap_or_default();
    html! {
        @if jvm.details.facts.contains_key("flag.value") {
            section aria-labelledby="flags" {
                h2 #flags { "Flags" }
                details #all-flags {
                    summary { "Values of -XX flags, and who set them" }
                    dl.facts.flags {
                        @for flag in flags {
                            dt { code { (Foreign(&label(flag, "flag"))) } }
                            dd { (flag.value) " " span.quiet { (Foreign(&label(flag, "origin"))) } }
                        }
                    }
                }
            }
        }
    }
}

/// Where its metrics come from.
fn explain(jvm: &JvmDetail) -> Markup {
    let path = jvm_path::of(&jvm.jvm.row).filter(|_| jvm.jvm.end.is_none());
    html! {
        section aria-labelledby="explain" {
            h2 #explain { "Its metrics" }
            p {
                @if let Some(path) = path {
                    a href={ "/explain/" (path) } { "Which rule makes which metric, and what is not exported" }
                    ". "
                }
                @if let Some(pid) = jvm.jvm.row.description.pid {
                    code { "hotspot-exporter explain " (pid) } " asks the JVM anew. "
                }
                code { "hotspot-exporter doctor" } " says what is wrong in words."
            }
        }
    }
}
