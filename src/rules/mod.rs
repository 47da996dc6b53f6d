//! Rules: from counters and facts to series.
//!
//! A [`Profile`] is an ordered list of rules. For one JVM it makes a [`Plan`]: its series, their labels, and how each
//! value is computed from the words of the region. The first rule that matches a counter or a fact selects it; nothing
//! is exported twice, and nothing is omitted without a [`SkipReason`].
//!
//! The names and strings of counters come from another process. Any content is legal: the result is a legal name, a
//! truncated value, or a reason.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub(crate) mod check;
mod derive;
mod explanation;
mod matcher;
pub(crate) mod name;
pub(crate) mod pattern;
mod plan;
mod profile;
mod registry;
pub(crate) mod rule;
mod secret;
mod shared;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

pub(crate) use explanation::{ExplainedInput, Explanation, ExportedSeries, RuleLocation, SkipReason};
pub(crate) use matcher::truncate;
pub use profile::{Profile, schema};
pub(crate) use shared::SharedPlan;

use crate::fact::Formula;
use crate::metric::{Family, Labels};

/// Limits of the series of one JVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Most series per JVM and profile; further ones are dropped and counted.
    pub max_series_per_jvm: usize,
    /// Longest label value in bytes; a longer one is truncated at a character boundary.
    pub max_label_value_length: usize,
}

impl Default for SeriesLimits {
    fn default() -> Self {
        Self { max_series_per_jvm: 1000, max_label_value_length: 128 }
    }
}

/// The words that the plans of one JVM use, over all profiles: maps the byte offset in the region to the index among
/// the words that are read.
#[derive(Clone, Debug, Default)]
pub struct WordIndex {
    offsets: Vec<u32>,
    indexes: HashMap<u32, u32>,
}

impl WordIndex {
    /// The offsets of the words to read, by index.
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

/// The series of one JVM in one profile.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order of the families' Prometheus names. The same `Arc` for JVMs of one kind whose own facts are no series.
    pub families: Arc<[PlannedFamily]>,
    /// Series that rules ask for and that the plan omits.
    pub(crate) dropped: Dropped,
}

impl Plan {
    /// Every series with its family.
    pub fn series(&self) -> impl Iterator<Item = (&Arc<Family>, &PlannedSeries)> {
        self.families.iter().flat_map(|planned| planned.series.iter().map(|series| (&planned.family, series)))
    }
}

/// A family with its series of one JVM.
#[derive(Clone, Debug)]
pub struct PlannedFamily {
    /// The same `Arc` for all JVMs.
    pub family: Arc<Family>,
    /// The same `Arc` for all JVMs with equal series.
    pub series: Arc<[PlannedSeries]>,
}

/// One series of a family. Formulas name words by index, so JVMs of one kind have equal series.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedSeries {
    /// The labels without `app`, `slot` and those of the root's path; the same `Arc` for equal labels.
    pub labels: Arc<Labels>,
    /// The value, over the indexes of a [`WordIndex`].
    pub formula: Formula,
}

/// Numbers of series that rules ask for and that a plan omits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Beyond `limits.max_series_per_jvm`.
    pub(crate) limit: u32,
    /// With the family and labels of another series.
    pub(crate) duplicate: u32,
    /// Of a metric whose name the profile uses with another type or unit.
    pub(crate) conflict: u32,
}
