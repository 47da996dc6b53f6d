//! Files of a JVM's threads below `/proc/PID/task`, by the number that HotSpot has of a thread.
//!
//! HotSpot knows threads by their numbers in its own pid namespace, the proc file system by those in its own: `NSpid` of
//! each thread's `status` has both.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Dir, Mode, OFlags, openat};

use crate::proc::stat::{STATUS_MAXIMUM, Status, read};

/// Most threads of a process that are looked up.
const TASKS_MAXIMUM: usize = 8192;
/// Longest `comm` or `syscall` that is read.
const LINE_MAXIMUM: usize = 256;

/// The threads of one process.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Whether both number threads alike; `None` until it is known.
    alike: Option<bool>,
    /// The proc file system's number by HotSpot's.
    numbers: HashMap<u32, u32>,
    /// Not to be searched again in this pass.
    searched: bool,
}

impl Tasks {
    /// Lets threads that are unknown be searched once more.
    pub(super) fn begin(&mut self) {
        self.searched = false;
    }

    /// A file of the thread, of one line.
    pub(super) fn line(&mut self, process: BorrowedFd<'_>, tid: u32, file: &str) -> Option<Vec<u8>> {
        let alike = match self.alike {
            Some(alike) => alike,
            None => {
                let alike = Status::read(process).ok()?.levels == 1;
                self.alike = Some(alike);
                alike
            }
        };
        if alike {
            return line(process, tid, file);
        }
        let known = self.numbers.get(&tid).and_then(|number| line(process, *number, file));
        if known.is_some() || self.searched {
            return known;
        }
        self.searched = true;
        self.search(process)?;
        line(process, *self.numbers.get(&tid)?, file)
    }

    /// Finds the numbers of threads that are new.
    fn search(&mut self, process: BorrowedFd<'_>) -> Option<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tasks = openat(process, "task", flags, Mode::empty()).ok()?;
        let present: HashSet<u32> = Dir::read_from(&tasks)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().to_str().ok()?.parse().ok())
            .take(TASKS_MAXIMUM)
            .collect();
        self.numbers.retain(|_, number| present.contains(number));
        let known: HashSet<u32> = self.numbers.values().copied().collect();
        for number in present.difference(&known) {
            let status = read(tasks.as_fd(), format!("{number}/status"), STATUS_MAXIMUM).ok();
            let status = status.and_then(|text| Status::parse(&String::from_utf8_lossy(&text)));
            if let Some(tid) = status.and_then(|status| u32::try_from(status.vpid?).ok()) {
                self.numbers.insert(tid, *number);
            }
        }
        Some(())
    }
}

fn line(process: BorrowedFd<'_>, number: u32, file: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = openat(process, format!("task/{number}/{file}"), flags, Mode::empty()).ok()?;
    // One call gives all of a line.
    let mut bytes = [0; LINE_MAXIMUM];
    let length = rustix::io::read(file, &mut bytes).ok()?;
    let line = bytes.get(..length)?;
    Some(line.strip_suffix(b"\n").unwrap_or(line).to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs::File;

    use super::*;

    #[test]
    fn a_thread_is_found_by_either_number() {
        let own = File::open("/proc/self").unwrap();
        let tid = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        let name = line(own.as_fd(), tid, "comm");
        assert!(name.as_ref().is_some_and(|name| !name.is_empty() && !name.contains(&b'\n')), "{name:?}");
        for alike in [None, Some(true), Some(false)] {
            let mut tasks = Tasks { alike, ..Tasks::default() };
            assert_eq!(tasks.line(own.as_fd(), tid, "comm"), name);
            for unknown in [0, 1, u32::MAX] {
                assert_eq!(tasks.line(own.as_fd(), unknown, "comm"), None);
            }
        }
    }
}
