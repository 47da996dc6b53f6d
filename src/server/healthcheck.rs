//! `hotspot-exporter healthcheck`: a client of `/-/healthy`, for images without curl.
//!
//! Over `https://` only loopback addresses are allowed, and the certificate, which names the service, is not verified. An
//! exporter that answers 401 serves, which is all that `/-/healthy` claims.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
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
    let address = Address::new(url, None);
    let late = |_| Err(format!("{}: no response within {} s", address.url, deadline.as_secs_f64()));
    tokio::time::timeout(deadline, check(&address)).await.unwrap_or_else(late).map_err(HealthcheckError)
}

type RequestError = Box<dyn std::error::Error + Send + Sync>;

async fn check(address: &Address) -> Result<(), String> {
    match fetch(address, None).await?.0 {
        StatusCode::OK | StatusCode::UNAUTHORIZED => Ok(()),
        status => Err(format!("{}: expected 200 OK, found {status}", address.url)),
    }
}

/// A URL of the exporter, and who asks.
#[derive(Clone)]
pub(super) struct Address {
    /// The URL without user and password.
    pub(super) url: String,
    /// The value of `Authorization`, if the URL has a user.
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Address {
    /// Parts user and password, which may be percent-encoded, from the rest of a URL.
    pub(super) fn new(url: &str, password: Option<&str>) -> Self {
        let authority = url.find("://").map_or(0, |scheme| scheme + 3);
        let end = url[authority..].find('/').map_or(url.len(), |slash| authority + slash);
        let Some(at) = url[authority..end].rfind('@') else {
            return Self { url: url.to_owned(), authorization: None };
        };
        let given = &url[authority..authority + at];
        let (user, given) = given.split_once(':').map_or((given, None), |(user, password)| (user, Some(password)));
        let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let password = given.map(decoded).or_else(|| Some(password?.into())).unwrap_or_default();
        let credentials = [&*decoded(user), b":", &password].concat();
        let mut authorization = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).ok();
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Self { url: format!("{}{}", &url[..authority], &url[authority + at + 1..]), authorization }
    }

    /// That of another path of the same server.
    pub(super) fn join(&self, path: &str) -> Self {
        Self { url: format!("{}{path}", self.url.trim_end_matches('/')), ..self.clone() }
    }
}

/// The status of the response to a request, and its body of at most so many bytes if it is wanted.
pub(super) async fn fetch(address: &Address, limit: Option<usize>) -> Result<(StatusCode, Bytes), String> {
    let url = &address.url;
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
    let mut request = Request::get(path).header(header::HOST, authority.as_str());
    if let Some(authorization) = &address.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| bad_url())?;
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
