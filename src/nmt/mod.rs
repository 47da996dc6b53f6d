//! Native Memory Tracking: what each JVM says about its own memory, asked for over its attach socket.
//!
//! [`Poller`] asks every JVM that has tracking on, at its own interval and never during a scrape; the answer is parsed
//! by [`summary`] and published as the facts of [`SOURCES`].
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
mod credentials;
mod ledger;
pub mod listener;
mod poller;
mod socket;
mod sources;
pub mod summary;
mod table;

use std::os::fd::OwnedFd;

use crate::config::{Nmt, NmtMode};
use crate::hotspot::NmtSetting;

pub use attach::AttachError;
pub use ledger::State;
pub use poller::{Poller, Watch};
pub use sources::SOURCES;
pub use summary::{Answer, Summary, parse};
pub use table::table;

/// A JVM that may be asked.
#[derive(Debug)]
pub struct Target {
    /// The same for one incarnation of a JVM, different for any other.
    pub id: u64,
    /// The directory that the JVM sees as `/tmp`, opened with `O_PATH`.
    pub tmp: OwnedFd,
    /// The pid that the JVM sees as its own: the name of its region file.
    pub vpid: i32,
    /// The process, where it is visible.
    pub process: Option<Process>,
    /// Effective user id: the owner of the region file.
    pub uid: u32,
    /// Effective group id: from the process where it is visible, else the group of the region file.
    pub gid: u32,
    /// Feature release of the JDK (8, 17, 25), if it is known.
    pub feature: Option<u32>,
    /// Whether tracking was asked for. Where that is not known, the JVM is asked once.
    pub setting: NmtSetting,
    /// The first of `sun.rt.jvmCapabilities`: whether the JVM can be attached to. `None` while it is not known.
    pub attach_supported: Option<bool>,
    /// The region says that the JVM is ready for readers.
    pub accessible: bool,
}

/// A visible process.
#[derive(Debug)]
pub struct Process {
    /// Its pid in our pid namespace.
    pub pid: i32,
    /// Its directory in the proc file system, opened with `O_PATH`. It names this process for ever: once the process
    /// is gone, it is empty.
    pub directory: OwnedFd,
    /// Field 22 of `stat` when it was found, in clock ticks since boot.
    pub start_time: u64,
}
