//! The meaning of HotSpot's counters: collectors, pools, safepoints, versions.
//!
//! [`Model`] interprets an [`Image`](crate::perfdata::Image), once per JVM and in one place. The names, labels and
//! units of metrics are up to the YAML rules, which refer to the facts of [`crate::fact::catalogue`].
//!
//! # Promises
//! - A value that a JDK does not publish, or publishes wrongly, is omitted. A counter that is missing because the
//!   region is full removes the facts that need it, and no others.
//! - The image comes from another process: no content makes this module panic or loop for long.
//! - Nothing of a command line leaves the module but what [`Jvm`] declares.

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

mod collector;
mod command;
mod counters;
mod facts;
mod flags;
mod jvm;
mod launch;
mod model;
mod options;
mod pool;
#[cfg(test)]
mod tests;
mod text_counter;
pub(crate) mod units;

pub use collector::Role;
pub(crate) use collector::{Collector, PauseCounters};
pub(crate) use counters::ticks_per_second;
pub(crate) use flags::PUBLISHED_FLAGS;
pub use jvm::Jvm;
pub(crate) use launch::{ProcessStart, VARIABLES};
pub use model::Model;
pub(crate) use options::CpuSetting;
pub use options::NmtSetting;
pub(crate) use pool::{CODE_HEAP_NAMES, Pool};
pub use text_counter::TextCounter;
