//! Accepting, bounding and draining connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

use super::routes::Routes;
use super::{Bound, Limits, Options, Site};
use crate::telemetry::{Refusal, SelfMetrics};

/// Bytes of a request's line and headers; hyper's smallest bound.
const HEADERS_MAXIMUM: usize = 8192;

/// Headers of one request.
const HEADER_COUNT_MAXIMUM: usize = 64;

/// Pause after an accept that failed for want of descriptors or memory, so as not to spin until some are free.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// Serves until `shutdown` ends, then lets requests in flight end within [`Limits::drain`].
pub async fn serve(
    bound: Bound,
    options: Options,
    site: Arc<dyn Site>,
    telemetry: Arc<SelfMetrics>,
    shutdown: impl Future<Output = ()>,
) {
    let limits = options.limits;
    let (drain, draining) = watch::channel(());
    let slots = Arc::new(Semaphore::new(limits.connections));
    let routes = Arc::new(Routes::new(options, site, telemetry.clone()));
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
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            telemetry.request_refused(Refusal::MaxConnections);
            continue;
        };
        let (routes, draining) = (routes.clone(), draining.clone());
        tokio::spawn(async move {
            converse(stream, limits, routes, draining).await;
            drop(slot);
        });
    }
    acceptors.shutdown().await;
    drop((connections, draining));
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

/// One connection's life. HTTP/1 only: telling versions apart by the first bytes would have no timer.
async fn converse(stream: TcpStream, limits: Limits, routes: Arc<Routes>, mut draining: watch::Receiver<()>) {
    let unacknowledged = u32::try_from(limits.unacknowledged.as_millis()).unwrap_or(u32::MAX);
    // Neither option is needed to answer: a socket without them is only slower, or longer dead.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, unacknowledged);
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let routes = routes.clone();
        async move { Ok::<_, std::convert::Infallible>(routes.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers)
        .max_buf_size(HEADERS_MAXIMUM)
        .max_headers(HEADER_COUNT_MAXIMUM)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = draining.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
}
