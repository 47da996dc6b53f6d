//! What the kernel reports about a JVM's process: /proc and its cgroup. It includes what Native Memory Tracking cannot
//! see: memory of native libraries, mapped files, allocator slack, and the limit at which the kernel kills the process.
//!
//! [`ProcessMonitor`] reads every process at its own interval, never during a scrape. A process that is not visible (a
//! sidecar without a shared pid namespace) has no provider; where its cgroup is not visible under the exporter's own
//! cgroup mounts, the `cgroup.*` facts are absent.

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

mod monitor;
mod usage;

pub(crate) use monitor::ProcessMonitor;
