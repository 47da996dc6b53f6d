//! Facts that only a JVM's memory has.

#![allow(dead_code, unused_imports, reason = "the provider that publishes these readings comes with a later commit")]

mod buffers;
mod class_loaders;
mod fields;
pub mod objects;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
mod planted;
mod threads;
