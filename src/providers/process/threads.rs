//! CPU time, time without a CPU, and context switches of a process's threads, by kind of thread.
//!
//! The kernel's scheduler counts them per thread and forgets them when a thread ends, so sums grow by differences
//! between readings. What a thread did between the last reading and its end is part of the process's CPU time only, and
//! goes to [`ThreadKind::Application`].

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Dir, Mode, OFlags, openat};
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::fact::ValueTable;
use crate::metric::Value;
use crate::proc::stat::{self, STATUS_MAXIMUM, Stat, USER_HZ, read_text};

/// Most threads of a process that are looked at; with more, nothing is known.
const THREADS_MAXIMUM: usize = 8192;
/// Most threads of which every one is read; with more, the application's are only counted together.
const SINGLY_MAXIMUM: usize = 1024;
/// Most groups of application threads; further ones are the group [`OTHER_GROUP`].
const GROUPS_MAXIMUM: usize = 20;
const OTHER_GROUP: &str = "other";

/// What a thread is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
enum ThreadKind {
    /// Stops the application to collect. JDK 8's G1 and CMS mark with the same threads.
    Gc,
    /// Collects beside the application. ZGC's and Shenandoah's workers also work in pauses.
    GcConcurrent,
    JitC1,
    JitC2,
    /// The VM thread, in which Serial collects.
    Vm,
    /// Signals, references, monitors, attaching, and the like.
    Service,
    /// Everything else, the main thread included.
    Application,
}

impl ThreadKind {
    /// The kind of the thread of that name, which Linux cuts to 15 bytes and JDK 26 shortens in the middle
    /// (JDK-8368124). Measured on 8, 11, 17, 21, 25, 26 and 27 with all collectors.
    fn of(name: &str) -> Self {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if starts(&["GC task thread#", "ParGC Thread#", "GC Thread#", "Gang worker#", "RuntimeWorker#"]) {
            Self::Gc
        } else if starts(&["G1 ", "CMS ", "Concurrent Mark", "StrDedup", "String Deduplic", "StringD"])
            || starts(&["ZWorker", "ZDriver", "ZDirector", "ZStat", "ZUncommitter", "ZUnmapper"])
            || starts(&["XWorker", "XDriver", "XDirector", "XStat", "XUncommitter", "XUnmapper"])
            // A NamedThread of JDK 8 that has no name yet (thread.hpp).
            || name == "Unknown Thread"
            || starts(&["Shenandoah", "Shenand..", "ShenWorker", "ShenControl", "ShenRegulator", "ShenUncommit"])
        {
            Self::GcConcurrent
        } else if starts(&["C1 Comp"]) {
            Self::JitC1
        } else if starts(&["C2 Comp"]) {
            Self::JitC2
        } else if name == "VM Thread" {
            Self::Vm
        } else if SERVICES.contains(&name) {
            Self::Service
        } else {
            Self::Application
        }
    }
}

/// Each exists once in a JVM.
const SERVICES: [&str; 20] = [
    "VM Periodic Tas",
    "VM Peri..Thread",
    "Service Thread",
    "Signal Dispatch",
    "Signal ..atcher",
    "Sweeper thread",
    "Monitor Deflati",
    "Monitor..Thread",
    "Notification Th",
    "Notific..Thread",
    "Reference Handl",
    "Referen..andler",
    "Finalizer",
    "Common-Cleaner",
    "Common-..leaner",
    "Attach Listener",
    "Surrogate Locke",
    "Surroga..Thread",
    "Native ..immer",
    "Native Heap Tri",
];

/// Voluntary and involuntary ones.
type ContextSwitches = [u64; 2];

/// What the kernel counted for one thread until now, times in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    cpu: u64,
    /// Runnable without a CPU; `None` where the kernel does not count it.
    wait: Option<u64>,
    switches: ContextSwitches,
}

/// One thread at one reading.
#[derive(Debug)]
struct Thread {
    kind: ThreadKind,
    name: String,
    /// Unknown of the application's threads where there are too many.
    usage: Option<Usage>,
}

/// Sums over the threads of one process.
#[derive(Debug, Default)]
pub(super) struct ThreadSums {
    previous: Option<BTreeMap<i32, (ThreadKind, Usage)>>,
    /// Which kinds have had a thread.
    seen: [bool; ThreadKind::COUNT],
    /// Nanoseconds by kind.
    cpu: [u64; ThreadKind::COUNT],
    wait: [u64; ThreadKind::COUNT],
    /// CPU nanoseconds by group of application threads.
    groups: BTreeMap<String, u64>,
    /// Since the first reading.
    switches: ContextSwitches,
    /// What the last reading could tell.
    known: Known,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    cpu: bool,
    wait: bool,
    /// Every thread was read.
    singly: bool,
}

impl ThreadSums {
    /// Reads the threads of the process of this directory and adds what is new.
    pub(super) fn update(&mut self, directory: BorrowedFd<'_>, grouped: bool) {
        self.known = Known::default();
        match threads(directory) {
            Ok(Some(threads)) => self.add(threads, grouped),
            Ok(None) => self.previous = None,
            Err(error) => tracing::debug!(%error, "cannot read the threads of a process"),
        }
    }

    fn add(&mut self, threads: BTreeMap<i32, Thread>, grouped: bool) {
        let usages = || threads.values().filter_map(|thread| thread.usage);
        self.known = Known {
            cpu: true,
            wait: usages().all(|usage| usage.wait.is_some()),
            singly: threads.values().all(|thread| thread.usage.is_some()),
        };
        let first = self.previous.is_none();
        let previous = self.previous.take().unwrap_or_default();
        let mut now = BTreeMap::new();
        for (id, thread) in threads {
            let kind = thread.kind as usize;
            if let Some(seen) = self.seen.get_mut(kind) {
                *seen = true;
            }
            let Some(usage) = thread.usage else { continue };
            now.insert(id, (thread.kind, usage));
            // Less CPU time than before is another thread that reuses the id.
            let before = previous.get(&id).map(|(_, before)| *before).filter(|before| before.cpu <= usage.cpu);
            let before = before.unwrap_or_default();
            let cpu = self.count(thread.kind, before, usage);
            // What threads that ended before the first reading did is unknown, so these sums begin there.
            if !first {
                for ((sum, now), before) in self.switches.iter_mut().zip(usage.switches).zip(before.switches) {
                    *sum = sum.saturating_add(now.saturating_sub(before));
                }
            }
            if grouped && thread.kind == ThreadKind::Application {
                let sum = self.group(&thread.name);
                *sum = sum.saturating_add(cpu);
            }
        }
        self.previous = Some(now);
    }

    /// Adds the times of a thread since it was read before; returns its CPU time. That of the application's threads is
    /// no part of a sum: see [`Self::attribute_rest`].
    fn count(&mut self, kind: ThreadKind, before: Usage, now: Usage) -> u64 {
        let cpu = now.cpu.saturating_sub(before.cpu);
        let wait = now.wait.unwrap_or_default().saturating_sub(before.wait.unwrap_or_default());
        let own = if kind == ThreadKind::Application { 0 } else { cpu };
        for (sums, more) in [(&mut self.cpu, own), (&mut self.wait, wait)] {
            if let Some(sum) = sums.get_mut(kind as usize) {
                *sum = sum.saturating_add(more);
            }
        }
        cpu
    }

    /// Reads the JVM's own threads again, of which there are few; returns the CPU time of the process in clock ticks. The
    /// time for which the application's threads waited stays as [`Self::update`] found it.
    pub(super) fn update_own(&mut self, directory: BorrowedFd<'_>) -> Option<u64> {
        let tasks =
            openat(directory, "task", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut previous = self.previous.take()?;
        for (id, (kind, usage)) in previous.iter_mut().filter(|(_, (kind, _))| *kind != ThreadKind::Application) {
            // One that ended is counted as far as it was read.
            let Some((cpu, wait)) = times(tasks.as_fd(), *id) else { continue };
            let now = Usage { cpu, wait: wait.or(usage.wait), switches: usage.switches };
            if now.cpu >= usage.cpu {
                self.count(*kind, *usage, now);
                *usage = now;
            }
        }
        self.previous = Some(previous);
        Some(Stat::read(directory).ok()?.cpu())
    }

    fn group(&mut self, name: &str) -> &mut u64 {
        let group = group_of(name);
        let room = self.groups.len() < GROUPS_MAXIMUM || self.groups.contains_key(group);
        self.groups.entry(if room { group } else { OTHER_GROUP }.to_owned()).or_default()
    }

    /// Sets the values. `process` is the CPU time of all threads that the process has had, in clock ticks.
    pub(super) fn publish(&mut self, process: u64, table: &mut ValueTable) {
        self.publish_times(process, table);
        if self.known.singly {
            for (group, cpu) in &self.groups {
                table.set("thread.group_cpu_time", &[group], Value::Float(*cpu as f64 / 1e9));
            }
            for (kind, count) in ["voluntary", "involuntary"].iter().zip(self.switches) {
                if let Ok(count) = i64::try_from(count) {
                    table.set("proc.context_switches", &[kind], Value::Int(count));
                }
            }
        }
    }

    /// Sets the times by kind.
    pub(super) fn publish_times(&mut self, process: u64, table: &mut ValueTable) {
        if !self.known.cpu {
            return;
        }
        self.attribute_rest(process);
        let seconds = |nanoseconds: u64| Value::Float(nanoseconds as f64 / 1e9);
        for (kind, (cpu, wait)) in ThreadKind::VARIANTS.iter().zip(self.cpu.iter().zip(self.wait)) {
            if !self.seen.get(*kind as usize).is_some_and(|seen| *seen) {
                continue;
            }
            let label: &str = kind.into();
            table.set("thread.cpu_time", &[label], seconds(*cpu));
            if self.known.wait && (self.known.singly || *kind != ThreadKind::Application) {
                table.set("thread.cpu_wait", &[label], seconds(wait));
            }
        }
    }

    /// The application's CPU time is what the JVM's own threads did not use: so threads that ended are part of it.
    fn attribute_rest(&mut self, process: u64) {
        let process = process.saturating_mul(1_000_000_000 / USER_HZ);
        let [own @ .., application] = &mut self.cpu;
        let own = own.iter().fold(0_u64, |sum, cpu| sum.saturating_add(*cpu));
        *application = (*application).max(process.saturating_sub(own));
    }
}

/// The threads of a process by id; `None` if there are more than [`THREADS_MAXIMUM`].
fn threads(directory: BorrowedFd<'_>) -> io::Result<Option<BTreeMap<i32, Thread>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let tasks = openat(directory, "task", flags, Mode::empty())?;
    let mut ids = Vec::new();
    for entry in Dir::read_from(&tasks)?.take(THREADS_MAXIMUM.saturating_add(3)) {
        ids.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
    }
    if ids.len() > THREADS_MAXIMUM {
        return Ok(None);
    }
    // The JVM creates its own threads first: where the application takes one of these names, it comes later.
    ids.sort_unstable();
    let singly = ids.len() <= SINGLY_MAXIMUM;
    let mut services = Vec::new();
    let mut threads = BTreeMap::new();
    for id in ids {
        // It may have ended.
        let Some(mut thread) = Thread::read(tasks.as_fd(), id, singly) else { continue };
        if thread.kind == ThreadKind::Service && services.contains(&thread.name) {
            thread.kind = ThreadKind::Application;
        } else if thread.kind == ThreadKind::Service {
            services.push(thread.name.clone());
        }
        threads.insert(id, thread);
    }
    Ok(Some(threads))
}

impl Thread {
    fn read(tasks: BorrowedFd<'_>, id: i32, singly: bool) -> Option<Self> {
        let text = |file| read_text(tasks, format!("{id}/{file}"), STATUS_MAXIMUM).ok();
        let (name, switches) = if singly {
            let status = text("status")?;
            let count = |key| stat::number(&status, key).unwrap_or_default();
            let switches = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"].map(count);
            (stat::field(&status, "Name:")?.to_owned(), switches)
        } else {
            (text("comm")?.trim_end().to_owned(), [0; 2])
        };
        let kind = ThreadKind::of(&name);
        if !singly && kind == ThreadKind::Application {
            return Some(Self { kind, name, usage: None });
        }
        let (cpu, wait) = times(tasks, id)?;
        Some(Self { kind, name, usage: Some(Usage { cpu, wait, switches }) })
    }
}

/// Nanoseconds of a thread on a CPU and waiting for one; `None` inside where the kernel does not count the second.
fn times(tasks: BorrowedFd<'_>, id: i32) -> Option<(u64, Option<u64>)> {
    let text = |file| read_text(tasks, format!("{id}/{file}"), STATUS_MAXIMUM).ok();
    // A kernel without scheduler statistics has no such file, or zeros in it.
    if let Some((cpu, wait)) = text("schedstat").as_deref().and_then(schedstat) {
        return Some((cpu, Some(wait)));
    }
    let stat = Stat::parse(text("stat")?.as_bytes())?;
    Some((stat.cpu().saturating_mul(1_000_000_000 / USER_HZ), None))
}

/// Nanoseconds on a CPU and waiting for one (Documentation/scheduler/sched-stats.rst); `None` where they are not counted.
fn schedstat(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let [cpu, wait, slices] = [numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?];
    (slices > 0).then_some((cpu, wait))
}

/// The part of a thread's name that threads of one pool share: `http-nio` of `http-nio-8080-exec-1`.
fn group_of(name: &str) -> &str {
    let end = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let group = name.get(..end).unwrap_or(name).trim_end_matches(|c: char| !c.is_alphanumeric());
    if group.is_empty() { OTHER_GROUP } else { group }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn reading(threads: &[(i32, &str, u64, u64)]) -> BTreeMap<i32, Thread> {
        let thread = |(id, name, cpu, switches): &(i32, &str, u64, u64)| {
            let usage = Usage { cpu: *cpu, wait: Some(*cpu / 10), switches: [*switches, 0] };
            (*id, Thread { kind: ThreadKind::of(name), name: (*name).to_owned(), usage: Some(usage) })
        };
        threads.iter().map(thread).collect()
    }

    #[test]
    fn sums_outlive_threads_and_ids() {
        let mut sums = ThreadSums::default();
        sums.add(reading(&[(1, "java", 500, 10), (2, "GC Thread#0", 1000, 20)]), false);
        assert_eq!(
            (sums.cpu[ThreadKind::Gc as usize], sums.switches[0]),
            (1000, 0),
            "switches begin at the first reading"
        );
        sums.add(reading(&[(1, "java", 500, 13), (3, "GC Thread#1", 70, 4)]), false);
        assert_eq!((sums.cpu[ThreadKind::Gc as usize], sums.switches[0]), (1070, 3 + 4), "thread 2 ended");
        sums.add(reading(&[(1, "java", 500, 13), (3, "C2 CompilerThre", 5, 1)]), false);
        assert_eq!(sums.cpu[ThreadKind::Gc as usize], 1070);
        assert_eq!((sums.cpu[ThreadKind::JitC2 as usize], sums.switches[0]), (5, 7 + 1), "id 3 is another thread");
        assert_eq!(sums.wait[ThreadKind::Gc as usize], 107);
    }

    #[test]
    fn the_application_has_the_rest() {
        let mut sums = ThreadSums::default();
        sums.add(reading(&[(1, "java", 10, 0), (2, "VM Thread", 30_000_000, 0)]), false);
        sums.attribute_rest(10);
        assert_eq!(sums.cpu[ThreadKind::Application as usize], 70_000_000);
        // The JVM's own threads may be read a moment later than the process: a counter never falls.
        sums.add(reading(&[(2, "VM Thread", 60_000_000, 0)]), false);
        sums.attribute_rest(10);
        assert_eq!(sums.cpu[ThreadKind::Application as usize], 70_000_000);
    }

    /// Between two readings of all threads, only the JVM's own are read again.
    #[test]
    fn kinds_add_up_to_the_process_whatever_was_read_last() {
        let mut sums = ThreadSums::default();
        for tick in 1..100_u64 {
            let spent = tick * 10_000_000;
            if tick % 3 == 1 {
                sums.add(reading(&[(1, "java", spent / 2, 0), (2, "VM Thread", spent / 2, 0)]), false);
            }
            sums.attribute_rest(tick);
            // A counter never falls: what was attributed to the application before its own threads were read stays.
            let sum = sums.cpu.iter().sum::<u64>();
            assert!(sum >= spent && sum <= spent + 10_000_000, "tick {tick}: {sum} of {spent}");
        }
    }

    #[test]
    fn groups_are_bounded() {
        let mut sums = ThreadSums::default();
        assert_eq!(
            ["http-nio-8080-e", "pool-1-thread-2", "42", "main"].map(group_of),
            ["http-nio", "pool", "other", "main"]
        );
        for letter in 'a'..='z' {
            sums.add(reading(&[(1, &format!("{letter}-1"), 5, 0)]), true);
        }
        assert_eq!(sums.groups.len(), GROUPS_MAXIMUM + 1);
    }

    #[test]
    fn statistics_that_the_kernel_does_not_keep_are_unknown() {
        assert_eq!(schedstat("1200 34 5\n"), Some((1200, 34)));
        assert_eq!(schedstat("0 0 0\n"), None);
        assert_eq!(schedstat(""), None);
    }
}
