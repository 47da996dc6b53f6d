//! `rate_limit`: one token bucket for all requests, as in exporter-toolkit.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// A bucket of at most `burst` tokens that gains one every `interval`.
#[derive(Debug)]
pub(super) struct RateLimit {
    interval: Duration,
    burst: f64,
    /// The tokens, and when they were counted.
    bucket: Mutex<(f64, Instant)>,
}

impl RateLimit {
    /// A full bucket. The interval must not be zero.
    pub(super) fn new(interval: Duration, burst: usize, now: Instant) -> Self {
        let burst = burst as f64;
        Self { interval, burst, bucket: Mutex::new((burst, now)) }
    }

    /// Takes a token; `false` if there is none.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let mut bucket = lock(&self.bucket);
        let since = now.saturating_duration_since(bucket.1);
        let tokens = (bucket.0 + since.as_secs_f64() / self.interval.as_secs_f64()).min(self.burst);
        let allowed = tokens >= 1.0;
        *bucket = (if allowed { tokens - 1.0 } else { tokens }, bucket.1.max(now));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_per_interval() {
        let start = Instant::now();
        let limit = RateLimit::new(Duration::from_secs(2), 3, start);
        for (milliseconds, allowed) in [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (1999, false),
            (2001, true),
            (2001, false),
            (4001, true),
            // After an hour the bucket is full and holds three.
            (3_600_000, true),
            (3_600_000, true),
            (3_600_000, true),
            (3_600_000, false),
        ] {
            assert_eq!(limit.allows(start + Duration::from_millis(milliseconds)), allowed, "{milliseconds} ms");
        }
    }
}
