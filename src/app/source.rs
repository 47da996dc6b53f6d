//! Where the configuration comes from.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, Overrides};
use crate::yaml::{Fingerprint, Problems, read_file};

/// Largest file of the configuration.
const FILE_MAXIMUM: u64 = 16 << 20;

/// The files and flags that the configuration is read from, each time.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// `--config.file`
    pub file: Option<PathBuf>,
    /// Flags and variables that replace parts of it.
    pub overrides: Overrides,
}

impl ConfigSource {
    /// Reads and checks it; fails with every problem of every file.
    pub fn load(&self) -> Result<Config, Problems> {
        let seen = RefCell::new(Fingerprint::default());
        let read = |path: &Path| {
            seen.borrow_mut().note(path);
            String::from_utf8(read_file(path, FILE_MAXIMUM)?).map_err(std::io::Error::other)
        };
        let config = config::load(self.file.as_deref(), &self.overrides, &read)?;
        Ok(Config { seen: seen.into_inner(), ..config })
    }
}
