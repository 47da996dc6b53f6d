//! hotspot-exporter
pub mod config;
pub mod exposition;
pub mod formula;
pub mod hotspot;
pub mod mapping;
pub mod metric;
pub mod perfdata;
pub mod sampler;
pub mod snapshot;
