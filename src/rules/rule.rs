//! One rule: YAML to a compiled selector and action, checked on the way.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value as Json, json};

use super::name::{check_label, check_metric, is_of_process};
use super::pattern::{Pattern, Template};
use super::{explanation::RuleLocation, secret::is_secret};
use crate::fact::{FactInfo, catalogue};
use crate::metric::{Family, Kind, label_name};
use crate::yaml::codec::{Choice, Codec, Deferred, Factor, Invalid, Text};
use crate::yaml::decode::{Decoder, Path, suggest};
use crate::yaml::document::{Node, NodeData, NodeKey, Position};
use crate::yaml::section::{Given, Section, merge, section};

/// Keys that describe a metric, and so contradict an action.
const METRIC_KEYS: [&str; 7] = ["metric", "type", "unit", "scale", "help", "labels", "values"];
/// Most rules of one file.
const RULE_MAXIMUM: usize = 1000;
/// Most labels of one rule or profile.
const LABEL_MAXIMUM: usize = 32;
/// Most values of labels that a rule replaces.
const REPLACED_MAXIMUM: usize = 64;
/// Longest text of a pattern, template or help, in bytes.
const TEXT_MAXIMUM: usize = 1024;
/// The label that holds the text of a string counter.
pub(crate) const VALUE_LABEL: &str = "value";

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) origin: RuleLocation,
    pub(crate) position: Position,
    pub(crate) selector: Selector,
    pub(crate) action: Action,
}

/// What a rule takes.
#[derive(Clone, Debug)]
pub(crate) enum Selector {
    /// Counters whose name matches; with the pattern as written.
    Counter(Pattern, Box<str>),
    /// Facts of that source.
    Source(&'static FactInfo),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(_, pattern) => write!(f, "counter {pattern}"),
            Self::Source(source) => write!(f, "source {}", source.name),
        }
    }
}

/// What a rule does with what it takes.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Nothing.
    Drop,
    /// A metric made from the counter's own name and labels.
    Derive { prefix: Box<str> },
    /// The metric that the rule describes.
    Export(Box<Export>),
}

/// Label names and values.
pub(crate) type LabelTemplates = Box<[(Box<str>, Template)]>;

/// Texts, and what stands in their place.
pub(crate) type ReplacedTexts = Box<[(Box<str>, Box<str>)]>;

/// The metric that a rule describes.
#[derive(Clone, Debug)]
pub(crate) struct Export {
    pub(crate) metric: Template,
    pub(crate) kind: Option<Kind>,
    pub(crate) unit: Option<Box<str>>,
    pub(crate) factor: f64,
    /// As written; the default is the selector's.
    pub(crate) help: Option<Box<str>>,
    pub(crate) labels: LabelTemplates,
    /// Texts that labels refer to, and what they show instead.
    pub(crate) values: ReplacedTexts,
}

impl Export {
    /// What labels show in the place of `text`.
    pub(crate) fn shown<'a>(&'a self, text: &'a str) -> &'a str {
        self.values.iter().find(|(from, _)| **from == *text).map_or(text, |(_, to)| to)
    }
}

impl Rule {
    /// Whether the rule exports a fact under a name under which the exporter exports its own process.
    pub(crate) fn is_of_process(&self) -> bool {
        let (Selector::Source(source), Action::Export(export)) = (&self.selector, &self.action) else { return false };
        let family = Family {
            name: export.metric.literal().unwrap_or_default().into(),
            unit: export.unit.clone().unwrap_or_else(|| source.unit.into()),
            kind: export.kind.unwrap_or(source.kind),
            help: Box::default(),
        };
        is_of_process(&family.prometheus())
    }

    /// The help of the rule's metric.
    pub(crate) fn help(&self, export: &Export) -> Box<str> {
        match (&export.help, &self.selector) {
            (Some(help), _) => help.clone(),
            (None, Selector::Counter(_, pattern)) => format!("PerfData counter {pattern}.").into(),
            (None, Selector::Source(source)) => source.help.into(),
        }
    }
}

section! {
    /// The keys of a rule, before they are checked against each other.
    #[derive(Debug)]
    struct RuleKeys {
        /// Takes counters by name. In a glob, `*` matches any text without a dot ($1, $2 and so on), as the last character
        /// all the rest; `?` matches one character, {a,b} one of several texts. `re:` starts a regular expression.
        counter: Option<Selector> = None => Text::of(TEXT_MAXIMUM, |text| {
            Ok(Some(Selector::Counter(Pattern::compile(text)?, text.into())))
        }),
        /// Takes the facts of a source, which the exporter derives from counters. `explain` lists all facts.
        source: Option<Selector> = None => Source,
        /// The metric's name. $1 is a capture of the counter's name, $name a label of the fact.
        metric: Option<Node> = None => Deferred::of(template_schema),
        /// The metric's type; by default that of the counter or fact. info is for constant strings, histogram and summary
        /// are for facts that are distributions.
        kind as "type": Option<Node> = None => Deferred::of(|| Choice::of(&KINDS).schema()),
        /// The metric's unit in UCUM, such as By, s, 1 or {class}; by default that of the counter or fact.
        unit: Option<Box<str>> = None => Text { pattern: "^[!-~]{1,63}$", ..Text::of(TEXT_MAXIMUM, unit) },
        /// A factor of the value.
        scale: f64 = 1.0 => Factor,
        /// A sentence about the metric.
        help: Option<Box<str>> = None => Text::of(TEXT_MAXIMUM, |text| Ok(Some(text.into()))),
        /// The metric's labels: name and value, which may hold $1 or $name.
        labels: Option<Node> = None => Deferred::of(labels_schema),
        /// Texts to which $1 or $name may refer, and what the labels show instead, such as {timed_waiting: TIMED_WAITING}.
        values: Option<Node> = None => Deferred::of(values_schema),
        /// What to do instead of exporting a described metric. drop: nothing. derive: export the counter under its own
        /// name, for each number in it a label.
        action: Option<ActionWord> = None => Choice::of(&[
            ("drop", Some(ActionWord::Drop)),
            ("derive", Some(ActionWord::Derive)),
        ]),
        /// What derived names start with.
        prefix: Box<str> = "hsperf".into() => Text {
            maximum: TEXT_MAXIMUM,
            pattern: "^[A-Za-z]",
            parse: prefix,
            print: |prefix| Some(prefix.to_string()),
        },
    }
}

/// The types that a rule may give. The first four suit counters; distributions come from facts only.
const KINDS: [(&str, Kind); 6] = [
    (Kind::Gauge.as_str(), Kind::Gauge),
    (Kind::Counter.as_str(), Kind::Counter),
    (Kind::UpDownCounter.as_str(), Kind::UpDownCounter),
    (Kind::Info.as_str(), Kind::Info),
    (Kind::Histogram.as_str(), Kind::Histogram),
    (Kind::Summary.as_str(), Kind::Summary),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum ActionWord {
    Drop,
    Derive,
}

/// The name of a source.
struct Source;

impl Codec for Source {
    type Value = Option<Selector>;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Self::Value> {
        let text = decoder.text(node, path, TEXT_MAXIMUM)?;
        let info = catalogue::find(text);
        if info.is_none() {
            let hint = suggest(text, catalogue::all().map(|info| info.name));
            decoder.report(node.position, path, format!("no source is called `{text}`"), &hint);
        }
        Some(Some(Selector::Source(info?)))
    }

    fn encode(&self, _: &Self::Value) -> Json {
        Json::Null
    }

    fn schema(&self) -> Json {
        json!({"enum": catalogue::all().map(|info| info.name).collect::<Vec<_>>()})
    }
}

fn unit(text: &str) -> Result<Option<Box<str>>, Invalid> {
    if text.len() > 63 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = "write it in UCUM, such as By, s, 1 or {class}";
        return Err(Invalid::new("a unit has 1 to 63 visible ASCII characters", hint));
    }
    Ok(Some(text.into()))
}

fn prefix(text: &str) -> Result<Box<str>, Invalid> {
    let template = Template::compile(text, |_| Err("a prefix takes no captures".to_owned()))?;
    check_metric(&template, false)?;
    Ok(text.into())
}

fn template_schema() -> Json {
    json!({"type": "string", "minLength": 1, "maxLength": TEXT_MAXIMUM})
}

pub(crate) fn labels_schema() -> Json {
    let value = json!({"type": ["string", "number", "boolean"], "maxLength": TEXT_MAXIMUM});
    json!({
        "type": ["object", "null"],
        "maxProperties": LABEL_MAXIMUM,
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_.]*$"},
        "additionalProperties": value,
    })
}

fn values_schema() -> Json {
    let value = json!({"type": ["string", "number", "boolean"], "maxLength": TEXT_MAXIMUM});
    json!({"type": ["object", "null"], "maxProperties": REPLACED_MAXIMUM, "additionalProperties": value})
}

/// The JSON Schema of a list of rules.
pub(crate) fn rules_schema() -> Json {
    let absent: Map<String, Json> = METRIC_KEYS.iter().map(|key| ((*key).to_owned(), false.into())).collect();
    let together = json!({
        "type": "object",
        "oneOf": [{"required": ["counter"]}, {"required": ["source"]}],
        "if": {"required": ["action"]},
        "then": {"properties": absent},
        "else": {"required": ["metric"], "properties": {"prefix": false}},
    });
    let rule = merge(RuleKeys::schema(), together);
    json!({"type": ["array", "null"], "maxItems": RULE_MAXIMUM, "items": rule})
}

/// Decodes a list of rules. `reserved` are label names that every series has already.
pub(crate) fn decode_rules(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>, reserved: &[String]) -> Vec<Rule> {
    let items = decoder.items(node, path);
    if items.len() > RULE_MAXIMUM {
        let message = format!("{} rules are too many, at most {RULE_MAXIMUM}", items.len());
        decoder.report(node.position, path, message, "");
        return Vec::new();
    }
    let rules = items.iter().enumerate().filter_map(|(index, item)| {
        let (selector, action) = decode_rule(decoder, item, &path.item(index), reserved)?;
        let origin = RuleLocation {
            file: Arc::clone(&decoder.file),
            line: item.position.line,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            selector: selector.to_string().into(),
        };
        Some(Rule { origin, position: item.position, selector, action })
    });
    rules.collect()
}

fn decode_rule(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    reserved: &[String],
) -> Option<(Selector, Action)> {
    let (mut keys, given) = RuleKeys::decode(decoder, node, path);
    let selector = selector(&mut keys, &given, decoder, node, path);
    if given.get("action").is_some() {
        for (key, node) in given.iter().filter(|(key, _)| METRIC_KEYS.contains(key)) {
            let message = "a rule with an action describes no metric";
            decoder.report(node.position, &path.key(key), message, "remove this key, or `action`");
        }
    }
    if let (Some(prefix), false) = (given.get("prefix"), keys.action == Some(ActionWord::Derive)) {
        decoder.report(prefix.position, &path.key("prefix"), "only `action: derive` takes a prefix", "");
    }
    let action = match (given.get("action"), keys.action) {
        (None, _) => {
            let metric = decode_export(decoder, node, path, &keys, selector.as_ref(), reserved);
            Action::Export(Box::new(metric.filter(|_| given.is_sound())?))
        }
        (Some(_), None) => return None,
        (Some(_), Some(ActionWord::Drop)) => Action::Drop,
        (Some(action), Some(ActionWord::Derive)) => {
            if let Some(Selector::Source(_)) = selector {
                let message = "only counters have a name to derive a metric from";
                decoder.report(action.position, &path.key("action"), message, "describe the metric with `metric`");
                return None;
            }
            Action::Derive { prefix: keys.prefix }
        }
    };
    let selector = selector?;
    if let (Selector::Counter(Pattern::Literal(name), _), false) = (&selector, matches!(action, Action::Drop))
        && is_secret(name)
    {
        let position = given.get("counter").map_or(node.position, |node| node.position);
        decoder.report(position, &path.key("counter"), "this counter may hold secrets and is never exported", "");
        return None;
    }
    Some((selector, action))
}

/// What the rule takes: counters or facts. `None` after a problem.
fn selector(
    keys: &mut RuleKeys,
    given: &Given<'_>,
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
) -> Option<Selector> {
    match (given.get("counter"), given.get("source")) {
        (Some(_), Some(source)) => {
            let message = "a rule takes counters or facts, not both";
            decoder.report(source.position, &path.key("source"), message, "make two rules of it");
            None
        }
        (None, None) if matches!(node.data, NodeData::Mapping(_)) || node.is_null() => {
            let hint = "add `counter: NAME` or `source: NAME`";
            decoder.report(node.position, path, "the rule does not say what it takes", hint);
            None
        }
        _ => keys.counter.take().or(keys.source.take()),
    }
}

/// Decodes the metric that a rule describes; every part is checked even where another is wrong.
fn decode_export(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    keys: &RuleKeys,
    selector: Option<&Selector>,
    reserved: &[String],
) -> Option<Export> {
    let suitable = if matches!(selector, Some(Selector::Counter(..))) { 4 } else { KINDS.len() };
    let kinds = KINDS.get(..suitable).unwrap_or(&KINDS);
    let kind = keys.kind.as_ref().map(|node| decoder.choice(node, &path.key("type"), kinds, ""));
    let resolve = |reference: &str| resolve(selector, reference);
    let labels = match &keys.labels {
        Some(node) => decode_labels(decoder, node, &path.key("labels"), &resolve, reserved),
        None => Some(Box::default()),
    };
    let values = match &keys.values {
        Some(node) => decode_values(decoder, node, &path.key("values")),
        None => Some(Box::default()),
    };
    let metric = match &keys.metric {
        Some(node) => {
            let check = |metric: &Template| check_metric(metric, matches!(selector, Some(Selector::Source(_))));
            decode_template(decoder, node, &path.key("metric"), &resolve, check)
        }
        None if selector.is_some() => {
            let hint = "add `metric: NAME`, or `action: drop`";
            decoder.report(node.position, path, "the rule does not say which metric it makes", hint);
            None
        }
        None => None,
    };
    let (kind, labels, values) = (kind.map_or(Some(None), |kind| kind.map(Some))?, labels?, values?);
    if kind == Some(Kind::Info) && labels.iter().any(|(name, _)| **name == *VALUE_LABEL) {
        let position = keys.labels.as_ref().map_or(node.position, |node| node.position);
        let message = "the text itself becomes the label `value`";
        decoder.report(position, &path.key("labels"), message, "choose another name");
    }
    let (unit, help) = (keys.unit.clone(), keys.help.clone());
    Some(Export { metric: metric?, kind, unit, factor: keys.scale, help, labels, values })
}

/// A text with references; `resolve` numbers them, and `check` says what else is wrong with it.
fn decode_template(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    resolve: &Resolve<'_>,
    check: impl Fn(&Template) -> Result<(), String>,
) -> Option<Template> {
    let text = decoder.text(node, path, TEXT_MAXIMUM)?;
    let template = Template::compile(text, resolve);
    let checked = template.and_then(|template| check(&template).map(|()| template));
    checked.map_err(|message| decoder.report(node.position, path, message, "")).ok()
}

/// The number of a reference, or what is wrong with it.
pub(crate) type Resolve<'r> = dyn Fn(&str) -> Result<usize, String> + 'r;

/// Decodes names and values of labels; `resolve` numbers the references in values.
pub(crate) fn decode_labels(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    resolve: &Resolve<'_>,
    reserved: &[String],
) -> Option<LabelTemplates> {
    let pairs = decoder.pairs(node, path);
    if pairs.len() > LABEL_MAXIMUM {
        let message = format!("{} labels are too many, at most {LABEL_MAXIMUM}", pairs.len());
        decoder.report(node.position, path, message, "");
        return None;
    }
    let mut labels: Vec<(Box<str>, Template)> = Vec::new();
    let mut sound = true;
    for (key, value) in pairs {
        let path = path.key(&key.text);
        let twice = labels.iter().find(|(name, _)| label_name(name) == label_name(&key.text));
        let name = match twice {
            Some((other, _)) => Err(format!("in Prometheus this is the same label as `{other}`")),
            None => check_label(&key.text, reserved),
        };
        if let Err(message) = name {
            decoder.report(key.position, &path, message, "choose another name");
            sound = false;
        }
        match decode_template(decoder, value, &path, resolve, |_| Ok(())) {
            Some(template) => labels.push((key.text.as_ref().into(), template)),
            None => sound = false,
        }
    }
    sound.then(|| labels.into())
}

fn decode_values(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<ReplacedTexts> {
    let pairs = decoder.pairs(node, path);
    if pairs.len() > REPLACED_MAXIMUM {
        let message = format!("{} values are too many, at most {REPLACED_MAXIMUM}", pairs.len());
        decoder.report(node.position, path, message, "");
        return None;
    }
    let text = |(key, value): (&NodeKey, &Node)| {
        let to = decoder.text(value, &path.key(&key.text), TEXT_MAXIMUM)?;
        Some((key.text.as_ref().into(), to.into()))
    };
    pairs.into_iter().map(text).collect()
}

/// Numbers a reference: a capture of the pattern, or the position of the label among the source's.
fn resolve(selector: Option<&Selector>, reference: &str) -> Result<usize, String> {
    let (number, known, problem) = match selector {
        // The selector's own problem is reported; references to it cannot be judged.
        None => return Ok(0),
        Some(Selector::Counter(pattern, _)) => {
            let problem = format!("the pattern does not capture `${reference}`");
            (pattern.capture(reference), pattern.references(), problem)
        }
        Some(Selector::Source(source)) => {
            let labels: Vec<_> = source.labels.iter().map(|label| (*label).to_owned()).collect();
            let problem = format!("the source {} has no label `{reference}`", source.name);
            (labels.iter().position(|label| label == reference), labels, problem)
        }
    };
    number.ok_or_else(|| match &*known {
        [] => format!("{problem}, nor any other"),
        known => format!("{problem}; it has ${}", known.join(", $")),
    })
}
