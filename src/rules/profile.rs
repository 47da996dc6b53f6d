//! A profile: its file, its rules, and the plans that it makes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use super::explanation::{ExplainedInput, Explanation, ExportedSeries, RuleLocation};
use super::plan::{PlanCache, RuleInput};
use super::rule::{LabelTemplates, Rule, decode_labels, decode_rules, labels_schema, rules_schema};
use super::{Plan, PlannedSeries, SeriesLimits, SharedPlan, SkipReason, WordIndex, check::check, check::check_labels};
use crate::metric::{Family, Labels};
use crate::perfdata::{Entry, Image};
use crate::yaml::codec::{Deferred, Invalid, Text};
use crate::yaml::decode::{Decoder, Path};
use crate::yaml::section::{self, Section as _, section};
use crate::{fact::Fact, sync::lock, yaml::Problems, yaml::document::Node};

section! {
    /// The keys of a profile file.
    #[derive(Debug)]
    struct ProfileKeys {
        /// The profile's name, which is part of the URL /metrics/NAME.
        name as "profile": Box<str> = Box::default() => Text { pattern: "^[a-z0-9_-]+$", ..Text::of(64, name) },
        /// A sentence about the profile.
        help: Box<str> = Box::default() => Text::of(1024, |text| Ok(text.into())),
        /// Labels of every series in the Prometheus formats, beside app and slot: name and value, which may hold $app or $slot.
        labels: Option<Node> = None => Deferred::of(labels_schema),
        /// The rules. The first one that matches a counter or a fact applies.
        rules: Option<Node> = None => Deferred { schema: rules_schema, default: || json!([]) },
    }
}

/// The JSON Schema of a profile file.
pub fn schema() -> Json {
    let schema = ProfileKeys::schema_requiring(&["profile"]);
    section::document("config/profile.schema.json", "Profile of hotspot-exporter", schema)
}

/// A compiled, named list of rules, shared by all JVMs and by simultaneous scans.
#[derive(Debug)]
pub struct Profile {
    /// As in `/metrics/{name}`: lower-case letters, digits, `_` and `-`.
    pub name: Box<str>,
    /// Its purpose; may be empty.
    pub help: Box<str>,
    rules: Vec<Rule>,
    /// The labels that every series has beside those of its JVM's identity.
    labels: LabelTemplates,
    /// A rule names a metric under which the exporter exports its own process: on this profile's page they are the JVMs'.
    pub(crate) has_processes: bool,
    /// The labels of the root's paths and of the profile, which every series has.
    reserved: Vec<String>,
    cache: Mutex<PlanCache>,
}

impl Profile {
    /// Compiles a profile file, or reports its every problem. `file` is its name there, `reserved` the labels of the
    /// roots' paths.
    pub fn parse(file: &str, text: &str, reserved: &[String]) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        match Self::decode(file, text, &[], reserved, &mut problems) {
            Some(profile) if problems.is_empty() => Ok(profile),
            _ => Err(problems.sorted()),
        }
    }

    /// Compiles a profile file whose rules follow on `before`, which have been checked. The caller must not use the
    /// profile if there are `problems`.
    pub(crate) fn decode(
        file: &str,
        text: &str,
        before: &[Rule],
        reserved: &[String],
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut decoder = Decoder { file: file.into(), problems };
        let node = decoder.parse(text)?;
        let (keys, given) = ProfileKeys::decode(&mut decoder, &node, &Path::Root);
        if given.get("profile").is_none() {
            decoder.report(node.position, &Path::Root, "the profile has no name", "add `profile: NAME`");
        }
        let labels = match &keys.labels {
            Some(node) => decode_labels(&mut decoder, node, &Path::Root.key("labels"), &identity, reserved)?,
            None => Box::default(),
        };
        let mut reserved = reserved.to_vec();
        reserved.extend(labels.iter().map(|(name, _)| name.to_string()));
        let mut rules = before.to_vec();
        if let Some(node) = &keys.rules {
            rules.extend(decode_rules(&mut decoder, node, &Path::Root.key("rules"), &reserved));
        }
        check(&rules, before.len(), problems);
        check_labels(before, &keys.name, &labels, problems);
        let has_processes = rules.iter().any(Rule::is_of_process);
        let cache = Mutex::new(PlanCache::new(rules.len(), has_processes));
        let ProfileKeys { name, help, .. } = keys;
        given.has("profile").then(|| Self { name, help, rules, labels, has_processes, reserved, cache })
    }

    /// The labels of every series of a JVM: those of its identity, and the profile's.
    pub(crate) fn identity(&self, jvm: &Labels) -> Labels {
        let value = |number: usize| IDENTITY.get(number).and_then(|name| jvm.get(name)).unwrap_or_default();
        let own = self.labels.iter().map(|(name, template)| (name.to_string(), template.fill(value)));
        let all = jvm.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).chain(own);
        Labels::new(all.filter(|(_, value)| !value.is_empty()))
    }

    /// Plans the series of one JVM. The limit drops counters before facts.
    pub fn plan(&self, image: &Image, facts: &[Fact], limits: &SeriesLimits, words: &mut WordIndex) -> Plan {
        self.plan_all(image, (facts, &image.entries.list), limits, words).plan
    }

    /// Plans the series of facts alone that one JVM has.
    pub(crate) fn plan_facts(&self, image: &Image, facts: &[Fact], limits: &SeriesLimits) -> Plan {
        self.plan_all(image, (facts, &[]), limits, &mut WordIndex::default()).plan
    }

    /// Plans the series of the facts and counters of one JVM that others of its kind have too.
    pub(crate) fn plan_shared(
        &self,
        image: &Image,
        facts: &[Fact],
        limits: &SeriesLimits,
        words: &mut WordIndex,
    ) -> SharedPlan {
        self.plan_all(image, (facts, &image.entries.list), limits, words)
    }

    fn plan_all(
        &self,
        image: &Image,
        inputs: (&[Fact], &[Entry]),
        limits: &SeriesLimits,
        words: &mut WordIndex,
    ) -> SharedPlan {
        lock(&self.cache).plan((&self.rules, &self.reserved), (image, inputs), limits, words, &mut |_, _, _| {})
    }

    /// What becomes of every fact and every counter, without a limit on their number.
    pub(crate) fn explain(&self, image: &Image, facts: &[Fact]) -> Vec<Explanation> {
        let names: HashMap<u32, &str> = image.entries.list.iter().map(|entry| (entry.offset, &*entry.name)).collect();
        let mut explanations = Vec::new();
        let limits = SeriesLimits { max_series_per_jvm: usize::MAX, ..SeriesLimits::default() };
        let mut record =
            |input: RuleInput<'_>, rule: Option<u32>, outcome: Result<(&Family, &PlannedSeries), SkipReason>| {
                let input = match input {
                    RuleInput::Counter(entry) => ExplainedInput::Counter(entry.name.clone()),
                    RuleInput::Fact(fact) => {
                        let words = fact.formula.words().into_iter();
                        let mut counters: Vec<Box<str>> =
                            words.filter_map(|word| names.get(&word)).map(|name| (*name).into()).collect();
                        counters.dedup();
                        let providers = fact.formula.providers();
                        ExplainedInput::Fact { name: fact.name, labels: fact.labels.clone(), counters, providers }
                    }
                };
                let outcome = outcome.map(|(family, planned)| ExportedSeries {
                    name: family.name.clone(),
                    prometheus: family.prometheus().into(),
                    unit: family.unit.clone(),
                    kind: family.kind,
                    labels: Arc::clone(&planned.labels),
                });
                let rule = rule.and_then(|rule| self.rules.get(rule as usize)).map(|rule| rule.origin.clone());
                explanations.push(Explanation { input, rule, outcome });
            };
        let inputs = (image, (facts, &*image.entries.list));
        let (rules, jvm, words) = ((&*self.rules, &*self.reserved), inputs, &mut WordIndex::default());
        lock(&self.cache).plan(rules, jvm, &limits, words, &mut record);
        explanations
    }

    /// The rules, including those of the configuration, that have selected nothing since the profile was loaded.
    pub(crate) fn unmatched(&self) -> Vec<RuleLocation> {
        let cache = lock(&self.cache);
        let rules = self.rules.iter().zip(&cache.matched);
        rules.filter(|(_, matched)| !**matched).map(|(rule, _)| rule.origin.clone()).collect()
    }

    /// Number of rules, including those of the configuration.
    #[cfg(test)]
    pub(crate) fn rules(&self) -> usize {
        self.rules.len()
    }

    /// Drops families and labels that no plan uses. Call it after JVMs have ended; the next plans take longer, since
    /// rules are matched again.
    pub fn forget_unused(&self) {
        lock(&self.cache).forget_unused();
    }
}

/// What the labels of a profile may refer to.
const IDENTITY: [&str; 2] = ["app", "slot"];

/// Numbers a reference of a profile's label.
fn identity(reference: &str) -> Result<usize, String> {
    let found = IDENTITY.iter().position(|name| *name == reference);
    found.ok_or_else(|| format!("a profile's label has no `{reference}`; it has ${}", IDENTITY.join(", $")))
}

fn name(text: &str) -> Result<Box<str>, Invalid> {
    if text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')) {
        return Ok(text.into());
    }
    Err(Invalid::new("a profile's name has lower-case letters, digits, `_` and `-`", "it is part of a URL"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use insta::assert_snapshot;

    use super::*;
    use crate::yaml::document;

    /// The problems of a profile, and of rules of a configuration before it.
    fn problems(profile: &str, before: &str) -> String {
        let mut problems = Problems::default();
        let mut decoder = Decoder { file: "config.yaml".into(), problems: &mut problems };
        let rules = decode_rules(&mut decoder, &document::parse(before).unwrap(), &Path::Root, &[]);
        Profile::decode("p.yaml", profile, &rules, &["pod".to_owned()], &mut problems);
        problems.sorted().to_string()
    }

    #[test]
    fn labels_of_a_profile_are_its_own() {
        assert_snapshot!(problems("{profile: p, labels: {app: x, pod: x, a: $pod}}", "[]"), @r"
        p.yaml:1:23: labels.app: the label `app` has a meaning already; choose another name
        p.yaml:1:31: labels.pod: the label `pod` has a meaning already; choose another name
        p.yaml:1:42: labels.a: a profile's label has no `pod`; it has $app, $slot
        ");
        let profile = "\
profile: p
labels: {application: $app}
rules: [{source: thread.peak, metric: m, labels: {application: x}}]
";
        let before = "[{source: thread.live, metric: n, labels: {application: x}}]";
        assert_snapshot!(problems(profile, before), @r"
        p.yaml:3:51: rules[0].labels.application: the label `application` has a meaning already; choose another name
        config.yaml:1:2: rules[0]: the profile p gives the label `application` to every series; choose another name
        ");
    }

    #[test]
    fn a_process_is_told_of_by_facts_only() {
        for (rule, expected) in [
            ("{source: proc.descriptors, metric: process_open_fds}", true),
            ("{source: proc.cpu_time, metric: process.cpu}", true),
            ("{source: proc.cpu_time, metric: process.cpu.time}", false),
        ] {
            let profile = Profile::parse("p.yaml", &format!("{{profile: p, rules: [{rule}]}}"), &[]).unwrap();
            assert_eq!(profile.has_processes, expected, "{rule}");
        }
        let rule = "{profile: p, rules: [{counter: a.b, metric: process_open_fds}]}";
        assert_snapshot!(problems(rule, "[]"), @"p.yaml:1:45: rules[0].metric: `process_open_fds` tells of a process: only a fact can be exported as it");
    }
}
