//! `--web.config.file` against clients that are not ours: curl and openssl.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod failures;
mod passwords;
mod rotation;
mod tls;
mod website;
