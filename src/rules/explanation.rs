//! What a profile makes of each counter and fact, for `explain`.

use std::{fmt, sync::Arc};

use crate::fact::ProviderId;
use crate::metric::{Kind, Labels};

/// Where a rule is defined.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RuleLocation {
    /// The file, as named on the command line or in the configuration.
    pub(crate) file: Arc<str>,
    /// From 1.
    pub(crate) line: u32,
    /// In the file's `rules`, from 0.
    pub(crate) index: u32,
    /// What the rule selects: `counter PATTERN` or `source NAME`.
    pub(crate) selector: Box<str>,
}

impl fmt::Display for RuleLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} rules[{}]", self.file, self.line, self.index)
    }
}

/// What rules select from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExplainedInput {
    Counter(Box<str>),
    Fact {
        name: &'static str,
        labels: Vec<(&'static str, Box<str>)>,
        /// The counters that it is computed from; none for a fact that is not in the region.
        counters: Vec<Box<str>>,
        /// The providers that publish it or parts of it.
        providers: Vec<ProviderId>,
    },
}

/// What a profile makes of a counter or a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) input: ExplainedInput,
    /// The rule that selected it.
    pub(crate) rule: Option<RuleLocation>,
    /// The series, or why there is none.
    pub(crate) outcome: Result<ExportedSeries, SkipReason>,
}

/// The series of a counter or a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExportedSeries {
    /// The metric's name as the rule spells it.
    pub(crate) name: Box<str>,
    /// The metric's name in Prometheus, without `_total`.
    pub(crate) prometheus: Box<str>,
    pub(crate) unit: Box<str>,
    pub(crate) kind: Kind,
    /// The labels without `app`, `slot` and those of the root's path.
    pub(crate) labels: Arc<Labels>,
}

/// Why a counter or fact is not exported: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum SkipReason {
    #[error("no rule matches it")]
    NoRule,
    #[error("dropped by the rule")]
    Rule,
    #[error("a string that is not information, or not constant")]
    Text,
    /// Whatever the rules say.
    #[error("it may hold a secret")]
    Secret,
    #[error("the JVM has not written it yet")]
    Absent,
    #[error("neither a number nor a string")]
    UnknownType,
    #[error("it cannot take the rule's type or scale")]
    Unsuitable,
    /// With its references replaced, it is empty, too long or reserved.
    #[error("the metric's name would be illegal")]
    Name,
    #[error("the series exists already")]
    Duplicate,
    #[error("the metric exists with another type or unit")]
    Conflict,
    #[error("over limits.max_series_per_jvm")]
    Limit,
}
