//! Finding JVMs: region files below configured roots, and processes in /proc with their memory.
//!
//! A [`Scanner`] reads both and correlates them in a [`Scan`]: each region file once, with its process where that is
//! visible; JVMs without a readable file by their memory; and for everything else that looks like a JVM a [`Refusal`]
//! with the reason and the remedy.
//!
//! # Promise
//! Others may write to the directories, so their content is hostile until it is examined. No link is followed out of a
//! root, nothing but a regular file is opened, no open blocks, and a scan examines a bounded number of names. No file is
//! written, locked or created, and no process is signalled.

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
mod diagnosis;
mod flags;
pub mod liveness;
mod memory;
mod open;
mod processes;
mod progress;
mod refusal;
mod roots;
mod scan_state;
pub mod watch;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use crate::config::{Discovery, RootPattern, Toggle};
use crate::metric::Labels;
use crate::perfdata::{FileMode, ProcessMemory, Region, RegionError};
use crate::proc::{FileId, Process};

pub use liveness::Liveness;
pub use open::raise_descriptor_limit;
pub(crate) use progress::{Progress, ScanSubject};
pub use refusal::{Refusal, RefusalReason};
pub use watch::{DirectoryWatcher, WatchedDirectory, Woken};

pub(crate) use memory::{HotSpotFinder, HotSpotMemory, Implausible, Obstacle, object};

use memory::MemoryScanner;
use open::Opener;
use processes::ProcessScanner;
use scan_state::ScanState;

/// Names examined in one directory.
const DIRECTORY_NAMES: usize = 10_000;

/// Names examined in one scan.
const SCAN_NAMES: usize = 200_000;

/// Names examined in the directories of one owner in one scan.
const OWNER_NAMES: usize = 20_000;

/// Files that one scan opens in the directories of one owner, beside the known ones, and at most a quarter of the
/// exporter's descriptor limit.
const OWNER_FILES: usize = 4096;

/// Directories that one root pattern may match.
const ROOT_MATCHES: usize = 4096;

/// The identity of a region from scan to scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegionId {
    /// The file that holds it.
    File(FileId),
    /// The process that holds it, and the address there.
    Memory {
        /// The process's number in the proc file system that was read.
        pid: i32,
        /// Start in clock ticks since boot.
        start_ticks: u64,
        /// The region's address.
        address: u64,
    },
}

/// A region that can be opened.
#[derive(Debug)]
pub enum RegionSource {
    /// A file, open for reading.
    File(File),
    /// The memory of a process, `length` bytes from the address `start`.
    Memory {
        /// The process's memory.
        memory: ProcessMemory,
        /// The region's address.
        start: u64,
        /// Its size in bytes.
        length: u64,
    },
}

impl RegionSource {
    /// Opens it; a file is read by way of `access`.
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
    /// Its path: below a root if one shows it, else below `/proc/PID/root`; `/proc/PID/mem` without a file.
    pub path: PathBuf,
    /// `None` for a region that the caller has open.
    pub source: Option<RegionSource>,
    /// Its identity.
    pub id: RegionId,
    /// The JVM's effective user, who owns the file.
    pub owner: u32,
    /// The JVM's number in its own pid namespace, which is the file's name.
    pub vpid: i32,
    /// The user of `hsperfdata_<user>`, else the user's name in the JVM's passwd file, else the uid.
    pub user: String,
    /// What the root pattern captured.
    pub labels: Labels,
    /// The process that writes it, where that is visible. Without it [`liveness::assess`] asks the kernel.
    pub process: Option<Arc<Process>>,
    /// False for a known file that was deleted while its JVM runs: the mapping stays valid, the path is gone.
    pub linked: bool,
    /// Its JVM has ended, as /proc shows, and a fork of that JVM holds the file open.
    pub orphaned: bool,
}

/// The result of one scan. A known region that is not among the candidates is gone.
#[derive(Debug, Default)]
pub struct Scan {
    /// The regions, each once.
    pub candidates: Vec<Candidate>,
    /// Everything that looks like a JVM and is no candidate.
    pub refusals: Vec<Refusal>,
    /// The directories where JVMs come and go, for [`DirectoryWatcher::follow`].
    pub watched: Vec<WatchedDirectory>,
}

/// Scans for JVMs, and remembers from one scan to the next what processes are.
#[derive(Debug)]
pub struct Scanner {
    opener: Opener,
    roots: Vec<RootPattern>,
    processes: Option<ProcessScanner>,
    memory: Option<MemoryScanner>,
    progress: Arc<Progress>,
}

impl Scanner {
    /// A scanner for checked settings.
    pub fn new(config: &Discovery) -> Self {
        Self::watched(config, Arc::default())
    }

    /// The same for a caller who watches its progress.
    pub(crate) fn watched(config: &Discovery, progress: Arc<Progress>) -> Self {
        let visible = config.procfs.visible();
        let processes = visible.and_then(|path| ProcessScanner::new(path, Arc::clone(&progress)).ok());
        let memory = (config.processes == Toggle::Auto).then(MemoryScanner::default);
        Self { opener: Opener::default(), roots: config.roots.clone(), processes, memory, progress }
    }

    /// Whether a process has appeared since the last scan that is, or claims to be, a JVM. Where no process was started it
    /// costs one read of `loadavg`.
    pub(crate) fn has_newcomer(&mut self) -> bool {
        self.processes.as_mut().is_some_and(ProcessScanner::has_newcomer)
    }

    /// Scans once. Regions that are `known` are examined and not opened again.
    pub fn scan(&mut self, known: &dyn Fn(RegionId) -> bool) -> Scan {
        let mut state = ScanState::new(&self.opener, known);
        for root in &self.roots {
            if self.progress.enter(ScanSubject::Root(root.as_str().to_owned())) {
                state.scan_root(root);
            } else {
                let path = PathBuf::from(root.as_str());
                state.refuse(Refusal::of_path(&path, RefusalReason::Unresponsive, "its file system does not answer"));
            }
        }
        if let Some(processes) = &mut self.processes {
            match processes.scan(&state.numbers()) {
                Ok(jvm_processes) => {
                    correlate::correlate(&mut state, processes, jvm_processes);
                    if let Some(memory) = &mut self.memory {
                        memory.resolve(&mut state, processes);
                    }
                    processes.take_held().for_each(|pid| state.refuse(held(pid)));
                }
                Err(errno) => state.refuse(no_procfs(&processes.path, errno)),
            }
        }
        Scan {
            candidates: state.candidates,
            refusals: state.refused.into_iter().map(|refused| refused.refusal).collect(),
            watched: state.watched,
        }
    }
}

/// The first `limit` bytes of the regular file `path` beneath `root`, without following a link. The file may be hostile.
///
/// # Errors
/// See [`Opener::content`].
pub(crate) fn regular_file_beneath(root: &OwnedFd, path: &Path, limit: u64) -> Result<Vec<u8>, Errno> {
    Opener::default().content(root, path, limit)
}

/// The refusal of a process whose memory or files hold whoever reads them.
fn held(pid: i32) -> Refusal {
    Refusal::of_pid(pid, RefusalReason::Unresponsive, "whoever reads its memory or its files is held by the kernel")
}

fn no_procfs(path: &Path, errno: Errno) -> Refusal {
    Refusal::of_path(path, RefusalReason::IoError, format!("processes cannot be listed: {errno}"))
        .with_remedy("Mount a proc file system there, or change discovery.procfs.")
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
