//! Flags and subcommands, spelled as Prometheus exporters spell them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{NmtMode, Overrides};
use crate::server::{ListenAddress, TelemetryPath, healthcheck};
use crate::telemetry::log;

/// Prometheus metrics of every HotSpot JVM on this machine, read from shared memory without touching the JVM.
#[derive(Debug, Parser)]
#[command(name = "hotspot-exporter", version, max_term_width = 100, args_conflicts_with_subcommands = false)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of every call.
    #[command(flatten)]
    pub flags: Flags,
}

/// Flags that every call understands.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Configuration file; without one the embedded defaults apply.
    #[arg(long = "config.file", value_name = "FILE", global = true)]
    pub config_file: Option<PathBuf>,
    /// Check the configuration, print every problem with its place, and exit with 0 or 64.
    #[arg(long = "config.check")]
    pub config_check: bool,
    /// Scan once, print one exposition in text format 0.0.4, and exit. No JVM is asked for its native memory and
    /// nothing is sampled, so `jvm_nmt_*`, pauses and peaks are absent.
    #[arg(long = "once")]
    pub once: bool,
    /// Address to listen on: `:PORT`, `HOST:PORT` or `[IPv6]:PORT`. May be given several times.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":9850")]
    pub listen: Vec<ListenAddress>,
    /// Serve on the sockets that systemd passes, instead of `--web.listen-address`.
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,
    /// Path of the default profile's metrics; further profiles are served at `/metrics/NAME`.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics")]
    pub telemetry_path: TelemetryPath,
    /// TLS, passwords, headers and a rate limit, in the format of Prometheus' exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Scrapes served at one time; 0 is no limit.
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 40)]
    pub max_requests: usize,
    /// Allow a reload of the configuration by `POST /-/reload`. SIGHUP always reloads.
    #[arg(long = "web.enable-lifecycle")]
    pub lifecycle: bool,
    /// A directory that is some JVM's `/tmp`; replaces the configured roots. May be given several times, may hold
    /// globs and `{name}` captures, which become labels.
    #[arg(long = "discovery.root", value_name = "DIR", global = true)]
    pub roots: Vec<String>,
    /// Mount point of the proc file system, or `off` to look at no process.
    #[arg(long = "path.procfs", value_name = "DIR", global = true)]
    pub procfs: Option<String>,
    /// How Native Memory Tracking may be asked for.
    #[arg(long = "nmt.mode", value_name = "MODE", global = true)]
    pub nmt_mode: Option<NmtChoice>,
    /// Allow `nmt.mode: active`, which signals JVMs, while running as root.
    #[arg(long = "nmt.allow-active-as-root", global = true)]
    pub allow_active_as_root: bool,
    /// Least severe level that is logged.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", global = true)]
    pub log_level: log::LogLevel,
    /// Form of the log lines on standard error.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", global = true)]
    pub log_format: log::LogFormat,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Every JVM found, and every Java process or file that cannot be read, with the reason. Asks no JVM anything.
    List {
        /// Form of the output.
        #[arg(long, default_value = "table")]
        format: OutputFormat,
    },
    /// Every counter of one JVM with type, units, variability and value.
    Dump {
        /// A process id, or a region file.
        #[arg(value_name = "PID|FILE")]
        subject: String,
        /// Form of the output.
        #[arg(long, default_value = "table")]
        format: OutputFormat,
    },
    /// Native memory by the JVM's own account: total and categories, in bytes. Asks the JVM once, as `nmt.mode` allows.
    Nmt {
        /// A process id, or a saved reply to `jcmd PID VM.native_memory`.
        #[arg(value_name = "PID|FILE")]
        subject: String,
        /// Form of the output.
        #[arg(long, default_value = "table")]
        format: OutputFormat,
    },
    /// Which rule makes which metric of which counter, and which counters no rule takes. Of a running JVM also what is
    /// known beside its counters; for that it is asked for its native memory once, and never signalled.
    Explain {
        /// A process id, or a region file.
        #[arg(value_name = "PID|FILE")]
        subject: String,
    },
    /// Ask a running exporter whether it is healthy: exit 0 or 1.
    Healthcheck {
        /// What to ask.
        #[arg(value_name = "URL", default_value = healthcheck::DEFAULT_URL)]
        url: String,
    },
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// `--nmt.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NmtChoice {
    /// Never ask.
    Off,
    /// Use an attach socket that is there; signal nobody and write nothing.
    Passive,
    /// Also start the attach listener of JVMs that have none.
    Active,
}

impl Flags {
    /// What the flags replace in the configuration file. `signals` says whether this call may come to signal JVMs.
    pub fn overrides(&self, signals: bool) -> Overrides {
        Overrides {
            active_refused: signals && !self.allow_active_as_root && rustix::process::geteuid().is_root(),
            roots: self.roots.clone(),
            procfs: self.procfs.as_ref().map(|path| (path != "off").then(|| PathBuf::from(path))),
            nmt_mode: self.nmt_mode.map(|mode| match mode {
                NmtChoice::Off => NmtMode::Off,
                NmtChoice::Passive => NmtMode::Passive,
                NmtChoice::Active => NmtMode::Active,
            }),
            environment: environment(),
        }
    }
}

/// The variables of OpenTelemetry's specification.
fn environment() -> Vec<(String, String)> {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    variables.filter(|(name, _)| name.starts_with("OTEL_")).collect()
}
