//! Expositions on blocking threads, one at a time for all who want the same.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::Backend;
use crate::output::prometheus::negotiate::{Encoding, ExpositionFormat};
use crate::sync::lock;
use crate::telemetry::HttpMetrics;

/// Bodies up to this many bytes are not worth compressing: they fit one packet or two.
const GZIP_MINIMUM: usize = 1024;

/// 1.5 MB of exposition (measured, zlib-rs on one slow core): level 1 takes 11 ms for 8.6x, level 4 9 ms for 13.4x,
/// level 6 17 ms for 14.1x, level 9 55 ms for 13.9x.
const GZIP_LEVEL: u32 = 4;

/// How long a scraper that does not say so waits.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// No scraper waits longer, whatever it says.
const TIMEOUT_MAXIMUM: Duration = Duration::from_secs(300);

/// Kept back from the scraper's timeout for compressing and sending, but at most a tenth of it.
const TIMEOUT_OFFSET: Duration = Duration::from_millis(500);

/// How long a scraper waits, and by when the exposition should be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScrapeDeadline {
    /// From the request on.
    pub(super) timeout: Duration,
    /// Of `timeout`, for making the exposition.
    pub(super) budget: Duration,
}

impl ScrapeDeadline {
    /// From the value of `X-Prometheus-Scrape-Timeout-Seconds`; one that makes no sense counts as absent.
    pub(super) fn of(header: Option<&[u8]>) -> Self {
        let seconds = header.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse::<f64>().ok());
        let timeout = seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let timeout = timeout
            .map_or(DEFAULT_TIMEOUT, |seconds| Duration::from_secs_f64(seconds.min(TIMEOUT_MAXIMUM.as_secs_f64())));
        Self { timeout, budget: timeout - TIMEOUT_OFFSET.min(timeout / 10) }
    }
}

/// What a scraper asks for. Equal ones share a run; patience is part of it, lest an impatient scraper's incomplete
/// exposition be given to others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScrapeKey {
    pub(super) profile: String,
    pub(super) format: ExpositionFormat,
    pub(super) encoding: Encoding,
    pub(super) patience: ScrapeDeadline,
}

/// A body, and whether it was worth compressing.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) bytes: Bytes,
    pub(super) encoding: Encoding,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScrapeFailure {
    NoSuchProfile,
    /// The scraper has given up.
    Late,
    /// The run panicked; the panic hook has said where.
    Broken,
}

type Outcome = Result<Encoded, ScrapeFailure>;

/// A run, which may have ended.
pub(super) type Running = watch::Receiver<Option<Outcome>>;

/// Waits for a run until the scraper gives up.
pub(super) async fn outcome(mut run: Running, until: Instant) -> Outcome {
    match tokio::time::timeout_at(until.into(), run.wait_for(Option::is_some)).await {
        Err(_) => Err(ScrapeFailure::Late),
        Ok(Err(_)) => Err(ScrapeFailure::Broken),
        Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(ScrapeFailure::Broken)),
    }
}

/// The runs in flight. A scrape that comes while an equal one runs gets that one's result: no older than its own
/// arrival minus one run. A run goes on when its scrapers hang up, and so keeps its place among the requests in flight.
pub(super) struct Scrapes {
    site: Arc<dyn Backend>,
    telemetry: Arc<HttpMetrics>,
    running: Mutex<HashMap<ScrapeKey, Running>>,
    /// The last exposition, whose memory the next one takes over: of a thousand JVMs it is megabytes, which allocators
    /// give back late and get back page by page.
    last: Mutex<Bytes>,
}

impl Scrapes {
    pub(super) fn new(site: Arc<dyn Backend>, telemetry: Arc<HttpMetrics>) -> Arc<Self> {
        Arc::new(Self { site, telemetry, running: Mutex::default(), last: Mutex::default() })
    }

    /// The result of an equal run that is in flight.
    pub(super) fn running(&self, wish: &ScrapeKey) -> Option<Running> {
        lock(&self.running).get(wish).cloned()
    }

    /// The result of an equal run, which is started if there is none. A run that this starts holds `place` until it
    /// ends; its time is counted from when it was asked for.
    pub(super) fn start<P: Send + 'static>(self: &Arc<Self>, wish: ScrapeKey, asked: Instant, place: P) -> Running {
        let mut running = lock(&self.running);
        if let Some(result) = running.get(&wish) {
            return result.clone();
        }
        let (publish, result) = watch::channel(None);
        running.insert(wish.clone(), result.clone());
        let scrapes = self.clone();
        tokio::spawn(async move {
            let outcome = scrapes.clone().run(wish.clone(), asked + wish.patience.budget).await;
            drop(place);
            lock(&scrapes.running).remove(&wish);
            publish.send_replace(Some(outcome));
        });
        result
    }

    async fn run(self: Arc<Self>, wish: ScrapeKey, deadline: Instant) -> Outcome {
        let work = move || {
            let start = Instant::now();
            let mut body = self.reclaim();
            if !self.site.exposition(&wish.profile, wish.format, deadline, &mut body) {
                return Err(ScrapeFailure::NoSuchProfile);
            }
            self.telemetry.exposed(&wish.profile, start.elapsed());
            // A host that was full of JVMs once does not stay as large.
            if body.len() < body.capacity() / 4 {
                body.shrink_to_fit();
            }
            let body = Bytes::from(body);
            *lock(&self.last) = body.clone();
            Ok(pack(body, wish.encoding))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(ScrapeFailure::Broken))
    }

    /// An empty body: that of the last run if nobody sends it any more.
    fn reclaim(&self) -> Vec<u8> {
        let last = std::mem::take(&mut *lock(&self.last));
        let Ok(mut last) = last.try_into_mut() else { return Vec::new() };
        last.clear();
        last.into()
    }
}

/// Compresses if asked and worth it. Blocks.
pub(super) fn pack(body: Bytes, encoding: Encoding) -> Encoded {
    if encoding == Encoding::Gzip && body.len() > GZIP_MINIMUM {
        let mut gzip =
            flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::new(GZIP_LEVEL));
        if let Ok(bytes) = gzip.write_all(&body).and_then(|()| gzip.finish()) {
            return Encoded { bytes: bytes.into(), encoding };
        }
    }
    Encoded { bytes: body, encoding: Encoding::Identity }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_leaves_room_for_the_way_back() {
        let patience = |timeout, budget| ScrapeDeadline {
            timeout: Duration::from_millis(timeout),
            budget: Duration::from_millis(budget),
        };
        for (header, expected) in [
            (None, patience(10_000, 9_500)),
            (Some("15"), patience(15_000, 14_500)),
            (Some("1"), patience(1_000, 900)),
            (Some("0.5"), patience(500, 450)),
            (Some("1e9"), patience(300_000, 299_500)),
            (Some("-1"), patience(10_000, 9_500)),
            (Some("0"), patience(10_000, 9_500)),
            (Some("NaN"), patience(10_000, 9_500)),
            (Some("inf"), patience(10_000, 9_500)),
            (Some("soon"), patience(10_000, 9_500)),
        ] {
            assert_eq!(ScrapeDeadline::of(header.map(str::as_bytes)), expected, "{header:?}");
        }
    }

    #[test]
    fn small_bodies_are_not_compressed() {
        assert_eq!(pack(vec![b'a'; 1024].into(), Encoding::Gzip).encoding, Encoding::Identity);
        assert_eq!(pack(vec![b'a'; 1025].into(), Encoding::Identity).encoding, Encoding::Identity);
        let packed = pack(vec![b'a'; 1025].into(), Encoding::Gzip);
        assert!(packed.encoding == Encoding::Gzip && packed.bytes.len() < 100);
    }
}
