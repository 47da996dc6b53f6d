//! The HTTP server.
//!
//! The rest of the program is a [`Backend`] to it. A request passes the limit of connections ([`serve`]), TLS and the
//! checks of the [`Web`] configuration, the routes, and the limit of requests in flight; equal scrapes that arrive at
//! the same time share one run. Everything that reads a JVM, compresses or checks a password runs on a blocking thread.
//!
//! # Promise
//! A client costs bounded memory and time; [`ServerLimits`] lists the bounds. The server speaks HTTP/1.1 only: a scrape
//! is one request, so HTTP/2 would add attacks and no benefit. Requests with a body are refused, and headers have at
//! most 8 KiB.

mod address;
mod auth;
mod connections;
mod gzip;
pub mod healthcheck;
mod jvm_path;
mod page;
mod pool;
mod rate;
mod routes;
pub mod running;
mod scrape;
mod web;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use address::{BindError, Bound, ListenAddress, ListenAddressError, bind};
pub use connections::serve;
pub use web::Web;

pub use crate::output::prometheus::{ExpositionFormat, PageBuffer};
use crate::report::list::Listing;
use crate::report::overview::{JvmDetail, JvmKey, Measure, Overview};

/// What the server serves: the rest of the program.
pub trait Backend: Send + Sync + 'static {
    /// Names of the profiles, the default one first.
    fn profiles(&self) -> Vec<String>;

    /// Reads every JVM's memory, without a scan, and appends one exposition; `false` if no profile has that name. Runs
    /// on a blocking thread. JVMs that are not read by `deadline` are omitted, since the scraper gives up soon after.
    fn exposition(&self, profile: &str, format: ExpositionFormat, deadline: Instant, out: &mut PageBuffer<'_>) -> bool;

    /// The level of gzip, 1 to 9; `None` if responses are not to be compressed.
    fn gzip_level(&self) -> Option<u32>;

    /// What `list --format=json` prints. Runs on a blocking thread.
    fn targets(&self) -> Listing;

    /// What `GET /overview` responds with, with the points of these measures. Runs on a blocking thread.
    fn overview(&self, measures: &[Measure]) -> Overview;

    /// What `GET /overview/{app}/{slot}` responds with; `None` for a JVM that is not known. Runs on a blocking thread.
    fn jvm(&self, key: &JvmKey) -> Option<JvmDetail>;

    /// Which rule makes which metric of a JVM; `None` for one that is not served. Runs on a blocking thread.
    fn explain(&self, key: &JvmKey) -> Option<String>;

    /// Whether the JVMs that are served are those of this machine.
    fn readiness(&self) -> Readiness;

    /// Reloads the configuration, or says what is wrong with it. Runs on a blocking thread.
    fn reload(&self) -> Result<(), String>;
}

/// Whether a backend knows the JVMs of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// The first scan has not finished.
    Starting,
    /// The last scan ended so long ago that scanning seems to be stuck.
    Overdue(Duration),
}

/// The server's settings, from the flags.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--web.telemetry-path`
    pub telemetry_path: TelemetryPath,
    /// `--web.max-requests`: requests that read JVMs at the same time; 0 is no bound.
    pub max_requests: usize,
    /// `--web.enable-lifecycle`
    pub lifecycle: bool,
    /// `--web.config.file`
    pub web: Arc<Web>,
    /// Bounds that have no flag.
    pub limits: ServerLimits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            telemetry_path: TelemetryPath::default(),
            max_requests: 40,
            lifecycle: false,
            web: Arc::default(),
            limits: ServerLimits::default(),
        }
    }
}

/// Bounds on what clients cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Open connections; for a further one, the longest-inactive one is closed.
    pub connections: usize,
    /// Time for a TLS handshake, and from when a connection is ready for a request, so also idle, to its last header.
    pub headers: Duration,
    /// Time that sent bytes may stay unacknowledged.
    pub unacknowledged: Duration,
    /// Time that requests in flight have to finish at a shutdown.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            headers: Duration::from_secs(10),
            unacknowledged: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

/// `--web.telemetry-path`: the path of the default profile; other profiles are below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPath(Arc<str>);

/// Why a text is no telemetry path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "telemetry path {0:?}: expected / followed by letters, digits and ._~/-, other than /, /targets, /overview and /-/…; \
     the usual path is /metrics"
)]
pub struct TelemetryPathError(String);

impl std::str::FromStr for TelemetryPath {
    type Err = TelemetryPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let legal = |c: char| c.is_ascii_alphanumeric() || "._~/-".contains(c);
        let reserved = path == "/"
            || path == "/targets"
            || path == "/overview"
            || path == "/-"
            || path.starts_with("/-/")
            || path.contains("//");
        if path.starts_with('/') && path.chars().all(legal) && !reserved {
            Ok(Self(path.into()))
        } else {
            Err(TelemetryPathError(text.to_owned()))
        }
    }
}

impl TelemetryPath {
    /// It starts with `/` and does not end with it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TelemetryPath {
    fn default() -> Self {
        Self("/metrics".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_paths() {
        for (text, expected) in [
            ("/metrics", Some("/metrics")),
            ("/jvm/metrics/", Some("/jvm/metrics")),
            ("/", None),
            ("", None),
            ("metrics", None),
            ("/targets", None),
            ("/overview", None),
            ("/-/ready", None),
            ("/a b", None),
            ("/<x>", None),
            ("//", None),
        ] {
            assert_eq!(text.parse::<TelemetryPath>().ok().as_ref().map(TelemetryPath::as_str), expected, "{text}");
        }
    }
}
