//! The address that metrics are pushed to.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

use crate::yaml::document::excerpt;

/// Where metrics go over HTTP below a base address.
const METRICS: &str = "/v1/metrics";

/// An address with a scheme and a host. Its query may hold a token: only requests have it, texts do not.
#[derive(Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(Uri);

impl OtlpEndpoint {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let problem = || format!("expected an http:// or https:// address, found {}", shown(text));
        let uri: Uri = text.parse().map_err(|_| problem())?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("the address names a user; credentials belong into headers".to_owned());
        }
        let known = matches!(uri.scheme_str(), Some("http" | "https"));
        // What stands for a port and is none may be a password.
        let is_host = |host: &http::uri::Authority| {
            !host.host().is_empty() && (host.port_u16().is_some() || host.as_str() == host.host())
        };
        if known && uri.authority().is_some_and(is_host) { Ok(Self(uri)) } else { Err(problem()) }
    }

    pub(super) const fn of(uri: Uri) -> Self {
        Self(uri)
    }

    /// The address of metrics below this one; a query stays behind the path.
    pub(super) fn metrics(self) -> Self {
        let query = self.0.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{METRICS}{query}", self.0.path().trim_end_matches('/'));
        let mut parts = self.0.clone().into_parts();
        parts.path_and_query = PathAndQuery::from_maybe_shared(path).ok();
        Uri::from_parts(parts).map_or(self, Self)
    }

    /// Where requests go.
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether the scheme requires TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}

/// A text that is no address, without what may be a secret.
fn shown(text: &str) -> String {
    match text.split(['?', '#']).next() {
        _ if text.contains('@') => "one with `@`".to_owned(),
        Some(head) => format!("`{}`", excerpt(head)),
        None => String::new(),
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host) = (self.0.scheme_str().unwrap_or_default(), self.0.authority().map(|host| host.as_str()));
        write!(f, "{scheme}://{}{}", host.unwrap_or_default(), self.0.path())?;
        f.write_str(if self.0.query().is_some() { "?..." } else { "" })
    }
}

impl fmt::Debug for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
