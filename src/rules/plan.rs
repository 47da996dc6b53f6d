//! The series of one JVM.

#![allow(clippy::disallowed_types, reason = "keys are static texts, numbers of families and addresses")]

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::SeriesLimits;
use super::decision::SkipReason;
use super::matcher::{Match, MatchedSeries, Naming, RuleMatcher, cut};
use super::registry::{FamilyId, Registry};
use super::rule::Rule;
use super::secret::is_secret;
use super::{Dropped, Plan, Planned, WordIndex};
use crate::fact::Fact;
use crate::fact::Formula;
use crate::hotspot::ticks_per_second;
use crate::hotspot::units::Unit;
use crate::metric::{Family, Kind, Labels, Value};
use crate::perfdata::{DataType, Entry, Image, Units, Variability};

/// Most choices that are kept. JVMs of one kind share theirs; only hostile ones make so many.
const CHOICE_MAXIMUM: usize = 50_000;

/// What series are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    Fact(&'a Fact),
    Counter(&'a Entry),
}

/// Reported what became of each fact and counter, and by which rule.
pub(crate) type Record<'r> = dyn FnMut(Item<'_>, Option<u32>, Result<(&Family, &Planned), SkipReason>) + 'r;

/// What a profile remembers between plans.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    registry: Registry,
    choices: MatchCache,
    /// Whether a rule has taken something, by its number.
    pub(crate) matched: Vec<bool>,
}

impl PlanCache {
    pub(crate) fn new(rules: usize) -> Self {
        Self { matched: vec![false; rules], ..Self::default() }
    }

    /// Forgets all choices, and the families and labels that no plan holds.
    pub(crate) fn forget_unused(&mut self) {
        self.choices = MatchCache::default();
        self.registry.forget_unused();
    }

    /// Plans the facts of one JVM, then its counters.
    pub(crate) fn plan(
        &mut self,
        (rules, reserved): (&[Rule], &[String]),
        (image, facts): (&Image, &[Fact]),
        limits: &SeriesLimits,
        words: &mut WordIndex,
        record: &mut Record<'_>,
    ) -> Plan {
        let cut = limits.max_label_value_length;
        if self.choices.cut != cut || self.choices.count > CHOICE_MAXIMUM {
            self.forget_unused();
            self.choices.cut = cut;
        }
        let mut sheet = PlanBuilder::new(image, limits, words);
        let counters = image.entries.list.iter().map(Item::Counter);
        for item in facts.iter().map(Item::Fact).chain(counters) {
            let mut chooser = RuleMatcher { rules, reserved, registry: &mut self.registry, cut };
            let choice = match item {
                Item::Fact(fact) => self.choices.fact(fact, &mut chooser),
                Item::Counter(entry) => self.choices.counter(entry, &mut chooser),
            };
            let rule = choice.rule;
            if let Some(matched) = rule.and_then(|rule| self.matched.get_mut(rule as usize)) {
                *matched = true;
            }
            let outcome = match &choice.series {
                Ok(series) => sheet.add(series, item, &mut self.registry),
                Err(reason) => Err(*reason),
            };
            match &outcome {
                Err(SkipReason::Limit) => sheet.dropped.limit += 1,
                Err(SkipReason::Duplicate) => sheet.dropped.duplicate += 1,
                Err(SkipReason::Conflict) => sheet.dropped.conflict += 1,
                _ => {}
            }
            record(item, rule, outcome.and_then(|()| sheet.last(&self.registry)));
        }
        let PlanBuilder { mut series, dropped, .. } = sheet;
        self.registry.rank();
        series.sort_by(|(a, _), (b, _)| self.registry.compare(*a, *b));
        let by_family = series.chunk_by(|(a, _), (b, _)| a == b);
        Plan { families: by_family.filter_map(|series| self.registry.series(series)).collect(), dropped }
    }
}

/// [`Fact::labels`].
type FactLabels = Vec<(&'static str, Box<str>)>;

/// The choices made so far.
#[derive(Debug, Default)]
struct MatchCache {
    /// By name. Foreign keys are hashed with a seed: else a JVM could choose names that all have one hash.
    counters: HashMap<Box<str>, (Header, Match)>,
    /// By source, kind and unit, then by labels.
    facts: FxHashMap<(&'static str, Kind, &'static str), HashMap<FactLabels, Match>>,
    /// How many there are of both.
    count: usize,
    /// Bytes of a label value that they were made with.
    cut: usize,
}

/// What a counter's choice depends on beside its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    data_type: DataType,
    is_word: bool,
    is_text: bool,
    units: Units,
    variability: Variability,
}

impl Header {
    fn of(entry: &Entry) -> Self {
        let (is_word, is_text) = (entry.is_word(), entry.is_text());
        let Entry { data_type, units, variability, .. } = *entry;
        Self { data_type, is_word, is_text, units, variability }
    }
}

impl MatchCache {
    fn counter(&mut self, entry: &Entry, chooser: &mut RuleMatcher<'_>) -> &Match {
        let header = Header::of(entry);
        if self.counters.get(&entry.name).is_none_or(|(known, _)| *known != header) {
            self.counters.insert(entry.name.clone(), (header, chooser.counter(entry)));
            self.count += 1;
        }
        let kept = self.counters.get(&entry.name);
        kept.map_or(&Match::NONE, |(_, choice)| choice)
    }

    fn fact(&mut self, fact: &Fact, chooser: &mut RuleMatcher<'_>) -> &Match {
        let alike = self.facts.entry((fact.source, fact.kind, fact.unit)).or_default();
        if !alike.contains_key(&fact.labels) {
            alike.insert(fact.labels.clone(), chooser.fact(fact));
            self.count += 1;
        }
        alike.get(&fact.labels).unwrap_or(&Match::NONE)
    }
}

/// The plan of one JVM while it is made.
struct PlanBuilder<'a> {
    image: &'a Image,
    limits: &'a SeriesLimits,
    words: &'a mut WordIndex,
    /// Ticks per second; `None` where the JVM does not say.
    frequency: Option<f64>,
    series: Vec<(FamilyId, Planned)>,
    /// Families and the addresses of their labels, of which there is one for each content.
    taken: FxHashSet<(FamilyId, *const Labels)>,
    dropped: Dropped,
}

impl<'a> PlanBuilder<'a> {
    fn new(image: &'a Image, limits: &'a SeriesLimits, words: &'a mut WordIndex) -> Self {
        let frequency = ticks_per_second(image);
        let (series, taken, dropped) = (Vec::new(), FxHashSet::default(), Dropped::default());
        Self { image, limits, words, frequency, series, taken, dropped }
    }

    fn add(&mut self, chosen: &MatchedSeries, item: Item<'_>, registry: &mut Registry) -> Result<(), SkipReason> {
        let value = match item {
            Item::Fact(fact) if chosen.factor != 1.0 && !is_scalable(&fact.formula) => {
                return Err(SkipReason::Unsuitable);
            }
            Item::Fact(fact) => fact.formula.clone().scaled(chosen.factor),
            Item::Counter(entry) if entry.is_text() => Formula::Constant(Value::Int(1)),
            Item::Counter(entry) => self.word(entry, chosen)?,
        };
        if self.series.len() >= self.limits.max_series_per_jvm {
            return Err(SkipReason::Limit);
        }
        let labels = match &chosen.labels {
            Naming::Fixed(labels) => Arc::clone(labels),
            Naming::Text { labels, label, counter, is_point } => {
                let text = self.text(counter);
                if text.is_none() && *is_point {
                    return Err(SkipReason::Absent);
                }
                let text = text.map(|text| (label.clone(), text));
                registry.labels(Labels::new(labels.iter().cloned().chain(text)))
            }
        };
        if !self.taken.insert((chosen.family, Arc::as_ptr(&labels))) {
            return Err(SkipReason::Duplicate);
        }
        let formula = value.map_words(&mut |offset| self.words.index(offset));
        self.series.push((chosen.family, Planned { labels, formula }));
        Ok(())
    }

    /// What was added last.
    fn last<'s>(&'s self, registry: &'s Registry) -> Result<(&'s Family, &'s Planned), SkipReason> {
        let (family, planned) = self.series.last().ok_or(SkipReason::NoRule)?;
        Ok((registry.get(*family).ok_or(SkipReason::Conflict)?, planned))
    }

    /// A counter's number, over its offset in the region.
    fn word(&self, entry: &Entry, chosen: &MatchedSeries) -> Result<Formula, SkipReason> {
        let scale = match (chosen.unit, self.frequency) {
            (Unit::Ticks, None) => return Err(SkipReason::Absent),
            (unit, frequency) => unit.scale(frequency.unwrap_or(1.0)).times(chosen.factor),
        };
        Ok(match chosen.unit {
            // HotSpot creates these with 0 and writes them late in its start (arguments.cpp, management.cpp).
            Unit::EpochMilliseconds => Formula::FirstNonZero([entry.offset].into(), scale),
            _ => Formula::Word(entry.offset, scale),
        })
    }

    /// The text of a constant counter that is no secret, cut to what a label may hold; `None` where it is empty.
    fn text(&self, counter: &str) -> Option<String> {
        let entry = self.image.entry(counter)?;
        if entry.variability != Variability::Constant || is_secret(counter) {
            return None;
        }
        let mut text = self.image.text(counter)?.into_owned();
        cut(&mut text, self.limits.max_label_value_length);
        (!text.is_empty()).then_some(text)
    }
}

/// Whether [`Formula::scaled`] changes the value: what is published beside the region comes as it is.
fn is_scalable(formula: &Formula) -> bool {
    match formula {
        Formula::Word(..) | Formula::Sum(..) | Formula::FirstNonZero(..) | Formula::Occupied(..) => true,
        Formula::Once(_, formula) => is_scalable(formula),
        Formula::Total(parts) => parts.iter().all(is_scalable),
        Formula::Summary(parts) => is_scalable(&parts.1),
        Formula::Constant(value) => matches!(value, Value::Int(_) | Value::Float(_)),
        Formula::Up | Formula::Published(..) => false,
    }
}

/// The words of a formula.
pub(crate) fn words_of(formula: &Formula) -> Vec<u32> {
    let mut words = Vec::new();
    formula.map_words(&mut |word| {
        words.push(word);
        word
    });
    words
}
