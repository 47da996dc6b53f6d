//! Which key does what.

use ratatui::crossterm::event::{
    Event as TerminalEvent, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::column::Column;
use super::model::{Screenful, TopModel};
use super::view::{self, Spot};

/// What the user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Suspend,
    Back,
    Up,
    Down,
    WheelUp,
    WheelDown,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    /// Shows or hides the chosen column.
    Toggle,
    Pause,
    Help,
    Columns,
    Refused,
    Reverse,
    SortBy(Column),
    NextColumn(isize),
    Mouse,
    /// Starts to type the filter.
    Filter,
    Type(String),
    Erase,
    /// Ends typing; the filter stays.
    Keep,
    /// Ends typing; the filter goes.
    Discard,
    /// Selects the row at a place of the list.
    Point {
        row: usize,
    },
}

/// The keys as the help explains them.
pub(super) const HELP: [(&str, &str); 17] = [
    ("Up Down  j k", "select a JVM; scroll"),
    ("PgUp PgDn  Home End", "by a page; to the first and the last"),
    ("Enter", "the selected JVM: findings and charts"),
    ("Esc", "back to the list; there, end the filter"),
    ("/", "filter by app, pid, collector, class, label or finding"),
    ("s", "columns: Enter sorts by one, Space shows or hides it"),
    ("< >", "sort by the column to the left, to the right"),
    ("!  a  h  o", "sort by trouble, app, heap, allocation"),
    ("g  t  l  u  m", "sort by GC, time stopped, longest pause, CPU, memory"),
    ("r", "reverse the order"),
    ("p  Space", "pause, and go on"),
    ("x", "files and processes that are not served, with the reason"),
    ("M", "use the mouse, or leave it to the terminal"),
    ("Ctrl-L", "draw anew"),
    ("Ctrl-Z", "suspend; fg goes on"),
    ("?", "this help"),
    ("q  Ctrl-C", "quit"),
];

/// What an event means where the user is.
pub(super) fn action(event: &TerminalEvent, model: &TopModel, spots: &view::Spots) -> Option<Action> {
    match event {
        TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => key_action(*key, model),
        TerminalEvent::Paste(text) if model.is_typing => Some(Action::Type(text.clone())),
        TerminalEvent::Mouse(mouse) => mouse_action(*mouse, model, spots),
        _ => None,
    }
}

fn key_action(key: KeyEvent, model: &TopModel) -> Option<Action> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('z') => Some(Action::Suspend),
            KeyCode::Char('h') if model.is_typing => Some(Action::Erase),
            KeyCode::Char('u') if model.is_typing => Some(Action::Discard),
            _ => None,
        };
    }
    if model.is_typing {
        return match key.code {
            KeyCode::Char(c) => Some(Action::Type(c.to_string())),
            KeyCode::Backspace => Some(Action::Erase),
            KeyCode::Enter => Some(Action::Keep),
            KeyCode::Esc => Some(Action::Discard),
            KeyCode::Up => Some(Action::Up),
            KeyCode::Down => Some(Action::Down),
            _ => None,
        };
    }
    let is_choosing = model.screenful == Screenful::Columns;
    Some(match key.code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Esc | KeyCode::Backspace => Action::Back,
        KeyCode::Up | KeyCode::Char('k') => Action::Up,
        KeyCode::Down | KeyCode::Char('j') => Action::Down,
        KeyCode::PageUp => Action::PageUp,
        KeyCode::PageDown => Action::PageDown,
        KeyCode::Home => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Enter => Action::Enter,
        KeyCode::Char(' ') if is_choosing => Action::Toggle,
        KeyCode::Char('p' | ' ') => Action::Pause,
        KeyCode::Char('?') | KeyCode::F(1) => Action::Help,
        KeyCode::Char('s') => Action::Columns,
        KeyCode::Char('x') => Action::Refused,
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('<') => Action::NextColumn(-1),
        KeyCode::Char('>') => Action::NextColumn(1),
        KeyCode::Char('M') => Action::Mouse,
        KeyCode::Char('/') if model.screenful == Screenful::List => Action::Filter,
        KeyCode::Char(c) if model.screenful == Screenful::List => Action::SortBy(sort_key(c)?),
        _ => return None,
    })
}

/// The column that a letter sorts by.
fn sort_key(c: char) -> Option<Column> {
    Some(match c {
        '!' => Column::Trouble,
        'a' => Column::App,
        'h' => Column::Heap,
        'o' => Column::Allocation,
        'g' => Column::GcShare,
        't' => Column::Stopped,
        'l' => Column::Pause,
        'u' => Column::Cpu,
        'm' => Column::Rss,
        _ => return None,
    })
}

fn mouse_action(mouse: MouseEvent, model: &TopModel, spots: &view::Spots) -> Option<Action> {
    match mouse.kind {
        MouseEventKind::ScrollUp => Some(Action::WheelUp),
        MouseEventKind::ScrollDown => Some(Action::WheelDown),
        MouseEventKind::Down(MouseButton::Left) if model.screenful == Screenful::List => {
            match spots.at(mouse.column, mouse.row)? {
                Spot::Header(column) => Some(Action::SortBy(column)),
                Spot::Row(row) if model.first + row == model.cursor => Some(Action::Enter),
                Spot::Row(row) => Some(Action::Point { row }),
            }
        }
        _ => None,
    }
}

/// Whether the whole screen is drawn anew, over what others have written there.
pub(super) fn redraws(event: &TerminalEvent) -> bool {
    matches!(event, TerminalEvent::Key(key)
        if key.code == KeyCode::Char('l') && key.modifiers.contains(KeyModifiers::CONTROL))
}
