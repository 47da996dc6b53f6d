//! Why a query failed.

use std::io;

use strum::{EnumDiscriminants, IntoStaticStr, VariantArray};

/// Why a query gave no summary.
#[derive(Debug, thiserror::Error, EnumDiscriminants)]
#[strum_discriminants(doc = "The kind of an [`AttachError`], for metrics.")]
#[strum_discriminants(
    name(NmtFailureReason),
    derive(PartialOrd, Ord, IntoStaticStr, VariantArray),
    strum(serialize_all = "snake_case")
)]
pub enum AttachError {
    /// The listener is not started.
    #[error(
        "the JVM has no attach socket in its /tmp; start it with -XX:+StartAttachListener, or set nmt.mode to active"
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
        "no complete reply within nmt.timeout; the JVM may be stopped, or its attach listener held by another tool"
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
    /// The JVM replied with something other than a summary, in its first line.
    #[error("the JVM's reply is not a summary: {0}")]
    UnknownReply(Box<str>),
    /// Active mode must not start this JVM's listener.
    #[error("the attach listener is not started: {0}")]
    UnsafeToSignal(&'static str),
    /// The operating system refused.
    #[error("cannot query the JVM: {0}")]
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
    pub fn reason(&self) -> NmtFailureReason {
        self.into()
    }
}

impl NmtFailureReason {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
