//! Nodes to checked values, collecting every problem on the way.

use std::{fmt, sync::Arc};

use super::document::{self, Node, NodeData, NodeKey, Position, excerpt};
use super::{Problem, Problems};

/// Most keys that a hint lists.
const LISTED: usize = 12;

/// Where a decoder is in the document: `rules[2].labels.queue`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub(crate) fn key<'b>(&'b self, name: &'b str) -> Path<'b> {
        Path::Key(self, name)
    }

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
    /// The document that a text holds.
    pub(crate) fn parse(&mut self, text: &str) -> Option<Node> {
        document::parse(text).map_err(|error| self.report(error.position, &Path::Root, error.message, "")).ok()
    }

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
            _ => self.expected("a mapping", node, path, "").unwrap_or_default(),
        }
    }

    /// The items of a list; null is an empty list.
    pub(crate) fn items<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> &'n [Node] {
        match &node.data {
            NodeData::Sequence(list) => list,
            _ if node.is_null() => &[],
            _ => self.expected("a list", node, path, "write `[…]`, or lines that start with `-`").unwrap_or_default(),
        }
    }

    /// A text of 1 to `maximum` bytes, quoted or not.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, path: &Path<'_>, maximum: usize) -> Option<&'n str> {
        match &node.data {
            NodeData::Scalar { text, .. } if text.len() > maximum => {
                let message = format!("{} bytes are too long, at most {maximum}", text.len());
                self.report(node.position, path, message, "");
                None
            }
            NodeData::Scalar { text, .. } if !node.is_null() && !text.is_empty() => Some(text),
            _ => self.expected("a text", node, path, ""),
        }
    }

    /// One of the words; what differs from all of them gets the hint.
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
        found.map(|(_, value)| *value).or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.expected(&format!("one of {}", words.join(", ")), node, path, hint)
        })
    }

    /// Reports that something else was expected.
    pub(crate) fn expected<T>(&mut self, what: &str, found: &Node, path: &Path<'_>, hint: &str) -> Option<T> {
        self.report(found.position, path, format!("expected {what}, found {}", found.describe()), hint);
        None
    }
}

/// What a mistyped word may have meant: the nearest known word, else all known words.
pub(crate) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    // Of a long text no more is compared than makes it differ from every word.
    let word: String = word.chars().take(65).collect();
    let near = known.iter().map(|other| (strsim::levenshtein(&word, other), *other)).min();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested() {
        let known = || ["interval", "roots", "procfs"].into_iter();
        assert_eq!(suggest("intervall", known()), "did you mean `interval`?");
        assert_eq!(suggest("root", known()), "did you mean `roots`?");
        assert_eq!(suggest("colour", known()), "known are interval, roots, procfs");
    }
}
