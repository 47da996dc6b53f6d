//! `/`: every JVM with its last minutes, what hurts most first.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::chart::spark;
use super::units::Quantity;
use super::{Foreign, Site, breakable, ended, findings, heap, refused, severity};
use crate::report::list::duration;
use crate::report::overview::{JvmOverview, Measure, Overview, Severity};

/// JVMs that have lines; the others, which hurt less, have numbers only.
const LINES_MAXIMUM: usize = 250;

/// The document. Until `ready`, an empty overview means nothing.
pub(crate) fn overview_page(site: &Site<'_>, ready: bool, overview: &Overview) -> String {
    let (mut running, ended): (Vec<_>, Vec<_>) = overview.jvms.iter().partition(|jvm| jvm.end.is_none());
    running.sort_by_cached_key(|jvm| hurt(jvm));
    let content = html! {
        @if !running.is_empty() {
            (table(&running, overview))
        } @else if ready {
            (refused::nothing_found())
        } @else {
            h2 { "Looking for JVMs" }
            p { "The first scan has not finished; reload this page in a moment." }
        }
        @if !overview.exporter.is_empty() { h2 { "The exporter" } (findings(&overview.exporter)) }
        (ended::list(&ended, overview.now))
        (refused::not_served(&overview.refused))
    };
    site.document("HotSpot exporter", &controls(overview.jvms.is_empty()), &content)
}

/// The filter, and the choice between table and cards, which need the script or CSS alone.
fn controls(is_empty: bool) -> Markup {
    html! {
        div.controls {
            h1 { "JVMs" }
            @if !is_empty {
                label.filter { span { "Filter" } input #filter type="search" autocomplete="off" placeholder="name, state, collector" disabled; }
                fieldset.view {
                    legend { "View" }
                    label { input type="radio" name="view" value="table" checked; span { "Table" } }
                    label { input #cards type="radio" name="view" value="cards"; span { "Cards" } }
                }
            }
        }
    }
}

/// The order of rows: findings first, then what stands still, is full after collections, or is throttled. Rounded, so that
/// rows do not change places for nothing.
fn hurt(jvm: &JvmOverview) -> (Reverse<[u32; 4]>, String, u32) {
    let values = &jvm.values;
    let part = |share: Option<f64>, steps: f64| (share.unwrap_or(0.0).clamp(0.0, 1.0) * steps).round() as u32;
    let worst = jvm.findings.iter().map(|finding| finding.severity as u32 + 1).max().unwrap_or(0);
    let stopped = values.last.get(&Measure::Stopped).copied();
    let order = [worst, part(stopped, 20.0), part(values.old_usage_after_gc, 10.0), part(values.throttled, 10.0)];
    (Reverse(order), jvm.row.description.app.clone().unwrap_or_default(), jvm.row.description.slot.unwrap_or(0))
}

fn table(jvms: &[&JvmOverview], overview: &Overview) -> Markup {
    let count = |wanted: Severity| {
        jvms.iter().filter(|jvm| jvm.findings.iter().map(|finding| finding.severity).max() == Some(wanted)).count()
    };
    let minutes = overview.step.map(|step| (step * crate::report::overview::SPARK_POINTS as f64 / 60.0).round());
    html! {
        p.sum {
            b { (jvms.len()) } @if jvms.len() == 1 { " JVM runs" } @else { " JVMs run" }
            @for severity_wanted in [Severity::Critical, Severity::Warning] {
                @let found = count(severity_wanted);
                @if found > 0 {
                    @let (class, word) = severity(severity_wanted);
                    " · " span class={ "mark " (class) } {
                        (found) " " (word.to_lowercase()) @if found > 1 && severity_wanted == Severity::Warning { "s" }
                    }
                }
            }
            @if let Some(minutes) = minutes { " · lines show the last " (minutes) " min" }
            span #shown {}
        }
        div.scroll role="region" aria-label="JVMs" tabindex="0" {
            table.jvms {
                thead {
                    tr {
                        th scope="col" { "JVM" }
                        th scope="col" { "Collector" }
                        th scope="col" { "Heap" }
                        th scope="col" { "Allocation" }
                        th scope="col" { "Stopped" }
                        th scope="col" { abbr title="Longest pause of a collector in the last step" { "Pause" } }
                        th scope="col" { "CPU" }
                        th scope="col" { "Threads" }
                        th scope="col" { abbr title="Resident memory" { "RSS" } }
                        th scope="col" { "Uptime" }
                    }
                }
                tbody {
                    @for (at, jvm) in jvms.iter().enumerate() { (row(jvm, at < LINES_MAXIMUM)) }
                }
            }
        }
    }
}

/// A row of the table, or a card. Cells have a label for cards.
fn row(jvm: &JvmOverview, with_lines: bool) -> Markup {
    let row = &jvm.row;
    let worst = jvm.findings.iter().map(|finding| finding.severity).max().map_or("", |worst| severity(worst).0);
    let last = |measure| jvm.values.last.get(&measure).copied();
    let text = |measure, quantity: Quantity| last(measure).map(|value| quantity.text(value));
    let line = |class, measure, highest| {
        let points = jvm.history.get(&measure).filter(|_| with_lines);
        html! { @if let Some(points) = points { (spark(class, points, highest)) } }
    };
    let cell = |label: &str, content: Markup| html! { td data-l=(label) { (content) } };
    let number = |label: &str, value: Option<String>| cell(label, html! { (value.as_deref().unwrap_or("–")) });
    html! {
        tr class=[(!worst.is_empty()).then_some(worst)] data-row {
            th scope="row" { (title(jvm)) }
            (cell("Collector", html! { (Foreign(row.description.gc.as_deref().unwrap_or("–"))) }))
            (cell("Heap", html! {
                (heap::amount(row).as_deref().unwrap_or("–"))
                (heap::bar(row))
                (line("h", Measure::HeapUsed, row.heap_limit.map(|limit| limit as f64)))
            }))
            (cell("Allocation", html! {
                (text(Measure::AllocationRate, Quantity::BytesPerSecond).as_deref().unwrap_or("–"))
                (line("a", Measure::AllocationRate, None))
            }))
            (cell("Stopped", html! {
                (text(Measure::Stopped, Quantity::Share).as_deref().unwrap_or("–"))
                (line("t", Measure::Stopped, Some(0.1)))
            }))
            (number("Pause", text(Measure::LongestPause, Quantity::Seconds)))
            (cell("CPU", html! {
                (text(Measure::Cpu, Quantity::Count).as_deref().unwrap_or("–"))
                @if let Some(limit) = jvm.values.cpu_limit { span.quiet { " of " (Quantity::Count.text(limit)) } }
                (line("c", Measure::Cpu, jvm.values.cpu_limit))
            }))
            (number("Threads", text(Measure::Threads, Quantity::Count)))
            (number("RSS", text(Measure::Rss, Quantity::Bytes)))
            (number("Uptime", row.uptime_seconds.map(duration)))
        }
    }
}

/// The name, what is wrong, and what tells JVMs of one name apart.
fn title(jvm: &JvmOverview) -> Markup {
    let row = &jvm.row;
    let main = row.description.main_class.as_deref().filter(|main| Some(*main) != row.description.app.as_deref());
    html! {
        (ended::name(jvm))
        @if row.state != "mapped" { " " span.badge.odd { (Foreign(&row.state)) } }
        @if row.description.app.is_none() { @if let Some(pid) = row.description.pid { " " span.quiet { "pid " (pid) } } }
        @for finding in &jvm.findings {
            span class={ "finding " (severity(finding.severity).0) } { (Foreign(&finding.text)) }
        }
        @if jvm.findings.is_empty() { @if let Some(main) = main { span.main { (breakable(main)) } } }
        @for (name, value) in &row.description.labels { span.main { (Foreign(name)) " " (Foreign(value)) } }
    }
}
