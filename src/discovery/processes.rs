//! Which processes of a proc file system are JVMs.
//!
//! Every file of a process is read beneath a handle of its `/proc/PID` directory, which the kernel ties to that very
//! process: once it is gone, reads fail, even if its number belongs to another process by then. A process that vanishes
//! during a scan is not reported.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat, readlinkat_raw};
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
/// A process that was no JVM may execute another program at any time. Whether it has is asked again when its age has grown
/// by this part, or after so many seconds: what has been something else for an hour is seldom a JVM within the next minute,
/// and a region file with its number has it examined at once.
const PROGRAM_SHARE: u64 = 16;
const PROGRAM_DELAY: u64 = 60;
/// Longest path of a program that is compared.
const PROGRAM_MAXIMUM: usize = 4096;
/// Bytes of the list of processes that one call takes.
const LISTING: usize = 64 << 10;
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

/// A process as the list of the proc file system has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ListedProcess {
    pid: i32,
    /// Of its directory. The kernel makes a directory for one process, and numbers all of them one after the other, so the
    /// same number means the same process; a directory that it had forgotten gets another number.
    inode: u64,
}

/// What earlier scans found out about one process.
#[derive(Debug)]
struct ProcessRecord {
    start_ticks: u64,
    /// See [`ListedProcess::inode`].
    inode: u64,
    /// The path of its program, which changes with exec; `None` for one without, and for one that may not be seen.
    program: Option<Box<[u8]>>,
    /// When its program is looked at again, in clock ticks since boot.
    program_due: u64,
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

    /// Whether its result still holds at the time `now` for the same program: a region that was found is not searched for
    /// again, and everything else has a date.
    fn is_current(&self, now: u64, named: bool) -> bool {
        let has_region = matches!(&self.jvm_process, Some(JvmProcess { evidence: Evidence::Jvm(Some(_)), .. }));
        has_region || (now < self.due && !(named && self.jvm_process.is_none()))
    }

    /// Notes that the program was looked at, and when it is next.
    fn looked_at(&mut self, now: u64) {
        let age = now.saturating_sub(self.start_ticks);
        let delay = age.wrapping_div(PROGRAM_SHARE).min(PROGRAM_DELAY.saturating_mul(USER_HZ));
        self.program_due = now.saturating_add(if self.jvm_process.is_none() { delay } else { 0 });
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
        for listed in self.list()? {
            jvm_processes.extend(self.scan_process(listed, named.contains(&listed.pid), now));
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
        let Ok(listing) = self.list() else { return false };
        let now = ticks_since_boot();
        let is_young = |record: &ProcessRecord| now.saturating_sub(record.start_ticks) < YOUNG.saturating_mul(USER_HZ);
        let (mut found, mut quiet) = (false, true);
        for listed in listing {
            let record = self.records.get(&listed.pid);
            if record.is_none_or(|record| record.jvm_process.is_none() && is_young(record)) {
                found |= self.scan_process(listed, false, now).is_some();
                quiet &= self.records.get(&listed.pid).is_none_or(|record| !is_young(record));
            }
        }
        self.quiet = last.filter(|_| quiet);
        found
    }

    /// The processes but the exporter itself.
    fn list(&self) -> Result<Vec<ListedProcess>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut buffer = vec![MaybeUninit::uninit(); LISTING];
        let mut entries = RawDir::new(openat(&self.root, ".", flags, Mode::empty())?, &mut buffer);
        let mut listing = Vec::with_capacity(self.records.len());
        while let Some(entry) = entries.next().filter(|_| listing.len() < PROCESSES) {
            let entry = entry?;
            let pid = vpid_of(OsStr::from_bytes(entry.file_name().to_bytes())).filter(|pid| Some(*pid) != self.own_pid);
            listing.extend(pid.map(|pid| ListedProcess { pid, inode: entry.ino() }));
        }
        Ok(listing)
    }

    fn scan_process(&mut self, listed: ListedProcess, named: bool, now: u64) -> Option<JvmProcess> {
        if let Some(record) = self.recall(listed, named, now) {
            return record.jvm_process.clone();
        }
        let pid = listed.pid;
        let program = self.program(pid);
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
        let is_same = |record: &&mut ProcessRecord| record.name == stat.name && record.program == program;
        if let Some(record) = known.filter(is_same).filter(|record| record.is_current(now, named)) {
            (record.scan, record.inode) = (scan, listed.inode);
            record.looked_at(now);
            return record.jvm_process.clone();
        }
        let jvm_process = self.examine(pid, directory, &stat, named);
        let age = now.saturating_sub(stat.start_ticks);
        // What a starting JVM is changes within milliseconds.
        let is_starting = jvm_process.is_some() && age < STARTING.saturating_mul(USER_HZ);
        let mut record = ProcessRecord {
            start_ticks: stat.start_ticks,
            inode: listed.inode,
            program,
            program_due: 0,
            name: stat.name,
            due: now.saturating_add(if is_starting { 0 } else { age.min(LONGEST_DELAY.saturating_mul(USER_HZ)) }),
            jvm_process: jvm_process.clone(),
            scan,
        };
        record.looked_at(now);
        self.records.insert(pid, record);
        jvm_process
    }

    /// What an earlier scan found, if that holds by what the list says, and by the program where that is due: with one
    /// system call at most.
    fn recall(&mut self, listed: ListedProcess, named: bool, now: u64) -> Option<&ProcessRecord> {
        let record = self.records.get(&listed.pid)?;
        if record.inode != listed.inode || !record.is_current(now, named) {
            return None;
        }
        let is_due = now >= record.program_due;
        if is_due && (record.program.is_none() || self.program(listed.pid) != record.program) {
            return None;
        }
        let start_ticks = record.start_ticks;
        if !self.enter(listed.pid, start_ticks) {
            return None;
        }
        let record = self.records.get_mut(&listed.pid)?;
        record.scan = self.scan;
        if is_due {
            record.looked_at(now);
        }
        Some(record)
    }

    /// The path of a process's program, without a look at the file; `None` for a process that has none or has ended, and
    /// for one that may not be examined.
    fn program(&self, pid: i32) -> Option<Box<[u8]>> {
        let mut buffer = [MaybeUninit::uninit(); PROGRAM_MAXIMUM];
        let (path, rest) = readlinkat_raw(&self.root, format!("{pid}/exe"), &mut buffer).ok()?;
        (!rest.is_empty()).then(|| (&*path).into())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

    use std::fs;
    use std::io::Write;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// A shell that executes another program when its input says so.
    struct Shell(Child);

    impl Shell {
        fn start() -> Self {
            let mut command = Command::new("sh");
            Self(command.args(["-c", "read line; exec sleep 600"]).stdin(Stdio::piped()).spawn().unwrap())
        }

        fn pid(&self) -> i32 {
            i32::try_from(self.0.id()).unwrap()
        }

        fn program(&self) -> PathBuf {
            fs::read_link(format!("/proc/{}/exe", self.pid())).unwrap()
        }

        fn wait_for(&self, is_it: impl Fn(&Path) -> bool) {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !is_it(&self.program()) {
                assert!(Instant::now() < deadline, "the program is {}", self.program().display());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_recalled_until_it_executes_another_program() {
        let own = fs::read_link("/proc/self/exe").unwrap();
        let mut shell = Shell::start();
        shell.wait_for(|program| program != own);
        let first = shell.program();
        let pid = shell.pid();
        let mut scanner = ProcessScanner::new(Path::new("/proc"), Arc::default()).unwrap();
        let listing = scanner.list().unwrap();
        assert!(listing.iter().all(|listed| Some(listed.pid) != scanner.own_pid));
        let listed = *listing.iter().find(|listed| listed.pid == pid).unwrap();
        let now = ticks_since_boot();
        assert!(scanner.recall(listed, false, now).is_none(), "nothing is known of it");
        assert!(scanner.scan_process(listed, false, now).is_none(), "it is no JVM");
        let record = scanner.records.get_mut(&pid).unwrap();
        (record.due, record.program_due) = (u64::MAX, u64::MAX);
        assert!(scanner.recall(listed, false, now).is_some());
        assert!(scanner.recall(listed, true, now).is_none(), "a region file has its number");
        let other = ListedProcess { inode: listed.inode.wrapping_add(1), ..listed };
        assert!(scanner.recall(other, false, now).is_none(), "another process of that number");

        shell.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        shell.wait_for(|program| program != first);
        assert!(scanner.recall(listed, false, now).is_some(), "its program is not looked at yet");
        scanner.records.get_mut(&pid).unwrap().program_due = now;
        assert!(scanner.recall(listed, false, now).is_none());
        assert!(scanner.scan_process(listed, false, now).is_none());
        let record = scanner.records.get(&pid).unwrap();
        let program = shell.program();
        assert_eq!(record.program.as_deref(), Some(program.as_os_str().as_bytes()));
    }

    #[test]
    fn an_old_process_is_asked_for_its_program_once_a_minute() {
        let mut record = ProcessRecord {
            start_ticks: 0,
            inode: 7,
            program: None,
            program_due: 0,
            name: Box::default(),
            due: 0,
            jvm_process: None,
            scan: 0,
        };
        for (age, delay) in [(0, 0), (64, 4), (640, 40), (960, 60), (1_000_000, 60)] {
            record.looked_at(age * USER_HZ);
            assert_eq!(record.program_due, (age + delay) * USER_HZ, "{age} s old");
        }
    }
}
