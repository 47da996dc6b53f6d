//! Metrics of HotSpot JVMs, read from the shared memory that every JVM keeps, without touching the JVM.
//!
//! # Flow
//! ```text
//! roots, /proc ─► discovery ─► target_set ──Image, once──► hotspot ──facts──► mapping ──Plan, Page──┐
//!                    files       └─ Region ── words, per scrape ──► snapshot ───────────────────┴─► exposition ─► server
//!                                                                       └► otlp
//! ```
//! [`discovery`] finds region files and gives a reason for each that it does not open. [`target_set`] follows their JVMs: it
//! maps each [`perfdata::Region`], decodes one [`perfdata::Image`] of it, has [`hotspot`] derive facts from the image and
//! [`mapping`] turn facts and counters into a plan of series by the rules of [`config`]. At a scrape, [`snapshot`] loads
//! the words of every JVM, and [`exposition`] writes them between pieces of text that were laid out when the plan was
//! made. [`otlp`] pushes the same snapshots. [`server`] serves, [`app`] wires, [`telemetry`] counts and logs.
//!
//! # Invariants
//! - A JVM is never harmed: nothing in its directories is written, locked or truncated.
//! - `unsafe` is in [`perfdata::region`] and nowhere else; no reference into foreign memory leaves it.
//! - Absent is absent: what a JVM does not publish, or publishes falsely, has no series.
//! - Bytes from other processes are hostile: no panic, bounded work, a typed error with the offset.
//! - One bad JVM, entry, rule or request stays local, with a reason that is counted.
//! - All outputs of one moment come from one snapshot.

pub mod app;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod fact;
pub mod history;
pub mod hotspot;
pub mod kubernetes;
pub mod metric;
pub mod output;
pub mod perfdata;
pub mod privilege;
pub mod proc;
pub mod providers;
pub mod report;
pub mod rules;
pub mod server;
pub mod service;
pub mod snapshot;
mod sync;
pub mod targets;
pub mod telemetry;
mod text;
pub mod tls;
pub mod top;
pub mod yaml;
