//! Files of one process's directory in the proc file system, as values.
//!
//! Readers take the directory's descriptor: it names one process for ever, and once that is gone every read fails.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Longest `status`, `stat`, `limits` or `cgroup` that is read, in bytes. They have a few KiB at most.
pub const STATUS_MAXIMUM: usize = 64 << 10;

/// Clock ticks per second of `stat` (`USER_HZ`): 100 on every architecture that HotSpot runs on.
const USER_HZ: f64 = 100.0;

/// The first `limit` bytes of a file.
///
/// # Errors
/// What the kernel says: ESRCH or ENOENT for a process that has ended, EACCES for one that is not ours to look at.
pub fn read_text(directory: impl AsFd, name: &str, limit: usize) -> io::Result<String> {
    // Never waits, whatever somebody has put in the file's place.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while bytes.len() < limit {
        match rustix::io::read(&file, &mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.truncate(limit);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is used of `stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stat {
    /// Field 3: `R`, `S`, `D`, `T`, `Z` and so on.
    pub state: char,
    /// Page faults without I/O, all threads.
    pub minor_faults: u64,
    /// Page faults with I/O, all threads.
    pub major_faults: u64,
    /// Clock ticks in user mode, all threads.
    pub user: u64,
    /// Clock ticks in kernel mode, all threads.
    pub system: u64,
    /// Field 22, clock ticks since boot: tells one process of a pid from another.
    pub start_time: u64,
}

impl Stat {
    /// Clock ticks in either mode, all threads.
    pub fn cpu(&self) -> u64 {
        self.user.saturating_add(self.system)
    }

    /// Reads the process's `stat`; `None` if it cannot be understood.
    ///
    /// # Errors
    /// See [`read_text`].
    pub fn read(directory: impl AsFd) -> io::Result<Option<Self>> {
        read_text(directory, "stat", STATUS_MAXIMUM).map(|text| Self::parse(&text))
    }

    /// The command in field 2 is the process's own choice, blanks and parentheses included; it ends at the last `)`.
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field.checked_sub(3)?)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            minor_faults: number(10)?,
            major_faults: number(12)?,
            user: number(14)?,
            system: number(15)?,
            start_time: number(22)?,
        })
    }
}

/// Clock ticks as seconds.
pub fn seconds(ticks: u64) -> f64 {
    ticks as f64 / USER_HZ
}

/// The text behind `key` at the start of a line of `status`.
pub fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// A whole number of `status`, such as `Threads:`.
pub fn number(status: &str, key: &str) -> Option<u64> {
    field(status, key)?.parse().ok()
}

/// An amount of memory of `status`, such as `VmRSS:`, in bytes.
pub fn memory(status: &str, key: &str) -> Option<u64> {
    field(status, key)?.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The effective id of `Uid:` or `Gid:`, whose four numbers are real, effective, saved and file system id.
pub fn effective_id(status: &str, key: &str) -> Option<u32> {
    field(status, key)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A signal set of `status`, such as `SigCgt:`: bit n-1 stands for signal n.
pub fn signal_set(status: &str, key: &str) -> Option<u64> {
    u64::from_str_radix(field(status, key)?, 16).ok()
}

/// Number of CPUs in a list such as `0-3,8`.
pub fn cpu_list_length(list: &str) -> Option<u64> {
    list.split(',').try_fold(0_u64, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let length = last.trim().parse::<u64>().ok()?.checked_sub(first.trim().parse().ok()?)?.checked_add(1)?;
        sum.checked_add(length)
    })
}

/// The soft limit on open descriptors in `limits`; `None` if it is unlimited.
pub fn descriptor_limit(limits: &str) -> Option<u64> {
    field(limits, "Max open files")?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const STAT: &str = "4711 (java) S) R 1 4711 4711 0 -1 4194304 2043 0 7 0 150 25 0 0 20 0 31 0 8912 3482 9 18";

    #[test]
    fn stat_survives_any_command() {
        let expected =
            Stat { state: 'R', minor_faults: 2043, major_faults: 7, user: 150, system: 25, start_time: 8912 };
        assert_eq!(Stat::parse(STAT), Some(expected));
        assert_eq!(Stat::parse("1 (x) S 1 2"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn status_fields() {
        let status = "Name:\tjava\nUid:\t1\t2\t3\t4\nVmRSS:\t    12 kB\nRssAnon:\tx kB\nThreads:\t31\n\
                      SigIgn:\t0000000000000004\nVmSwap:\t99999999999999999999 kB\n";
        assert_eq!(effective_id(status, "Uid:"), Some(2));
        assert_eq!(memory(status, "VmRSS:"), Some(12288));
        assert_eq!(memory(status, "RssAnon:"), None);
        assert_eq!(memory(status, "VmSwap:"), None);
        assert_eq!(number(status, "Threads:"), Some(31));
        assert_eq!(signal_set(status, "SigIgn:"), Some(4));
        assert_eq!(signal_set(status, "SigCgt:"), None);
    }

    #[test]
    fn lists_and_limits() {
        for (list, expected) in [
            ("0-3,8", Some(5)),
            ("0", Some(1)),
            ("", None),
            ("3-1", None),
            ("a", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(cpu_list_length(list), expected, "{list}");
        }
        let limits = "Max processes             1                    1                    processes\n\
                      Max open files            1024                 4096                 files\n";
        assert_eq!(descriptor_limit(limits), Some(1024));
        assert_eq!(descriptor_limit("Max open files   unlimited  unlimited files"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_legal(text in "\\PC*", key in "[A-Za-z:]{0,8}") {
            Stat::parse(&text);
            memory(&text, &key);
            signal_set(&text, &key);
            effective_id(&text, &key);
            cpu_list_length(&text);
            descriptor_limit(&text);
        }
    }
}
