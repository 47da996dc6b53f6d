//! A read-only shared mapping of a region file.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use super::{RegionError, guard};

/// A mapping whose loads never raise SIGBUS.
#[derive(Debug)]
pub(super) struct Mapping {
    /// Before `memory`, so that the guard forgets the range before it is unmapped.
    registration: guard::Registration,
    pub(super) memory: MmapRaw,
}

impl Mapping {
    /// `None` where the file cannot be mapped or the guard has no room for it.
    pub(super) fn new(file: &File, length: usize) -> Option<Self> {
        let memory = MmapOptions::new().len(length).map_raw_read_only(file).ok()?;
        let registration = guard::register(memory.as_ptr() as usize, length)?;
        Some(Self { registration, memory })
    }

    /// The word at `at`, which the caller has checked: a multiple of 8, with `at + 8` at most the mapped length.
    pub(super) fn load(&self, at: usize) -> u64 {
        debug_assert!(at.is_multiple_of(8) && at.saturating_add(8) <= self.memory.len());
        // SAFETY: `at` lies in the mapping and is aligned: `Region::checked` or the loop of `Region::copy` has checked it,
        // and the mapping starts on a page. The mapping lives as long as `self`. A relaxed load of 8 bytes never writes,
        // so read-only memory suffices, and it is atomic, so other processes may write at the same time. A page behind
        // the end of a truncated file raises SIGBUS, which the registered guard turns into a zero.
        unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().add(at).cast()).load(Ordering::Relaxed) }
    }

    /// Whether every load so far read the file.
    pub(super) fn check(&self) -> Result<(), RegionError> {
        if self.registration.faulted() { Err(RegionError::Truncated) } else { Ok(()) }
    }
}
