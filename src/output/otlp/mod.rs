//! Pushes metrics over OTLP: one `ResourceMetrics` per JVM, from the same snapshots as `/metrics`.
//!
//! A thread takes a snapshot at each interval, and the [`Encoder`] writes it as a sequence of requests, each after the
//! previous one was accepted: the memory is that of one request. An outage needs no more, since each push reads the
//! values again; only the last values of JVMs that end meanwhile wait, in a bounded queue.
//!
//! # Promise
//! An outage loses no cumulative value. Deltas refer to the last values that the receiver accepted, so the windows of
//! an outage become one. The receiver's responses are untrusted: they are bounded and decoded with the official types.

#![deny(clippy::indexing_slicing, clippy::panic)]

mod body;
mod command;
mod connect;
mod delta;
pub mod encode;
mod failure;
mod grpc;
mod http;
mod message;
mod pusher;
mod queue;
mod resource;
mod retry;
mod statistics;

use std::fmt::Debug;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

pub use command::PushCommand;
pub use encode::{Encoder, SeriesPosition};
pub use failure::{Accepted, PushFailure, PushFailureReason, Retry};
pub use pusher::{FLUSH, Pusher};
pub use retry::RequestSender;
pub use statistics::PushStatistics;

use crate::config::{Otlp, OtlpProtocol};
use crate::metric::FamilySamples;
use crate::snapshot::Snapshot;
use crate::targets::Target;

/// The user agent of requests.
const USER_AGENT: &str = concat!("hotspot-exporter/", env!("CARGO_PKG_VERSION"));

/// The source of the values.
pub trait PushSource: Debug + Send + Sync {
    /// The current values of every JVM.
    fn snapshot(&self) -> Snapshot;

    /// The current values of every JVM, and the last values of those that have ended since the last scan.
    fn last_snapshot(&self) -> Snapshot;

    /// The exporter's own metrics, and when they were zero, in seconds since the epoch.
    fn own(&self) -> (Vec<FamilySamples>, f64);
}

/// Sends requests by the configured protocol.
#[derive(Debug)]
enum OtlpSender {
    Grpc(Box<grpc::Grpc>),
    Http(Box<http::Http>),
}

impl OtlpSender {
    fn new(config: &Otlp) -> Result<Self, String> {
        Ok(match config.protocol {
            OtlpProtocol::Grpc => Self::Grpc(Box::new(grpc::Grpc::new(config)?)),
            OtlpProtocol::HttpProtobuf => Self::Http(Box::new(http::Http::new(config)?)),
        })
    }
}

impl RequestSender for OtlpSender {
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
    commands: UnboundedSender<PushCommand>,
    thread: JoinHandle<()>,
}

impl Push {
    /// Starts pushing. Fails if the thread or its runtime cannot be started.
    pub fn start(config: Otlp, source: Arc<dyn PushSource>, statistics: Arc<PushStatistics>) -> std::io::Result<Self> {
        let (commands, received) = unbounded_channel();
        // One thread for everything: encoding and compressing do not delay responses of the server.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async {
                match OtlpSender::new(&config) {
                    Ok(sender) => {
                        let pusher = Pusher::new(config, sender, source, statistics);
                        pusher.run(received, OtlpSender::new).await;
                    }
                    Err(error) => tracing::error!(error, "cannot push over OTLP"),
                }
            });
            // `stop` joins this thread and must not wait for a pending name resolution.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(run)?;
        Ok(Self { commands, thread })
    }

    /// Pushes the last values of JVMs that have ended.
    pub fn ended(&self, targets: Vec<Arc<Target>>) {
        if !targets.is_empty() {
            self.send(PushCommand::Ended(targets));
        }
    }

    /// Applies a new configuration.
    pub fn configure(&self, config: Otlp) {
        self.send(PushCommand::Configure(Box::new(config)));
    }

    /// Pushes once more and ends, within [`FLUSH`].
    pub fn stop(self) {
        self.send(PushCommand::Stop);
        // A panic of the thread is already logged.
        let _ = self.thread.join();
    }

    fn send(&self, command: PushCommand) {
        // There is no receiver if the thread could not start pushing, which is logged.
        let _ = self.commands.send(command);
    }
}
