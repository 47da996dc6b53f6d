//! Root patterns: which directories are some JVM's `/tmp`.
//!
//! A pattern is an absolute path whose components may hold `*` (any characters), `?` (one byte) and `{name}` (one or
//! more characters, which become the label `name`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use regex::bytes::Regex;

use crate::rules::name::check_label;
use crate::rules::pattern::{Wildcard, translate};
use crate::rules::rule::VALUE_LABEL;

/// A compiled pattern. Patterns are equal if they are written the same.
#[derive(Clone, Debug)]
pub struct RootPattern {
    text: Box<str>,
    base: PathBuf,
    components: Box<[RootComponent]>,
}

/// A component of a pattern after its base.
#[derive(Clone, Debug)]
pub(crate) enum RootComponent {
    /// The name itself.
    Literal(Box<OsStr>),
    /// Any name that matches.
    Glob(Glob),
}

/// Matches the name of one directory and captures labels of it.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    regex: Regex,
    labels: Box<[Box<str>]>,
    /// Whether it starts with a dot.
    matches_hidden: bool,
}

impl RootPattern {
    /// Compiles a pattern: absolute, without `.` and `..`, and each `{name}` a label that no series has otherwise.
    ///
    /// # Errors
    /// What is wrong.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("a root is an absolute path, found `{text}`"));
        }
        if text.contains('\0') {
            return Err("a path has no NUL".to_owned());
        }
        let mut base = PathBuf::from("/");
        let mut components = Vec::new();
        let mut seen: Vec<Box<str>> = Vec::new();
        for name in text.split('/').filter(|name| !name.is_empty()) {
            if matches!(name, "." | "..") {
                return Err(format!("a root has no `{name}`"));
            }
            if name.contains(['*', '?', '{', '}']) {
                components.push(RootComponent::Glob(Glob::new(name, &mut seen)?));
            } else if components.is_empty() {
                base.push(name);
            } else {
                components.push(RootComponent::Literal(OsStr::new(name).into()));
            }
        }
        Ok(Self { text: text.into(), base, components: components.into() })
    }

    /// As written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The path before the first component that is a glob.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// What follows the base.
    pub(crate) fn components(&self) -> &[RootComponent] {
        &self.components
    }

    /// The names between braces, which become labels of every series of the JVMs found there.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &str> {
        let labels = self.components.iter().map(|component| match component {
            RootComponent::Literal(_) => &[][..],
            RootComponent::Glob(glob) => &glob.labels,
        });
        labels.flatten().map(|label| &**label)
    }
}

impl PartialEq for RootPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RootPattern {}

impl Glob {
    /// Compiles one component; its labels are added to `seen`.
    fn new(component: &str, seen: &mut Vec<Box<str>>) -> Result<Self, String> {
        let before = seen.len();
        let body = translate(component, |wildcard| match wildcard {
            Wildcard::Star { .. } => Ok(".*".to_owned()),
            Wildcard::Braces(label) => {
                check_root_label(label)?;
                if seen.iter().any(|other| **other == *label) {
                    return Err(format!("the label {{{label}}} is there twice"));
                }
                seen.push(label.into());
                Ok("(.+)".to_owned())
            }
        })?;
        let regex = Regex::new(&format!("(?s-u)\\A{body}\\z"));
        let regex = regex.map_err(|_| format!("the component `{component}` is too long"))?;
        let labels = seen.get(before..).unwrap_or_default().into();
        Ok(Self { regex, labels, matches_hidden: component.starts_with('.') })
    }

    /// The labels of a name, if it matches. As in a shell, a leading dot must be written out.
    pub(crate) fn captures(&self, name: &OsStr) -> Option<Vec<(Box<str>, Box<str>)>> {
        if name.as_bytes().starts_with(b".") && !self.matches_hidden {
            return None;
        }
        let groups = self.regex.captures(name.as_bytes())?;
        let values = groups.iter().skip(1).flatten().map(|value| String::from_utf8_lossy(value.as_bytes()).into());
        Some(self.labels.iter().cloned().zip(values).collect())
    }
}

fn check_root_label(label: &str) -> Result<(), String> {
    if label.contains('.') {
        return Err(format!("the label {{{label}}} has letters, digits and `_` only"));
    }
    check_label(label, &[]).map_err(|message| format!("{{{label}}}: {message}"))?;
    if label == VALUE_LABEL {
        return Err(format!("the label {{{label}}} has a meaning already: it holds the texts of counters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bad_patterns_say_why() {
        for (pattern, part) in [
            ("tmp", "an absolute path"),
            ("", "an absolute path"),
            ("/a/../b", "no `..`"),
            ("/a/./b", "no `.`"),
            ("/a{", "`{` without `}`"),
            ("/a}", "`}` without `{`"),
            ("/{a/b}", "`{` without `}`"),
            ("/{}", "letters"),
            ("/{9a}", "letters"),
            ("/{a b}", "letters"),
            ("/{a.b}", "letters"),
            ("/{a{b}", "letters"),
            ("/{a}/{a}", "twice"),
            ("/{app}", "a meaning already"),
            ("/{value}", "a meaning already"),
            ("/a\0", "NUL"),
        ] {
            let message = RootPattern::new(pattern).unwrap_err();
            assert!(message.contains(part), "{pattern}: {message}");
        }
    }

    #[test]
    fn labels_come_from_all_components() {
        let root = RootPattern::new("/pods//{pod}/{_app}-{n}/tmp/").unwrap();
        assert_eq!(root.base(), Path::new("/pods"));
        assert_eq!(root.labels().collect::<Vec<_>>(), ["pod", "_app", "n"]);
    }
}
