//! hotspot-exporter
pub mod exposition;
pub mod formula;
pub mod hotspot;
pub mod listing;
pub mod metric;
pub mod perfdata;
pub mod server;
pub mod snapshot;
pub mod telemetry;
