//! Which key does what.

use ratatui::crossterm::event::{
    Event as TerminalEvent, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::column::Column;
use super::model::{Screenful, TopModel};
use super::view::{self, Spot};

/// What the user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyAction {
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
    ("x", "what is not served, and what is wrong with the exporter"),
    ("M", "use the mouse, or leave it to the terminal"),
    ("Ctrl-L", "draw anew"),
    ("Ctrl-Z", "suspend; fg goes on"),
    ("?", "this help"),
    ("q  Ctrl-C", "quit"),
];

/// What an event means where the user is.
pub(super) fn action(event: &TerminalEvent, model: &TopModel, spots: &view::Spots) -> Option<KeyAction> {
    match event {
        TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => key_action(*key, model),
        TerminalEvent::Paste(text) if model.is_typing => Some(KeyAction::Type(text.clone())),
        TerminalEvent::Mouse(mouse) => mouse_action(*mouse, model, spots),
        _ => None,
    }
}

fn key_action(key: KeyEvent, model: &TopModel) -> Option<KeyAction> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(KeyAction::Quit),
            KeyCode::Char('z') => Some(KeyAction::Suspend),
            KeyCode::Char('h') if model.is_typing => Some(KeyAction::Erase),
            KeyCode::Char('u') if model.is_typing => Some(KeyAction::Discard),
            _ => None,
        };
    }
    if model.is_typing {
        return match key.code {
            KeyCode::Char(c) => Some(KeyAction::Type(c.to_string())),
            KeyCode::Backspace => Some(KeyAction::Erase),
            KeyCode::Enter => Some(KeyAction::Keep),
            KeyCode::Esc => Some(KeyAction::Discard),
            KeyCode::Up => Some(KeyAction::Up),
            KeyCode::Down => Some(KeyAction::Down),
            _ => None,
        };
    }
    let is_choosing = model.screenful == Screenful::Columns;
    Some(match key.code {
        KeyCode::Char('q') => KeyAction::Quit,
        KeyCode::Esc | KeyCode::Backspace => KeyAction::Back,
        KeyCode::Up | KeyCode::Char('k') => KeyAction::Up,
        KeyCode::Down | KeyCode::Char('j') => KeyAction::Down,
        KeyCode::PageUp => KeyAction::PageUp,
        KeyCode::PageDown => KeyAction::PageDown,
        KeyCode::Home => KeyAction::First,
        KeyCode::End | KeyCode::Char('G') => KeyAction::Last,
        KeyCode::Enter => KeyAction::Enter,
        KeyCode::Char(' ') if is_choosing => KeyAction::Toggle,
        KeyCode::Char('p' | ' ') => KeyAction::Pause,
        KeyCode::Char('?') | KeyCode::F(1) => KeyAction::Help,
        KeyCode::Char('s') => KeyAction::Columns,
        KeyCode::Char('x') => KeyAction::Refused,
        KeyCode::Char('r') => KeyAction::Reverse,
        KeyCode::Char('<') => KeyAction::NextColumn(-1),
        KeyCode::Char('>') => KeyAction::NextColumn(1),
        KeyCode::Char('M') => KeyAction::Mouse,
        KeyCode::Char('/') if model.screenful == Screenful::List => KeyAction::Filter,
        KeyCode::Char(c) if model.screenful == Screenful::List => KeyAction::SortBy(sort_key(c)?),
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

fn mouse_action(mouse: MouseEvent, model: &TopModel, spots: &view::Spots) -> Option<KeyAction> {
    match mouse.kind {
        MouseEventKind::ScrollUp => Some(KeyAction::WheelUp),
        MouseEventKind::ScrollDown => Some(KeyAction::WheelDown),
        MouseEventKind::Down(MouseButton::Left) if model.screenful == Screenful::List => {
            match spots.at(mouse.column, mouse.row)? {
                Spot::Header(column) => Some(KeyAction::SortBy(column)),
                Spot::Row(row) if model.first + row == model.cursor => Some(KeyAction::Enter),
                Spot::Row(row) => Some(KeyAction::Point { row }),
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
