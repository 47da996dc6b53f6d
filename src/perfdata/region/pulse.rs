//! A few words of a region, kept at hand.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{Region, Source};

/// Words of a mapped region, for looks that come hundreds of times a second at a thousand regions: it knows their
/// addresses, so that a look touches nothing else.
///
/// It tells that something changed, and no more: by the time of a load the region may be another JVM's, or its file may
/// be gone, and then the words are zero. Values come from [`Region::peek`] and [`Region::gather`].
#[derive(Debug)]
pub struct Pulse<const N: usize> {
    words: [NonNull<AtomicU64>; N],
    /// Keeps the mapping, and the guard on it.
    _region: Arc<Region>,
}

// SAFETY: the words lie in a mapping that the region keeps and that `Region` itself hands out to any thread; they are
// only ever loaded atomically.
unsafe impl<const N: usize> Send for Pulse<N> {}

impl<const N: usize> Pulse<N> {
    /// Takes the words at these offsets. `None` where the region is not mapped, or has no such words.
    pub fn new(region: &Arc<Region>, offsets: [u32; N]) -> Option<Self> {
        let Source::Mapped { mapping, .. } = &region.source else { return None };
        let mut words = [NonNull::dangling(); N];
        for (word, offset) in words.iter_mut().zip(offsets) {
            let at = region.checked(offset).ok()?;
            // SAFETY: `checked` says that a whole aligned word lies at `at` in the mapping.
            *word = NonNull::new(unsafe { mapping.memory.as_mut_ptr().add(at) })?.cast();
        }
        Some(Self { words, _region: Arc::clone(region) })
    }

    /// The words now, in the order of this machine's memory. Each is untorn, and read before whatever is read after them.
    pub fn load(&self) -> [u64; N] {
        // SAFETY: as for `Mapping::load`, the mapping lives as long as `_region`, and regions never move theirs.
        let words = self.words.map(|word| unsafe { word.as_ref() }.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        words
    }
}
