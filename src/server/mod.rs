//! The HTTP server.
//!
//! It knows the rest of the program as a [`Backend`]. A request passes the bound on connections ([`serve`]), TLS and the
//! checks that [`Web`] asks for, the routes, the bound on requests in flight, and for an exposition the single flight
//! that simultaneous scrapes share. Everything that reads a JVM, compresses or checks a password runs on a blocking
//! thread.
//!
//! # Promise
//! A client costs bounded memory and time: [`ServerLimits`] names each bound. Requests with a body are refused, headers are
//! at most 8 KiB, and clear text speaks HTTP/1 only. When all places are taken, the connection that has waited longest
//! without a request at work gives way, so that a flood does not keep a scraper out.

mod address;
mod auth;
mod connections;
pub mod healthcheck;
mod landing;
mod pool;
mod rate;
mod routes;
mod scrape;
mod web;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use address::{BindError, Bound, ListenAddress, ListenAddressError, bind};
pub use connections::serve;
pub use web::Web;

pub use crate::output::prometheus::negotiate::ExpositionFormat;
use crate::report::list::Listing;

/// What the server serves: the rest of the program.
pub trait Backend: Send + Sync + 'static {
    /// Names of the profiles, the default one first.
    fn profiles(&self) -> Vec<String>;

    /// Reads every JVM's memory, without a scan, and appends one exposition; `false` if no profile has that name. Runs
    /// on a blocking thread. What is not read by `deadline` is left out, since the scraper gives up soon after.
    fn exposition(&self, profile: &str, format: ExpositionFormat, deadline: Instant, out: &mut Vec<u8>) -> bool;

    /// What `list --format=json` prints. Runs on a blocking thread.
    fn targets(&self) -> Listing;

    /// The configuration is loaded and the first scan is done.
    fn is_ready(&self) -> bool;

    /// Loads the configuration anew; an error tells what is wrong with it. Runs on a blocking thread.
    fn reload(&self) -> Result<(), String>;
}

/// What the flags say about the server.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--web.telemetry-path`
    pub telemetry_path: TelemetryPath,
    /// `--web.max-requests`: requests that read JVMs at one time; 0 is no bound.
    pub max_requests: usize,
    /// `--web.enable-lifecycle`
    pub lifecycle: bool,
    /// `--web.config.file`
    pub web: Arc<Web>,
    /// Bounds that no flag changes.
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

/// Bounds on what clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Open connections; a further one takes the place of the one that has waited longest.
    pub connections: usize,
    /// Time for a TLS handshake, and for a request's headers to arrive, from the first moment the connection waits for
    /// them; so also the time that a connection may idle.
    pub headers: Duration,
    /// Time that sent bytes may stay unacknowledged.
    pub unacknowledged: Duration,
    /// Time that requests in flight get to end at a shutdown.
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

/// `--web.telemetry-path`: where the default profile is served; further ones are below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryPath(Arc<str>);

/// Why a telemetry path cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "telemetry path {0:?}: must begin with /, hold only letters, digits and ._~/- and be none of /, /targets and /-/…; \
     the usual one is /metrics"
)]
pub struct TelemetryPathError(String);

impl std::str::FromStr for TelemetryPath {
    type Err = TelemetryPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_suffix('/').unwrap_or(text);
        let legal = |c: char| c.is_ascii_alphanumeric() || "._~/-".contains(c);
        let taken = path == "/" || path == "/targets" || path == "/-" || path.starts_with("/-/") || path.contains("//");
        if path.starts_with('/') && path.chars().all(legal) && !taken {
            Ok(Self(path.into()))
        } else {
            Err(TelemetryPathError(text.to_owned()))
        }
    }
}

impl TelemetryPath {
    /// Begins with `/` and does not end with it.
    pub fn as_str(&self) -> &str {
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
            ("/-/ready", None),
            ("/a b", None),
            ("/<x>", None),
            ("//", None),
        ] {
            assert_eq!(text.parse::<TelemetryPath>().ok().as_ref().map(TelemetryPath::as_str), expected, "{text}");
        }
    }
}
