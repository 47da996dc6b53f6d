//! A few words of a region, kept at hand.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{Backing, COPY, ProcessMemory, Region, RegionIdentity};
use crate::perfdata::ByteOrder;

/// Words of a region, for looks that come hundreds of times a second at a thousand regions. Of a mapped one it knows
/// their addresses, so that a look touches nothing else; of a process it copies the bytes from the first word to the
/// last in one call.
///
/// It tells that something changed, and no more: by the time of a load the region may be another JVM's, its file may be
/// gone, and then the words are zero, and a word of a process may be torn while it is written. Values come from
/// [`Region::read_fast`] and [`Region::read`].
#[derive(Debug)]
pub struct ChangeDetector<const N: usize> {
    words: Words<N>,
    order: ByteOrder,
}

#[derive(Debug)]
enum Words<const N: usize> {
    Mapped {
        words: [NonNull<AtomicU64>; N],
        /// Keeps the mapping, and the guard on it.
        _region: Arc<Region>,
    },
    Process {
        memory: ProcessMemory,
        /// Of the first word, by its position in the region.
        address: u64,
        length: usize,
        /// Of each word, from the first.
        at: [usize; N],
    },
}

// SAFETY: the words lie in a mapping that the region keeps and that `Region` itself hands out to any thread; they are
// only ever loaded atomically.
unsafe impl<const N: usize> Send for ChangeDetector<N> {}

impl<const N: usize> ChangeDetector<N> {
    /// Takes the words at these offsets, in the byte order of `region_identity`. `None` where the region can neither be mapped nor copied in one call, or has
    /// no such words.
    pub fn new(region: &Arc<Region>, region_identity: &RegionIdentity, offsets: [u32; N]) -> Option<Self> {
        let mut at = [0; N];
        for (at, offset) in at.iter_mut().zip(offsets) {
            *at = region.checked(offset).ok()?;
        }
        let words = match &region.source {
            Backing::Mapped { mapping, .. } => {
                let mut words = [NonNull::dangling(); N];
                for (word, at) in words.iter_mut().zip(at) {
                    // SAFETY: `checked` says that a whole aligned word lies at `at` in the mapping.
                    *word = NonNull::new(unsafe { mapping.memory.as_mut_ptr().add(at) })?.cast();
                }
                Words::Mapped { words, _region: Arc::clone(region) }
            }
            Backing::Process { memory, start } => {
                let (first, last) = (at.iter().copied().min()?, at.iter().copied().max()?);
                Words::Process {
                    memory: memory.clone(),
                    address: start.checked_add(first as u64)?,
                    length: last.saturating_sub(first).saturating_add(8),
                    at: at.map(|at| at.saturating_sub(first)),
                }
            }
            Backing::Pread { .. } => return None,
        };
        Some(Self { words, order: region_identity.order })
    }

    /// The words now, read before whatever is read after them; `None` while a process cannot be read.
    pub fn load(&self) -> Option<[i64; N]> {
        let words = match &self.words {
            Words::Mapped { words, .. } => {
                // SAFETY: as for `Mapping::load`, the mapping lives as long as `_region`, and regions never move theirs.
                let words = words.map(|word| unsafe { word.as_ref() }.load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                words
            }
            Words::Process { memory, address, length, at } => COPY.with_borrow_mut(|copy| {
                if copy.len() < *length {
                    copy.resize(*length, 0);
                }
                let copy = copy.get_mut(..*length)?;
                memory.read(*address, copy).ok()?;
                let mut words = [0; N];
                for (word, at) in words.iter_mut().zip(at) {
                    *word = u64::from_ne_bytes(*copy.get(*at..)?.first_chunk()?);
                }
                Some(words)
            })?,
        };
        Some(words.map(|word| self.order.i64(word.to_ne_bytes())))
    }
}
