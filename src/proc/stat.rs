//! `stat`, `status`, `limits` and other small files of a process's directory, as values.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Longest `status`, `stat`, `limits` or `cgroup` that is read, in bytes. They have a few KiB at most.
pub(crate) const STATUS_MAXIMUM: usize = 64 << 10;

/// Clock ticks in a second, the same on every architecture that Linux and HotSpot share (asm-generic/param.h).
pub(crate) const USER_HZ: u64 = 100;

/// A directory, opened with `O_PATH`; links are followed.
///
/// # Errors
/// For that of a process: there is no such process, or it is hidden from the exporter.
pub(crate) fn directory(root: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    openat(root, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The first `limit` bytes of a file of a process.
///
/// # Errors
/// `ESRCH` or `ENOENT` for a process that has ended, `EACCES` for one that may not be examined.
pub(crate) fn read(directory: impl AsFd, name: impl Arg, limit: usize) -> Result<Vec<u8>, Errno> {
    // Never blocks, whatever lies at the file's path.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    content(openat(directory, name, flags, Mode::empty())?, limit)
}

/// The first `limit` bytes of an open file.
///
/// # Errors
/// See [`read`].
pub(super) fn content(file: OwnedFd, limit: usize) -> Result<Vec<u8>, Errno> {
    // Room for all of a small file: an empty vector asks for it in many small pieces.
    let mut bytes = Vec::with_capacity(limit.min(4096));
    match File::from(file).take(limit as u64).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// The first `limit` bytes of a file as text.
///
/// # Errors
/// See [`read`].
pub(crate) fn read_text(directory: impl AsFd, name: impl Arg, limit: usize) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read(directory, name, limit)?).into_owned())
}

/// The fields of `stat` that are used (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Field 2, at most 15 bytes of any kind, which the process chooses itself.
    pub(crate) name: Box<[u8]>,
    /// Field 3: `R`, `S`, `D`, `T`, `Z` and so on.
    pub(crate) state: u8,
    /// Field 4, the parent's pid.
    pub(crate) parent: i32,
    /// Field 9, `PF_*` of include/linux/sched.h.
    pub(crate) flags: u64,
    /// Page faults without I/O, all threads.
    pub(crate) minor_faults: u64,
    /// Page faults with I/O, all threads.
    pub(crate) major_faults: u64,
    /// Clock ticks in user mode, all threads.
    pub(crate) user: u64,
    /// Clock ticks in kernel mode, all threads.
    pub(crate) system: u64,
    /// Field 20, number of threads.
    pub(crate) threads: u64,
    /// Field 22, clock ticks since boot: tells one process of a pid from another.
    pub(crate) start_ticks: u64,
    /// Field 23, bytes of address space.
    pub(crate) virtual_bytes: u64,
    /// Field 24, resident pages.
    pub(crate) resident_pages: u64,
}

impl Stat {
    /// Reads the `stat` of the process of this directory.
    ///
    /// # Errors
    /// See [`read`]; `EIO` for a text of another form.
    pub(crate) fn read(directory: impl AsFd) -> Result<Self, Errno> {
        Self::parse(&read(directory, "stat", STATUS_MAXIMUM)?).ok_or(Errno::IO)
    }

    /// Parses the text. The name lies between the first and the *last* parenthesis, since it may hold any byte.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let name = text.get(open.checked_add(1)?..close)?;
        let rest = std::str::from_utf8(text.get(close.checked_add(1)?..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
        let number = |at: usize| field(at)?.parse::<u64>().ok();
        Some(Self {
            name: name.into(),
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            flags: number(9)?,
            minor_faults: number(10)?,
            major_faults: number(12)?,
            user: number(14)?,
            system: number(15)?,
            threads: number(20)?,
            start_ticks: number(22)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }

    /// Clock ticks in either mode, all threads.
    pub(crate) fn cpu(&self) -> u64 {
        self.user.saturating_add(self.system)
    }

    /// A zombie, or dead.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The ids of a process, from `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Effective user id.
    pub(crate) uid: u32,
    /// Effective group id.
    pub(crate) gid: u32,
    /// The pid in the innermost pid namespace; absent before Linux 4.1.
    pub(crate) vpid: Option<i32>,
    /// Number of pid namespaces from that of the proc file system to that of the process.
    pub(crate) levels: usize,
}

impl Status {
    /// Reads the `status` of the process of this directory.
    ///
    /// # Errors
    /// See [`read`]; `EIO` for a text of another form.
    pub(crate) fn read(directory: impl AsFd) -> Result<Self, Errno> {
        Self::parse(&String::from_utf8_lossy(&read(directory, "status", STATUS_MAXIMUM)?)).ok_or(Errno::IO)
    }

    /// Parses the text. Its first line is the name, in which the kernel escapes line ends.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let lines = text.split_once('\n')?.1;
        let numbers = field(lines, "NSpid:").map(str::split_ascii_whitespace);
        Some(Self {
            uid: effective_id(lines, "Uid:")?,
            gid: effective_id(lines, "Gid:")?,
            vpid: numbers.clone().and_then(Iterator::last).and_then(|number| number.parse().ok()),
            levels: numbers.map_or(1, Iterator::count),
        })
    }
}

/// Clock ticks as seconds.
pub(crate) fn seconds(ticks: u64) -> f64 {
    ticks as f64 / USER_HZ as f64
}

/// The text behind `key` at the start of a line of `status`.
pub(crate) fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// A whole number of `status`, such as `Threads:`.
pub(crate) fn number(status: &str, key: &str) -> Option<u64> {
    field(status, key)?.parse().ok()
}

/// An amount of memory of `status`, such as `VmRSS:`, in bytes.
pub(crate) fn memory(status: &str, key: &str) -> Option<u64> {
    field(status, key)?.strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The effective id of `Uid:` or `Gid:`, whose four numbers are real, effective, saved and file system id.
pub(crate) fn effective_id(status: &str, key: &str) -> Option<u32> {
    field(status, key)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// A signal set of `status`, such as `SigCgt:`: bit n-1 stands for signal n.
pub(crate) fn signal_set(status: &str, key: &str) -> Option<u64> {
    u64::from_str_radix(field(status, key)?, 16).ok()
}

/// Number of CPUs that are in both lists, such as `0-3,8`.
pub(crate) fn common_cpus(one: &str, other: &str) -> Option<u64> {
    let other = cpu_ranges(other)?;
    cpu_ranges(one)?.iter().try_fold(0_u64, |sum, (first, last)| {
        other.iter().try_fold(sum, |sum, (from, to)| {
            let length = last.min(to).checked_add(1)?.saturating_sub(*first.max(from));
            sum.checked_add(length)
        })
    })
}

fn cpu_ranges(list: &str) -> Option<Vec<(u64, u64)>> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some((first, last))
    };
    list.split(',').map(range).collect()
}

/// The soft limit on open descriptors in `limits`; `None` if it is unlimited.
pub(crate) fn descriptor_limit(limits: &str) -> Option<u64> {
    field(limits, "Max open files")?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_name_does_not_shift_the_fields() {
        let tail = "S 7 1 1 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 123456 1000 5 1844";
        for name in ["java", "a) S 1 (b", "x\ny z", ") R 9 9", "(", ""] {
            let stat = Stat::parse(format!("42 ({name}) {tail}\n").as_bytes());
            let expected = Stat {
                name: name.as_bytes().into(),
                state: b'S',
                parent: 7,
                flags: 4_194_560,
                minor_faults: 100,
                major_faults: 0,
                user: 1,
                system: 2,
                threads: 1,
                start_ticks: 123_456,
                virtual_bytes: 1000,
                resident_pages: 5,
            };
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
        for (allowed, online, expected) in [
            ("0-3,8", "0-127", Some(5)),
            ("0-127", "0-1,4\n", Some(3)),
            ("0", "1", Some(0)),
            ("", "0", None),
            ("3-1", "0-9", None),
            ("a", "0", None),
            ("0-18446744073709551615", "0-18446744073709551615", None),
        ] {
            assert_eq!(common_cpus(allowed, online), expected, "{allowed} {online}");
        }
        let limits = "Max processes             1                    1                    processes\n\
                      Max open files            1024                 4096                 files\n";
        assert_eq!(descriptor_limit(limits), Some(1024));
        assert_eq!(descriptor_limit("Max open files   unlimited  unlimited files"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_legal(text in "\\PC*", key in "[A-Za-z:]{0,8}") {
            Stat::parse(text.as_bytes());
            Status::parse(&text);
            memory(&text, &key);
            signal_set(&text, &key);
            effective_id(&text, &key);
            common_cpus(&text, &key);
            descriptor_limit(&text);
        }
    }
}
