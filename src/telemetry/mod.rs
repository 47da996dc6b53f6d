//! What the exporter reports about itself: logs, and its own metrics.

mod dedup;
mod http;
pub mod log;
mod process;
mod registry;

pub(crate) use dedup::LogDedup;
pub use http::HttpMetrics;
pub(crate) use http::HttpRefusal;
pub(crate) use process::{ProcessMetrics, start_time as process_start_time};
pub(crate) use registry::{
    Bounds, By, Counter, DurationHistogram, Gauge, ObservedCounter, OptionalGauge, Outcome, SampleSource, SeriesKey,
    UpDownCounter, closed_label, int, metrics, unix_time,
};
pub use registry::{Declaration, MetricGroup};
