//! Why a question failed.

use std::io;

use strum::{EnumDiscriminants, IntoStaticStr, VariantArray};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error, EnumDiscriminants)]
#[strum_discriminants(doc = "The kind of an [`AttachError`], for metrics.")]
#[strum_discriminants(
    name(AttachFailureReason),
    derive(PartialOrd, Ord, IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum AttachError {
    /// The listener is not started.
    #[error(
        "the JVM has no attach socket in its /tmp; start it with -XX:+StartAttachListener, or set attach.mode to active"
    )]
    NoSocket,
    /// The socket is not one that a JVM of this user makes.
    #[error("the attach socket is not trusted: {0}")]
    UntrustedSocket(&'static str),
    /// Nothing listens.
    #[error("no process listens on the attach socket, which a killed JVM leaves behind")]
    DeadSocket,
    /// The listener's queue is full.
    #[error("the attach listener is busy or stopped; another tool may hold it")]
    Busy,
    /// Another process listens.
    #[error(
        "the attach socket belongs to another process: uid {uid}{}",
        pid.map(|pid| format!(", pid {pid}")).unwrap_or_default()
    )]
    WrongPeer {
        /// User of the process that listens.
        uid: u32,
        /// Its pid, where that is visible.
        pid: Option<i32>,
    },
    /// The reply was not complete at the deadline.
    #[error(
        "no complete reply within attach.timeout; the JVM may be stopped, or its attach listener held by another tool"
    )]
    Timeout,
    /// The JVM refused the exporter's credentials.
    #[error("the JVM closed the connection; it accepts only its own effective uid and gid (JDK 11 and later: or root)")]
    Closed,
    /// The reply does not end.
    #[error("the reply exceeds {0} bytes")]
    TooLong(usize),
    /// The reply does not begin with a status.
    #[error("the reply does not begin with a status")]
    Garbage,
    /// The JVM could not run the command.
    #[error("the JVM replied with status {status}: {message}")]
    Status {
        /// Not 0.
        status: i32,
        /// The first line, shortened.
        message: Box<str>,
    },
    /// The JVM replied with something that has nothing of what was asked for, in its first line.
    #[error("the JVM's reply is not understood: {0}")]
    UnknownReply(Box<str>),
    /// Active mode must not start this JVM's listener.
    #[error("the attach listener is not started: {0}")]
    UnsafeToSignal(&'static str),
    /// The operating system refused.
    #[error("cannot ask the JVM: {0}")]
    Io(#[from] io::Error),
    /// A bug in the exporter.
    #[error("internal error of the exporter")]
    Internal,
}

impl From<rustix::io::Errno> for AttachError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl AttachError {
    /// The reason for metrics.
    pub fn reason(&self) -> AttachFailureReason {
        self.into()
    }

    /// The JVM replied that it has no such command.
    pub(super) fn is_unknown_command(&self) -> bool {
        // DCmd::parse_and_execute, JDK 8 to 27.
        matches!(self, Self::Status { message, .. } if message.contains("Unknown diagnostic command"))
    }

    /// The reply has nothing of what was asked for; `text` is all of it.
    pub(super) fn unknown_reply(text: &str) -> Self {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        Self::UnknownReply(line.chars().filter(|c| !c.is_control()).take(128).collect())
    }
}

impl AttachFailureReason {
    /// The JVM has replied, so that another question may succeed.
    pub(super) fn is_reply(self) -> bool {
        matches!(self, Self::Status | Self::UnknownReply)
    }

    /// The label value.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
