//! The client's side of the attach protocol: one command, one reply, one connection (HotSpot's `AttachListener`).

use std::time::Instant;

use super::{AttachCommand, AttachError, Attachable, credentials::as_user, listener, socket::Socket};
use crate::config::AttachMode;

/// Longest reply that is read, in bytes. A summary of native memory has about 5 KiB, any other reply less.
pub const REPLY_MAXIMUM: usize = 256 << 10;

/// The first release that may know protocol version 2 (JDK-8339289).
const VERSION_2_SINCE: u32 = 24;

/// What earlier questions have shown of one JVM.
#[derive(Clone, Copy, Debug, Default)]
pub struct Capabilities {
    /// Whether it supports `streaming=0` of protocol version 2.
    buffered: Option<bool>,
    /// It supports kibibytes only (JDK 8).
    pub(super) kibibytes: bool,
    /// Active mode has sent its signal, which it never sends twice.
    signalled: bool,
}

/// A JVM whose socket was found, and which can be asked until the deadline.
#[derive(Debug)]
pub(super) struct Dialogue<'a> {
    socket: &'a Socket,
    pub(super) feature: Option<u32>,
    pub(super) capabilities: &'a mut Capabilities,
    deadline: Instant,
}

/// Finds the socket of a JVM, in active mode starts its listener, and asks with the credentials that the JVM accepts.
/// Whatever the error, the JVM is unharmed.
pub(super) fn converse<T: Send>(
    jvm: &Attachable,
    mode: AttachMode,
    capabilities: &mut Capabilities,
    deadline: Instant,
    ask: impl FnOnce(&mut Dialogue<'_>) -> Result<T, AttachError> + Send,
) -> Result<T, AttachError> {
    let socket = match Socket::find(jvm) {
        Err(AttachError::NoSocket) if mode == AttachMode::Active && !capabilities.signalled => {
            listener::start(jvm, &mut capabilities.signalled, deadline)?;
            Socket::find(jvm)?
        }
        other => other?,
    };
    let mut dialogue = Dialogue { socket: &socket, feature: jvm.feature, capabilities, deadline };
    as_user(jvm.uid, socket.gid, || ask(&mut dialogue))
}

impl Dialogue<'_> {
    /// The text of the JVM's reply to a command.
    pub(super) fn ask(&mut self, command: AttachCommand) -> Result<String, AttachError> {
        self.ask_together(&[command])
    }

    /// The text of the JVM's reply to several commands, one after the other, in one connection. HotSpot takes a line for
    /// each (`DCmdIter`, JDK 8 to 27; `jcmd -f` sends files so), which costs the JVM half of what single questions do.
    pub(super) fn ask_together(&mut self, commands: &[AttachCommand]) -> Result<String, AttachError> {
        let lines = commands.iter().map(|command| command.line()).collect::<Vec<_>>().join("\n");
        let request = if self.is_buffered()? { version_2(&lines) } else { version_1(&lines) };
        body(&self.socket.exchange(&request, REPLY_MAXIMUM, self.deadline)?)
    }

    /// Whether replies can be had in one piece. A streamed reply blocks the attach listener, and holds what locks the
    /// command has taken, while the client does not read; and its status is sent before the command has run.
    fn is_buffered(&mut self) -> Result<bool, AttachError> {
        if let Some(known) = self.capabilities.buffered {
            return Ok(known);
        }
        let may_stream = self.feature.is_none_or(|feature| feature >= VERSION_2_SINCE);
        let buffered = may_stream && self.offers_streaming()?;
        self.capabilities.buffered = Some(buffered);
        Ok(buffered)
    }

    /// Whether the JVM streams its replies unless the client disables it (JDK 25 and later).
    fn offers_streaming(&self) -> Result<bool, AttachError> {
        let reply = self.socket.exchange(b"1\0getversion\0options\0\0\0", REPLY_MAXIMUM, self.deadline)?;
        // JDK 8 to 23 reply with status -1, "Operation getversion not recognized!"; 25 with "2 streaming".
        Ok(body(&reply).is_ok_and(|text| {
            let mut words = text.split_ascii_whitespace();
            words.next() == Some("2") && words.any(|word| word.split(',').any(|option| option == "streaming"))
        }))
    }
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
            assert_eq!(error.reason().as_str(), reason);
            assert!(!error.to_string().contains('\x1b'));
        }
    }
}
