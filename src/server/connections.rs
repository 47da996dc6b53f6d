//! Accepting, bounding and draining connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::pool::{ConnectionPool, Slot};
use super::routes::Routes;
use super::{Backend, Bound, Options, ServerLimits, Web};
use crate::telemetry::{HttpMetrics, HttpRefusal};

/// Bytes of a request's line and headers; hyper's smallest bound.
const HEADERS_MAXIMUM: usize = 8192;

/// Headers of one request.
const HEADER_COUNT_MAXIMUM: usize = 64;

/// Requests of one HTTP/2 connection at one time; Prometheus sends one.
const STREAM_MAXIMUM: u32 = 8;

/// Bytes of request bodies in flight on HTTP/2: its smallest default, since no endpoint takes a body.
const WINDOW: u32 = 65_535;

/// Bytes of an answer that HTTP/2 copies ahead for each request.
const SEND_BUFFER: usize = 64 << 10;

/// Pause after an accept that failed for want of descriptors or memory, so as not to spin until some are free.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Serves until `shutdown` ends, then lets requests in flight end within [`ServerLimits::drain`].
pub async fn serve(
    bound: Bound,
    options: Options,
    site: Arc<dyn Backend>,
    telemetry: Arc<HttpMetrics>,
    shutdown: impl Future<Output = ()>,
) {
    let (limits, web) = (options.limits, options.web.clone());
    let (drain, draining) = watch::channel(());
    let unread = if options.max_requests > 0 { options.max_requests } else { limits.connections };
    let places = ConnectionPool::new(limits.connections, unread);
    if let Err(error) = web.follow(telemetry.clone()) {
        tracing::error!(%error, "cannot start a thread: the web configuration stays as it was read");
    }
    let routes = Arc::new(Routes::new(options, site, telemetry.clone()));
    let house = Server { limits, routes, web, telemetry: telemetry.clone(), draining };
    // One accepted connection at a time comes from each listener.
    let (accepted, mut connections) = mpsc::channel(1);
    let mut acceptors = tokio::task::JoinSet::new();
    for listener in bound.listeners {
        acceptors.spawn(accept(listener, accepted.clone()));
    }
    drop(accepted);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            Some((stream, _)) = connections.recv() => stream,
        };
        let entered = places.enter();
        if !matches!(entered, Some((_, false))) {
            telemetry.request_refused(HttpRefusal::MaxConnections);
        }
        if let Some((place, _)) = entered {
            tokio::spawn(house.clone().converse(stream, place));
        }
    }
    acceptors.shutdown().await;
    drop((connections, house));
    drain.send_replace(());
    // The channel closes when the last connection has dropped its end.
    if tokio::time::timeout(limits.drain, drain.closed()).await.is_err() {
        tracing::warn!(seconds = limits.drain.as_secs_f64(), "requests in flight did not end in time");
    }
}

async fn accept(listener: TcpListener, accepted: mpsc::Sender<(TcpStream, SocketAddr)>) {
    loop {
        match listener.accept().await {
            Ok(connection) => {
                if accepted.send(connection).await.is_err() {
                    return;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// The peer was gone before it was accepted (accept(2)); the next one is not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// How a connection ends that cannot be served.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("TLS handshake: {0}")]
    Handshake(#[from] io::Error),
    #[error("TLS handshake: not done in time")]
    Late,
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// What all connections share.
#[derive(Clone)]
struct Server {
    limits: ServerLimits,
    routes: Arc<Routes>,
    web: Arc<Web>,
    telemetry: Arc<HttpMetrics>,
    draining: watch::Receiver<()>,
}

impl Server {
    /// One connection's life.
    async fn converse(self, stream: TcpStream, place: Arc<Slot>) {
        let unacknowledged = u32::try_from(self.limits.unacknowledged.as_millis()).unwrap_or(u32::MAX);
        // Neither option is needed to answer: a socket without them is only slower, or longer dead.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, unacknowledged);
        let _ = stream.set_nodelay(true);
        let ended = tokio::select! {
            ended = self.serve(stream, &place) => ended,
            () = place.lost() => return,
        };
        if let Err(error) = ended {
            tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
        }
    }

    /// Clear text is HTTP/1 only: telling versions apart by the first bytes would have no timer. Under TLS the client
    /// says in its handshake what it speaks.
    async fn serve(self, stream: TcpStream, place: &Arc<Slot>) -> Result<(), Broken> {
        let Some(tls) = self.web.current().tls.clone() else { return self.http1(stream, place).await };
        let handshake = tokio::time::timeout(self.limits.headers, TlsAcceptor::from(tls).accept(stream)).await;
        let handshake = handshake.map_err(|_| Broken::Late).and_then(|done| done.map_err(Broken::from));
        let stream = handshake.inspect_err(|_| self.telemetry.request_refused(HttpRefusal::Handshake))?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.http2(stream, place).await,
            _ => self.http1(stream, place).await,
        }
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin>(mut self, stream: S, place: &Arc<Slot>) -> Result<(), Broken> {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.headers)
            .max_buf_size(HEADERS_MAXIMUM)
            .max_headers(HEADER_COUNT_MAXIMUM)
            .serve_connection(TokioIo::new(stream), service_fn(self.service(place)));
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            _ = self.draining.changed() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }

    /// HTTP/2 has no timer for the headers of a request; here a connection ends when none was at work for some time.
    async fn http2<S: AsyncRead + AsyncWrite + Unpin>(mut self, stream: S, place: &Arc<Slot>) -> Result<(), Broken> {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAM_MAXIMUM)
            .max_header_list_size(HEADERS_MAXIMUM as u32)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .serve_connection(TokioIo::new(stream), service_fn(self.service(place)));
        let mut connection = std::pin::pin!(connection);
        let drained = tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            _ = self.draining.changed() => true,
            () = place.idle(self.limits.headers) => false,
        };
        connection.as_mut().graceful_shutdown();
        if drained {
            return Ok(connection.await?);
        }
        // Who has not taken the answers by now has no scrape to save.
        match tokio::time::timeout(self.limits.unacknowledged, connection).await {
            Ok(ended) => Ok(ended?),
            Err(_) => Ok(()),
        }
    }

    fn service(
        &self,
        place: &Arc<Slot>,
    ) -> impl Fn(Request<Incoming>) -> BoxFuture<Result<Answer, std::convert::Infallible>> + use<> {
        let (routes, place) = (self.routes.clone(), place.clone());
        move |request| {
            let (routes, place) = (routes.clone(), place.clone());
            Box::pin(async move {
                let _working = place.work();
                Ok(routes.answer(request).await.map(|body| Full::new(place.send(body))))
            })
        }
    }
}

type Answer = Response<Full<Bytes>>;

type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;
