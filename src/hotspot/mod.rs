//! What HotSpot's counters mean: collectors, pools, safepoints, versions.
//!
//! The module turns an [`Image`](crate::perfdata::Image) into a [`Model`], the only place that knows HotSpot's traps. Names, labels
//! and units of the metrics made from facts are YAML's business; [`crate::fact::catalogue`] is what YAML may name.
//!
//! # Promises
//! - Absent is absent: what a JDK does not publish, or publishes falsely, is no fact. A counter that did not fit into
//!   the region takes with it the facts that need it, and no others.
//! - An image's bytes are another process's: any are legal, none make this module panic or loop for long.
//! - Of command lines only what [`Jvm`] says leaves the module.

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
mod jvm;
mod model;
mod pool;
mod runtime;
mod safepoint;
#[cfg(test)]
mod tests;
mod text_counter;
pub mod units;
mod version;

pub use collector::{Collector, PauseCounters, Role};
pub use command::NmtSetting;
pub use counters::ticks_per_second;
pub use jvm::Jvm;
pub use model::Model;
pub use pool::{Freshness, Heap, Pool, Usage};
pub use runtime::{Classes, Compiler, Threads};
pub use safepoint::Safepoints;
pub use text_counter::TextCounter;
