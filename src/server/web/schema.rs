//! The keys of the web configuration and their values.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderName, HeaderValue};
use rustls::SupportedCipherSuite;

use super::client::ClientAuth;
use super::tls::{SUITES, ServerTls, TlsVersion, groups};
use super::{CertificateDemand, WebSettings};
use crate::server::auth::{Users, cost};
use crate::server::rate::RateLimit;
use crate::yaml::codec::{Codec as _, DurationBounds, Integer, Switch};
use crate::yaml::decode::{Decoder, Path, suggest};
use crate::yaml::document::{Node, NodeData, excerpt};
use crate::yaml::{Fingerprint, Problem, Problems};

/// Longest file, of the configuration or of certificates, in bytes.
const FILE_MAXIMUM: u64 = 1 << 20;
/// Longest text, in bytes; inline certificates have some thousands.
const TEXT_MAXIMUM: usize = 1 << 18;
/// Longest value of a response header, in bytes.
const HEADER_MAXIMUM: usize = 4096;
/// Most users, names or suites.
const LIST_MAXIMUM: usize = 1000;
/// Highest cost of a hash: a check takes 16 s, and twice that with each further step.
const COST_MAXIMUM: u32 = 18;

const SECTIONS: [&str; 4] = ["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"];

const TLS_KEYS: [&str; 13] = [
    "cert",
    "key",
    "client_ca",
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

/// The response headers that can be set, each with its allowed values; an empty list allows all.
const HEADERS: [(&str, HeaderName, &[&str]); 5] = [
    ("Content-Security-Policy", header::CONTENT_SECURITY_POLICY, &[]),
    ("X-Frame-Options", header::X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    ("X-Content-Type-Options", header::X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    ("X-XSS-Protection", header::X_XSS_PROTECTION, &[]),
    ("Strict-Transport-Security", header::STRICT_TRANSPORT_SECURITY, &[]),
];

/// Parts of names of Go's weak cipher suites, which rustls does not support.
const WEAK_SUITES: [&str; 2] = ["_CBC_", "TLS_RSA_WITH_"];

/// Reads the file and the files that it names; `seen` notes each before it is read.
pub(super) fn read(file: &FilePath, seen: &mut Fingerprint) -> Result<WebSettings, Problems> {
    let mut problems = Problems::default();
    seen.note(file);
    let text = read_file(file).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
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

/// The content of a regular file. Other files are refused, since reading them may block.
fn read_file(path: &FilePath) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAXIMUM + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAXIMUM {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {FILE_MAXIMUM} bytes")));
    }
    Ok(bytes)
}

struct WebReader<'a> {
    decoder: Decoder<'a>,
    base: Option<&'a FilePath>,
    seen: &'a mut Fingerprint,
}

/// The values of `tls_server_config` by key.
type TlsFields<'n> = BTreeMap<&'n str, &'n Node>;

impl WebReader<'_> {
    fn settings(mut self, node: &Node) -> WebSettings {
        let mut settings = WebSettings::default();
        let mut tls = None;
        for (key, node) in self.decoder.fields(node, &Path::Root, &SECTIONS) {
            let path = &Path::Root.key(&key.text);
            match &*key.text {
                "tls_server_config" => tls = Some((node, key.position)),
                "http_server_config" => self.http(&mut settings, node, path),
                "basic_auth_users" => settings.users = Arc::new(Users::new(self.users(node, path))),
                _ => settings.rate = self.rate(node, path),
            }
        }
        if let Some((node, _)) = tls.filter(|(node, _)| !node.is_null()) {
            let path = &Path::Root.key("tls_server_config");
            let pairs = self.decoder.fields(node, path, &TLS_KEYS);
            let fields: TlsFields<'_> = pairs.into_iter().map(|(key, node)| (&*key.text, node)).collect();
            if !fields.is_empty() {
                self.tls(&mut settings, node, path, &fields);
            }
        }
        settings
    }

    fn tls(&mut self, settings: &mut WebSettings, node: &Node, path: &Path<'_>, fields: &TlsFields<'_>) {
        let certificate = self.pem(fields, path, "cert", "cert_file");
        let key = self.pem(fields, path, "key", "key_file");
        let client_ca = self.pem(fields, path, "client_ca", "client_ca_file");
        for (found, inline, file) in [(&certificate, "cert", "cert_file"), (&key, "key", "key_file")] {
            if found.is_none() && !fields.contains_key(inline) && !fields.contains_key(file) {
                let message = format!("expected {inline} or {file}, found neither");
                self.decoder.report(node.position, path, message, "remove the section to serve without TLS");
            }
        }
        let client_auth = self.client_auth(fields, path, client_ca.is_some());
        let (minimum, maximum) = self.versions(node, fields, path);
        let allowed_sans = self.allowed_sans(fields, path, client_auth);
        let suites = self.suites(fields, path);
        let groups = self.groups(fields, path);
        let order = fields.get("prefer_server_cipher_suites");
        let server_order = order
            .and_then(|node| Switch.decode(&mut self.decoder, node, &path.key("prefer_server_cipher_suites")))
            .unwrap_or(true);
        let (Some(certificate), Some(key)) = (certificate, key) else { return };
        if !self.decoder.problems.is_empty() {
            return;
        }
        settings.certificate_demand = match client_auth {
            ClientAuth::RequireAndVerify => CertificateDemand::Verified,
            ClientAuth::RequireAny => CertificateDemand::Required,
            _ => CertificateDemand::Optional,
        };
        let tls = ServerTls {
            certificate,
            key,
            client_ca,
            client_auth,
            allowed_sans,
            minimum,
            maximum,
            suites,
            groups,
            server_order,
        };
        match tls.build() {
            Ok(config) => settings.tls = Some(Arc::new(config)),
            Err((key, message)) => {
                let at = fields.get(key).or_else(|| fields.get(&*format!("{key}_file")));
                let at = at.or_else(|| fields.get("cert_file")).or_else(|| fields.get("cert"));
                self.decoder.report(at.map_or(node.position, |node| node.position), &path.key(key), message, "");
            }
        }
    }

    /// PEM, inline or from the file that is named.
    fn pem(&mut self, fields: &TlsFields<'_>, path: &Path<'_>, inline: &str, file: &str) -> Option<Vec<u8>> {
        if let Some(node) = fields.get(inline) {
            let path = &path.key(inline);
            if fields.contains_key(file) {
                let message = format!("found both {inline} and {file}, expected one");
                self.decoder.report(node.position, path, message, "remove one of them");
                return None;
            }
            // `Decoder::expected` would repeat the value, which may be a key.
            return match &node.data {
                NodeData::Scalar { text, .. } if !text.is_empty() => Some(text.as_bytes().to_owned()),
                _ => {
                    self.decoder.report(node.position, path, "expected PEM", "write it indented below `|`");
                    None
                }
            };
        }
        let node = fields.get(file)?;
        let path = &path.key(file);
        let name = self.decoder.text(node, path, TEXT_MAXIMUM)?;
        let name = self.base.map_or_else(|| PathBuf::from(name), |base| base.join(name));
        self.seen.note(&name);
        match read_file(&name) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let message = format!("{} cannot be read: {error}", name.display());
                let hint = "relative paths start at the directory of the web configuration";
                self.decoder.report(node.position, path, message, hint);
                None
            }
        }
    }

    fn client_auth(&mut self, fields: &TlsFields<'_>, path: &Path<'_>, has_ca: bool) -> ClientAuth {
        let ca = fields.get("client_ca").or_else(|| fields.get("client_ca_file"));
        let Some(node) = fields.get("client_auth_type") else {
            if let Some(node) = ca {
                let message = "a client CA has no effect without client_auth_type";
                let hint = "add `client_auth_type: RequireAndVerifyClientCert`";
                self.decoder.report(node.position, &path.key("client_auth_type"), message, hint);
            }
            return ClientAuth::None;
        };
        let path = &path.key("client_auth_type");
        let auth = self.decoder.choice(node, path, &ClientAuth::VALUES, "").unwrap_or_default();
        if auth.verifies() && !has_ca && ca.is_none() {
            let message = "verifying client certificates needs a CA";
            self.decoder.report(node.position, path, message, "add client_ca_file");
        }
        if auth == ClientAuth::None && ca.is_some() {
            let message = "a client CA has no effect with NoClientCert";
            self.decoder.report(node.position, path, message, "write RequireAndVerifyClientCert, or remove the CA");
        }
        auth
    }

    fn allowed_sans(&mut self, fields: &TlsFields<'_>, path: &Path<'_>, auth: ClientAuth) -> Option<Vec<String>> {
        let node = fields.get("client_allowed_sans")?;
        let path = &path.key("client_allowed_sans");
        if !auth.requires() {
            let message = "has an effect only with a client_auth_type that requires a certificate";
            self.decoder.report(node.position, path, message, "write RequireAndVerifyClientCert");
        }
        Some(self.texts(node, path).into_iter().map(|(_, text)| text.to_owned()).collect())
    }

    fn versions(&mut self, node: &Node, fields: &TlsFields<'_>, path: &Path<'_>) -> (TlsVersion, TlsVersion) {
        let mut version = |key, default| {
            let Some(node) = fields.get(key) else { return default };
            let path = &path.key(key);
            if let NodeData::Scalar { text, .. } = &node.data
                && matches!(&**text, "TLS10" | "TLS11")
            {
                let message = format!("{text} is insecure (RFC 8996) and not supported");
                self.decoder.report(node.position, path, message, "write TLS12 or TLS13");
                return default;
            }
            let values = [("TLS12", TlsVersion::Tls12), ("TLS13", TlsVersion::Tls13)];
            self.decoder.choice(node, path, &values, "").unwrap_or(default)
        };
        let (minimum, maximum) = (version("min_version", TlsVersion::Tls12), version("max_version", TlsVersion::Tls13));
        if minimum > maximum {
            let at = fields.get("max_version").map_or(node.position, |node| node.position);
            self.decoder.report(at, &path.key("max_version"), "max_version is below min_version", "");
        }
        (minimum, maximum)
    }

    fn suites(&mut self, fields: &TlsFields<'_>, path: &Path<'_>) -> Vec<SupportedCipherSuite> {
        let Some(node) = fields.get("cipher_suites") else { return Vec::new() };
        let path = &path.key("cipher_suites");
        let mut suites = Vec::new();
        for (index, (node, text)) in self.texts(node, path).into_iter().enumerate() {
            if let Some((_, suite)) = SUITES.iter().find(|(name, _)| *name == text) {
                suites.push(*suite);
            } else if WEAK_SUITES.iter().any(|part| text.contains(part)) {
                let message = format!("{} is weak and not supported", excerpt(text));
                let hint = "remove it; suites with ECDHE and GCM or CHACHA20_POLY1305 are supported";
                self.decoder.report(node.position, &path.item(index), message, hint);
            } else {
                let hint = suggest(text, SUITES.iter().map(|(name, _)| *name));
                self.decoder.report(node.position, &path.item(index), "unknown cipher suite", &hint);
            }
        }
        suites
    }

    fn groups(
        &mut self,
        fields: &TlsFields<'_>,
        path: &Path<'_>,
    ) -> Vec<&'static dyn rustls::crypto::SupportedKxGroup> {
        let Some(node) = fields.get("curve_preferences") else { return Vec::new() };
        let path = &path.key("curve_preferences");
        let mut found = Vec::new();
        for (index, (node, text)) in self.texts(node, path).into_iter().enumerate() {
            match groups().into_iter().find(|(name, _)| *name == text) {
                Some((_, group)) => found.push(group),
                None if text == "CurveP521" => {
                    let hint = "remove it; X25519, CurveP256 and CurveP384 are supported";
                    self.decoder.report(node.position, &path.item(index), "CurveP521 is not supported", hint);
                }
                None => {
                    let hint = suggest(text, groups().into_iter().map(|(name, _)| name));
                    self.decoder.report(node.position, &path.item(index), "unknown curve", &hint);
                }
            }
        }
        found
    }

    /// The texts of a non-empty list.
    fn texts<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> Vec<(&'n Node, &'n str)> {
        let items = self.decoder.items(node, path);
        if items.is_empty() || items.len() > LIST_MAXIMUM {
            let message = format!("expected 1 to {LIST_MAXIMUM} items, found {}", items.len());
            self.decoder.report(node.position, path, message, "remove the key for the default");
            return Vec::new();
        }
        let text = |(index, node)| Some((node, self.decoder.text(node, &path.item(index), TEXT_MAXIMUM)?));
        items.iter().enumerate().filter_map(text).collect()
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
        let empty = matches!(&node.data, NodeData::Scalar { text, .. } if text.is_empty());
        if empty {
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
    fn users(&mut self, node: &Node, path: &Path<'_>) -> BTreeMap<String, String> {
        let mut users = BTreeMap::new();
        if !node.is_null() && !matches!(node.data, NodeData::Mapping(_)) {
            self.decoder.report(node.position, path, "expected a mapping of users to bcrypt hashes", "");
            return users;
        }
        for (key, node) in self.decoder.pairs(node, path) {
            let path = &path.key(&key.text);
            let hash = match &node.data {
                NodeData::Scalar { text, .. } => text,
                _ => "",
            };
            match cost(hash) {
                _ if key.text.is_empty() || key.text.contains(':') => {
                    self.decoder.report(
                        key.position,
                        path,
                        "expected a user name that is not empty and has no colon",
                        "",
                    );
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
        if users.len() > LIST_MAXIMUM {
            let message = format!("expected at most {LIST_MAXIMUM} users, found {}", users.len());
            self.decoder.report(node.position, path, message, "");
        }
        users
    }

    fn rate(&mut self, node: &Node, path: &Path<'_>) -> Option<RateLimit> {
        let bounds =
            DurationBounds { zero: true, minimum: Duration::from_millis(1), maximum: Duration::from_secs(3600) };
        let (mut interval, mut burst) = (None, None);
        for (key, node) in self.decoder.fields(node, path, &["interval", "burst"]) {
            let path = &path.key(&key.text);
            if &*key.text == "interval" {
                interval = bounds.decode(&mut self.decoder, node, path);
            } else {
                burst = Integer { minimum: 0, maximum: 1_000_000 }.decode(&mut self.decoder, node, path);
            }
        }
        let interval = interval.filter(|interval| !interval.is_zero())?;
        let burst = burst.and_then(|burst| u32::try_from(burst).ok()).filter(|burst| *burst > 0);
        if burst.is_none() {
            let message = "a limit without a burst of at least 1 refuses every request";
            self.decoder.report(node.position, &path.key("burst"), message, "add `burst: 10`");
        }
        Some(RateLimit::new(interval, burst?, Instant::now()))
    }
}
