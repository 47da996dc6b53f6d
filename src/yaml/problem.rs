//! What is wrong with a configuration, and where.

use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Problems that are kept; a file with more is not the one that was meant.
const MAXIMUM: usize = 100;

/// One thing that is wrong, printed as `file:line:column: path: message; hint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or `command line`.
    pub file: Arc<str>,
    /// From 1; 0 where there are no lines.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Where in the document: `rules[2].labels.queue`. Empty for the document itself.
    pub path: String,
    /// What is wrong: what was expected, what was found.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line(f);
        line.write_str(&self.file)?;
        if self.line > 0 {
            write!(line, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(line, ": {}", self.path)?;
        }
        write!(line, ": {}", self.message)?;
        if !self.hint.is_empty() {
            write!(line, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// Keeps what is written on one line, whatever a file's name or a text of the document contains.
struct Line<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        for (index, part) in text.split(breaks).enumerate() {
            if index > 0 {
                self.0.write_char(' ')?;
            }
            self.0.write_str(part)?;
        }
        Ok(())
    }
}

/// Every problem of a configuration, in the order of the files and of the lines in them. One line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// The problems; at most 100.
    pub list: Vec<Problem>,
    /// Further ones that were found and not kept.
    pub further: usize,
}

impl Problems {
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.list.len() < MAXIMUM {
            self.list.push(problem);
        } else {
            self.further += 1;
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Problems in the order in which a reader of each file meets them; files stay in the order of their first problem.
    pub(crate) fn sorted(mut self) -> Self {
        let mut files: Vec<Arc<str>> = Vec::new();
        for problem in &self.list {
            if !files.contains(&problem.file) {
                files.push(Arc::clone(&problem.file));
            }
        }
        let rank = |file: &Arc<str>| files.iter().position(|other| other == file);
        self.list.sort_by_key(|problem| (rank(&problem.file), problem.line, problem.column));
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            write!(f, "{}{problem}", if index > 0 { "\n" } else { "" })?;
        }
        if self.further > 0 {
            write!(f, "\nand {} more", self.further)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_takes_one_line_whatever_it_names() {
        let problem = Problem {
            file: "a\nb.yml".into(),
            line: 2,
            column: 3,
            path: "rules[0]".to_owned(),
            message: "found \u{1b}[31mred\r\n".to_owned(),
            hint: "\ttry".to_owned(),
        };
        assert_eq!(problem.to_string(), "a b.yml:2:3: rules[0]: found  [31mred  ;  try");
    }
}
