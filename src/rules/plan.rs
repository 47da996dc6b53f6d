//! Makes the plan of one JVM.

#![allow(clippy::disallowed_types, reason = "keys are static texts, numbers of families and addresses")]

use std::{collections::HashMap, sync::Arc};

use rustc_hash::{FxHashMap, FxHashSet};

use super::matcher::{MatchedSeries, RuleMatch, RuleMatcher, SeriesLabels, truncate};
use super::registry::{FamilyId, Registry};
use super::shared::{LabelString, SharedPlan};
use super::{Dropped, Plan, PlannedSeries, SeriesLimits, SkipReason, WordIndex, rule::Rule, secret::is_secret};
use crate::fact::{Fact, FactLabels, Formula};
use crate::metric::{Family, Kind, Labels, Value};
use crate::perfdata::{DataType, Entry, Image, Units, Variability};
use crate::{hotspot::ticks_per_second, hotspot::units::Unit};

/// Most matches that are cached. JVMs of one kind share theirs; only hostile JVMs cause so many.
const MATCH_MAXIMUM: usize = 50_000;

/// What rules select from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RuleInput<'a> {
    Fact(&'a Fact),
    Counter(&'a Entry),
}

/// Called with each fact and counter, the index of its rule, and its series or why there is none.
pub(crate) type Record<'r> = dyn FnMut(RuleInput<'_>, Option<u32>, Result<(&Family, &PlannedSeries), SkipReason>) + 'r;

/// What a profile caches between plans.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    registry: Registry,
    matches: MatchCache,
    /// Whether a rule has selected anything, by its index.
    pub(crate) matched: Vec<bool>,
}

impl PlanCache {
    pub(crate) fn new(rules: usize, has_processes: bool) -> Self {
        let registry = Registry::new(has_processes);
        Self { registry, matched: vec![false; rules], ..Self::default() }
    }

    /// Drops all matches, and the families and labels that no plan uses.
    pub(crate) fn forget_unused(&mut self) {
        self.matches = MatchCache::default();
        self.registry.forget_unused();
    }

    /// Plans the facts of one JVM, then its counters.
    pub(crate) fn plan(
        &mut self,
        (rules, reserved): (&[Rule], &[String]),
        (image, (facts, counters)): (&Image, (&[Fact], &[Entry])),
        limits: &SeriesLimits,
        words: &mut WordIndex,
        record: &mut Record<'_>,
    ) -> SharedPlan {
        let max_label_value_length = limits.max_label_value_length;
        if self.matches.max_label_value_length != max_label_value_length || self.matches.count > MATCH_MAXIMUM {
            self.forget_unused();
            self.matches.max_label_value_length = max_label_value_length;
        }
        let mut builder = PlanBuilder::new(image, limits, words);
        let counters = counters.iter().map(RuleInput::Counter);
        for input in facts.iter().map(RuleInput::Fact).chain(counters) {
            let mut matcher = RuleMatcher { rules, reserved, registry: &mut self.registry, max_label_value_length };
            let RuleMatch { rule, series } = match input {
                RuleInput::Fact(fact) => self.matches.fact(fact, &mut matcher),
                RuleInput::Counter(entry) => self.matches.counter(entry, &mut matcher),
            };
            let rule = *rule;
            if let Some(matched) = rule.and_then(|rule| self.matched.get_mut(rule as usize)) {
                *matched = true;
            }
            let outcome = match series {
                Ok(series) => builder.add(series, input, &mut self.registry),
                Err(reason) => Err(*reason),
            };
            match &outcome {
                Err(SkipReason::Limit) => builder.dropped.limit += 1,
                Err(SkipReason::Duplicate) => builder.dropped.duplicate += 1,
                Err(SkipReason::Conflict) => builder.dropped.conflict += 1,
                _ => {}
            }
            record(input, rule, outcome.and_then(|()| builder.last(&self.registry)));
        }
        let PlanBuilder { mut series, dropped, texts, .. } = builder;
        series.sort_by_key(|(family, _)| *family);
        let mut by_family: Vec<_> = series.chunk_by(|(a, _), (b, _)| a == b).collect();
        self.registry.sort_by_name(&mut by_family);
        let families = by_family.into_iter().filter_map(|series| self.registry.series(series)).collect();
        SharedPlan { plan: Plan { families: self.registry.plan(families), dropped }, texts }
    }
}

/// The matches made so far.
#[derive(Debug, Default)]
struct MatchCache {
    /// By name. Keys from JVMs are hashed with a random seed, else a JVM could choose names with equal hashes.
    counters: HashMap<Box<str>, (Header, RuleMatch)>,
    /// By the fact's name, kind and unit, then by its labels.
    facts: FxHashMap<(&'static str, Kind, &'static str), HashMap<FactLabels, RuleMatch>>,
    /// Number of both.
    count: usize,
    /// The limit that they were made with.
    max_label_value_length: usize,
}

/// What a counter's match depends on in addition to its name.
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
        let Entry { data_type, units, variability, .. } = *entry;
        Self { data_type, is_word: entry.is_word(), is_text: entry.is_text(), units, variability }
    }
}

impl MatchCache {
    fn counter(&mut self, entry: &Entry, matcher: &mut RuleMatcher<'_>) -> &RuleMatch {
        let header = Header::of(entry);
        if self.counters.get(&entry.name).is_none_or(|(known, _)| *known != header) {
            self.counters.insert(entry.name.clone(), (header, matcher.counter(entry)));
            self.count += 1;
        }
        self.counters.get(&entry.name).map_or(&RuleMatch::NONE, |(_, cached)| cached)
    }

    fn fact(&mut self, fact: &Fact, matcher: &mut RuleMatcher<'_>) -> &RuleMatch {
        let by_labels = self.facts.entry((fact.name, fact.kind, fact.unit)).or_default();
        if !by_labels.contains_key(&fact.labels) {
            by_labels.insert(fact.labels.clone(), matcher.fact(fact));
            self.count += 1;
        }
        by_labels.get(&fact.labels).unwrap_or(&RuleMatch::NONE)
    }
}

/// The plan of one JVM in the making.
struct PlanBuilder<'a> {
    image: &'a Image,
    limits: &'a SeriesLimits,
    words: &'a mut WordIndex,
    /// Ticks per second; `None` while the JVM has not published it.
    frequency: Option<f64>,
    series: Vec<(FamilyId, PlannedSeries)>,
    /// The family and the address of the labels of each series: equal labels have one address.
    seen: FxHashSet<(FamilyId, *const Labels)>,
    dropped: Dropped,
    /// The strings that are in labels.
    texts: Vec<LabelString>,
}

impl<'a> PlanBuilder<'a> {
    fn new(image: &'a Image, limits: &'a SeriesLimits, words: &'a mut WordIndex) -> Self {
        let frequency = ticks_per_second(image);
        let (series, seen, dropped, texts) = (Vec::new(), FxHashSet::default(), Dropped::default(), Vec::new());
        Self { image, limits, words, frequency, series, seen, dropped, texts }
    }

    fn add(&mut self, series: &MatchedSeries, input: RuleInput<'_>, registry: &mut Registry) -> Result<(), SkipReason> {
        let value = match input {
            RuleInput::Fact(fact) if fact.kind == Kind::Histogram && series.factor != 1.0 => {
                return Err(SkipReason::Unsuitable);
            }
            RuleInput::Fact(fact) => fact.formula.clone().scaled(series.factor).ok_or(SkipReason::Unsuitable)?,
            RuleInput::Counter(entry) if entry.is_text() => Formula::Constant(Value::Int(1)),
            RuleInput::Counter(entry) => self.word(entry, series)?,
        };
        if self.series.len() >= self.limits.max_series_per_jvm {
            return Err(SkipReason::Limit);
        }
        let labels = match &series.labels {
            SeriesLabels::Fixed(labels) => Arc::clone(labels),
            SeriesLabels::WithText { labels, label, counter, is_required } => {
                let text = constant_text(self.image, counter, self.limits);
                self.texts.push(LabelString { counter: counter.clone(), text: text.clone() });
                if text.is_none() && *is_required {
                    return Err(SkipReason::Absent);
                }
                let text = text.map(|text| (label.clone(), text));
                registry.labels(Labels::new(labels.iter().cloned().chain(text)))
            }
        };
        if !self.seen.insert((series.family, Arc::as_ptr(&labels))) {
            return Err(SkipReason::Duplicate);
        }
        let formula = value.map_words(&mut |offset| self.words.index(offset));
        self.series.push((series.family, PlannedSeries { labels, formula }));
        Ok(())
    }

    /// The series added last.
    fn last<'s>(&'s self, registry: &'s Registry) -> Result<(&'s Family, &'s PlannedSeries), SkipReason> {
        let (family, planned) = self.series.last().ok_or(SkipReason::NoRule)?;
        Ok((registry.get(*family).ok_or(SkipReason::Conflict)?, planned))
    }

    /// A counter's value, over its offset in the region.
    fn word(&self, entry: &Entry, series: &MatchedSeries) -> Result<Formula, SkipReason> {
        let scale = match (series.unit, self.frequency) {
            (Unit::Ticks, None) => return Err(SkipReason::Absent),
            (unit, frequency) => unit.scale(frequency.unwrap_or(1.0)).times(series.factor),
        };
        Ok(match series.unit {
            // HotSpot creates these counters with 0 and writes them late in its start (arguments.cpp, management.cpp).
            Unit::EpochMilliseconds => Formula::FirstNonZero([entry.offset].into(), scale),
            _ => Formula::Word(entry.offset, scale),
        })
    }
}

/// The string of a constant counter that contains no secret, truncated to the limit; `None` where it is empty.
pub(super) fn constant_text(image: &Image, counter: &str, limits: &SeriesLimits) -> Option<String> {
    let entry = image.entry(counter)?;
    if entry.variability != Variability::Constant || is_secret(counter) {
        return None;
    }
    let mut text = image.text(counter)?.into_owned();
    truncate(&mut text, limits.max_label_value_length);
    (!text.is_empty()).then_some(text)
}
