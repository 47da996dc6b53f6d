//! From the section `tls_server_config` to the configuration of rustls.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::client::{ClientAuth, ClientPolicy};
use crate::tls::{self, Pem};
use crate::yaml::codec::{Choice, Invalid, List, Switch, Text};
use crate::yaml::decode::suggest;
use crate::yaml::document::excerpt;
use crate::yaml::section::section;

/// The only protocol that the server offers by ALPN.
const HTTP_1_1: &[u8] = b"http/1.1";
/// Longest text, in bytes; inline certificates have some thousands.
const TEXT_MAXIMUM: usize = 1 << 18;
/// Most names, suites or curves.
pub(super) const LIST_MAXIMUM: usize = 1000;
/// Parts of names of Go's weak cipher suites, which rustls does not support.
const WEAK_SUITES: [&str; 2] = ["_CBC_", "TLS_RSA_WITH_"];

const FILE: Text<String> = Text::any(TEXT_MAXIMUM);
const PEM: Text<Option<Pem>> = text(|text| Ok(Some(Pem(text.to_owned()))));
const VERSION: Text<TlsVersion> = text(version);

section! {
    /// `tls_server_config`, with each key checked on its own. Empty lists and texts are absent keys.
    #[derive(Debug)]
    pub(super) struct TlsSection {
        /// The certificate chain.
        pub(super) cert: Option<Pem> = None => PEM,
        /// The key of the certificate.
        pub(super) key: Option<Pem> = None => PEM,
        /// The CA of client certificates.
        pub(super) client_ca: Option<Pem> = None => PEM,
        /// The file of `cert`.
        pub(super) cert_file: String = String::new() => FILE,
        /// The file of `key`.
        pub(super) key_file: String = String::new() => FILE,
        /// The file of `client_ca`.
        pub(super) client_ca_file: String = String::new() => FILE,
        /// What clients need.
        pub(super) client_auth_type: ClientAuth = ClientAuth::None => Choice::of(&ClientAuth::VALUES),
        /// Alternative names, one of which a client's certificate must have.
        pub(super) client_allowed_sans: Vec<String> = Vec::new() => list(Text::any(TEXT_MAXIMUM), "names"),
        /// The lowest version of TLS.
        pub(super) min_version: TlsVersion = TlsVersion::Tls12 => VERSION,
        /// The highest version of TLS.
        pub(super) max_version: TlsVersion = TlsVersion::Tls13 => VERSION,
        /// As in Go, those of TLS 1.3 cannot be disabled.
        pub(super) cipher_suites: Vec<SupportedCipherSuite> = Vec::new() => list(text(suite), "cipher suites"),
        /// Whether the server's order of suites counts.
        pub(super) prefer_server_cipher_suites: bool = true => Switch,
        /// Key exchange groups.
        pub(super) curve_preferences: Vec<&'static dyn SupportedKxGroup> = Vec::new() => list(text(group), "curves"),
    }
}

/// A text without a default to print.
const fn text<T>(parse: fn(&str) -> Result<T, Invalid>) -> Text<T> {
    Text { maximum: TEXT_MAXIMUM, pattern: "", parse, print: |_| None }
}

const fn list<C>(item: C, noun: &'static str) -> List<C> {
    List { item, maximum: LIST_MAXIMUM, noun }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsVersion {
    Tls12,
    Tls13,
}

fn version(text: &str) -> Result<TlsVersion, Invalid> {
    match text {
        "TLS12" => Ok(TlsVersion::Tls12),
        "TLS13" => Ok(TlsVersion::Tls13),
        "TLS10" | "TLS11" => {
            let message = format!("{text} is insecure (RFC 8996) and not supported");
            Err(Invalid::new(message, "write TLS12 or TLS13"))
        }
        _ => Err(Invalid::new(format!("expected one of TLS12, TLS13, found `{}`", excerpt(text)), "")),
    }
}

/// A cipher suite that rustls supports, by Go's name, which differs for TLS 1.3.
fn suite(text: &str) -> Result<SupportedCipherSuite, Invalid> {
    let name = |suite: &SupportedCipherSuite| suite.suite().as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1);
    if let Some(suite) = ring::ALL_CIPHER_SUITES.iter().find(|suite| name(suite) == text) {
        return Ok(*suite);
    }
    if WEAK_SUITES.iter().any(|part| text.contains(part)) {
        let hint = "remove it; suites with ECDHE and GCM or CHACHA20_POLY1305 are supported";
        return Err(Invalid::new(format!("{} is weak and not supported", excerpt(text)), hint));
    }
    let names: Vec<String> = ring::ALL_CIPHER_SUITES.iter().map(name).collect();
    Err(Invalid::new("unknown cipher suite", suggest(text, names.iter().map(String::as_str))))
}

/// A key exchange group by Go's name.
fn group(text: &str) -> Result<&'static dyn SupportedKxGroup, Invalid> {
    match text {
        "X25519" => Ok(ring::kx_group::X25519),
        "CurveP256" => Ok(ring::kx_group::SECP256R1),
        "CurveP384" => Ok(ring::kx_group::SECP384R1),
        "CurveP521" => {
            let hint = "remove it; X25519, CurveP256 and CurveP384 are supported";
            Err(Invalid::new("CurveP521 is not supported", hint))
        }
        _ => Err(Invalid::new("unknown curve", suggest(text, ["X25519", "CurveP256", "CurveP384"].into_iter()))),
    }
}

/// The key of the section that a problem is about, and the problem.
pub(super) type KeyProblem = (&'static str, String);

impl TlsSection {
    /// Checks the keys together, with what `cert`, `key` and `client_ca` or their files contain.
    pub(super) fn build(self, cert: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<ServerConfig, KeyProblem> {
        let provider = Arc::new(self.provider());
        let versions = self.versions();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| ("cipher_suites", format!("no cipher suite is left for these versions: {error}")))?;
        let builder = match self.policy(client_ca, &provider)? {
            None => builder.with_no_client_auth(),
            Some(policy) => builder.with_client_cert_verifier(Arc::new(policy)),
        };
        let chain = tls::certificates(cert).map_err(|message| ("certificate", message))?;
        let key = tls::key(key).map_err(|message| ("key", message))?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| ("key", format!("the key does not match the certificate: {error}")))?;
        config.ignore_client_order = self.prefer_server_cipher_suites;
        config.alpn_protocols = vec![HTTP_1_1.into()];
        Ok(config)
    }

    fn provider(&self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        if !self.cipher_suites.is_empty() {
            let always = provider.cipher_suites.into_iter().filter(|suite| suite.tls13().is_some());
            let chosen = self.cipher_suites.iter().copied().filter(|suite| suite.tls13().is_none());
            provider.cipher_suites = always.chain(chosen).collect();
        }
        if !self.curve_preferences.is_empty() {
            provider.kx_groups.clone_from(&self.curve_preferences);
        }
        provider
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        // If the chosen suites are all of TLS 1.3, none is left for 1.2.
        let has_tls12 = self.cipher_suites.is_empty() || self.cipher_suites.iter().any(|suite| suite.tls13().is_none());
        [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)]
            .into_iter()
            .filter(|(version, _)| (self.min_version..=self.max_version).contains(version))
            .filter(|(version, _)| has_tls12 || *version == TlsVersion::Tls13)
            .map(|(_, version)| version)
            .collect()
    }

    fn policy(
        &self,
        client_ca: Option<&[u8]>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<ClientPolicy>, KeyProblem> {
        if self.client_auth_type == ClientAuth::None {
            return Ok(None);
        }
        let verifier = match client_ca {
            Some(pem) if self.client_auth_type.verifies() => {
                let roots = tls::roots(pem).map_err(|message| ("client_ca", message))?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
                Some(verifier.build().map_err(|error| ("client_ca", error.to_string()))?)
            }
            _ => None,
        };
        Ok(Some(ClientPolicy {
            verifier,
            mandatory: self.client_auth_type.requires(),
            allowed_sans: self.client_allowed_sans.clone(),
            algorithms: provider.signature_verification_algorithms,
        }))
    }
}
