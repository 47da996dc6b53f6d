//! The configuration: YAML to checked types. What a value of these types says has been checked; nothing behind this
//! module looks at YAML again.

mod load;
mod otlp;
#[cfg(test)]
mod otlp_tests;
mod schema;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::yaml::Fingerprint;
pub use crate::yaml::{Problem, Problems};
pub use load::{DEFAULT, load};
pub use otlp::{Compression, HistogramForm, Otlp, OtlpProtocol, Temporality};

use crate::perfdata::FileMode;
use crate::rules::{Profile, SeriesLimits};

/// Everything the program can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where JVMs are looked for.
    pub discovery: Discovery,
    /// What names an app.
    pub identity: Identity,
    /// How often counters are looked at between scrapes.
    pub sampling: Sampling,
    /// Native Memory Tracking.
    pub nmt: Nmt,
    /// The mappings, the default one first; never empty.
    pub profiles: Vec<Arc<Profile>>,
    /// Pushing over OTLP.
    pub otlp: Otlp,
    /// Bounds on what one exporter may hold and print.
    pub limits: Limits,
    /// The files that were read, the configuration first: what to watch for a reload. Empty for the embedded defaults.
    pub files: Vec<PathBuf>,
    /// Those files as they were when they were read; empty where the reader did not say.
    pub(crate) seen: Fingerprint,
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
    /// How region files are read.
    pub access: FileMode,
    /// Whether JVMs without a readable file are read from their memory.
    pub processes: Processes,
}

/// `discovery.processes`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Processes {
    /// Where the kernel allows it.
    #[default]
    Auto,
    /// Never.
    Off,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            roots: ["/tmp", "/hsperf/{container}"].map(|path| RootPattern { pattern: path.to_owned() }).into(),
            procfs: Procfs::default(),
            access: FileMode::default(),
            processes: Processes::default(),
        }
    }
}

/// `identity:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Names of `-D` properties whose value names the app; the first that is set counts.
    pub properties: Vec<String>,
}

impl Default for Identity {
    fn default() -> Self {
        Self { properties: ["otel.service.name", "spring.application.name"].map(str::to_owned).into() }
    }
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

impl Procfs {
    /// The mount point, unless processes are not to be looked at.
    pub fn visible(&self) -> Option<&Path> {
        (self.enabled != Enabled::No).then_some(&self.path)
    }
}

impl Default for Procfs {
    fn default() -> Self {
        Self { enabled: Enabled::Auto, path: PathBuf::from("/proc") }
    }
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
    /// Upper bounds of the buckets of pauses, in seconds, ascending.
    pub buckets: Vec<f64>,
    /// Whether pauses are told apart by their cause, which multiplies their series.
    pub causes: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(10),
            idle_interval: Duration::from_millis(100),
            buckets: vec![0.01, 0.1, 1.0, 10.0],
            causes: false,
        }
    }
}

/// `nmt:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nmt {
    /// What may be done to get an answer.
    pub mode: NmtMode,
    /// Time between two questions to one JVM.
    pub interval: Duration,
    /// Deadline of one answer, at most the interval.
    pub timeout: Duration,
}

impl Default for Nmt {
    fn default() -> Self {
        Self { mode: NmtMode::Passive, interval: Duration::from_secs(30), timeout: Duration::from_secs(5) }
    }
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
    /// Bounds on what the rules make of one JVM.
    pub series: SeriesLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_jvms: 1000, series: SeriesLimits::default() }
    }
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
    /// Active mode is a problem: this is root, about to ask JVMs, without `--nmt.allow-active-as-root`.
    pub active_refused: bool,
    /// Variables of the environment, of which those that start with `OTEL_` count.
    pub environment: Vec<(String, String)>,
}
