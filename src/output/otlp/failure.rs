//! Why a request failed, and whether to retry it.

use std::error::Error;
use std::io;
use std::time::Duration;

use strum::VariantArray;

/// The receiver's response to a request that it accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Number of rejected points in the request.
    pub rejected: u64,
    /// The receiver's message about them, or a warning.
    pub message: String,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}; {}", .reason.remedy())]
pub struct PushFailure {
    /// The reason, for metrics.
    pub reason: PushFailureReason,
    /// Whether the same request may succeed later.
    pub retry: Retry,
    /// What happened.
    pub detail: String,
}

/// Why a request failed: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PushFailureReason {
    /// Nothing listens at the address, or its name cannot be resolved.
    Connect,
    /// TLS failed, usually over certificates.
    Tls,
    /// The endpoint speaks another protocol.
    Protocol,
    /// There was no response in time, or the connection broke.
    Timeout,
    /// The receiver limits the rate.
    Throttled,
    /// The receiver is temporarily unavailable.
    Unavailable,
    /// The receiver requires credentials, or rejects them.
    Unauthorized,
    /// The receiver rejects this request.
    Rejected,
}

impl PushFailureReason {
    const fn remedy(self) -> &'static str {
        match self {
            Self::Connect => "check that the receiver runs at this address, and http_proxy, https_proxy and no_proxy",
            Self::Tls => "check the endpoint's scheme, and that otlp.certificate is the certificate of its authority",
            Self::Protocol => {
                "check otlp.protocol, port and scheme; usual are grpc on port 4317 and http/protobuf on port 4318"
            }
            Self::Timeout => "check whether the receiver is overloaded or otlp.timeout too short",
            Self::Throttled | Self::Unavailable => "the exporter retries",
            Self::Unauthorized => "check otlp.headers",
            Self::Rejected => "the receiver's log may contain the reason",
        }
    }
}

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No.
    Never,
    /// Yes, after a pause with exponential backoff.
    Backoff,
    /// Yes, after the pause that the receiver asks for.
    After(Duration),
}

impl PushFailure {
    /// The failure of an exchange without a response.
    pub(super) fn of_exchange(error: &(dyn Error + 'static)) -> Self {
        let mut reason = None;
        let mut texts: Vec<String> = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            reason = classify(error, &text).or(reason);
            if texts.last().is_none_or(|last| !last.contains(&text)) {
                texts.push(text);
            }
            // `source` of an I/O error skips the error that it contains.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        let reason = reason.unwrap_or(PushFailureReason::Timeout);
        let retry = match reason {
            PushFailureReason::Tls | PushFailureReason::Protocol => Retry::Never,
            _ => Retry::Backoff,
        };
        Self { reason, retry, detail: texts.join(": ") }
    }

    /// The failure of an attempt without a response in time.
    pub(super) fn timeout(timeout: Duration) -> Self {
        let detail = format!("no response within {} ms", timeout.as_millis());
        Self { reason: PushFailureReason::Timeout, retry: Retry::Backoff, detail }
    }
}

/// The reason of one error of a chain, if it has one; the innermost reason counts.
fn classify(error: &(dyn Error + 'static), text: &str) -> Option<PushFailureReason> {
    if error.is::<rustls::Error>() || error.is::<rustls::pki_types::InvalidDnsNameError>() {
        return Some(PushFailureReason::Tls);
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>()
        && (error.is_parse() || error.is_parse_status())
    {
        return Some(PushFailureReason::Protocol);
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
                return Some(PushFailureReason::Timeout);
            }
            Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::TimedOut => {
                return Some(PushFailureReason::Connect);
            }
            _ => {}
        }
    }
    if ["dns error", "failed to lookup", "tunnel error"].iter().any(|known| text.contains(known)) {
        return Some(PushFailureReason::Connect);
    }
    // A server that speaks HTTP/1 sends invalid HTTP/2 frames, another one sends bytes where HTTP/1 expects none.
    let is_framing = text.contains("received unexpected message")
        || text.contains("frame with invalid size")
        || text.contains("http2 error") && text.contains("protocol");
    is_framing.then_some(PushFailureReason::Protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_reason_counts() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let nested = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, certificate));
        for (error, reason, retry) in [
            (io::Error::other(refused), PushFailureReason::Connect, Retry::Backoff),
            (nested, PushFailureReason::Tls, Retry::Never),
            (io::Error::from(io::ErrorKind::ConnectionReset), PushFailureReason::Timeout, Retry::Backoff),
            (io::Error::other("something else"), PushFailureReason::Timeout, Retry::Backoff),
        ] {
            let failure = PushFailure::of_exchange(&error);
            assert_eq!((failure.reason, failure.retry), (reason, retry), "{}", failure.detail);
        }
    }
}
