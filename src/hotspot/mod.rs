//! What HotSpot's counters mean: collectors, pools, safepoints, versions.
//!
//! The module turns an [`Image`](crate::perfdata::Image) into [`Fact`]s, the only place that knows HotSpot's traps.
//! Names, labels and units of the metrics made from facts are YAML's business.

mod source;
pub mod units;

use crate::formula::Formula;
use crate::metric::Kind;

pub use source::{SOURCES, SourceInfo, source};

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
