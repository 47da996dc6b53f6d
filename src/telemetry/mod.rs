//! What the exporter says about itself: logs, and its own metrics.

pub mod log;
mod process;
mod quiet;
mod self_metrics;

pub(crate) use process::start_time as process_start_time;
pub use quiet::Quiet;
pub use self_metrics::{InFlight, Refusal, ReloadOutcome, SelfMetrics, Series, Vocabulary, nmt_failures, sampler};
