//! What a scan examines now, and what has held one: whoever scans on a thread that can be given up learns from it what to
//! leave alone.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Longest time to examine one subject. The largest memory map takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a scan examines at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ScanSubject {
    /// The directories that a root pattern matches.
    Root(String),
    /// A process, by its number and its start in clock ticks since boot.
    Process(i32, u64),
}

/// Shared by the scanner and whoever waits for it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    current: Mutex<Option<(ScanSubject, Instant)>>,
    held: Mutex<HashSet<ScanSubject>>,
}

impl Progress {
    /// Notes what is examined next. False: it has held an earlier scan, and is not to be touched.
    pub(super) fn enter(&self, subject: ScanSubject) -> bool {
        let free = !lock(&self.held).contains(&subject);
        *lock(&self.current) = free.then(|| (subject, Instant::now()));
        free
    }

    /// Whether the current subject holds the scan.
    pub(crate) fn is_held(&self) -> bool {
        lock(&self.current).as_ref().is_some_and(|(_, since)| since.elapsed() > PATIENCE)
    }

    /// Has the current subject left alone from now on, and returns it.
    pub(crate) fn give_up(&self) -> Option<ScanSubject> {
        let (subject, _) = lock(&self.current).take()?;
        self.leave_alone(subject.clone());
        Some(subject)
    }

    /// Has the subject left alone from now on.
    pub(crate) fn leave_alone(&self, subject: ScanSubject) {
        lock(&self.held).insert(subject);
    }

    /// A scan that was given up has ended after all: its roots may be examined again. Processes may not.
    pub(crate) fn release_roots(&self) {
        lock(&self.held).retain(|subject| !matches!(subject, ScanSubject::Root(_)));
    }

    /// Forgets processes that have ended.
    pub(super) fn forget_ended(&self, lives: impl Fn(i32) -> bool) {
        lock(&self.held).retain(|subject| !matches!(subject, ScanSubject::Process(pid, _) if !lives(*pid)));
    }
}
