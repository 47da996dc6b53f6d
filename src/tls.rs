//! Certificates and keys in PEM, for server and client, and the settings of a TLS client.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The content of a PEM file. Its debug output hides it, since it may be a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(pub String);

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({} bytes)", self.0.len())
    }
}

/// What a TLS client trusts, and how it authenticates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// CA certificates to trust instead of those of the system.
    pub roots: Option<Pem>,
    /// Certificate chain and key of the client.
    pub identity: Option<(Pem, Pem)>,
}

/// The certificates in PEM, at least one.
pub(crate) fn certificates(pem: impl AsRef<[u8]>) -> Result<Vec<CertificateDer<'static>>, String> {
    let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_ref()).collect();
    match list {
        Ok(list) if list.is_empty() => Err("expected certificates in PEM, found none".to_owned()),
        Ok(list) => Ok(list),
        Err(error) => Err(format!("expected certificates in PEM: {error}")),
    }
}

pub(crate) fn key(pem: impl AsRef<[u8]>) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_ref())
        .map_err(|error| format!("expected a private key in PEM, not encrypted: {error}"))
}

/// The CA certificates in PEM, at least one.
pub(crate) fn roots(pem: impl AsRef<[u8]>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|error| format!("a CA certificate cannot be used: {error}"))?;
    }
    Ok(store)
}

/// The configuration of a TLS client. Without encryption it needs no trusted certificate.
pub(crate) fn client(tls: &ClientTls, encrypted: bool) -> Result<ClientConfig, String> {
    let ClientTls { roots: pem, identity } = tls;
    let store = match pem {
        _ if !encrypted => RootCertStore::empty(),
        Some(pem) => roots(&pem.0)?,
        None => system_roots()?,
    };
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

/// The methods of a verifier of certificates that check signatures, by the algorithms of an expression on `self`.
macro_rules! signature_checks {
    ($self:ident => $algorithms:expr) => {
        fn verify_tls12_signature(
            &$self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls12_signature(message, certificate, signature, &$algorithms)
        }

        fn verify_tls13_signature(
            &$self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            rustls::crypto::verify_tls13_signature(message, certificate, signature, &$algorithms)
        }

        fn supported_verify_schemes(&$self) -> Vec<rustls::SignatureScheme> {
            $algorithms.supported_schemes()
        }
    };
}
pub(crate) use signature_checks;

fn system_roots() -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        let remedy = "set otlp.certificate or OTEL_EXPORTER_OTLP_CERTIFICATE to the receiver's CA";
        return Err(format!("this system has no trusted certificates; {remedy}"));
    }
    Ok(store)
}
