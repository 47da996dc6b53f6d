//! What a JVM answers over its attach socket: its native memory, and what its counters lack or tell late.
//!
//! [`Poller`] asks every JVM, each [`AttachTopic`] at its own interval and never during a scrape; [`native_memory`] and
//! [`diagnostics`] read the replies and publish facts.
//!
//! # Invariants
//! 1. One question at a time per JVM, over all topics: HotSpot's attach listener is a single thread without timeouts, so an
//!    idle connection would lock every other tool out. A question is one `send` of one or more commands, and has one deadline for its whole reply.
//! 2. A JVM that does not reply holds one worker until the deadline, and is then asked with exponential backoff.
//! 3. In passive mode nothing is written and nothing is signalled; see [`listener`] for what active mode checks first.
//! 4. Replies are hostile: the owner of the socket and the uid of the peer must be the JVM's, and a reply is at most
//!    [`REPLY_MAXIMUM`] bytes.
//! 5. Nothing but an [`AttachCommand`] is ever asked, besides the version of the protocol.

mod attachable;
mod command;
mod credentials;
pub mod diagnostics;
mod error;
mod jvm;
mod listener;
pub mod native_memory;
mod poller;
mod protocol;
mod socket;

pub use attachable::Attachable;
pub(crate) use attachable::tmp_of;
pub use command::AttachCommand;
pub use error::{AttachError, AttachFailureReason};
pub(crate) use jvm::ask_once;
pub use jvm::{AttachTopic, PolledJvm};
pub use poller::Poller;
pub use protocol::{Capabilities, REPLY_MAXIMUM};
