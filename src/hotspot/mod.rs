//! What HotSpot's counters mean: collectors, pools, safepoints, versions.
//!
//! The module turns an [`Image`] into [`Fact`]s and a [`Jvm`], the only place that knows HotSpot's traps. Names, labels
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
mod jvm;
mod pool;
mod runtime;
mod safepoint;
#[cfg(test)]
mod tests;
pub mod units;
mod version;

use crate::fact::Fact;
use crate::perfdata::Image;

pub use collector::{Collector, Pauses, pauses};
pub use command::NmtSetting;
pub use jvm::Jvm;

use counters::Counters;
use jvm::is_native_image;

/// What the counters of one JVM say. Made once per layout; the formulas are evaluated as often as wanted.
pub fn facts(image: &Image) -> Vec<Fact> {
    let (jvm, counters) = (Jvm::of(image, &[]), Counters::of(image));
    let mut facts = Vec::new();
    runtime::facts(&counters, &mut facts);
    pool::facts(&jvm, &counters, &mut facts);
    collector::facts(image, &counters, &mut facts);
    safepoint::facts(&jvm, &counters, &mut facts);
    facts
}
