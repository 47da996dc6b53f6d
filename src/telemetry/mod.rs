//! What the exporter says about itself: logs, and its own metrics.

mod dedup;
pub mod log;
mod process;
mod registry;

pub use dedup::LogDedup;
pub(crate) use process::start_time as process_start_time;
pub use registry::{HttpRefusal, InFlight, ReloadOutcome, SelfMetrics, Vocabulary, nmt_failures, sampler};
