//! Pushing over OTLP: one `ResourceMetrics` per JVM, from the same snapshots as `/metrics`.
//!
//! A thread of its own takes a snapshot at each interval, and the [`Encoder`] writes it as requests, one after the
//! other: the next is written when the one before was taken, so that memory is that of one request however many JVMs
//! there are and however long the receiver is away. Values are read anew for each push, so nothing has to be kept for a
//! receiver that is away but the last values of JVMs that ended meanwhile, in a bounded queue.
//!
//! # Promise
//! Cumulative values lose nothing by an outage. Differences are taken to what the receiver took last, so the windows of
//! an outage become one. The receiver's answers are foreign bytes: they are bounded and decoded by the official types.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod body;
mod connect;
pub mod encode;
mod failure;
mod grpc;
mod http;
mod message;
mod pusher;
mod resource;
pub mod retry;
mod statistics;
mod temporality;

use std::fmt::Debug;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use encode::{Encoder, SeriesPosition};
pub use failure::{Accepted, PushFailure, PushFailureReason, Retry};
pub use pusher::{Command, FLUSH, Pusher};
pub use retry::Export;
pub use statistics::PushStatistics;

use crate::config::{Otlp, OtlpProtocol};
use crate::metric::FamilySamples;
use crate::snapshot::Snapshot;
use crate::targets::Target;

/// How receivers know this program.
const USER_AGENT: &str = concat!("hotspot-exporter/", env!("CARGO_PKG_VERSION"));

/// Where the values come from.
pub trait PushSource: Debug + Send + Sync {
    /// Every JVM now.
    fn snapshot(&self) -> Snapshot;

    /// Every JVM now, and the last values of those that have ended since the last scan.
    fn last_snapshot(&self) -> Snapshot;

    /// The exporter's own metrics, and when they began in seconds since the epoch.
    fn own(&self) -> (Vec<FamilySamples>, f64);
}

/// The two transports.
#[derive(Debug)]
enum Transport {
    Grpc(Box<grpc::Grpc>),
    Http(Box<http::Http>),
}

impl Transport {
    fn new(config: &Otlp) -> Result<Self, String> {
        Ok(match config.protocol {
            OtlpProtocol::Grpc => Self::Grpc(Box::new(grpc::Grpc::new(config)?)),
            OtlpProtocol::HttpProtobuf => Self::Http(Box::new(http::Http::new(config)?)),
        })
    }
}

impl Export for Transport {
    async fn send(&mut self, message: Bytes) -> Result<Accepted, PushFailure> {
        match self {
            Self::Grpc(grpc) => grpc.send(message).await,
            Self::Http(http) => http.send(message).await,
        }
    }
}

/// The thread that pushes.
#[derive(Debug)]
pub struct Push {
    orders: UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

impl Push {
    /// Starts pushing as the configuration says.
    ///
    /// # Errors
    /// No thread or runtime can be had, or TLS as configured.
    pub fn start(config: Otlp, source: Arc<dyn PushSource>, statistics: Arc<PushStatistics>) -> std::io::Result<Self> {
        let (orders, received) = unbounded_channel();
        // One thread for all of it: encoding and compressing never delay an answer of the server.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async {
                match Transport::new(&config) {
                    Ok(transport) => {
                        let pusher = Pusher::new(config, transport, source, statistics);
                        pusher.run(received, Transport::new).await;
                    }
                    Err(error) => tracing::error!(error, "cannot push over OTLP"),
                }
            });
            // Whoever ends the pushing waits for this thread, and must not wait for a name server.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(run)?;
        Ok(Self { orders, thread })
    }

    /// Tells it of JVMs that have ended; their last values are pushed.
    pub fn ended(&self, targets: Vec<Arc<Target>>) {
        if !targets.is_empty() {
            self.order(Command::Ended(targets));
        }
    }

    /// Puts a new configuration into force.
    pub fn configure(&self, config: Otlp) {
        self.order(Command::Configure(Box::new(config)));
    }

    /// Pushes once more and ends, within [`FLUSH`].
    pub fn stop(self) {
        self.order(Command::Stop);
        // A thread that panicked has said so.
        let _ = self.thread.join();
    }

    fn order(&self, order: Command) {
        // Nobody receives it once the thread could not start pushing, which it has said.
        let _ = self.orders.send(order);
    }
}
