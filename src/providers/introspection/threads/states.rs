//! How many of a JVM's threads are in each state of `Thread.State`.

use std::os::fd::BorrowedFd;

use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::hidden::HiddenThreads;
use super::java_objects::{ThreadObject, ThreadObjects, object_fields};
use super::list::{Confirmation, JavaThreads};
use super::os_threads::OsThreads;
use super::tasks::Tasks;
use crate::discovery::{HotSpotMemory, Implausible};

/// How many more or fewer threads HotSpot's counter may say: threads start and end while they are counted.
const LIVE_TOLERANCE: u64 = 2;
/// Passes without a readable object after which it is not tried again.
const ATTEMPTS: u32 = 5;

/// A state of `java.lang.Thread.State`; `TERMINATED` is not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(in crate::providers::introspection) enum JavaThreadState {
    New,
    Runnable,
    /// Waits for a monitor.
    Blocked,
    Waiting,
    TimedWaiting,
}

/// Numbers of threads, in the order of [`JavaThreadState`].
pub(in crate::providers::introspection) type ByState = [u64; JavaThreadState::COUNT];

/// The threads of a JVM at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::providers::introspection) struct StateCounts {
    pub(in crate::providers::introspection) all: ByState,
    /// Those that are no daemons, then those that are; only where the flag of every thread is known.
    pub(in crate::providers::introspection) by_daemon: Option<[ByState; 2]>,
    /// Threads that run a virtual thread; `None` before JDK 21 and where objects cannot be read.
    pub(in crate::providers::introspection) virtual_mounted: Option<u64>,
}

/// Counts the threads of one JVM.
#[derive(Debug)]
pub(super) struct StateReader {
    /// First word, OSThread, object, virtual thread, and what [`OsThreads`] takes.
    fields: Vec<(u64, u64)>,
    os_thread: [u64; 2],
    /// Field that says whether a thread is ending, and its value for one that is not. Not on JDK 8.
    ending: Option<(u64, u32)>,
    hidden: HiddenThreads,
    tasks: Tasks,
    objects: ObjectAccess,
    /// Not on JDK 8.
    os_threads: Option<OsThreads>,
}

/// Whether the threads' objects are read.
#[derive(Debug)]
enum ObjectAccess {
    /// After so many failures.
    Unknown(u32),
    Known(Box<ThreadObjects>),
    /// The collector moves them, or they were never readable.
    Refused,
}

/// What is known of one thread.
#[derive(Clone, Copy, Debug)]
struct StateRow {
    /// `None` for a thread that has ended.
    state: Option<JavaThreadState>,
    daemon: Option<bool>,
    carries: Option<bool>,
}

impl StateReader {
    /// `readable` says whether the collector leaves objects in their places while the program runs.
    pub(super) fn of(memory: &HotSpotMemory, readable: bool) -> Result<Self, Implausible> {
        let os_threads = OsThreads::of(memory).ok();
        if os_threads.is_none() && !readable {
            return Err(Implausible::Unknown("OSThread", "_state"));
        }
        let (object, mounted) = object_fields(memory)?;
        let os_thread = super::os_thread(memory)?;
        let frames = os_threads.as_ref().map(OsThreads::field);
        let fields = [Some(0), Some(os_thread), Some(object), mounted, frames].into_iter().flatten();
        let alive = memory.constant("JavaThread::_not_terminated").ok().and_then(|alive| u32::try_from(alive).ok());
        let ending = memory.offset("JavaThread", "_terminated").ok().zip(alive);
        let fields = fields.map(|offset| (offset, 8)).chain(ending.map(|(offset, _)| (offset, 4)));
        Ok(Self {
            fields: fields.collect(),
            ending,
            os_thread: [os_thread, memory.offset("OSThread", "_thread_id")?],
            hidden: HiddenThreads::default(),
            tasks: Tasks::default(),
            objects: if readable { ObjectAccess::Unknown(0) } else { ObjectAccess::Refused },
            os_threads,
        })
    }

    /// Counts once; `live` is `java.threads.live`.
    pub(super) fn read(
        &mut self,
        memory: &HotSpotMemory,
        threads: &mut JavaThreads,
        process: BorrowedFd<'_>,
        live: u64,
    ) -> Result<StateCounts, Implausible> {
        let mut counted = self.count(memory, threads, process, live);
        if counted.is_err() {
            counted = self.count(memory, threads, process, live);
        }
        counted
    }

    fn count(
        &mut self,
        memory: &HotSpotMemory,
        threads: &mut JavaThreads,
        process: BorrowedFd<'_>,
        live: u64,
    ) -> Result<StateCounts, Implausible> {
        self.tasks.begin();
        threads.read(memory, process, &self.fields)?;
        self.hidden.learn(memory, threads, self.os_thread, &mut self.tasks, process);
        let mut rows = self.by_objects(memory, threads).unwrap_or_default();
        let of_visible = rows.iter().enumerate().filter(|(index, _)| {
            is_visible(&self.hidden, threads, *index) != Some(false) && !is_ending(self.ending, threads, *index)
        });
        if !is_enough(of_visible.map(|(_, row)| row))
            && let Some(os_threads) = &mut self.os_threads
        {
            let hidden = &self.hidden;
            let ending = self.ending;
            let wanted =
                |index| is_visible(hidden, threads, index) != Some(false) && !is_ending(ending, threads, index);
            let states = os_threads.read(memory, threads, wanted, &mut self.tasks, process).into_iter();
            let row = |state| StateRow { state: Some(state), daemon: None, carries: None };
            rows = states.map(|state| state.map(row)).collect();
        }
        let list = threads.confirm(memory)?;
        self.sum(&rows, threads, &list, live)
    }

    fn by_objects(&mut self, memory: &HotSpotMemory, threads: &JavaThreads) -> Option<Vec<Option<StateRow>>> {
        if let ObjectAccess::Unknown(failures) = self.objects {
            self.objects = match ThreadObjects::learn(memory, threads) {
                Ok(objects) => ObjectAccess::Known(Box::new(objects)),
                Err(error) => {
                    tracing::debug!(%error, "cannot read the objects of threads");
                    let failures = failures.saturating_add(1);
                    if failures < ATTEMPTS { ObjectAccess::Unknown(failures) } else { ObjectAccess::Refused }
                }
            };
        }
        let ObjectAccess::Known(objects) = &mut self.objects else { return None };
        let row = |object: ThreadObject| StateRow {
            state: match object.carries {
                // As the beans have it, whatever the virtual thread does.
                Some(true) => Some(JavaThreadState::Waiting),
                _ => JavaThreadState::of_status(object.status),
            },
            daemon: Some(object.daemon),
            carries: object.carries,
        };
        Some(objects.read(memory, threads).into_iter().map(|object| object.map(row)).collect())
    }

    /// Adds up the rows of visible threads.
    fn sum(
        &self,
        rows: &[Option<StateRow>],
        threads: &JavaThreads,
        list: &Confirmation,
        live: u64,
    ) -> Result<StateCounts, Implausible> {
        let mut counts =
            StateCounts { all: Default::default(), by_daemon: Some(Default::default()), virtual_mounted: Some(0) };
        let mut found = Vec::new();
        let mut ended = 0_u64;
        for (index, (row, address)) in rows.iter().zip(threads.addresses()).enumerate() {
            let visible = is_visible(&self.hidden, threads, index);
            if visible == Some(false) {
                continue;
            }
            // HotSpot's counter has it until it is out of the list; the beans do not.
            if is_ending(self.ending, threads, index) {
                ended = ended.saturating_add(1);
                continue;
            }
            let row = row.filter(|_| visible.is_some() && list.has(*address));
            found.push(row);
            if let Some(row) = row {
                counts.add(row);
            }
        }
        let bad = found.iter().filter(|row| row.is_none()).count();
        if bad > 0 {
            counts.by_daemon = None;
            counts.virtual_mounted = None;
        }
        if !is_enough(found.iter()) {
            return Err(Implausible::Value("the number of threads without a state", bad as u64));
        }
        let sum = counts.all.iter().sum::<u64>();
        if sum.abs_diff(live.saturating_sub(ended)) > LIVE_TOLERANCE {
            return Err(Implausible::Value("the sum of threads by state", sum));
        }
        Ok(counts)
    }
}

/// Whether at least 95 % of the threads have a row.
fn is_enough<'r>(rows: impl Iterator<Item = &'r Option<StateRow>>) -> bool {
    let (bad, all) = rows
        .fold((0_usize, 0_usize), |(bad, all), row| (bad.saturating_add(row.is_none().into()), all.saturating_add(1)));
    all > 0 && bad.saturating_mul(20) <= all
}

/// Whether a thread has left the program, and is about to leave the list.
fn is_ending(ending: Option<(u64, u32)>, threads: &JavaThreads, index: usize) -> bool {
    ending.is_some_and(|(offset, alive)| {
        threads.get(index).and_then(|fields| fields.half(offset)).is_some_and(|state| state != alive)
    })
}

/// Whether the beans count the thread of that index; `None` while it is unknown.
fn is_visible(hidden: &HiddenThreads, threads: &JavaThreads, index: usize) -> Option<bool> {
    hidden.is_hidden(threads.get(index)?.word(0)?).map(|hidden| !hidden)
}

impl StateCounts {
    fn add(&mut self, row: StateRow) {
        let Some(state) = row.state else { return };
        let increment = |counts: &mut ByState| {
            if let Some(count) = counts.get_mut(state as usize) {
                *count = count.saturating_add(1);
            }
        };
        increment(&mut self.all);
        match (&mut self.by_daemon, row.daemon) {
            (Some([others, daemons]), Some(daemon)) => increment(if daemon { daemons } else { others }),
            (by_daemon, _) => *by_daemon = None,
        }
        self.virtual_mounted =
            self.virtual_mounted.zip(row.carries).map(|(sum, carries)| sum.saturating_add(carries.into()));
    }
}

impl JavaThreadState {
    /// By the bits of `threadStatus`, in the order of `jdk.internal.misc.VM.toThreadState`; `None` for `TERMINATED`.
    fn of_status(status: u32) -> Option<Self> {
        const ALIVE: u32 = 0x1;
        const TERMINATED: u32 = 0x2;
        const RUNNABLE: u32 = 0x4;
        const WAITING_INDEFINITELY: u32 = 0x10;
        const WAITING_WITH_TIMEOUT: u32 = 0x20;
        const BLOCKED: u32 = 0x400;
        let has = |bit: u32| status & bit != 0;
        match () {
            () if has(RUNNABLE) => Some(Self::Runnable),
            () if has(BLOCKED) => Some(Self::Blocked),
            () if has(WAITING_INDEFINITELY) => Some(Self::Waiting),
            () if has(WAITING_WITH_TIMEOUT) => Some(Self::TimedWaiting),
            () if has(TERMINATED) => None,
            () if has(ALIVE) => Some(Self::Runnable),
            () => Some(Self::New),
        }
    }
}
