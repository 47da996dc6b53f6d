//! Bytes that a JVM's threads allocate, exactly, with every collector: each thread counts what it has taken from its TLABs
//! and beside them, and the part of the current TLAB that is in use is added, as `ThreadMXBean` does.
//!
//! The total begins with what the threads that live at the first pass have allocated since their start, and never falls.
//! What a thread allocates between the last pass that saw it and its end is not counted.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;

use super::list::{Confirmation, JavaThreads};
use crate::discovery::{HotSpotMemory, Implausible};
use crate::providers::introspection::fields::{FieldBytes, FieldSpan, Gathered};

/// Largest TLAB; HotSpot's are at most an array of 2^31 ints.
const TLAB_MAXIMUM: u64 = 8 << 30;
/// Most bytes that one thread allocates from one pass to the next. More is memory that is no thread's any more.
const GROWTH_MAXIMUM: u64 = 1 << 40;
/// Most bytes that one thread has allocated since its start.
const BYTES_MAXIMUM: u64 = 1 << 60;

/// Threads that are remembered after their end: one that a torn list lacked must not count anew.
const ENDED_MAXIMUM: usize = 1024;

/// Adds up what the threads of one JVM allocate.
#[derive(Debug)]
pub(super) struct AllocationReader {
    offsets: AllocationOffsets,
    /// What was seen last, by the thread's address.
    known: HashMap<u64, ThreadAllocation>,
    /// `None` before the first pass.
    total: Option<u64>,
    os_threads: Gathered,
}

/// Where the fields of a thread are.
#[derive(Clone, Copy, Debug)]
struct AllocationOffsets {
    allocated: u64,
    tlab_start: u64,
    tlab_top: u64,
    os_thread: u64,
    tid: u64,
}

/// One thread at its last reading. Address and tid together are one thread: either alone is soon used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ThreadAllocation {
    os_thread: u64,
    tid: u32,
    bytes: u64,
}

/// What a pass read of one thread.
#[derive(Clone, Copy, Debug)]
struct AllocationRow {
    address: u64,
    os_thread: u64,
    bytes: u64,
}

impl AllocationReader {
    pub(super) fn of(memory: &HotSpotMemory) -> Result<Self, Implausible> {
        let tlab = memory.offset("Thread", "_tlab")?;
        let in_tlab = |field| memory.offset("ThreadLocalAllocBuffer", field).map(|at| tlab.saturating_add(at));
        let offsets = AllocationOffsets {
            allocated: memory.offset("Thread", "_allocated_bytes")?,
            tlab_start: in_tlab("_start")?,
            tlab_top: in_tlab("_top")?,
            os_thread: super::os_thread(memory)?,
            tid: memory.offset("OSThread", "_thread_id")?,
        };
        Ok(Self { offsets, known: HashMap::new(), total: None, os_threads: Gathered::default() })
    }

    /// The total after another pass.
    pub(super) fn read(
        &mut self,
        memory: &HotSpotMemory,
        threads: &mut JavaThreads,
        process: BorrowedFd<'_>,
    ) -> Result<u64, Implausible> {
        self.pass(memory, threads, process).or_else(|_| self.pass(memory, threads, process))
    }

    fn pass(
        &mut self,
        memory: &HotSpotMemory,
        threads: &mut JavaThreads,
        process: BorrowedFd<'_>,
    ) -> Result<u64, Implausible> {
        threads.read(memory, process, &self.offsets.fields())?;
        let mut rows = self.rows(threads);
        let tids = self.tids(memory, &rows)?;
        let confirmation = threads.confirm(memory)?;
        rows.retain(|row| confirmation.has(row.address));
        if rows.is_empty() {
            return Err(Implausible::Value("the number of threads that lived through a pass", 0));
        }
        let live = threads.addresses();
        if matches!(confirmation, Confirmation::Same) && self.known.len() > live.len().saturating_add(ENDED_MAXIMUM) {
            let live: HashSet<u64> = live.iter().copied().collect();
            self.known.retain(|address, _| live.contains(address));
        }
        Ok(self.add(&rows, &tids))
    }

    fn rows(&self, threads: &JavaThreads) -> Vec<AllocationRow> {
        let rows = threads.addresses().iter().enumerate();
        rows.filter_map(|(index, address)| self.offsets.row(*address, threads.get(index)?)).collect()
    }

    /// The tids of the threads that have allocated since the last pass, by address.
    fn tids(&mut self, memory: &HotSpotMemory, rows: &[AllocationRow]) -> Result<HashMap<u64, u32>, Implausible> {
        let is_same = |row: &AllocationRow| {
            let known = self.known.get(&row.address);
            known.is_some_and(|known| known.os_thread == row.os_thread && known.bytes == row.bytes)
        };
        let changed: Vec<&AllocationRow> = rows.iter().filter(|row| !is_same(row)).collect();
        let span = FieldSpan::covering(&[(self.offsets.tid, 4)])?;
        self.os_threads.read(memory, span, changed.iter().map(|row| row.os_thread));
        let tids = changed.iter().enumerate().filter_map(|(index, row)| {
            let tid = self.os_threads.get(index)?.half(self.offsets.tid)?;
            (tid != 0).then_some((row.address, tid))
        });
        Ok(tids.collect())
    }

    /// Adds what is new in `rows`. A thread whose tid could not be read waits for the next pass.
    fn add(&mut self, rows: &[AllocationRow], tids: &HashMap<u64, u32>) -> u64 {
        let first = self.total.is_none();
        let mut grown = 0_u64;
        for row in rows {
            let Some(tid) = tids.get(&row.address).copied() else { continue };
            let now = ThreadAllocation { os_thread: row.os_thread, tid, bytes: row.bytes };
            let growth = match self.known.entry(row.address) {
                Entry::Occupied(mut known) if known.get().is_same_thread(now) => {
                    // Falls for a moment when the thread takes a new TLAB between the copies of two words.
                    let growth = now.bytes.saturating_sub(known.get().bytes);
                    if growth < GROWTH_MAXIMUM {
                        known.get_mut().bytes = known.get().bytes.max(now.bytes);
                    }
                    growth
                }
                entry if first || now.bytes < GROWTH_MAXIMUM => {
                    entry.insert_entry(now);
                    now.bytes
                }
                _ => 0,
            };
            if first || growth < GROWTH_MAXIMUM {
                grown = grown.saturating_add(growth);
            }
        }
        let total = self.total.unwrap_or_default().saturating_add(grown);
        self.total = Some(total);
        total
    }
}

impl ThreadAllocation {
    fn is_same_thread(self, other: Self) -> bool {
        self.os_thread == other.os_thread && self.tid == other.tid
    }
}

impl AllocationOffsets {
    fn fields(&self) -> [(u64, u64); 4] {
        [(self.allocated, 8), (self.tlab_start, 8), (self.tlab_top, 8), (self.os_thread, 8)]
    }

    /// `None` for a thread that is being started, and for words that contradict each other.
    fn row(&self, address: u64, fields: FieldBytes<'_>) -> Option<AllocationRow> {
        let os_thread = fields.word(self.os_thread).filter(|os_thread| *os_thread != 0)?;
        let used = match fields.word(self.tlab_start)? {
            0 => 0,
            start => fields.word(self.tlab_top)?.checked_sub(start).filter(|used| *used <= TLAB_MAXIMUM)?,
        };
        let bytes = fields.word(self.allocated)?.checked_add(used).filter(|bytes| *bytes < BYTES_MAXIMUM)?;
        Some(AllocationRow { address, os_thread, bytes })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;
    use crate::providers::introspection::planted::Planted;

    /// Threads of OSThread, bytes, TLAB start and top, and their OSThreads.
    struct Allocating {
        planted: Planted,
        field: u64,
        threads: Vec<u64>,
        os_threads: Vec<u64>,
        list: JavaThreads,
        reader: AllocationReader,
    }

    impl Allocating {
        fn new(bytes: &[u64]) -> Self {
            let mut planted = Planted::new();
            let os_threads: Vec<u64> = (0..bytes.len() as u64).map(|tid| planted.object(&[1000 + tid])).collect();
            let threads: Vec<u64> =
                bytes.iter().zip(&os_threads).map(|(bytes, os)| planted.object(&[*os, *bytes, 0, 0])).collect();
            planted.fields(&[
                ("Thread", "_osthread", 0),
                ("Thread", "_allocated_bytes", 8),
                ("Thread", "_tlab", 16),
                ("ThreadLocalAllocBuffer", "_start", 0),
                ("ThreadLocalAllocBuffer", "_top", 8),
                ("OSThread", "_thread_id", 0),
                ("ThreadsList", "_length", 0),
                ("ThreadsList", "_threads", 8),
            ]);
            let field = planted.field("ThreadsSMRSupport", "_java_thread_list", 0);
            let memory = planted.memory();
            let (list, reader) = (JavaThreads::of(&memory).unwrap(), AllocationReader::of(&memory).unwrap());
            let mut allocating = Self { planted, field, threads, os_threads, list, reader };
            allocating.publish(&(0..bytes.len()).collect::<Vec<_>>());
            allocating
        }

        /// Makes these threads the list.
        fn publish(&mut self, threads: &[usize]) {
            let addresses: Vec<u64> = threads.iter().map(|index| self.threads[*index]).collect();
            let array = self.planted.object(&addresses);
            let list = self.planted.object(&[addresses.len() as u64, array]);
            self.planted.set(self.field, list);
        }

        fn set(&mut self, thread: usize, word: u64, value: u64) {
            let address = self.threads[thread] + 8 * word;
            self.planted.set(address, value);
        }

        fn read(&mut self) -> Result<u64, Implausible> {
            let own = File::open("/proc/self").unwrap();
            self.reader.read(&self.planted.memory(), &mut self.list, own.as_fd())
        }
    }

    #[test]
    fn the_total_grows_by_what_each_thread_allocates() {
        let mut jvm = Allocating::new(&[1000, 20]);
        assert_eq!(jvm.read(), Ok(1020));
        assert_eq!(jvm.read(), Ok(1020));
        jvm.set(0, 1, 1500);
        jvm.set(1, 2, 1 << 20);
        jvm.set(1, 3, (1 << 20) + 64);
        assert_eq!(jvm.read(), Ok(1584));
    }

    #[test]
    fn what_an_ended_thread_allocated_is_kept() {
        let mut jvm = Allocating::new(&[1000, 20, 7]);
        jvm.publish(&[0, 1]);
        assert_eq!(jvm.read(), Ok(1020));
        jvm.publish(&[1, 2]);
        assert_eq!(jvm.read(), Ok(1027));
        jvm.publish(&[0, 1, 2]);
        assert_eq!(jvm.read(), Ok(1027), "a thread that a list lacked does not count twice");
    }

    #[test]
    fn another_thread_at_the_same_address_begins_anew() {
        let mut jvm = Allocating::new(&[1000, 20]);
        assert_eq!(jvm.read(), Ok(1020));
        let os_thread = jvm.os_threads[0];
        for (tid, bytes, total) in [(2000, 300, 1320), (2001, 5000, 6320)] {
            jvm.planted.set(os_thread, tid);
            jvm.set(0, 1, bytes);
            assert_eq!(jvm.read(), Ok(total), "{tid}");
        }
        jvm.set(0, 0, jvm.os_threads[1]);
        jvm.set(0, 1, 1);
        assert_eq!(jvm.read(), Ok(6321));
    }

    #[test]
    fn a_sum_of_words_of_two_moments_does_not_count_twice() {
        let mut jvm = Allocating::new(&[1000]);
        jvm.set(0, 2, 4096);
        jvm.set(0, 3, 4096 + 512);
        assert_eq!(jvm.read(), Ok(1512));
        // The TLAB is retired, and seen as it was: 512 bytes twice.
        jvm.set(0, 1, 1512);
        assert_eq!(jvm.read(), Ok(2024));
        jvm.set(0, 2, 0);
        assert_eq!(jvm.read(), Ok(2024), "it falls, and is the same thread");
        jvm.set(0, 1, 3000);
        assert_eq!(jvm.read(), Ok(3000), "it is exact again");
    }

    #[test]
    fn words_that_are_no_threads_count_nothing() {
        let mut jvm = Allocating::new(&[1000, 20]);
        assert_eq!(jvm.read(), Ok(1020));
        for (word, value) in [(0, 0), (0, 3), (1, u64::MAX), (1, 1 << 41), (1, 1 << 60), (2, 8), (2, u64::MAX)] {
            jvm.set(0, 1, 1000);
            let before = if word == 0 { jvm.os_threads[0] } else { [1000, 0][word as usize - 1] };
            jvm.set(0, word, value);
            assert_eq!(jvm.read(), Ok(1020), "{word} {value:#x}");
            jvm.set(0, word, before);
            assert_eq!(jvm.read(), Ok(1020), "{word} {value:#x}");
        }
        jvm.set(0, 1, 1100);
        assert_eq!(jvm.read(), Ok(1120));
        jvm.planted.set(jvm.field, 8);
        assert!(jvm.read().is_err());
    }
}
