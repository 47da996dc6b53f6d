//! Which processes of a proc file system are JVMs.
//!
//! Every file of a process is read beneath a handle of its `/proc/PID` directory, which the kernel ties to that very
//! process: once it is gone, reads fail, even if its number belongs to another process by then. A process that vanishes
//! during a scan is not reported.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, readlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::diagnosis::STARTING;
use super::open::names;
use super::progress::{Progress, ScanSubject};
use crate::perfdata::name::vpid_of;
use crate::proc::handle::{Process, ticks_since_boot};
use crate::proc::maps::{MappedRegion, Mappings};
use crate::proc::stat::{STATUS_MAXIMUM, Stat, Status, USER_HZ, directory, read};

/// Processes that one scan examines.
const PROCESSES: usize = 1 << 17;
/// Threads of one process that are searched for HotSpot's own, which are among the first.
const THREADS: usize = 1 << 12;
/// Longest time in seconds until a process that was no JVM is examined again; before that, it is once its age has
/// doubled.
const LONGEST_DELAY: u64 = 600;
/// Seconds in which a process may still become a JVM, as a script that ends in `exec java` does.
const YOUNG: u64 = 10;
/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process that is, or claims to be, a JVM.
#[derive(Clone, Debug)]
pub(super) struct JvmProcess {
    pub(super) process: Arc<Process>,
    pub(super) evidence: Evidence,
}

/// What a process's memory map says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The map may not be read.
    Hidden,
    /// HotSpot, or a native image of GraalVM, with its region if that is in shared memory.
    Jvm(Option<MappedRegion>),
    /// A fork of a JVM, which is none: it has inherited the mapping of that JVM's region.
    Fork(MappedRegion),
    /// Named `java`, but without HotSpot.
    NotHotspot,
}

/// A mounted proc file system, and what earlier scans found in it.
#[derive(Debug)]
pub(super) struct ProcessScanner {
    pub(super) root: OwnedFd,
    /// The mount point.
    pub(super) path: PathBuf,
    /// It numbers processes as the exporter's own pid namespace does, so that a pidfd can be opened by number.
    pub(super) own_numbers: bool,
    own_pid: Option<i32>,
    records: HashMap<i32, ProcessRecord>,
    scan: u64,
    progress: Arc<Progress>,
    /// Processes that were left alone in this scan, since they have held an earlier one.
    held: BTreeSet<i32>,
    /// `loadavg` as it was when no process was young enough to become a JVM unseen.
    quiet: Option<Vec<u8>>,
}

/// What earlier scans found out about one process.
#[derive(Debug)]
struct ProcessRecord {
    start_ticks: u64,
    /// Changes with exec.
    name: Box<[u8]>,
    /// When it is examined again, in clock ticks since boot.
    due: u64,
    jvm_process: Option<JvmProcess>,
    /// The last scan that listed it.
    scan: u64,
}

impl ProcessRecord {
    /// Whether it is of that very process. Within one clock tick a pid may pass to another process, and only the
    /// process itself can tell then.
    fn is_of(&self, stat: &Stat) -> bool {
        let replaced = || self.jvm_process.as_ref().is_some_and(|jvm_process| !jvm_process.process.is_alive());
        self.start_ticks == stat.start_ticks && (stat.is_dead() || !replaced())
    }

    /// Whether its result still holds at the time `now`: a region that was found is not searched for again, and
    /// everything else has a date.
    fn is_current(&self, stat: &Stat, now: u64, named: bool) -> bool {
        let has_region = matches!(&self.jvm_process, Some(JvmProcess { evidence: Evidence::Jvm(Some(_)), .. }));
        self.name == stat.name && (has_region || (now < self.due && !(named && self.jvm_process.is_none())))
    }
}

impl ProcessScanner {
    /// A scanner of the proc file system mounted at `path`.
    pub(super) fn new(path: &Path, progress: Arc<Progress>) -> Result<Self, Errno> {
        let root = directory(CWD, path)?;
        let own_pid = readlinkat(&root, "self", Vec::new()).ok().and_then(|link| link.to_str().ok()?.parse().ok());
        let own_numbers =
            directory(&root, "self").and_then(|own| Status::read(&own)).is_ok_and(|status| status.levels == 1)
                && own_pid == i32::try_from(std::process::id()).ok();
        let (path, records) = (path.to_owned(), HashMap::new());
        Ok(Self { root, path, own_numbers, own_pid, records, scan: 0, progress, held: BTreeSet::new(), quiet: None })
    }

    /// The process of that number, if the last scan found a JVM in it.
    pub(super) fn jvm(&self, pid: i32) -> Option<Arc<Process>> {
        let jvm_process = self.records.get(&pid)?.jvm_process.as_ref()?;
        matches!(jvm_process.evidence, Evidence::Jvm(_)).then(|| Arc::clone(&jvm_process.process))
    }

    /// Whether the process of that number, in the pid namespace of `fork`, is certain not to write the region that `fork`
    /// has inherited. That process is known not to be among those with a readable map of the region.
    pub(super) fn is_gone(&self, number: i32, fork: &Process) -> bool {
        if self.own_numbers && fork.pid == fork.vpid {
            return match self.records.get(&number) {
                Some(record) => !matches!(&record.jvm_process, Some(JvmProcess { evidence: Evidence::Hidden, .. })),
                // It may be hidden from the list (hidepid of proc(5)). No signal is sent.
                None => Pid::from_raw(number).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH)),
            };
        }
        let namespace = |process: &OwnedFd| readlinkat(process, "ns/pid", Vec::new()).ok();
        let own = namespace(fork.directory());
        own.is_some()
            && !self.records.keys().any(|pid| {
                let Ok(directory) = directory(&self.root, pid.to_string()) else { return false };
                Status::read(&directory).is_ok_and(|status| status.vpid == Some(number))
                    && namespace(&directory).is_none_or(|other| Some(other) == own)
            })
    }

    /// Every process that is or claims to be a JVM. Processes whose number is in `named`, the names of region files, are
    /// examined even if they were no JVM before.
    pub(super) fn scan(&mut self, named: &HashSet<i32>) -> Result<Vec<JvmProcess>, Errno> {
        self.scan = self.scan.wrapping_add(1);
        let now = ticks_since_boot();
        let mut jvm_processes = Vec::new();
        for name in names(&self.root, PROCESSES, |name| vpid_of(name).is_some())?.0 {
            let Some(pid) = vpid_of(&name).filter(|pid| Some(*pid) != self.own_pid) else { continue };
            jvm_processes.extend(self.scan_process(pid, named.contains(&pid), now));
        }
        let scan = self.scan;
        self.records.retain(|_, record| record.scan == scan);
        self.progress.forget_ended(|pid| self.records.contains_key(&pid) || self.held.contains(&pid));
        Ok(jvm_processes)
    }

    /// Notes that a process is examined next. False: it is to be left alone.
    pub(super) fn enter(&mut self, pid: i32, start_ticks: u64) -> bool {
        let free = self.progress.enter(ScanSubject::Process(pid, start_ticks));
        if !free {
            self.held.insert(pid);
        }
        free
    }

    /// The processes that the last scan left alone.
    pub(super) fn take_held(&mut self) -> impl Iterator<Item = i32> + use<> {
        std::mem::take(&mut self.held).into_iter()
    }

    /// See [`Scanner::has_newcomer`](super::Scanner::has_newcomer). A young process is looked at each time, since it may
    /// execute another program.
    pub(super) fn has_newcomer(&mut self) -> bool {
        // Its last field is the number that was given out last, in the exporter's own pid namespace.
        let last = self.own_numbers.then(|| read(&self.root, "loadavg", STATUS_MAXIMUM).ok()).flatten();
        let last = last.and_then(|text| Some(text.rsplit(|byte| *byte == b' ').next()?.to_owned()));
        if last.is_some() && last == self.quiet {
            return false;
        }
        let Ok((listed, _)) = names(&self.root, PROCESSES, |name| vpid_of(name).is_some()) else { return false };
        let now = ticks_since_boot();
        let is_young = |record: &ProcessRecord| now.saturating_sub(record.start_ticks) < YOUNG.saturating_mul(USER_HZ);
        let (mut found, mut quiet) = (false, true);
        for pid in listed.iter().filter_map(|name| vpid_of(name)) {
            if Some(pid) != self.own_pid
                && self.records.get(&pid).is_none_or(|record| record.jvm_process.is_none() && is_young(record))
            {
                found |= self.scan_process(pid, false, now).is_some();
                quiet &= self.records.get(&pid).is_none_or(|record| !is_young(record));
            }
        }
        self.quiet = last.filter(|_| quiet);
        found
    }

    fn scan_process(&mut self, pid: i32, named: bool, now: u64) -> Option<JvmProcess> {
        let directory = directory(&self.root, pid.to_string()).ok()?;
        let stat = Stat::read(&directory).ok()?;
        if !self.enter(pid, stat.start_ticks) {
            return None;
        }
        let scan = self.scan;
        let known = self.records.get_mut(&pid).filter(|record| record.is_of(&stat));
        if stat.is_dead() {
            // A process whose first thread has ended while others run looks the same as a dead process.
            let record = known?;
            let jvm_process = record.jvm_process.clone().filter(|jvm_process| jvm_process.process.is_alive())?;
            record.scan = scan;
            return Some(jvm_process);
        }
        if let Some(record) = known.filter(|record| record.is_current(&stat, now, named)) {
            record.scan = scan;
            return record.jvm_process.clone();
        }
        let jvm_process = self.examine(pid, directory, &stat, named);
        let age = now.saturating_sub(stat.start_ticks);
        // What a starting JVM is changes within milliseconds.
        let is_starting = jvm_process.is_some() && age < STARTING.saturating_mul(USER_HZ);
        let record = ProcessRecord {
            start_ticks: stat.start_ticks,
            name: stat.name,
            due: now.saturating_add(if is_starting { 0 } else { age.min(LONGEST_DELAY.saturating_mul(USER_HZ)) }),
            jvm_process: jvm_process.clone(),
            scan,
        };
        self.records.insert(pid, record);
        jvm_process
    }

    /// Reads a process's map again; it may run another program by now, under the same number and name. `None` if it has
    /// ended or is no JVM.
    pub(super) fn reread_map(&mut self, process: &Process) -> Option<Evidence> {
        let evidence = evidence(process.directory(), process.name.as_bytes(), process.age() < STARTING)
            .filter(|_| process.is_alive())?;
        let jvm_process = self.records.get_mut(&process.pid)?.jvm_process.as_mut()?;
        jvm_process.evidence = evidence.clone();
        Some(evidence)
    }

    fn examine(&mut self, pid: i32, directory: OwnedFd, stat: &Stat, named: bool) -> Option<JvmProcess> {
        if stat.flags & KERNEL_THREAD != 0 {
            return None;
        }
        let is_young = ticks_since_boot().saturating_sub(stat.start_ticks) < STARTING.saturating_mul(USER_HZ);
        let evidence = evidence(&directory, &stat.name, is_young)
            .filter(|evidence| *evidence != Evidence::Hidden || named || *stat.name == *b"java")?;
        let status = Status::read(&directory).ok()?;
        let known = self.records.remove(&pid).filter(|record| record.is_of(stat)).and_then(|record| record.jvm_process);
        let known = known
            .map(|jvm_process| jvm_process.process)
            .filter(|process| process.uid == status.uid && process.gid == status.gid);
        let process = known.unwrap_or_else(|| Arc::new(Process::new(pid, directory, stat, &status, self.own_numbers)));
        Some(JvmProcess { process, evidence })
    }
}

/// `None` for a process that is no JVM and does not claim to be one, or is gone.
///
/// A native program that embeds a JVM may fork. The child has the maps and the private memory of its parent and none of
/// its threads: HotSpot names the file by its own number, and never runs without its VM Thread.
fn evidence(directory: &OwnedFd, name: &[u8], is_young: bool) -> Option<Evidence> {
    match Mappings::read(directory) {
        Ok(Mappings { region: Some(region), .. }) => {
            let own = Status::read(directory).ok()?.vpid;
            let number = region.path.file_name().and_then(vpid_of);
            let inherited = own.is_some() && own != number;
            Some(if inherited { Evidence::Fork(region) } else { Evidence::Jvm(Some(region)) })
        }
        Ok(maps) if maps.is_hotspot() && has_thread(directory, b"VM Thread") => Some(Evidence::Jvm(None)),
        Ok(maps) if maps.is_hotspot() && !is_young => None,
        Ok(maps) => (maps.openj9 || name == b"java").then_some(Evidence::NotHotspot),
        Err(Errno::ACCESS | Errno::PERM) => Some(Evidence::Hidden),
        Err(_) => None,
    }
}

/// Whether the process has a thread of that name. True where that cannot be seen.
fn has_thread(process: &OwnedFd, name: &[u8]) -> bool {
    let Ok(tasks) = directory(process, "task") else { return true };
    let Ok((threads, more)) = names(&tasks, THREADS, |name| vpid_of(name).is_some()) else { return true };
    let has_name = |thread: &OsStr| {
        read(&tasks, Path::new(thread).join("comm"), name.len().saturating_add(1))
            .is_ok_and(|comm| comm.strip_suffix(b"\n") == Some(name))
    };
    more || threads.iter().any(|thread| has_name(thread))
}
