//! The list as one table, where there is no terminal.

use std::borrow::Cow;
use std::fmt::Write;

use super::column::Column;
use super::model::TopModel;
use super::trouble;
use crate::report::list::NOTHING_FOUND;
use crate::report::overview::Overview;
use crate::text::{Align, printable, table as aligned};

/// Columns of the table, which is as wide as it has to be.
const COLUMNS: [Column; 18] = [
    Column::Trouble,
    Column::App,
    Column::Slot,
    Column::Pid,
    Column::Labels,
    Column::Collector,
    Column::Heap,
    Column::HeapSize,
    Column::Allocation,
    Column::GcShare,
    Column::Stopped,
    Column::Pause,
    Column::Threads,
    Column::Cpu,
    Column::Rss,
    Column::Native,
    Column::Uptime,
    Column::Remark,
];

/// All JVMs, the worst first, and what is not served. What nobody knows is `-`.
pub(super) fn table(overview: &Overview) -> String {
    let mut out = String::new();
    let mut model = TopModel::default();
    model.take(Ok(overview.clone()));
    if overview.jvms.is_empty() {
        out.push_str("No JVM found. Things to check:\n");
        for (topic, advice) in NOTHING_FOUND {
            let _ = writeln!(out, "  {topic}: {advice}");
        }
    } else {
        let header = COLUMNS.map(|column| Cow::Borrowed(if column == Column::Heap { "HEAP%" } else { column.title() }));
        let rows = model.rows().map(|jvm| {
            COLUMNS.map(|column| match column {
                Column::Heap if jvm.end.is_some() => jvm.end.map_or("", |end| trouble::ending(end.how)).into(),
                _ => column.text(jvm, overview.now).unwrap_or(Cow::Borrowed("-")),
            })
        });
        let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
        let align = COLUMNS.map(|column| if column == Column::Heap { Align::Right } else { column.align() });
        out.push_str(&aligned(&rows, align));
    }
    for finding in &overview.exporter {
        let _ = writeln!(out, "\nexporter: {}: {}", printable(&finding.name), printable(&finding.text));
    }
    if !overview.refused.is_empty() {
        let _ = writeln!(out, "\nNot served ({}):", overview.refused.len());
        for row in &overview.refused {
            let _ = writeln!(
                out,
                "  {}: {}: {}",
                printable(&row.subject()),
                printable(&row.reason),
                printable(&row.detail)
            );
        }
    }
    out
}
