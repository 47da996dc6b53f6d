//! A process that runs, or seems to run, a JVM.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::cgroup_path;
use super::stat::{HERTZ, STATUS_MAXIMUM, Stat, Status, directory, read_text};

/// A process visible in /proc. Its identity is `pid` and `start_ticks` together.
#[derive(Debug)]
pub struct Process {
    /// As numbered in the proc file system that was read.
    pub pid: i32,
    /// As numbered in its own, innermost pid namespace: the name of its region file.
    pub vpid: i32,
    /// Start in clock ticks since boot (proc(5), `starttime`).
    pub start_ticks: u64,
    /// Effective user id, as the exporter's user namespace numbers it.
    pub uid: u32,
    /// Effective group id, likewise.
    pub gid: u32,
    /// The command name, at most 15 bytes, `java` for a JVM started by the launcher.
    pub name: String,
    pub(crate) parent: i32,
    started: SystemTime,
    unit: Option<String>,
    container: Option<String>,
    pod: Option<String>,
    /// `/proc/PID` of this very process, opened with `O_PATH`: once the process is gone, it is empty.
    directory: OwnedFd,
    /// Readable once the process has exited.
    pidfd: Option<OwnedFd>,
}

impl Process {
    /// A process from its `/proc/PID` directory and what was read there. A pidfd may only be opened when the proc
    /// file system numbers processes as this process does.
    pub(crate) fn new(pid: i32, directory: OwnedFd, stat: &Stat, status: &Status, numbered: bool) -> Self {
        let cgroup = read_text(&directory, "cgroup", STATUS_MAXIMUM).unwrap_or_default();
        // The pidfd was opened by number. It is this process's if the directory still answers after that.
        let pidfd = numbered.then(|| pidfd(pid)).flatten().filter(|_| Stat::read(&directory).is_ok());
        Self {
            pid,
            vpid: status.vpid.unwrap_or(pid),
            start_ticks: stat.start_ticks,
            uid: status.uid,
            gid: status.gid,
            name: String::from_utf8_lossy(&stat.name).into_owned(),
            parent: stat.parent,
            started: started(stat.start_ticks),
            unit: cgroup_path::unit(&cgroup),
            container: cgroup_path::container(&cgroup),
            pod: cgroup_path::pod(&cgroup),
            directory,
            pidfd,
        }
    }

    /// The process of that pid in the proc file system mounted at `procfs`, whose numbers need not be those of our own
    /// pid namespace.
    ///
    /// # Errors
    /// There is no such process, or it has ended meanwhile.
    pub fn open(procfs: &Path, pid: i32) -> io::Result<Self> {
        let directory = directory(CWD, &procfs.join(pid.to_string()))?;
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

    /// When it started, to a clock tick (10 ms). From CLOCK_BOOTTIME and not from `btime` of /proc/stat, which
    /// hardened units hide and which is rounded to a second.
    pub fn start_time(&self) -> SystemTime {
        self.started
    }

    /// The systemd service whose own main process this is: `orders` of `/system.slice/orders.service`, with pid 1 as
    /// the parent.
    pub fn unit(&self) -> Option<String> {
        self.unit.clone().filter(|_| self.parent == 1)
    }

    /// The container's id, 64 hexadecimal digits.
    pub fn container_id(&self) -> Option<String> {
        self.container.clone()
    }

    /// The uid of its Kubernetes pod.
    pub fn pod_uid(&self) -> Option<String> {
        self.pod.clone()
    }

    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(OwnedFd::as_fd)
    }

    /// Its directory in the proc file system, opened with `O_PATH`. It names this process for ever.
    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    /// Its `/tmp`, for a JVM that has no region file by which a directory could be known.
    ///
    /// # Errors
    /// It has ended, or its `/tmp` is a link or no directory.
    pub(crate) fn tmp(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // `root` is a magic link into the process's own root directory, and `tmp` there is not followed.
        Ok(openat(&self.directory, "root/tmp", flags, Mode::empty())?)
    }
}

/// Clock ticks since boot, suspended time included.
pub(crate) fn ticks_since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let fraction = u64::try_from(now.tv_nsec).unwrap_or_default().saturating_mul(HERTZ).wrapping_div(1_000_000_000);
    seconds.saturating_mul(HERTZ).saturating_add(fraction)
}

fn started(start_ticks: u64) -> SystemTime {
    let boot = clock_gettime(ClockId::Boottime);
    let millis = start_ticks.saturating_mul(1000).wrapping_div(HERTZ);
    let uptime = Duration::try_from(boot).unwrap_or_default();
    let age = uptime.saturating_sub(Duration::from_millis(millis));
    SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
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
