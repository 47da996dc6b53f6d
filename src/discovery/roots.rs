//! The directories that match a root pattern now.
//!
//! The base of a pattern is the administrator's word and may hold links; from the first glob on no link is followed.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

use super::open::{Opener, names};
use super::refusal::{Refusal, RefusalReason};
use super::{DIRECTORY_NAMES, ROOT_MATCHES};
use crate::config::{RootComponent, RootPattern};
use crate::metric::Labels;
use crate::proc::stat::directory;

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

/// Finds the directories that match now. One that does not exist yet is no error.
pub(super) fn find(root: &RootPattern, opener: &Opener) -> RootDirectories {
    let mut found = RootDirectories::default();
    let base = root.base();
    match directory(CWD, base) {
        Ok(handle) => {
            let start = RootDirectory { handle, path: base.to_owned(), labels: Labels::default() };
            descend(opener, start, Vec::new(), root.components(), &mut found);
        }
        Err(Errno::NOENT) => found.parents.extend(existing_ancestor(base)),
        Err(errno) => found.refusals.push(Refusal::of_errno(base, errno)),
    }
    found
}

fn too_many(path: &Path, detail: String) -> Refusal {
    Refusal::of_path(path, RefusalReason::TooMany, detail).with_remedy("Make the root pattern narrower.")
}

/// The closest directory above `path` that exists: creating the next component happens there.
fn existing_ancestor(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|ancestor| ancestor.is_dir()).map(Path::to_owned)
}

fn descend(
    opener: &Opener,
    at: RootDirectory,
    captured: Captured,
    rest: &[RootComponent],
    found: &mut RootDirectories,
) {
    let Some((component, rest)) = rest.split_first() else {
        if found.directories.len() >= ROOT_MATCHES {
            let detail = format!("more than {ROOT_MATCHES} directories match one root pattern");
            found.refusals.push(too_many(&at.path, detail));
            return;
        }
        found.directories.push(RootDirectory { labels: Labels::new(captured), ..at });
        return;
    };
    let steps = match component {
        RootComponent::Literal(name) => vec![(name.clone(), captured)],
        RootComponent::Glob(glob) => match names(&at.handle, DIRECTORY_NAMES, |_| true) {
            Err(errno) => return found.refusals.push(Refusal::of_errno(&at.path, errno)),
            Ok((names, more)) => {
                if more {
                    let detail = format!("more than {DIRECTORY_NAMES} names; the others are not examined");
                    found.refusals.push(too_many(&at.path, detail));
                }
                let labels = |name: &OsStr| Some([&*captured, &glob.captures(name)?].concat());
                names.into_iter().filter_map(|name| Some((labels(&name)?, name))).map(|(c, n)| (n, c)).collect()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn find(below: &TempDir, pattern: &str) -> Vec<(String, String)> {
        let root = RootPattern::new(below.path().join(pattern).to_str().unwrap()).unwrap();
        let mut found: Vec<_> = super::find(&root, &Opener::default())
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
                "pods/{pod}/{service}-{n}/tmp",
                vec![("pods/a/web-0/tmp", "n=0,pod=a,service=web"), ("pods/b/web-1/tmp", "n=1,pod=b,service=web")],
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
        let root = RootPattern::new(below.path().join("{name}").to_str().unwrap()).unwrap();
        let found = super::find(&root, &Opener::default());
        assert!(found.directories.is_empty());
        assert_eq!(found.refusals.iter().map(|refusal| refusal.reason).collect::<Vec<_>>(), [RefusalReason::Symlink]);
    }
}
