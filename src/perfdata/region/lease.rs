//! The read-lease probe: whether any process has a file open for writing.
//!
//! A JVM's mapping keeps its read-write file description open for life, and the kernel grants a read lease only while no
//! process has the file open for writing. The answer crosses pid namespaces and needs no capability where the exporter
//! has the file's uid. It was measured to be right on JDK 8 to 27 over ext4, tmpfs, xfs and btrfs, and harmless to a JVM
//! that starts at the same time; a `flock`, in contrast, would cost that JVM its counters.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Once;

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterState {
    /// Some process has the file open for writing: the JVM is alive.
    Present,
    /// No process has: the JVM is dead.
    Absent,
    /// The probe cannot tell: another owner and no `CAP_LEASE`, or a file system whose leases are not known to be right
    /// (overlayfs grants one on a running JVM's file).
    Unknown,
}

/// `f_type` of the file systems on which the probe was measured to be right (statfs(2)).
const TRUSTED: [u64; 4] = [
    0xef53,      // ext2, ext3, ext4
    0x0102_1994, // tmpfs
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
];

/// Whether a probe of `file` tells anything, which is the same for as long as the file is open.
pub(super) fn is_trusted(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|f| TRUSTED.contains(&f)))
}

/// Probes `file`, which must be trusted, and open for reading only, or it would be its own writer.
pub(super) fn probe(file: BorrowedFd<'_>) -> WriterState {
    ignore_sigio();
    match set_lease(file, libc::F_RDLCK) {
        Ok(()) => {
            // The lease is returned at once, since a JVM that opens the file waits for that. Closing the file would
            // return it too.
            let _ = set_lease(file, libc::F_UNLCK);
            WriterState::Absent
        }
        Err(libc::EAGAIN) => WriterState::Present,
        Err(_) => WriterState::Unknown,
    }
}

fn set_lease(file: BorrowedFd<'_>, kind: libc::c_int) -> Result<(), libc::c_int> {
    // SAFETY: F_SETLEASE takes an int and no pointer; the descriptor is open for the length of the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)) }
}

/// Ignores SIGIO, which the kernel sends when a held lease is broken and whose default action ends the process.
fn ignore_sigio() {
    static IGNORED: Once = Once::new();
    // SAFETY: SIG_IGN is a valid disposition, and nothing else in this program uses SIGIO.
    IGNORED.call_once(|| unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
    });
}
