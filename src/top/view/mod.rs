//! What is drawn. Only what is visible is formatted, so that a thousand JVMs cost what a screenful does.

mod chart;
mod detail;
mod list;
mod theme;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::column::Column;
use super::keys::HELP;
use super::model::{Screenful, TopModel};
use crate::report::list::NOTHING_FOUND;
use crate::report::overview::{Overview, Severity};
use crate::text::printable;
pub(super) use theme::Theme;

/// What stands at a place of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Header(Column),
    /// A row of the list, counted from the first that is drawn.
    Row(usize),
}

/// What the last drawing put where.
#[derive(Debug, Default)]
pub(super) struct Spots {
    header: u16,
    /// The columns with their first and last place.
    columns: Vec<(Column, u16, u16)>,
    rows: std::ops::Range<u16>,
}

impl Spots {
    /// What stands there.
    pub(super) fn at(&self, x: u16, y: u16) -> Option<Spot> {
        if self.rows.contains(&y) {
            return Some(Spot::Row(usize::from(y - self.rows.start)));
        }
        let mut columns = self.columns.iter().filter(|_| y == self.header);
        columns.find(|(_, from, to)| (*from..=*to).contains(&x)).map(|(column, ..)| Spot::Header(*column))
    }
}

/// Whose JVMs they are, and how often they are looked at: for the first line.
#[derive(Clone, Debug, Default)]
pub(super) struct Caption {
    pub(super) source: String,
    pub(super) interval: String,
}

/// Draws all of it, and tells the model how many rows fit.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut TopModel, theme: Theme, caption: &Caption) -> Spots {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    let mut spots = Spots::default();
    let Rect { width, height, .. } = area;
    if width < 20 || height < 5 {
        line(buffer, area, 0, Line::from("the terminal is too small"));
        return spots;
    }
    title(buffer, area, model, theme, caption);
    let body = Rect { y: area.y + 1, height: height - 2, ..area };
    match model.screenful {
        Screenful::List if model.overview().jvms.is_empty() => nothing(buffer, body, model, theme),
        Screenful::List => list::draw(buffer, body, model, theme, &mut spots),
        Screenful::Detail => detail::draw(buffer, body, model, theme),
        Screenful::Help => text(buffer, body, model, help(theme)),
        Screenful::Refused => text(buffer, body, model, refused(model, theme, width)),
        Screenful::Columns => choice(buffer, body, model, theme),
    }
    let last = footer(model, theme);
    line(buffer, area, height - 1, last);
    spots
}

/// Writes a line at this distance from the top of the area.
fn line(buffer: &mut Buffer, area: Rect, offset: u16, line: Line<'_>) {
    if offset < area.height {
        buffer.set_line(area.x, area.y + offset, &line, area.width);
    }
}

fn title(buffer: &mut Buffer, area: Rect, model: &TopModel, theme: Theme, caption: &Caption) {
    let overview = model.overview();
    let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let running = overview.jvms.iter().filter(|jvm| jvm.end.is_none()).count();
    let mut spans = vec![Span::styled("hotspot-exporter top", theme.title())];
    let mut add = |text: String, style: Style| spans.extend([Span::raw("  "), Span::styled(text, style)]);
    if model.is_filled {
        add(count(running, "JVM", "JVMs"), Style::new());
    }
    if !model.filter.is_empty() {
        add(format!("{} shown", model.rows().len()), Style::new());
    }
    for (severity, word) in [(Severity::Critical, "critical"), (Severity::Warning, "warning")] {
        let troubled = model.troubled(severity);
        if troubled > 0 {
            add(format!("{troubled} {word}"), theme.severity(severity));
        }
    }
    if !overview.refused.is_empty() {
        add(format!("{} not served", overview.refused.len()), theme.faint());
    }
    if let Some(worst) = overview.exporter.iter().map(|finding| finding.severity).max() {
        add("exporter: press x".to_owned(), theme.severity(worst));
    }
    if model.is_paused {
        add("PAUSED".to_owned(), theme.selected());
    }
    let left = Line::from(spans);
    let right = format!("{}, every {}", printable(&caption.source), caption.interval);
    let right = Line::from(Span::styled(right, theme.faint()));
    let (left_width, right_width) = (left.width(), right.width());
    line(buffer, area, 0, left);
    if left_width + 2 + right_width <= usize::from(area.width) {
        let x = area.right() - u16::try_from(right_width).unwrap_or_default();
        buffer.set_line(x, area.y, &right, area.width);
    }
}

/// The last line: the filter as it is typed, the reason of a failure, or the keys.
fn footer<'a>(model: &TopModel, theme: Theme) -> Line<'a> {
    if model.is_typing {
        let cursor = Span::styled(" ", theme.selected());
        return Line::from(vec![Span::styled("filter: ", theme.title()), Span::raw(model.filter.clone()), cursor]);
    }
    if let Some(failure) = &model.failure {
        return Line::from(Span::styled(printable(failure).into_owned(), theme.failure()));
    }
    let keys: &[(&str, &str)] = match model.screenful {
        Screenful::List => &[
            ("Enter", "detail"),
            ("/", "filter"),
            ("s", "columns"),
            ("<>", "sort"),
            ("p", "pause"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Screenful::Columns => &[("Enter", "sort by it"), ("Space", "show or hide"), ("Esc", "back"), ("q", "quit")],
        _ => &[("Up Down", "scroll"), ("p", "pause"), ("Esc", "back"), ("q", "quit")],
    };
    let mut spans = Vec::new();
    if !model.filter.is_empty() {
        spans.push(Span::styled(format!("filter: {}  ", model.filter), theme.title()));
    }
    for (key, meaning) in keys {
        spans.extend([Span::styled(*key, theme.title()), Span::raw(format!(" {meaning}  "))]);
    }
    Line::from(spans)
}

fn nothing(buffer: &mut Buffer, area: Rect, model: &TopModel, theme: Theme) {
    if !model.is_filled {
        line(buffer, area, 1, Line::from("looking for JVMs"));
        return;
    }
    let mut lines = vec![Line::from("No JVM found. Things to check:")];
    for (topic, advice) in NOTHING_FOUND {
        let advice = wrap(&format!("{topic}: {advice}"), area.width.saturating_sub(2));
        lines.extend(advice.into_iter().map(|text| Line::from(format!("  {text}"))));
    }
    if !model.overview().refused.is_empty() {
        lines.push(Line::default());
        let count = model.overview().refused.len();
        lines.push(Line::from(Span::styled(format!("{count} not served: press x for the reasons"), theme.title())));
    }
    for (offset, text) in (1..).zip(lines) {
        line(buffer, area, offset, text);
    }
}

/// A text that scrolls.
fn text(buffer: &mut Buffer, area: Rect, model: &mut TopModel, lines: Vec<Line<'_>>) {
    let height = usize::from(area.height);
    model.page = height;
    model.scroll = model.scroll.min(lines.len().saturating_sub(height));
    for (offset, text) in (0..area.height).zip(lines.into_iter().skip(model.scroll)) {
        line(buffer, area, offset, text);
    }
}

fn help<'a>(theme: Theme) -> Vec<Line<'a>> {
    let mut lines = vec![Line::default()];
    for (keys, meaning) in HELP {
        lines.push(Line::from(vec![Span::styled(format!("  {keys:<20}"), theme.title()), Span::raw(meaning)]));
    }
    lines.push(Line::default());
    for text in [
        "  !! critical, ! warning, i worth knowing: the worst finding. x: ended.",
        "  HEAP: █ in use after the last collection, ▒ since then, · free.",
        "  An empty cell is a value that nobody knows: it is never 0.",
    ] {
        lines.push(Line::from(text));
    }
    lines
}

fn refused<'a>(model: &TopModel, theme: Theme, width: u16) -> Vec<Line<'a>> {
    let Overview { refused: rows, exporter, .. } = model.overview();
    if rows.is_empty() && exporter.is_empty() {
        return vec![Line::default(), Line::from("  Every JVM that was found is served.")];
    }
    let mut lines = Vec::new();
    for finding in exporter {
        let name = printable(&finding.name).into_owned();
        lines.push(Line::from(Span::styled(format!("exporter: {name}"), theme.severity(finding.severity))));
        for part in [&finding.text, &finding.next_step] {
            let wrapped = wrap(&printable(part), width.saturating_sub(2));
            lines.extend(wrapped.into_iter().map(|text| Line::from(format!("  {text}"))));
        }
    }
    for row in rows {
        let subject = format!("{}: {}", printable(&row.subject()), printable(&row.reason));
        lines.push(Line::from(Span::styled(subject, theme.title())));
        for part in [&row.detail, &row.remedy] {
            let wrapped = wrap(&printable(part), width.saturating_sub(2));
            lines.extend(wrapped.into_iter().map(|text| Line::from(format!("  {text}"))));
        }
    }
    lines
}

/// The choice of columns.
fn choice(buffer: &mut Buffer, area: Rect, model: &mut TopModel, theme: Theme) {
    let columns = <Column as strum::VariantArray>::VARIANTS;
    let height = usize::from(area.height);
    let first = (model.chosen + 1).saturating_sub(height);
    for (offset, (index, column)) in (0..area.height).zip(columns.iter().enumerate().skip(first)) {
        let shown = if model.shows(*column) { "x" } else { " " };
        let order = match (*column == model.sorted, model.is_descending) {
            (true, true) => "↓",
            (true, false) => "↑",
            _ => " ",
        };
        let text = format!(" [{shown}] {order} {:<15} {}", column.title(), column.meaning());
        line(buffer, area, offset, Line::from(text));
        if index == model.chosen {
            buffer.set_style(Rect { y: area.y + offset, height: 1, ..area }, theme.selected());
        }
    }
}

/// The text in lines of at most this width, broken between words where that is possible.
fn wrap(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in text.split_whitespace() {
        let gap = usize::from(!current.is_empty());
        if !current.is_empty() && Span::raw(&current).width() + gap + Span::raw(word).width() > width {
            lines.push(std::mem::take(&mut current));
        }
        if !current.is_empty() {
            current.push(' ');
        }
        for character in word.chars() {
            if Span::raw(&current).width() + 1 > width {
                lines.push(std::mem::take(&mut current));
            }
            current.push(character);
        }
    }
    if !current.is_empty() {
        lines.push(current);
    }
    lines
}
