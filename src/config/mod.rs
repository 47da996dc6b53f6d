//! The configuration: YAML to checked types. A value of these types is valid; nothing behind this module reads YAML.
//!
//! Every key is declared once, in `schema` and `otlp`. Decoding, defaults and the JSON Schema follow from that.

mod attach;
mod downward;
mod endpoint;
mod environment;
mod load;
mod otlp;
#[cfg(test)]
mod otlp_tests;
mod root;
mod schema;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;

pub(crate) use crate::yaml::Fingerprint;
pub use crate::yaml::{Problem, Problems};
pub use attach::{AttachMode, AttachSettings};
pub use downward::{DownwardApi, OwnPod};
pub use endpoint::OtlpEndpoint;
pub use load::load;
pub use otlp::{Compression, HistogramForm, Otlp, OtlpProtocol, OtlpProxy, Temporality};
pub(crate) use root::RootComponent;
pub use root::RootPattern;
pub use schema::{
    Discovery, HttpResponses, Identity, Introspection, IntrospectionMode, KUBERNETES_LABELS, Limits, Procfs, Sampling,
    Threads, Toggle,
};

use crate::rules::Profile;
use crate::yaml::section::{self, Section as _};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to find JVMs.
    pub discovery: Discovery,
    /// Where the name of an app comes from, and its pod.
    pub identity: Identity,
    /// The exporter's own pod and node.
    pub downward: DownwardApi,
    /// Reading counters between scrapes.
    pub sampling: Sampling,
    /// CPU time of threads.
    pub threads: Threads,
    /// Questions over attach sockets.
    pub attach: AttachSettings,
    /// Reading of JVMs' memory.
    pub introspection: Introspection,
    /// How far back JVMs have a history; `None` is off.
    pub history: Option<Duration>,
    /// The profiles, the default one first; never empty.
    pub profiles: Vec<Arc<Profile>>,
    /// Pushing over OTLP.
    pub otlp: Otlp,
    /// Responses over HTTP.
    pub web: HttpResponses,
    /// Where slots are kept for the next run.
    pub state_directory: Option<PathBuf>,
    /// Bounds on what one exporter may hold and serve.
    pub limits: Limits,
    /// The files that were read, the configuration first: what to watch for a reload. Empty for the embedded defaults.
    pub files: Vec<PathBuf>,
    /// The state of those files before they were read; empty if the reader does not note it.
    pub(crate) seen: Fingerprint,
}

/// Flags of the command line that replace parts of the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--discovery.root`; empty without the flag.
    pub roots: Vec<String>,
    /// `--path.procfs`; `None` inside is `off`.
    pub procfs: Option<Option<PathBuf>>,
    /// `--attach.mode`
    pub attach_mode: Option<AttachMode>,
    /// `--nmt.mode`, the old name of that flag.
    pub nmt_mode: Option<AttachMode>,
    /// Active mode is a problem: a command that asks JVMs runs as root, without `--attach.allow-active-as-root`.
    pub active_refused: bool,
    /// `--state.directory`
    pub state_directory: Option<PathBuf>,
    /// The directory that the service manager gives.
    pub state_default: Option<PathBuf>,
    /// What the downward API says.
    pub downward: DownwardApi,
    /// Variables of the environment; those that start with `OTEL_` count.
    pub environment: Vec<(String, String)>,
    /// `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` of the environment.
    pub proxies: Option<Arc<Matcher>>,
}

/// The JSON Schema of the configuration file.
pub fn schema() -> serde_json::Value {
    section::document("config/schema.json", "Configuration of hotspot-exporter", schema::ConfigKeys::schema())
}
