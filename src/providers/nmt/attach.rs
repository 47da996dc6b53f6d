//! The attach protocol as a client speaks it: one command, one reply, one connection (hotspot.md section 5).

use std::io;
use std::time::Instant;

use super::credentials::as_user;
use super::socket::Socket;
use super::summary::{Answer, parse};
use super::{Attachable, NmtMode, listener};

/// Longest reply that is read, in bytes. A summary has about 5 KiB.
pub const REPLY_MAXIMUM: usize = 256 << 10;

/// The first release that may know protocol version 2 (JDK-8339289).
const VERSION_2_SINCE: u32 = 24;

/// Why a JVM gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The listener is not started.
    #[error(
        "the JVM has no attach socket in its /tmp; start it with -XX:+StartAttachListener, or set nmt.mode to active"
    )]
    NoSocket,
    /// The socket is not one that a JVM of this user makes.
    #[error("the attach socket is not trusted: {0}")]
    Socket(&'static str),
    /// Nobody listens.
    #[error("nobody listens on the attach socket; a killed JVM leaves it behind")]
    Dead,
    /// The listener's queue is full.
    #[error("the attach listener is busy or stopped; another tool may hold it")]
    Busy,
    /// Somebody else listens.
    #[error("uid {uid}, pid {pid:?} listens on the attach socket, which is not the JVM")]
    Peer {
        /// Who listens.
        uid: u32,
        /// Where that process is visible.
        pid: Option<i32>,
    },
    /// No whole reply before the deadline.
    #[error("no whole reply within nmt.timeout; the JVM may be stopped, or its attach listener held by another tool")]
    Timeout,
    /// The JVM refused our credentials.
    #[error("the JVM closed the connection; it wants its own effective uid and gid (JDK 11 and later: or root)")]
    Closed,
    /// The reply does not end.
    #[error("the reply has more than {limit} bytes")]
    TooLong {
        /// Bytes that were allowed.
        limit: usize,
    },
    /// The reply does not begin with a status.
    #[error("the reply does not begin with a status")]
    Garbage,
    /// The JVM could not do it.
    #[error("the JVM answered status {status}: {message}")]
    Status {
        /// Not 0.
        status: i32,
        /// The first line, shortened.
        message: Box<str>,
    },
    /// Active mode must not start this JVM's listener.
    #[error("the attach listener is not started: {0}")]
    Unsafe(&'static str),
    /// The operating system refused.
    #[error("cannot ask the JVM: {0}")]
    Io(#[from] io::Error),
    /// A fault of this program.
    #[error("the question failed inside the exporter")]
    Internal,
}

impl From<rustix::io::Errno> for AttachError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl AttachError {
    /// Every value of [`AttachError::reason`].
    pub const REASONS: [&str; 13] = [
        "no_socket",
        "untrusted_socket",
        "dead_socket",
        "busy",
        "wrong_peer",
        "timeout",
        "closed",
        "too_long",
        "garbage",
        "status",
        "unsafe_to_signal",
        "io",
        "internal",
    ];

    /// One word for metrics, from a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoSocket => "no_socket",
            Self::Socket(_) => "untrusted_socket",
            Self::Dead => "dead_socket",
            Self::Busy => "busy",
            Self::Peer { .. } => "wrong_peer",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::TooLong { .. } => "too_long",
            Self::Garbage => "garbage",
            Self::Status { .. } => "status",
            Self::Unsafe(_) => "unsafe_to_signal",
            Self::Io(_) => "io",
            Self::Internal => "internal",
        }
    }
}

/// What has been learnt about how one JVM wants to be spoken to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// Whether it knows `streaming=0` of protocol version 2.
    buffered: Option<bool>,
    /// It knows kilobytes only (JDK 8).
    kilobytes: bool,
    /// Active mode signalled it, which is never done twice.
    signalled: bool,
}

/// Asks one JVM for its native memory, to the end or until the deadline.
///
/// # Errors
/// See [`AttachError`]; the JVM is left as it was in every case.
pub fn ask(
    target: &Attachable,
    mode: NmtMode,
    dialect: &mut Capabilities,
    until: Instant,
) -> Result<Answer, AttachError> {
    let socket = match Socket::find(target) {
        Err(AttachError::NoSocket) if mode == NmtMode::Active && !dialect.signalled => {
            listener::start(target, &mut dialect.signalled, until)?;
            Socket::find(target)?
        }
        other => other?,
    };
    as_user(target.uid, socket.gid, || question(&socket, target.feature, dialect, until))
}

fn question(
    socket: &Socket,
    feature: Option<u32>,
    dialect: &mut Capabilities,
    until: Instant,
) -> Result<Answer, AttachError> {
    let may_be_streaming = feature.is_none_or(|feature| feature >= VERSION_2_SINCE);
    let buffered = match dialect.buffered {
        Some(known) => known,
        None => *dialect.buffered.insert(may_be_streaming && offers_streaming(socket, until)?),
    };
    let request = if buffered { version_2 } else { version_1 };
    if !dialect.kilobytes && feature != Some(8) {
        match parse(&command(socket, &request("VM.native_memory summary scale=b"), until)?) {
            Answer::ScaleRefused => dialect.kilobytes = true,
            answer => return Ok(answer),
        }
    }
    Ok(parse(&command(socket, &request("VM.native_memory summary scale=KB"), until)?))
}

/// Whether the JVM streams its replies and can be told not to (JDK 25 and later). A streamed reply blocks the attach
/// listener while we do not read, and its status is sent before the command has run.
fn offers_streaming(socket: &Socket, until: Instant) -> Result<bool, AttachError> {
    let reply = socket.exchange(b"1\0getversion\0options\0\0\0", REPLY_MAXIMUM, until)?;
    // JDK 8 to 23 answer status -1, "Operation getversion not recognized!"; 25 answers "2 streaming".
    Ok(body(&reply).is_ok_and(|text| {
        let mut words = text.split_ascii_whitespace();
        words.next() == Some("2") && words.any(|word| word.split(',').any(|option| option == "streaming"))
    }))
}

fn command(socket: &Socket, request: &[u8], until: Instant) -> Result<String, AttachError> {
    body(&socket.exchange(request, REPLY_MAXIMUM, until)?)
}

/// `jcmd` in protocol version 1: always three arguments, of which it reads the first.
fn version_1(line: &str) -> Vec<u8> {
    format!("1\0jcmd\0{line}\0\0\0").into_bytes()
}

/// `jcmd` in protocol version 2, with a length, and a reply in one piece.
fn version_2(line: &str) -> Vec<u8> {
    let rest = format!("jcmd streaming=0\0{line}\0\0\0");
    format!("2\0{}\0{rest}", rest.len()).into_bytes()
}

/// Splits a reply into status and text.
fn body(reply: &[u8]) -> Result<String, AttachError> {
    if reply.is_empty() {
        return Err(AttachError::Closed);
    }
    let text = String::from_utf8_lossy(reply);
    let (status, text) = text.split_once('\n').ok_or(AttachError::Garbage)?;
    match status.parse::<i32>().map_err(|_| AttachError::Garbage)? {
        0 => Ok(text.to_owned()),
        status => {
            let line = text.lines().next().unwrap_or_default();
            let message = line.chars().filter(|c| !c.is_control()).take(128).collect();
            Err(AttachError::Status { status, message })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn requests_are_what_the_listener_reads() {
        assert_eq!(version_1("a b"), b"1\0jcmd\0a b\0\0\0");
        assert_eq!(version_2("a b"), b"2\x0023\0jcmd streaming=0\0a b\0\0\0");
    }

    #[test]
    fn a_reply_has_a_status() {
        assert_eq!(body(b"0\ntext\n").unwrap(), "text\n");
        for (reply, reason) in [
            (&b""[..], "closed"),
            (b"hello", "garbage"),
            (b"HTTP/1.1 400\nx", "garbage"),
            (b"99999999999\nx", "garbage"),
            (b"\xff\n", "garbage"),
            (b"101\n", "status"),
            (b"-1\nNo\x1b[2J\n", "status"),
        ] {
            let error = body(reply).unwrap_err();
            assert_eq!(error.reason(), reason);
            assert!(AttachError::REASONS.contains(&error.reason()));
            assert!(!error.to_string().contains('\x1b'));
        }
    }
}
