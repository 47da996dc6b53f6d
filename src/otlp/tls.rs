//! TLS as a client: whom to trust and who we are.

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Otlp, Tls};

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

/// Checks what only shows when everything is put together.
///
/// # Errors
/// Certificate and key do not fit, or nobody is trusted.
pub(crate) fn check(config: &Otlp) -> Result<(), String> {
    client(config).map(|_| ())
}

/// What connects to the endpoint, with or without TLS as its scheme says, for HTTP/2 or HTTP/1.
pub(super) fn connector(config: &Otlp, http2: bool) -> Result<HttpsConnector<HttpConnector>, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.timeout));
    // A connection whose other end is gone without a word ends now, not after the quarter of an hour that the kernel
    // tries, so that the next attempt makes a new one.
    tcp.set_tcp_user_timeout(Some(config.timeout));
    let builder = HttpsConnectorBuilder::new().with_tls_config(client(config)?).https_or_http();
    Ok(match http2 {
        true => builder.enable_http2().wrap_connector(tcp),
        false => builder.enable_http1().wrap_connector(tcp),
    })
}

fn client(config: &Otlp) -> Result<ClientConfig, String> {
    let Tls { roots, identity } = &config.tls;
    let mut store = RootCertStore::empty();
    if config.endpoint.scheme_str() == Some("https") {
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
