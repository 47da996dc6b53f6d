//! Examination JVMs: region files below configured roots, and processes in /proc with their memory.
//!
//! A [`Scanner`] looks at both and brings them together in a [`Scan`]: each region file once, with its process where
//! that is visible, JVMs without a readable file by their memory, and for everything that looks like a JVM and is not read a [`Refusal`] that says why.
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

mod correlate;
mod explain;
mod flags;
pub mod liveness;
mod memory;
mod open;
mod procfs;
mod refusal;
mod roots;
mod survey;
pub mod watch;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::config::{Discovery, RootPattern, Toggle};
use crate::metric::Labels;
use crate::perfdata::{FileMode, ProcessMemory, Region, RegionError};
use crate::proc::{FileId, Process};

pub use liveness::Liveness;
pub use open::raise_descriptor_limit;
pub use refusal::{Refusal, RefusalReason};
pub use watch::{DirectoryWatcher, WatchedDirectory, Woken};

use memory::Memories;
use open::Opener;
use procfs::Procfs;
use survey::ScanState;

/// Names looked at in one directory.
const DIRECTORY_NAMES: usize = 10_000;

/// Names looked at in one scan.
const SCAN_NAMES: usize = 200_000;

/// Of these, names in the directories of one owner.
const OWNER_NAMES: usize = 20_000;

/// Files that one scan opens in the directories of one owner, beside those that are known. At most a quarter of the
/// descriptors that the process may have.
const OWNER_FILES: usize = 4096;

/// Directories that one root pattern may match.
const ROOT_MATCHES: usize = 4096;

/// What a region is known by from scan to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegionId {
    /// The file that holds it.
    File(FileId),
    /// The process that holds it, by number and start, and where.
    Memory {
        /// As the proc file system numbers it.
        pid: i32,
        /// Start in clock ticks since boot.
        start_ticks: u64,
        /// Address of the region.
        address: u64,
    },
}

impl RegionId {
    fn file(self) -> Option<FileId> {
        match self {
            Self::File(id) => Some(id),
            Self::Memory { .. } => None,
        }
    }
}

/// A region that can be opened.
#[derive(Debug)]
pub enum RegionSource {
    /// A file, open for reading.
    File(File),
    /// The memory of a process, `length` bytes from the address `start`.
    Memory {
        /// Whose.
        memory: ProcessMemory,
        /// Address.
        start: u64,
        /// Bytes.
        length: u64,
    },
}

impl RegionSource {
    /// Opens it; `access` is how a file is read.
    ///
    /// # Errors
    /// See [`Region::open`] and [`Region::of_process`].
    pub fn open(self, access: FileMode) -> Result<Region, RegionError> {
        match self {
            Self::File(file) => Region::open(file, access),
            Self::Memory { memory, start, length } => Region::of_process(memory, start, length),
        }
    }
}

/// A region that passed every check.
#[derive(Debug)]
pub struct Candidate {
    /// Where it was found: below a root if one shows it, else below `/proc/PID/root`; `/proc/PID/mem` without a file.
    pub path: PathBuf,
    /// `None` for a region that the caller knows already.
    pub source: Option<RegionSource>,
    /// Its identity.
    pub id: RegionId,
    /// The JVM's effective user, who owns the file.
    pub owner: u32,
    /// The JVM's number in the JVM's own pid namespace, which names the file.
    pub vpid: i32,
    /// From `hsperfdata_<user>`, else the user's name in the JVM's passwd file, else the number.
    pub user: String,
    /// What the root pattern captured.
    pub labels: Labels,
    /// The process that writes it, where visible. Without it [`liveness::assess`] asks the kernel.
    pub process: Option<Arc<Process>>,
    /// False for a known file that was deleted while its JVM lives on: the mapping stays good, the path is gone.
    pub linked: bool,
}

/// What one scan found. A known region that is not among the candidates is gone.
#[derive(Debug, Default)]
pub struct Scan {
    /// Regions, each once.
    pub candidates: Vec<Candidate>,
    /// What looks like a JVM and is not read.
    pub refusals: Vec<Refusal>,
    /// Directories where JVMs come and go, for [`DirectoryWatcher::follow`].
    pub watched: Vec<WatchedDirectory>,
}

/// Scans, and remembers what processes are from one scan to the next.
#[derive(Debug)]
pub struct Scanner {
    opener: Opener,
    roots: Vec<RootPattern>,
    procfs: Option<Procfs>,
    memories: Option<Memories>,
}

impl Scanner {
    /// A scanner for checked settings.
    pub fn new(config: &Discovery) -> Self {
        let procfs = config.procfs.visible().and_then(|path| Procfs::new(path).ok());
        let memories = (config.processes == Toggle::Auto).then(Memories::default);
        Self { opener: Opener::default(), roots: config.roots.clone(), procfs, memories }
    }

    /// Looks once. Regions that are `known` are examined and not opened again.
    pub fn scan(&mut self, known: &dyn Fn(RegionId) -> bool) -> Scan {
        let mut survey = ScanState::new(&self.opener, known);
        self.roots.iter().for_each(|root| survey.visit(root));
        if let Some(procfs) = &mut self.procfs {
            match procfs.scan(&survey.numbers()) {
                Ok(jvm_processes) => {
                    correlate::join(&mut survey, procfs, jvm_processes);
                    if let Some(memories) = &mut self.memories {
                        memories.rescue(&mut survey, procfs);
                    }
                }
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
    Refusal::of_path(path, RefusalReason::IoError, format!("processes cannot be listed: {errno}; see discovery.procfs"))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
