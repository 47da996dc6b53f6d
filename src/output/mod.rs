//! Writes snapshots: [`prometheus`] expositions for scrapes, [`otlp`] requests for pushes.

pub mod otlp;
pub mod prometheus;
mod wire;
