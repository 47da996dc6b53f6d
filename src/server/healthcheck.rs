//! `hotspot-exporter healthcheck`: a client of `/-/healthy`, for images without curl.
//!
//! Over `https://` the server's certificate is not verified, since it names the service and not the loopback address;
//! therefore only loopback addresses are allowed. An exporter that requires a password answers 401, which proves that
//! it serves; `/-/healthy` claims no more. One that requires a client certificate cannot be checked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The URL without an argument.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:9850/-/healthy";

/// Time for the whole request.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why the exporter is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// The URL is malformed or has another scheme.
    #[error("URL {url:?}: expected http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH, such as {DEFAULT_URL}")]
    Url {
        /// As given.
        url: String,
    },
    /// The certificate would have to be verified, and the healthcheck has no CA.
    #[error("URL {url:?}: expected a loopback address after https://, such as https://127.0.0.1:9850/-/healthy")]
    NotLoopback {
        /// As given.
        url: String,
    },
    /// The TLS handshake fails.
    #[error("{url}: TLS failed: {error}; an exporter that requires client certificates cannot be checked")]
    Tls {
        /// As given.
        url: String,
        /// What was wrong.
        error: std::io::Error,
    },
    /// Nothing listens on the address.
    #[error("cannot connect to {authority}: {error}; is the exporter running with this --web.listen-address?")]
    Connect {
        /// Host and port.
        authority: String,
        /// Why.
        error: std::io::Error,
    },
    /// The peer does not speak HTTP.
    #[error("{url}: expected an HTTP response: {error}")]
    Http {
        /// As given.
        url: String,
        /// What was wrong with the response.
        error: hyper::Error,
    },
    /// The response has another status.
    #[error("{url}: expected 200 OK, found {status}")]
    Status {
        /// As given.
        url: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// There was no response in time.
    #[error("{url}: no response within {} s", .deadline.as_secs_f64())]
    Timeout {
        /// As given.
        url: String,
        /// The time it had.
        deadline: Duration,
    },
}

/// Requests `url`, and succeeds if the response within `deadline` is 200 or 401.
///
/// # Errors
/// The step that failed.
pub async fn healthcheck(url: &str, deadline: Duration) -> Result<(), HealthcheckError> {
    match tokio::time::timeout(deadline, check(url)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(HealthcheckError::Timeout { url: url.to_owned(), deadline }),
    }
}

async fn check(url: &str) -> Result<(), HealthcheckError> {
    let bad_url = || HealthcheckError::Url { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| bad_url())?;
    let host = uri.host().ok_or_else(bad_url)?;
    let (tls, port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(bad_url()),
    };
    let authority = uri.authority().ok_or_else(bad_url)?.as_str();
    let unbracketed = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((unbracketed, uri.port_u16().unwrap_or(port)))
        .await
        .map_err(|error| HealthcheckError::Connect { authority: authority.to_owned(), error })?;
    let failed = |error| HealthcheckError::Tls { url: url.to_owned(), error };
    let status = if tls {
        let address = stream.peer_addr().ok().map(|address| address.ip());
        let address = address.filter(IpAddr::is_loopback);
        let address = address.ok_or_else(|| HealthcheckError::NotLoopback { url: url.to_owned() })?;
        let name = ServerName::try_from(unbracketed.to_owned()).unwrap_or_else(|_| ServerName::from(address));
        let config = unverified().map_err(|error| failed(std::io::Error::other(error)))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(failed)?;
        // With TLS 1.3, a refusal for want of a client certificate arrives only here.
        request(stream, &uri, authority).await.map_err(|error| failed(std::io::Error::other(error)))?
    } else {
        let error = |error| HealthcheckError::Http { url: url.to_owned(), error };
        request(stream, &uri, authority).await.map_err(error)?
    };
    match status {
        StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(()),
        status => Err(HealthcheckError::Status { url: url.to_owned(), status }),
    }
}

async fn request<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    uri: &Uri,
    authority: &str,
) -> Result<StatusCode, hyper::Error> {
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
    // Every authority of a URL is a valid header value.
    if let Ok(host) = header::HeaderValue::from_str(authority) {
        request.headers_mut().insert(header::HOST, host);
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::select! {
        response = sender.send_request(request) => Ok(response?.status()),
        // The response arrives before the connection ends, unless the connection fails.
        Err(error) = connection => Err(error),
    }
}

/// A TLS client that accepts any certificate whose key the server has.
fn unverified() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth())
}

/// Accepts any certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
