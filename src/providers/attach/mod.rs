//! What a JVM answers over its attach socket: its native memory.
//!
//! [`Poller`] queries every JVM that has tracking on, at its own interval and never during a scrape; [`native_memory`]
//! reads the reply, and its amounts are published as facts.
//!
//! # Invariants
//! 1. One query at a time per JVM: HotSpot's attach listener is a single thread without timeouts, so an idle connection
//!    would lock every other tool out. A query is one `send`, and has one deadline for its whole reply.
//! 2. A JVM that does not reply holds one worker until the deadline, and is then queried with exponential backoff.
//! 3. In passive mode nothing is written and nothing is signalled; see [`listener`] for what active mode checks first.
//! 4. Replies are hostile: the owner of the socket and the uid of the peer must be the JVM's, and a reply is at most
//!    [`REPLY_MAXIMUM`] bytes.

mod attachable;
mod credentials;
mod error;
mod listener;
pub mod native_memory;
mod poller;
mod protocol;
mod socket;

pub use attachable::Attachable;
pub(crate) use attachable::tmp_of;
pub use error::{AttachError, NmtFailureReason};
pub(crate) use poller::query_once;
pub use poller::{PolledJvm, Poller};
pub use protocol::{Capabilities, REPLY_MAXIMUM, query};
