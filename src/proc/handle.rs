//! A process that runs, or seems to run, a JVM.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::cgroup_path::CgroupPaths;
use super::stat::{Stat, Status, USER_HZ, directory};

/// Most threads that are searched for one of a name. HotSpot starts its own first.
const THREADS_MAXIMUM: usize = 1024;

/// A process visible in /proc. Its identity is `pid` and `start_ticks` together.
#[derive(Debug)]
pub struct Process {
    /// Its number in the proc file system that was read.
    pub pid: i32,
    /// Its number in its own, innermost pid namespace, which is the name of its region file.
    pub vpid: i32,
    /// Start in clock ticks since boot (proc(5), `starttime`).
    pub start_ticks: u64,
    /// Start on the wall clock, to a clock tick (10 ms). It follows from `CLOCK_BOOTTIME` and not from `btime` of
    /// /proc/stat, which hardened units hide and which is rounded to a second.
    pub start_time: SystemTime,
    /// Effective user id in the exporter's user namespace.
    pub uid: u32,
    /// Effective group id in the exporter's user namespace.
    pub gid: u32,
    /// The command name, at most 15 bytes: `java` for a JVM started by the launcher.
    pub name: String,
    /// The systemd service whose main process this is: `orders` of `/system.slice/orders.service`. A child of that
    /// process has none.
    pub unit: Option<String>,
    /// The container's id, 64 hexadecimal digits.
    pub container_id: Option<String>,
    /// The uid of its Kubernetes pod.
    pub pod_uid: Option<String>,
    /// Its cgroup lies beside that of the exporter's container: it is in the exporter's own pod.
    pub(crate) is_beside: bool,
    /// `/proc/PID` of this very process, opened with `O_PATH`.
    directory: OwnedFd,
    /// Readable once the process has exited.
    pidfd: Option<OwnedFd>,
}

impl Process {
    /// A process from its `/proc/PID` directory and what was read there. `own_numbers` says that the proc file system
    /// numbers processes as the exporter's pid namespace does, which a pidfd takes.
    pub(crate) fn new(pid: i32, directory: OwnedFd, stat: &Stat, status: &Status, own_numbers: bool) -> Self {
        let groups = CgroupPaths::read(&directory).unwrap_or_default();
        // A pidfd is opened by number. It belongs to this process if the directory still answers afterwards.
        let pidfd = own_numbers.then(|| pidfd(pid)).flatten().filter(|_| Stat::read(&directory).is_ok());
        Self {
            pid,
            vpid: status.vpid.unwrap_or(pid),
            start_ticks: stat.start_ticks,
            start_time: wall_clock(stat.start_ticks),
            uid: status.uid,
            gid: status.gid,
            name: String::from_utf8_lossy(&stat.name).into_owned(),
            unit: groups.unit().filter(|_| stat.parent == 1),
            container_id: groups.container_id(),
            pod_uid: groups.pod_uid(),
            is_beside: groups.is_beside(),
            directory,
            pidfd,
        }
    }

    /// The process of that pid in the proc file system mounted at `procfs`, which may be that of another pid namespace.
    ///
    /// # Errors
    /// There is no such process, or it has ended.
    pub fn open(procfs: &Path, pid: i32) -> io::Result<Self> {
        let directory = directory(CWD, procfs.join(pid.to_string()))?;
        let (stat, status) = (Stat::read(&directory)?, Status::read(&directory)?);
        Ok(Self::new(pid, directory, &stat, &status, false))
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        match &self.pidfd {
            Some(pidfd) => {
                let mut wait = [PollFd::new(pidfd, PollFlags::IN)];
                poll(&mut wait, Some(&Timespec::default())) == Ok(0)
            }
            None => {
                Stat::read(&self.directory).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
            }
        }
    }

    /// Seconds since it started.
    pub(crate) fn age(&self) -> u64 {
        ticks_since_boot().saturating_sub(self.start_ticks).wrapping_div(USER_HZ)
    }

    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(OwnedFd::as_fd)
    }

    /// Its directory in the proc file system, opened with `O_PATH`. It names this process for ever: once the process is
    /// gone, every read beneath it fails.
    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// The start of its first thread of that name, in clock ticks since boot.
    pub(crate) fn thread_start(&self, name: &[u8]) -> Option<u64> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tasks = openat(&self.directory, "task", flags, Mode::empty()).ok()?;
        Dir::read_from(&tasks).ok()?.take(THREADS_MAXIMUM).find_map(|entry| {
            let task = directory(&tasks, entry.ok()?.file_name()).ok()?;
            Stat::read(task).ok().filter(|stat| *stat.name == *name).map(|stat| stat.start_ticks)
        })
    }

    /// Its root directory, opened with `O_PATH`. `root` is a magic link, and the only link that is followed.
    ///
    /// # Errors
    /// `EACCES` or `EPERM` where the exporter may not examine the process, `ENOENT` or `ESRCH` once it has ended.
    pub(crate) fn root(&self) -> Result<OwnedFd, Errno> {
        directory(&self.directory, "root")
    }

    /// The `/tmp` of its root, for a JVM without a region file by which a directory could be known.
    ///
    /// # Errors
    /// As for [`Self::root`], and for a `/tmp` that is a link or no directory.
    pub(crate) fn tmp(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(self.root()?, "tmp", flags, Mode::empty())?)
    }
}

/// Clock ticks since boot, suspended time included.
pub(crate) fn ticks_since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let fraction = u64::try_from(now.tv_nsec).unwrap_or_default().saturating_mul(USER_HZ).wrapping_div(1_000_000_000);
    seconds.saturating_mul(USER_HZ).saturating_add(fraction)
}

/// The wall clock's time of a moment in clock ticks since boot.
pub(crate) fn wall_clock(ticks: u64) -> SystemTime {
    let uptime = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    let since_boot = Duration::from_millis(ticks.saturating_mul(1000).wrapping_div(USER_HZ));
    SystemTime::now().checked_sub(uptime.saturating_sub(since_boot)).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Which of these processes have exited, with a single poll(2) over those that have a pidfd.
pub fn exited(processes: &[&Process]) -> Vec<bool> {
    let mut waits: Vec<PollFd<'_>> = processes
        .iter()
        .filter_map(|process| process.pidfd())
        .map(|pidfd| PollFd::from_borrowed_fd(pidfd, PollFlags::IN))
        .collect();
    let answered = poll(&mut waits, Some(&Timespec::default())).is_ok();
    let mut waits = waits.iter();
    processes
        .iter()
        .map(|process| match process.pidfd().and_then(|_| waits.next()) {
            Some(wait) if answered => !wait.revents().is_empty(),
            _ => !process.is_alive(),
        })
        .collect()
}

/// A descriptor that becomes readable when the process exits. `None` before Linux 5.3 or under a seccomp filter.
fn pidfd(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}
