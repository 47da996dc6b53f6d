//! The list of JVMs.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Spots, Theme};
use crate::report::overview::{JvmOverview, Measure};
use crate::text::{Align, printable};
use crate::top::column::{Column, GAP, fit, share};
use crate::top::model::TopModel;
use crate::top::{format, trouble};

/// Eighths of a cell's height.
const LEVELS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Characters behind the bar of the heap: a space and a share such as ` 100%`.
const HEAP_SHARE: u16 = 5;

/// A row of the area: where it begins, and how wide it is.
#[derive(Clone, Copy)]
struct CellPlace {
    x: u16,
    y: u16,
    width: u16,
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &mut TopModel, theme: Theme, spots: &mut Spots) {
    // One line for the header, one for what is wrong with the selected JVM.
    let height = area.height.saturating_sub(2).max(1);
    let page = usize::from(height);
    model.page = page;
    let last = model.rows().len().saturating_sub(page);
    model.first = model.first.min(last).clamp((model.cursor + 1).saturating_sub(page), model.cursor);
    let columns = fit(area.width, |column| model.shows(column), model.sorted);
    header(buffer, area, model, theme, &columns, spots);
    spots.rows = area.y + 1..area.y + 1 + height.min(u16::try_from(model.rows().len()).unwrap_or(height));
    let now = model.overview().now;
    let visible = model.rows().enumerate().skip(model.first).take(page);
    for (y, (index, jvm)) in (area.y + 1..).zip(visible) {
        row(buffer, CellPlace { x: area.x, y, width: area.width }, jvm, &columns, theme, now);
        if index == model.cursor {
            buffer.set_style(Rect { y, height: 1, ..area }, theme.selected());
        }
    }
    if let Some(jvm) = model.selected() {
        let style = trouble::severity(jvm).map_or_else(Style::new, |severity| theme.severity(severity));
        let remark = trouble::remark(jvm, now);
        super::line(buffer, area, area.height - 1, Line::from(Span::styled(printable(&remark).into_owned(), style)));
    }
}

fn header(
    buffer: &mut Buffer,
    area: Rect,
    model: &TopModel,
    theme: Theme,
    columns: &[(Column, u16)],
    spots: &mut Spots,
) {
    spots.header = area.y;
    buffer.set_style(Rect { height: 1, ..area }, theme.header());
    let mut x = area.x;
    for (column, width) in columns {
        let is_sorted = *column == model.sorted;
        let arrow = match (is_sorted, model.is_descending) {
            (true, true) => "↓",
            (true, false) => "↑",
            (false, _) => "",
        };
        let title = format!("{}{arrow}", column.title());
        // The arrow of a title that fills its column takes the gap before it.
        let style = if is_sorted { theme.sorted() } else { theme.header() };
        let length = Span::raw(&title).width() as u16;
        let start = match column.align() {
            Align::Right => (x + width).saturating_sub(length).max(area.x),
            Align::Left => x,
        };
        buffer.set_stringn(start, area.y, &title, usize::from(area.right().saturating_sub(start)), style);
        spots.columns.push((*column, x, x + width));
        x += width + GAP;
    }
}

fn row(buffer: &mut Buffer, place: CellPlace, jvm: &JvmOverview, columns: &[(Column, u16)], theme: Theme, now: f64) {
    let severity = trouble::severity(jvm).map(|severity| theme.severity(severity));
    let base = if jvm.end.is_some() { theme.faint() } else { Style::new() };
    let mut x = place.x;
    for (column, width) in columns {
        let cell = CellPlace { x, width: *width, ..place };
        let style = match column {
            Column::Trouble | Column::Remark => severity.unwrap_or(base),
            Column::App if jvm.end.is_none() => theme.title(),
            _ => base,
        };
        match column {
            Column::Heap => heap(buffer, cell, jvm, theme, base),
            Column::Trend => trend(buffer, cell, jvm, theme),
            _ => {
                if let Some(text) = column.text(jvm, now) {
                    put(buffer, cell, &text, column.align(), style);
                }
            }
        }
        x += width + GAP;
    }
}

/// Writes a text into a cell; `…` stands for what does not fit.
fn put(buffer: &mut Buffer, cell: CellPlace, text: &str, align: Align, style: Style) {
    let (width, length) = (usize::from(cell.width), Span::raw(text).width());
    if length <= width {
        let start = match align {
            Align::Left => cell.x,
            Align::Right => cell.x + (width - length) as u16,
        };
        buffer.set_stringn(start, cell.y, text, width, style);
    } else {
        let (end, _) = buffer.set_stringn(cell.x, cell.y, text, width.saturating_sub(1), style);
        buffer.set_stringn(end, cell.y, "…", 1, style);
    }
}

/// Live set, use and room of the heap as a bar, and the share in use.
fn heap(buffer: &mut Buffer, cell: CellPlace, jvm: &JvmOverview, theme: Theme, base: Style) {
    if let Some(end) = jvm.end {
        put(buffer, cell, trouble::ending(end.how), Align::Left, base);
        return;
    }
    let Some(used) = Column::Heap.value(jvm) else {
        let text = Column::HeapSize.text(jvm, 0.0);
        let text = text.as_deref().unwrap_or(if jvm.row.state == "mapped" { "" } else { &jvm.row.state });
        put(buffer, cell, &printable(text), Align::Left, base);
        return;
    };
    let Some(room) = cell.width.checked_sub(HEAP_SHARE) else {
        put(buffer, cell, &format::percent(used), Align::Right, base);
        return;
    };
    let limit = jvm.row.heap_limit.unwrap_or_default() as f64;
    let live = jvm.values.last.get(&Measure::LiveSet).and_then(|live| share(*live, limit)).unwrap_or(used);
    let cells = |share: f64| (share * f64::from(room)).round() as usize;
    let (live, used_cells) = (cells(live.min(used)), cells(used));
    let bar: String = (0..usize::from(room))
        .map(|at| {
            if at < live {
                '█'
            } else if at < used_cells {
                '▒'
            } else {
                '·'
            }
        })
        .collect();
    buffer.set_stringn(cell.x, cell.y, bar, usize::from(room), theme.bar());
    let number = CellPlace { x: cell.x + room, width: HEAP_SHARE, ..cell };
    put(buffer, number, &format!("{:.0}%", used * 100.0), Align::Right, base);
}

/// The points of the heap in as many steps as there is room for, each as high as the highest point in it: its share of
/// the limit, or else of the highest of all.
fn trend(buffer: &mut Buffer, cell: CellPlace, jvm: &JvmOverview, theme: Theme) {
    let Some(points) = jvm.history.get(&Measure::HeapUsed) else { return };
    let room = usize::from(cell.width).max(1);
    let highest_of = |points: &[Option<f32>]| points.iter().flatten().copied().reduce(f32::max);
    let most = jvm.row.heap_limit.map(|limit| limit as f32).or(highest_of(points)).filter(|most| *most > 0.0);
    let level = |points: &[Option<f32>]| {
        let level = (highest_of(points)? / most? * LEVELS.len() as f32) as usize;
        LEVELS.get(level.min(LEVELS.len() - 1)).copied()
    };
    let mut steps: Vec<&str> =
        points.rchunks(points.len().div_ceil(room).max(1)).map(|points| level(points).unwrap_or(" ")).collect();
    steps.resize(room, " ");
    steps.reverse();
    buffer.set_stringn(cell.x, cell.y, steps.concat(), room, theme.bar());
}
