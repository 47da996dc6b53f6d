//! The attach socket of a JVM: `.java_pid<vpid>` in what the JVM sees as `/tmp`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::{AttachError, Attachable};
use crate::perfdata::region::peer;

/// A socket file, held open so that the checked file is the one connected to.
#[derive(Debug)]
pub(super) struct Socket {
    file: OwnedFd,
    uid: u32,
    /// The group that the JVM's listener has.
    pub(super) gid: u32,
    pid: Option<i32>,
}

impl Socket {
    /// Finds the JVM's socket and checks that it is its own: a socket of the JVM's uid and group that no other user may
    /// use (the JVM makes it 0600).
    pub(super) fn find(jvm: &Attachable) -> Result<Self, AttachError> {
        let name = format!(".java_pid{}", jvm.vpid);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&jvm.tmp, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(AttachError::NoSocket),
            other => other?,
        };
        let stat = rustix::fs::fstat(&file)?;
        check(FileType::from_raw_mode(stat.st_mode) == FileType::Socket, "it is not a socket")?;
        check(stat.st_uid == jvm.uid, "its owner is not the JVM's user")?;
        check(stat.st_mode & 0o077 == 0, "users other than its owner may use it; a JVM makes it 0600")?;
        // In a set-gid directory (Kubernetes' fsGroup makes one) files get the directory's group, so the region's
        // group does not identify the JVM's; and JDK 11+ gives the socket its egid, JDK 8 does not.
        let directory = rustix::fs::statat(&jvm.tmp, "", AtFlags::EMPTY_PATH)?;
        let set_gid = Mode::from_raw_mode(directory.st_mode).contains(Mode::SGID);
        check(stat.st_gid == jvm.gid || set_gid, "its group is not the JVM's")?;
        let gid = if jvm.process.is_some() { jvm.gid } else { stat.st_gid };
        Ok(Self { file, uid: jvm.uid, gid, pid: jvm.process.as_ref().map(|process| process.pid) })
    }

    /// Connects, and checks that the JVM's user listens. Never waits: a listener whose queue is full is busy. The path
    /// goes through the exporter's own descriptor: it always fits (`sun_path` has 108 bytes), and no other process can
    /// put a link in its place.
    fn connect(&self) -> Result<OwnedFd, AttachError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))?;
        match rustix::net::connect(&stream, &address) {
            Err(Errno::CONNREFUSED) => return Err(AttachError::DeadSocket),
            Err(Errno::AGAIN) => return Err(AttachError::Busy),
            other => other?,
        }
        let peer = peer(stream.as_fd())?;
        let other_process = peer.pid.is_some() && self.pid.is_some() && peer.pid != self.pid;
        if peer.uid != self.uid || other_process {
            return Err(AttachError::WrongPeer { uid: peer.uid, pid: peer.pid });
        }
        Ok(stream)
    }

    /// Sends `request` in one piece and reads the reply to its end.
    pub(super) fn exchange(&self, request: &[u8], limit: usize, deadline: Instant) -> Result<Vec<u8>, AttachError> {
        let stream = self.connect()?;
        // The buffer of a new connection holds any request; a part would leave the listener waiting for the rest.
        if rustix::net::send(&stream, request, SendFlags::NOSIGNAL).map_err(connection_error)? != request.len() {
            return Err(AttachError::Busy);
        }
        let mut reply = Vec::new();
        let mut buffer = [0; 8 << 10];
        loop {
            wait_readable(&stream, deadline)?;
            match rustix::net::recv(&stream, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(reply),
                Ok((read, _)) => reply.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(connection_error(errno)),
            }
            if reply.len() > limit {
                return Err(AttachError::TooLong(limit));
            }
        }
    }
}

/// Refuses the socket unless `is_trusted`; `fault` says what is wrong with it.
fn check(is_trusted: bool, fault: &'static str) -> Result<(), AttachError> {
    if is_trusted { Ok(()) } else { Err(AttachError::UntrustedSocket(fault)) }
}

/// A JVM refuses credentials by closing the connection.
fn connection_error(errno: Errno) -> AttachError {
    match errno {
        Errno::CONNRESET | Errno::PIPE => AttachError::Closed,
        other => other.into(),
    }
}

fn wait_readable(stream: &OwnedFd, deadline: Instant) -> Result<(), AttachError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(|_| AttachError::Internal)?;
    match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(AttachError::Timeout),
        // After an interruption the caller's read finds nothing and waits again.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
