//! One JVM: what it is, what is wrong with it, and its last minutes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::chart::{self, HEIGHT_MINIMUM};
use super::{Theme, wrap};
use crate::report::list::duration;
use crate::report::overview::{JvmOverview, Measure};
use crate::text::printable;
use crate::top::model::TopModel;
use crate::top::{format, trouble};

/// Width below which two charts do not stand side by side, and most that do.
const CHART_WIDTH: u16 = 38;
const CHARTS_BESIDE: u16 = 4;

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &mut TopModel, theme: Theme) {
    let now = model.overview().now;
    let Some((jvm, step)) = model.detail() else {
        super::line(buffer, area, 1, Line::from("This JVM is gone."));
        return;
    };
    let mut lines = facts(jvm, theme, area.width, now);
    let found = findings(jvm, theme, area.width);
    // Charts keep half of the screen.
    let room = usize::from(area.height / 2).saturating_sub(lines.len());
    let is_cut = found.len() > room;
    lines.extend(found.into_iter().take(room));
    if is_cut {
        let text = "… more findings: enlarge the terminal, or run `hotspot-exporter doctor`";
        lines.pop();
        lines.push(Line::from(Span::styled(text, theme.faint())));
    }
    let mut used = 0;
    for text in lines {
        super::line(buffer, area, used, text);
        used += 1;
    }
    let rest = Rect { y: area.y + used, height: area.height.saturating_sub(used), ..area };
    let scroll = charts(buffer, rest, jvm, step, model.scroll, theme);
    model.scroll = scroll;
    model.page = 2;
}

/// Draws as many rows of charts as there is room for, from this row on; the row that was the first.
fn charts(buffer: &mut Buffer, area: Rect, jvm: &JvmOverview, step: Option<f64>, scroll: usize, theme: Theme) -> usize {
    let charts: Vec<(Measure, &[Option<f32>])> = TopModel::charts(jvm).collect();
    let points = charts.iter().map(|(_, points)| points.len()).max().unwrap_or_default();
    let Some(step) = step.filter(|_| points > 1) else {
        let text = if step.is_some() { "no history yet" } else { "this exporter keeps no history (history: off)" };
        super::line(buffer, area, 0, Line::from(Span::styled(text, theme.faint())));
        return 0;
    };
    let most = CHARTS_BESIDE.min(u16::try_from(charts.len()).unwrap_or(CHARTS_BESIDE));
    let beside = (area.width / CHART_WIDTH).clamp(1, most);
    let rows = charts.len().div_ceil(usize::from(beside));
    let room = area.height.saturating_sub(1);
    let visible = usize::from((room / HEIGHT_MINIMUM).max(1)).min(rows);
    let first = scroll.min(rows.saturating_sub(visible));
    let span = duration((points - 1) as f64 * step);
    let more =
        if visible < rows { format!("; rows {} to {} of {rows}", first + 1, first + visible) } else { String::new() };
    super::line(
        buffer,
        area,
        0,
        Line::from(Span::styled(format!("the last {span}, to the right until now{more}"), theme.faint())),
    );
    let height = room / visible as u16;
    let width = area.width / beside;
    for (index, (measure, points)) in
        charts.iter().skip(first * usize::from(beside)).take(visible * usize::from(beside)).enumerate()
    {
        let (row, column) = (index as u16 / beside, index as u16 % beside);
        let place =
            Rect { x: area.x + column * width, y: area.y + 1 + row * height, width: width.saturating_sub(1), height };
        chart::draw(buffer, place, *measure, points, theme);
    }
    first
}

/// What it is and how it does, in as many lines as the width needs.
fn facts<'a>(jvm: &JvmOverview, theme: Theme, width: u16, now: f64) -> Vec<Line<'a>> {
    let row = &jvm.row;
    let name = match (&row.description.app, row.description.slot) {
        (Some(app), Some(slot)) => format!("{app}/{slot}"),
        (Some(app), None) => app.clone(),
        _ => row.description.main_class.clone().unwrap_or_else(|| "a JVM that starts".to_owned()),
    };
    let mut lines = vec![Line::from(Span::styled(printable(&name).into_owned(), theme.title()))];
    let mut what: Vec<String> = Vec::new();
    what.extend(row.description.pid.map(|pid| format!("pid {pid}")));
    what.extend(row.description.gc.clone());
    what.extend(row.description.java_version.as_ref().map(|version| format!("Java {version}")));
    what.extend(row.description.main_class.clone());
    what.extend(row.description.user.as_ref().map(|user| format!("user {user}")));
    what.extend(row.description.labels.iter().map(|(name, value)| format!("{name}={value}")));
    match jvm.end {
        Some(end) => what.push(format!("{} {} ago", trouble::ending(end.how), duration(now - end.at))),
        None => {
            what.extend(row.uptime_seconds.map(|seconds| format!("up {}", duration(seconds))));
            what.extend(Some(row.state.to_string()).filter(|state| state != "mapped" && !state.is_empty()));
        }
    }
    for list in [what, values(jvm)] {
        let text = list.iter().map(|part| printable(part).into_owned()).collect::<Vec<_>>().join(" · ");
        lines.extend(wrap(&text, width).into_iter().map(Line::from));
    }
    lines
}

/// The values that have no chart.
fn values(jvm: &JvmOverview) -> Vec<String> {
    let (row, values) = (&jvm.row, &jvm.values);
    let mut parts = Vec::new();
    let limit = row.heap_limit.map_or_else(String::new, |limit| format!(" of {}", format::size(limit as f64)));
    parts.extend(row.heap_used.map(|used| format!("heap {}{limit}", format::size(used as f64))));
    let share = |name: &str, share: Option<f64>| share.map(|share| format!("{name} {}%", format::percent(share)));
    parts.extend(share("old generation after collections", values.old_usage_after_gc));
    parts.extend(share("collections", values.gc_share));
    parts.extend(share("throttled", values.throttled));
    parts.extend(share("fullest code heap", values.code_usage));
    let of = |limit: Option<f64>, text: fn(f64) -> String| {
        limit.map_or_else(String::new, |limit| format!(" of {}", text(limit)))
    };
    let cpu = values.last.get(&Measure::Cpu);
    parts.extend(cpu.map(|cpu| format!("CPU {}{}", format::number(*cpu), of(values.cpu_limit, format::number))));
    let cgroup = values.cgroup_used;
    parts.extend(cgroup.map(|used| format!("cgroup {}{}", format::size(used), of(values.cgroup_limit, format::size))));
    parts.extend(values.native_growth.map(|bytes| {
        let sign = if bytes < 0.0 { '-' } else { '+' };
        format!("native memory outside the heap {sign}{}", format::size(bytes.abs()))
    }));
    parts.extend(values.nmt_enabled.filter(|enabled| !enabled).map(|_| "NMT off".to_owned()));
    parts.extend(values.jit_enabled.filter(|enabled| !enabled).map(|_| "compiler off".to_owned()));
    parts
}

fn findings<'a>(jvm: &JvmOverview, theme: Theme, width: u16) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for finding in &jvm.findings {
        let style = theme.severity(finding.severity);
        let text = format!("{}: {}", finding.name, finding.text);
        lines.extend(wrap(&printable(&text), width).into_iter().map(|text| Line::from(Span::styled(text, style))));
        let next = wrap(&printable(&finding.next_step), width.saturating_sub(2));
        lines.extend(next.into_iter().map(|text| Line::from(format!("  {text}"))));
    }
    lines
}
