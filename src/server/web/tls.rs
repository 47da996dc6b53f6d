//! From the section `tls_server_config` to the configuration of rustls.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::client::{ClientAuth, ClientPolicy};
use crate::tls;

/// The only protocol that the server offers by ALPN.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The cipher suites that rustls supports, by Go's names. As in Go, the first three cannot be disabled.
pub(super) const SUITES: [(&str, SupportedCipherSuite); 9] = [
    ("TLS_AES_128_GCM_SHA256", ring::cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", ring::cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", ring::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", ring::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// Key exchange groups by Go's names.
pub(super) fn groups() -> [(&'static str, &'static dyn SupportedKxGroup); 3] {
    [
        ("X25519", ring::kx_group::X25519),
        ("CurveP256", ring::kx_group::SECP256R1),
        ("CurveP384", ring::kx_group::SECP384R1),
    ]
}

/// A TLS version that rustls supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsVersion {
    Tls12,
    Tls13,
}

/// The section, with each key checked on its own.
#[derive(Debug)]
pub(super) struct ServerTls {
    /// In PEM, as `key` and `client_ca`.
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) client_ca: Option<Vec<u8>>,
    pub(super) client_auth: ClientAuth,
    pub(super) allowed_sans: Option<Vec<String>>,
    pub(super) minimum: TlsVersion,
    pub(super) maximum: TlsVersion,
    /// Empty means all.
    pub(super) suites: Vec<SupportedCipherSuite>,
    /// Empty means all.
    pub(super) groups: Vec<&'static dyn SupportedKxGroup>,
    pub(super) server_order: bool,
}

/// The key of the section that a problem is about, and the problem.
pub(super) type KeyProblem = (&'static str, String);

impl ServerTls {
    /// Checks the keys together.
    pub(super) fn build(self) -> Result<ServerConfig, KeyProblem> {
        let provider = Arc::new(self.provider());
        let versions = self.versions();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| ("cipher_suites", format!("no cipher suite is left for these versions: {error}")))?;
        let builder = match self.policy(&provider)? {
            None => builder.with_no_client_auth(),
            Some(policy) => builder.with_client_cert_verifier(Arc::new(policy)),
        };
        let chain = tls::certificates(&self.certificate).map_err(|message| ("certificate", message))?;
        let key = tls::key(&self.key).map_err(|message| ("key", message))?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| ("key", format!("the key does not match the certificate: {error}")))?;
        config.ignore_client_order = self.server_order;
        config.alpn_protocols = vec![HTTP_1_1.into()];
        Ok(config)
    }

    fn provider(&self) -> CryptoProvider {
        let mut provider = ring::default_provider();
        if !self.suites.is_empty() {
            let always = provider.cipher_suites.into_iter().filter(|suite| suite.tls13().is_some());
            let chosen = self.suites.iter().copied().filter(|suite| suite.tls13().is_none());
            provider.cipher_suites = always.chain(chosen).collect();
        }
        if !self.groups.is_empty() {
            provider.kx_groups.clone_from(&self.groups);
        }
        provider
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        // If the chosen suites are all of TLS 1.3, none is left for 1.2.
        let has_tls12 = self.suites.is_empty() || self.suites.iter().any(|suite| suite.tls13().is_none());
        [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)]
            .into_iter()
            .filter(|(version, _)| (self.minimum..=self.maximum).contains(version))
            .filter(|(version, _)| has_tls12 || *version == TlsVersion::Tls13)
            .map(|(_, version)| version)
            .collect()
    }

    fn policy(&self, provider: &Arc<CryptoProvider>) -> Result<Option<ClientPolicy>, KeyProblem> {
        if self.client_auth == ClientAuth::None {
            return Ok(None);
        }
        let verifier = match &self.client_ca {
            Some(pem) if self.client_auth.verifies() => {
                let roots = tls::roots(pem).map_err(|message| ("client_ca", message))?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
                Some(verifier.build().map_err(|error| ("client_ca", error.to_string()))?)
            }
            _ => None,
        };
        Ok(Some(ClientPolicy {
            verifier,
            mandatory: self.client_auth.requires(),
            allowed_sans: self.allowed_sans.clone(),
            algorithms: provider.signature_verification_algorithms,
        }))
    }
}
