//! The exporter beside real JVMs, and real programs that take what it serves and sends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod attach;
mod boards;
mod discovery;
mod doctor;
mod facts;
mod forks;
mod live;
mod memory;
mod names;
mod native;
mod otlp_collector;
mod prometheus;
mod sampler;
mod starts;
mod threads;
