//! What a profile does with a counter or a fact, for people to read.

use std::fmt;
use std::sync::Arc;

use crate::metric::{Kind, Labels};

/// Where a rule is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The file, as its user names it.
    pub file: Arc<str>,
    /// Line of the rule, from 1.
    pub line: u32,
    /// Position in the file's `rules`, from 0.
    pub index: u32,
    /// What the rule takes: `counter PATTERN` or `source NAME`.
    pub takes: Box<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} rules[{}]", self.file, self.line, self.index)
    }
}

/// What is decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A counter, by name.
    Counter(Box<str>),
    /// A fact.
    Fact {
        /// [`crate::hotspot::Fact::source`].
        source: &'static str,
        /// [`crate::hotspot::Fact::labels`].
        labels: Vec<(&'static str, Box<str>)>,
        /// The counters that it is made of; none for what is not in the region.
        counters: Vec<Box<str>>,
    },
}

/// What becomes of a counter or a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Of what.
    pub subject: Subject,
    /// The rule that took it.
    pub rule: Option<Origin>,
    /// The metric, or why there is none.
    pub outcome: Result<Exported, SkipReason>,
}

/// The series that a counter or a fact becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// As the rule spells it.
    pub name: Box<str>,
    /// In Prometheus form, without `_total`.
    pub prometheus: Box<str>,
    /// UCUM.
    pub unit: Box<str>,
    /// Meaning.
    pub kind: Kind,
    /// Without `app`, `slot` and the labels of the root.
    pub labels: Arc<Labels>,
}

/// Why something is not exported: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// No rule takes it.
    NoRule,
    /// A rule says `action: drop`.
    Rule,
    /// A string, and the rule does not make information of it, or it is not constant.
    Text,
    /// It may hold a secret; code refuses it whatever the rules say.
    Secret,
    /// The JVM has not written it yet.
    Absent,
    /// Neither a 64-bit number nor a string.
    UnknownType,
    /// The value cannot take the rule's `type` or `scale`.
    Unsuitable,
    /// With its captures filled in, the metric's name is empty, too long or reserved.
    Name,
    /// The series exists already.
    Duplicate,
    /// The metric's name is in use with another type or unit.
    Conflict,
    /// `limits.max_series_per_jvm` is reached.
    Limit,
}

impl SkipReason {
    /// A word for tables and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::Rule => "dropped",
            Self::Text => "text",
            Self::Secret => "secret",
            Self::Absent => "absent",
            Self::UnknownType => "unknown_type",
            Self::Unsuitable => "unsuitable",
            Self::Name => "name",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Limit => "limit",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRule => "no rule takes it",
            Self::Rule => "dropped by the rule",
            Self::Text => "a string that is not information, or not constant",
            Self::Secret => "it may hold a secret",
            Self::Absent => "the JVM has not written it yet",
            Self::UnknownType => "neither a number nor a string",
            Self::Unsuitable => "it cannot take the rule's type or scale",
            Self::Name => "the metric's name would be illegal",
            Self::Duplicate => "the series exists already",
            Self::Conflict => "the metric exists with another type or unit",
            Self::Limit => "over limits.max_series_per_jvm",
        })
    }
}
