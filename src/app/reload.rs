//! Loading the configuration, at the start and again.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::App;
use crate::config::{self, Config, Overrides};
use crate::privilege;
use crate::yaml::{Fingerprint, Problems};

/// Where the configuration comes from, each time it is read.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// `--config.file`
    pub file: Option<PathBuf>,
    /// Flags and variables that replace parts of it.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Reads and checks it.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn load(&self) -> Result<Config, Problems> {
        let seen = RefCell::new(Fingerprint::default());
        let read = |path: &Path| {
            seen.borrow_mut().note(path);
            std::fs::read_to_string(path)
        };
        let config = config::load(self.file.as_deref(), &self.overrides, &read)?;
        Ok(Config { seen: seen.into_inner(), ..config })
    }
}

impl App {
    /// Reads the configuration again; the scanning thread puts a valid one into force.
    ///
    /// # Errors
    /// Every problem of every file; the previous configuration stays in force.
    pub(super) fn load_again(&self) -> Result<(), String> {
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
