//! The series of one JVM.

#![allow(clippy::disallowed_types, reason = "keys are static texts, numbers of families and addresses")]

use std::collections::HashMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::choose::{Choice, Chooser, Naming, Series, cut};
use super::decision::Reason;
use super::registry::{FamilyId, Registry};
use super::rule::Rule;
use super::secret::is_secret;
use super::{Dropped, Plan, Planned, Words};
use crate::config::Limits;
use crate::formula::Formula;
use crate::hotspot::Fact;
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

/// Told what became of each fact and counter, and by which rule.
pub(crate) type Record<'r> = dyn FnMut(Item<'_>, Option<u32>, Result<(&Family, &Planned), Reason>) + 'r;

/// What a profile remembers between plans.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    registry: Registry,
    choices: Choices,
    /// Whether a rule has taken something, by its number.
    pub(crate) matched: Vec<bool>,
}

impl Memory {
    pub(crate) fn new(rules: usize) -> Self {
        Self { matched: vec![false; rules], ..Self::default() }
    }

    /// Forgets all choices, and the families and labels that no plan holds.
    pub(crate) fn forget_unused(&mut self) {
        self.choices = Choices::default();
        self.registry.forget_unused();
    }

    /// Plans the facts of one JVM, then its counters.
    pub(crate) fn plan(
        &mut self,
        (rules, reserved): (&[Rule], &[String]),
        (image, facts): (&Image, &[Fact]),
        limits: &Limits,
        words: &mut Words,
        record: &mut Record<'_>,
    ) -> Plan {
        let cut = limits.max_label_value_length;
        if self.choices.cut != cut || self.choices.count > CHOICE_MAXIMUM {
            self.forget_unused();
            self.choices.cut = cut;
        }
        let mut sheet = Sheet::new(image, limits, words);
        let counters = image.entries.list.iter().map(Item::Counter);
        for item in facts.iter().map(Item::Fact).chain(counters) {
            let mut chooser = Chooser { rules, reserved, registry: &mut self.registry, cut };
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
                Err(Reason::Limit) => sheet.dropped.limit += 1,
                Err(Reason::Duplicate) => sheet.dropped.duplicate += 1,
                Err(Reason::Conflict) => sheet.dropped.conflict += 1,
                _ => {}
            }
            record(item, rule, outcome.and_then(|()| sheet.last(&self.registry)));
        }
        let Sheet { mut series, dropped, .. } = sheet;
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
struct Choices {
    /// By name. Foreign keys are hashed with a seed: else a JVM could choose names that all have one hash.
    counters: HashMap<Box<str>, (Header, Choice)>,
    /// By source, kind and unit, then by labels.
    facts: FxHashMap<(&'static str, Kind, &'static str), HashMap<FactLabels, Choice>>,
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

impl Choices {
    fn counter(&mut self, entry: &Entry, chooser: &mut Chooser<'_>) -> &Choice {
        let header = Header::of(entry);
        if self.counters.get(&entry.name).is_none_or(|(known, _)| *known != header) {
            self.counters.insert(entry.name.clone(), (header, chooser.counter(entry)));
            self.count += 1;
        }
        let kept = self.counters.get(&entry.name);
        kept.map_or(&Choice::NONE, |(_, choice)| choice)
    }

    fn fact(&mut self, fact: &Fact, chooser: &mut Chooser<'_>) -> &Choice {
        let alike = self.facts.entry((fact.source, fact.kind, fact.unit)).or_default();
        if !alike.contains_key(&fact.labels) {
            alike.insert(fact.labels.clone(), chooser.fact(fact));
            self.count += 1;
        }
        alike.get(&fact.labels).unwrap_or(&Choice::NONE)
    }
}

/// The plan of one JVM while it is made.
struct Sheet<'a> {
    image: &'a Image,
    limits: &'a Limits,
    words: &'a mut Words,
    /// Ticks per second; `None` where the JVM does not say.
    frequency: Option<f64>,
    series: Vec<(FamilyId, Planned)>,
    /// Families and the addresses of their labels, of which there is one for each content.
    taken: FxHashSet<(FamilyId, *const Labels)>,
    dropped: Dropped,
}

impl<'a> Sheet<'a> {
    fn new(image: &'a Image, limits: &'a Limits, words: &'a mut Words) -> Self {
        let frequency = image.word("sun.os.hrt.frequency").filter(|ticks| *ticks > 0).map(|ticks| ticks as f64);
        let (series, taken, dropped) = (Vec::new(), FxHashSet::default(), Dropped::default());
        Self { image, limits, words, frequency, series, taken, dropped }
    }

    fn add(&mut self, chosen: &Series, item: Item<'_>, registry: &mut Registry) -> Result<(), Reason> {
        let value = match item {
            Item::Fact(fact) if chosen.factor != 1.0 && !is_scalable(&fact.formula) => return Err(Reason::Unsuitable),
            Item::Fact(fact) => fact.formula.clone().scaled(chosen.factor),
            Item::Counter(entry) if entry.is_text() => Formula::Constant(Value::Int(1)),
            Item::Counter(entry) => self.word(entry, chosen)?,
        };
        if self.series.len() >= self.limits.max_series_per_jvm {
            return Err(Reason::Limit);
        }
        let labels = match &chosen.labels {
            Naming::Fixed(labels) => Arc::clone(labels),
            Naming::Text { labels, label, counter, is_point } => {
                let text = self.text(counter);
                if text.is_none() && *is_point {
                    return Err(Reason::Absent);
                }
                let text = text.map(|text| (label.clone(), text));
                registry.labels(Labels::new(labels.iter().cloned().chain(text)))
            }
        };
        if !self.taken.insert((chosen.family, Arc::as_ptr(&labels))) {
            return Err(Reason::Duplicate);
        }
        let formula = value.map_words(&mut |offset| self.words.index(offset));
        self.series.push((chosen.family, Planned { labels, formula }));
        Ok(())
    }

    /// What was added last.
    fn last<'s>(&'s self, registry: &'s Registry) -> Result<(&'s Family, &'s Planned), Reason> {
        let (family, planned) = self.series.last().ok_or(Reason::NoRule)?;
        Ok((registry.get(*family).ok_or(Reason::Conflict)?, planned))
    }

    /// A counter's number, over its offset in the region.
    fn word(&self, entry: &Entry, chosen: &Series) -> Result<Formula, Reason> {
        let scale = match (chosen.unit, self.frequency) {
            (Unit::Ticks, None) => return Err(Reason::Absent),
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
        Formula::Up | Formula::Cell(..) => false,
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
