//! Types of values: how each is decoded from YAML, written as JSON, and described as JSON Schema.

use std::fmt::{self, Debug};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::decode::{Decoder, Path};
use super::document::{Node, NodeData};
use super::section::merge;

/// A type of value.
pub(crate) trait Codec {
    /// What a file's text becomes.
    type Value;

    /// The value of a node. `None` leaves the default: after a problem is reported, or for a null that stands for it.
    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Self::Value>;

    /// The value as JSON, for defaults; null where there is nothing to write.
    fn encode(&self, value: &Self::Value) -> Json;

    /// The JSON Schema of what `decode` accepts, without description and default.
    fn schema(&self) -> Json;

    /// For the documentation: bounds that the schema cannot express, as a sentence.
    fn note(&self) -> Option<String> {
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

impl DurationBounds {
    /// The duration that a text says, if it is within the bounds.
    pub(crate) fn read(&self, text: &str) -> Option<Duration> {
        let is_within = |duration: &Duration| {
            (self.minimum..=self.maximum).contains(duration) || self.zero && *duration == Duration::ZERO
        };
        parse_duration(text).filter(is_within)
    }
}

impl fmt::Display for DurationBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zero = if self.zero { "0 or " } else { "" };
        write!(f, "{zero}a duration from {} to {}", Human(self.minimum), Human(self.maximum))
    }
}

impl Codec for DurationBounds {
    type Value = Duration;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Duration> {
        let duration = match &node.data {
            NodeData::Scalar { text, .. } => parse_duration(text),
            _ => None,
        };
        match duration {
            None => decoder.expected("a duration", node, path, "write it as 10ms, 5s or 1m30s"),
            Some(duration) if (self.minimum..=self.maximum).contains(&duration) => Some(duration),
            Some(Duration::ZERO) if self.zero => Some(Duration::ZERO),
            Some(_) => decoder.expected(&self.to_string(), node, path, ""),
        }
    }

    fn encode(&self, value: &Duration) -> Json {
        Human(*value).to_string().into()
    }

    fn schema(&self) -> Json {
        if self.zero {
            json!({"type": ["string", "integer"], "pattern": "^(0|([0-9]+(ms|s|m|h))+)$", "minimum": 0, "maximum": 0})
        } else {
            json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"})
        }
    }

    fn note(&self) -> Option<String> {
        let zero = if self.zero { "0, or " } else { "" };
        Some(format!("Allowed: {zero}{} to {}.", Human(self.minimum), Human(self.maximum)))
    }
}

/// Units of durations in milliseconds, the longest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A duration in the spelling of the file.
struct Human(Duration);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        match UNITS.iter().find(|(_, milliseconds)| time.is_multiple_of(*milliseconds)) {
            Some((unit, milliseconds)) if time > 0 => write!(f, "{}{unit}", time / milliseconds),
            _ => f.write_str("0"),
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
        let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(Duration::from_millis(number.checked_mul(*milliseconds)?))?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// A whole number, both bounds included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer {
    pub(crate) minimum: usize,
    pub(crate) maximum: usize,
}

impl Codec for Integer {
    type Value = usize;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<usize> {
        let Self { minimum, maximum } = *self;
        match node.plain().and_then(|text| text.parse().ok()) {
            Some(number) if (minimum..=maximum).contains(&number) => Some(number),
            _ => decoder.expected(&format!("a whole number from {minimum} to {maximum}"), node, path, ""),
        }
    }

    fn encode(&self, value: &usize) -> Json {
        (*value).into()
    }

    fn schema(&self) -> Json {
        json!({"type": "integer", "minimum": self.minimum, "maximum": self.maximum})
    }
}

/// A finite number other than 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factor;

impl Codec for Factor {
    type Value = f64;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<f64> {
        let number = node.plain().and_then(|text| text.parse().ok()).filter(|n: &f64| n.is_finite() && *n != 0.0);
        number.or_else(|| decoder.expected("a number other than 0", node, path, ""))
    }

    /// A whole number has no fraction.
    #[allow(clippy::cast_possible_truncation)] // Checked by the comparison.
    fn encode(&self, value: &f64) -> Json {
        let whole = *value as i64;
        if whole as f64 == *value { whole.into() } else { (*value).into() }
    }

    fn schema(&self) -> Json {
        json!({"type": "number", "not": {"const": 0}})
    }
}

/// `true` or `false`, or `on` or `off`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Switch;

impl Codec for Switch {
    type Value = bool;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<bool> {
        match node.plain() {
            Some("true" | "True" | "TRUE" | "on") => Some(true),
            Some("false" | "False" | "FALSE" | "off") => Some(false),
            _ => decoder.expected("true or false", node, path, ""),
        }
    }

    fn encode(&self, value: &bool) -> Json {
        (*value).into()
    }

    fn schema(&self) -> Json {
        json!({"enum": [true, false, "on", "off"]})
    }
}

/// One of some words. What differs from all of them gets the hint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<T: 'static> {
    pub(crate) words: &'static [(&'static str, T)],
    pub(crate) hint: &'static str,
}

impl<T> Choice<T> {
    pub(crate) const fn of(words: &'static [(&'static str, T)]) -> Self {
        Self { words, hint: "" }
    }
}

impl<T: Copy + PartialEq + Debug> Codec for Choice<T> {
    type Value = T;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<T> {
        decoder.choice(node, path, self.words, self.hint)
    }

    fn encode(&self, value: &T) -> Json {
        self.words.iter().find(|(_, known)| known == value).map_or(Json::Null, |(word, _)| json_word(word))
    }

    fn schema(&self) -> Json {
        let mut words: Vec<Json> = self.words.iter().map(|(word, _)| json_word(word)).collect();
        // What YAML 1.1 makes of a plain `off`.
        let off = Json::Bool(false);
        if words.contains(&json_word("off")) && !words.contains(&off) {
            words.push(off);
        }
        json!({"enum": words})
    }
}

/// What a plain word of YAML is in JSON.
fn json_word(word: &str) -> Json {
    match word {
        "true" => true.into(),
        "false" => false.into(),
        _ => word.into(),
    }
}

/// Why a text is not a value: what is wrong, and what to do about it.
#[derive(Debug)]
pub(crate) struct Invalid {
    message: String,
    hint: String,
}

impl Invalid {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl From<String> for Invalid {
    fn from(message: String) -> Self {
        Self::new(message, "")
    }
}

/// A text with a syntax.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<T> {
    /// Longest text, in bytes.
    pub(crate) maximum: usize,
    /// For the schema: a regular expression that every accepted text matches; may be empty.
    pub(crate) pattern: &'static str,
    pub(crate) parse: fn(&str) -> Result<T, Invalid>,
    /// The text of a value; `None` for a value that means "not given".
    pub(crate) print: fn(&T) -> Option<String>,
}

impl<T> Text<T> {
    /// With any text in the schema, and nothing to print as a default.
    pub(crate) const fn of(maximum: usize, parse: fn(&str) -> Result<T, Invalid>) -> Self {
        Self { maximum, pattern: "", parse, print: |_| None }
    }
}

impl Text<String> {
    /// Any text that is not empty.
    pub(crate) const fn any(maximum: usize) -> Self {
        Self { maximum, pattern: "", parse: |text| Ok(text.to_owned()), print: |text| Some(text.clone()) }
    }
}

impl<T> Codec for Text<T> {
    type Value = T;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<T> {
        let text = decoder.text(node, path, self.maximum)?;
        let value = (self.parse)(text);
        value.map_err(|Invalid { message, hint }| decoder.report(node.position, path, message, &hint)).ok()
    }

    fn encode(&self, value: &T) -> Json {
        (self.print)(value).into()
    }

    fn schema(&self) -> Json {
        let schema = json!({"type": "string", "minLength": 1, "maxLength": self.maximum});
        if self.pattern.is_empty() { schema } else { merge(schema, json!({"pattern": self.pattern})) }
    }
}

/// A list. Items with a problem are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<C> {
    pub(crate) item: C,
    pub(crate) maximum: usize,
    /// What the items are, in the plural.
    pub(crate) noun: &'static str,
}

impl<C: Codec> Codec for List<C> {
    type Value = Vec<C::Value>;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Self::Value> {
        let items = decoder.items(node, path);
        if items.len() > self.maximum {
            let message = format!("{} {} are too many, at most {}", items.len(), self.noun, self.maximum);
            decoder.report(node.position, path, message, "");
            return None;
        }
        let items = items.iter().enumerate();
        Some(items.filter_map(|(index, item)| self.item.decode(decoder, item, &path.item(index))).collect())
    }

    fn encode(&self, value: &Self::Value) -> Json {
        value.iter().map(|item| self.item.encode(item)).collect()
    }

    fn schema(&self) -> Json {
        json!({"type": ["array", "null"], "maxItems": self.maximum, "items": self.item.schema()})
    }
}

/// Null stands for the default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrNull<C>(pub(crate) C);

impl<C: Codec> Codec for OrNull<C> {
    type Value = C::Value;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Self::Value> {
        if node.is_null() { None } else { self.0.decode(decoder, node, path) }
    }

    fn encode(&self, value: &Self::Value) -> Json {
        self.0.encode(value)
    }

    fn schema(&self) -> Json {
        let mut schema = self.0.schema();
        if let Some(words) = schema.get_mut("enum").and_then(Json::as_array_mut) {
            words.push(Json::Null);
        } else if let Some(kind) = schema.get_mut("type") {
            let mut kinds = kind.as_array().cloned().unwrap_or_else(|| vec![kind.clone()]);
            if !kinds.contains(&"null".into()) {
                kinds.push("null".into());
            }
            *kind = kinds.into();
        }
        schema
    }

    fn note(&self) -> Option<String> {
        self.0.note()
    }
}

/// A value, or the word `off`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrOff<C>(pub(crate) C);

impl<C: Codec> Codec for OrOff<C> {
    type Value = Option<C::Value>;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Self::Value> {
        match &node.data {
            NodeData::Scalar { text, .. } if **text == *"off" => Some(None),
            _ => self.0.decode(decoder, node, path).map(Some),
        }
    }

    fn encode(&self, value: &Self::Value) -> Json {
        value.as_ref().map_or_else(|| "off".into(), |value| self.0.encode(value))
    }

    fn schema(&self) -> Json {
        json!({"anyOf": [self.0.schema(), {"const": "off"}]})
    }

    fn note(&self) -> Option<String> {
        self.0.note()
    }
}

/// A value that may be absent, which is then what `default` is to the reader.
pub(crate) struct Optional<C: Codec> {
    pub(crate) codec: C,
    /// What documentation and schema show.
    pub(crate) default: Option<C::Value>,
}

impl<C: Codec> Codec for Optional<C> {
    type Value = Option<C::Value>;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Self::Value> {
        self.codec.decode(decoder, node, path).map(Some)
    }

    fn encode(&self, value: &Self::Value) -> Json {
        value.as_ref().or(self.default.as_ref()).map_or(Json::Null, |value| self.codec.encode(value))
    }

    fn schema(&self) -> Json {
        self.codec.schema()
    }

    fn note(&self) -> Option<String> {
        self.codec.note()
    }
}

/// A value that is decoded later, since its meaning depends on other keys or files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deferred {
    /// Of what the later decoder accepts.
    pub(crate) schema: fn() -> Json,
    /// What the later decoder takes for an absent key; null where that is nothing.
    pub(crate) default: fn() -> Json,
}

impl Deferred {
    /// Without a default.
    pub(crate) const fn of(schema: fn() -> Json) -> Self {
        Self { schema, default: || Json::Null }
    }
}

impl Codec for Deferred {
    type Value = Option<Node>;

    fn decode(&self, _: &mut Decoder<'_>, node: &Node, _: &Path<'_>) -> Option<Option<Node>> {
        Some(Some(node.clone()))
    }

    fn encode(&self, _: &Option<Node>) -> Json {
        (self.default)()
    }

    fn schema(&self) -> Json {
        (self.schema)()
    }
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
}
