//! The keys of the web configuration and their values.

use std::collections::BTreeMap;

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderName, HeaderValue};

use super::client::ClientAuth;
use super::tls::{LIST_MAXIMUM, TlsSection};
use super::{CertificateDemand, WebSettings};
use crate::server::auth::{Users, cost};
use crate::server::rate::RateLimit;
use crate::tls::Pem;
use crate::yaml::codec::{Codec as _, DurationBounds, Integer, Switch};
use crate::yaml::decode::{Decoder, Path};
use crate::yaml::document::{Node, NodeData};
use crate::yaml::read_file;
use crate::yaml::section::{Given, Section, section};
use crate::yaml::{Fingerprint, Problem, Problems};

/// Longest file, of the configuration or of certificates, in bytes.
const FILE_MAXIMUM: u64 = 1 << 20;
/// Longest value of a response header, in bytes.
const HEADER_MAXIMUM: usize = 4096;
const USER_MAXIMUM: usize = 1000;
/// Highest cost of a hash: a check takes 16 s, and twice that with each further step.
const COST_MAXIMUM: u32 = 18;

const SECTIONS: [&str; 4] = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];

/// The response headers that can be set, each with its allowed values; an empty list allows all.
const HEADERS: [(&str, HeaderName, &[&str]); 5] = [
    ("Content-Security-Policy", header::CONTENT_SECURITY_POLICY, &[]),
    ("X-Frame-Options", header::X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    ("X-Content-Type-Options", header::X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    ("X-XSS-Protection", header::X_XSS_PROTECTION, &[]),
    ("Strict-Transport-Security", header::STRICT_TRANSPORT_SECURITY, &[]),
];

section! {
    /// `rate_limit`.
    #[derive(Debug)]
    struct RateSection {
        /// Time after which a further request is allowed; 0 is no limit.
        interval: Duration = Duration::ZERO => DurationBounds {
            zero: true,
            minimum: Duration::from_millis(1),
            maximum: Duration::from_secs(3600),
        },
        /// Requests allowed at once.
        burst: usize = 0 => Integer { minimum: 0, maximum: 1_000_000 },
    }
}

/// Reads the file and the files that it names; `seen` notes each before it is read.
pub(super) fn read(file: &FilePath, seen: &mut Fingerprint) -> Result<WebSettings, Problems> {
    let mut problems = Problems::default();
    seen.note(file);
    let text = read_file(file, FILE_MAXIMUM).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    let text = match text {
        Ok(text) => text,
        Err(error) => {
            problems.push(problem(file, "", format!("cannot be read: {error}"), ""));
            return Err(problems);
        }
    };
    let mut decoder = Decoder { file: file.to_string_lossy().into(), problems: &mut problems };
    let Some(node) = decoder.parse(&text) else { return Err(problems) };
    let settings = WebReader { decoder, base: file.parent(), seen }.settings(&node);
    if problems.is_empty() { Ok(settings) } else { Err(problems.sorted()) }
}

/// A problem of the file as a whole.
pub(super) fn problem(file: &FilePath, path: &str, message: String, hint: &str) -> Problem {
    let file = file.to_string_lossy().into();
    Problem { file, line: 0, column: 0, path: path.to_owned(), message, hint: hint.to_owned() }
}

struct WebReader<'a> {
    decoder: Decoder<'a>,
    base: Option<&'a FilePath>,
    seen: &'a mut Fingerprint,
}

impl WebReader<'_> {
    fn settings(mut self, node: &Node) -> WebSettings {
        let mut settings = WebSettings::default();
        for (key, node) in self.decoder.fields(node, &Path::Root, &SECTIONS) {
            let path = &Path::Root.key(&key.text);
            match &*key.text {
                "tls_server_config" => self.tls(&mut settings, node, path),
                "http_server_config" => self.http(&mut settings, node, path),
                "basic_auth_users" => settings.users = self.users(node, path),
                _ => settings.rate = self.rate(node, path),
            }
        }
        settings
    }

    fn tls(&mut self, settings: &mut WebSettings, node: &Node, path: &Path<'_>) {
        let (section, given) = TlsSection::decode(&mut self.decoder, node, path);
        if given.iter().next().is_none() {
            return;
        }
        let certificate = self.pem(&given, path, ("cert", &section.cert), ("cert_file", &section.cert_file));
        let key = self.pem(&given, path, ("key", &section.key), ("key_file", &section.key_file));
        let client_ca =
            self.pem(&given, path, ("client_ca", &section.client_ca), ("client_ca_file", &section.client_ca_file));
        self.check_tls(&section, &given, node, path);
        let (Some(certificate), Some(key), true) = (certificate, key, self.decoder.problems.is_empty()) else { return };
        settings.certificate_demand = match section.client_auth_type {
            ClientAuth::RequireAndVerify => CertificateDemand::Verified,
            ClientAuth::RequireAny => CertificateDemand::Required,
            _ => CertificateDemand::Optional,
        };
        match section.build(&certificate, &key, client_ca.as_deref()) {
            Ok(config) => settings.tls = Some(Arc::new(config)),
            Err((key, message)) => {
                let at = [key, &format!("{key}_file"), "cert_file", "cert"].into_iter().find_map(|key| given.get(key));
                self.decoder.report(at.unwrap_or(node).position, &path.key(key), message, "");
            }
        }
    }

    /// PEM, inline or from the file that is named.
    fn pem(
        &mut self,
        given: &Given<'_>,
        path: &Path<'_>,
        (inline, text): (&str, &Option<Pem>),
        (file, name): (&str, &str),
    ) -> Option<Vec<u8>> {
        if let Some(node) = given.get(inline) {
            if given.get(file).is_some() {
                let message = format!("found both {inline} and {file}, expected one");
                self.decoder.report(node.position, &path.key(inline), message, "remove one of them");
            }
            return text.as_ref().map(|pem| pem.0.clone().into_bytes());
        }
        let node = given.get(file).filter(|_| !name.is_empty())?;
        let name = self.base.map_or_else(|| PathBuf::from(name), |base| base.join(name));
        self.seen.note(&name);
        let report = |error| {
            let message = format!("{} cannot be read: {error}", name.display());
            let hint = "relative paths start at the directory of the web configuration";
            self.decoder.report(node.position, &path.key(file), message, hint);
        };
        read_file(&name, FILE_MAXIMUM).map_err(report).ok()
    }

    fn check_tls(&mut self, section: &TlsSection, given: &Given<'_>, node: &Node, path: &Path<'_>) {
        let mut report = |at: &Node, path: &Path<'_>, message: &str, hint| {
            self.decoder.report(at.position, path, message, hint);
        };
        for (inline, file) in [("cert", "cert_file"), ("key", "key_file")] {
            if given.get(inline).is_none() && given.get(file).is_none() {
                let message = format!("expected {inline} or {file}, found neither");
                report(node, path, &message, "remove the section to serve without TLS");
            }
        }
        for key in ["client_allowed_sans", "cipher_suites", "curve_preferences"] {
            let is_empty = |node: &&Node| match &node.data {
                NodeData::Sequence(items) => items.is_empty(),
                _ => node.is_null(),
            };
            if let Some(node) = given.get(key).filter(is_empty) {
                let message = format!("expected 1 to {LIST_MAXIMUM} items, found 0");
                report(node, &path.key(key), &message, "remove the key for the default");
            }
        }
        let (auth, auth_path) = (section.client_auth_type, &path.key("client_auth_type"));
        let client_ca = given.get("client_ca").or_else(|| given.get("client_ca_file"));
        match (given.get("client_auth_type"), client_ca) {
            (None, Some(ca)) => {
                let message = "a client CA has no effect without client_auth_type";
                report(ca, auth_path, message, "add `client_auth_type: RequireAndVerifyClientCert`");
            }
            (Some(node), None) if auth.verifies() => {
                report(node, auth_path, "verifying client certificates needs a CA", "add client_ca_file");
            }
            (Some(node), Some(_)) if auth == ClientAuth::None => {
                let message = "a client CA has no effect with NoClientCert";
                report(node, auth_path, message, "write RequireAndVerifyClientCert, or remove the CA");
            }
            _ => {}
        }
        if let Some(node) = given.get("client_allowed_sans").filter(|_| !auth.requires()) {
            let message = "has an effect only with a client_auth_type that requires a certificate";
            report(node, &path.key("client_allowed_sans"), message, "write RequireAndVerifyClientCert");
        }
        if section.min_version > section.max_version {
            let node = given.get("max_version").unwrap_or(node);
            report(node, &path.key("max_version"), "max_version is below min_version", "");
        }
    }

    fn http(&mut self, settings: &mut WebSettings, node: &Node, path: &Path<'_>) {
        for (key, node) in self.decoder.fields(node, path, &["http2", "headers"]) {
            let path = &path.key(&key.text);
            if &*key.text == "http2" {
                settings.http2_requested = Switch.decode(&mut self.decoder, node, path) == Some(true);
                continue;
            }
            for (key, node) in self.decoder.fields(node, path, &HEADERS.map(|(name, ..)| name)) {
                settings.headers.extend(self.header(&key.text, node, &path.key(&key.text)));
            }
        }
    }

    fn header(&mut self, key: &str, node: &Node, path: &Path<'_>) -> Option<(HeaderName, Option<HeaderValue>)> {
        let (_, name, values) = HEADERS.iter().find(|(name, ..)| *name == key)?;
        if matches!(&node.data, NodeData::Scalar { text, .. } if text.is_empty()) {
            return Some((name.clone(), None));
        }
        let text = if values.is_empty() {
            self.decoder.text(node, path, HEADER_MAXIMUM)?
        } else {
            let choices: Vec<(&str, &str)> = values.iter().map(|value| (*value, *value)).collect();
            self.decoder.choice(node, path, &choices, "")?
        };
        match HeaderValue::from_str(text) {
            Ok(value) => Some((name.clone(), Some(value))),
            Err(_) => self.decoder.expected("one line of visible characters", node, path, ""),
        }
    }

    /// No message repeats a value: it may be a password in place of its hash.
    fn users(&mut self, node: &Node, path: &Path<'_>) -> Option<Arc<Users>> {
        if !node.is_null() && !matches!(node.data, NodeData::Mapping(_)) {
            self.decoder.report(node.position, path, "expected a mapping of users to bcrypt hashes", "");
            return None;
        }
        let mut users = BTreeMap::new();
        for (key, node) in self.decoder.pairs(node, path) {
            let path = &path.key(&key.text);
            let hash = match &node.data {
                NodeData::Scalar { text, .. } => text,
                _ => "",
            };
            match cost(hash) {
                _ if key.text.is_empty() || key.text.contains(':') => {
                    let message = "expected a user name that is not empty and has no colon";
                    self.decoder.report(key.position, path, message, "");
                }
                None => {
                    let hint = "make one with `htpasswd -nBC 10 USER`";
                    self.decoder.report(node.position, path, "expected the bcrypt hash of a password", hint);
                }
                Some(cost) if cost > COST_MAXIMUM => {
                    let message = format!("the cost {cost} is too slow for a scrape, expected at most {COST_MAXIMUM}");
                    self.decoder.report(node.position, path, message, "the usual cost is 10");
                }
                Some(_) => drop(users.insert(key.text.to_string(), hash.to_owned())),
            }
        }
        if users.len() > USER_MAXIMUM {
            let message = format!("expected at most {USER_MAXIMUM} users, found {}", users.len());
            self.decoder.report(node.position, path, message, "");
        }
        (!users.is_empty()).then(|| Arc::new(Users::new(users)))
    }

    fn rate(&mut self, node: &Node, path: &Path<'_>) -> Option<RateLimit> {
        let (RateSection { interval, burst }, _) = RateSection::decode(&mut self.decoder, node, path);
        if interval.is_zero() {
            return None;
        }
        if burst == 0 {
            let message = "a limit without a burst of at least 1 refuses every request";
            self.decoder.report(node.position, &path.key("burst"), message, "add `burst: 10`");
        }
        Some(RateLimit::new(interval, burst, Instant::now()))
    }
}
