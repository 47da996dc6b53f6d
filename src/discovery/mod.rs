//! Finding JVMs: region files below configured roots, and processes in /proc.
//!
//! A [`Scanner`] looks at both and brings them together in a [`Scan`]: each region file once, with its process where
//! that is visible, and for everything that looks like a JVM and is not read a [`Refusal`] that says why.
//!
//! # Promise
//! The directories are writable for others, and what lies there is hostile until examined. No link is followed out of
//! a root, nothing but a regular file is opened, no open blocks, and a scan looks at a bounded number of names. No
//! file is written, locked or created, and no process is signalled.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::panic
)]

mod cgroup;
mod explain;
mod flags;
mod join;
pub mod liveness;
mod maps;
mod open;
mod passwd;
mod process;
mod procfs;
mod refusal;
mod roots;
mod survey;
pub mod watch;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;

use crate::config::{Discovery, Enabled};
use crate::metric::Labels;

pub use liveness::{Liveness, exited};
pub use open::raise_descriptor_limit;
pub use process::Process;
pub use refusal::{Reason, Refusal};
pub use roots::{PatternError, Root};
pub use watch::{Watch, Watched, Woken};

use open::Opener;
use procfs::Procfs;
use survey::Survey;

/// Names looked at in one directory.
const DIRECTORY_NAMES: usize = 10_000;

/// Names looked at in one scan.
const SCAN_NAMES: usize = 200_000;

/// Directories that one root pattern may match.
const ROOT_MATCHES: usize = 4096;

/// What a file is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// `st_dev`
    pub device: u64,
    /// `st_ino`
    pub inode: u64,
}

impl FileId {
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// A region file that passed every check.
#[derive(Debug)]
pub struct Candidate {
    /// Where it was found: below a root if one shows it, else below `/proc/PID/root`.
    pub path: PathBuf,
    /// Open for reading; `None` for a file that the caller knows already.
    pub file: Option<File>,
    /// Its identity.
    pub id: FileId,
    /// Its owner, who is the JVM's effective user.
    pub owner: u32,
    /// Its name: the JVM's number in the JVM's own pid namespace.
    pub vpid: i32,
    /// From `hsperfdata_<user>`.
    pub user: String,
    /// What the root pattern captured.
    pub labels: Labels,
    /// The process that writes it, where visible. Without it [`liveness::assess`] asks the kernel.
    pub process: Option<Arc<Process>>,
    /// False for a known file that was deleted while its JVM lives on: the mapping stays good, the path is gone.
    pub linked: bool,
}

/// What one scan found. A known file that is not among the candidates is gone.
#[derive(Debug, Default)]
pub struct Scan {
    /// Region files, each once.
    pub candidates: Vec<Candidate>,
    /// What looks like a JVM and is not read.
    pub refusals: Vec<Refusal>,
    /// Directories where JVMs come and go, for [`Watch::follow`].
    pub watched: Vec<Watched>,
}

/// Scans, and remembers what processes are from one scan to the next.
#[derive(Debug)]
pub struct Scanner {
    opener: Opener,
    roots: Vec<Root>,
    procfs: Option<Procfs>,
    /// What is wrong with the configuration, reported by every scan.
    standing: Vec<Refusal>,
}

impl Scanner {
    /// A scanner for checked settings.
    pub fn new(config: &Discovery) -> Self {
        let mut standing = Vec::new();
        let roots = config.roots.iter().filter_map(|root| match Root::new(&root.pattern) {
            Ok(root) => Some(root),
            Err(error) => {
                standing.push(Refusal::of_path(Path::new(&root.pattern), Reason::IoError, error.to_string()));
                None
            }
        });
        let roots = roots.collect();
        let procfs = match config.procfs.enabled {
            Enabled::No => None,
            enabled => match Procfs::new(&config.procfs.path) {
                Ok(procfs) => Some(procfs),
                Err(errno) => {
                    if enabled == Enabled::Yes {
                        standing.push(no_procfs(&config.procfs.path, errno));
                    }
                    None
                }
            },
        };
        Self { opener: Opener::default(), roots, procfs, standing }
    }

    /// Looks once. Files that are `known` are examined and not opened again.
    pub fn scan(&mut self, known: &dyn Fn(FileId) -> bool) -> Scan {
        let mut survey = Survey::new(&self.opener, known);
        self.standing.iter().for_each(|refusal| survey.refuse(refusal.clone()));
        self.roots.iter().for_each(|root| survey.visit(root));
        if let Some(procfs) = &mut self.procfs {
            match procfs.scan(&survey.numbers()) {
                Ok(sightings) => join::join(&mut survey, procfs, sightings),
                Err(errno) => survey.refuse(no_procfs(procfs.path(), errno)),
            }
        }
        Scan {
            candidates: survey.candidates,
            refusals: survey.refused.into_iter().map(|refused| refused.refusal).collect(),
            watched: survey.watched,
        }
    }
}

fn no_procfs(path: &Path, errno: Errno) -> Refusal {
    Refusal::of_path(path, Reason::IoError, format!("processes cannot be listed: {errno}; see discovery.procfs"))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
