//! Does the JVM of a region still live?

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::Timespec;

use super::Process;
use crate::perfdata::{Region, Writer};

/// What is known about the life of a JVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It lives.
    Alive,
    /// It is dead: a file that is still there is stale.
    Dead,
    /// Neither its process nor the kernel's lease answers; only counters that move can tell.
    Unknown,
}

/// Asks the process if it is visible, otherwise the kernel whether anybody still holds the region open for writing.
pub fn assess(process: Option<&Process>, region: &Region) -> Liveness {
    match process {
        Some(process) if process.is_alive() => Liveness::Alive,
        Some(_) => Liveness::Dead,
        None => match region.writer() {
            Writer::Present => Liveness::Alive,
            Writer::Absent => Liveness::Dead,
            Writer::Unknown => Liveness::Unknown,
        },
    }
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
pub(super) fn pidfd(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}
