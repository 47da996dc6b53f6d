//! `hotspot-exporter healthcheck`: the client side of `/-/healthy`, for images without curl.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The URL that is asked when none is given.
pub const DEFAULT_URL: &str = "http://127.0.0.1:9850/-/healthy";

/// Time for the whole exchange.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why the exporter does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// The URL cannot be asked.
    #[error("URL {url:?}: expected http://HOST[:PORT]/PATH, such as {DEFAULT_URL}")]
    Url {
        /// As given.
        url: String,
    },
    /// Nothing listens there.
    #[error("cannot connect to {authority}: {error}; does the exporter run, and with this --web.listen-address?")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the connection attempt said.
        error: std::io::Error,
    },
    /// Something listens, and does not speak HTTP.
    #[error("{url}: no HTTP answer: {error}")]
    Http {
        /// As given.
        url: String,
        /// What was wrong with the answer.
        error: hyper::Error,
    },
    /// It says that it is not healthy.
    #[error("{url}: answered {status}, expected 200 OK")]
    Status {
        /// As given.
        url: String,
        /// The answer's status.
        status: StatusCode,
    },
    /// It did not answer in time.
    #[error("{url}: no answer within {} s", .deadline.as_secs_f64())]
    Late {
        /// As given.
        url: String,
        /// The time it had.
        deadline: Duration,
    },
}

/// Asks `url` and succeeds if the answer within `deadline` is 200.
///
/// # Errors
/// Says which step failed.
pub async fn healthcheck(url: &str, deadline: Duration) -> Result<(), HealthcheckError> {
    match tokio::time::timeout(deadline, ask(url)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(HealthcheckError::Late { url: url.to_owned(), deadline }),
    }
}

async fn ask(url: &str) -> Result<(), HealthcheckError> {
    let bad_url = || HealthcheckError::Url { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| bad_url())?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(bad_url)?;
    let authority = uri.authority().ok_or_else(bad_url)?.as_str();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, authority);
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| bad_url())?;

    let unbracketed = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((unbracketed, uri.port_u16().unwrap_or(80)))
        .await
        .map_err(|error| HealthcheckError::Connect { authority: authority.to_owned(), error })?;
    let http = |error| HealthcheckError::Http { url: url.to_owned(), error };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(http)?,
        // The exchange ends before the connection unless that fails, and then the sender says why.
        Err(source) = connection => return Err(http(source)),
    };
    match answer.status() {
        StatusCode::OK => Ok(()),
        status => Err(HealthcheckError::Status { url: url.to_owned(), status }),
    }
}
