//! Why a request was not taken, and whether to try again.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// A receiver's answer to a request that it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Points that it did not take all the same.
    pub rejected: u64,
    /// What it says about them, or a warning.
    pub message: String,
}

/// A request that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushFailure {
    /// For counting.
    pub reason: PushFailureReason,
    /// Whether the same request may succeed later.
    pub retry: Retry,
    /// For people: what happened and what to do.
    pub detail: String,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PushFailureReason {
    /// Nothing listens there, or the name is not known.
    Connect,
    /// No agreement on certificates.
    Tls,
    /// What answers speaks something else.
    Protocol,
    /// No answer in time, or the connection broke before it.
    Timeout,
    /// The receiver wants less.
    Throttled,
    /// The receiver cannot take it now.
    Unavailable,
    /// The receiver wants to know who we are, or does not like it.
    Unauthorized,
    /// The receiver does not want this request.
    Rejected,
}

impl PushFailureReason {
    /// Every reason, for metrics that show zeros too.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Tls,
        Self::Protocol,
        Self::Timeout,
        Self::Throttled,
        Self::Unavailable,
        Self::Unauthorized,
        Self::Rejected,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Rejected => "rejected",
        }
    }

    /// What to do about it.
    const fn remedy(self) -> &'static str {
        match self {
            Self::Connect => "does the receiver run, and is this its address?",
            Self::Tls => "is the endpoint's scheme right, and the certificate of its authority otlp.certificate?",
            Self::Protocol => {
                "usual are grpc on port 4317 and http/protobuf on port 4318; are otlp.protocol, port and scheme right?"
            }
            Self::Timeout => "is it overloaded, or otlp.timeout short?",
            Self::Throttled | Self::Unavailable => "it is tried again",
            Self::Unauthorized => "are otlp.headers right?",
            Self::Rejected => "its log may say more",
        }
    }
}

/// Whether the same request may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before something is changed.
    Never,
    /// After a while.
    Backoff,
    /// Not before the time that the receiver asks for.
    After(Duration),
}

impl fmt::Display for PushFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.detail, self.reason.remedy())
    }
}

impl PushFailure {
    /// Of an exchange that did not come to an answer.
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
            // An I/O error names as its source what its content was caused by, and leaves the content out.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner as &(dyn Error + 'static)),
                None => error.source(),
            };
        }
        let reason = reason.unwrap_or(PushFailureReason::Timeout);
        let retry = if matches!(reason, PushFailureReason::Tls | PushFailureReason::Protocol) {
            Retry::Never
        } else {
            Retry::Backoff
        };
        Self { reason, retry, detail: texts.join(": ") }
    }

    /// Whether the receiver has spoken on this request, rather than on all that it was sent.
    pub(super) fn is_verdict(&self) -> bool {
        self.reason == PushFailureReason::Rejected
    }

    /// Of an attempt that took too long.
    pub(super) fn late(timeout: Duration) -> Self {
        let detail = format!("no answer within {} ms", timeout.as_millis());
        Self { reason: PushFailureReason::Timeout, retry: Retry::Backoff, detail }
    }
}

/// What one error of a chain says; the innermost that says something counts.
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
    if text.contains("dns error") || text.contains("failed to lookup") {
        return Some(PushFailureReason::Connect);
    }
    // Frames that are none, as of a server that speaks HTTP/1, and bytes where HTTP/1 expects none, as of one that does not.
    let is_unexpected = text.contains("received unexpected message");
    let is_framing = is_unexpected
        || text.contains("frame with invalid size")
        || text.contains("http2 error") && text.contains("protocol");
    is_framing.then_some(PushFailureReason::Protocol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_error_that_says_something_counts() {
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
