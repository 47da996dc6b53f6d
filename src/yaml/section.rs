//! Mappings whose keys are declared once.
//!
//! [`section!`] makes a struct from a declaration of its keys. Each key has a documentation, a field of its own, a default
//! and a [`Codec`]; decoding and JSON Schema follow from these. A key cannot be read into another field, and one without a
//! codec of its field's type does not compile.

use serde_json::{Map, Value as Json, json};

use super::codec::Codec;
use super::decode::{Decoder, Path};
use super::document::{Node, NodeKey};

/// A mapping with declared keys; made by [`section!`].
pub(crate) trait Section: Default {
    /// In the order of their declaration.
    const KEYS: &'static [&'static str];

    /// Decodes the value of a known key into its field, and returns whether it is sound.
    fn set(&mut self, key: &str, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> bool;

    /// The JSON Schema of each key's value.
    fn properties() -> Map<String, Json>;

    /// Decodes a mapping; null is an empty one. Unknown keys are reported at their own place.
    fn decode<'n>(decoder: &mut Decoder<'_>, node: &'n Node, path: &Path<'_>) -> (Self, Given<'n>) {
        let mut section = Self::default();
        let fields = decoder.fields(node, path, Self::KEYS).into_iter();
        let given = fields.map(|(key, node)| {
            let sound = section.set(&key.text, decoder, node, &path.key(&key.text));
            (key, node, sound)
        });
        let given = Given(given.collect());
        (section, given)
    }

    /// The JSON Schema of the mapping, which null may replace.
    fn schema() -> Json {
        json!({"type": ["object", "null"], "additionalProperties": false, "properties": Self::properties()})
    }

    /// The JSON Schema of a mapping that must have these keys.
    fn schema_requiring(keys: &[&str]) -> Json {
        merge(Self::schema(), json!({"type": "object", "required": keys}))
    }
}

/// The known keys that a mapping has: key, value, and whether the value is sound.
#[derive(Debug)]
pub(crate) struct Given<'n>(Vec<(&'n NodeKey, &'n Node, bool)>);

impl<'n> Given<'n> {
    /// The value of that key, sound or not.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        self.0.iter().find(|(key, ..)| *key.text == *name).map(|(_, node, _)| *node)
    }

    /// Whether the key has a sound value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _, sound)| *sound && *key.text == *name)
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.0.iter().all(|(.., sound)| *sound)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'n str, &'n Node)> {
        self.0.iter().map(|(key, node, _)| (&*key.text, *node))
    }
}

/// A section as the value of a key, with a check of its keys against each other.
pub(crate) struct Nested<S>(SectionCheck<S>);

type SectionCheck<S> = fn(&mut S, &Given<'_>, &mut Decoder<'_>, &Node, &Path<'_>);

impl<S> Nested<S> {
    pub(crate) const fn new() -> Self {
        Self(|_, _, _, _, _| {})
    }

    pub(crate) const fn checked(check: SectionCheck<S>) -> Self {
        Self(check)
    }
}

impl<S: Section> Codec for Nested<S> {
    type Value = S;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<S> {
        let (mut section, given) = S::decode(decoder, node, path);
        (self.0)(&mut section, &given, decoder, node, path);
        Some(section)
    }

    /// The keys have their own defaults.
    fn encode(&self, _: &S) -> Json {
        Json::Null
    }

    fn schema(&self) -> Json {
        S::schema()
    }
}

/// The JSON Schema of a file; `path` is the schema's own in the repository.
pub(crate) fn document(path: &str, title: &str, schema: Json) -> Json {
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("{}/raw/main/{path}", env!("CARGO_PKG_REPOSITORY")),
        "title": title,
    });
    merge(head, schema)
}

/// The first object with the members of the second, which replace members of the same name.
pub(crate) fn merge(first: Json, second: Json) -> Json {
    match (first, second) {
        (Json::Object(mut first), Json::Object(second)) => {
            first.extend(second);
            Json::Object(first)
        }
        (first, _) => first,
    }
}

/// Puts a decoded value into its field; without one the default stays.
pub(crate) fn put<T>(field: &mut T, value: Option<T>) -> bool {
    value.map(|value| *field = value).is_some()
}

/// The JSON Schema of a key: of its type, with its documentation and default.
pub(crate) fn property<C: Codec>(codec: &C, default: &C::Value, documentation: &[&str]) -> Json {
    let description = json!({"description": describe(documentation, codec.note())});
    let property = merge(description, codec.schema());
    match codec.encode(default) {
        Json::Null => property,
        default => merge(property, json!({"default": default})),
    }
}

/// One text of the lines of a doc comment: a line for each paragraph, and what is fenced as it is.
fn describe(lines: &[&str], note: Option<String>) -> String {
    let mut text = String::new();
    let (mut is_fenced, mut starts) = (false, true);
    for line in lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)) {
        let is_fence = line.starts_with("```");
        if !text.is_empty() {
            text.push(if starts || is_fenced || is_fence || line.is_empty() { '\n' } else { ' ' });
        }
        text.push_str(line);
        is_fenced ^= is_fence;
        starts = line.is_empty() || is_fence;
    }
    text.extend(note.map(|note| format!(" {note}")));
    text
}

/// Declares a mapping: `/// documentation`, then `field: Type = default => codec`. The key is the field's name, or the
/// literal after `as`.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        #[derive($($derive:ident),+)]
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $access:vis $field:ident $(as $key:literal)?: $type:ty = $default:expr => $codec:expr,
            )+
        }
    ) => {
        $(#[doc = $about])*
        #[derive($($derive),+)]
        $visibility struct $name {
            $($(#[doc = $doc])+ $access $field: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::yaml::section::Section for $name {
            const KEYS: &'static [&'static str] = &[$($crate::yaml::section::section!(@key $field $($key)?)),+];

            fn set(
                &mut self,
                key: &str,
                decoder: &mut $crate::yaml::decode::Decoder<'_>,
                node: &$crate::yaml::document::Node,
                path: &$crate::yaml::decode::Path<'_>,
            ) -> bool {
                use $crate::yaml::codec::Codec as _;
                $(
                    if key == $crate::yaml::section::section!(@key $field $($key)?) {
                        return $crate::yaml::section::put(&mut self.$field, $codec.decode(decoder, node, path));
                    }
                )+
                false
            }

            fn properties() -> serde_json::Map<String, serde_json::Value> {
                let default = Self::default();
                let mut properties = serde_json::Map::new();
                $(
                    properties.insert(
                        $crate::yaml::section::section!(@key $field $($key)?).to_owned(),
                        $crate::yaml::section::property(&$codec, &default.$field, &[$($doc),+]),
                    );
                )+
                properties
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}

pub(crate) use section;
