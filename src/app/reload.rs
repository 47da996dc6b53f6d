//! Loading the configuration again.
//!
//! A thread of its own reads the files again, since a file system may not answer: JVMs are found and served meanwhile by
//! the configuration in force.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::App;
use crate::privilege;
use crate::sync::lock;
use crate::yaml::Fingerprint;

/// Longest time to read the configuration.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the outcome of a reload goes.
type Reply = Sender<Result<(), String>>;

/// What other threads share with the one that reads the configuration.
#[derive(Debug)]
pub(super) struct Reloads {
    requests: Sender<Reply>,
    received: Mutex<Option<Receiver<Reply>>>,
    /// Since when the files are being looked at.
    busy: Mutex<Option<Instant>>,
}

impl Default for Reloads {
    fn default() -> Self {
        let (requests, received) = channel();
        Self { requests, received: Mutex::new(Some(received)), busy: Mutex::default() }
    }
}

impl Reloads {
    /// Whether the files have been looked at for longer than they may take.
    pub(super) fn is_stuck(&self) -> bool {
        lock(&self.busy).is_some_and(|since| since.elapsed() > PATIENCE)
    }
}

impl App {
    /// Starts the thread that reads the configuration again when it is asked to or its files have changed.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn follow_configuration(self: &Arc<Self>) -> std::io::Result<()> {
        let Some(requests) = lock(&self.reloads.received).take() else { return Ok(()) };
        let app = Arc::downgrade(self);
        let run = move || {
            let Some(mut files) = app.upgrade().map(|app| app.config.load().seen.clone()) else { return };
            while let Some(interval) = app.upgrade().map(|app| app.config.load().discovery.interval) {
                let asked = requests.recv_timeout(interval);
                let Some(app) = app.upgrade() else { return };
                *lock(&app.reloads.busy) = Some(Instant::now());
                if asked.is_ok() || !files.holds() {
                    files = Fingerprint::of(&app.config.load().files);
                    let outcome = app.load_again();
                    if outcome.is_ok() {
                        files = app.config.load().seen.clone();
                    }
                    for reply in asked.into_iter().chain(requests.try_iter()) {
                        // Who asked may have given up.
                        let _ = reply.send(outcome.clone());
                    }
                }
                *lock(&app.reloads.busy) = None;
            }
        };
        std::thread::Builder::new().name("config".to_owned()).spawn(run).map(drop)
    }

    /// Has the configuration read again and waits for the outcome.
    ///
    /// # Errors
    /// Every problem of every file, or a file system that does not answer; the previous configuration stays in force.
    pub(super) fn request_reload(&self) -> Result<(), String> {
        let (reply, outcome) = channel();
        let stuck = || "its files could not be read within 10 s; check the file system that holds them".to_owned();
        self.reloads.requests.send(reply).map_err(|_| stuck())?;
        outcome.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(stuck()))
    }

    /// Reads the configuration again; the scanning thread puts a valid one into force.
    fn load_again(&self) -> Result<(), String> {
        self.service.reloading();
        let outcome = match self.source.load() {
            Ok(config) => {
                privilege::warn_of_missing(&config);
                self.config.store(Arc::new(config));
                tracing::info!("configuration reloaded");
                Ok(())
            }
            Err(problems) => {
                tracing::error!(%problems, "invalid configuration; the previous one stays in force");
                Err(problems.to_string())
            }
        };
        self.metrics.config_reloaded(outcome.is_ok());
        self.service.reloaded(outcome.is_ok());
        self.waker.wake();
        outcome
    }
}
