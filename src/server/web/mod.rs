//! `--web.config.file`: TLS, passwords, headers and a rate limit, in the format of Prometheus' exporter-toolkit
//! (`docs/web-configuration.md` there), so that files made for other exporters work here.
//!
//! The file and the files that it names are checked every second and reloaded when they change. If they are invalid,
//! the previous configuration stays in force, and the log and a metric say so.
//!
//! # Promise
//! A change at run time never removes protection: a file without `tls_server_config`, users or required client
//! certificates counts as invalid if the configuration in force has them, so that a half-written or empty file gives no
//! access. Removing them takes a restart. No message repeats a password, a hash or a key.

mod client;
mod schema;
mod tls;

use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::auth::Users;
use super::rate::RateLimit;
use crate::telemetry::HttpMetrics;
use crate::yaml::{Fingerprint, Problems};

/// Time between two checks of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The settings of one version of the file. The default, without a file, is no protection.
#[derive(Debug, Default)]
pub(super) struct WebSettings {
    pub(super) tls: Option<Arc<ServerConfig>>,
    certificate_demand: CertificateDemand,
    /// `http2: true` is in the file. It has no effect.
    http2_requested: bool,
    /// Response headers; `None` removes a default.
    pub(super) headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// `None` requires no password.
    pub(super) users: Option<Arc<Users>>,
    pub(super) rate: Option<RateLimit>,
    seen: Fingerprint,
}

/// What is required of client certificates, in ascending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum CertificateDemand {
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
    /// Whether the log says that `http2: true` has no effect.
    http2_noticed: AtomicBool,
}

impl Web {
    /// Reads the file and the files that it names; relative paths start at its directory. Fails with every problem.
    pub fn load(file: &FilePath) -> Result<Self, Problems> {
        let mut seen = Fingerprint::default();
        let settings = schema::read(file, &mut seen)?;
        let current = ArcSwap::from_pointee(WebSettings { seen, ..settings });
        Ok(Self { file: Some(file.to_owned()), current, http2_noticed: AtomicBool::new(false) })
    }

    pub(super) fn current(&self) -> Arc<WebSettings> {
        self.current.load_full()
    }

    /// Whether clients must use TLS.
    pub fn has_tls(&self) -> bool {
        self.current.load().tls.is_some()
    }

    /// Reloads the files when they change, as long as this has another owner, on a thread of its own: reading may hang.
    pub(super) fn follow(self: &Arc<Self>, telemetry: Arc<HttpMetrics>) -> std::io::Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        self.notice_http2();
        let (web, mut seen) = (Arc::downgrade(self), self.current().seen.clone());
        let check = move || {
            loop {
                thread::sleep(CHECK_INTERVAL);
                let Some(web) = web.upgrade() else { return };
                if !seen.holds() {
                    seen = web.reload(&file, &telemetry);
                }
            }
        };
        thread::Builder::new().name("web-config".to_owned()).spawn(check).map(drop)
    }

    /// Reloads the files, and returns what was read, whether it is valid or not. Blocks.
    fn reload(&self, file: &FilePath, telemetry: &HttpMetrics) -> Fingerprint {
        let mut seen = Fingerprint::default();
        let read = schema::read(file, &mut seen);
        match read.and_then(|new| self.current.load().check_protection(&new, file).map(|()| new)) {
            Ok(new) => {
                self.current.store(Arc::new(WebSettings { seen: seen.clone(), ..new }));
                telemetry.web_reloaded(true);
                self.notice_http2();
                tracing::info!(file = %file.display(), "web configuration reloaded");
            }
            Err(problems) => {
                telemetry.web_reloaded(false);
                tracing::error!(%problems, "invalid web configuration; the previous one stays in force");
            }
        }
        seen
    }

    /// Logs once that `http2: true` has no effect.
    fn notice_http2(&self) {
        if self.current.load().http2_requested && !self.http2_noticed.swap(true, Ordering::Relaxed) {
            tracing::info!("http_server_config.http2 has no effect; the server speaks HTTP/1.1 only");
        }
    }
}

impl WebSettings {
    /// Fails if `new` lacks a protection that these settings have.
    fn check_protection(&self, new: &Self, file: &FilePath) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let weaker = new.certificate_demand < self.certificate_demand;
        for (lost, path, what) in [
            (self.tls.is_some() && new.tls.is_none(), "tls_server_config", "TLS"),
            (weaker, "tls_server_config.client_auth_type", "the check of client certificates"),
            (self.users.is_some() && new.users.is_none(), "basic_auth_users", "all passwords"),
        ] {
            if lost {
                let message = format!("would remove {what} from a running exporter");
                problems.push(schema::problem(file, path, message, "restart the exporter to remove it"));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}
