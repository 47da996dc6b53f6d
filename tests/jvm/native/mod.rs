//! Native memory and process facts end to end: the real exporter, real JVMs, and the output of the JDK's own tool.

pub(crate) mod cgroups;
mod command;
mod containers;
mod options;
mod process;
mod signals;
mod table;

use std::path::PathBuf;

use crate::support::exporter::Exporter;
use tempfile::TempDir;

/// Flags of a JVM that replies to every process with its uid and gid.
const LISTENING: [&str; 2] = ["-XX:NativeMemoryTracking=summary", "-XX:+StartAttachListener"];

/// A configuration file, and the flag that names it. JVMs are queried as often as the configuration allows.
pub(crate) struct Config {
    _directory: TempDir,
    file: PathBuf,
}

impl Config {
    pub(crate) fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("exporter.yaml");
        std::fs::write(&file, text).unwrap();
        Self { _directory: directory, file }
    }

    pub(crate) fn flag(&self) -> String {
        format!("--config.file={}", self.file.display())
    }
}

/// An exporter of this machine's JVMs that queries every second.
fn exporter() -> (Config, Exporter) {
    let config = Config::new("discovery: {interval: 100ms}\nnmt: {interval: 1s}\n");
    let exporter = Exporter::start([config.flag(), "--discovery.root=/tmp".to_owned()]);
    (config, exporter)
}
