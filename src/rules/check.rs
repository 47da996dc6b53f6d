//! Rules that contradict each other: found when they are loaded, not when a JVM appears.

use std::collections::HashMap;

use super::pattern::Pattern;
use super::rule::{Action, Export, LabelTemplates, Rule, Selector};
use crate::metric::{Family, Kind, label_name, metric_name};
use crate::yaml::{Problem, Problems};

/// Checks every rule from number `first` on against those before it. A rule that can never match is a problem, unless a
/// rule of another file hides it: that is how a configuration replaces rules of a shipped profile.
pub(crate) fn check(rules: &[Rule], first: usize, problems: &mut Problems) {
    let mut metrics: HashMap<String, &Rule> = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let earlier = rules.get(..index).unwrap_or_default();
        let hiding = earlier.iter().find(|other| hides(&other.selector, &rule.selector));
        if let Some(other) = hiding {
            if index >= first && other.origin.file == rule.origin.file {
                let message = format!("the rule at line {} takes all that this one would", other.origin.line);
                report(problems, rule, message, "first match wins; move it up or remove it");
            }
            continue;
        }
        let Action::Export(export) = &rule.action else { continue };
        for name in names(export) {
            let other = *metrics.entry(name).or_insert(rule);
            let Action::Export(known) = &other.action else { continue };
            let Some(difference) = difference(known, export).filter(|_| index >= first) else { continue };
            // Between a configuration and a shipped profile it is the configuration that its user can change.
            let (at, other) = if other.origin.file == rule.origin.file { (rule, other) } else { (other, rule) };
            let metric = export.metric.literal().unwrap_or_default();
            let message =
                format!("the metric {metric} has {difference} at {}:{}", other.origin.file, other.origin.line);
            report(problems, at, message, "one metric has one type, unit, help and set of labels");
            break;
        }
    }
}

/// Checks rules of a configuration against the labels that a profile gives to every series.
pub(crate) fn check_labels(rules: &[Rule], profile: &str, labels: &LabelTemplates, problems: &mut Problems) {
    for rule in rules {
        let Action::Export(export) = &rule.action else { continue };
        let taken = |name: &str| labels.iter().any(|(own, _)| label_name(own) == label_name(name));
        if let Some((name, _)) = export.labels.iter().find(|(name, _)| taken(name)) {
            let message = format!("the profile {profile} gives the label `{name}` to every series");
            report(problems, rule, message, "choose another name");
        }
    }
}

fn report(problems: &mut Problems, rule: &Rule, message: String, hint: &str) {
    let problem = Problem {
        file: rule.origin.file.clone(),
        line: rule.position.line,
        column: rule.position.column,
        path: format!("rules[{}]", rule.origin.index),
        message,
        hint: hint.to_owned(),
    };
    if !problems.list.contains(&problem) {
        problems.push(problem);
    }
}

/// Whether the earlier selector takes all that the later one could.
fn hides(earlier: &Selector, later: &Selector) -> bool {
    match (earlier, later) {
        (Selector::Source(a), Selector::Source(b)) => a.name == b.name,
        (Selector::Counter(pattern, _), Selector::Counter(Pattern::Literal(name), _)) => pattern.matches(name),
        (Selector::Counter(_, a), Selector::Counter(_, b)) => a == b || **a == *"*",
        _ => false,
    }
}

/// The names under which a metric is compared: as it is spelled and as Prometheus will have it. None while it depends
/// on captures.
fn names(export: &Export) -> Vec<String> {
    let Some(name) = export.metric.literal() else { return Vec::new() };
    let family = Family {
        name: name.into(),
        unit: export.unit.clone().unwrap_or_default(),
        kind: export.kind.unwrap_or(Kind::Gauge),
        help: Box::default(),
    };
    let spelled = metric_name(name);
    let stem = spelled.strip_suffix("_total").unwrap_or(&spelled).to_owned();
    vec![stem, family.prometheus()]
}

/// What differs between two rules of one metric, as far as both say it.
fn difference(a: &Export, b: &Export) -> Option<&'static str> {
    let differ = |a: &Option<Box<str>>, b: &Option<Box<str>>| a.is_some() && b.is_some() && a != b;
    let labels = |export: &Export| {
        let mut names: Vec<_> = export.labels.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    if a.kind.is_some() && b.kind.is_some() && a.kind != b.kind {
        Some("another type")
    } else if differ(&a.unit, &b.unit) {
        Some("another unit")
    } else if differ(&a.help, &b.help) {
        Some("another help")
    } else if labels(a) != labels(b) {
        Some("other labels")
    } else {
        None
    }
}
