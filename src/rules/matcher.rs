//! Which rule takes a counter or a fact, and what it makes of it: everything about a series but its value.
//!
//! A choice depends on nothing but the counter's header or the fact's labels, so it is made once for all JVMs that have
//! the same ones.

use std::sync::Arc;

use super::decision::SkipReason;
use super::derive::derive;
use super::name;
use super::pattern::{Captures, Template};
use super::registry::{FamilyId, Registry};
use super::rule::{Action, Export, Rule, Selector, VALUE_LABEL};
use super::secret::{is_known_property, is_secret};
use crate::fact::Fact;
use crate::hotspot::units::{Unit, correct};
use crate::metric::{Family, Kind, Labels};
use crate::perfdata::{Entry, Variability};

/// A decision, with the number of the rule that made it.
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) rule: Option<u32>,
    pub(crate) series: Result<MatchedSeries, SkipReason>,
}

/// A series without its value.
#[derive(Debug)]
pub(crate) struct MatchedSeries {
    pub(crate) family: FamilyId,
    pub(crate) labels: Naming,
    pub(crate) unit: Unit,
    pub(crate) factor: f64,
}

/// The labels of a series.
#[derive(Debug)]
pub(crate) enum Naming {
    /// All known.
    Fixed(Arc<Labels>),
    /// These, and one whose value is the text of a constant string counter of the same JVM. Without the text there is
    /// no series where the text is the point of it.
    Text { labels: Vec<(String, String)>, label: String, counter: Box<str>, is_point: bool },
}

/// What choosing needs to know beside the counter.
#[derive(Debug)]
pub(crate) struct RuleMatcher<'a> {
    pub(crate) rules: &'a [Rule],
    pub(crate) reserved: &'a [String],
    pub(crate) registry: &'a mut Registry,
    /// Bytes of a label value.
    pub(crate) cut: usize,
}

impl Match {
    /// Nothing takes it.
    pub(crate) const NONE: Self = Self { rule: None, series: Err(SkipReason::NoRule) };

    fn refused(rule: Option<u32>, reason: SkipReason) -> Self {
        Self { rule, series: Err(reason) }
    }
}

impl RuleMatcher<'_> {
    /// What the rules make of a counter.
    pub(crate) fn counter(&mut self, entry: &Entry) -> Match {
        if !entry.is_word() && !entry.is_text() {
            return Match::refused(None, SkipReason::UnknownType);
        }
        let rules = self.rules;
        let taken = (0..).zip(rules).find_map(|(index, rule)| match &rule.selector {
            Selector::Counter(pattern, _) if pattern.matches(&entry.name) => Some((index, rule, pattern)),
            _ => None,
        });
        let Some((index, rule, pattern)) = taken else { return Match::NONE };
        let series = match &rule.action {
            Action::Drop => Err(SkipReason::Rule),
            _ if is_secret(&entry.name) => Err(SkipReason::Secret),
            Action::Derive { prefix } => self.derived(entry, prefix),
            Action::Export(export) => match pattern.captures(&entry.name) {
                Some(captures) => self.exported(entry, rule, export, &captures),
                None => Err(SkipReason::NoRule),
            },
        };
        Match { rule: Some(index), series }
    }

    /// What the rules make of a fact.
    pub(crate) fn fact(&mut self, fact: &Fact) -> Match {
        let rules = self.rules;
        let taken = (0..).zip(rules).find_map(|(index, rule)| match &rule.selector {
            Selector::Source(source) if source.name == fact.source => Some((index, rule, *source)),
            _ => None,
        });
        let Some((index, rule, source)) = taken else { return Match::NONE };
        let Action::Export(export) = &rule.action else { return Match::refused(Some(index), SkipReason::Rule) };
        let value = |number: usize| {
            let label = source.labels.get(number);
            let found = fact.labels.iter().find(|(name, _)| Some(name) == label);
            found.map_or("", |(_, value)| &**value)
        };
        let is_distribution = |kind| matches!(kind, Kind::Histogram | Kind::Summary);
        let kind = export.kind.unwrap_or(fact.kind);
        let series = if (is_distribution(kind) || is_distribution(fact.kind)) && kind != fact.kind {
            Err(SkipReason::Unsuitable)
        } else {
            self.family(rule, export, &export.metric.fill(value), kind, fact.unit).map(|family| {
                let labels = self.fill(&export.labels, value);
                let labels = Naming::Fixed(self.registry.labels(Labels::new(labels)));
                MatchedSeries { family, labels, unit: Unit::Plain, factor: export.factor }
            })
        };
        Match { rule: Some(index), series }
    }

    fn exported(
        &mut self,
        entry: &Entry,
        rule: &Rule,
        export: &Export,
        captures: &Captures<'_>,
    ) -> Result<MatchedSeries, SkipReason> {
        let is_information = export.kind == Some(Kind::Info);
        if entry.is_text() && !(is_information && entry.variability == Variability::Constant) {
            return Err(SkipReason::Text);
        }
        if entry.is_word() && is_information {
            return Err(SkipReason::Unsuitable);
        }
        let value = |number| captures.get(number);
        let unit = correct(&entry.name, entry.units);
        let kind = export.kind.unwrap_or(kind_of(entry));
        let family = self.family(rule, export, &export.metric.fill(value), kind, unit.ucum())?;
        let labels = self.fill(&export.labels, value);
        let labels = if entry.is_text() {
            let label = VALUE_LABEL.to_owned();
            Naming::Text { labels, label, counter: entry.name.clone(), is_point: true }
        } else {
            Naming::Fixed(self.registry.labels(Labels::new(labels)))
        };
        Ok(MatchedSeries { family, labels, unit, factor: export.factor })
    }

    fn derived(&mut self, entry: &Entry, prefix: &str) -> Result<MatchedSeries, SkipReason> {
        if entry.is_text() && !(is_known_property(&entry.name) && entry.variability == Variability::Constant) {
            return Err(SkipReason::Text);
        }
        let derived = derive(prefix, &entry.name, self.reserved);
        let unit = correct(&entry.name, entry.units);
        let family = self.registry.family(Family {
            name: name::metric(&derived.metric).ok_or(SkipReason::Name)?.into(),
            unit: unit.ucum().into(),
            kind: if entry.is_text() { Kind::Info } else { kind_of(entry) },
            help: format!("PerfData counter {}.", derived.pattern).into(),
        })?;
        let mut labels = derived.labels;
        for (_, value) in &mut labels {
            cut(value, self.cut);
        }
        let labels = match derived.sibling {
            _ if entry.is_text() => {
                let label = VALUE_LABEL.to_owned();
                Naming::Text { labels, label, counter: entry.name.clone(), is_point: true }
            }
            Some((label, counter)) => Naming::Text { labels, label, counter: counter.into(), is_point: false },
            None => Naming::Fixed(self.registry.labels(Labels::new(labels))),
        };
        Ok(MatchedSeries { family, labels, unit, factor: 1.0 })
    }

    fn family(
        &mut self,
        rule: &Rule,
        export: &Export,
        metric: &str,
        kind: Kind,
        unit: &str,
    ) -> Result<FamilyId, SkipReason> {
        self.registry.family(Family {
            name: name::metric(metric).ok_or(SkipReason::Name)?.into(),
            unit: export.unit.clone().unwrap_or_else(|| unit.into()),
            kind,
            help: rule.help(export),
        })
    }

    /// The labels of a rule; those whose value is empty are left out.
    fn fill<'v>(&self, labels: &'v [(Box<str>, Template)], value: impl Fn(usize) -> &'v str) -> Vec<(String, String)> {
        let mut filled = Vec::with_capacity(labels.len());
        for (name, template) in labels {
            let mut text = template.fill(&value);
            cut(&mut text, self.cut);
            if !text.is_empty() {
                filled.push((name.to_string(), text));
            }
        }
        filled
    }
}

/// Cuts a text at a character, to at most that many bytes.
pub(crate) fn cut(text: &mut String, maximum: usize) {
    if text.len() > maximum {
        let end = (0..=maximum).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
}

/// The kind of a number by HotSpot's variability.
fn kind_of(entry: &Entry) -> Kind {
    match entry.variability {
        Variability::Monotonic => Kind::Counter,
        Variability::Constant | Variability::Variable | Variability::Unknown(_) => Kind::Gauge,
    }
}
