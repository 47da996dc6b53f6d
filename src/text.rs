//! Text for terminals and pages: sanitised foreign text, and tables.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character moves a terminal's cursor, ends a line, or changes the direction of writing.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with unprintable characters replaced by U+FFFD.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(is_unprintable) {
        Cow::Owned(text.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Columns as wide as their widest cell, two spaces apart, without trailing spaces. The first row is the header.
pub(crate) fn table<const N: usize>(rows: &[[Cow<'_, str>; N]], align: [Align; N]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), align) in row.iter().zip(widths).zip(align) {
            let gap = if line.is_empty() { "" } else { "  " };
            let _ = match align {
                Align::Left => write!(line, "{gap}{cell:<width$}"),
                Align::Right => write!(line, "{gap}{cell:>width$}"),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unprintable_characters_are_replaced() {
        assert_eq!(printable("a\u{1b}[31m\nb\u{202e}c"), "a\u{fffd}[31m\u{fffd}b\u{fffd}c");
        assert!(matches!(printable("größer 漢"), Cow::Borrowed(_)));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "COUNT"], ["größer", "7"], ["", "12345678"]].map(|row| row.map(Cow::Borrowed));
        assert_eq!(table(&rows, [Align::Left, Align::Right]), "A          COUNT\ngrößer         7\n        12345678\n");
    }
}
