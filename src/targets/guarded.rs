//! Reading regions that the kernel may hold for ever: those in the memory of processes, whose pages a hostile one may
//! back with a file system or a userfaultfd(2) that does not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Target;
use crate::perfdata::{Image, LayoutChange, Region, RegionError, Transport};
use crate::sync::ExpendableThread;

/// Longest time for a read, which takes a microsecond. The rest is for pages on a slow swap device.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Reads a region: a file at once, memory on a thread that is given up with the region if the read does not end.
pub(super) fn read<T: Send + 'static>(
    region: &Arc<Region>,
    reader: &mut ExpendableThread,
    read: impl FnOnce(&Region) -> Result<T, RegionError> + Send + 'static,
) -> Result<T, RegionError> {
    if region.transport() == Transport::File {
        return read(region);
    }
    if region.is_given_up() {
        return Err(RegionError::Unresponsive);
    }
    let shared = Arc::clone(region);
    reader.call(move || read(&shared), PATIENCE, || true).unwrap_or_else(|| {
        region.give_up();
        Err(RegionError::Unresponsive)
    })
}

/// A copy of a JVM's region.
///
/// # Errors
/// The region cannot be read, or did not answer.
pub(crate) fn read_image(target: &Target) -> Result<Image, RegionError> {
    read(&target.region, &mut ExpendableThread::new("memory"), Image::read)
}

/// The words of a JVM, as [`Region::read`] gives them.
pub(crate) type Words = Result<(LayoutChange, Vec<i64>), RegionError>;

/// Reads the words of JVMs in memory, which each come with a number, on one thread for all; another takes over from one
/// that a read holds. What is not read by `deadline` is absent.
pub(crate) fn read_words(targets: Vec<(usize, Arc<Target>)>, deadline: Instant) -> HashMap<usize, Words> {
    let mut results = HashMap::with_capacity(targets.len());
    let targets: Arc<[_]> = targets.into();
    let mut next = 0;
    while next < targets.len() {
        let (sender, receiver) = channel();
        let (shared, first) = (Arc::clone(&targets), next);
        let run = move || {
            for (_, target) in shared.iter().skip(first) {
                if sender.send(words(target)).is_err() {
                    return;
                }
            }
        };
        if thread::Builder::new().name("memory".to_owned()).spawn(run).is_err() {
            return results;
        }
        while let Some((number, target)) = targets.get(next) {
            let patience = PATIENCE.min(deadline.saturating_duration_since(Instant::now()));
            match receiver.recv_timeout(patience) {
                Ok(words) => _ = results.insert(*number, words),
                Err(RecvTimeoutError::Timeout) if patience < PATIENCE / 2 => return results,
                Err(_) => {
                    target.region.give_up();
                    results.insert(*number, Err(RegionError::Unresponsive));
                    next += 1;
                    break;
                }
            }
            next += 1;
        }
    }
    results
}

fn words(target: &Target) -> Words {
    if target.region.is_given_up() {
        return Err(RegionError::Unresponsive);
    }
    let mut words = Vec::new();
    target.region.read(&target.region_identity, &target.words, &mut words).map(|change| (change, words))
}
