//! Rules: from counters and facts to series.
//!
//! A [`Profile`] is an ordered list of rules. For one JVM it makes a [`Plan`]: which series there are, with which
//! labels, and how each value follows from the words of the region. The first rule that matches a counter or a fact
//! takes it; nothing is counted twice and nothing is dropped without a [`SkipReason`].
//!
//! Names and texts of counters are another process's: any are legal, and what is made of them is a legal name, a cut
//! value, or a reason.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub(crate) mod check;
mod decision;
mod derive;
mod matcher;
pub(crate) mod name;
pub(crate) mod pattern;
mod plan;
mod profile;
mod registry;
pub(crate) mod rule;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub use decision::{Decision, Exported, Origin, SkipReason, Subject};
pub(crate) use matcher::cut;
pub use profile::{Profile, schema};

use crate::fact::Formula;
use crate::metric::{Family, Labels};

/// Bounds on the series of one JVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Series per JVM and profile; further ones are dropped and counted.
    pub max_series_per_jvm: usize,
    /// Bytes of a label value; longer ones are cut at a character.
    pub max_label_value_length: usize,
}

impl Default for SeriesLimits {
    fn default() -> Self {
        Self { max_series_per_jvm: 1000, max_label_value_length: 128 }
    }
}

/// Names the words that plans use: byte offset in the region to index among the gathered words. One for each JVM,
/// shared by its plans of all profiles.
#[derive(Clone, Debug, Default)]
pub struct WordIndex {
    offsets: Vec<u32>,
    indexes: HashMap<u32, u32>,
}

impl WordIndex {
    /// What to gather, in the order of the indexes that plans use.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// The index of the word at that offset of the region.
    pub fn index(&mut self, offset: u32) -> u32 {
        *self.indexes.entry(offset).or_insert_with(|| {
            self.offsets.push(offset);
            u32::try_from(self.offsets.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// What one profile says about one JVM.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order of the families' Prometheus names; the same `Arc` for equal series of any JVM.
    pub families: Box<[PlannedFamily]>,
    /// What is not among them although a rule asked for it.
    pub dropped: Dropped,
}

impl Plan {
    /// Every series with its family.
    pub fn series(&self) -> impl Iterator<Item = (&Arc<Family>, &Planned)> {
        self.families.iter().flat_map(|(family, series)| series.iter().map(move |planned| (family, planned)))
    }
}

/// A family, and its series of one JVM.
pub type PlannedFamily = (Arc<Family>, Arc<[Planned]>);

/// One series of one family. Formulas name words by index, so JVMs of one kind have equal ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Without `app`, `slot` and the labels of the root; the same `Arc` for equal labels.
    pub labels: Arc<Labels>,
    /// The value, over indexes of [`WordIndex`].
    pub formula: Formula,
}

/// Series that a rule asked for and that a plan does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Beyond `limits.max_series_per_jvm`.
    pub limit: u32,
    /// The same family and labels a second time.
    pub duplicate: u32,
    /// The metric's name is in use in this profile with another type or unit.
    pub conflict: u32,
}
