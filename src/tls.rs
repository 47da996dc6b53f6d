//! Certificates and keys in PEM, and TLS as a client.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The text of a PEM file, which is not shown: it may be a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(pub String);

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({} bytes)", self.0.len())
    }
}

/// Whom a TLS client trusts, and what it proves itself by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificates to trust; without them, those of the system.
    pub roots: Option<Pem>,
    /// Certificate chain and key of the client.
    pub identity: Option<(Pem, Pem)>,
}

/// The certificates of a PEM text.
///
/// # Errors
/// There is none, or one cannot be read.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(list) if list.is_empty() => Err("expected certificates in PEM, found none".to_owned()),
        Ok(list) => Ok(list),
        Err(error) => Err(format!("expected certificates in PEM: {error}")),
    }
}

/// The private key of a PEM text.
///
/// # Errors
/// There is none, or it cannot be read.
pub(crate) fn key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| format!("expected a private key in PEM, not encrypted: {error}"))
}

/// A client that trusts and proves what `tls` says; nobody has to be trusted where the connection is not `encrypted`.
///
/// # Errors
/// A certificate or key cannot be used, they do not belong together, or nobody is trusted.
pub(crate) fn client(tls: &ClientTls, encrypted: bool) -> Result<ClientConfig, String> {
    let ClientTls { roots, identity } = tls;
    let mut store = RootCertStore::empty();
    if encrypted {
        match roots {
            Some(pem) => {
                for certificate in certificates(&pem.0)? {
                    store
                        .add(certificate)
                        .map_err(|error| format!("a certificate to trust cannot be used: {error}"))?;
                }
            }
            None => {
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if store.is_empty() {
            let remedy = "give the receiver's as otlp.certificate or OTEL_EXPORTER_OTLP_CERTIFICATE";
            return Err(format!("this system trusts no certificates; {remedy}"));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store);
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, secret)) => builder
            .with_client_auth_cert(certificates(&chain.0)?, key(&secret.0)?)
            .map_err(|error| format!("the client's certificate and key cannot be used: {error}")),
    }
}
