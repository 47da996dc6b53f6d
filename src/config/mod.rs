//! The configuration: YAML to checked types. What a value of these types says has been checked; nothing behind this
//! module looks at YAML again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::mapping::Profile;

/// Everything the program can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where JVMs are looked for.
    pub discovery: Discovery,
    /// How often counters are looked at between scrapes.
    pub sampling: Sampling,
    /// Native Memory Tracking.
    pub nmt: Nmt,
    /// The mappings, the default one first; never empty.
    pub profiles: Vec<Arc<Profile>>,
    /// Bounds on what one exporter may hold and print.
    pub limits: Limits,
}

/// `discovery:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Time between two scans; inotify makes one come sooner.
    pub interval: Duration,
    /// Directories that are some JVM's `/tmp`.
    pub roots: Vec<RootPattern>,
    /// The proc file system to look for processes in.
    pub procfs: Procfs,
}

/// `discovery.roots[]`: a path whose components may hold globs and `{name}` captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootPattern {
    /// As written, absolute.
    pub pattern: String,
}

/// `discovery.procfs:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Procfs {
    /// Whether processes are looked at.
    pub enabled: Enabled,
    /// Mount point.
    pub path: PathBuf,
}

/// A switch that may decide by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// Where it works.
    Auto,
    /// Always; it not working is worth a warning.
    Yes,
    /// Never.
    No,
}

/// `sampling:`
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Time between two looks at a busy JVM; zero switches sampling off.
    pub interval: Duration,
    /// The same for an idle JVM.
    pub idle_interval: Duration,
}

/// `nmt:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nmt {
    /// What may be done to get an answer.
    pub mode: NmtMode,
    /// Time between two questions to one JVM.
    pub interval: Duration,
    /// Deadline of one answer.
    pub timeout: Duration,
}

/// `nmt.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NmtMode {
    /// Never ask.
    Off,
    /// Use an attach socket that is there.
    Passive,
    /// Also start the attach listener.
    Active,
}

/// `limits:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// JVMs served at one time; further ones are refused.
    pub max_jvms: usize,
    /// Series per JVM and profile; further ones are dropped and counted.
    pub max_series_per_jvm: usize,
    /// Bytes of a label value; longer ones are cut at a character.
    pub max_label_value_length: usize,
}

/// Flags of the command line that replace parts of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--discovery.root`, if any was given.
    pub roots: Vec<String>,
    /// `--path.procfs`; `None` inside is `off`.
    pub procfs: Option<Option<PathBuf>>,
    /// `--nmt.mode`
    pub nmt_mode: Option<NmtMode>,
}

/// Text of files by the name that `profiles:` uses; tests pass a map, the program the file system.
pub type Files = BTreeMap<PathBuf, String>;
