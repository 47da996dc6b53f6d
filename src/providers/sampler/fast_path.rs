//! A JVM's entry in the schedule: enough to see that nothing happened, without the lock of its [`JvmSampler`].
//!
//! [`JvmSampler`]: super::jvm::JvmSampler

use std::sync::Arc;

use super::gauge::{GaugeLayout, GaugeMaxima};
use super::in_memory::Attention;
use super::jvm::{Scratch, Tick};
use super::rate::{EVALUATION_PERIOD, Rate};
use super::schedule::SharedSampler;
use super::words::{DETECTOR_WORDS, WordCursor};
use crate::perfdata::{ChangeDetector, Consistency, Region, RegionIdentity, Transport};
use crate::providers::peak::WINDOW_COUNT;
use crate::sync::lock;

/// Nanoseconds between two samples of the gauges of a quiescent JVM. HotSpot writes them every 50 ms
/// (`PerfDataSamplingInterval`); a little less, so that an early tick does not skip one.
const GAUGE_PERIOD: u64 = 45_000_000;

/// Most samples find nothing new. With a thousand JVMs their cost is the memory that they touch, so what those need is
/// a cache line or two here, and of the region.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct FastPath {
    /// `None` where no word shows that nothing happened: every sample is full then.
    detector: Option<ChangeDetector<DETECTOR_WORDS>>,
    /// The detector's words at the last full sample.
    baseline: [i64; DETECTOR_WORDS],
    /// When more than the detector is due, on the monotonic clock; 0 while a collector is active.
    gauges_due: u64,
    /// When a full sample is due.
    full_due: u64,
    windows: [i64; WINDOW_COUNT],
    region: Arc<Region>,
    region_identity: RegionIdentity,
    /// [`SamplePlan::gauge_offsets`](super::sample_plan::SamplePlan::gauge_offsets)
    offsets: Box<[u32]>,
    /// [`JvmSampler::undetected_words`](super::jvm::JvmSampler::undetected_words) at the last full sample.
    undetected: Vec<i64>,
    layout: GaugeLayout,
    /// Since the last full sample.
    maxima: GaugeMaxima,
    /// The rate after the last full sample.
    pub(super) rate: Rate,
    sampler: SharedSampler,
    in_memory: bool,
}

impl FastPath {
    /// The entry of a JVM that has no sample yet.
    pub(super) fn new(shared: SharedSampler) -> Self {
        let sampler = lock(&shared);
        let subject = &sampler.subject;
        let (region, region_identity) = (Arc::clone(&subject.region), subject.region_identity);
        let offsets = subject.plan.detector_offsets();
        let entry = Self {
            detector: offsets.and_then(|offsets| ChangeDetector::new(&region, &region_identity, offsets)),
            baseline: [0; DETECTOR_WORDS],
            gauges_due: 0,
            full_due: 0,
            windows: [0; WINDOW_COUNT],
            region,
            region_identity,
            offsets: subject.plan.gauge_offsets().unwrap_or_default().into(),
            undetected: Vec::new(),
            layout: GaugeLayout::of(&subject.plan),
            maxima: GaugeMaxima::default(),
            rate: Rate::Normal,
            in_memory: subject.region.transport() == Transport::Memory,
            sampler: Arc::clone(&shared),
        };
        drop(sampler);
        entry
    }

    /// Has the thread say that it looks at this JVM, if the look may never end. A mapped region, which has a detector
    /// without system calls, costs nothing more.
    pub(super) fn attract(&self, attention: &Attention) {
        if self.in_memory {
            attention.turn_to(&self.sampler);
        }
    }

    /// Takes one sample, in most cases with one read. False: the region is lost, or nothing holds the provider.
    pub(super) fn sample(&mut self, tick: Tick, scratch: &mut Scratch) -> bool {
        if self.gauges_due > 0 && tick.monotonic >= self.gauges_due && self.sample_gauges(tick, scratch) {
            return true;
        }
        let detected = self.detector.as_ref().and_then(ChangeDetector::load);
        if detected == Some(self.baseline) && tick.monotonic < self.gauges_due {
            return true;
        }
        self.sample_fully(tick, detected, scratch)
    }

    /// False: a full sample is needed.
    fn sample_gauges(&mut self, tick: Tick, scratch: &mut Scratch) -> bool {
        if tick.monotonic >= self.full_due || self.windows != tick.windows {
            return false;
        }
        // A full sample meets the same error, and reports it to the provider.
        let Ok(consistency) = self.region.read_once(&self.region_identity, &self.offsets, &mut scratch.words) else {
            return false;
        };
        let Some(mut maxima) = self.maxima_with(scratch) else { return false };
        if consistency == Consistency::MaybeTorn && maxima != self.maxima {
            if self.region.read_fast(&self.region_identity, &self.offsets, &mut scratch.words).is_err() {
                return false;
            }
            let Some(stable) = self.maxima_with(scratch) else { return false };
            maxima = stable;
        }
        self.maxima = maxima;
        self.gauges_due = tick.monotonic.saturating_add(GAUGE_PERIOD);
        true
    }

    /// The maxima raised to the words just read; `None` where the words before them differ from the last full sample.
    fn maxima_with(&self, scratch: &Scratch) -> Option<GaugeMaxima> {
        let mut words = WordCursor(&scratch.words);
        let unchanged =
            words.take(DETECTOR_WORDS) == self.baseline && words.take(self.undetected.len()) == self.undetected;
        let mut maxima = self.maxima;
        unchanged.then(|| self.layout.raise(&mut maxima, &mut words))?;
        Some(maxima)
    }

    /// `detected` is read before the words of the full sample, so that whatever happens after them changes it.
    fn sample_fully(&mut self, tick: Tick, detected: Option<[i64; DETECTOR_WORDS]>, scratch: &mut Scratch) -> bool {
        if Arc::strong_count(&self.sampler) == 1 {
            return false;
        }
        let mut sampler = lock(&self.sampler);
        let Some(next) = sampler.sample(tick, std::mem::take(&mut self.maxima), scratch) else { return false };
        self.undetected.clear();
        self.undetected.extend(sampler.undetected_words());
        drop(sampler);
        self.rate = next.rate;
        self.baseline = detected.unwrap_or_default();
        let skip = next.quiescent && detected.is_some();
        self.gauges_due = if skip { tick.monotonic.saturating_add(GAUGE_PERIOD) } else { 0 };
        self.full_due = tick.monotonic.saturating_add(EVALUATION_PERIOD);
        self.windows = tick.windows;
        true
    }
}
