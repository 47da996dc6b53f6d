//! Pushes snapshots to the receiver.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::PushSource;
use super::encode::{Encoder, SeriesPosition, nanoseconds, since_epoch};
use super::failure::{Accepted, PushFailure, PushFailureReason, Retry};
use super::queue::{EndedQueue, QueuedRequest};
use super::retry::{RequestSender, deliver};
use super::statistics::PushStatistics;
use crate::config::Otlp;
use crate::snapshot::Snapshot;
use crate::sync::lock;
use crate::targets::Target;
use crate::telemetry::{Counter, LogDedup, Outcome};

/// Time for the last push when the program ends.
pub const FLUSH: Duration = Duration::from_millis(1800);
/// Longest pause that a receiver can ask for.
const PAUSE_MAXIMUM: Duration = Duration::from_secs(3600);
/// Key of the log line about partial successes; those of failures are their reasons.
const PARTIAL_SUCCESS: &str = "partial success";

/// Pushes snapshots of a source.
#[derive(Debug)]
pub struct Pusher<S> {
    pub(super) config: Otlp,
    sender: S,
    source: Arc<dyn PushSource>,
    statistics: Arc<PushStatistics>,
    encoder: Encoder,
    queue: EndedQueue,
    /// The memory of the last request, for the next one.
    buffer: Vec<u8>,
    pub(super) is_failing: bool,
    /// End of the pause that the receiver asked for.
    paused_until: Option<Instant>,
    /// The last failure of the current request, readable while the request is in progress.
    pub(super) last_failure: Arc<Mutex<Option<PushFailure>>>,
    dedup: LogDedup<&'static str>,
}

impl<S: RequestSender> Pusher<S> {
    /// A pusher that has pushed nothing.
    pub fn new(config: Otlp, sender: S, source: Arc<dyn PushSource>, statistics: Arc<PushStatistics>) -> Self {
        let encoder = Encoder::new(&config, since_epoch(SystemTime::now()));
        tracing::info!(
            endpoint = %config.endpoint,
            protocol = ?config.protocol,
            interval = ?config.interval,
            proxy = config.proxy.as_ref().map(|proxy| proxy.uri.to_string()),
            "pushing metrics over OTLP"
        );
        Self {
            config,
            sender,
            source,
            statistics,
            encoder,
            queue: EndedQueue::default(),
            buffer: Vec::new(),
            is_failing: false,
            paused_until: None,
            last_failure: Arc::default(),
            dedup: LogDedup::default(),
        }
    }

    /// Whether the receiver has asked for a pause that is not over.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|end| Instant::now() < end)
    }

    pub(super) fn count_push(&self, succeeded: bool, began: Instant) {
        self.statistics.pushes.with(Outcome::of(succeeded), Counter::increment);
        self.statistics.durations.observe(began.elapsed());
    }

    pub(super) fn configure(&mut self, config: Otlp, sender: S) {
        tracing::info!(endpoint = %config.endpoint, protocol = ?config.protocol, "new OTLP configuration applied");
        self.encoder.configure(&config);
        self.config = config;
        self.sender = sender;
        self.paused_until = None;
        self.dedup = LogDedup::default();
    }

    /// When a push that begins now must end: the next one has newer values.
    fn deadline(&self) -> Instant {
        Instant::now() + self.config.interval.max(self.config.timeout.min(Duration::from_secs(1)))
    }

    /// Pushes the queue, then every JVM and the exporter's own metrics.
    pub async fn push(&mut self) {
        let (began, deadline) = (Instant::now(), self.deadline());
        if self.deliver_queue(deadline).await.is_ok() {
            let snapshot = self.source.snapshot();
            // The failure is logged and counted.
            let _ = self.deliver_snapshot(&snapshot, deadline).await;
        }
        self.count_push(!self.is_failing, began);
    }

    /// Pushes the last values of ended JVMs.
    pub(super) async fn push_queue(&mut self) {
        // The failure is logged and counted.
        let _ = self.deliver_queue(self.deadline()).await;
    }

    /// Makes the last push, which begins with the JVMs that ended before it.
    pub(super) async fn flush(&mut self, ended: Vec<Arc<Target>>) {
        let deadline = Instant::now() + FLUSH;
        self.enqueue(ended);
        let last = async {
            self.deliver_queue(deadline).await?;
            let snapshot = self.source.last_snapshot();
            self.deliver_snapshot(&snapshot, deadline).await
        };
        if tokio::time::timeout_at(deadline, last).await.is_err() {
            tracing::warn!("the last push over OTLP timed out");
        }
        tracing::info!(endpoint = %self.config.endpoint, "pushing metrics over OTLP ended");
    }

    /// Reads the last values of ended JVMs, and queues them until the receiver accepts them.
    pub(super) fn enqueue(&mut self, targets: Vec<Arc<Target>>) {
        if targets.is_empty() {
            return;
        }
        let snapshot = Snapshot::last(targets);
        let now = since_epoch(SystemTime::now());
        for (index, target) in (0..).zip(&snapshot.target_set.targets) {
            let (message, points) = self.encoder.write_ended(target, &snapshot.values(index), now);
            self.queue.push(message, points);
        }
        self.statistics.dropped.add(self.queue.shrink());
        self.count_queue();
    }

    fn count_queue(&self) {
        self.statistics.queued_bytes.set(self.queue.bytes() as u64);
        self.statistics.queued_points.set(self.queue.points());
    }

    /// Sends the queue, the oldest request first. A request that the receiver rejects permanently is dropped.
    async fn deliver_queue(&mut self, deadline: Instant) -> Result<(), PushFailure> {
        while let Some(QueuedRequest { message, points }) = self.queue.front().cloned() {
            match self.deliver(&message, points, deadline).await {
                Ok(()) => {}
                Err(PushFailure { reason: PushFailureReason::Rejected, retry: Retry::Never, .. }) => {
                    self.statistics.dropped.add(points);
                }
                Err(failure) => return Err(failure),
            }
            self.queue.pop_front();
            self.count_queue();
        }
        Ok(())
    }

    /// Sends every JVM of a snapshot and the exporter's own metrics, request by request.
    async fn deliver_snapshot(&mut self, snapshot: &Snapshot, deadline: Instant) -> Result<(), PushFailure> {
        let now = since_epoch(SystemTime::now());
        // An interrupted push leaves pending values.
        self.encoder.rollback();
        self.encoder.forget_unused(snapshot);
        let (own, started) = self.source.own();
        let mut position = SeriesPosition::default();
        self.buffer.clear();
        let mut points = self.encoder.write_own(&own, nanoseconds(started), now, &mut self.buffer);
        loop {
            points += self.encoder.write_jvms(snapshot, now, &mut position, &mut self.buffer);
            if self.buffer.is_empty() {
                return Ok(());
            }
            let message = Bytes::from(std::mem::take(&mut self.buffer));
            let outcome = self.deliver(&message, points, deadline).await;
            // Reuses the memory if the message has no other owner.
            self.buffer = message.into();
            self.buffer.clear();
            outcome.inspect_err(|_| self.encoder.rollback())?;
            self.encoder.acknowledge();
            points = 0;
        }
    }

    /// Sends one request, and counts and logs the outcome.
    async fn deliver(&mut self, message: &Bytes, points: u64, deadline: Instant) -> Result<(), PushFailure> {
        let (statistics, last_failure) = (&self.statistics, &self.last_failure);
        *lock(last_failure) = None;
        let on_failure = |failure: &PushFailure| {
            statistics.failures.with(failure.reason, Counter::increment);
            *lock(last_failure) = Some(failure.clone());
        };
        match deliver(&mut self.sender, message, self.config.timeout, deadline, on_failure).await {
            Ok(accepted) => {
                statistics.points.add(points);
                statistics.bytes.add(message.len() as u64);
                statistics.rejected.add(accepted.rejected);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(endpoint = %self.config.endpoint, "the OTLP receiver accepts metrics again");
                    self.dedup.retain(|key| *key == PARTIAL_SUCCESS);
                }
                self.log_partial_success(&accepted);
                Ok(())
            }
            Err(failure) => {
                self.record_failure(&failure);
                Err(failure)
            }
        }
    }

    /// Remembers a failure, and logs it if it is new.
    pub(super) fn record_failure(&mut self, failure: &PushFailure) {
        self.is_failing = true;
        if let Retry::After(pause) = failure.retry {
            self.paused_until = Some(Instant::now() + pause.min(PAUSE_MAXIMUM));
        }
        let reason: &str = failure.reason.into();
        if self.dedup.admits(reason, reason, Instant::now().into_std()) {
            tracing::warn!(endpoint = %self.config.endpoint, reason, error = %failure, "cannot push over OTLP");
        }
    }

    /// Logs rejected points and the receiver's message, if they are new.
    fn log_partial_success(&self, accepted: &Accepted) {
        let Accepted { rejected, message } = accepted;
        if (*rejected > 0 || !message.is_empty())
            && self.dedup.admits(PARTIAL_SUCCESS, message, Instant::now().into_std())
        {
            let endpoint = &self.config.endpoint;
            tracing::warn!(%endpoint, rejected, message, "OTLP receiver reported a partial success");
        }
    }
}
