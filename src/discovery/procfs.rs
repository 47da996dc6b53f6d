//! The proc file system: which processes are JVMs.
//!
//! Every file of a process is read beneath a handle of its `/proc/PID` directory, which the kernel ties to that very
//! process: once it is gone reads fail, whoever has its number then. A process that vanishes is no news.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open, openat, readlinkat};
use rustix::io::Errno;

use super::maps::{Mapped, Mappings};
use super::open::{names, vpid_of};
use super::process::{HERTZ, Process, ticks_since_boot};

/// Bytes of a small file that are read.
const SMALL: u64 = 1 << 16;
/// Processes looked at in one scan; `kernel.pid_max` can be higher, real machines are not.
const PROCESSES: usize = 1 << 17;
/// A process that was no JVM at the age of n is looked at again at the age of 2n, or after this many seconds.
const LONGEST_REST: u64 = 600;
/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A process of interest.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) process: Arc<Process>,
    pub(super) evidence: Evidence,
}

/// What a process's memory map says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Access to the map is denied.
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
    entries: HashMap<i32, Entry>,
    scan: u64,
}

/// Memory of one process.
#[derive(Debug)]
struct Entry {
    start_ticks: u64,
    /// Changes with exec.
    name: Box<[u8]>,
    /// Clock ticks since boot.
    look_again: u64,
    sighting: Option<Sighting>,
    scan: u64,
}

impl Entry {
    /// Whether it remembers that very process. Within one clock tick a pid may come to another, and only the process
    /// itself tells then.
    fn is_of(&self, stat: &Stat) -> bool {
        let replaced = || self.sighting.as_ref().is_some_and(|sighting| !sighting.process.is_alive());
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
        let sighting = self.entries.get(&pid)?.sighting.as_ref()?;
        matches!(sighting.evidence, Evidence::Jvm(_)).then(|| Arc::clone(&sighting.process))
    }

    /// Whether process numbers here are those of this process's own pid namespace.
    pub(super) fn own_numbers(&self) -> bool {
        self.own_numbers
    }

    /// Every process that is or claims to be a JVM. Processes whose number is in `named`, the names of region files,
    /// are looked at even if they were none before.
    pub(super) fn scan(&mut self, named: &HashSet<i32>) -> Result<Vec<Sighting>, Errno> {
        self.scan = self.scan.wrapping_add(1);
        let now = ticks_since_boot();
        let mut sightings = Vec::new();
        for name in names(&self.root, PROCESSES, |name| vpid_of(name).is_some())?.0 {
            let Some(pid) = vpid_of(&name).filter(|pid| Some(*pid) != self.own_pid) else { continue };
            sightings.extend(self.visit(pid, named.contains(&pid), now));
        }
        let scan = self.scan;
        self.entries.retain(|_, entry| entry.scan == scan);
        Ok(sightings)
    }

    fn visit(&mut self, pid: i32, named: bool, now: u64) -> Option<Sighting> {
        let directory = directory(&self.root, &pid.to_string()).ok()?;
        let stat = Stat::read(&directory).ok()?;
        let known = self.entries.get_mut(&pid).filter(|entry| entry.is_of(&stat));
        if stat.is_dead() {
            // The first thread of a process that lives on through others looks the same as a dead process.
            let sighting = known.as_ref()?.sighting.clone().filter(|sighting| sighting.process.is_alive())?;
            known?.scan = self.scan;
            return Some(sighting);
        }
        if let Some(entry) = known {
            let settled = matches!(&entry.sighting, Some(Sighting { evidence: Evidence::Jvm(Some(_)), .. }));
            let same = entry.name == stat.name;
            if same && (settled || (now < entry.look_again && !(named && entry.sighting.is_none()))) {
                entry.scan = self.scan;
                return entry.sighting.clone();
            }
        }
        let sighting = self.look(pid, directory, &stat, named);
        let age = now.saturating_sub(stat.start_ticks);
        let longest = LONGEST_REST.saturating_mul(HERTZ);
        let entry = Entry {
            start_ticks: stat.start_ticks,
            name: stat.name,
            look_again: now.saturating_add(age.min(longest)),
            sighting: sighting.clone(),
            scan: self.scan,
        };
        self.entries.insert(pid, entry);
        sighting
    }

    /// Reads a process's map anew; it may have become another program under the same number and name.
    pub(super) fn look_again(&mut self, process: &Process) -> Option<Evidence> {
        let directory = self.directory(process).ok()?;
        let evidence = evidence(&directory, process.name.as_bytes())?;
        let sighting = self.entries.get_mut(&process.pid)?.sighting.as_mut()?;
        sighting.evidence = evidence.clone();
        Some(evidence)
    }

    /// The `/proc/PID` directory of that very process.
    pub(super) fn directory(&self, process: &Process) -> Result<OwnedFd, Errno> {
        let directory = directory(&self.root, &process.pid.to_string())?;
        let same = Stat::read(&directory)?.start_ticks == process.start_ticks && process.is_alive();
        if same { Ok(directory) } else { Err(Errno::SRCH) }
    }

    fn look(&mut self, pid: i32, directory: OwnedFd, stat: &Stat, named: bool) -> Option<Sighting> {
        if stat.flags & KERNEL_THREAD != 0 {
            return None;
        }
        let evidence = evidence(&directory, &stat.name)
            .filter(|evidence| *evidence != Evidence::Hidden || named || *stat.name == *b"java")?;
        let status = Status::read(&directory).ok()?;
        let known = self.entries.remove(&pid).filter(|entry| entry.is_of(stat)).and_then(|entry| entry.sighting);
        let known = known
            .map(|sighting| sighting.process)
            .filter(|process| process.uid == status.uid && process.gid == status.gid);
        let process = known.unwrap_or_else(|| Arc::new(Process::new(pid, directory, stat, &status, self.own_numbers)));
        Some(Sighting { process, evidence })
    }
}

/// `None` for a process that is no JVM and does not claim to be one, or is gone.
fn evidence(directory: &OwnedFd, name: &[u8]) -> Option<Evidence> {
    let maps = openat(directory, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| errno.kind())
        .and_then(|maps| Mappings::read(File::from(maps)).map_err(|error| error.kind()));
    match maps {
        Ok(Mappings { region: Some(region), .. }) => Some(Evidence::Jvm(Some(region))),
        Ok(maps) if maps.library.is_some() && !maps.openj9 => Some(Evidence::Jvm(None)),
        Ok(maps) => (maps.openj9 || name == b"java").then_some(Evidence::NotHotspot),
        Err(std::io::ErrorKind::PermissionDenied) => Some(Evidence::Hidden),
        Err(_) => None,
    }
}

fn directory(root: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    openat(root, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Reads a file beneath a handle, up to `limit` bytes.
pub(super) fn bytes(directory: impl AsFd, name: &str, limit: u64) -> Result<Vec<u8>, Errno> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = Vec::new();
    match File::from(file).take(limit).read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// A small file as text; empty when it cannot be read.
pub(super) fn text(directory: impl AsFd, name: &str) -> String {
    String::from_utf8_lossy(&bytes(directory, name, SMALL).unwrap_or_default()).into_owned()
}

/// What is needed of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) name: Box<[u8]>,
    pub(super) state: u8,
    pub(super) parent: i32,
    pub(super) flags: u64,
    pub(super) start_ticks: u64,
}

impl Stat {
    pub(super) fn read(directory: &OwnedFd) -> Result<Self, Errno> {
        Self::parse(&bytes(directory, "stat", SMALL)?).ok_or(Errno::IO)
    }

    /// The name stands between the first and the *last* parenthesis, since it may hold any byte.
    fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let name = text.get(open.checked_add(1)?..close)?;
        let mut fields = std::str::from_utf8(text.get(close.checked_add(1)?..)?).ok()?.split_ascii_whitespace();
        Some(Self {
            name: name.into(),
            state: *fields.next()?.as_bytes().first()?,
            parent: fields.next()?.parse().ok()?,
            flags: fields.nth(4)?.parse().ok()?,
            start_ticks: fields.nth(12)?.parse().ok()?,
        })
    }

    /// A zombie, or dead.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// What is needed of `/proc/PID/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The number in the innermost pid namespace; absent before Linux 4.1.
    pub(super) vpid: Option<i32>,
    /// Pid namespaces from the proc file system's own to the process's.
    pub(super) levels: usize,
}

impl Status {
    pub(super) fn read(directory: &OwnedFd) -> Result<Self, Errno> {
        Self::parse(&String::from_utf8_lossy(&bytes(directory, "status", SMALL)?)).ok_or(Errno::IO)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name is the first line, and the kernel escapes line ends in it.
        let line = |key: &str| text.lines().skip(1).find_map(|line| line.strip_prefix(key));
        let effective = |key| line(key)?.split_ascii_whitespace().nth(1)?.parse().ok();
        let numbers = line("NSpid:").map(str::split_ascii_whitespace);
        Some(Self {
            uid: effective("Uid:")?,
            gid: effective("Gid:")?,
            vpid: numbers.clone().and_then(Iterator::last).and_then(|number| number.parse().ok()),
            levels: numbers.map_or(1, Iterator::count),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let tail = "S 7 1 1 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 123456 1000 5 1844";
        for name in ["java", "a) S 1 (b", "x\ny z", ") R 9 9", "(", ""] {
            let stat = Stat::parse(format!("42 ({name}) {tail}\n").as_bytes());
            let expected =
                Stat { name: name.as_bytes().into(), state: b'S', parent: 7, flags: 4_194_560, start_ticks: 123_456 };
            assert_eq!(stat, Some(expected), "{name:?}");
        }
    }

    #[test]
    fn short_or_odd_text_is_no_process() {
        for text in ["", "42", "42 (java", "42 java) S", "42 (java) S 1 1 1", "42 )java( S 1 1 1 1 1 1"] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text}");
        }
        for text in ["", "Name:\tjava", "Name:\tjava\nUid:\t1\nGid:\t1 1", "Uid:\t1 2 3 4\nGid:\t1 2 3 4"] {
            assert_eq!(Status::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_innermost_number_names_the_file() {
        let text = "Name:\tNSpid:\\n9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t4711\t12\t1\n";
        assert_eq!(Status::parse(text), Some(Status { uid: 2, gid: 6, vpid: Some(1), levels: 3 }));
        let old = "Name:\tjava\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n";
        assert_eq!(Status::parse(old), Some(Status { uid: 2, gid: 6, vpid: None, levels: 1 }));
    }
}
