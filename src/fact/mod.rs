//! Facts: what is known of a JVM, from any provider, in the form that rules take.
//!
//! [`catalogue`] declares every fact that a rule may name. A [`Formula`] computes a fact's value from the words of a
//! JVM's region, or refers to a value that a [`Provider`] publishes.

pub mod catalogue;
mod formula;
mod interner;
mod provider;
mod table;

use crate::metric::Kind;

pub use catalogue::FactInfo;
#[cfg(test)]
pub(crate) use catalogue::find;
pub use formula::{Formula, ProviderId, PublishedId, Scale, Since, Term, Values};
pub(crate) use interner::Interner;
pub(crate) use provider::{AttachedProvider, intern};
pub use provider::{CompletedPause, PauseBatch, Provider, Reading};
pub(crate) use table::ValueTable;

/// Names and values of a fact's labels, `$name` in rules.
pub type FactLabels = Vec<(&'static str, Box<str>)>;

/// Something known of a JVM that a rule may turn into a metric (`source:` in YAML).
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The name in the [`catalogue`], such as `pool.used`.
    pub name: &'static str,
    /// Label names and values; rules refer to them as `$pool`, `$type` and so on.
    pub labels: FactLabels,
    /// What the value is, unless the rule says otherwise.
    pub kind: Kind,
    /// UCUM unit of the value.
    pub unit: &'static str,
    /// The value over words named by their byte offset in the region.
    pub formula: Formula,
}

impl Fact {
    /// A fact with the kind and unit that the [`catalogue`] gives it. `None` without a formula, and for a name that the
    /// catalogue lacks.
    pub(crate) fn of(name: &'static str, labels: FactLabels, formula: Option<Formula>) -> Option<Self> {
        let info = catalogue::find(name);
        debug_assert!(info.is_some(), "{name} is not in the catalogue");
        let FactInfo { kind, unit, .. } = *info?;
        Some(Self { name, labels, kind, unit, formula: formula? })
    }
}
