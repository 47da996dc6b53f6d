//! Nodes to checked values, collecting every problem on the way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::document::{Node, NodeData, NodeKey, Position, excerpt};
use super::{Problem, Problems};

/// Most keys that a hint lists.
const LISTED: usize = 12;

/// Where a decoder is in the document: `rules[2].labels.queue`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    /// The document.
    Root,
    /// A key of a mapping.
    Key(&'a Path<'a>, &'a str),
    /// An item of a list.
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// The value under that key.
    pub(crate) fn key<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path::Key(self, name)
    }

    /// The item of that number, from 0.
    pub(crate) fn item(&self, index: usize) -> Path<'_> {
        Path::Item(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Path::Root, name) => f.write_str(&excerpt(name)),
            Self::Key(parent, name) => write!(f, "{parent}.{}", excerpt(name)),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A decoder of one file. Its methods give `None` after reporting a problem.
#[derive(Debug)]
pub(crate) struct Decoder<'p> {
    pub(crate) file: Arc<str>,
    pub(crate) problems: &'p mut Problems,
}

impl Decoder<'_> {
    /// Reports a problem.
    pub(crate) fn report(&mut self, position: Position, path: &Path<'_>, message: impl Into<String>, hint: &str) {
        self.problems.push(Problem {
            file: Arc::clone(&self.file),
            line: position.line,
            column: position.column,
            path: path.to_string(),
            message: message.into(),
            hint: hint.to_owned(),
        });
    }

    /// The known pairs of a mapping; null is an empty mapping. Unknown keys are reported at their own place.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        path: &Path<'_>,
        known: &[&str],
    ) -> Vec<(&'n NodeKey, &'n Node)> {
        let pairs = self.pairs(node, path);
        let mut fields = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            if known.contains(&&*key.text) {
                fields.push((key, value));
            } else {
                let message = "this key is not known";
                self.report(key.position, &path.key(&key.text), message, &suggest(&key.text, known.iter().copied()));
            }
        }
        fields
    }

    /// All pairs of a mapping; null is an empty mapping.
    pub(crate) fn pairs<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> Vec<(&'n NodeKey, &'n Node)> {
        match &node.data {
            NodeData::Mapping(pairs) => pairs.iter().map(|(key, value)| (key, value)).collect(),
            _ if node.is_null() => Vec::new(),
            _ => {
                self.expected::<()>("a mapping", node, path, "");
                Vec::new()
            }
        }
    }

    /// The items of a list; null is an empty list.
    pub(crate) fn items<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> &'n [Node] {
        match &node.data {
            NodeData::Sequence(list) => list,
            _ if node.is_null() => &[],
            _ => {
                self.expected::<()>("a list", node, path, "write `[…]`, or lines that start with `-`");
                &[]
            }
        }
    }

    /// A text of 1 to `maximum` bytes, quoted or not.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, path: &Path<'_>, maximum: usize) -> Option<&'n str> {
        match &node.data {
            NodeData::Scalar { text, .. } if !node.is_null() => match text.len() {
                0 => self.expected("a text", node, path, ""),
                length if length > maximum => {
                    self.report(node.position, path, format!("{length} bytes are too long, at most {maximum}"), "");
                    None
                }
                _ => Some(text),
            },
            _ => self.expected("a text", node, path, ""),
        }
    }

    /// One of the words. YAML 1.1 would read `off` as a boolean; here it is the word.
    /// What differs from all of them gets the hint.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        choices: &[(&str, T)],
        hint: &str,
    ) -> Option<T> {
        let named = |text: &str| choices.iter().find(|(word, _)| *word == text);
        let found = match &node.data {
            // Helm writes what it has read as YAML 1.1, where a plain `off` is `false`.
            NodeData::Scalar { text, plain: true } if **text == *"false" => named(text).or_else(|| named("off")),
            NodeData::Scalar { text, .. } => named(text),
            _ => None,
        };
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.expected(&format!("one of {}", words.join(", ")), node, path, hint)
    }

    /// `true` or `false`, or `on` or `off`.
    pub(crate) fn switch(&mut self, node: &Node, path: &Path<'_>) -> Option<bool> {
        match &node.data {
            NodeData::Scalar { text, plain: true } => match &**text {
                "true" | "True" | "TRUE" | "on" => Some(true),
                "false" | "False" | "FALSE" | "off" => Some(false),
                _ => self.expected("true or false", node, path, ""),
            },
            _ => self.expected("true or false", node, path, ""),
        }
    }

    /// A whole number within bounds, both included.
    pub(crate) fn integer(&mut self, node: &Node, path: &Path<'_>, minimum: usize, maximum: usize) -> Option<usize> {
        let number = match &node.data {
            NodeData::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (minimum..=maximum).contains(&number) => Some(number),
            _ => self.expected(&format!("a whole number from {minimum} to {maximum}"), node, path, ""),
        }
    }

    /// A finite number other than 0.
    pub(crate) fn factor(&mut self, node: &Node, path: &Path<'_>) -> Option<f64> {
        let number = match &node.data {
            NodeData::Scalar { text, plain: true } => text.parse().ok().filter(|n: &f64| n.is_finite() && *n != 0.0),
            _ => None,
        };
        number.or_else(|| self.expected("a number other than 0", node, path, ""))
    }

    /// A duration within bounds, both included; `0` too where `zero` is set.
    pub(crate) fn duration(&mut self, node: &Node, path: &Path<'_>, bounds: &DurationBounds) -> Option<Duration> {
        let duration = match &node.data {
            NodeData::Scalar { text, .. } => parse_duration(text),
            _ => None,
        };
        let Some(duration) = duration else {
            return self.expected("a duration", node, path, "write it as 10ms, 5s or 1m30s");
        };
        let fits = (bounds.minimum..=bounds.maximum).contains(&duration) || bounds.zero && duration.is_zero();
        if !fits {
            return self.expected(&bounds.to_string(), node, path, "");
        }
        Some(duration)
    }

    /// Reports that something else was expected.
    pub(crate) fn expected<T>(&mut self, what: &str, found: &Node, path: &Path<'_>, hint: &str) -> Option<T> {
        self.report(found.position, path, format!("expected {what}, found {}", found.describe()), hint);
        None
    }
}

/// Which durations a key takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurationBounds {
    /// Also `0`, for "off".
    pub(crate) zero: bool,
    pub(crate) minimum: Duration,
    pub(crate) maximum: Duration,
}

impl fmt::Display for DurationBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zero = if self.zero { "0 or " } else { "" };
        write!(f, "{zero}a duration from {} to {}", Human(self.minimum), Human(self.maximum))
    }
}

/// A duration in the spelling of the file.
pub(super) struct Human(pub(super) Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        match milliseconds {
            0 => f.write_str("0"),
            _ if milliseconds.is_multiple_of(3_600_000) => write!(f, "{}h", milliseconds / 3_600_000),
            _ if milliseconds.is_multiple_of(60_000) => write!(f, "{}m", milliseconds / 60_000),
            _ if milliseconds.is_multiple_of(1000) => write!(f, "{}s", milliseconds / 1000),
            _ => write!(f, "{milliseconds}ms"),
        }
    }
}

/// `10ms`, `5s`, `1m30s`, `2h`, `0`.
fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(milliseconds)?))?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// What a mistyped word may have meant: the nearest known word, else all known words.
pub(crate) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    let near = known.iter().map(|other| (distance(word, other), *other)).min();
    match near {
        Some((edits, other)) if edits <= 2.max(other.len() / 4) && edits < other.len() => {
            format!("did you mean `{other}`?")
        }
        _ => {
            known.truncate(LISTED);
            format!("known are {}", known.join(", "))
        }
    }
}

/// Edits (insert, delete, replace) from one word to the other; words over 64 characters are not compared.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(65).collect(), b.chars().take(65).collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let best = (*above + 1).min(left + 1).min(diagonal + usize::from(from != to));
            diagonal = std::mem::replace(above, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_their_common_spellings() {
        for (text, milliseconds) in [
            ("0", Some(0)),
            ("10ms", Some(10)),
            ("5s", Some(5000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("5", None),
            ("", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("5 s", None),
        ] {
            assert_eq!(parse_duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn the_nearest_word_is_suggested() {
        let known = || ["interval", "roots", "procfs"].into_iter();
        assert_eq!(suggest("intervall", known()), "did you mean `interval`?");
        assert_eq!(suggest("root", known()), "did you mean `roots`?");
        assert_eq!(suggest("colour", known()), "known are interval, roots, procfs");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
