//! Facts that only a JVM's memory has.

#![allow(dead_code, reason = "the provider that publishes these readings comes with a later commit")]

mod fields;
pub mod objects;
mod threads;
