//! hotspot-exporter
pub mod formula;
pub mod hotspot;
pub mod metric;
pub mod nmt;
pub mod perfdata;
pub mod process;
pub mod sheet;
pub mod snapshot;
