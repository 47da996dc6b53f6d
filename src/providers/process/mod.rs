//! What the kernel knows of a JVM's process: /proc and its cgroup. It shows what Native Memory Tracking cannot see:
//! memory of native libraries, mapped files, allocator slack, and the limit that ends it all.
//!
//! [`Observer`] looks at every process at its own interval, never during a scrape. Where a process is not visible
//! (a sidecar without a shared pid namespace) there is nothing to observe, and where its cgroup is not visible under
//! our own cgroup mounts, the `cgroup.*` facts are absent.

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

mod observer;
mod usage;

pub use observer::{INTERVAL, ObservedProcess, Observer};
