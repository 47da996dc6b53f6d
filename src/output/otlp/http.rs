//! OTLP over HTTP with protobuf bodies.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;

use super::USER_AGENT;
use super::connect::{Connector, connector, forwards};
use super::failure::{Accepted, PushFailure, PushFailureReason, Retry};
use super::grpc::{accepted, excerpt};
use crate::config::{Compression, Otlp, OtlpEndpoint};

/// Longest response that is read, in bytes.
const RESPONSE_MAXIMUM: usize = 64 << 10;

/// The fastest level, which compresses repeated names nearly as well as the others.
const LEVEL: flate2::Compression = flate2::Compression::new(1);

const PROTOBUF: &str = "application/x-protobuf";

/// A client with a connection pool.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
    endpoint: OtlpEndpoint,
    headers: HeaderMap,
    compression: Compression,
}

impl Http {
    /// # Errors
    /// TLS cannot be used as configured.
    pub(super) fn new(config: &Otlp) -> Result<Self, String> {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector(config)?);
        let mut headers: HeaderMap = config.headers.iter().cloned().collect();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        headers.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let proxy = config.proxy.as_ref().filter(|_| forwards(config));
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.clone()) {
            headers.insert(PROXY_AUTHORIZATION, authorization);
        }
        if config.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self { client, endpoint: config.endpoint.clone(), headers, compression: config.compression })
    }

    pub(super) async fn send(&mut self, message: Bytes) -> Result<Accepted, PushFailure> {
        let body = match self.compression {
            Compression::None => message,
            Compression::Gzip => gzip(&message),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.uri().clone();
        request.headers_mut().clone_from(&self.headers);
        let response = self.client.request(request).await.map_err(|error| PushFailure::of_exchange(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, RESPONSE_MAXIMUM).collect().await.map(|body| body.to_bytes());
        if !head.status.is_success() {
            let mut failure = failure(head.status, &head.headers, &body.unwrap_or_default());
            if let Some(query) = self.endpoint.uri().query().filter(|query| !query.is_empty()) {
                // Redirects and pages of errors repeat the address.
                failure.detail = failure.detail.replace(query, "...");
            }
            return Err(failure);
        }
        let body = body.map_err(|error| PushFailure::of_exchange(&*error))?;
        // A complete success encodes to an empty body; Prometheus omits the content type, too.
        if body.is_empty() {
            return Ok(Accepted::default());
        }
        let is_protobuf = is_protobuf(&head.headers);
        match ExportMetricsServiceResponse::decode(body).map(accepted) {
            Ok(accepted) if is_protobuf => Ok(accepted),
            _ => {
                let found = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("none");
                let detail = format!("expected a response of type application/x-protobuf, found {found}");
                Err(PushFailure { reason: PushFailureReason::Protocol, retry: Retry::Never, detail })
            }
        }
    }
}

fn gzip(message: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(message.len() / 8), LEVEL);
    // Writing to memory cannot fail.
    let _ = encoder.write_all(message);
    encoder.finish().unwrap_or_default().into()
}

/// The specification's retryable codes (opentelemetry.io/docs/specs/otlp, "Failures").
fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> PushFailure {
    let delay = headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
    let later = delay.map_or(Retry::Backoff, Retry::After);
    let (reason, retry) = match status.as_u16() {
        429 => (PushFailureReason::Throttled, later),
        502..=504 => (PushFailureReason::Unavailable, later),
        401 | 403 => (PushFailureReason::Unauthorized, Retry::Never),
        300..=399 | 404 | 405 | 415 => (PushFailureReason::Protocol, Retry::Never),
        _ => (PushFailureReason::Rejected, Retry::Never),
    };
    let mut detail = format!("the receiver responded with {status}");
    if let Some(location) = headers.get(LOCATION).and_then(|location| location.to_str().ok()) {
        detail.push_str(&format!(" to {location}"));
    }
    let message = match tonic_types::Status::decode(body) {
        Ok(status) if is_protobuf(headers) => excerpt(&status.message),
        _ => excerpt(&String::from_utf8_lossy(body)),
    };
    if !message.is_empty() {
        detail.push_str(": ");
        detail.push_str(&message);
    }
    PushFailure { reason, retry, detail }
}

/// Whether the content type is protobuf, with or without parameters.
fn is_protobuf(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()?.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(PROTOBUF))
}

/// Parses `Retry-After`: seconds or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value.trim()).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn codes_are_retried_as_the_specification_says() {
        for (status, reason, retry) in [
            (429, PushFailureReason::Throttled, Retry::After(Duration::from_secs(3))),
            (503, PushFailureReason::Unavailable, Retry::After(Duration::from_secs(3))),
            (400, PushFailureReason::Rejected, Retry::Never),
            (401, PushFailureReason::Unauthorized, Retry::Never),
            (404, PushFailureReason::Protocol, Retry::Never),
            (500, PushFailureReason::Rejected, Retry::Never),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("3"))]);
            let failure = failure(StatusCode::from_u16(status).unwrap_or_default(), &headers, b"why");
            assert_eq!((failure.reason, failure.retry), (reason, retry), "{status}");
            assert!(failure.detail.ends_with(": why"), "{}", failure.detail);
        }
    }
}
