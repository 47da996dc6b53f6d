//! Root patterns: which directories are some JVM's `/tmp`.
//!
//! A pattern is an absolute path whose components may hold `*` (any characters), `?` (one byte) and `{name}` (one or
//! more characters, which become the label `name`). Leading components without any of these are the administrator's
//! word and may be links; from the first other component on no link is followed.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use regex::bytes::Regex;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::open::{Opener, names};
use super::refusal::{Refusal, RefusalReason};
use super::{DIRECTORY_NAMES, ROOT_MATCHES};
use crate::metric::Labels;

/// Why a pattern is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not an absolute path, or one with `.` or `..`.
    #[error("a root is an absolute path without `.` and `..`, such as /tmp or /hsperf/{{container}}; found {0:?}")]
    Path(String),
    /// A brace without its partner, or a capture without a usable name.
    #[error("a capture is {{name}} with a name of letters, digits, `_` and `.`; found {0:?}")]
    Capture(String),
    /// The same capture twice.
    #[error("the capture {{{0}}} occurs twice; give each its own name")]
    Repeated(String),
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Root {
    /// Components before the first glob.
    base: PathBuf,
    components: Vec<Segment>,
}

#[derive(Clone, Debug)]
enum Segment {
    Literal(Box<OsStr>),
    Glob { regex: Regex, captures: Vec<Box<str>>, hidden: bool },
}

/// A directory that a pattern matched.
#[derive(Debug)]
pub(super) struct RootDirectory {
    pub(super) handle: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) labels: Labels,
}

/// What looking a pattern up gave.
#[derive(Debug, Default)]
pub(super) struct RootDirectories {
    pub(super) directories: Vec<RootDirectory>,
    pub(super) refusals: Vec<Refusal>,
    /// Directories in which further matches may appear.
    pub(super) parents: Vec<PathBuf>,
}

type Captured = Vec<(Box<str>, Box<str>)>;

impl Root {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A relative path, `.` or `..` in it, an unbalanced brace, a capture with a bad name or used twice.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let mut base = PathBuf::from("/");
        let mut components = Vec::new();
        let mut seen: Vec<Box<str>> = Vec::new();
        let mut path = Path::new(pattern).components();
        if path.next() != Some(Component::RootDir) || pattern.split('/').any(|part| part == ".") {
            return Err(PatternError::Path(pattern.into()));
        }
        for component in path {
            let Component::Normal(name) = component else { return Err(PatternError::Path(pattern.into())) };
            let segment = Segment::new(name)?;
            match &segment {
                Segment::Literal(name) if components.is_empty() => {
                    base.push(&**name);
                    continue;
                }
                Segment::Literal(_) => {}
                Segment::Glob { captures, .. } => {
                    for name in captures {
                        if seen.contains(name) {
                            return Err(PatternError::Repeated(name.to_string()));
                        }
                        seen.push(name.clone());
                    }
                }
            }
            components.push(segment);
        }
        Ok(Self { base, components })
    }

    /// Finds the directories that match now. One that does not exist yet is no error.
    pub(super) fn find(&self, opener: &Opener) -> RootDirectories {
        let mut found = RootDirectories::default();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open(&self.base, flags, Mode::empty()) {
            Ok(handle) => {
                let start = RootDirectory { handle, path: self.base.clone(), labels: Labels::default() };
                descend(opener, start, Vec::new(), &self.components, &mut found);
            }
            Err(Errno::NOENT) => found.parents.extend(existing_ancestor(&self.base)),
            Err(errno) => found.refusals.push(Refusal::of_errno(&self.base, errno)),
        }
        found
    }
}

fn too_many(path: &Path, detail: String) -> Refusal {
    Refusal::of_path(path, RefusalReason::TooMany, detail).with_remedy("Make the root pattern narrower.")
}

/// The closest directory above `path` that exists: creating the next component happens there.
fn existing_ancestor(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|ancestor| ancestor.is_dir()).map(Path::to_owned)
}

fn descend(opener: &Opener, at: RootDirectory, captured: Captured, rest: &[Segment], found: &mut RootDirectories) {
    let Some((segment, rest)) = rest.split_first() else {
        if found.directories.len() >= ROOT_MATCHES {
            let detail = format!("more than {ROOT_MATCHES} directories match one root pattern");
            found.refusals.push(too_many(&at.path, detail));
            return;
        }
        found.directories.push(RootDirectory { labels: Labels::new(captured), ..at });
        return;
    };
    let steps = match segment {
        Segment::Literal(name) => vec![(name.clone(), captured)],
        Segment::Glob { .. } => match names(&at.handle, DIRECTORY_NAMES, |_| true) {
            Err(errno) => return found.refusals.push(Refusal::of_errno(&at.path, errno)),
            Ok((names, more)) => {
                if more {
                    let detail = format!("more than {DIRECTORY_NAMES} names; the others are not examined");
                    found.refusals.push(too_many(&at.path, detail));
                }
                names
                    .into_iter()
                    .filter_map(|name| Some((segment.capture(&name, &captured)?, name)))
                    .map(|(c, n)| (n, c))
                    .collect()
            }
        },
    };
    found.parents.push(at.path.clone());
    for (name, captured) in steps {
        let path = at.path.join(&*name);
        match opener.directory(&at.handle, Path::new(&*name)) {
            Ok(handle) => {
                descend(opener, RootDirectory { handle, path, labels: Labels::default() }, captured, rest, found);
            }
            // Files beside the directories that a glob is meant for, or a race with their removal.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => found.refusals.push(Refusal::of_errno(&path, errno)),
        }
        if found.refusals.len() > ROOT_MATCHES {
            return;
        }
    }
}

impl Segment {
    fn new(component: &OsStr) -> Result<Self, PatternError> {
        let text = component.to_str().ok_or_else(|| PatternError::Path(component.to_string_lossy().into()))?;
        if !text.contains(['*', '?', '{', '}']) {
            return Ok(Self::Literal(component.into()));
        }
        let bad = || PatternError::Capture(text.into());
        let mut regex = String::from("(?s-u)\\A");
        let mut captures: Vec<Box<str>> = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let tail = rest.get(c.len_utf8()..).unwrap_or_default();
            rest = match c {
                '*' => {
                    regex.push_str(".*");
                    tail
                }
                '?' => {
                    regex.push('.');
                    tail
                }
                '{' => {
                    let (name, tail) = tail.split_once('}').ok_or_else(bad)?;
                    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
                    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(legal) {
                        return Err(bad());
                    }
                    captures.push(name.into());
                    regex.push_str("(.+)");
                    tail
                }
                '}' => return Err(bad()),
                literal => {
                    regex.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
                    tail
                }
            };
        }
        regex.push_str("\\z");
        let regex = Regex::new(&regex).map_err(|_| bad())?;
        Ok(Self::Glob { regex, captures, hidden: text.starts_with('.') })
    }

    /// The captures of `name` added to `before`; `None` if it does not match. As in a shell, a leading dot must be
    /// written out.
    fn capture(&self, name: &OsStr, before: &[(Box<str>, Box<str>)]) -> Option<Captured> {
        let Self::Glob { regex, captures, hidden } = self else { return None };
        if name.as_bytes().starts_with(b".") && !hidden {
            return None;
        }
        let groups = regex.captures(name.as_bytes())?;
        let mut captured = before.to_vec();
        for (name, value) in captures.iter().zip(groups.iter().skip(1)) {
            let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default();
            captured.push((name.clone(), value.into()));
        }
        Some(captured)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn find(below: &TempDir, pattern: &str) -> Vec<(String, String)> {
        let root = Root::new(below.path().join(pattern).to_str().unwrap()).unwrap();
        let mut found: Vec<_> = root
            .find(&Opener::default())
            .directories
            .iter()
            .map(|found| {
                let labels: Vec<_> = found.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                (found.path.strip_prefix(below.path()).unwrap().display().to_string(), labels.join(","))
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn captures_become_labels() {
        let below = TempDir::new().unwrap();
        for path in ["pods/a/web-0/tmp", "pods/b/web-1/tmp", "pods/b/db/tmp", "pods/.hidden/web-2/tmp", "pods/c"] {
            fs::create_dir_all(below.path().join(path)).unwrap();
        }
        fs::write(below.path().join("pods/file"), "").unwrap();
        symlink(below.path().join("pods/a"), below.path().join("pods/link")).unwrap();
        symlink(below.path().join("pods"), below.path().join("alias")).unwrap();
        for (pattern, expected) in [
            (
                "pods/{pod}/{app}-{n}/tmp",
                vec![("pods/a/web-0/tmp", "app=web,n=0,pod=a"), ("pods/b/web-1/tmp", "app=web,n=1,pod=b")],
            ),
            ("pods/?/d*/tmp", vec![("pods/b/db/tmp", "")]),
            ("pods/{pod}", vec![("pods/a", "pod=a"), ("pods/b", "pod=b"), ("pods/c", "pod=c")]),
            ("pods/.h*/web-2", vec![("pods/.hidden/web-2", "")]),
            ("alias/c", vec![("alias/c", "")]),
            ("nothing/{here}", vec![]),
            ("pods/z*/tmp", vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
            assert_eq!(find(&below, pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_link_behind_a_glob_is_refused_and_says_so() {
        let below = TempDir::new().unwrap();
        symlink("/etc", below.path().join("link")).unwrap();
        let found = Root::new(below.path().join("{name}").to_str().unwrap()).unwrap().find(&Opener::default());
        assert!(found.directories.is_empty());
        assert_eq!(found.refusals.iter().map(|refusal| refusal.reason).collect::<Vec<_>>(), [RefusalReason::Symlink]);
    }

    #[test]
    fn bad_patterns_are_named() {
        for pattern in ["tmp", "", "/a/../b", "/a/./b", "/a{", "/a}", "/{}", "/{9a}", "/{a b}", "/{a}/{a}"] {
            assert!(Root::new(pattern).is_err(), "{pattern}");
        }
    }
}
