//! The text of `VM.flags`, JDK 8 to 27: flags that are not at their default, without who set them.
//!
//! # Promise
//! Any text is legal input. Parsing never panics, reads each word once, and keeps only flags of an allow-list, whose values
//! are numbers and switches: texts may hold paths and secrets.

use crate::hotspot::PUBLISHED_FLAGS;
use crate::metric::Value;

/// A flag that is not at its default.
#[derive(Clone, Debug, PartialEq)]
pub struct FlagReply {
    /// Without `-XX:`.
    pub name: &'static str,
    /// A number, or 0 or 1.
    pub value: Value,
}

/// Parses the text of a reply. A flag that is there twice has no value: a text of another flag holds it.
pub fn parse_flags(text: &str) -> Vec<FlagReply> {
    let mut found: Vec<(&'static str, Option<Value>)> = Vec::new();
    for word in text.split_ascii_whitespace() {
        let Some((name, value)) = word.strip_prefix("-XX:").and_then(flag) else { continue };
        match found.iter_mut().find(|(other, _)| *other == name) {
            Some((_, value)) => *value = None,
            None => found.push((name, value)),
        }
    }
    found.into_iter().filter_map(|(name, value)| Some(FlagReply { name, value: value? })).collect()
}

/// `+UseG1GC`, `-UseCompressedOops`, `MaxHeapSize=100663296` or `MaxRAMPercentage=50.000000`, if it is allowed.
fn flag(word: &str) -> Option<(&'static str, Option<Value>)> {
    let (name, value) = match (word.strip_prefix('+'), word.strip_prefix('-'), word.split_once('=')) {
        (Some(name), ..) => (name, Some(Value::Int(1))),
        (_, Some(name), _) => (name, Some(Value::Int(0))),
        (_, _, Some((name, value))) => (name, number(value)),
        _ => return None,
    };
    let name = PUBLISHED_FLAGS.iter().find(|allowed| **allowed == name)?;
    Some((name, value))
}

fn number(text: &str) -> Option<Value> {
    if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.')) {
        return None;
    }
    let whole = text.parse().map(Value::Int).ok();
    whole.or_else(|| text.parse().ok().filter(|value: &f64| value.is_finite()).map(Value::Float))
}
