//! What an attacker gets, and what the exporter may do and may tell.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod attack;
mod privilege;
mod secrets;
