//! The pauses of all collectors of one JVM.

use super::SampleSubject;
use super::distribution::Distribution;
use super::pause::{CompletedPauses, PauseReading, PauseTracker, stable_reading};
use super::sample_plan::{PauseSource, SamplePlan};
use super::settings::SamplerSettings;
use super::words::{NO_GC, PAUSE_WORDS};
use crate::hotspot::Role;
use crate::providers::peak::Peak;

/// Most pairs of collector and cause kept apart per JVM; HotSpot has about 33 causes, in free text.
const CAUSES_MAXIMUM: usize = 40;

/// The cause of pauses other than the last, and of causes above [`CAUSES_MAXIMUM`].
const UNKNOWN: &str = "unknown";

/// Histograms and maxima of the pauses, by collector and, where configured, by cause.
#[derive(Debug)]
pub(super) struct GcPauses {
    pub(super) collectors: Vec<CollectorPauses>,
    pub(super) causes: Vec<CausePauses>,
    /// Empty.
    template: Distribution,
    by_cause: bool,
}

/// The pauses of one collector.
#[derive(Debug)]
pub(super) struct CollectorPauses {
    tracker: Option<PauseTracker>,
    pub(super) durations: Distribution,
    pub(super) interpolated: u64,
    pub(super) longest: Peak,
}

/// The pauses of one collector that have one cause.
#[derive(Debug)]
pub(super) struct CausePauses {
    pub(super) collector: usize,
    pub(super) cause: Box<str>,
    pub(super) durations: Distribution,
}

/// What happened to the pauses between two samples.
#[derive(Debug, Default)]
pub(super) struct PauseActivity {
    /// Completed pauses by role.
    pub(super) young: u64,
    pub(super) full: u64,
    /// Of concurrent cycles, and of minor collections of generational ZGC.
    pub(super) phases: u64,
    /// Of major collections of generational ZGC.
    pub(super) major: u64,
    /// Most completed pauses of one collector.
    pub(super) most: u64,
    /// Length of the longest completed pause, in ticks.
    pub(super) longest: i64,
    /// A pause or a cycle runs, or words of a pause changed.
    pub(super) active: bool,
    /// By collector, where causes are kept apart.
    pub(super) completed: Vec<(usize, CompletedPauses)>,
}

impl GcPauses {
    /// No pauses yet; `created` in seconds since the epoch.
    pub(super) fn new(plan: &SamplePlan, settings: &SamplerSettings, created: f64) -> Self {
        let template = Distribution::new(&settings.bounds, plan.frequency, created);
        let collectors = plan.pauses.iter().map(|_| CollectorPauses {
            tracker: None,
            durations: template.clone(),
            interpolated: 0,
            longest: Peak::default(),
        });
        Self { collectors: collectors.collect(), causes: Vec::new(), by_cause: settings.causes, template }
    }

    /// Adds the pauses that `words` show, [`PAUSE_WORDS`] for each collector.
    pub(super) fn sample(&mut self, subject: &SampleSubject, words: &[i64], buffer: &mut Vec<i64>) -> PauseActivity {
        let mut activity = PauseActivity::default();
        let readings = words.chunks_exact(PAUSE_WORDS).map(PauseReading::from_words);
        let sources = subject.plan.pauses.iter().zip(&mut self.collectors).zip(readings).enumerate();
        for (number, ((source, collector), reading)) in sources {
            let Some(reading) = reading else { continue };
            let changed = collector.tracker.is_none_or(|tracker| tracker.has_changed(&reading));
            let reread = || subject.read(&source.offsets, buffer).and_then(PauseReading::from_words);
            // Words that do not stabilize are read again at the next tick.
            let stable = if changed { stable_reading(reading, reread) } else { Some(reading) };
            let completed = stable.and_then(|reading| collector.update(reading, changed));
            activity.active |= changed || stable.unwrap_or(reading).is_running();
            collector.longest.record(completed.map_or(0, |completed| completed.longest()));
            if let Some(completed) = completed {
                activity.add(source, &completed);
                if self.by_cause {
                    activity.completed.push((number, completed));
                }
            }
        }
        activity
    }

    /// Adds pauses to the histograms of their causes. Only the last pause's cause can be known; `last_cause` reads it.
    pub(super) fn attribute(&mut self, completed: &[(usize, CompletedPauses)], last_cause: Option<&str>) {
        // Pauses without a known cause are pauses: they must not be missing from the sum. While the next collection
        // runs, the last cause reads "No GC".
        let cause = last_cause.filter(|cause| !cause.is_empty() && *cause != NO_GC).unwrap_or(UNKNOWN);
        for (collector, pauses) in completed {
            let (others, time) = pauses.others();
            if let Some(last) = pauses.last {
                let last = CompletedPauses { count: 1, time: last, last: Some(last) };
                self.durations_of(*collector, cause).add(&last);
            }
            if others > 0 || time > 0 {
                let others = CompletedPauses { count: others, time, last: None };
                self.durations_of(*collector, UNKNOWN).add(&others);
            }
        }
    }

    /// `invocations` of each collector, as far as counted.
    pub(super) fn invocations(&self) -> impl Iterator<Item = i64> {
        self.collectors.iter().map(|collector| collector.tracker.map_or(0, |tracker| tracker.invocations))
    }

    /// When the oldest running pause began, in ticks.
    pub(super) fn running_since(&self) -> Option<i64> {
        self.collectors.iter().filter_map(|collector| collector.tracker?.running_since).min()
    }

    fn durations_of(&mut self, collector: usize, cause: &str) -> &mut Distribution {
        let find = |causes: &[CausePauses], cause: &str| {
            causes.iter().position(|known| known.collector == collector && &*known.cause == cause)
        };
        let has_room = self.causes.len() < CAUSES_MAXIMUM || find(&self.causes, cause).is_some();
        let cause = if has_room { cause } else { UNKNOWN };
        let at = find(&self.causes, cause).unwrap_or_else(|| {
            self.causes.push(CausePauses { collector, cause: cause.into(), durations: self.template.clone() });
            self.causes.len().saturating_sub(1)
        });
        #[allow(clippy::indexing_slicing, reason = "`at` was just found or pushed")]
        &mut self.causes[at].durations
    }
}

impl CollectorPauses {
    /// Adds a reading; the pauses that it shows as completed.
    fn update(&mut self, reading: PauseReading, changed: bool) -> Option<CompletedPauses> {
        let Some(tracker) = &mut self.tracker else {
            self.tracker = Some(PauseTracker::new(reading));
            return None;
        };
        if !changed {
            tracker.set_running(&reading);
            return None;
        }
        let completed = tracker.update(reading)?;
        self.interpolated = self.interpolated.saturating_add(completed.interpolated());
        self.durations.add(&completed);
        Some(completed)
    }
}

impl PauseActivity {
    fn add(&mut self, source: &PauseSource, completed: &CompletedPauses) {
        self.most = self.most.max(completed.count);
        self.longest = self.longest.max(completed.longest());
        let count = match source.role {
            Role::Young => &mut self.young,
            Role::Full => &mut self.full,
            Role::MajorPhase => &mut self.major,
            Role::Phase => &mut self.phases,
        };
        *count = count.saturating_add(completed.count);
    }
}
