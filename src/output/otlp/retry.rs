//! Sending one request until it is taken, within a deadline.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::failure::{Accepted, PushFailure, Retry};

/// Wait before the second attempt; each further one waits twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// Longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(10);

/// What sends a request to the receiver.
pub trait Export {
    /// One attempt.
    fn send(&mut self, message: Bytes) -> impl Future<Output = Result<Accepted, PushFailure>>;
}

/// Sends until the receiver takes the request, refuses it for good, or `deadline` leaves no time for another attempt.
/// An attempt gets `patience`, and less where the deadline comes first. `failed` hears of every failure.
///
/// # Errors
/// The last failure.
pub async fn deliver(
    export: &mut impl Export,
    message: &Bytes,
    patience: Duration,
    deadline: Instant,
    mut failed: impl FnMut(&PushFailure),
) -> Result<Accepted, PushFailure> {
    let mut wait = FIRST;
    loop {
        let patience = patience.min(deadline.saturating_duration_since(Instant::now()));
        let outcome = timeout(patience, export.send(message.clone())).await;
        let failure = match outcome.unwrap_or_else(|_| Err(PushFailure::late(patience))) {
            Ok(accepted) => return Ok(accepted),
            Err(failure) => failure,
        };
        failed(&failure);
        let pause = match failure.retry {
            Retry::Never => return Err(failure),
            Retry::Backoff => jittered(wait),
            Retry::After(pause) => pause,
        };
        if pause >= deadline.saturating_duration_since(Instant::now()) {
            return Err(failure);
        }
        sleep(pause).await;
        wait = (wait * 2).min(LONGEST);
    }
}

/// Half of it to all of it, so that exporters that lost one receiver do not come back together.
fn jittered(wait: Duration) -> Duration {
    // A hash with new keys is as random as this needs.
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    wait.mul_f64(0.5 + share / 2.0)
}
