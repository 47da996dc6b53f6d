//! The credentials of the process at the other end of a connected socket.
//!
//! It is in this module since the call takes a pointer. `rustix::net::sockopt::socket_peercred` cannot be used: its `UCred`
//! holds a non-zero pid, and the kernel reports 0 for a peer outside of the exporter's pid namespace.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process that called `listen` (or `connect`), at the time of that call, in the exporter's namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// `None` where the process is not in the exporter's pid namespace or below it.
    pub(crate) pid: Option<i32>,
    /// Effective user id.
    pub(crate) uid: u32,
    /// Effective group id.
    pub(crate) gid: u32,
}

/// The peer of a connected Unix socket (`SO_PEERCRED`, unix(7)).
pub(crate) fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or_default();
    let (into, size) = ((&raw mut credentials).cast(), &raw mut length);
    // SAFETY: both pointers are to live locals of the type that SO_PEERCRED writes, `length` says how much may be
    // written, and every bit pattern is a valid `ucred`. The descriptor is open for the length of the call.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, into, size) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let pid = Some(credentials.pid).filter(|pid| *pid > 0);
    Ok(Peer { pid, uid: credentials.uid, gid: credentials.gid })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_peer_of_an_own_pair_is_this_process() {
        let (near, _far) = UnixStream::pair().unwrap();
        let found = peer(near.as_fd()).unwrap();
        assert_eq!(found.pid, i32::try_from(std::process::id()).ok());
        assert_eq!(found.uid, rustix::process::geteuid().as_raw());
    }

    #[test]
    fn a_file_has_no_peer() {
        assert!(peer(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }
}
