//! Threads that wait for each other's monitors for ever, as `ThreadMXBean.findMonitorDeadlockedThreads` finds them.
//!
//! Waits and owners are read one after the other, so a cycle may be one that never was. It counts once two passes have
//! seen the same threads wait for the same monitors.

use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;

use super::list::JavaThreads;
use crate::discovery::{HotSpotMemory, Implausible};
use crate::providers::introspection::fields::{FieldBytes, FieldSpan, Gathered};

/// Most objects in a lock stack (lockStack.hpp has 8).
const LOCKS_MAXIMUM: u64 = 8;

/// Finds deadlocks of one JVM.
#[derive(Debug)]
pub(super) struct DeadlockReader {
    /// The monitor that a thread waits for.
    pending: u64,
    ownership: Ownership,
    lock_stack: Option<LockStack>,
    /// The owner of a monitor, and its object.
    owner: u64,
    object: u64,
    /// The monitor has an owner whose lock stack has its object.
    anonymous: u64,
    /// The collector keeps colours in references.
    coloured: bool,
    /// The cycles of the last pass: threads and the monitors that they wait for.
    previous: HashSet<(u64, u64)>,
    monitors: Gathered,
}

/// How a monitor names its owner.
#[derive(Clone, Copy, Debug)]
enum Ownership {
    /// By the thread's address, or one in the thread's stack (up to JDK 23).
    Address { stack_base: u64, stack_size: u64 },
    /// By a number that the thread has, too.
    Number { number: u64 },
}

/// Where a thread keeps the objects that it has locked without a monitor.
#[derive(Clone, Copy, Debug)]
struct LockStack {
    /// The offset of the first object.
    start: u64,
    /// The offset of the field that has the offset behind the last object.
    top: u64,
}

/// Which thread an owner is.
#[derive(Debug, Default)]
struct Owners {
    by_name: HashMap<u64, usize>,
    /// Base, size and thread.
    stacks: Vec<(u64, u64, usize)>,
    /// By an object in the lock stack.
    by_object: HashMap<u64, usize>,
}

impl DeadlockReader {
    /// `coloured` says that references to objects have colours, as ZGC's.
    pub(super) fn of(memory: &HotSpotMemory, coloured: bool) -> Result<Self, Implausible> {
        let pending = memory.offset("JavaThread", "_current_pending_monitor");
        // JDK 24 has it by its earlier name.
        let number =
            memory.offset("JavaThread", "_monitor_owner_id").or_else(|_| memory.offset("JavaThread", "_lock_id"));
        let ownership = match number {
            Ok(number) => Ownership::Number { number },
            Err(_) => Ownership::Address {
                stack_base: memory.offset("JavaThread", "_stack_base")?,
                stack_size: memory.offset("JavaThread", "_stack_size")?,
            },
        };
        let lock_stack = memory.offset("JavaThread", "_lock_stack").and_then(|lock_stack| {
            let within = |field| memory.offset("LockStack", field).map(|offset| lock_stack.saturating_add(offset));
            Ok(LockStack { start: within("_base[0]")?, top: within("_top")? })
        });
        Ok(Self {
            pending: pending.or_else(|_| memory.offset("Thread", "_current_pending_monitor"))?,
            ownership,
            lock_stack: lock_stack.ok(),
            owner: memory.offset("ObjectMonitor", "_owner")?,
            object: memory.offset("ObjectMonitor", "_object")?,
            anonymous: memory.constant("ObjectMonitor::ANONYMOUS_OWNER").map_or(1, i64::cast_unsigned),
            coloured,
            previous: HashSet::new(),
            monitors: Gathered::default(),
        })
    }

    /// How many threads this pass and the last one found in cycles.
    pub(super) fn read(
        &mut self,
        memory: &HotSpotMemory,
        threads: &mut JavaThreads,
        process: BorrowedFd<'_>,
    ) -> Result<u64, Implausible> {
        let previous = std::mem::take(&mut self.previous);
        threads.read(memory, process, &self.fields())?;
        let waits: Vec<(usize, u64)> = (0..threads.addresses().len())
            .filter_map(|index| Some((index, threads.get(index)?.word(self.pending)?)))
            .filter(|(_, monitor)| *monitor != 0)
            .collect();
        if waits.len() < 2 {
            return Ok(0);
        }
        let edges = self.edges(memory, threads, &waits)?;
        let list = threads.confirm(memory)?;
        let monitors: HashMap<usize, u64> = waits.into_iter().collect();
        self.previous = cycles(&edges)
            .into_iter()
            .filter_map(|index| Some((*threads.addresses().get(index)?, *monitors.get(&index)?)))
            .filter(|(address, _)| list.has(*address))
            .collect();
        Ok(self.previous.intersection(&previous).count() as u64)
    }

    fn fields(&self) -> Vec<(u64, u64)> {
        let mut fields = vec![(self.pending, 8)];
        match self.ownership {
            Ownership::Address { stack_base, stack_size } => fields.extend([(stack_base, 8), (stack_size, 8)]),
            Ownership::Number { number } => fields.push((number, 8)),
        }
        if let Some(LockStack { start, top }) = self.lock_stack {
            fields.extend([(top, 4), (start, LOCKS_MAXIMUM.saturating_mul(8))]);
        }
        fields
    }

    /// From each waiting thread to the one that owns its monitor, by index.
    fn edges(
        &mut self,
        memory: &HotSpotMemory,
        threads: &JavaThreads,
        waits: &[(usize, u64)],
    ) -> Result<HashMap<usize, usize>, Implausible> {
        let span = FieldSpan::covering(&[(self.owner, 8), (self.object, 8)])?;
        self.monitors.read(memory, span, waits.iter().map(|(_, monitor)| *monitor));
        let owners = self.owners(threads);
        let mut edges = HashMap::new();
        for (at, (index, _)) in waits.iter().enumerate() {
            let Some(monitor) = self.monitors.get(at) else { continue };
            let owner = match monitor.word(self.owner).unwrap_or_default() {
                0 => continue,
                owner if owner == self.anonymous && self.lock_stack.is_some() => {
                    self.anonymous_owner(memory, &owners, monitor)?
                }
                owner => owners.find(owner),
            };
            if let Some(owner) = owner {
                edges.insert(*index, owner);
            }
        }
        Ok(edges)
    }

    fn owners(&self, threads: &JavaThreads) -> Owners {
        let mut owners = Owners::default();
        for (index, address) in threads.addresses().iter().enumerate() {
            let Some(fields) = threads.get(index) else { continue };
            match self.ownership {
                Ownership::Address { stack_base, stack_size } => {
                    owners.by_name.insert(*address, index);
                    if let Some((base, size)) = fields.word(stack_base).zip(fields.word(stack_size)) {
                        owners.stacks.push((base, size, index));
                    }
                }
                Ownership::Number { number } => {
                    _ = fields.word(number).map(|number| owners.by_name.insert(number, index))
                }
            }
            let locked = self.lock_stack.map(|stack| stack.objects(fields)).into_iter().flatten();
            owners.by_object.extend(locked.map(|object| (object, index)));
        }
        owners.stacks.sort_unstable();
        owners
    }

    /// The thread that has locked the monitor's object.
    fn anonymous_owner(
        &self,
        memory: &HotSpotMemory,
        owners: &Owners,
        monitor: FieldBytes<'_>,
    ) -> Result<Option<usize>, Implausible> {
        /// How far ZGC of JDK 21 and later shifts an address on x86-64, by its colour.
        const SHIFTS: std::ops::RangeInclusive<u32> = 13..=16;
        let handle = crate::discovery::object(monitor.word(self.object).unwrap_or_default())?;
        let reference = memory.word(handle)?;
        if !self.coloured {
            return Ok(owners.by_object.get(&reference).copied());
        }
        let found = SHIFTS.filter_map(|shift| owners.by_object.get(&reference.wrapping_shr(shift)));
        // The object may have moved, and its owner hold it by the new address.
        found.copied().next().map(Some).ok_or(Implausible::Value("a locked object", reference))
    }
}

impl LockStack {
    /// The objects in the lock stack of a thread.
    fn objects(self, thread: FieldBytes<'_>) -> Vec<u64> {
        let top = thread.half(self.top).map_or(0, u64::from);
        let count = top.saturating_sub(self.start).wrapping_div(8).min(LOCKS_MAXIMUM);
        let (objects, _) = thread.from(self.start).as_chunks();
        let count = usize::try_from(count).unwrap_or_default();
        objects.iter().take(count).map(|object| u64::from_ne_bytes(*object)).filter(|object| *object != 0).collect()
    }
}

impl Owners {
    fn find(&self, owner: u64) -> Option<usize> {
        self.by_name.get(&owner).copied().or_else(|| {
            // The stack with the lowest base above it: a stack ends at its base.
            let at = self.stacks.partition_point(|(base, _, _)| *base <= owner);
            let (base, size, index) = self.stacks.get(at)?;
            (base.saturating_sub(*size) <= owner).then_some(*index)
        })
    }
}

/// The nodes of cycles, where each node has at most one edge.
fn cycles(edges: &HashMap<usize, usize>) -> HashSet<usize> {
    let mut found = HashSet::new();
    // By which walk a node was visited.
    let mut visited: HashMap<usize, usize> = HashMap::new();
    for start in edges.keys() {
        let mut at = *start;
        while !visited.contains_key(&at) {
            visited.insert(at, *start);
            match edges.get(&at) {
                Some(next) => at = *next,
                None => break,
            }
        }
        // The walk came back to itself.
        if visited.get(&at) == Some(start) && edges.contains_key(&at) {
            while found.insert(at) {
                match edges.get(&at) {
                    Some(next) => at = *next,
                    None => break,
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use std::fs::File;
    use std::os::fd::AsFd;

    use super::*;
    use crate::providers::introspection::planted::Planted;

    /// Offsets in a planted thread, in words: pending monitor, number, stack base, stack size, lock stack.
    const PENDING: u64 = 0;
    const NUMBER: u64 = 1;
    const STACK: u64 = 2;
    const LOCKED: u64 = 5;

    /// A JVM with threads and monitors.
    struct Contended {
        planted: Planted,
        threads: Vec<u64>,
        /// Owner and object of each.
        monitors: Vec<u64>,
    }

    impl Contended {
        /// Each thread waits for the monitor of that index. Owners are numbers from 100 on, or addresses.
        fn new(waits: &[Option<usize>], by_number: bool) -> Self {
            let mut planted = Planted::new();
            let monitors: Vec<u64> = waits.iter().map(|_| planted.object(&[0, 0])).collect();
            let mut threads = Vec::new();
            for (at, wait) in waits.iter().enumerate() {
                let at = at as u64;
                let pending = wait.map_or(0, |monitor| monitors[monitor]);
                // The offset of the lock stack's top, which is empty.
                let top = 8 * LOCKED;
                let thread = [pending, 100 + at, (at + 1) << 20, 1 << 16, top, 0, 0, 0, 0, 0, 0, 0, 0];
                threads.push(planted.object(&thread));
            }
            let array = planted.object(&threads);
            let list = planted.object(&[threads.len() as u64, array]);
            planted.field("ThreadsSMRSupport", "_java_thread_list", list);
            planted.fields(&[
                ("ThreadsList", "_length", 0),
                ("ThreadsList", "_threads", 8),
                ("JavaThread", "_current_pending_monitor", 8 * PENDING),
                ("ObjectMonitor", "_owner", 0),
                ("ObjectMonitor", "_object", 8),
                ("JavaThread", "_lock_stack", 8 * 4),
                ("LockStack", "_top", 0),
                ("LockStack", "_base[0]", 8),
            ]);
            if by_number {
                planted.fields(&[("JavaThread", "_monitor_owner_id", 8 * NUMBER)]);
            } else {
                let (base, size) = (8 * STACK, 8 * STACK + 8);
                planted.fields(&[("JavaThread", "_stack_base", base), ("JavaThread", "_stack_size", size)]);
            }
            planted.constants(&[("ObjectMonitor::ANONYMOUS_OWNER", 1)]);
            Self { planted, threads, monitors }
        }

        fn own(&mut self, monitor: usize, owner: u64) {
            self.planted.set(self.monitors[monitor], owner);
        }

        /// What each of so many passes finds.
        fn passes(&self, coloured: bool, count: usize) -> Vec<Result<u64, Implausible>> {
            let memory = self.planted.memory();
            let mut reader = DeadlockReader::of(&memory, coloured).unwrap();
            let mut threads = JavaThreads::of(&memory).unwrap();
            let own = File::open("/proc/self").unwrap();
            (0..count).map(|_| reader.read(&memory, &mut threads, own.as_fd())).collect()
        }
    }

    #[test]
    fn a_cycle_counts_once_two_passes_have_seen_it() {
        let waits = [Some(1), Some(0), Some(0), None];
        let mut jvm = Contended::new(&waits, true);
        jvm.own(0, 100);
        jvm.own(1, 101);
        assert_eq!(jvm.passes(false, 3), [Ok(0), Ok(2), Ok(2)]);
        jvm.own(1, 103);
        assert_eq!(jvm.passes(false, 2), [Ok(0), Ok(0)]);
    }

    #[test]
    fn owners_are_threads_or_places_in_their_stacks() {
        let mut jvm = Contended::new(&[Some(1), Some(0), None], false);
        jvm.own(0, jvm.threads[0]);
        for (owner, expected) in [
            (jvm.threads[1], 2),
            (jvm.threads[2], 0),
            ((2 << 20) - 8, 2),
            ((2 << 20) - (1 << 16), 2),
            ((2 << 20) - (1 << 16) - 8, 0),
            (2 << 20, 0),
            (u64::MAX, 0),
        ] {
            jvm.own(1, owner);
            assert_eq!(jvm.passes(false, 2), [Ok(0), Ok(expected)], "{owner:#x}");
        }
    }

    #[test]
    fn an_owner_without_a_name_has_the_object_in_its_lock_stack() {
        let mut jvm = Contended::new(&[Some(1), Some(0)], true);
        jvm.own(0, 100);
        jvm.own(1, 1);
        let (monitor, thread) = (jvm.monitors[1], jvm.threads[1]);
        let handle = jvm.planted.object(&[0x7000]);
        jvm.planted.set(monitor + 8, handle);
        assert_eq!(jvm.passes(false, 2), [Ok(0), Ok(0)], "nobody has locked it");
        jvm.planted.set(thread + 8 * LOCKED, 0x7000);
        assert_eq!(jvm.passes(false, 2), [Ok(0), Ok(0)], "the lock stack is empty");
        jvm.planted.set(thread + 8 * 4, 8 * LOCKED + 8);
        assert_eq!(jvm.passes(false, 2), [Ok(0), Ok(2)]);
        jvm.planted.set(thread + 8 * 4, u64::from(u32::MAX));
        assert_eq!(jvm.passes(false, 2), [Ok(0), Ok(2)], "a top beyond the stack");
        // ZGC: the reference has a colour; where it fits nothing, nothing is known.
        assert!(jvm.passes(true, 1)[0].is_err());
        jvm.planted.set(handle, (0x7000 << 14) | (1 << 13));
        assert_eq!(jvm.passes(true, 2), [Ok(0), Ok(2)]);
    }

    #[test]
    fn wild_monitors_are_no_deadlock() {
        for wild in [1, 8, 1 << 46, u64::MAX - 7, u64::MAX] {
            let mut jvm = Contended::new(&[Some(1), Some(0)], true);
            jvm.own(0, 100);
            let first = jvm.threads[0];
            jvm.planted.set(first + 8 * PENDING, wild);
            assert_eq!(jvm.passes(false, 2), [Ok(0), Ok(0)], "{wild:#x}");
        }
    }

    #[test]
    fn nodes_of_cycles_are_found_and_no_others() {
        for (edges, expected) in [
            (&[][..], &[][..]),
            (&[(1, 2)], &[]),
            (&[(1, 2), (2, 3)], &[]),
            (&[(1, 2), (2, 1)], &[1, 2]),
            (&[(1, 1)], &[1]),
            (&[(0, 1), (1, 2), (2, 1), (7, 0), (8, 9)], &[1, 2]),
            (&[(1, 2), (2, 3), (3, 1), (5, 6), (6, 5), (4, 5), (9, 4)], &[1, 2, 3, 5, 6]),
        ] {
            let found = cycles(&edges.iter().copied().collect());
            assert_eq!(found, expected.iter().copied().collect(), "{edges:?}");
        }
    }
}
