//! `hotspot-exporter healthcheck`: a client of `/-/healthy`, for images without curl.
//!
//! Over `https://` only loopback addresses are allowed, and the certificate, which names the service, is not verified. An
//! exporter that answers 401 serves, which is all that `/-/healthy` claims.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::signature_checks;

/// The URL without an argument.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:9850/-/healthy";
/// Time for the whole request.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why the exporter is not healthy: what was expected, what was found, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HealthcheckError(String);

/// Requests `url`, and succeeds if the response within `deadline` is 200 or 401.
pub async fn healthcheck(url: &str, deadline: Duration) -> Result<(), HealthcheckError> {
    let late = |_| Err(format!("{url}: no response within {} s", deadline.as_secs_f64()));
    tokio::time::timeout(deadline, check(url)).await.unwrap_or_else(late).map_err(HealthcheckError)
}

type RequestError = Box<dyn std::error::Error + Send + Sync>;

async fn check(url: &str) -> Result<(), String> {
    match fetch(url, None).await?.0 {
        StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(()),
        status => Err(format!("{url}: expected 200 OK, found {status}")),
    }
}

/// The status of the response to a request for `url`, and its body of at most so many bytes if it is wanted.
pub(super) async fn fetch(url: &str, limit: Option<usize>) -> Result<(StatusCode, Bytes), String> {
    let bad_url =
        || format!("URL {url:?}: expected http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH, such as {DEFAULT_URL}");
    let uri: Uri = url.parse().map_err(|_| bad_url())?;
    let (tls, port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err(bad_url()),
    };
    let authority = uri.authority().ok_or_else(bad_url)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, authority.as_str()).body(Empty::<Bytes>::new());
    let request = request.map_err(|_| bad_url())?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(port))).await.map_err(|error| {
        format!("cannot connect to {authority}: {error}; is the exporter running with this --web.listen-address?")
    })?;
    if tls {
        let address = stream.peer_addr().ok().map(|address| address.ip()).filter(IpAddr::is_loopback);
        let address = address.ok_or_else(|| {
            format!("URL {url:?}: expected a loopback address after https://, such as https://127.0.0.1:9850/-/healthy")
        })?;
        let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(address));
        // With TLS 1.3, a refusal for want of a client certificate arrives only as an error of the request.
        request_over_tls(stream, name, request, limit).await.map_err(|error| {
            format!("{url}: TLS failed: {error}; an exporter that requires client certificates cannot be checked")
        })
    } else {
        send(stream, request, limit).await.map_err(|error| format!("{url}: expected an HTTP response: {error}"))
    }
}

async fn request_over_tls(
    stream: TcpStream,
    name: ServerName<'static>,
    request: Request<Empty<Bytes>>,
    limit: Option<usize>,
) -> Result<(StatusCode, Bytes), RequestError> {
    let stream = TlsConnector::from(Arc::new(unverified()?)).connect(name, stream).await?;
    send(stream, request, limit).await
}

async fn send<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    limit: Option<usize>,
) -> Result<(StatusCode, Bytes), RequestError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let response = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = match limit {
            Some(limit) => Limited::new(response.into_body(), limit).collect().await?.to_bytes(),
            None => Bytes::new(),
        };
        Ok((status, body))
    };
    tokio::select! {
        response = response => response,
        // The response arrives before the connection ends, unless the connection fails.
        Err(error) = connection => Err(error.into()),
    }
}

/// A TLS client that accepts any certificate whose key the server has.
fn unverified() -> Result<ClientConfig, rustls::Error> {
    let provider = ring::default_provider();
    let verifier = Arc::new(AnyCertificate(provider.signature_verification_algorithms));
    let config = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions()?;
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

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

    signature_checks!(self => self.0);
}
