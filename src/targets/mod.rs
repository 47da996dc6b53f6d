//! The JVMs that are served now.
//!
//! A [`Reconciler`] follows every JVM from scan to scan and publishes a [`TargetSet`]: an immutable list of [`Target`]s.
//! Scrapes read the last target_set and never wait for a scan.

pub(crate) mod changes;
mod duplicates;
mod reconciler;
mod slots;
mod target;
mod tracked;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

pub use reconciler::{AttachProviders, Reconciler, ReconcilerSettings};
pub use target::{Incarnation, Target, TargetState, Vitals};

use crate::discovery::Refusal;
use crate::perfdata::Transport;
use crate::rules::Dropped;

/// Everything that is known between two scans.
#[derive(Debug)]
pub struct TargetSet {
    /// The JVMs that are served, in the order in which they were found.
    pub targets: Vec<Arc<Target>>,
    /// JVMs whose regions are not filled in yet.
    pub starting: Vec<Starting>,
    /// What could not be read, and why.
    pub refusals: Vec<Refusal>,
    /// The names of the profiles, in the order of every target's plans.
    pub profiles: Vec<Box<str>>,
    /// PageSeries that rules asked for and that were dropped, over all JVMs and profiles.
    pub dropped: Dropped,
    /// A JVM was replaced while it was looked at: the next scan should come at once.
    pub unsettled: bool,
    /// When the scan ended.
    pub scanned: SystemTime,
}

/// A JVM that has a region and nothing in it yet.
#[derive(Clone, Debug)]
pub struct Starting {
    /// Where the region was found.
    pub path: PathBuf,
    /// Name of the region file.
    pub vpid: i32,
    /// The process, where it is visible.
    pub pid: Option<i32>,
    /// By which way it will be read, if that is known yet.
    pub transport: Option<Transport>,
}

impl From<Refusal> for Starting {
    /// A file that is not ready, as a scan sees it.
    fn from(refusal: Refusal) -> Self {
        let path = refusal.path.unwrap_or_default();
        let vpid = path.file_name().and_then(|name| name.to_str()?.parse().ok()).unwrap_or(0);
        Self { path, vpid, pid: refusal.pid, transport: None }
    }
}

impl Default for TargetSet {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            starting: Vec::new(),
            refusals: Vec::new(),
            profiles: Vec::new(),
            dropped: Dropped::default(),
            unsettled: false,
            scanned: SystemTime::UNIX_EPOCH,
        }
    }
}

impl TargetSet {
    /// WordIndex that one snapshot of all JVMs holds.
    pub fn words(&self) -> usize {
        self.targets.iter().map(|target| target.words.len()).sum()
    }

    /// JVMs in that state.
    pub fn count(&self, state: TargetState) -> usize {
        match state {
            TargetState::Starting => self.starting.len(),
            _ => self.targets.iter().filter(|target| target.state == state).count(),
        }
    }
}
