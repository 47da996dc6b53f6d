//! Pushing over OTLP, as the configuration in force says.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::App;
use crate::config::Otlp;
use crate::metric::FamilySamples;
use crate::output::otlp::{Push, PushSource, PushStatistics};
use crate::snapshot::Snapshot;
use crate::sync::lock;
use crate::targets::Target;
use crate::telemetry::process_start_time;
use crate::yaml::Problems;

/// Time to read all JVMs for a push.
const DEADLINE: Duration = Duration::from_secs(5);

/// The thread that pushes, while one runs, and what all of them have counted.
#[derive(Debug, Default)]
pub(super) struct OtlpPush {
    running: Mutex<Option<Push>>,
    /// What was warned of.
    ignored: Mutex<Problems>,
    pub(super) statistics: Arc<PushStatistics>,
}

impl OtlpPush {
    /// Starts, changes or ends the thread.
    pub(super) fn configure(&self, config: &Otlp, source: Arc<dyn PushSource>) {
        self.warn_of(&config.ignored);
        if !config.enabled {
            return self.stop();
        }
        let mut running = lock(&self.running);
        match &*running {
            Some(push) => push.configure(config.clone()),
            None => match Push::start(config.clone(), source, Arc::clone(&self.statistics)) {
                Ok(push) => *running = Some(push),
                Err(error) => tracing::error!(%error, "cannot start the OTLP push thread"),
            },
        }
    }

    /// Warns of what the environment says in vain, once.
    fn warn_of(&self, ignored: &Problems) {
        let mut known = lock(&self.ignored);
        for problem in ignored.list.iter().filter(|problem| !known.list.contains(problem)) {
            tracing::warn!(%problem, "a variable of the environment is ignored");
        }
        known.clone_from(ignored);
    }

    /// Has the last values of JVMs that have ended pushed.
    pub(super) fn ended(&self, targets: Vec<Arc<Target>>) {
        if let Some(push) = &*lock(&self.running) {
            push.ended(targets);
        }
    }

    fn stop(&self) {
        let push = lock(&self.running).take();
        if let Some(push) = push {
            push.stop();
        }
    }
}

impl App {
    /// Starts pushing if the configuration enables it.
    pub fn start_pushing(self: &Arc<Self>) {
        self.configure_push(&self.config.load().otlp);
    }

    pub(super) fn configure_push(self: &Arc<Self>, config: &Otlp) {
        self.push.configure(config, self.clone());
    }

    /// Pushes once more and ends pushing, within [`crate::output::otlp::FLUSH`].
    pub fn stop_pushing(&self) {
        self.push.stop();
    }
}

impl PushSource for App {
    fn snapshot(&self) -> Snapshot {
        self.snapshot_of(self.targets(), Instant::now() + DEADLINE)
    }

    fn last_snapshot(&self) -> Snapshot {
        Snapshot::last(self.targets().targets.clone())
    }

    fn own(&self) -> (Vec<FamilySamples>, f64) {
        (self.own_families(), process_start_time().unwrap_or_default())
    }
}
