//! The configuration in the sampler's own units.

use std::sync::Arc;
use std::time::Duration;

use super::rate::Rate;
use crate::config::Sampling;

/// No rate is faster than this.
const PERIOD_MINIMUM: u64 = 1_000_000;

/// How often to sample, and how to present pauses.
#[derive(Clone, Debug)]
pub(super) struct SamplerSettings {
    /// Nanoseconds between two samples of a JVM that collects.
    normal: u64,
    /// Nanoseconds between two samples of an idle JVM, at least `normal`.
    idle: u64,
    /// Upper bounds of the buckets of pauses in seconds, ascending.
    pub(super) bounds: Arc<[f64]>,
    /// Whether pauses are separated by cause.
    pub(super) causes: bool,
}

impl SamplerSettings {
    /// Nanoseconds between two samples at a rate, never zero.
    pub(super) fn period(&self, rate: Rate) -> u64 {
        match rate {
            Rate::Fast => (self.normal / 5).max(PERIOD_MINIMUM),
            Rate::Normal => self.normal,
            Rate::Idle => self.idle,
        }
    }
}

impl From<&Sampling> for SamplerSettings {
    fn from(config: &Sampling) -> Self {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let normal = nanoseconds(config.interval).max(PERIOD_MINIMUM);
        Self {
            normal,
            idle: nanoseconds(config.idle_interval).max(normal),
            bounds: config.buckets.clone().into(),
            causes: config.causes,
        }
    }
}
