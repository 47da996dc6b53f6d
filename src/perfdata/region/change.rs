//! A few words of a region, loaded often and cheaply.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::{ptr::NonNull, sync::Arc};

use super::{Backing, COPY, ProcessMemory, Region, RegionIdentity};
use crate::perfdata::ByteOrder;

/// Words of a region that are loaded hundreds of times a second, of a thousand regions. In a mapping it holds their
/// addresses, so that a load touches nothing else; of a process it copies the bytes from the first word to the last in one
/// call.
///
/// It detects changes and gives no values: at a load the region may belong to another JVM, its file may be gone, which
/// makes the words zero, and a word of a process may be torn while it is written. Values come from [`Region::read_fast`]
/// and [`Region::read`].
#[derive(Debug)]
pub struct ChangeDetector<const N: usize> {
    words: WordSource<N>,
    order: ByteOrder,
}

#[derive(Debug)]
enum WordSource<const N: usize> {
    Mapped {
        words: [NonNull<AtomicU64>; N],
        /// Keeps the mapping, and the guard on it.
        _region: Arc<Region>,
    },
    Process {
        memory: ProcessMemory,
        /// Address of the first word, in the order of the region.
        address: u64,
        /// Bytes from there to the end of the last word.
        length: usize,
        /// Distance of each word from the first, in bytes.
        at: [usize; N],
    },
}

// SAFETY: the words lie in a mapping that `_region` keeps and that `Region` itself, which is `Sync`, loads from any thread;
// they are only ever loaded atomically.
unsafe impl<const N: usize> Send for ChangeDetector<N> {}

impl<const N: usize> ChangeDetector<N> {
    /// Takes the words at these offsets, in the byte order of `region_identity`. `None` where the region is read with
    /// `pread`, or has no such words.
    pub fn new(region: &Arc<Region>, region_identity: &RegionIdentity, offsets: [u32; N]) -> Option<Self> {
        let mut at = [0; N];
        for (at, offset) in at.iter_mut().zip(offsets) {
            *at = region.checked(offset).ok()?;
        }
        let words = match &region.source {
            Backing::Mapped { mapping, .. } => {
                let mut words = [NonNull::dangling(); N];
                for (word, at) in words.iter_mut().zip(at) {
                    // SAFETY: `Region::checked` has checked that a whole aligned word lies at `at` in the mapping.
                    *word = NonNull::new(unsafe { mapping.memory.as_mut_ptr().add(at) })?.cast();
                }
                WordSource::Mapped { words, _region: Arc::clone(region) }
            }
            Backing::Process { memory, start } => {
                let (first, last) = (at.iter().copied().min()?, at.iter().copied().max()?);
                WordSource::Process {
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

    /// Loads the words, in order before any later read; `None` while the process cannot be read.
    pub fn load(&self) -> Option<[i64; N]> {
        let words = match &self.words {
            WordSource::Mapped { words, .. } => {
                // SAFETY: `new` took the addresses from the mapping, which lives as long as `_region` and never moves; as
                // in `Mapping::load`, a relaxed load tolerates concurrent writers and read-only memory.
                let words = words.map(|word| unsafe { word.as_ref() }.load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                words
            }
            WordSource::Process { memory, address, length, at } => COPY.with_borrow_mut(|copy| {
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
