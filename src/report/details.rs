//! What only the page of one JVM shows, computed when it is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fact::{Fact, PublishedId, Since, Values};
use crate::metric::Value;
use crate::perfdata::Image;
use crate::snapshot::TargetValues;

/// Current values that have labels, and texts. What is unknown is absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct JvmFacts {
    /// Values by fact, each with its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Vec<FactValue>>,
}

/// One value of a fact.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct FactValue {
    /// Labels, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// Facts that the page shows.
const SHOWN: [&str; 24] = [
    "pool.used",
    "pool.committed",
    "pool.limit",
    "area.used",
    "area.committed",
    "metaspace.reserved",
    "gc.count",
    "gc.time",
    "safepoint.count",
    "thread.states",
    "thread.deadlocked",
    "thread.daemon",
    "thread.peak",
    "class.count",
    "buffer.used",
    "code_cache.full",
    "flag.value",
    "nmt.committed",
    "nmt.reserved",
    "thread.cpu_time",
    "proc.memory_resident_part",
    "proc.memory_swap",
    "proc.descriptors",
    "proc.descriptor_limit",
];

impl JvmFacts {
    /// The values of facts: words are those of `image`, published values those of `values`.
    pub(super) fn of(facts: &[Fact], image: &Image, values: &TargetValues<'_>) -> Self {
        let mut shown = Self::default();
        let values = &ImageValues { image, values };
        for fact in facts.iter().filter(|fact| SHOWN.contains(&fact.name)) {
            let Some(value) = fact.formula.evaluate(values) else { continue };
            let labels = fact.labels.iter().filter(|(_, value)| !value.is_empty());
            let labels = labels.map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
            let value = FactValue { labels, value: value.as_f64() };
            shown.facts.entry(fact.name.to_owned()).or_default().push(value);
        }
        shown
    }
}

/// Words by their offset in a copy of the region, and what providers publish.
struct ImageValues<'a> {
    image: &'a Image,
    values: &'a TargetValues<'a>,
}

impl Values for ImageValues<'_> {
    fn word(&self, offset: u32) -> Option<i64> {
        self.image.word_at(offset)
    }

    fn published(&self, id: PublishedId) -> Option<Value> {
        self.values.published(id)
    }

    fn is_up(&self) -> Option<bool> {
        self.values.is_up()
    }

    fn now(&self) -> Option<f64> {
        self.values.now()
    }

    fn created(&self, since: Since) -> Option<f64> {
        self.values.created(since)
    }
}
