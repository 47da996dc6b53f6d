//! What needs no JVM: the library and the program over recorded regions and processes that imitate JVMs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod cli;
mod decode;
mod doctor;
mod exposition;
mod faults;
mod golden;
mod hostile;
mod official_client;
mod otlp_environment;
mod otlp_faults;
mod otlp_messages;
mod overview;
mod page;
mod protobuf;
mod protobuf_messages;
mod reference;
mod region;
mod schema;
mod server;
mod service;
mod structure;
mod targets;
mod top;
mod web;
