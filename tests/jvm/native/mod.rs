//! Native memory and process facts end to end: the real exporter, real JVMs, and what the JDK's own tool says.

mod command;
mod containers;
mod process;
mod signals;
mod table;

use std::path::PathBuf;

use crate::support::exporter::Exporter;
use tempfile::TempDir;

/// What makes a JVM tell its native memory to everybody with its uid and gid.
const LISTENING: [&str; 2] = ["-XX:NativeMemoryTracking=summary", "-XX:+StartAttachListener"];

/// A configuration file, and the flag that names it. JVMs are asked as often as can be configured.
struct Config {
    _directory: TempDir,
    file: PathBuf,
}

impl Config {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("exporter.yaml");
        std::fs::write(&file, text).unwrap();
        Self { _directory: directory, file }
    }

    fn flag(&self) -> String {
        format!("--config.file={}", self.file.display())
    }
}

/// An exporter of what runs on this machine that asks every second.
fn exporter() -> (Config, Exporter) {
    let config = Config::new("discovery: {interval: 100ms}\nnmt: {interval: 1s}\n");
    let exporter = Exporter::start([config.flag(), "--discovery.root=/tmp".to_owned()]);
    (config, exporter)
}
