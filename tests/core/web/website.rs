//! A served site with a web configuration in a directory of its own, and curl as its client.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hotspot_exporter::server::{Options, Web};
use tempfile::TempDir;

use crate::support::certificates::{Authority, lay_out};
use crate::support::server::{TestServer, start};

/// What curl saw.
#[derive(Debug)]
pub(crate) struct Seen {
    /// 0 is success; see curl(1) for the others.
    pub(crate) exit: i32,
    pub(crate) status: u16,
    /// `1.1` or `2`.
    pub(crate) version: String,
    /// In lower case, one a line, with the status line and the body.
    pub(crate) text: String,
}

pub(crate) struct Website {
    pub(crate) server: TestServer,
    pub(crate) authority: Authority,
    directory: TempDir,
}

impl Website {
    pub(crate) async fn start(web: &str) -> Self {
        Self::prepare(web, |_| {}).await
    }

    /// Starts it when `prepare` has put further files into the directory.
    pub(crate) async fn prepare(web: &str, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = lay_out(directory.path(), web);
        prepare(directory.path());
        let web = Web::load(&directory.path().join("web.yml")).unwrap_or_else(|problems| panic!("{problems}"));
        let server = start(Options { web: Arc::new(web), ..Options::default() }).await;
        Self { server, authority, directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// GETs `/-/healthy` over TLS.
    pub(crate) fn curl<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Seen {
        self.curl_url(&format!("https://{}/-/healthy", self.server.address), arguments)
    }

    pub(crate) fn curl_url<A: AsRef<std::ffi::OsStr>>(
        &self,
        url: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Seen {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--max-time", "60", "--noproxy", "*", "--cacert"]);
        command.arg(self.path("ca.pem")).args(["--write-out", "\n%{http_code} %{http_version}"]);
        let output = command.args(arguments).arg(url).output().expect("curl starts; run ./test.sh");
        let text = String::from_utf8(output.stdout).unwrap().to_ascii_lowercase();
        let (text, last) = text.rsplit_once('\n').unwrap();
        let (status, version) = last.split_once(' ').unwrap();
        Seen {
            exit: output.status.code().unwrap(),
            status: status.parse().unwrap(),
            version: version.to_owned(),
            text: text.to_owned(),
        }
    }

    /// Whether a handshake with these options of `openssl s_client` comes about, and all that it said.
    pub(crate) fn openssl(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &self.server.address.to_string(), "-CAfile"]);
        command.arg(self.path("ca.pem")).args(arguments).stdin(std::process::Stdio::null());
        let output = command.output().expect("openssl starts; run ./test.sh");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

impl Seen {
    /// Answered with 200.
    pub(crate) fn is_fine(&self) -> bool {
        self.exit == 0 && self.status == 200
    }
}
