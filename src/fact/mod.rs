//! Facts: what is true of a JVM, whoever knows it, in the form that rules take.
//!
//! [`catalogue`] declares every fact that a rule may name; [`Formula`] says how its value follows from a JVM's words or
//! from what a [`Provider`] publishes.

pub mod catalogue;
mod formula;
mod provider;
mod table;

use crate::metric::Kind;

pub use catalogue::{FactInfo, find};
pub use formula::{Formula, ProviderId, PublishedId, Scale, Since, Term, Values, sum_of};
pub use provider::{Attached, Provider, Reading, share};
pub use table::ValueTable;

/// Something true of a JVM that a rule may turn into a metric (`source:` in YAML).
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The name that rules use, such as `pool.used`.
    pub source: &'static str,
    /// What rules call `$pool`, `$type` and so on.
    pub labels: Vec<(&'static str, Box<str>)>,
    /// What the value is, unless the rule says otherwise.
    pub kind: Kind,
    /// UCUM unit of the value.
    pub unit: &'static str,
    /// The value over words named by their byte offset in the region.
    pub formula: Formula,
}

impl Fact {
    /// A fact with the kind and unit of its source; none without a formula, or of a source that [`CATALOGUE`] lacks.
    pub(crate) fn of(
        source: &'static str,
        labels: Vec<(&'static str, Box<str>)>,
        formula: Option<Formula>,
    ) -> Option<Self> {
        let info = catalogue::find(source)?;
        Some(Self { source, labels, kind: info.kind, unit: info.unit, formula: formula? })
    }
}
