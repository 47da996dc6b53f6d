//! Snapshots in the formats that consumers read: [`prometheus`] pages for scrapes, [`otlp`] requests for pushes.

pub mod otlp;
pub mod prometheus;
