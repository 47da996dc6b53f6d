//! When to push what.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::PushSource;
use super::encode::{Encoder, REQUEST_MAXIMUM, SeriesPosition, nanoseconds, since_epoch};
use super::failure::{Accepted, PushFailure, Retry};
use super::retry::{Export, deliver};
use super::statistics::PushStatistics;
use crate::config::Otlp;
use crate::snapshot::Snapshot;
use crate::sync::lock;
use crate::targets::Target;
use crate::telemetry::LogDedup;

/// Time for the last push when the program ends.
pub const FLUSH: Duration = Duration::from_millis(1800);

/// Most bytes that are kept of JVMs that have ended while the receiver was away.
const QUEUE_MAXIMUM: usize = 4 << 20;

/// Most JVMs that have ended and whose last values are not read yet: each keeps its region open.
const UNREAD_MAXIMUM: usize = 64;

/// Longest time for which a receiver that asks to be left alone is.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Longest wait for the first push.
const FIRST: Duration = Duration::from_secs(1);

/// What the rest of the program wants of the pusher.
#[derive(Debug)]
pub enum Command {
    /// These JVMs have ended: push their last values.
    Ended(Vec<Arc<Target>>),
    /// Push as this says from now on.
    Configure(Box<Otlp>),
    /// Push once more and end.
    Stop,
}

/// Pushes snapshots of a source.
#[derive(Debug)]
pub struct Pusher<E> {
    config: Otlp,
    export: E,
    source: Arc<dyn PushSource>,
    statistics: Arc<PushStatistics>,
    encoder: Encoder,
    queue: VecDeque<Queued>,
    /// The last request's memory, for the next one.
    buffer: Vec<u8>,
    /// The receiver did not take the last push.
    is_failing: bool,
    /// Until when the receiver asked to be left alone.
    resumes: Option<Instant>,
    met: LastFailure,
    complaints: LogDedup<&'static str>,
}

/// What the last attempt at the present request met; seen from outside of the work that attempts it.
#[derive(Clone, Debug, Default)]
struct LastFailure(Arc<Mutex<Option<PushFailure>>>);

impl LastFailure {
    fn set(&self, failure: Option<PushFailure>) {
        *lock(&self.0) = failure;
    }

    fn get(&self) -> Option<PushFailure> {
        lock(&self.0).clone()
    }
}

/// The last values of JVMs that have ended.
#[derive(Debug)]
struct Queued {
    message: Bytes,
    points: u64,
}

impl Queued {
    /// In place where nobody else holds the message.
    fn append(&mut self, message: &[u8]) {
        let kept = std::mem::take(&mut self.message);
        let mut kept = kept.try_into_mut().unwrap_or_else(|kept| BytesMut::from(&*kept));
        kept.extend_from_slice(message);
        self.message = kept.freeze();
    }
}

impl<E: Export> Pusher<E> {
    /// A pusher that has pushed nothing.
    pub fn new(config: Otlp, export: E, source: Arc<dyn PushSource>, statistics: Arc<PushStatistics>) -> Self {
        let encoder = Encoder::new(&config, since_epoch(SystemTime::now()));
        tracing::info!(
            endpoint = %config.endpoint,
            protocol = ?config.protocol,
            interval = ?config.interval,
            "pushing over OTLP"
        );
        Self {
            config,
            export,
            source,
            statistics,
            encoder,
            queue: VecDeque::new(),
            buffer: Vec::new(),
            is_failing: false,
            resumes: None,
            met: LastFailure::default(),
            complaints: LogDedup::default(),
        }
    }

    /// Pushes until told to stop. `connect` makes the transport of a new configuration.
    pub async fn run(mut self, mut orders: UnboundedReceiver<Command>, connect: impl Fn(&Otlp) -> Result<E, String>) {
        let mut waiting = VecDeque::new();
        let mut ticks = ticks(&self.config, FIRST);
        loop {
            let order = match waiting.pop_front() {
                Some(order) => Some(order),
                None => tokio::select! {
                    // The last values of a JVM come before the push that no longer has it.
                    biased;
                    order = orders.recv() => Some(order.unwrap_or(Command::Stop)),
                    _ = ticks.tick() => None,
                },
            };
            let is_due = match order {
                Some(Command::Stop) => break,
                Some(Command::Configure(config)) => {
                    match connect(&config) {
                        Ok(export) => {
                            self.configure(*config, export);
                            ticks = self::ticks(&self.config, FIRST);
                        }
                        Err(error) => {
                            tracing::error!(error, "the new settings of OTLP cannot be used; the old ones stay");
                        }
                    }
                    continue;
                }
                Some(ended @ Command::Ended(_)) => {
                    waiting.push_front(ended);
                    self.keep_last(take_ended(&mut waiting));
                    // JVMs that end one after the other must not keep the push from its turn.
                    tokio::select! { biased; _ = ticks.tick() => true, () = std::future::ready(()) => false }
                }
                None => true,
            };
            // A receiver that is away is asked by the next push, of which the queue is the first part.
            if is_due || !self.is_failing {
                self.work(is_due, &mut orders, &mut waiting).await;
            }
        }
        while let Ok(order) = orders.try_recv() {
            waiting.push_back(order);
        }
        self.flush(take_ended(&mut waiting)).await;
        tracing::info!(endpoint = %self.config.endpoint, "pushing over OTLP has ended");
    }

    /// Pushes all, or only what was kept, and takes orders meanwhile.
    async fn work(&mut self, all: bool, orders: &mut UnboundedReceiver<Command>, waiting: &mut VecDeque<Command>) {
        let (began, deadline, met) = (Instant::now(), self.deadline(), self.met.clone());
        if self.resumes.is_some_and(|resumes| began < resumes) {
            return self.statistics.pushed(false, Duration::ZERO);
        }
        let broken_off = match all {
            true => meanwhile(self.push(), orders, waiting, &met).await,
            false => meanwhile(self.deliver_queue(deadline), orders, waiting, &met).await,
        };
        if let Some(failure) = broken_off {
            self.fails(&failure);
            if all {
                self.statistics.pushed(false, began.elapsed());
            }
        }
    }

    /// Puts another configuration and its transport into force.
    fn configure(&mut self, config: Otlp, export: E) {
        tracing::info!(endpoint = %config.endpoint, protocol = ?config.protocol, "pushing over OTLP, configured anew");
        self.encoder.configure(&config);
        self.config = config;
        self.export = export;
        self.resumes = None;
        self.complaints = LogDedup::default();
    }

    /// When this push has to be over: the next one has newer values.
    fn deadline(&self) -> Instant {
        Instant::now() + self.config.interval.max(self.config.timeout.min(Duration::from_secs(1)))
    }

    /// Pushes what was kept, then every JVM and the exporter's own metrics.
    pub async fn push(&mut self) {
        let (began, deadline) = (Instant::now(), self.deadline());
        if self.deliver_queue(deadline).await.is_ok() {
            let snapshot = self.source.snapshot();
            let _ = self.deliver_snapshot(&snapshot, deadline).await;
        }
        self.statistics.pushed(!self.is_failing, began.elapsed());
    }

    /// The push at the end, with the JVMs that ended before it.
    async fn flush(&mut self, ended: Vec<Arc<Target>>) {
        let deadline = Instant::now() + FLUSH;
        self.keep_last(ended);
        let last = async {
            self.deliver_queue(deadline).await?;
            let snapshot = self.source.last_snapshot();
            self.deliver_snapshot(&snapshot, deadline).await
        };
        if tokio::time::timeout_at(deadline, last).await.is_err() {
            tracing::warn!("the last push over OTLP did not end in time");
        }
    }

    /// Reads the last values of JVMs that have ended, and keeps them until they are taken.
    fn keep_last(&mut self, targets: Vec<Arc<Target>>) {
        if targets.is_empty() {
            return;
        }
        let snapshot = Snapshot::last(targets);
        let now = since_epoch(SystemTime::now());
        for (index, target) in (0..).zip(&snapshot.target_set.targets) {
            let (message, points) = self.encoder.last(target, &snapshot.of(index), now);
            // Requests that follow each other are one request: all of a request is one repeated field.
            match self.queue.back_mut() {
                _ if points == 0 => {}
                Some(last) if last.message.len() + message.len() <= REQUEST_MAXIMUM => {
                    last.append(&message);
                    last.points += points;
                }
                _ => self.queue.push_back(Queued { message: message.into(), points }),
            }
        }
        while self.queue.iter().map(|queued| queued.message.len()).sum::<usize>() > QUEUE_MAXIMUM {
            let dropped = self.queue.pop_front().map_or(0, |queued| queued.points);
            self.statistics.dropped(dropped);
        }
        self.report_queue();
    }

    fn report_queue(&self) {
        let bytes = self.queue.iter().map(|queued| queued.message.len()).sum();
        self.statistics.queued(bytes, self.queue.iter().map(|queued| queued.points).sum());
    }

    /// Sends what was kept, the oldest first. What the receiver refuses for good is dropped.
    async fn deliver_queue(&mut self, deadline: Instant) -> Result<(), PushFailure> {
        while let Some(queued) = self.queue.front() {
            let (message, points) = (queued.message.clone(), queued.points);
            match self.deliver(&message, points, deadline).await {
                Ok(()) => {}
                Err(failure) if failure.retry == Retry::Never && failure.is_verdict() => {
                    self.statistics.dropped(points)
                }
                Err(failure) => return Err(failure),
            }
            self.queue.pop_front();
            self.report_queue();
        }
        Ok(())
    }

    /// Sends every JVM of a snapshot and the exporter's own metrics, request by request.
    async fn deliver_snapshot(&mut self, snapshot: &Snapshot, deadline: Instant) -> Result<(), PushFailure> {
        let now = since_epoch(SystemTime::now());
        // Of a push that was broken off.
        self.encoder.take_back();
        self.encoder.forget_unused(snapshot);
        let (own, began) = self.source.own();
        let mut position = SeriesPosition::default();
        let mut request = std::mem::take(&mut self.buffer);
        request.clear();
        let mut points = self.encoder.write_own(&own, nanoseconds(began), now, &mut request);
        loop {
            points += self.encoder.write_jvms(snapshot, now, &mut position, &mut request);
            if request.is_empty() {
                break;
            }
            let message = Bytes::from(request);
            let outcome = self.deliver(&message, points, deadline).await;
            // The same memory again, where nobody else holds it.
            request = message.into();
            request.clear();
            match outcome {
                Ok(()) => self.encoder.commit(),
                Err(failure) => {
                    self.encoder.take_back();
                    self.buffer = request;
                    return Err(failure);
                }
            }
            points = 0;
        }
        self.buffer = request;
        Ok(())
    }

    /// Sends one request, counts, and says what is new about it.
    async fn deliver(&mut self, message: &Bytes, points: u64, deadline: Instant) -> Result<(), PushFailure> {
        let (statistics, met) = (&self.statistics, &self.met);
        met.set(None);
        let failed = |failure: &PushFailure| {
            statistics.failed(failure.reason);
            met.set(Some(failure.clone()));
        };
        let outcome = deliver(&mut self.export, message, self.config.timeout, deadline, failed).await;
        match outcome {
            Ok(accepted) => {
                self.statistics.accepted(points, message.len(), accepted.rejected);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(endpoint = %self.config.endpoint, "the OTLP receiver takes metrics again");
                    self.complaints.retain(|key| *key == PARTIAL);
                }
                self.heed(&accepted);
                Ok(())
            }
            Err(failure) => {
                self.fails(&failure);
                Err(failure)
            }
        }
    }

    /// Says what is new about a receiver that does not take a request.
    fn fails(&mut self, failure: &PushFailure) {
        self.is_failing = true;
        if let Retry::After(pause) = failure.retry {
            self.resumes = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        }
        let reason = failure.reason.as_str();
        if self.complaints.admits(reason, reason, Instant::now().into_std()) {
            tracing::warn!(endpoint = %self.config.endpoint, reason, error = %failure, "cannot push over OTLP");
        }
    }

    /// Says what a receiver said of a request that it took.
    fn heed(&self, accepted: &Accepted) {
        let Accepted { rejected, message } = accepted;
        if (*rejected > 0 || !message.is_empty()) && self.complaints.admits(PARTIAL, message, Instant::now().into_std())
        {
            tracing::warn!(endpoint = %self.config.endpoint, rejected, message, "OTLP receiver reported a partial success");
        }
    }
}

/// A complaint of the receiver; ours are the reasons of failures.
const PARTIAL: &str = "partial success";

fn ticks(config: &Otlp, first: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + config.interval.min(first), config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// The JVMs of all orders that tell of ended ones; other orders stay.
fn take_ended(orders: &mut VecDeque<Command>) -> Vec<Arc<Target>> {
    let mut ended = Vec::new();
    orders.retain_mut(|order| match order {
        Command::Ended(targets) => {
            ended.append(targets);
            false
        }
        Command::Configure(_) | Command::Stop => true,
    });
    ended
}

/// Works, and takes orders meanwhile, which wait for their turn. The order to stop ends the work at once and overtakes
/// all others. When too many JVMs have ended for their regions to be kept open, the work goes on only while the receiver
/// takes it: what it met instead is returned.
async fn meanwhile<T>(
    work: impl Future<Output = T>,
    orders: &mut UnboundedReceiver<Command>,
    waiting: &mut VecDeque<Command>,
    met: &LastFailure,
) -> Option<PushFailure> {
    let mut work = std::pin::pin!(work);
    let mut unread = 0;
    loop {
        tokio::select! {
            _ = &mut work => return None,
            order = orders.recv() => match order {
                None | Some(Command::Stop) => {
                    waiting.push_front(Command::Stop);
                    return None;
                }
                Some(order) => {
                    if let Command::Ended(targets) = &order {
                        unread += targets.len();
                    }
                    waiting.push_back(order);
                    if unread > UNREAD_MAXIMUM && let Some(failure) = met.get() {
                        return Some(failure);
                    }
                }
            },
        }
    }
}
