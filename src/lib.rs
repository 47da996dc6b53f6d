//! hotspot-exporter
pub mod exposition;
pub mod formula;
pub mod hotspot;
pub mod metric;
pub mod perfdata;
pub mod snapshot;
