//! A JVM's threads, read from its memory: states, daemons, allocated bytes, deadlocks, mounted virtual threads.
//!
//! Whoever reads another process's memory while it runs sees words of different moments, and memory that is used for
//! something else by now. Each reader proves what it counts, or says [`Implausible`].

mod allocation;
mod deadlock;
mod hidden;
mod java_objects;
mod list;
mod os_threads;
mod states;
mod tasks;

use std::os::fd::BorrowedFd;

use crate::discovery::{HotSpotMemory, Implausible};
use crate::hotspot::Collector;
use allocation::AllocationReader;
use deadlock::DeadlockReader;
use list::JavaThreads;
use states::StateReader;
pub(super) use states::{ByState, JavaThreadState, StateCounts};

/// What the values that fail their checks are counted as.
pub(super) const STATES: &str = "thread_states";
pub(super) const ALLOCATED: &str = "allocated";
pub(super) const DEADLOCKS: &str = "deadlocks";

/// What decides how a JVM's memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JvmTraits {
    /// 8, 11, 17 and so on.
    pub(super) feature: u32,
    pub(super) collector: Collector,
}

/// Reads the threads of one JVM.
#[derive(Debug)]
pub(super) struct ThreadReader {
    threads: JavaThreads,
    allocation: Result<AllocationReader, Implausible>,
    states: Result<StateReader, Implausible>,
    deadlocks: Result<DeadlockReader, Implausible>,
}

impl ThreadReader {
    /// # Errors
    /// This JDK does not describe its list of threads.
    pub(super) fn of(memory: &HotSpotMemory, traits: JvmTraits) -> Result<Self, Implausible> {
        let readable = traits.collector != Collector::Zgc;
        Ok(Self {
            threads: JavaThreads::of(memory)?,
            allocation: AllocationReader::of(memory),
            states: StateReader::of(memory, readable),
            deadlocks: DeadlockReader::of(memory, !readable),
        })
    }

    /// Bytes that threads have allocated. The first value is what those that live have allocated since their start; it
    /// never falls. `process` is the process's directory below /proc.
    pub(super) fn read_allocation(
        &mut self,
        memory: &HotSpotMemory,
        process: BorrowedFd<'_>,
    ) -> Result<u64, Implausible> {
        let reader = self.allocation.as_mut().map_err(|error| *error)?;
        reader.read(memory, &mut self.threads, process)
    }

    /// Numbers of threads; `live` is `java.threads.live`.
    pub(super) fn read_states(
        &mut self,
        memory: &HotSpotMemory,
        process: BorrowedFd<'_>,
        live: u64,
    ) -> Result<StateCounts, Implausible> {
        let reader = self.states.as_mut().map_err(|error| *error)?;
        reader.read(memory, &mut self.threads, process, live)
    }

    /// Threads that wait for each other's monitors, once two calls have found them; a JVM in which fewer than two threads
    /// are blocked has none.
    pub(super) fn read_deadlocks(
        &mut self,
        memory: &HotSpotMemory,
        process: BorrowedFd<'_>,
    ) -> Result<u64, Implausible> {
        let reader = self.deadlocks.as_mut().map_err(|error| *error)?;
        reader.read(memory, &mut self.threads, process)
    }
}

/// The offset of a thread's OSThread.
fn os_thread(memory: &HotSpotMemory) -> Result<u64, Implausible> {
    memory.offset("Thread", "_osthread").or_else(|_| memory.offset("JavaThread", "_osthread"))
}
