//! A process that runs, or seems to run, a JVM.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, Timespec, clock_gettime};

use super::procfs::{self, Stat, Status};
use super::{cgroup, liveness};

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
    pub(super) parent: i32,
    started: SystemTime,
    unit: Option<String>,
    container: Option<String>,
    pod: Option<String>,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    /// Readable once the process has exited.
    Pidfd(OwnedFd),
    /// `/proc/PID` of this very process; not of the next one with its number.
    Directory(OwnedFd),
}

impl Process {
    /// A process from its `/proc/PID` directory and what was read there. A pidfd may only be opened when the proc
    /// file system numbers processes as this process does.
    pub(super) fn new(pid: i32, directory: OwnedFd, stat: &Stat, status: &Status, pidfd: bool) -> Self {
        let cgroup = procfs::text(&directory, "cgroup");
        let pidfd = pidfd.then(|| liveness::pidfd(pid)).flatten();
        // The pidfd was opened by number. It is this process's if the directory still answers after that.
        let handle = match pidfd {
            Some(pidfd) if Stat::read(&directory).is_ok() => Handle::Pidfd(pidfd),
            _ => Handle::Directory(directory),
        };
        Self {
            pid,
            vpid: status.vpid.unwrap_or(pid),
            start_ticks: stat.start_ticks,
            uid: status.uid,
            gid: status.gid,
            name: String::from_utf8_lossy(&stat.name).into_owned(),
            parent: stat.parent,
            started: started(stat.start_ticks),
            unit: cgroup::unit(&cgroup),
            container: cgroup::container(&cgroup),
            pod: cgroup::pod(&cgroup),
            handle,
        }
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        match &self.handle {
            Handle::Pidfd(pidfd) => {
                let mut wait = [PollFd::new(pidfd, PollFlags::IN)];
                poll(&mut wait, Some(&Timespec::default())) == Ok(0)
            }
            Handle::Directory(directory) => {
                Stat::read(directory).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
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

    pub(super) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match &self.handle {
            Handle::Pidfd(pidfd) => Some(pidfd.as_fd()),
            Handle::Directory(_) => None,
        }
    }
}

/// Clock ticks in a second: `USER_HZ` of every architecture that Linux and HotSpot share (asm-generic/param.h).
pub(super) const HERTZ: u64 = 100;

/// Clock ticks since boot, suspended time included.
pub(super) fn ticks_since_boot() -> u64 {
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
