//! The states of a JVM's threads without their Java objects: HotSpot's own record of what a thread waits for, and the
//! kernel's of whether that wait ends by itself.
//!
//! A thread without Java frames that waits, such as the signal dispatcher, waits inside HotSpot: to Java it is runnable.
//! So is the reference handler, which waits for the collector.

use std::os::fd::BorrowedFd;

use super::list::JavaThreads;
use super::states::JavaThreadState;
use super::tasks::Tasks;
use crate::discovery::{HotSpotMemory, Implausible};
use crate::providers::introspection::fields::{FieldSpan, Gathered};

/// futex(2)
const FUTEX: &str = if cfg!(target_arch = "x86_64") { "202" } else { "98" };
/// Most threads whose waits are looked up.
const WAITS_MAXIMUM: usize = 8192;

/// The names of the thread that hands references to their queues.
const REFERENCE_HANDLER: [&[u8]; 2] = [b"Reference Handl", b"Referen..andler"];
/// It is among so many threads at the start of the list, or, in a chain, at the end.
const FIRST: usize = 16;

/// Reads the states of threads.
#[derive(Debug)]
pub(super) struct OsThreads {
    os_thread: u64,
    /// `JavaThread::_anchor._last_Java_sp`, 0 without Java frames.
    java_frames: u64,
    state: u64,
    tid: u64,
    span: FieldSpan,
    codes: StateCodes,
    /// The reference handler's address and OSThread, once it has been looked for; 0 if it was not found.
    reference_handler: Option<[u64; 2]>,
    gathered: Gathered,
}

/// Values of `ThreadState` (osThread.hpp).
#[derive(Clone, Copy, Debug)]
struct StateCodes {
    allocated: u32,
    initialized: u32,
    runnable: u32,
    monitor_wait: u32,
    condvar_wait: u32,
    object_wait: u32,
    sleeping: u32,
}

impl OsThreads {
    pub(super) fn of(memory: &HotSpotMemory) -> Result<Self, Implausible> {
        let code = |name| {
            let value = memory.constant(name)?;
            u32::try_from(value).map_err(|_| Implausible::Value(name, value.cast_unsigned()))
        };
        let codes = StateCodes {
            allocated: code("ALLOCATED")?,
            initialized: code("INITIALIZED")?,
            runnable: code("RUNNABLE")?,
            monitor_wait: code("MONITOR_WAIT")?,
            condvar_wait: code("CONDVAR_WAIT")?,
            object_wait: code("OBJECT_WAIT")?,
            sleeping: code("SLEEPING")?,
        };
        let (state, tid) = (memory.offset("OSThread", "_state")?, memory.offset("OSThread", "_thread_id")?);
        let span = FieldSpan::covering(&[(state, 4), (tid, 4)])?;
        let anchor = memory.offset("JavaThread", "_anchor")?;
        let java_frames = anchor.saturating_add(memory.offset("JavaFrameAnchor", "_last_Java_sp")?);
        Ok(Self {
            os_thread: super::os_thread(memory)?,
            java_frames,
            state,
            tid,
            span,
            codes,
            reference_handler: None,
            gathered: Gathered::default(),
        })
    }

    /// The field of a thread that is used beside its OSThread.
    pub(super) fn field(&self) -> u64 {
        self.java_frames
    }

    /// The state of each thread for which `wanted` holds, in the list's order.
    pub(super) fn read(
        &mut self,
        memory: &HotSpotMemory,
        threads: &JavaThreads,
        wanted: impl Fn(usize) -> bool,
        tasks: &mut Tasks,
        process: BorrowedFd<'_>,
    ) -> Vec<Option<JavaThreadState>> {
        let count = threads.addresses().len();
        let os_thread = |index| threads.get(index).filter(|_| wanted(index))?.word(self.os_thread);
        self.gathered.read(memory, self.span, (0..count).map(|index| os_thread(index).unwrap_or_default()));
        let reference_handler = self.reference_handler(threads, tasks, process);
        let mut waits = 0_usize;
        let states = (0..count).map(|index| {
            let fields = self.gathered.get(index)?;
            let (code, tid) = (fields.half(self.state)?, fields.half(self.tid)?);
            let codes = &self.codes;
            let thread = threads.get(index)?;
            match code {
                _ if code == codes.allocated || code == codes.initialized => Some(JavaThreadState::New),
                _ if code == codes.runnable => Some(JavaThreadState::Runnable),
                _ if code == codes.monitor_wait => Some(JavaThreadState::Blocked),
                _ if code == codes.sleeping => Some(JavaThreadState::TimedWaiting),
                _ if thread.word(self.java_frames)? == 0 => Some(JavaThreadState::Runnable),
                _ if [*threads.addresses().get(index)?, thread.word(self.os_thread)?] == reference_handler => {
                    Some(JavaThreadState::Runnable)
                }
                _ if code == codes.condvar_wait || code == codes.object_wait => {
                    waits = waits.saturating_add(1);
                    let call = (waits <= WAITS_MAXIMUM).then(|| tasks.line(process, tid, "syscall")).flatten()?;
                    waiting(&call)
                }
                _ => None,
            }
        });
        states.collect()
    }

    /// Looks for the reference handler at the first call.
    fn reference_handler(&mut self, threads: &JavaThreads, tasks: &mut Tasks, process: BorrowedFd<'_>) -> [u64; 2] {
        if let Some(known) = self.reference_handler {
            return known;
        }
        let addresses = threads.addresses();
        let last = addresses.len().saturating_sub(FIRST);
        let mut candidates = addresses.iter().enumerate().filter(|(index, _)| *index < FIRST || *index >= last);
        let found = candidates.find_map(|(index, address)| {
            let name = tasks.line(process, self.gathered.get(index)?.half(self.tid)?, "comm")?;
            let os_thread = threads.get(index)?.word(self.os_thread)?;
            REFERENCE_HANDLER.contains(&&*name).then_some([*address, os_thread])
        });
        *self.reference_handler.insert(found.unwrap_or_default())
    }
}

/// The state of a thread that HotSpot says to wait, by its `syscall`: number, six arguments, stack pointer, program
/// counter; or `running`, or -1 outside of a system call.
fn waiting(call: &[u8]) -> Option<JavaThreadState> {
    let call = std::str::from_utf8(call).ok()?;
    let mut words = call.split_ascii_whitespace();
    match words.next()? {
        // It has been woken.
        "running" | "-1" => Some(JavaThreadState::Runnable),
        FUTEX => match words.nth(3)? {
            "0x0" => Some(JavaThreadState::Waiting),
            _ => Some(JavaThreadState::TimedWaiting),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_with_a_timeout_ends_by_itself() {
        let futex = |timeout: &str| format!("{FUTEX} 0x7f01 0x189 0x0 {timeout} 0x0 0xffffffff 0x7ffd 0x7f02");
        for (call, expected) in [
            (futex("0x0"), Some(JavaThreadState::Waiting)),
            (futex("0x7ffe1000"), Some(JavaThreadState::TimedWaiting)),
            ("running".to_owned(), Some(JavaThreadState::Runnable)),
            ("-1 0x7ffd 0x7f02".to_owned(), Some(JavaThreadState::Runnable)),
            ("7 0x0 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f02".to_owned(), None),
            (format!("{FUTEX} 0x1 0x2"), None),
            (String::new(), None),
        ] {
            assert_eq!(waiting(call.as_bytes()), expected, "{call}");
        }
        assert_eq!(waiting(&[0xff, 0xfe]), None);
    }
}
