//! Sends a request until the receiver accepts it, within a deadline.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::failure::{Accepted, PushFailure, Retry};

/// Wait before the second attempt; it doubles with each further attempt.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Sends requests to the receiver.
pub trait RequestSender {
    /// Makes one attempt.
    fn send(&mut self, message: Bytes) -> impl Future<Output = Result<Accepted, PushFailure>>;
}

/// Sends a request until the receiver accepts it, rejects it permanently, or no attempt is possible before `deadline`.
/// An attempt takes at most `attempt_timeout`, and ends at the deadline. Calls `on_failure` with every failure, and fails
/// with the last.
pub(super) async fn deliver(
    sender: &mut impl RequestSender,
    message: &Bytes,
    attempt_timeout: Duration,
    deadline: Instant,
    mut on_failure: impl FnMut(&PushFailure),
) -> Result<Accepted, PushFailure> {
    let mut wait = FIRST_WAIT;
    loop {
        let limit = attempt_timeout.min(deadline.saturating_duration_since(Instant::now()));
        let outcome = timeout(limit, sender.send(message.clone())).await;
        let failure = match outcome.unwrap_or_else(|_| Err(PushFailure::timeout(limit))) {
            Ok(accepted) => return Ok(accepted),
            Err(failure) => failure,
        };
        on_failure(&failure);
        let pause = match failure.retry {
            Retry::Never => return Err(failure),
            Retry::Backoff => jittered(wait),
            Retry::After(pause) => pause,
        };
        if pause >= deadline.saturating_duration_since(Instant::now()) {
            return Err(failure);
        }
        sleep(pause).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// A random duration from half of `wait` to `wait`, so that exporters that lost one receiver do not all retry at once.
fn jittered(wait: Duration) -> Duration {
    // The keys of a new hasher are random enough.
    let random = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    wait.mul_f64(0.5 + random / 2.0)
}
