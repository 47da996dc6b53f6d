//! Why a query failed.

use std::io;

/// Why a JVM sent no reply.
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
    /// Nothing listens.
    #[error("no process listens on the attach socket, which a killed JVM leaves behind")]
    Dead,
    /// The listener's queue is full.
    #[error("the attach listener is busy or stopped; another tool may hold it")]
    Busy,
    /// Another process listens.
    #[error(
        "the attach socket belongs to another process: uid {uid}{}",
        pid.map(|pid| format!(", pid {pid}")).unwrap_or_default()
    )]
    Peer {
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
    #[error("the reply exceeds {limit} bytes")]
    TooLong {
        /// Bytes that are read.
        limit: usize,
    },
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
    /// Active mode must not start this JVM's listener.
    #[error("the attach listener is not started: {0}")]
    Unsafe(&'static str),
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
        match self {
            Self::NoSocket => NmtFailureReason::NoSocket,
            Self::Socket(_) => NmtFailureReason::UntrustedSocket,
            Self::Dead => NmtFailureReason::DeadSocket,
            Self::Busy => NmtFailureReason::Busy,
            Self::Peer { .. } => NmtFailureReason::WrongPeer,
            Self::Timeout => NmtFailureReason::Timeout,
            Self::Closed => NmtFailureReason::Closed,
            Self::TooLong { .. } => NmtFailureReason::TooLong,
            Self::Garbage => NmtFailureReason::Garbage,
            Self::Status { .. } => NmtFailureReason::Status,
            Self::Unsafe(_) => NmtFailureReason::UnsafeToSignal,
            Self::Io(_) => NmtFailureReason::Io,
            Self::Internal => NmtFailureReason::Internal,
        }
    }
}

/// Why a query gave no summary, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum NmtFailureReason {
    /// [`AttachError::Busy`]
    Busy,
    /// [`AttachError::Closed`]
    Closed,
    /// [`AttachError::Dead`]
    DeadSocket,
    /// [`AttachError::Garbage`]
    Garbage,
    /// [`AttachError::Internal`]
    Internal,
    /// [`AttachError::Io`]
    Io,
    /// [`AttachError::NoSocket`]
    NoSocket,
    /// [`AttachError::Status`]
    Status,
    /// [`AttachError::Timeout`]
    Timeout,
    /// [`AttachError::TooLong`]
    TooLong,
    /// The JVM replied with something other than a summary.
    UnknownReply,
    /// [`AttachError::Unsafe`]
    UnsafeToSignal,
    /// [`AttachError::Socket`]
    UntrustedSocket,
    /// [`AttachError::Peer`]
    WrongPeer,
}

impl NmtFailureReason {
    /// Every reason in the order of declaration, for metrics that show zeros too.
    pub const ALL: [Self; 14] = [
        Self::Busy,
        Self::Closed,
        Self::DeadSocket,
        Self::Garbage,
        Self::Internal,
        Self::Io,
        Self::NoSocket,
        Self::Status,
        Self::Timeout,
        Self::TooLong,
        Self::UnknownReply,
        Self::UnsafeToSignal,
        Self::UntrustedSocket,
        Self::WrongPeer,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::DeadSocket => "dead_socket",
            Self::Garbage => "garbage",
            Self::Internal => "internal",
            Self::Io => "io",
            Self::NoSocket => "no_socket",
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::TooLong => "too_long",
            Self::UnknownReply => "unknown_reply",
            Self::UnsafeToSignal => "unsafe_to_signal",
            Self::UntrustedSocket => "untrusted_socket",
            Self::WrongPeer => "wrong_peer",
        }
    }
}
