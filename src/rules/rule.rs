//! One rule: YAML to a compiled selector and action, checked on the way.

use std::fmt;
use std::sync::Arc;

use super::explanation::RuleLocation;
use super::name::{check_label, check_metric};
use super::pattern::{Pattern, Template};
use super::secret::is_secret;
use crate::fact::FactInfo;
use crate::fact::catalogue;
use crate::metric::{Kind, label_name};
use crate::yaml::decode::{Decoder, Path, suggest};
use crate::yaml::document::{Node, Position};

/// Every key of a rule.
pub(crate) const RULE_KEYS: [&str; 10] =
    ["counter", "source", "metric", "type", "unit", "scale", "help", "labels", "action", "prefix"];
/// Keys that describe a metric, and so contradict an action.
const METRIC_KEYS: [&str; 6] = ["metric", "type", "unit", "scale", "help", "labels"];
/// Most rules of one file.
const RULE_MAXIMUM: usize = 1000;
/// Most labels of one rule.
const LABEL_MAXIMUM: usize = 32;
/// Longest text of a pattern, template or help, in bytes.
const TEXT_MAXIMUM: usize = 1024;
/// What derived metrics start with unless the rule says otherwise.
const DERIVE_PREFIX: &str = "hsperf";
/// The label that holds the text of a string counter.
pub(crate) const VALUE_LABEL: &str = "value";

/// A compiled rule.
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
}

impl Rule {
    /// The help of the rule's metric.
    pub(crate) fn help(&self, export: &Export) -> Box<str> {
        match (&export.help, &self.selector) {
            (Some(help), _) => help.clone(),
            (None, Selector::Counter(_, pattern)) => format!("PerfData counter {pattern}.").into(),
            (None, Selector::Source(source)) => source.help.into(),
        }
    }
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
        let origin = RuleLocation {
            file: Arc::clone(&decoder.file),
            line: item.position.line,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            selector: Box::default(),
        };
        let mut rule = decode_rule(decoder, item, &path.item(index), reserved, origin)?;
        rule.origin.selector = rule.selector.to_string().into();
        Some(rule)
    });
    rules.collect()
}

fn decode_rule(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    reserved: &[String],
    origin: RuleLocation,
) -> Option<Rule> {
    let fields =
        Fields(decoder.fields(node, path, &RULE_KEYS).into_iter().map(|(key, node)| (&*key.text, node)).collect());
    let action = fields.get("action").map(|node| {
        decoder.choice(node, &path.key("action"), &[("drop", ActionWord::Drop), ("derive", ActionWord::Derive)])
    });
    let selector = decode_selector(decoder, node, path, &fields);
    match action {
        None => {
            if let Some(prefix) = fields.get("prefix") {
                decoder.report(prefix.position, &path.key("prefix"), "only `action: derive` takes a prefix", "");
            }
        }
        Some(_) => {
            for (key, node) in fields.0.iter().filter(|(key, _)| METRIC_KEYS.contains(key)) {
                let message = "a rule with an action describes no metric";
                decoder.report(node.position, &path.key(key), message, "remove this key, or `action`");
            }
        }
    }
    let action = match (action, selector.as_ref()) {
        (None, _) => {
            Action::Export(Box::new(decode_export(decoder, node, path, &fields, selector.as_ref(), reserved)?))
        }
        (Some(word), _) => decode_action(decoder, word?, path, &fields, selector.as_ref())?,
    };
    let selector = selector?;
    if let (Selector::Counter(Pattern::Literal(name), _), false) = (&selector, matches!(action, Action::Drop))
        && is_secret(name)
    {
        let position = fields.get("counter").map_or(node.position, |node| node.position);
        decoder.report(position, &path.key("counter"), "this counter may hold secrets and is never exported", "");
        return None;
    }
    Some(Rule { origin, position: node.position, selector, action })
}

/// The fields of one rule.
struct Fields<'n>(Vec<(&'n str, &'n Node)>);

impl<'n> Fields<'n> {
    fn get(&self, name: &str) -> Option<&'n Node> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, node)| *node)
    }
}

#[derive(Clone, Copy)]
enum ActionWord {
    Drop,
    Derive,
}

fn decode_action(
    decoder: &mut Decoder<'_>,
    word: ActionWord,
    path: &Path<'_>,
    fields: &Fields<'_>,
    selector: Option<&Selector>,
) -> Option<Action> {
    let prefix = fields.get("prefix");
    match word {
        ActionWord::Drop => {
            if let Some(node) = prefix {
                decoder.report(node.position, &path.key("prefix"), "only `action: derive` takes a prefix", "");
            }
            Some(Action::Drop)
        }
        ActionWord::Derive => {
            if let (Some(Selector::Source(_)), Some(node)) = (selector, fields.get("action")) {
                let message = "only counters have a name to derive a metric from";
                decoder.report(node.position, &path.key("action"), message, "describe the metric with `metric`");
                return None;
            }
            let Some(node) = prefix else { return Some(Action::Derive { prefix: DERIVE_PREFIX.into() }) };
            let path = path.key("prefix");
            let prefix = decoder.text(node, &path, TEXT_MAXIMUM)?;
            let checked = Template::compile(prefix, |_| Err("a prefix takes no captures".to_owned()))
                .and_then(|template| check_metric(&template));
            if let Err(message) = checked {
                decoder.report(node.position, &path, message, "");
                return None;
            }
            Some(Action::Derive { prefix: prefix.into() })
        }
    }
}

fn decode_selector(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>, fields: &Fields<'_>) -> Option<Selector> {
    match (fields.get("counter"), fields.get("source")) {
        (Some(counter), None) => {
            let path = path.key("counter");
            let text = decoder.text(counter, &path, TEXT_MAXIMUM)?;
            match Pattern::compile(text) {
                Ok(pattern) => Some(Selector::Counter(pattern, text.into())),
                Err(message) => {
                    decoder.report(counter.position, &path, message, "");
                    None
                }
            }
        }
        (None, Some(source)) => {
            let path = path.key("source");
            let text = decoder.text(source, &path, TEXT_MAXIMUM)?;
            let info = catalogue::find(text);
            if info.is_none() {
                let hint = suggest(text, catalogue::all().map(|info| info.name));
                decoder.report(source.position, &path, format!("no source is called `{text}`"), &hint);
            }
            info.map(Selector::Source)
        }
        (Some(_), Some(source)) => {
            let message = "a rule takes counters or facts, not both";
            decoder.report(source.position, &path.key("source"), message, "make two rules of it");
            None
        }
        (None, None) => {
            if !matches!(node.data, crate::yaml::document::NodeData::Mapping(_)) && !node.is_null() {
                return None;
            }
            let hint = "add `counter: NAME` or `source: NAME`";
            decoder.report(node.position, path, "the rule does not say what it takes", hint);
            None
        }
    }
}

/// Decodes the metric that a rule describes; every part is checked even where another is wrong.
fn decode_export(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    fields: &Fields<'_>,
    selector: Option<&Selector>,
    reserved: &[String],
) -> Option<Export> {
    let mut text = |key| fields.get(key).map(|node| decoder.text(node, &path.key(key), TEXT_MAXIMUM));
    let (unit, help) = (text("unit"), text("help"));
    let kind = fields.get("type").map(|node| decode_kind(decoder, node, &path.key("type"), selector));
    let factor = fields.get("scale").map(|node| decoder.factor(node, &path.key("scale")));
    let labels = fields
        .get("labels")
        .map_or(Some(Box::default()), |node| decode_labels(decoder, node, &path.key("labels"), selector, reserved));
    if let (Some(Some(unit)), Some(node)) = (unit, fields.get("unit"))
        && (unit.len() > 63 || !unit.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let hint = "write it in UCUM, such as By, s, 1 or {class}";
        decoder.report(node.position, &path.key("unit"), "a unit has 1 to 63 visible ASCII characters", hint);
    }
    let metric = match fields.get("metric") {
        Some(node) => decode_metric(decoder, node, &path.key("metric"), selector),
        None if selector.is_some() => {
            let hint = "add `metric: NAME`, or `action: drop`";
            decoder.report(node.position, path, "the rule does not say which metric it makes", hint);
            None
        }
        None => None,
    };
    let (kind, factor) = (kind.map_or(Some(None), |kind| kind.map(Some))?, factor.map_or(Some(1.0), |factor| factor)?);
    let labels = labels?;
    if kind == Some(Kind::Info) && labels.iter().any(|(name, _)| **name == *VALUE_LABEL) {
        let position = fields.get("labels").map_or(node.position, |node| node.position);
        let message = "the text itself becomes the label `value`";
        decoder.report(position, &path.key("labels"), message, "choose another name");
    }
    let text = |text: Option<Option<&str>>| text.map_or(Some(None), |text| text.map(|text| Some(text.into())));
    Some(Export { metric: metric?, kind, unit: text(unit)?, factor, help: text(help)?, labels })
}

/// The types that a rule may give, by selector: distributions come from facts only.
fn decode_kind(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>, selector: Option<&Selector>) -> Option<Kind> {
    const KINDS: [Kind; 6] =
        [Kind::Gauge, Kind::Counter, Kind::UpDownCounter, Kind::Info, Kind::Histogram, Kind::Summary];
    let choices = KINDS.map(|kind| (kind.as_str(), kind));
    let allowed = if matches!(selector, Some(Selector::Counter(..))) { 4 } else { choices.len() };
    decoder.choice(node, path, choices.get(..allowed).unwrap_or(&choices))
}

fn decode_metric(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    selector: Option<&Selector>,
) -> Option<Template> {
    let text = decoder.text(node, path, TEXT_MAXIMUM)?;
    let template = Template::compile(text, |reference| resolve(selector, reference))
        .and_then(|template| check_metric(&template).map(|()| template));
    template.map_err(|message| decoder.report(node.position, path, message, "")).ok()
}

fn decode_labels(
    decoder: &mut Decoder<'_>,
    node: &Node,
    path: &Path<'_>,
    selector: Option<&Selector>,
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
        let Some(text) = decoder.text(value, &path, TEXT_MAXIMUM) else {
            sound = false;
            continue;
        };
        match Template::compile(text, |reference| resolve(selector, reference)) {
            Ok(template) => labels.push((key.text.as_ref().into(), template)),
            Err(message) => {
                decoder.report(value.position, &path, message, "");
                sound = false;
            }
        }
    }
    sound.then(|| labels.into())
}

/// Numbers a reference: a capture of the pattern, or the position of the label among the source's.
fn resolve(selector: Option<&Selector>, reference: &str) -> Result<usize, String> {
    let known = match selector {
        // The selector's own problem is reported; references to it cannot be judged.
        None => return Ok(0),
        Some(Selector::Counter(pattern, _)) => match pattern.capture(reference) {
            Some(number) => return Ok(number),
            None => pattern.references(),
        },
        Some(Selector::Source(source)) => match source.labels.iter().position(|label| *label == reference) {
            Some(number) => return Ok(number),
            None => source.labels.iter().map(|label| (*label).to_owned()).collect(),
        },
    };
    let thing = match selector {
        Some(Selector::Source(source)) => format!("the source {} has no label `{reference}`", source.name),
        _ => format!("the pattern does not capture `${reference}`"),
    };
    let known: Vec<String> = known.iter().map(|name| format!("${name}")).collect();
    Err(if known.is_empty() {
        format!("{thing}, nor any other")
    } else {
        format!("{thing}; it has {}", known.join(", "))
    })
}
