//! Copies of memory that other processes write to, without torn words.

use super::RegionError;

/// Copies until a region counts as unstable. A copy takes microseconds, and HotSpot writes counters every few
/// milliseconds at most.
pub(super) const COPIES_MAXIMUM: usize = 32;

/// Copies until two copies in a row are equal. The kernel copies bytes, and an interrupt in the middle of a word that is
/// being written leaves half of the old and half of the new one: about one word in a million on a busy machine
/// (measured).
pub(super) fn read_stable(
    into: &mut [u8],
    mut copy: impl FnMut(&mut [u8]) -> Result<(), RegionError>,
) -> Result<(), RegionError> {
    let mut again = vec![0; into.len()];
    copy(into)?;
    for _ in 0..COPIES_MAXIMUM {
        copy(&mut again)?;
        if *into == *again {
            return Ok(());
        }
        into.copy_from_slice(&again);
    }
    Err(RegionError::Unsettled)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::super::ProcessMemory;
    use super::*;

    /// Stops a thread, also when the test fails.
    struct Stop<'a>(&'a AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn words_of_a_process_are_never_torn() {
        let words: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = Stop(&done);
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for value in [u64::MAX, 0] {
                        words.iter().for_each(|word| word.store(value, Ordering::Relaxed));
                        std::thread::yield_now();
                    }
                }
            });
            let memory = ProcessMemory::open(std::fs::File::open("/proc/self").unwrap()).unwrap();
            let mut copy = [0; 512];
            for _ in 0..20_000 {
                match read_stable(&mut copy, |bytes| Ok(memory.read(words.as_ptr() as u64, bytes)?)) {
                    Ok(()) => {
                        for word in copy.chunks_exact(8) {
                            assert!(word == [0; 8] || word == [0xff; 8], "{word:x?}");
                        }
                    }
                    Err(error) => assert!(matches!(error, RegionError::Unsettled), "{error}"),
                }
            }
        });
    }

    #[test]
    fn memory_that_changes_during_every_copy_is_an_error() {
        let mut turn = 0_u8;
        let mut copy = [0; 8];
        let result = read_stable(&mut copy, |bytes| {
            turn = turn.wrapping_add(1);
            bytes.fill(turn);
            Ok(())
        });
        assert!(matches!(result, Err(RegionError::Unsettled)));
    }
}
