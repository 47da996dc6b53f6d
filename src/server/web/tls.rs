//! `tls_server_config` to what rustls takes.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

use super::client::{ClientAuth, ClientPolicy};

/// Protocols that a client chooses from (ALPN).
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

/// Cipher suites by Go's names, of those that rustls has. As in Go, the first three cannot be left out.
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

/// A version of TLS that rustls speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsVersion {
    Tls12,
    Tls13,
}

/// The section, read and checked one key at a time.
#[derive(Debug)]
pub(super) struct ServerTls {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) client_ca: Option<Vec<u8>>,
    pub(super) client_auth: ClientAuth,
    pub(super) allowed_sans: Option<Vec<String>>,
    pub(super) minimum: TlsVersion,
    pub(super) maximum: TlsVersion,
    /// Empty: all there are.
    pub(super) suites: Vec<SupportedCipherSuite>,
    /// Empty: all there are.
    pub(super) groups: Vec<&'static dyn SupportedKxGroup>,
    pub(super) server_order: bool,
    pub(super) http2: bool,
}

/// The key that is to blame, and why.
pub(super) type Blame = (&'static str, String);

impl ServerTls {
    /// All of it together.
    pub(super) fn build(self) -> Result<ServerConfig, Blame> {
        let provider = Arc::new(self.provider());
        let versions = self.versions();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(|error| ("cipher_suites", format!("leaves no cipher suite for these versions: {error}")))?;
        let builder = match self.policy(&provider)? {
            None => builder.with_no_client_auth(),
            Some(policy) => builder.with_client_cert_verifier(Arc::new(policy)),
        };
        let chain = certificates(&self.certificate).map_err(|message| ("certificate", message))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| ("key", format!("expected a private key in PEM without a password: {error}")))?;
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| ("key", format!("the key and the certificate do not go together: {error}")))?;
        config.ignore_client_order = self.server_order;
        config.alpn_protocols = if self.http2 { vec![HTTP_2.into(), HTTP_1.into()] } else { vec![HTTP_1.into()] };
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
        // Suites were chosen, and all of them are of 1.3: there is none for 1.2.
        let has_old = self.suites.is_empty() || self.suites.iter().any(|suite| suite.tls13().is_none());
        [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)]
            .into_iter()
            .filter(|(version, _)| (self.minimum..=self.maximum).contains(version))
            .filter(|(version, _)| has_old || *version == TlsVersion::Tls13)
            .map(|(_, version)| version)
            .collect()
    }

    fn policy(&self, provider: &Arc<CryptoProvider>) -> Result<Option<ClientPolicy>, Blame> {
        if self.client_auth == ClientAuth::None {
            return Ok(None);
        }
        let authority = match &self.client_ca {
            Some(pem) if self.client_auth.verifies() => {
                let blame = |message| ("client_ca", message);
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem).map_err(blame)? {
                    roots.add(certificate).map_err(|error| blame(format!("not a CA certificate: {error}")))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
                Some(verifier.build().map_err(|error| blame(error.to_string()))?)
            }
            _ => None,
        };
        Ok(Some(ClientPolicy {
            authority,
            mandatory: self.client_auth.requires(),
            allowed_sans: self.allowed_sans.clone(),
            algorithms: provider.signature_verification_algorithms,
        }))
    }
}

/// At least one certificate in PEM.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match list {
        Ok(list) if list.is_empty() => Err("expected certificates in PEM, found none".to_owned()),
        Ok(list) => Ok(list),
        Err(error) => Err(format!("expected certificates in PEM: {error}")),
    }
}
