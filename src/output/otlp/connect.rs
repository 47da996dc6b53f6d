//! Connects to the receiver.

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;

use crate::config::Otlp;
use crate::tls;

/// A connector for the endpoint, with TLS if its scheme asks for it, for HTTP/2 or HTTP/1.
pub(super) fn connector(config: &Otlp, http2: bool) -> Result<HttpsConnector<HttpConnector>, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.timeout));
    // Closes a connection to an unreachable receiver after this time, instead of the kernel's quarter of an hour, so
    // that the next attempt makes a new one.
    tcp.set_tcp_user_timeout(Some(config.timeout));
    let builder =
        HttpsConnectorBuilder::new().with_tls_config(tls::client(&config.tls, config.is_encrypted())?).https_or_http();
    Ok(match http2 {
        true => builder.enable_http2().wrap_connector(tcp),
        false => builder.enable_http1().wrap_connector(tcp),
    })
}
