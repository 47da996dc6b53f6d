//! The JVMs that are served.
//!
//! A [`Reconciler`] tracks every JVM from scan to scan and publishes a [`TargetSet`]: an immutable list of [`Target`]s.
//! Scrapes read the last target set and never wait for a scan.

pub(crate) mod changes;
mod description;
mod duplicates;
mod examiner;
pub(crate) mod guarded;
mod kind;
mod reconciler;
mod slot_record;
mod slots;
pub(crate) mod sources;
mod start;
mod target;
mod tracked;
mod vitals;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

pub use description::JvmDescription;
pub use reconciler::{AttachProviders, JvmProviders, Reconciler};
pub use slot_record::SlotRecord;
pub use target::{Incarnation, Target, TargetState};
pub(crate) use vitals::Vitals;

use crate::discovery::Refusal;
use crate::perfdata::Transport;
use crate::rules::{Dropped, Profile};

/// The result of a scan.
#[derive(Debug)]
pub struct TargetSet {
    /// The JVMs that are served, in a stable order.
    pub targets: Vec<Arc<Target>>,
    /// JVMs whose regions are not initialized yet.
    pub starting: Vec<Starting>,
    /// What could not be read, and why.
    pub refusals: Vec<Refusal>,
    /// The profiles, in the order of each target's plans.
    pub profiles: Vec<Arc<Profile>>,
    /// Dropped series of all JVMs and profiles.
    pub(crate) dropped: Dropped,
    /// A JVM was replaced during the scan: the next scan should start at once.
    pub unsettled: bool,
    /// When the scan ended.
    pub scanned: SystemTime,
}

/// A JVM whose region is not initialized yet.
#[derive(Clone, Debug)]
pub struct Starting {
    /// Where the region is.
    pub path: PathBuf,
    /// Name of the region file.
    pub vpid: i32,
    /// The process, where it is visible.
    pub pid: Option<i32>,
    /// How the region is read, if that is known yet.
    pub transport: Option<Transport>,
}

impl From<Refusal> for Starting {
    /// From a region file that was refused because it is not initialized.
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
    /// Number of JVMs in that state.
    pub fn count(&self, state: TargetState) -> usize {
        match state {
            TargetState::Starting => self.starting.len(),
            _ => self.targets.iter().filter(|target| target.state == state).count(),
        }
    }
}
