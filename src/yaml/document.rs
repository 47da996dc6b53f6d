//! YAML text to a tree that knows its positions, within bounds: no file costs more than a small factor of its length.
//!
//! Anchors, aliases and `<<` merge keys work. Duplicate keys, keys that are not words, tags other than `!!str` and
//! second documents are refused.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// Longest text that is read, in bytes.
const TEXT_MAXIMUM: usize = 1 << 20;
/// Most nodes of one tree, those that aliases repeat included.
const NODE_MAXIMUM: usize = 100_000;
/// Deepest nesting.
const DEPTH_MAXIMUM: usize = 64;
/// The key whose value gives defaults to the mapping that it is in.
const MERGE_KEY: &str = "<<";

/// A value and where it starts.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) data: NodeData,
    pub(crate) position: Position,
}

/// A place in a file, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeData {
    /// `plain` is unquoted: only then it may be a number, a switch or nothing at all. Repeats of an alias share the text.
    Scalar {
        text: Rc<str>,
        plain: bool,
    },
    Sequence(Vec<Node>),
    /// Keys are unique, in the order of the file; merged ones come last.
    Mapping(Vec<(NodeKey, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct NodeKey {
    pub(crate) text: Rc<str>,
    pub(crate) position: Position,
}

/// Why text is not a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) position: Position,
    pub(crate) message: String,
}

impl Node {
    fn null(position: Position) -> Self {
        Self { data: NodeData::Scalar { text: "".into(), plain: true }, position }
    }

    /// The text of an unquoted scalar.
    pub(super) fn plain(&self) -> Option<&str> {
        match &self.data {
            NodeData::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    /// Whether the node is YAML's null: a key without a value, `null` or `~`.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.plain(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    /// For messages: what the node is.
    pub(crate) fn describe(&self) -> String {
        match &self.data {
            _ if self.is_null() => "nothing".to_owned(),
            NodeData::Scalar { text, plain: true } => format!("`{}`", excerpt(text)),
            NodeData::Scalar { text, .. } => format!("the text \"{}\"", excerpt(text)),
            NodeData::Sequence(_) => "a list".to_owned(),
            NodeData::Mapping(_) => "a mapping".to_owned(),
        }
    }
}

/// At most 60 characters of a text.
pub(crate) fn excerpt(text: &str) -> String {
    let mut out: String = text.chars().take(60).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

/// Reads one document. Empty text is null.
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let start = Position { line: 1, column: 1 };
    if text.len() > TEXT_MAXIMUM {
        return start.fault(format!("the file has {} bytes, at most {TEXT_MAXIMUM} are read", text.len()));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match event {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => return Position::of(*error.marker()).fault(format!("not YAML: {}", error.info())),
        }
    }
    Ok(builder.root.unwrap_or_else(|| Node::null(start)))
}

impl Position {
    fn of(mark: saphyr_parser::Marker) -> Self {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: count(mark.line()), column: count(mark.col()).saturating_add(1) }
    }

    fn fault<T>(self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { position: self, message: message.into() })
    }
}

/// A sequence or mapping that is still open.
struct OpenNode {
    position: Position,
    anchor: usize,
    nodes_before: usize,
    children: Children,
}

enum Children {
    Sequence(Vec<Node>),
    Mapping { pairs: Vec<(NodeKey, Node)>, key: Option<NodeKey>, seen: HashSet<Rc<str>>, merges: Vec<Node> },
}

/// Makes the tree from events, without recursion.
#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<OpenNode>,
    /// Anchored nodes, and how many nodes a repeat of each costs.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    documents: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let position = Position::of(span.start);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return position.fault("a second document starts here; one file holds one document");
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = is_string(tag.as_deref(), position)?;
                let plain = style == ScalarStyle::Plain && !quoted;
                let node = Node { data: NodeData::Scalar { text: text.into(), plain }, position };
                self.count(1, position)?;
                if anchor > 0 {
                    self.anchors.insert(anchor, (node.clone(), 1));
                }
                self.add(node)?;
            }
            Event::Alias(anchor) => {
                let Some((_, cost)) = self.anchors.get(&anchor) else {
                    return position.fault("an alias to a value that is not complete yet");
                };
                self.count(*cost, position)?;
                let node = self.anchors.get(&anchor).map(|(node, _)| node.clone());
                self.add(node.unwrap_or_else(|| Node::null(position)))?;
            }
            Event::SequenceStart(anchor, tag) => {
                is_string(tag.as_deref(), position)?;
                self.enter(position, anchor, Children::Sequence(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                is_string(tag.as_deref(), position)?;
                let (pairs, seen, merges) = (Vec::new(), HashSet::new(), Vec::new());
                self.enter(position, anchor, Children::Mapping { pairs, key: None, seen, merges })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave()?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, position: Position) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODE_MAXIMUM {
            return position.fault(format!("more than {NODE_MAXIMUM} values, counting those that aliases repeat"));
        }
        Ok(())
    }

    fn enter(&mut self, position: Position, anchor: usize, children: Children) -> Result<(), SyntaxError> {
        if self.open.len() >= DEPTH_MAXIMUM {
            return position.fault(format!("nested deeper than {DEPTH_MAXIMUM} levels"));
        }
        let nodes_before = self.nodes;
        self.count(1, position)?;
        self.open.push(OpenNode { position, anchor, nodes_before, children });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), SyntaxError> {
        let Some(OpenNode { position, anchor, nodes_before, children }) = self.open.pop() else { return Ok(()) };
        let data = match children {
            Children::Sequence(list) => NodeData::Sequence(list),
            Children::Mapping { mut pairs, mut seen, merges, .. } => {
                for merge in merges {
                    lay_under(&mut pairs, &mut seen, merge)?;
                }
                NodeData::Mapping(pairs)
            }
        };
        let node = Node { data, position };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - nodes_before));
        }
        self.add(node)
    }

    /// Puts a finished node where it belongs: the root, the next item, the next key or its value.
    fn add(&mut self, node: Node) -> Result<(), SyntaxError> {
        match self.open.last_mut().map(|open| &mut open.children) {
            None => self.root = Some(node),
            Some(Children::Sequence(list)) => list.push(node),
            Some(Children::Mapping { pairs, key, seen, merges }) => match key.take() {
                None => {
                    let NodeData::Scalar { text, .. } = node.data else {
                        return node.position.fault(format!("a key must be a word, found {}", node.describe()));
                    };
                    if !seen.insert(Rc::clone(&text)) {
                        return node.position.fault(format!("the key `{}` is there twice", excerpt(&text)));
                    }
                    *key = Some(NodeKey { text, position: node.position });
                }
                Some(name) if &*name.text == MERGE_KEY => merges.push(node),
                Some(name) => pairs.push((name, node)),
            },
        }
        Ok(())
    }
}

/// Adds the pairs of a merge key's value for which there is no key yet.
fn lay_under(pairs: &mut Vec<(NodeKey, Node)>, seen: &mut HashSet<Rc<str>>, merge: Node) -> Result<(), SyntaxError> {
    let layers = if let NodeData::Sequence(list) = merge.data { list } else { vec![merge] };
    for layer in layers {
        let NodeData::Mapping(list) = layer.data else {
            return layer.position.fault(format!("`<<` takes a mapping or a list of them, found {}", layer.describe()));
        };
        pairs.extend(list.into_iter().filter(|(key, _)| seen.insert(Rc::clone(&key.text))));
    }
    Ok(())
}

/// Whether a tag makes a scalar a string; other tags than YAML's own for strings, lists and mappings are refused.
fn is_string(tag: Option<&Tag>, position: Position) -> Result<bool, SyntaxError> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && matches!(&*tag.suffix, "seq" | "map") => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(tag) => position.fault(format!("the tag {tag} is not known here; remove it")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// JSON-like, with `line:column` before each value.
    fn show(node: &Node) -> String {
        let Position { line, column } = node.position;
        let body = match &node.data {
            NodeData::Scalar { text, plain: true } => text.to_string(),
            NodeData::Scalar { text, .. } => format!("{text:?}"),
            NodeData::Sequence(list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(", ")),
            NodeData::Mapping(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", key.text, show(value))).collect();
                format!("{{{}}}", pairs.join(", "))
            }
        };
        format!("{line}:{column} {body}")
    }

    #[test]
    fn values_know_where_they_start() {
        for (text, expected) in [
            ("", "1:1 "),
            ("# only a comment\n", "1:1 "),
            ("a: 1\nb:\n  - x\n  - 'y'\n", "1:1 {a=1:4 1, b=3:3 [3:5 x, 4:5 \"y\"]}"),
            ("a: {b: c}", "1:1 {a=1:4 {b=1:8 c}}"),
            ("a: &x [1]\nb: *x", "1:1 {a=1:4 [1:8 1], b=1:4 [1:8 1]}"),
            ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", "1:1 {a=1:4 {p=1:11 1, q=1:17 2}, b=2:4 {q=2:16 3, p=1:11 1}}"),
            ("!!str 5", "1:1 \"5\""),
        ] {
            assert_eq!(parse(text).map(|node| show(&node)).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn faults_name_their_place() {
        for (text, place, part) in [
            ("a: 1\na: 2", (2, 1), "the key `a` is there twice"),
            ("? [x]\n: 1", (1, 3), "a key must be a word"),
            ("a: *missing", (1, 4), "unknown anchor"),
            ("a: 1\n---\nb: 2", (2, 1), "a second document"),
            ("a: !env HOME", (1, 4), "the tag !env is not known"),
            ("a: {<<: 1}", (1, 9), "`<<` takes a mapping"),
            ("a: &x [*x]", (1, 8), "not complete yet"),
            ("a: [1", (2, 1), "not YAML"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.message.contains(part), "{text:?}: {}", fault.message);
            assert_eq!((fault.position.line, fault.position.column), place, "{text:?}: {}", fault.message);
        }
    }

    #[test]
    fn hostile_text_is_refused_at_its_bound() {
        let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (from, to) in "abcdefgh".chars().zip("bcdefghi".chars()) {
            laughs.push_str(&format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 10].join(", ")));
        }
        for (text, part) in [
            (laughs, "more than 100000 values"),
            ("[".repeat(100_000), "limit exceeded"),
            ("{a: ".repeat(1000), "limit exceeded"),
            ("- ".repeat(1000), "deeper than 64"),
            (" ".repeat(TEXT_MAXIMUM + 1), "at most 1048576 are read"),
            ("- x\n".repeat(150_000), "more than 100000 values"),
        ] {
            let fault = parse(&text).unwrap_err();
            assert!(fault.message.contains(part), "{}", fault.message);
        }
    }
}
