//! The history: a thread that adds a point of every JVM each step, and what is shown of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{App, LISTING_DEADLINE};
use crate::history::{EndSigns, STEP};
use crate::perfdata::Transport;
use crate::report::list::JvmRow;
use crate::report::overview::{JvmDetail, JvmKey, Measure, Overview};
use crate::snapshot::Snapshot;
use crate::sync::lock;
use crate::targets::guarded::PATIENCE;
use crate::targets::{Target, TargetSet};

/// A JVM that started so recently may have removed the file of one that ended.
const SUCCESSION: Duration = Duration::from_secs(15);

impl App {
    /// Keeps a history with a point every `step`, by default [`STEP`]. Its points are those of [`App::overview`], and those
    /// of [`App::start_history`].
    pub fn keep_history(&self, step: Option<Duration>) {
        *lock(&self.history_step) = step.unwrap_or(STEP);
        self.configure_history(self.config.load().history);
    }

    /// Starts the thread that adds a point to the history whenever one is due.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start_history(self: &Arc<Self>) -> std::io::Result<()> {
        let (app, history) = (Arc::downgrade(self), Arc::clone(&self.history));
        let run = move || {
            while let Some(app) = app.upgrade().filter(|app| !app.stopping.load(Ordering::Acquire)) {
                if app.history.is_due(Instant::now()) {
                    app.add_points();
                }
                drop(app);
                history.wait();
            }
        };
        std::thread::Builder::new().name("history".to_owned()).spawn(run).map(drop)
    }

    /// Keeps a history of that span; `None` is none.
    pub(super) fn configure_history(&self, span: Option<Duration>) {
        self.history.configure(span, *lock(&self.history_step));
    }

    /// Adds a point of every JVM.
    fn add_points(&self) {
        let deadline = Instant::now() + self.history.step().unwrap_or(STEP);
        let snapshot = Snapshot::take_vitals(self.targets(), deadline);
        self.note_outcome(&snapshot);
        self.history.record(&snapshot, Instant::now());
    }

    /// Keeps what is known of JVMs that have ended, beside those of a scan.
    pub(super) fn remember(&self, ended: &[Arc<Target>], targets: &TargetSet) {
        if ended.is_empty() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        // A file can still be read, memory cannot: whoever has it may hold this thread.
        let (files, others): (Vec<_>, Vec<_>) =
            ended.iter().cloned().partition(|target| target.region.transport() == Transport::File);
        let last = Snapshot::last(files.clone());
        let begin = Instant::now();
        for (index, target) in (0..).zip(files.iter().chain(&others)) {
            let row = JvmRow::of(target, &last.values(index));
            self.history.end(target, signs(target, targets, now, begin), now, row);
        }
    }

    /// Every JVM with its last minutes, of which it has the points of these measures. Where a point of the history is due,
    /// what is read now is that point.
    pub fn overview(&self, measures: &[Measure]) -> Overview {
        let snapshot = Snapshot::take_vitals(self.targets(), Instant::now() + LISTING_DEADLINE);
        let now = Instant::now();
        if self.history.is_due(now) {
            self.history.record(&snapshot, now);
        }
        Overview::of(&snapshot, &self.history, measures, &self.state())
    }

    /// One JVM with all that is known of it; `None` if none has that key.
    pub fn jvm(&self, key: &JvmKey) -> Option<JvmDetail> {
        let targets = self.targets();
        let wanted = targets.targets.iter().filter(|target| key.is_target(target)).cloned().collect();
        let wanted = Arc::new(TargetSet { targets: wanted, ..TargetSet::default() });
        let snapshot = Snapshot::take(wanted, Instant::now() + LISTING_DEADLINE);
        JvmDetail::of(&snapshot, &self.history, key, &self.config.load())
    }
}

/// What shows how a JVM ended, whose file may still be open.
fn signs(target: &Target, targets: &TargetSet, now: f64, begin: Instant) -> EndSigns {
    let directory = target.path.parent();
    let is_beside = |path: &Path| path.parent() == directory;
    let is_new = |start_millis: i64| now - start_millis as f64 / 1e3 < SUCCESSION.as_secs_f64();
    let follows = |other: &Arc<Target>| is_beside(&other.path) && is_new(other.incarnation.start_millis);
    // A file system that does not answer costs this once, however many JVMs have ended.
    let mut providers = target.providers.iter().filter(|_| begin.elapsed() < PATIENCE);
    EndSigns {
        unlinked: target.region.file().is_some().then(|| target.is_unlinked()),
        has_successor: targets.targets.iter().any(follows)
            || targets.starting.iter().any(|starting| is_beside(&starting.path)),
        oom_kill: providers.find_map(|attached| attached.provider.counts_oom_kill()),
    }
}
