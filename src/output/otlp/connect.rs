//! Connects to the receiver, through a proxy if the environment names one.

use std::error::Error;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::{Otlp, OtlpProtocol, OtlpProxy};
use crate::tls;

/// A connector for the endpoint, with TLS if its scheme asks for it, for HTTP/2 or HTTP/1.
pub(super) fn connector(config: &Otlp) -> Result<HttpsConnector<Connector>, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.timeout));
    // Closes a connection to an unreachable receiver after this time, instead of the kernel's quarter of an hour, so
    // that the next attempt makes a new one.
    tcp.set_tcp_user_timeout(Some(config.timeout));
    let tls = tls::client(&config.tls, config.endpoint.is_encrypted())?;
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let tcp = Connector { tcp, proxy: config.proxy.clone(), forwards: forwards(config) };
    Ok(match config.protocol {
        OtlpProtocol::Grpc => builder.enable_http2().wrap_connector(tcp),
        OtlpProtocol::HttpProtobuf => builder.enable_http1().wrap_connector(tcp),
    })
}

/// Whether a proxy gets the requests themselves. It forwards plain HTTP/1; all else passes through a tunnel.
pub(super) fn forwards(config: &Otlp) -> bool {
    config.proxy.is_some() && config.protocol == OtlpProtocol::HttpProtobuf && !config.endpoint.is_encrypted()
}

/// Connects to the receiver or to its proxy.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    proxy: Option<OtlpProxy>,
    forwards: bool,
}

impl Service<Uri> for Connector {
    type Response = ConnectedStream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, receiver: Uri) -> Self::Future {
        let Self { mut tcp, proxy, forwards } = self.clone();
        Box::pin(async move {
            let stream = match proxy {
                Some(proxy) if !forwards => {
                    let mut tunnel = Tunnel::new(proxy.uri, tcp);
                    if let Some(authorization) = proxy.authorization {
                        tunnel = tunnel.with_auth(authorization);
                    }
                    tunnel.call(with_port(receiver)).await?
                }
                proxy => tcp.call(proxy.map_or(receiver, |proxy| proxy.uri)).await?,
            };
            Ok(ConnectedStream { stream, forwarded: forwards })
        })
    }
}

/// A tunnel without a port leads to 443.
fn with_port(uri: Uri) -> Uri {
    match (uri.scheme_str(), uri.host(), uri.port()) {
        (Some("http"), Some(host), None) => {
            Uri::builder().scheme("http").authority(format!("{host}:80")).path_and_query("/").build().unwrap_or(uri)
        }
        _ => uri,
    }
}

/// A connection that knows whether requests are for a proxy, which needs whole addresses.
#[derive(Debug)]
pub(super) struct ConnectedStream {
    stream: TokioIo<TcpStream>,
    forwarded: bool,
}

impl ConnectedStream {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Connection for ConnectedStream {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.forwarded)
    }
}

impl Read for ConnectedStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(context, to)
    }
}

impl Write for ConnectedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, parts)
    }
}
