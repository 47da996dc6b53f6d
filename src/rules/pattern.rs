//! Patterns, which match counter names by glob or regular expression, and templates, which refer to their captures.

use regex::{Captures, Regex, RegexBuilder};

/// Largest compiled pattern, in bytes.
const COMPILED_MAXIMUM: usize = 1 << 18;
/// The prefix of a regular expression.
const REGEX_PREFIX: &str = "re:";

/// A compiled counter pattern.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// A name without wildcards.
    Literal(Box<str>),
    /// A glob or a regular expression, anchored at both ends.
    Regex(Regex),
}

impl Pattern {
    /// Compiles a glob, or a regular expression behind `re:`. In a glob, `*` matches any characters except a dot, and at
    /// the end any characters; it is captured as `$1`, `$2` and so on. `?` matches one character, `{a,b}` one of several
    /// texts; neither is captured.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let expression = match text.strip_prefix(REGEX_PREFIX) {
            Some(expression) => {
                // Compiled alone first, since `a)(b` must not become legal inside the anchoring group.
                build(expression)?;
                format!("^(?:{expression})$")
            }
            None if !text.contains(['*', '?', '{', '}']) => return Ok(Self::Literal(text.into())),
            None => format!("^{}$", expression(text)?),
        };
        build(&expression).map(Self::Regex)
    }

    /// Whether the name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *name,
            Self::Regex(regex) => regex.is_match(name),
        }
    }

    /// What is captured of a name that matches; `None` without wildcards.
    pub(crate) fn captures<'n>(&self, name: &'n str) -> Option<Captures<'n>> {
        match self {
            Self::Literal(_) => None,
            Self::Regex(regex) => regex.captures(name),
        }
    }

    /// The number of the capture `$reference`.
    pub(crate) fn capture(&self, reference: &str) -> Option<usize> {
        let Self::Regex(regex) = self else { return None };
        match reference.parse::<usize>() {
            Ok(number) => (1..regex.captures_len()).contains(&number).then_some(number),
            Err(_) => regex.capture_names().position(|name| name == Some(reference)),
        }
    }

    /// The legal references, without `$`.
    pub(crate) fn references(&self) -> Vec<String> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Regex(regex) => {
                let groups = regex.capture_names().enumerate().skip(1);
                groups.map(|(number, name)| name.map_or_else(|| number.to_string(), str::to_owned)).collect()
            }
        }
    }
}

fn build(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression).size_limit(COMPILED_MAXIMUM).build().map_err(|error| {
        let text = error.to_string();
        let reason = text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(&text);
        format!("the regular expression does not compile: {reason}")
    })
}

/// Glob to regular expression; [`Pattern::compile`] documents `*` and braces.
fn expression(glob: &str) -> Result<String, String> {
    translate(glob, |wildcard| match wildcard {
        Wildcard::Star { is_last: true } => Ok("(.*)".to_owned()),
        Wildcard::Star { is_last: false } => Ok("([^.]*)".to_owned()),
        Wildcard::Braces(texts) if texts.contains('*') => {
            Err("`*` cannot be between braces; use re: for that".to_owned())
        }
        Wildcard::Braces(texts) if texts.contains('{') => {
            Err("braces cannot be between braces; use re: for that".to_owned())
        }
        Wildcard::Braces(texts) => {
            let texts: Result<Vec<String>, String> = texts.split(',').map(expression).collect();
            Ok(format!("(?:{})", texts?.join("|")))
        }
    })
}

/// What a glob has beside literal text and `?`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wildcard<'g> {
    /// `*`
    Star { is_last: bool },
    /// The text between `{` and `}`.
    Braces(&'g str),
}

/// Glob to regular expression, without anchors; `replace` gives the expression of a wildcard.
pub(crate) fn translate<'g>(
    glob: &'g str,
    mut replace: impl FnMut(Wildcard<'g>) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = glob;
    while let Some(at) = rest.find(['*', '?', '{', '}']) {
        let (literal, tail) = rest.split_at(at);
        out.push_str(&regex::escape(literal));
        let (wildcard, tail) = tail.split_at(1);
        rest = tail;
        match wildcard {
            "*" => out.push_str(&replace(Wildcard::Star { is_last: tail.is_empty() })?),
            "?" => out.push('.'),
            "{" => {
                let (content, tail) = tail.split_once('}').ok_or("`{` without `}`")?;
                out.push_str(&replace(Wildcard::Braces(content))?);
                rest = tail;
            }
            _ => return Err("`}` without `{`".to_owned()),
        }
    }
    out.push_str(&regex::escape(rest));
    Ok(out)
}

/// A text with references: to captures of a counter's name, or to labels of a fact, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    segments: Box<[TemplateSegment]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplateSegment {
    Text(Box<str>),
    Reference(usize),
}

impl Template {
    /// Compiles a text with `$1`, `$name`, `${name}`, and `$$` for a dollar sign. `resolve` returns the number of a
    /// reference, or what is wrong with it.
    pub(crate) fn compile(text: &str, resolve: impl Fn(&str) -> Result<usize, String>) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some(tail) = after.strip_prefix('$') {
                literal.push('$');
                rest = tail;
                continue;
            }
            let (reference, tail) = match after.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or("`${` without `}`")?,
                None => after.split_at(reference_length(after)),
            };
            if reference.is_empty() {
                return Err("`$` without a name; write `$$` for a dollar sign".to_owned());
            }
            if !literal.is_empty() {
                segments.push(TemplateSegment::Text(std::mem::take(&mut literal).into()));
            }
            segments.push(TemplateSegment::Reference(resolve(reference)?));
            rest = tail;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            segments.push(TemplateSegment::Text(literal.into()));
        }
        Ok(Self { segments: segments.into() })
    }

    /// The text, if it has no references.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &*self.segments {
            [] => Some(""),
            [TemplateSegment::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with its references replaced.
    pub(crate) fn fill<'a>(&'a self, value: impl Fn(usize) -> &'a str) -> String {
        let texts = self.segments.iter().map(|segment| match segment {
            TemplateSegment::Text(text) => &**text,
            TemplateSegment::Reference(number) => value(*number),
        });
        texts.collect()
    }
}

/// Length of the reference at the beginning: `$1_total` refers to 1, `$pool_name` to `pool_name`.
fn reference_length(text: &str) -> usize {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let is_part = |c: char| if digits { c.is_ascii_digit() } else { c.is_ascii_alphanumeric() || c == '_' };
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn captured(pattern: &str, name: &str) -> Option<Vec<String>> {
        let pattern = Pattern::compile(pattern).unwrap();
        let captures = pattern.captures(name);
        let groups = captures.iter().flat_map(|captures| captures.iter().skip(1));
        let texts = groups.map(|group| group.map_or("", |group| group.as_str()).to_owned()).collect();
        pattern.matches(name).then_some(texts)
    }

    #[test]
    fn patterns_match_and_capture_as_documented() {
        for (pattern, name, expected) in [
            ("sun.rt.safepoints", "sun.rt.safepoints", Some(vec![])),
            ("sun.rt.safepoints", "sun.rt.safepointsX", None),
            ("sun.rt.safepoints", "sunXrt.safepoints", None),
            ("a.*.c", "a.b.c", Some(vec!["b"])),
            ("a.*.c", "a.b.b.c", None),
            ("a.*", "a.b.c", Some(vec!["b.c"])),
            ("*", "a.b.c", Some(vec!["a.b.c"])),
            ("*.time", "a.time", Some(vec!["a"])),
            ("a.*b*.c", "a.xbyb.c", Some(vec!["xby", ""])),
            ("a?c", "abc", Some(vec![])),
            ("a?c", "ac", None),
            ("x.{used,capacity}", "x.capacity", Some(vec![])),
            ("x.{used,capacity}.*", "x.used.1", Some(vec!["1"])),
            ("x.{used,capacity}", "x.size", None),
            ("a.b+c", "a.b+c", Some(vec![])),
            ("a.b+*", "a.bb", None),
            ("re:a\\.(?<n>[0-9]+)\\.(.*)", "a.12.z", Some(vec!["12", "z"])),
            ("re:a|b", "ab", None),
            ("re:a|b", "b", Some(vec![])),
            ("re:(a)|(b)", "b", Some(vec!["", "b"])),
        ] {
            let expected: Option<Vec<String>> = expected.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(captured(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn invalid_patterns_are_explained() {
        for (pattern, part) in [
            ("a.{b", "`{` without `}`"),
            ("a.b}", "`}` without `{`"),
            ("a.{b*,c}", "between braces"),
            ("re:a(", "unclosed group"),
            ("re:a)(b", "unopened group"),
            ("re:(?:\\w{1000}){1000}", "does not compile"),
        ] {
            let message = Pattern::compile(pattern).unwrap_err();
            assert!(message.contains(part), "{pattern}: {message}");
        }
    }

    #[test]
    fn templates_fill_references() {
        let resolve = |reference: &str| match reference {
            "1" => Ok(0),
            "name" => Ok(1),
            other => Err(format!("no {other}")),
        };
        let fill = |text: &str| {
            Template::compile(text, resolve).map(|template| template.fill(|number| ["ONE", "NAME"][number]))
        };
        for (text, expected) in [
            ("app.$1.depth", Ok("app.ONE.depth")),
            ("$1_total", Ok("ONE_total")),
            ("${name}s", Ok("NAMEs")),
            ("$name", Ok("NAME")),
            ("a$$1", Ok("a$1")),
            ("plain", Ok("plain")),
            ("$2", Err("no 2")),
            ("$names", Err("no names")),
            ("cost: $", Err("`$` without a name; write `$$` for a dollar sign")),
            ("${name", Err("`${` without `}`")),
        ] {
            assert_eq!(fill(text), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }
}
