//! Colours, and what stands for them where the terminal has none.

use ratatui::style::{Color, Modifier, Style};

use crate::report::overview::Severity;

/// The styles of what is drawn. Colours are the terminal's own sixteen, so that they suit light and dark ones.
#[derive(Clone, Copy, Debug)]
pub(in crate::top) struct Theme {
    has_colour: bool,
}

impl Theme {
    /// Without colour there are bold, dim and reversed texts.
    pub(in crate::top) fn new(has_colour: bool) -> Self {
        Self { has_colour }
    }

    fn colour(self, colour: Color) -> Style {
        if self.has_colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn severity(self, severity: Severity) -> Style {
        match severity {
            Severity::Critical => self.colour(Color::Red).add_modifier(Modifier::BOLD),
            Severity::Warning => self.colour(Color::Yellow),
            Severity::Info => self.colour(Color::Cyan),
        }
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn header(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn sorted(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub(super) fn bar(self) -> Style {
        self.colour(Color::Green)
    }

    pub(super) fn chart(self) -> Color {
        if self.has_colour { Color::Cyan } else { Color::Reset }
    }

    pub(super) fn failure(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }
}
