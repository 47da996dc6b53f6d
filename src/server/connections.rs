//! Accepting, bounding and draining connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::pool::{ConnectionPool, Slot};
use super::routes::Routes;
use super::{Backend, Bound, Options, ServerLimits, Web};
use crate::telemetry::{HttpMetrics, HttpRefusal};

/// Bytes of a request's line and headers; hyper's smallest bound.
const HEADERS_MAXIMUM: usize = 8192;
const HEADER_COUNT_MAXIMUM: usize = 64;
/// Pause after a failed accept. The usual cause, exhausted descriptors, lasts until a connection ends.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// Time that a new connection has for its first request at a shutdown: whoever connects asks at once, and with a socket of
/// systemd nobody notices a restart.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// Shortest time between two log lines that say that accepting fails.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(60);

/// Serves until `shutdown` completes, then lets requests in flight finish within [`ServerLimits::drain`].
pub async fn serve(
    bound: Bound,
    options: Options,
    backend: Arc<dyn Backend>,
    telemetry: Arc<HttpMetrics>,
    shutdown: impl Future<Output = ()>,
) {
    let (limits, web) = (options.limits, options.web.clone());
    let (drain, draining) = watch::channel(());
    let unsent = if options.max_requests > 0 { options.max_requests } else { limits.connections };
    let pool = ConnectionPool::new(limits.connections, unsent);
    if let Err(error) = web.follow(telemetry.clone()) {
        tracing::error!(%error, "cannot start a thread; changes of the web configuration have no effect");
    }
    let routes = Arc::new(Routes::new(options, backend, telemetry.clone()));
    let server = Server { limits, routes, web, telemetry: telemetry.clone(), draining };
    // Each listener hands over one connection at a time.
    let (accepted, mut connections) = mpsc::channel(1);
    let mut acceptors = tokio::task::JoinSet::new();
    for listener in bound.listeners {
        acceptors.spawn(accept(listener, accepted.clone(), server.draining.clone()));
    }
    drop(accepted);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some((stream, _)) = connections.recv() => server.enter(&pool, stream),
        }
    }
    drain.send_replace(());
    // The channel closes when the last acceptor has handed over what it accepted.
    while let Some((stream, _)) = connections.recv().await {
        server.enter(&pool, stream);
    }
    drop(server);
    // The channel closes when the last connection drops its receiver.
    if tokio::time::timeout(limits.drain, drain.closed()).await.is_err() {
        tracing::warn!(seconds = limits.drain.as_secs_f64(), "requests in flight did not finish in time");
    }
}

/// Hands over every connection that it accepts, until the shutdown.
async fn accept(
    listener: TcpListener,
    accepted: mpsc::Sender<(TcpStream, SocketAddr)>,
    mut draining: watch::Receiver<()>,
) {
    let mut outage = AcceptOutage::default();
    loop {
        let connection = tokio::select! {
            _ = draining.changed() => return,
            connection = listener.accept() => connection,
        };
        match connection {
            Ok(connection) => {
                if let Some(failures) = outage.succeeded() {
                    tracing::info!(failures, "accepting connections again");
                }
                if accepted.send(connection).await.is_err() {
                    return;
                }
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if outage.failed(Instant::now()) {
                    tracing::warn!(%error, "cannot accept connections; retrying until it succeeds");
                }
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// The peer closed the connection before it was accepted (accept(2)); the next one is not affected.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Decides which failures to accept are logged: the first one, and the end with their number. An outage that recurs
/// within [`OUTAGE_INTERVAL`] is only counted, so that a server at its limit of descriptors does not fill the log.
#[derive(Debug, Default)]
struct AcceptOutage {
    /// Since the last line that gave their number.
    failures: u64,
    /// When the last line about the begin of an outage was logged.
    logged: Option<Instant>,
    /// The log says that connections cannot be accepted.
    open: bool,
}

impl AcceptOutage {
    /// Counts a failure; whether to log it.
    fn failed(&mut self, now: Instant) -> bool {
        self.failures += 1;
        let recent = self.logged.is_some_and(|logged| now.saturating_duration_since(logged) < OUTAGE_INTERVAL);
        let log = !self.open && !recent;
        if log {
            self.open = true;
            self.logged = Some(now);
        }
        log
    }

    /// Ends an outage that was logged, with the number of failures to log.
    fn succeeded(&mut self) -> Option<u64> {
        std::mem::take(&mut self.open).then(|| std::mem::take(&mut self.failures))
    }
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("TLS handshake failed")]
    Handshake(#[from] io::Error),
    #[error("TLS handshake not completed within {} s", .0.as_secs_f64())]
    HandshakeTimeout(Duration),
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

#[derive(Clone)]
struct Server {
    limits: ServerLimits,
    routes: Arc<Routes>,
    web: Arc<Web>,
    telemetry: Arc<HttpMetrics>,
    draining: watch::Receiver<()>,
}

impl Server {
    /// Serves the connection in a task of its own, if the pool has a place.
    fn enter(&self, pool: &Arc<ConnectionPool>, stream: TcpStream) {
        let entered = pool.enter();
        if !matches!(entered, Some((_, false))) {
            self.telemetry.request_refused(HttpRefusal::MaxConnections);
        }
        if let Some((slot, _)) = entered {
            tokio::spawn(self.clone().serve_connection(stream, slot));
        }
    }

    /// Serves one connection until it ends or its slot is evicted.
    async fn serve_connection(self, stream: TcpStream, slot: Arc<Slot>) {
        let unacknowledged = u32::try_from(self.limits.unacknowledged.as_millis()).unwrap_or(u32::MAX);
        // Neither option is needed to answer: without them a connection is slower, or dead for longer.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, unacknowledged);
        let _ = stream.set_nodelay(true);
        let ended = tokio::select! {
            ended = self.serve_stream(stream, &slot) => ended,
            () = slot.evicted() => return,
        };
        if let Err(error) = ended {
            tracing::debug!(error = &error as &dyn std::error::Error, "connection ended early");
        }
    }

    async fn serve_stream(self, stream: TcpStream, slot: &Arc<Slot>) -> Result<(), ConnectionError> {
        let Some(tls) = self.web.current().tls.clone() else { return self.serve_http(stream, slot).await };
        let timeout = self.limits.headers;
        let handshake = tokio::time::timeout(timeout, TlsAcceptor::from(tls).accept(stream)).await;
        let handshake = handshake.map_err(|_| ConnectionError::HandshakeTimeout(timeout)).and_then(|done| Ok(done?));
        let stream = handshake.inspect_err(|_| self.telemetry.request_refused(HttpRefusal::Handshake))?;
        self.serve_http(stream, slot).await
    }

    async fn serve_http<S>(self, stream: S, slot: &Arc<Slot>) -> Result<(), ConnectionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { limits, routes, mut draining, .. } = self;
        let asked = Notify::new();
        let service = service_fn(|request: Request<Incoming>| {
            let routes = routes.clone();
            asked.notify_one();
            async move {
                let _active = slot.activate();
                Ok::<_, Infallible>(routes.answer(request).await.map(|body| Full::new(slot.track(body))))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.headers)
            .max_buf_size(HEADERS_MAXIMUM)
            .max_headers(HEADER_COUNT_MAXIMUM)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            _ = draining.changed() => {}
        }
        // Holds at once if there was a request before.
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = asked.notified() => {}
            () = tokio::time::sleep(FIRST_REQUEST) => {}
        }
        connection.as_mut().graceful_shutdown();
        Ok(connection.await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_logged_at_its_begin_and_at_its_end() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = AcceptOutage::default();
        assert_eq!(outage.succeeded(), None);
        assert!(outage.failed(at(0)));
        assert!(!(1..100).any(|seconds| outage.failed(at(seconds))));
        assert_eq!((outage.succeeded(), outage.succeeded()), (Some(100), None));
        assert!(outage.failed(at(100)));
        assert_eq!(outage.succeeded(), Some(1));
        // It comes and goes: counted, and in the next line's number.
        assert!(!outage.failed(at(130)));
        assert_eq!(outage.succeeded(), None);
        assert!(outage.failed(at(160)));
        assert_eq!(outage.succeeded(), Some(2));
    }
}
