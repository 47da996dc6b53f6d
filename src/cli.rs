//! Flags and subcommands, in the spelling of Prometheus exporters.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hyper_util::client::proxy::matcher::Matcher;

use crate::config::{AttachMode, DownwardApi, Overrides};
use crate::server::{ListenAddress, TelemetryPath, healthcheck};
use crate::service;
use crate::telemetry::log;
use crate::yaml::codec::DurationBounds;

/// Exports Prometheus metrics of every HotSpot JVM on this machine, read from shared memory without touching the JVM.
#[derive(Debug, Parser)]
#[command(name = "hotspot-exporter", version, max_term_width = 100, args_conflicts_with_subcommands = false)]
pub struct Cli {
    /// The subcommand; without one the exporter serves.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of every call.
    #[command(flatten)]
    pub flags: Flags,
}

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Configuration file. The embedded defaults apply without one.
    #[arg(long = "config.file", value_name = "FILE", global = true)]
    pub config_file: Option<PathBuf>,
    /// Check the configuration, print every problem with its position, and exit with 0 or 64.
    #[arg(long = "config.check")]
    pub config_check: bool,
    /// Scan once, print the exposition in text format 0.0.4, and exit. Native memory, pauses and peaks are absent: they
    /// take time to measure.
    #[arg(long = "once")]
    pub once: bool,
    /// Address to listen on: `:PORT`, `HOST:PORT` or `[IPv6]:PORT`; `:9850` without the flag. Repeatable. `list` asks the
    /// exporter there.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", global = true)]
    pub listen: Vec<ListenAddress>,
    /// Serve on the sockets passed by systemd instead of `--web.listen-address`.
    #[arg(long = "web.systemd-socket")]
    pub systemd_socket: bool,
    /// Path of the default profile's metrics. Other profiles are served at PATH/NAME.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics")]
    pub telemetry_path: TelemetryPath,
    /// Web configuration file with TLS, passwords, headers and a rate limit, in the format of Prometheus'
    /// exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Maximum number of scrapes served at the same time; 0 for no limit.
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 40)]
    pub max_requests: usize,
    /// Allow `POST /-/reload` to reload the configuration. SIGHUP always does.
    #[arg(long = "web.enable-lifecycle")]
    pub lifecycle: bool,
    /// Directory that is the `/tmp` of JVMs. Replaces the configured roots. May contain globs, and `{name}` captures,
    /// which become labels. Repeatable.
    #[arg(long = "discovery.root", value_name = "DIR", global = true)]
    pub roots: Vec<String>,
    /// Mount point of the proc file system, or `off` to read no process.
    #[arg(long = "path.procfs", value_name = "DIR", global = true)]
    pub procfs: Option<String>,
    /// Directory that keeps the slots of JVMs for the exporter's next run.
    #[arg(long = "state.directory", value_name = "DIR")]
    pub state_directory: Option<PathBuf>,
    /// Which JVMs to ask over their attach sockets.
    #[arg(long = "attach.mode", value_name = "MODE", global = true)]
    pub attach_mode: Option<AttachMode>,
    /// The old name of `--attach.mode`.
    #[arg(long = "nmt.mode", value_name = "MODE", global = true)]
    pub nmt_mode: Option<AttachMode>,
    /// Allow `attach.mode: active`, which signals JVMs, when running as root.
    #[arg(long = "attach.allow-active-as-root", visible_alias = "nmt.allow-active-as-root", global = true)]
    pub allow_active_as_root: bool,
    /// Least severe level to log.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", global = true)]
    pub log_level: log::LogLevel,
    /// Format of log lines on standard error.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", global = true)]
    pub log_format: log::LogFormat,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// List every JVM, and every Java process or file that cannot be read, with the reason. Asks a running exporter of this
    /// machine, and looks itself where none answers, or with flags that say where to look. Sends nothing to any JVM.
    List {
        /// Look anew, by the rights and flags of this call, and ask no running exporter.
        #[arg(long)]
        local: bool,
        /// Output format.
        #[arg(long, default_value = "table")]
        format: OutputFormat,
    },
    /// Print every counter of one JVM with type, units, variability and value.
    Dump {
        /// Process id or region file.
        #[arg(value_name = "PID|FILE")]
        subject: String,
        /// Output format.
        #[arg(long, default_value = "table")]
        format: OutputFormat,
    },
    /// Print the native memory of one JVM in bytes, in total and by category. Queries the JVM once, as `attach.mode`
    /// allows.
    Nmt {
        /// Process id, or a saved reply of `jcmd PID VM.native_memory`.
        #[arg(value_name = "PID|FILE")]
        subject: String,
        /// Output format.
        #[arg(long, default_value = "table")]
        format: OutputFormat,
    },
    /// Explain which rule makes which metric of one JVM from which counter, and which counters no rule uses. Asks a
    /// running JVM once over its attach socket, and never signals it.
    Explain {
        /// Process id or region file.
        #[arg(value_name = "PID|FILE")]
        subject: String,
    },
    /// Show all JVMs in the terminal, the worst first: heap, allocation, pauses, CPU and memory, and their last minutes.
    /// Asks a running exporter of this machine, and looks itself where none answers, or with flags that say where to
    /// look. Prints one table where standard output is no terminal.
    Top {
        /// URL of a running exporter, such as http://127.0.0.1:9850 with `kubectl port-forward`. A user may stand in it;
        /// the password may too, or in HOTSPOT_EXPORTER_PASSWORD.
        #[arg(long, value_name = "URL", conflicts_with = "local")]
        url: Option<String>,
        /// Look by the rights and flags of this call, and ask no running exporter.
        #[arg(long)]
        local: bool,
        /// Time between two looks, from 500ms to 1m.
        #[arg(long, value_name = "TIME", default_value = "2s", value_parser = top_interval)]
        interval: Duration,
    },
    /// Say what is wrong with the JVMs, each time with the number, its source and the next step, and what could not be
    /// checked. Exits with 1 if anything is at least a warning. Asks a running exporter of this machine, and looks itself
    /// where none answers, or with flags that say where to look.
    Doctor {
        /// Process id of a JVM, as `list` shows it; all JVMs without one.
        #[arg(value_name = "PID")]
        pid: Option<u32>,
        /// URL of a running exporter, such as http://127.0.0.1:9850 with `kubectl port-forward`. A user may stand in it;
        /// the password may too, or in HOTSPOT_EXPORTER_PASSWORD.
        #[arg(long, value_name = "URL", conflicts_with = "local")]
        url: Option<String>,
        /// Look by the rights and flags of this call, and ask no running exporter.
        #[arg(long)]
        local: bool,
        /// How long to look where no exporter is asked, from 2s to 15m.
        #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = doctor_time)]
        time: Duration,
        /// Name every JVM and file, where a line would count them.
        #[arg(long, short)]
        verbose: bool,
        /// Output format.
        #[arg(long, default_value = "table")]
        format: OutputFormat,
    },
    /// Check whether a running exporter is healthy, and exit with 0 or 1.
    Healthcheck {
        /// URL to request.
        #[arg(value_name = "URL", default_value = healthcheck::DEFAULT_URL)]
        url: String,
    },
}

/// What `--interval` of `top` may be.
const TOP_INTERVAL: DurationBounds =
    DurationBounds { zero: false, minimum: Duration::from_millis(500), maximum: Duration::from_secs(60) };

fn top_interval(text: &str) -> Result<Duration, String> {
    let duration = TOP_INTERVAL.read(text);
    duration.ok_or_else(|| format!("expected {TOP_INTERVAL}, such as 500ms, 2s or 1m"))
}

/// What `--for` of `doctor` may be.
const DOCTOR_TIME: DurationBounds =
    DurationBounds { zero: false, minimum: Duration::from_secs(2), maximum: Duration::from_secs(900) };

fn doctor_time(text: &str) -> Result<Duration, String> {
    DOCTOR_TIME.read(text).ok_or_else(|| format!("expected {DOCTOR_TIME}, such as 10s or 5m"))
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns.
    Table,
    /// JSON.
    Json,
}

impl Flags {
    /// Where to listen.
    pub fn listen(&self) -> Vec<ListenAddress> {
        if self.listen.is_empty() { vec![ListenAddress::default()] } else { self.listen.clone() }
    }

    /// Whether they say where to look for JVMs.
    pub fn choose_jvms(&self) -> bool {
        self.config_file.is_some() || !self.roots.is_empty() || self.procfs.is_some()
    }

    /// What the flags replace in the configuration file. `signals` says whether this call can signal JVMs.
    pub fn overrides(&self, signals: bool) -> Overrides {
        Overrides {
            active_refused: signals && !self.allow_active_as_root && rustix::process::geteuid().is_root(),
            roots: self.roots.clone(),
            procfs: self.procfs.as_ref().map(|path| (path != "off").then(|| PathBuf::from(path))),
            attach_mode: self.attach_mode,
            nmt_mode: self.nmt_mode,
            state_directory: self.state_directory.clone(),
            state_default: service::state_directory(),
            downward: DownwardApi::read(&|name| std::env::var(name).ok()),
            environment: environment(),
            proxies: Some(Arc::new(Matcher::from_env())),
        }
    }
}

/// The environment variables of the OpenTelemetry specification.
fn environment() -> Vec<(String, String)> {
    let variables =
        std::env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()));
    variables.filter(|(name, _)| name.starts_with("OTEL_")).collect()
}
