//! Native Memory Tracking: what each JVM says about its own memory, asked for over its attach socket.
//!
//! [`Poller`] asks every JVM that has tracking on, at its own interval and never during a scrape; the answer is parsed
//! by [`summary`] and published as facts.
//!
//! # Invariants
//! 1. One question at a time per JVM: HotSpot's attach listener is a single thread without timeouts, so an idle
//!    connection would lock every other tool out. A question is one `send`, and has one deadline to its last byte.
//! 2. A JVM that does not answer holds one worker until its deadline, and is then asked less and less often.
//! 3. In passive mode nothing is written and nothing is signalled; see [`listener`] for what active mode checks first.
//! 4. What answers is hostile: its socket's owner and the peer's uid must be the JVM's, and a reply is at most
//!    [`attach::REPLY_MAXIMUM`] bytes of data.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::panic
)]

pub mod attach;
mod attachable;
mod credentials;
pub mod listener;
mod poller;
mod record;
mod socket;
pub mod summary;
mod table;

use crate::config::{Nmt, NmtMode};

pub use attach::AttachError;
pub use attachable::{Attachable, tmp_of};
pub use poller::{PolledJvm, Poller, ask_once};
pub use record::NmtState;
pub use summary::{Answer, Summary, parse};
pub use table::table;
