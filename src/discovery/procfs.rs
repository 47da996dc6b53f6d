//! The proc file system: which processes are JVMs.
//!
//! Every file of a process is read beneath a handle of its `/proc/PID` directory, which the kernel ties to that very
//! process: once it is gone reads fail, whoever has its number then. A process that vanishes is no news.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open, openat, readlinkat};
use rustix::io::Errno;

use super::open::names;
use crate::perfdata::name::vpid_of;
use crate::proc::handle::{Process, ticks_since_boot};
use crate::proc::maps::{Mapped, Mappings};
use crate::proc::stat::{HERTZ, Stat, Status, directory};

/// Processes looked at in one scan; `kernel.pid_max` can be higher, real machines are not.
const PROCESSES: usize = 1 << 17;
/// A process that was no JVM at the age of n is looked at again at the age of 2n, or after this many seconds.
const LONGEST_REST: u64 = 600;
/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process of interest.
#[derive(Clone, Debug)]
pub(super) struct JvmProcess {
    pub(super) process: Arc<Process>,
    pub(super) evidence: Evidence,
}

/// What a process's memory map says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// FileMode to the map is denied.
    Hidden,
    /// HotSpot, or a native image of GraalVM, with its region if that is in shared memory.
    Jvm(Option<Mapped>),
    /// Called `java`, but without HotSpot.
    NotHotspot,
}

/// A mounted proc file system and what earlier scans learnt from it.
#[derive(Debug)]
pub(super) struct Procfs {
    root: OwnedFd,
    path: PathBuf,
    /// Its numbers are this process's own, so that a pidfd can be opened by them.
    own_numbers: bool,
    own_pid: Option<i32>,
    entries: HashMap<i32, KnownProcess>,
    scan: u64,
}

/// Memory of one process.
#[derive(Debug)]
struct KnownProcess {
    start_ticks: u64,
    /// Changes with exec.
    name: Box<[u8]>,
    /// Clock ticks since boot.
    look_again: u64,
    jvm_process: Option<JvmProcess>,
    scan: u64,
}

impl KnownProcess {
    /// Whether it remembers that very process. Within one clock tick a pid may come to another, and only the process
    /// itself tells then.
    fn is_of(&self, stat: &Stat) -> bool {
        let replaced = || self.jvm_process.as_ref().is_some_and(|jvm_process| !jvm_process.process.is_alive());
        self.start_ticks == stat.start_ticks && (stat.is_dead() || !replaced())
    }
}

impl Procfs {
    pub(super) fn new(path: &Path) -> Result<Self, Errno> {
        let root = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let own_pid = readlinkat(&root, "self", Vec::new()).ok().and_then(|link| link.to_str().ok()?.parse().ok());
        let own_numbers =
            directory(&root, "self").and_then(|own| Status::read(&own)).is_ok_and(|status| status.levels == 1)
                && own_pid == i32::try_from(std::process::id()).ok();
        Ok(Self { root, path: path.to_owned(), own_numbers, own_pid, entries: HashMap::new(), scan: 0 })
    }

    /// Mount point.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its root directory.
    pub(super) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// The process of that number, if the last scan saw a JVM in it.
    pub(super) fn jvm(&self, pid: i32) -> Option<Arc<Process>> {
        let jvm_process = self.entries.get(&pid)?.jvm_process.as_ref()?;
        matches!(jvm_process.evidence, Evidence::Jvm(_)).then(|| Arc::clone(&jvm_process.process))
    }

    /// Whether process numbers here are those of this process's own pid namespace.
    pub(super) fn own_numbers(&self) -> bool {
        self.own_numbers
    }

    /// Every process that is or claims to be a JVM. Processes whose number is in `named`, the names of region files,
    /// are looked at even if they were none before.
    pub(super) fn scan(&mut self, named: &HashSet<i32>) -> Result<Vec<JvmProcess>, Errno> {
        self.scan = self.scan.wrapping_add(1);
        let now = ticks_since_boot();
        let mut jvm_processes = Vec::new();
        for name in names(&self.root, PROCESSES, |name| vpid_of(name).is_some())?.0 {
            let Some(pid) = vpid_of(&name).filter(|pid| Some(*pid) != self.own_pid) else { continue };
            jvm_processes.extend(self.visit(pid, named.contains(&pid), now));
        }
        let scan = self.scan;
        self.entries.retain(|_, entry| entry.scan == scan);
        Ok(jvm_processes)
    }

    fn visit(&mut self, pid: i32, named: bool, now: u64) -> Option<JvmProcess> {
        let directory = directory(&self.root, &pid.to_string()).ok()?;
        let stat = Stat::read(&directory).ok()?;
        let known = self.entries.get_mut(&pid).filter(|entry| entry.is_of(&stat));
        if stat.is_dead() {
            // The first thread of a process that lives on through others looks the same as a dead process.
            let jvm_process =
                known.as_ref()?.jvm_process.clone().filter(|jvm_process| jvm_process.process.is_alive())?;
            known?.scan = self.scan;
            return Some(jvm_process);
        }
        if let Some(entry) = known {
            let settled = matches!(&entry.jvm_process, Some(JvmProcess { evidence: Evidence::Jvm(Some(_)), .. }));
            let same = entry.name == stat.name;
            if same && (settled || (now < entry.look_again && !(named && entry.jvm_process.is_none()))) {
                entry.scan = self.scan;
                return entry.jvm_process.clone();
            }
        }
        let jvm_process = self.look(pid, directory, &stat, named);
        let age = now.saturating_sub(stat.start_ticks);
        let longest = LONGEST_REST.saturating_mul(HERTZ);
        let entry = KnownProcess {
            start_ticks: stat.start_ticks,
            name: stat.name,
            look_again: now.saturating_add(age.min(longest)),
            jvm_process: jvm_process.clone(),
            scan: self.scan,
        };
        self.entries.insert(pid, entry);
        jvm_process
    }

    /// Reads a process's map anew; it may have become another program under the same number and name.
    pub(super) fn look_again(&mut self, process: &Process) -> Option<Evidence> {
        let directory = self.directory(process).ok()?;
        let evidence = evidence(&directory, process.name.as_bytes())?;
        let jvm_process = self.entries.get_mut(&process.pid)?.jvm_process.as_mut()?;
        jvm_process.evidence = evidence.clone();
        Some(evidence)
    }

    /// The `/proc/PID` directory of that very process.
    pub(super) fn directory(&self, process: &Process) -> Result<OwnedFd, Errno> {
        let directory = directory(&self.root, &process.pid.to_string())?;
        let same = Stat::read(&directory)?.start_ticks == process.start_ticks && process.is_alive();
        if same { Ok(directory) } else { Err(Errno::SRCH) }
    }

    fn look(&mut self, pid: i32, directory: OwnedFd, stat: &Stat, named: bool) -> Option<JvmProcess> {
        if stat.flags & KERNEL_THREAD != 0 {
            return None;
        }
        let evidence = evidence(&directory, &stat.name)
            .filter(|evidence| *evidence != Evidence::Hidden || named || *stat.name == *b"java")?;
        let status = Status::read(&directory).ok()?;
        let known = self.entries.remove(&pid).filter(|entry| entry.is_of(stat)).and_then(|entry| entry.jvm_process);
        let known = known
            .map(|jvm_process| jvm_process.process)
            .filter(|process| process.uid == status.uid && process.gid == status.gid);
        let process = known.unwrap_or_else(|| Arc::new(Process::new(pid, directory, stat, &status, self.own_numbers)));
        Some(JvmProcess { process, evidence })
    }
}

/// `None` for a process that is no JVM and does not claim to be one, or is gone.
fn evidence(directory: &OwnedFd, name: &[u8]) -> Option<Evidence> {
    let maps = openat(directory, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| errno.kind())
        .and_then(|maps| Mappings::read(File::from(maps)).map_err(|error| error.kind()));
    match maps {
        Ok(Mappings { region: Some(region), .. }) => Some(Evidence::Jvm(Some(region))),
        Ok(maps) if maps.is_hotspot() => Some(Evidence::Jvm(None)),
        Ok(maps) => (maps.openj9 || name == b"java").then_some(Evidence::NotHotspot),
        Err(std::io::ErrorKind::PermissionDenied) => Some(Evidence::Hidden),
        Err(_) => None,
    }
}
