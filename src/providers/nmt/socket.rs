//! The attach socket of a JVM: `.java_pid<vpid>` in what the JVM sees as `/tmp`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::{AttachError, Attachable};
use crate::perfdata::region::peer;

/// A socket file, held so that what is connected to is what was checked.
#[derive(Debug)]
pub(super) struct Socket {
    file: OwnedFd,
    uid: u32,
    /// The group that the JVM's listener has.
    pub(super) gid: u32,
    pid: Option<i32>,
}

impl Socket {
    /// Finds the target's socket and checks that it is its own: a socket, of the JVM's uid, that nobody else may use
    /// (the JVM makes it 0600), and of its group.
    pub(super) fn find(target: &Attachable) -> Result<Self, AttachError> {
        let name = format!(".java_pid{}", target.vpid);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&target.tmp, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(AttachError::NoSocket),
            other => other?,
        };
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
            return Err(AttachError::Socket("it is not a socket"));
        }
        if stat.st_uid != target.uid {
            return Err(AttachError::Socket("its owner is not the JVM's user"));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(AttachError::Socket("others than its owner may use it; a JVM makes it 0600"));
        }
        // In a set-gid directory (Kubernetes' fsGroup makes one) files get the directory's group, so the region's
        // group says nothing about the JVM's; and JDK 11+ gives the socket its egid, JDK 8 does not.
        let directory = rustix::fs::statat(&target.tmp, "", AtFlags::EMPTY_PATH)?;
        let set_gid = Mode::from_raw_mode(directory.st_mode).contains(Mode::SGID);
        if stat.st_gid != target.gid && !set_gid {
            return Err(AttachError::Socket("its group is not the JVM's"));
        }
        let gid = if target.process.is_some() { target.gid } else { stat.st_gid };
        Ok(Self { file, uid: target.uid, gid, pid: target.process.as_ref().map(|process| process.pid) })
    }

    /// Connects, and checks that the JVM's user listens. Never waits: a listener whose queue is full is busy.
    ///
    /// The path goes through our own descriptor: it always fits (`sun_path` has 108 bytes), and nobody can put a
    /// link in its place.
    fn connect(&self) -> Result<OwnedFd, AttachError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let stream = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))?;
        match rustix::net::connect(&stream, &address) {
            Err(Errno::CONNREFUSED) => return Err(AttachError::Dead),
            Err(Errno::AGAIN) => return Err(AttachError::Busy),
            other => other?,
        }
        let peer = peer(stream.as_fd())?;
        let other_process = peer.pid.is_some() && self.pid.is_some() && peer.pid != self.pid;
        if peer.uid != self.uid || other_process {
            return Err(AttachError::Peer { uid: peer.uid, pid: peer.pid });
        }
        Ok(stream)
    }

    /// Sends `request` in one piece and reads the reply to its end.
    pub(super) fn exchange(&self, request: &[u8], limit: usize, until: Instant) -> Result<Vec<u8>, AttachError> {
        let stream = self.connect()?;
        // A new connection's buffer holds any request of ours; a part would leave the listener waiting for the rest.
        if rustix::net::send(&stream, request, SendFlags::NOSIGNAL).map_err(lost)? != request.len() {
            return Err(AttachError::Busy);
        }
        let mut reply = Vec::new();
        let mut buffer = [0; 8 << 10];
        loop {
            wait_readable(&stream, until)?;
            match rustix::net::recv(&stream, &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(reply),
                Ok((read, _)) => reply.extend_from_slice(buffer.get(..read).unwrap_or_default()),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(lost(errno)),
            }
            if reply.len() > limit {
                return Err(AttachError::TooLong { limit });
            }
        }
    }
}

/// A connection that the listener closed under us: how a JVM refuses credentials.
fn lost(errno: Errno) -> AttachError {
    match errno {
        Errno::CONNRESET | Errno::PIPE => AttachError::Closed,
        other => other.into(),
    }
}

fn wait_readable(stream: &OwnedFd, until: Instant) -> Result<(), AttachError> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(|_| AttachError::Internal)?;
    match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(AttachError::Timeout),
        // After an interruption the caller's read finds nothing and comes back.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
