//! `--web.config.file`: TLS, passwords, headers and a rate limit, in the format of Prometheus' exporter-toolkit
//! (`docs/web-configuration.md` there), so that files made for other exporters work here.
//!
//! The file and what it names are looked at every second and read again when they change. What is bad then stays
//! without effect and the old configuration in force, which a log line and a metric say. That differs from the toolkit,
//! which answers errors until the file is whole again: a certificate and its key are seldom replaced in one step.
//!
//! # Promise
//! A change at run time never takes protection away: a file without `tls_server_config`, without users or without a
//! demand for client certificates counts as bad where the one in force has it, so that a half-written or emptied file
//! opens nothing. It takes a restart. No message repeats a password, a hash or a key.

mod client;
mod schema;
mod tls;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::auth::Users;
use super::rate::RateLimit;
use crate::telemetry::HttpMetrics;
use crate::yaml::Fingerprint;
use crate::yaml::Problems;

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// What one state of the file says. The default is no protection, as without a file.
#[derive(Debug, Default)]
pub(super) struct WebSettings {
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Clients without an acceptable certificate are refused.
    certificates: Certificates,
    /// Response headers; `None` takes a default away.
    pub(super) headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Empty: no password is asked for.
    pub(super) users: Arc<Users>,
    pub(super) rate: Option<RateLimit>,
    /// What was read.
    seen: Fingerprint,
}

/// How much clients have to prove by certificate; later ones prove more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Certificates {
    #[default]
    Optional,
    Required,
    Verified,
}

/// The web configuration in force.
#[derive(Debug, Default)]
pub struct Web {
    file: Option<PathBuf>,
    current: ArcSwap<WebSettings>,
}

impl Web {
    /// Reads the file and everything it names; its relative paths start at its directory.
    ///
    /// # Errors
    /// Every problem of the file, with its place.
    pub fn load(file: &FilePath) -> Result<Self, Problems> {
        let mut seen = Fingerprint::default();
        let settings = schema::read(file, &mut seen)?;
        Ok(Self { file: Some(file.to_owned()), current: ArcSwap::from_pointee(WebSettings { seen, ..settings }) })
    }

    pub(super) fn current(&self) -> Arc<WebSettings> {
        self.current.load_full()
    }

    /// Whether clients have to speak TLS.
    pub fn has_tls(&self) -> bool {
        self.current.load().tls.is_some()
    }

    /// Looks at the files for as long as somebody else holds this, on a thread of its own: file systems may hang, and
    /// pooled threads that are woken every second never end.
    pub(super) fn follow(self: &Arc<Self>, telemetry: Arc<HttpMetrics>) -> std::io::Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let (web, mut seen) = (Arc::downgrade(self), self.current().seen.clone());
        let look = move || {
            loop {
                thread::sleep(LOOK);
                let Some(web) = web.upgrade() else { return };
                if !seen.holds() {
                    seen = web.reload(&file, &telemetry);
                }
            }
        };
        thread::Builder::new().name("web-config".to_owned()).spawn(look).map(drop)
    }

    /// Reads everything again, and says which files that were, good or bad. Blocks.
    fn reload(&self, file: &FilePath, telemetry: &HttpMetrics) -> Fingerprint {
        let mut seen = Fingerprint::default();
        let read = schema::read(file, &mut seen);
        match read.and_then(|new| self.current.load().is_kept_by(&new, file).map(|()| new)) {
            Ok(new) => {
                self.current.store(Arc::new(WebSettings { seen: seen.clone(), ..new }));
                telemetry.web_reloaded(true);
                tracing::info!(file = %file.display(), "web configuration reloaded");
            }
            Err(problems) => {
                telemetry.web_reloaded(false);
                tracing::error!(%problems, "the web configuration has problems; the old one stays in force");
            }
        }
        seen
    }
}

impl WebSettings {
    /// That `new` protects at least what this does.
    fn is_kept_by(&self, new: &Self, file: &FilePath) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for (lost, path, what) in [
            (self.tls.is_some() && new.tls.is_none(), "tls_server_config", "TLS"),
            (new.certificates < self.certificates, "tls_server_config.client_auth_type", "the check of certificates"),
            (!self.users.is_empty() && new.users.is_empty(), "basic_auth_users", "all passwords"),
        ] {
            if lost {
                let message = format!("would take {what} away from a running exporter");
                problems.push(schema::problem(file, path, message, "restart it if that is meant"));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}
