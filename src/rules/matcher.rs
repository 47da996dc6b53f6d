//! Finds the rule for a counter or a fact, and makes everything of the series but its value.
//!
//! A match depends only on the counter's header or on the fact's name and labels, so JVMs with equal ones share it.

use std::sync::Arc;

use super::pattern::{Pattern, Template};
use super::registry::{FamilyId, Registry};
use super::rule::{Action, Export, Rule, Selector, VALUE_LABEL};
use super::secret::{is_known_property, is_secret};
use super::{derive::derive, explanation::SkipReason, name};
use crate::fact::Fact;
use crate::hotspot::units::{Unit, correct};
use crate::metric::{Family, Kind, Labels};
use crate::perfdata::{Entry, Variability};

/// The result of matching a counter or a fact.
#[derive(Debug)]
pub(crate) struct RuleMatch {
    /// Index of the rule that selects it.
    pub(crate) rule: Option<u32>,
    pub(crate) series: Result<MatchedSeries, SkipReason>,
}

/// A series without its value.
#[derive(Debug)]
pub(crate) struct MatchedSeries {
    pub(crate) family: FamilyId,
    pub(crate) labels: SeriesLabels,
    pub(crate) unit: Unit,
    pub(crate) factor: f64,
}

/// The labels of a series.
#[derive(Debug)]
pub(crate) enum SeriesLabels {
    /// Complete.
    Fixed(Arc<Labels>),
    /// These labels, and `label` with the value of a constant string counter of the JVM.
    WithText {
        labels: Vec<(String, String)>,
        label: String,
        counter: Box<str>,
        /// There is no series without the string.
        is_required: bool,
    },
}

/// Matches counters and facts against the rules of a profile.
#[derive(Debug)]
pub(crate) struct RuleMatcher<'a> {
    pub(crate) rules: &'a [Rule],
    pub(crate) reserved: &'a [String],
    pub(crate) registry: &'a mut Registry,
    /// Longest label value in bytes.
    pub(crate) max_label_value_length: usize,
}

impl RuleMatch {
    /// No rule selects it.
    pub(crate) const NONE: Self = Self { rule: None, series: Err(SkipReason::NoRule) };
}

impl RuleMatcher<'_> {
    pub(crate) fn counter(&mut self, entry: &Entry) -> RuleMatch {
        if !entry.is_word() && !entry.is_text() {
            return RuleMatch { rule: None, series: Err(SkipReason::UnknownType) };
        }
        let rules = self.rules;
        let selected = (0..).zip(rules).find_map(|(index, rule)| match &rule.selector {
            Selector::Counter(pattern, _) if pattern.matches(&entry.name) => Some((index, rule, pattern)),
            _ => None,
        });
        let Some((index, rule, pattern)) = selected else { return RuleMatch::NONE };
        let series = match &rule.action {
            Action::Drop => Err(SkipReason::Rule),
            _ if is_secret(&entry.name) => Err(SkipReason::Secret),
            Action::Derive { prefix } => self.derived(entry, prefix),
            Action::Export(export) => self.exported(entry, rule, export, pattern),
        };
        RuleMatch { rule: Some(index), series }
    }

    pub(crate) fn fact(&mut self, fact: &Fact) -> RuleMatch {
        let rules = self.rules;
        let selected = (0..).zip(rules).find_map(|(index, rule)| match &rule.selector {
            Selector::Source(source) if source.name == fact.name => Some((index, rule, *source)),
            _ => None,
        });
        let Some((index, rule, source)) = selected else { return RuleMatch::NONE };
        let Action::Export(export) = &rule.action else {
            return RuleMatch { rule: Some(index), series: Err(SkipReason::Rule) };
        };
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
                let labels = self.fill(&export.labels, |number| export.shown(value(number)));
                let labels = SeriesLabels::Fixed(self.registry.labels(Labels::new(labels)));
                MatchedSeries { family, labels, unit: Unit::Plain, factor: export.factor }
            })
        };
        RuleMatch { rule: Some(index), series }
    }

    fn exported(
        &mut self,
        entry: &Entry,
        rule: &Rule,
        export: &Export,
        pattern: &Pattern,
    ) -> Result<MatchedSeries, SkipReason> {
        let is_information = export.kind == Some(Kind::Info);
        if entry.is_text() && !(is_information && entry.variability == Variability::Constant) {
            return Err(SkipReason::Text);
        }
        if entry.is_word() && is_information {
            return Err(SkipReason::Unsuitable);
        }
        let captures = pattern.captures(&entry.name);
        let capture = |number| captures.as_ref().and_then(|captures| captures.get(number));
        let value = |number| capture(number).map_or("", |found| found.as_str());
        let unit = correct(&entry.name, entry.units);
        let kind = export.kind.unwrap_or(kind_of(entry));
        let family = self.family(rule, export, &export.metric.fill(value), kind, unit.ucum())?;
        let labels = self.fill(&export.labels, |number| export.shown(value(number)));
        let labels = if entry.is_text() {
            let label = VALUE_LABEL.to_owned();
            SeriesLabels::WithText { labels, label, counter: entry.name.clone(), is_required: true }
        } else {
            SeriesLabels::Fixed(self.registry.labels(Labels::new(labels)))
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
            truncate(value, self.max_label_value_length);
        }
        let labels = match derived.sibling {
            _ if entry.is_text() => {
                let label = VALUE_LABEL.to_owned();
                SeriesLabels::WithText { labels, label, counter: entry.name.clone(), is_required: true }
            }
            Some((label, counter)) => {
                SeriesLabels::WithText { labels, label, counter: counter.into(), is_required: false }
            }
            None => SeriesLabels::Fixed(self.registry.labels(Labels::new(labels))),
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

    /// The labels of a rule, without those whose value is empty.
    fn fill<'v>(&self, labels: &'v [(Box<str>, Template)], value: impl Fn(usize) -> &'v str) -> Vec<(String, String)> {
        let filled = labels.iter().map(|(name, template)| {
            let mut text = template.fill(&value);
            truncate(&mut text, self.max_label_value_length);
            (name.to_string(), text)
        });
        filled.filter(|(_, text)| !text.is_empty()).collect()
    }
}

/// Truncates a text at a character boundary, to at most that many bytes.
pub(crate) fn truncate(text: &mut String, maximum: usize) {
    if text.len() > maximum {
        let end = (0..=maximum).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
}

/// The kind of a number, by HotSpot's variability.
fn kind_of(entry: &Entry) -> Kind {
    match entry.variability {
        Variability::Monotonic => Kind::Counter,
        Variability::Constant | Variability::Variable | Variability::Unknown(_) => Kind::Gauge,
    }
}
