//! The sections of the configuration file: which keys there are and what they take.

use std::path::PathBuf;
use std::time::Duration;

use super::{Discovery, Enabled, Identity, Limits, Nmt, NmtMode, Processes, Procfs, RootPattern, Sampling};
use crate::perfdata::FileMode;
use crate::rules::name::check_label;
use crate::rules::rule::VALUE_LABEL;
use crate::yaml::decode::{Decoder, DurationBounds, Path};
use crate::yaml::document::Node;

/// Every key of every section; the sections that hold lists of others end in `[]`.
pub(crate) const SCHEMA: [(&str, &[&str]); 9] = [
    ("", &["discovery", "identity", "sampling", "nmt", "profiles", "rules", "otlp", "limits"]),
    ("discovery", &["interval", "roots", "procfs", "access", "processes"]),
    ("discovery.roots[]", &["path"]),
    ("discovery.procfs", &["enabled", "path"]),
    ("identity", &["properties"]),
    ("sampling", &["interval", "idle_interval", "buckets", "causes"]),
    ("nmt", &["mode", "interval", "timeout"]),
    (
        "otlp",
        &[
            "enabled",
            "endpoint",
            "protocol",
            "interval",
            "timeout",
            "compression",
            "headers",
            "certificate",
            "client_certificate",
            "client_key",
            "temporality",
            "histograms",
            "resource_attributes",
        ],
    ),
    ("limits", &["max_jvms", "max_series_per_jvm", "max_label_value_length"]),
];

/// The words of `nmt.mode`.
const NMT_MODES: [(&str, NmtMode); 3] =
    [("off", NmtMode::Off), ("passive", NmtMode::Passive), ("active", NmtMode::Active)];
/// Longest path, address or property name, in bytes: `PATH_MAX`.
pub(super) const TEXT_MAXIMUM: usize = 4096;
/// Most bounds of a histogram's buckets.
const BUCKETS_MAXIMUM: usize = 64;
/// Most roots and properties.
const LIST_MAXIMUM: usize = 100;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// The keys of a section.
pub(crate) fn keys(section: &str) -> &'static [&'static str] {
    SCHEMA.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// The pairs of a section's mapping.
pub(super) fn fields<'n>(
    decoder: &mut Decoder<'_>,
    node: &'n Node,
    path: &Path<'_>,
    section: &str,
) -> Vec<(&'n str, &'n Node)> {
    let fields = decoder.fields(node, path, keys(section));
    fields.into_iter().map(|(key, node)| (&*key.text, node)).collect()
}

/// Puts a decoded value into its place; after a problem the default stays.
pub(super) fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

pub(super) fn between(minimum: Duration, maximum: Duration) -> DurationBounds {
    DurationBounds { zero: false, minimum, maximum }
}

pub(crate) fn discovery(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Discovery {
    let mut discovery = Discovery::default();
    for (key, node) in fields(decoder, node, path, "discovery") {
        let path = &path.key(key);
        match key {
            "interval" => {
                let bounds = between(Duration::from_millis(100), HOUR);
                put(&mut discovery.interval, decoder.duration(node, path, &bounds));
            }
            "roots" => discovery.roots = roots(decoder, node, path),
            "procfs" => discovery.procfs = procfs(decoder, node, path),
            "access" => {
                let choices = [("mapped", FileMode::Mapped), ("pread", FileMode::Pread)];
                put(&mut discovery.access, decoder.choice(node, path, &choices));
            }
            _ => {
                let choices = [("auto", Processes::Auto), ("off", Processes::Off)];
                put(&mut discovery.processes, decoder.choice(node, path, &choices));
            }
        }
    }
    discovery
}

fn roots(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Vec<RootPattern> {
    let items = decoder.items(node, path);
    if items.len() > LIST_MAXIMUM {
        decoder.report(node.position, path, format!("{} roots are too many, at most {LIST_MAXIMUM}", items.len()), "");
        return Vec::new();
    }
    let mut roots: Vec<RootPattern> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = &path.item(index);
        let fields = fields(decoder, item, path, "discovery.roots[]");
        let Some((_, node)) = fields.first() else {
            decoder.report(item.position, path, "the root has no path", "write `{path: /tmp}`");
            continue;
        };
        let path = &path.key("path");
        let Some(text) = decoder.text(node, path, TEXT_MAXIMUM) else { continue };
        let root = match root(text) {
            Ok(root) => root,
            Err(message) => {
                decoder.report(node.position, path, message, "");
                continue;
            }
        };
        if roots.contains(&root) {
            decoder.report(node.position, path, "this root is there twice", "");
        } else {
            roots.push(root);
        }
    }
    roots
}

/// Checks a root's pattern: absolute, no `..`, and each `{name}` a label that can be.
pub(crate) fn root(text: &str) -> Result<RootPattern, String> {
    if !text.starts_with('/') {
        return Err(format!("a root is an absolute path, found `{text}`"));
    }
    if text.split('/').any(|component| component == "..") {
        return Err("a root has no `..`".to_owned());
    }
    if text.contains('\0') {
        return Err("a path has no NUL".to_owned());
    }
    let root = RootPattern { pattern: text.to_owned() };
    let labels = root.labels()?;
    for (index, label) in labels.iter().enumerate() {
        if label.contains('.') {
            return Err(format!("the label {{{label}}} has letters, digits and `_` only"));
        }
        check_label(label, &[]).map_err(|message| format!("{{{label}}}: {message}"))?;
        if label == VALUE_LABEL {
            return Err(format!("the label {{{label}}} has a meaning already: it holds the texts of counters"));
        }
        if labels.iter().take(index).any(|other| other == label) {
            return Err(format!("the label {{{label}}} is there twice"));
        }
    }
    Ok(root)
}

impl RootPattern {
    /// The names between braces, which become labels of every series of the JVMs found there.
    ///
    /// # Errors
    /// The braces do not match.
    pub(crate) fn labels(&self) -> Result<Vec<String>, String> {
        let mut labels = Vec::new();
        let mut rest = &*self.pattern;
        while let Some(at) = rest.find(['{', '}']) {
            let (brace, tail) = rest.get(at..).unwrap_or_default().split_at(1);
            let label = tail.split_once('}').filter(|_| brace == "{");
            let Some((label, tail)) = label.filter(|(label, _)| !label.contains(['{', '/'])) else {
                return Err(format!("a brace without its partner in `{}`", self.pattern));
            };
            labels.push(label.to_owned());
            rest = tail;
        }
        Ok(labels)
    }
}

fn procfs(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Procfs {
    let mut procfs = Procfs::default();
    for (key, node) in fields(decoder, node, path, "discovery.procfs") {
        let path = &path.key(key);
        match key {
            "enabled" => {
                let choices = [
                    ("auto", Enabled::Auto),
                    ("true", Enabled::Yes),
                    ("false", Enabled::No),
                    ("on", Enabled::Yes),
                    ("off", Enabled::No),
                ];
                put(&mut procfs.enabled, decoder.choice(node, path, &choices));
            }
            _ => match decoder.text(node, path, TEXT_MAXIMUM).map(proc_path) {
                Some(Ok(found)) => procfs.path = found,
                Some(Err(message)) => decoder.report(node.position, path, message, ""),
                None => {}
            },
        }
    }
    procfs
}

/// Checks the mount point of a proc file system.
pub(crate) fn proc_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("expected an absolute path, found `{text}`")) }
}

pub(crate) fn identity(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Identity {
    let mut identity = Identity::default();
    for (key, node) in fields(decoder, node, path, "identity") {
        let path = path.key(key);
        let items = decoder.items(node, &path);
        if items.len() > LIST_MAXIMUM {
            let message = format!("{} properties are too many, at most {LIST_MAXIMUM}", items.len());
            decoder.report(node.position, &path, message, "");
            continue;
        }
        let mut properties = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = path.item(index);
            let Some(text) = decoder.text(item, &path, TEXT_MAXIMUM) else { continue };
            if text.starts_with('-') || text.contains(|c: char| c == '=' || c.is_whitespace()) {
                let hint = "write it without -D and without its value";
                decoder.report(item.position, &path, "expected the name of a property", hint);
            } else {
                properties.push(text.to_owned());
            }
        }
        identity.properties = properties;
    }
    identity
}

pub(crate) fn sampling(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Sampling {
    let mut sampling = Sampling::default();
    let bounds = DurationBounds { zero: true, minimum: Duration::from_millis(1), maximum: Duration::from_secs(10) };
    for (key, node) in fields(decoder, node, path, "sampling") {
        let path = &path.key(key);
        match key {
            "interval" => put(&mut sampling.interval, decoder.duration(node, path, &bounds)),
            "idle_interval" => put(&mut sampling.idle_interval, decoder.duration(node, path, &bounds)),
            "buckets" => put(&mut sampling.buckets, buckets(decoder, node, path)),
            _ => put(&mut sampling.causes, decoder.switch(node, path)),
        }
    }
    sampling
}

/// Upper bounds of buckets in seconds: positive and ascending.
fn buckets(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Vec<f64>> {
    let items = decoder.items(node, path);
    let bounds: Vec<f64> =
        items.iter().enumerate().filter_map(|(index, item)| decoder.factor(item, &path.item(index))).collect();
    let ascending = bounds.iter().zip(bounds.iter().skip(1)).all(|(low, high)| low < high);
    if bounds.len() < items.len() {
        return None;
    }
    if bounds.is_empty() || bounds.len() > BUCKETS_MAXIMUM || !ascending || bounds.iter().any(|bound| *bound <= 0.0) {
        let message = format!("buckets are 1 to {BUCKETS_MAXIMUM} bounds in seconds, positive and ascending");
        decoder.report(node.position, path, message, "the default is [0.01, 0.1, 1, 10]");
        return None;
    }
    Some(bounds)
}

pub(crate) fn nmt(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Nmt {
    let mut nmt = Nmt::default();
    let mut timeout = None;
    for (key, field) in fields(decoder, node, path, "nmt") {
        let path = &path.key(key);
        match key {
            "mode" => put(&mut nmt.mode, decoder.choice(field, path, &NMT_MODES)),
            "interval" => put(&mut nmt.interval, decoder.duration(field, path, &between(SECOND, 24 * HOUR))),
            _ => {
                let bounds = between(Duration::from_millis(10), HOUR);
                timeout = decoder.duration(field, path, &bounds);
            }
        }
    }
    nmt.timeout = timeout.unwrap_or(nmt.timeout.min(nmt.interval));
    if nmt.timeout > nmt.interval {
        let hint = "set both `interval` and `timeout`";
        decoder.report(node.position, path, "the timeout is longer than the interval", hint);
    }
    nmt
}

pub(crate) fn limits(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Limits {
    let mut limits = Limits::default();
    for (key, node) in fields(decoder, node, path, "limits") {
        let path = &path.key(key);
        match key {
            "max_jvms" => put(&mut limits.max_jvms, decoder.integer(node, path, 1, 100_000)),
            "max_series_per_jvm" => put(&mut limits.series.max_series_per_jvm, decoder.integer(node, path, 1, 100_000)),
            _ => put(&mut limits.series.max_label_value_length, decoder.integer(node, path, 16, 4096)),
        }
    }
    limits
}
