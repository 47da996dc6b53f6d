//! Scrapes: equal ones that are in flight share one run on a blocking thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::Backend;
use super::gzip::{Compressed, Compressors};
use crate::output::prometheus::PageBuffer;
use crate::output::prometheus::negotiate::{Encoding, ExpositionFormat};
use crate::sync::lock;
use crate::telemetry::HttpMetrics;

/// The timeout of a scraper that states none: Prometheus' default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer timeouts count as this one.
const TIMEOUT_MAXIMUM: Duration = Duration::from_secs(300);
/// Kept back from the scraper's timeout for compressing and sending, but at most a tenth of it.
const TIMEOUT_OFFSET: Duration = Duration::from_millis(500);

/// How long a scraper waits, and how long making the exposition may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScrapeDeadline {
    /// From the request on.
    pub(super) timeout: Duration,
    /// The share of `timeout` for making the exposition.
    pub(super) budget: Duration,
}

impl ScrapeDeadline {
    /// From the value of `X-Prometheus-Scrape-Timeout-Seconds`; an invalid one counts as absent.
    pub(super) fn from_header(header: Option<&[u8]>) -> Self {
        let seconds = header.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<f64>().ok());
        let timeout = seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let timeout = timeout
            .map_or(DEFAULT_TIMEOUT, |seconds| Duration::from_secs_f64(seconds.min(TIMEOUT_MAXIMUM.as_secs_f64())));
        Self { timeout, budget: timeout - TIMEOUT_OFFSET.min(timeout / 10) }
    }
}

/// What equal scrapes have in common: also the deadline, since an exposition may be cut short by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScrapeKey {
    pub(super) profile: String,
    pub(super) format: ExpositionFormat,
    pub(super) encoding: Encoding,
    pub(super) deadline: ScrapeDeadline,
}

/// A body, and its actual encoding.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    pub(super) encoding: Encoding,
}

/// Why a scrape has no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScrapeFailure {
    NoSuchProfile,
    /// The scraper's timeout has passed.
    Timeout,
    /// The run panicked; the panic hook has logged where.
    Panicked,
    /// The compressor failed; the log says how.
    Compression,
}

type ScrapeOutcome = Result<Encoded, ScrapeFailure>;

/// A run; `Some` when it has finished.
pub(super) type ScrapeRun = watch::Receiver<Option<ScrapeOutcome>>;

/// Waits for a run until the scraper's timeout.
pub(super) async fn outcome(mut run: ScrapeRun, until: Instant) -> ScrapeOutcome {
    match tokio::time::timeout_at(until.into(), run.wait_for(Option::is_some)).await {
        Err(_) => Err(ScrapeFailure::Timeout),
        Ok(Err(_)) => Err(ScrapeFailure::Panicked),
        Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(ScrapeFailure::Panicked)),
    }
}

/// The runs in flight. A scrape that arrives during an equal run gets its result, which is at most one run older than
/// its own would be. A run continues when its scrapers hang up, and keeps its permit until it has finished.
pub(super) struct Scrapes {
    backend: Arc<dyn Backend>,
    telemetry: Arc<HttpMetrics>,
    running: Mutex<HashMap<ScrapeKey, ScrapeRun>>,
    /// The last body, whose memory the next run reuses: an allocator maps its megabytes again page by page.
    last: Mutex<Bytes>,
    compressors: Compressors,
}

impl Scrapes {
    pub(super) fn new(backend: Arc<dyn Backend>, telemetry: Arc<HttpMetrics>) -> Arc<Self> {
        Arc::new(Self {
            backend,
            telemetry,
            running: Mutex::default(),
            last: Mutex::default(),
            compressors: Compressors::default(),
        })
    }

    /// The equal run that is in flight.
    pub(super) fn running(&self, key: &ScrapeKey) -> Option<ScrapeRun> {
        lock(&self.running).get(key).cloned()
    }

    /// The equal run in flight, or a new one, whose budget begins at `arrived` and which holds `permit` to its end.
    pub(super) fn start<P: Send + 'static>(self: &Arc<Self>, key: ScrapeKey, arrived: Instant, permit: P) -> ScrapeRun {
        let mut running = lock(&self.running);
        if let Some(run) = running.get(&key) {
            return run.clone();
        }
        let (publish, run) = watch::channel(None);
        running.insert(key.clone(), run.clone());
        let scrapes = self.clone();
        tokio::spawn(async move {
            let outcome = scrapes.clone().run(key.clone(), arrived + key.deadline.budget).await;
            drop(permit);
            lock(&scrapes.running).remove(&key);
            publish.send_replace(Some(outcome));
        });
        run
    }

    async fn run(self: Arc<Self>, key: ScrapeKey, deadline: Instant) -> ScrapeOutcome {
        let work = move || {
            let start = Instant::now();
            let write = |page: &mut PageBuffer<'_>| self.backend.exposition(&key.profile, key.format, deadline, page);
            let (found, mut body, encoding) = self.write(key.encoding, write)?;
            if !found {
                return Err(ScrapeFailure::NoSuchProfile);
            }
            self.telemetry.exposed(&key.profile, start.elapsed());
            // The buffer shrinks when the host has far fewer JVMs than before.
            if body.len() < body.capacity() / 4 {
                body.shrink_to_fit();
            }
            let bytes = Bytes::from(body);
            *lock(&self.last) = bytes.clone();
            Ok(Encoded { bytes, encoding })
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(ScrapeFailure::Panicked))
    }

    /// What `write` returns, and the body that it writes.
    fn write<T>(
        &self,
        encoding: Encoding,
        write: impl FnOnce(&mut PageBuffer<'_>) -> T,
    ) -> Result<(T, Vec<u8>, Encoding), ScrapeFailure> {
        let memory = self.reclaim();
        match (encoding, self.backend.gzip_level()) {
            (Encoding::Gzip, Some(level)) => self.gzip(level, Vec::new(), memory, write),
            _ => {
                let mut page = PageBuffer::whole(memory);
                let result = write(&mut page);
                Ok((result, page.bytes, Encoding::Identity))
            }
        }
    }

    fn gzip<T>(
        &self,
        level: u32,
        begin: Vec<u8>,
        memory: Vec<u8>,
        write: impl FnOnce(&mut PageBuffer<'_>) -> T,
    ) -> Result<(T, Vec<u8>, Encoding), ScrapeFailure> {
        match self.compressors.compress(level, begin, memory, write) {
            Ok((result, Compressed::Gzip(body))) => Ok((result, body, Encoding::Gzip)),
            Ok((result, Compressed::Short(body))) => Ok((result, body, Encoding::Identity)),
            Err(error) => {
                tracing::error!(%error, "a body cannot be compressed");
                Err(ScrapeFailure::Compression)
            }
        }
    }

    /// Compresses a text if the client accepts it and it is long enough. Blocks.
    pub(super) fn encode(&self, text: String, encoding: Encoding) -> Result<Encoded, ScrapeFailure> {
        let text = text.into_bytes();
        let (body, encoding) = match (encoding, self.backend.gzip_level()) {
            (Encoding::Gzip, Some(level)) => {
                let ((), body, encoding) = self.gzip(level, text, Vec::new(), |_| ())?;
                (body, encoding)
            }
            _ => (text, Encoding::Identity),
        };
        Ok(Encoded { bytes: body.into(), encoding })
    }

    /// An empty buffer: that of the last run, unless it is still being sent.
    fn reclaim(&self) -> Vec<u8> {
        let last = std::mem::take(&mut *lock(&self.last));
        let Ok(mut last) = last.try_into_mut() else { return Vec::new() };
        last.clear();
        last.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_leaves_time_to_send() {
        let deadline = |timeout, budget| ScrapeDeadline {
            timeout: Duration::from_millis(timeout),
            budget: Duration::from_millis(budget),
        };
        for (header, expected) in [
            (None, deadline(10_000, 9_500)),
            (Some("15"), deadline(15_000, 14_500)),
            (Some("1"), deadline(1_000, 900)),
            (Some("0.5"), deadline(500, 450)),
            (Some("1e9"), deadline(300_000, 299_500)),
            (Some("-1"), deadline(10_000, 9_500)),
            (Some("0"), deadline(10_000, 9_500)),
            (Some("NaN"), deadline(10_000, 9_500)),
            (Some("inf"), deadline(10_000, 9_500)),
            (Some("soon"), deadline(10_000, 9_500)),
        ] {
            assert_eq!(ScrapeDeadline::from_header(header.map(str::as_bytes)), expected, "{header:?}");
        }
    }
}
