//! The list of a JVM's threads.
//!
//! JDK 17 and later publish an immutable array and replace it whole; JDK 8 and 11 keep a chain. A thread may end while the
//! list is read, and its memory may be used for something else: what was read counts only for threads that the list still
//! has afterwards.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, statat};

use crate::discovery::{HotSpotMemory, Implausible, object};
use crate::providers::introspection::fields::{FieldBytes, FieldSpan, Gathered};

/// Most threads of a JVM that is read.
const THREADS_MAXIMUM: u64 = 100_000;
/// How often an array is read that is given up meanwhile.
const ATTEMPTS: u32 = 4;
/// HotSpot's list may be ahead of the kernel's by threads that are being started.
const STARTING: u64 = 16;

/// The threads of one JVM, and one stretch of each.
#[derive(Debug)]
pub(super) struct JavaThreads {
    place: ListPlace,
    /// The array's address at the last reading, or the chain's first thread.
    start: u64,
    addresses: Vec<u64>,
    gathered: Gathered,
    /// The array as bytes.
    buffer: Vec<u8>,
}

/// Where the list is.
#[derive(Clone, Copy, Debug)]
enum ListPlace {
    /// `ThreadsSMRSupport::_java_thread_list`, and the offsets of its length and its array.
    Array { list: u64, length: u64, threads: u64 },
    /// `Threads::_thread_list` and `_number_of_threads`, and the offset of `JavaThread::_next`.
    Chain { head: u64, count: u64, next: u64 },
}

/// What became of the list while its threads were read.
#[derive(Debug)]
pub(super) enum Confirmation {
    /// It is as it was.
    Same,
    /// It changed, and has these threads now.
    Changed(HashSet<u64>),
}

impl Confirmation {
    /// Whether the list still has a thread.
    pub(super) fn has(&self, address: u64) -> bool {
        match self {
            Self::Same => true,
            Self::Changed(threads) => threads.contains(&address),
        }
    }
}

impl JavaThreads {
    pub(super) fn of(memory: &HotSpotMemory) -> Result<Self, Implausible> {
        let place = match memory.address("ThreadsSMRSupport", "_java_thread_list") {
            Ok(list) => ListPlace::Array {
                list,
                length: memory.offset("ThreadsList", "_length")?,
                threads: memory.offset("ThreadsList", "_threads")?,
            },
            Err(_) => ListPlace::Chain {
                head: memory.address("Threads", "_thread_list")?,
                count: memory.address("Threads", "_number_of_threads")?,
                next: memory.offset("JavaThread", "_next")?,
            },
        };
        let (addresses, gathered, buffer) = Default::default();
        Ok(Self { place, start: 0, addresses, gathered, buffer })
    }

    /// Reads the list, and the stretch of each thread that has these fields.
    pub(super) fn read(
        &mut self,
        memory: &HotSpotMemory,
        process: BorrowedFd<'_>,
        fields: &[(u64, u64)],
    ) -> Result<(), Implausible> {
        let maximum = kernel_threads(process)?.saturating_add(STARTING).min(THREADS_MAXIMUM);
        match self.place {
            ListPlace::Array { .. } => {
                (self.start, self.addresses) = self.array(memory, maximum)?;
                let span = FieldSpan::covering(fields)?;
                self.gathered.read(memory, span, self.addresses.iter().copied());
                Ok(())
            }
            ListPlace::Chain { head, count: _, next } => {
                self.start = memory.word(head)?;
                let all: Vec<(u64, u64)> = fields.iter().copied().chain([(next, 8)]).collect();
                self.walk(memory, FieldSpan::covering(&all)?, next, maximum)
            }
        }
    }

    fn array(&mut self, memory: &HotSpotMemory, maximum: u64) -> Result<(u64, Vec<u64>), Implausible> {
        let mut found = self.array_once(memory, maximum);
        for _ in 1..ATTEMPTS {
            if found.is_ok() {
                break;
            }
            found = self.array_once(memory, maximum);
        }
        found
    }

    fn array_once(&mut self, memory: &HotSpotMemory, maximum: u64) -> Result<(u64, Vec<u64>), Implausible> {
        let ListPlace::Array { list, length, threads } = self.place else { return Ok(Default::default()) };
        let start = memory.pointer(list)?;
        let header = FieldSpan::covering(&[(length, 4), (threads, 8)])?;
        let fields = header.read(memory, start, &mut self.buffer)?;
        let length = u64::from(fields.half(length).unwrap_or_default());
        let array = fields.word(threads).unwrap_or_default();
        if length == 0 || length > maximum {
            return Err(Implausible::Value("the number of threads", length));
        }
        self.buffer.clear();
        self.buffer.resize(usize::try_from(length.saturating_mul(8)).unwrap_or_default(), 0);
        memory.read(object(array)?, &mut self.buffer)?;
        let (words, _) = self.buffer.as_chunks();
        let addresses: Result<_, _> = words.iter().map(|word| object(u64::from_ne_bytes(*word))).collect();
        Ok((start, addresses?))
    }

    /// Each thread leads to the next, so each is read by itself.
    fn walk(&mut self, memory: &HotSpotMemory, span: FieldSpan, next: u64, maximum: u64) -> Result<(), Implausible> {
        self.addresses.clear();
        self.gathered.begin(span);
        let mut at = self.start;
        while at != 0 {
            if self.addresses.len() as u64 >= maximum {
                return Err(Implausible::Value("the number of threads, at least", maximum));
            }
            let fields = self.gathered.add(memory, at)?;
            self.addresses.push(at);
            at = fields.word(next).unwrap_or_default();
        }
        Ok(())
    }

    /// The threads' addresses in the list's order.
    pub(super) fn addresses(&self) -> &[u64] {
        &self.addresses
    }

    /// The stretch of the thread of that index.
    pub(super) fn get(&self, index: usize) -> Option<FieldBytes<'_>> {
        self.gathered.get(index)
    }

    /// Looks at the list again.
    pub(super) fn confirm(&mut self, memory: &HotSpotMemory) -> Result<Confirmation, Implausible> {
        match self.place {
            ListPlace::Array { .. } => {
                let (start, addresses) = self.array(memory, THREADS_MAXIMUM)?;
                // Another array may lie where the first one was.
                let same = start == self.start && addresses == self.addresses;
                Ok(if same { Confirmation::Same } else { Confirmation::Changed(addresses.into_iter().collect()) })
            }
            ListPlace::Chain { head, count, next: _ } => {
                let same =
                    memory.word(head)? == self.start && u64::from(memory.half(count)?) == self.addresses.len() as u64;
                Ok(if same { Confirmation::Same } else { Confirmation::Changed(HashSet::new()) })
            }
        }
    }
}

/// How many threads the process has.
fn kernel_threads(process: BorrowedFd<'_>) -> Result<u64, Implausible> {
    // The directory has a link for each, beside two of its own (proc_task_getattr in fs/proc/base.c): a tenth of the cost
    // of `status`.
    #[allow(clippy::useless_conversion, reason = "32 bits on aarch64")]
    let links = statat(process, "task", AtFlags::empty()).map_or(0, |stat| u64::from(stat.st_nlink));
    match links.saturating_sub(2) {
        0 => Err(Implausible::Value("the number of links of /proc/PID/task", links)),
        threads => Ok(threads),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;
    use crate::providers::introspection::planted::Planted;

    const FIELDS: [(u64, u64); 1] = [(8, 8)];

    /// A list as JDK 17's, of threads whose second word counts from 100; the addresses of the threads, of the static field
    /// and of the list.
    fn array(threads: u64) -> (Planted, Vec<u64>, [u64; 2]) {
        let mut planted = Planted::new();
        let addresses: Vec<u64> = (0..threads).map(|number| planted.object(&[0, 100 + number])).collect();
        let array = planted.object(&addresses);
        let list = planted.object(&[threads << 32, 0, array]);
        let field = planted.field("ThreadsSMRSupport", "_java_thread_list", list);
        planted.fields(&[("ThreadsList", "_length", 4), ("ThreadsList", "_threads", 16)]);
        (planted, addresses, [field, list])
    }

    /// The same in a chain, as JDK 8 and 11 have it; also the address of the number of threads.
    fn chain(threads: u64) -> (Planted, Vec<u64>, [u64; 2]) {
        let mut planted = Planted::new();
        let addresses: Vec<u64> = (0..threads).map(|number| planted.object(&[0, 100 + number, 0])).collect();
        for pair in addresses.windows(2) {
            planted.set(pair[0] + 16, pair[1]);
        }
        let head = planted.field("Threads", "_thread_list", addresses.first().copied().unwrap_or_default());
        let count = planted.field("Threads", "_number_of_threads", threads);
        planted.fields(&[("JavaThread", "_next", 16)]);
        (planted, addresses, [head, count])
    }

    fn own() -> File {
        File::open("/proc/self").unwrap()
    }

    fn read(planted: &Planted) -> Result<JavaThreads, Implausible> {
        let memory = planted.memory();
        let mut threads = JavaThreads::of(&memory)?;
        threads.read(&memory, own().as_fd(), &FIELDS)?;
        Ok(threads)
    }

    #[test]
    fn both_lists_give_the_threads_and_their_fields() {
        for (planted, addresses, _) in [array(5), chain(5)] {
            let mut threads = read(&planted).unwrap();
            assert_eq!(threads.addresses(), addresses);
            let words: Vec<_> = (0..5).map(|index| threads.get(index).unwrap().word(8).unwrap()).collect();
            assert_eq!(words, [100, 101, 102, 103, 104]);
            assert!(matches!(threads.confirm(&planted.memory()), Ok(Confirmation::Same)));
        }
    }

    #[test]
    fn a_thread_that_ended_meanwhile_is_not_confirmed() {
        let (mut planted, addresses, [field, _]) = array(3);
        let memory = planted.memory();
        let mut threads = read(&planted).unwrap();
        let array = planted.object(&addresses[1..]);
        let list = planted.object(&[2 << 32, 0, array]);
        planted.set(field, list);
        let list = threads.confirm(&memory).unwrap();
        let has: Vec<bool> = addresses.iter().map(|address| list.has(*address)).collect();
        assert_eq!(has, [false, true, true]);

        for change in [0, 1] {
            let (mut planted, addresses, places) = chain(3);
            let memory = planted.memory();
            let mut threads = read(&planted).unwrap();
            planted.set(places[change], [addresses[1], 2][change]);
            let list = threads.confirm(&memory).unwrap();
            assert!(!addresses.iter().any(|address| list.has(*address)), "nothing of a chain that changed is proven");
        }
    }

    #[test]
    fn another_array_at_the_same_place_is_another_list() {
        let (mut planted, addresses, [_, list]) = array(3);
        let mut threads = read(&planted).unwrap();
        let array = planted.object(&[addresses[0], addresses[2], addresses[1]]);
        planted.set(list + 16, array);
        assert!(matches!(threads.confirm(&planted.memory()), Ok(Confirmation::Changed(_))));
    }

    #[test]
    fn wild_lists_are_refused() {
        let wild = [1, 8, 4096, 1 << 46, 1 << 47, 0xffff_8000_0000_0000, u64::MAX - 7, u64::MAX];
        for value in wild.into_iter().chain([0]) {
            let (mut planted, _, [field, list]) = array(3);
            planted.set(list + 16, value);
            assert!(read(&planted).is_err(), "array {value:#x}");
            planted.set(field, value);
            assert!(read(&planted).is_err(), "list {value:#x}");
        }
        for length in [0, 1 << 20, u64::from(u32::MAX)] {
            let (mut planted, _, [_, list]) = array(3);
            planted.set(list, length << 32);
            assert!(matches!(read(&planted), Err(Implausible::Value(_, found)) if found == length), "{length}");
        }
        for value in wild {
            let (mut planted, addresses, [head, _]) = chain(3);
            planted.set(addresses[1] + 16, value);
            assert!(read(&planted).is_err(), "chain {value:#x}");
            planted.set(head, value);
            assert!(read(&planted).is_err(), "head {value:#x}");
        }
    }

    #[test]
    fn a_chain_without_end_is_left() {
        for back in [0, 2] {
            let (mut planted, addresses, _) = chain(3);
            planted.set(addresses[2] + 16, addresses[back]);
            assert!(matches!(read(&planted), Err(Implausible::Value(..))), "back to {back}");
        }
    }
}
