//! Connections to the receiver.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

use crate::config::Otlp;
use crate::tls;

/// What connects to the endpoint, with or without TLS as its scheme says, for HTTP/2 or HTTP/1.
pub(super) fn connector(config: &Otlp, http2: bool) -> Result<HttpsConnector<HttpConnector>, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.timeout));
    // A connection whose other end is gone without a word ends now, not after the quarter of an hour that the kernel
    // tries, so that the next attempt makes a new one.
    tcp.set_tcp_user_timeout(Some(config.timeout));
    let builder =
        HttpsConnectorBuilder::new().with_tls_config(tls::client(&config.tls, config.is_encrypted())?).https_or_http();
    Ok(match http2 {
        true => builder.enable_http2().wrap_connector(tcp),
        false => builder.enable_http1().wrap_connector(tcp),
    })
}
