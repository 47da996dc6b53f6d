//! One JVM under watch: what its looks have added up to.

use std::sync::Arc;

use super::allocation::{Allocation, Interval};
use super::cycle::Cycles;
use super::distribution::Distribution;
use super::facts::{self, SampledValue};
use super::level::Levels;
use super::pause::{Completed, PauseReading, PauseTracker, steady};
use super::peak::{Peak, WINDOWS, Windows};
use super::rate::{Rate, RateController};
use super::sample_plan::{NO_GC, NO_GC_BYTES, SamplePlan, Survivors};
use super::{SampleSubject, SamplerSettings};
use crate::fact::Fact;
use crate::fact::Reading;
use crate::hotspot::Role;
use crate::metric::Value;
use crate::perfdata::{MemoryError, Region, RegionError, RegionIdentity};

/// Distinct causes told apart per JVM; HotSpot has about 33, in free text.
const CAUSES: usize = 40;

/// The cause of a pause that was not the last one, or one cause too many.
const UNKNOWN: &str = "unknown";

/// Most looks in a row that may fail before the JVM is given up: ten seconds at the idle pace. Each may cost many copies.
const FAILURES: u32 = 100;

/// The moment of a look, taken once for all JVMs of a tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    /// Steady clock, in nanoseconds.
    pub(super) steady: u64,
    /// Ordinals of the open windows.
    pub(super) windows: [i64; WINDOWS],
}

/// Room for the words of a look, shared by all JVMs.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) words: Vec<i64>,
    again: Vec<i64>,
}

/// What comes after a look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    /// When to look again.
    pub(super) pace: Rate,
    /// No collector runs, and none is in doubt.
    pub(super) rests: bool,
}

/// All that is known of one JVM.
#[derive(Debug)]
pub(super) struct JvmSampler {
    region: Arc<Region>,
    region_identity: RegionIdentity,
    list: Arc<SamplePlan>,
    settings: Arc<SamplerSettings>,
    offsets: Box<[u32]>,
    created: f64,
    collectors: Vec<CollectorState>,
    causes: Vec<CauseTrack>,
    cycles: Cycles,
    windows: Windows,
    heap: Peak,
    threads: Peak,
    classes: Peak,
    /// Used per pool when the last collection had ended.
    survived: Option<Box<[i64]>>,
    allocation: Option<Allocation>,
    tempo: RateController,
    cells: Vec<SampledValue>,
    facts: Arc<[Fact]>,
    /// Looks in a row that could not be taken.
    failures: u32,
    lost: bool,
}

#[derive(Debug)]
struct CollectorState {
    pauses: Option<PauseTracker>,
    lengths: Distribution,
    interpolated: u64,
    longest: Peak,
}

#[derive(Debug)]
struct CauseTrack {
    collector: usize,
    cause: Box<str>,
    lengths: Distribution,
}

/// What happened to the pauses between two looks.
#[derive(Default)]
struct Pausing {
    young: u64,
    full: u64,
    /// Of major collections of generational ZGC.
    major: u64,
    /// Most pauses of one collector.
    most: u64,
    /// A pause runs, or its words changed.
    disturbed: bool,
    /// By collector, where causes are told apart.
    completed: Vec<(usize, Completed)>,
}

impl JvmSampler {
    /// Starts to watch at `now`, seconds since the epoch.
    pub(super) fn new(subject: SampleSubject, settings: Arc<SamplerSettings>, now: f64, steady: u64) -> Self {
        let SampleSubject { region, region_identity, list } = subject;
        let list = Arc::new(list);
        let lengths = || Distribution::new(&settings.bounds, list.frequency, now);
        let collectors = list.pauses.iter().map(|_| CollectorState {
            pauses: None,
            lengths: lengths(),
            interpolated: 0,
            longest: Peak::new(),
        });
        let collectors = collectors.collect();
        let cells = facts::cells(&list, settings.causes);
        Self {
            facts: facts::facts(&cells, &list, &settings, &[]),
            cells,
            offsets: list.offsets().into(),
            // A cycle that begins and ends between two looks is not seen at all.
            tempo: RateController::new(settings.nanoseconds(), list.cycles.is_none(), steady),
            region,
            region_identity,
            list,
            settings,
            created: now,
            collectors,
            causes: Vec::new(),
            cycles: Cycles::default(),
            windows: Windows::new(),
            heap: Peak::new(),
            threads: Peak::new(),
            classes: Peak::new(),
            survived: None,
            allocation: None,
            failures: 0,
            lost: false,
        }
    }

    /// What a seat needs to look by itself.
    pub(super) fn parts(&self) -> (Arc<Region>, RegionIdentity, Arc<SamplePlan>) {
        (Arc::clone(&self.region), self.region_identity, Arc::clone(&self.list))
    }

    /// What changes without the pulse, as taken in: `invocations` of each collector, of which one may begin long after
    /// its safepoint was counted, and the bytes where humongous objects go.
    pub(super) fn settled(&self) -> impl Iterator<Item = i64> {
        let invocations = |collector: &CollectorState| collector.pauses.map_or(0, |pauses| pauses.invocations());
        let old = self.allocation.and_then(|allocation| allocation.old());
        self.collectors.iter().map(invocations).chain(old)
    }

    /// Looks at every word. `since` is the highest seen between this look and the one before. `None`: the region is not
    /// this JVM's any more, and there is nothing left to watch.
    pub(super) fn look(&mut self, now: Tick, since: Levels, scratch: &mut Scratch) -> Option<Next> {
        if self.lost {
            return None;
        }
        self.rise(since);
        let error = match self.try_look(now, scratch) {
            Ok(outlook) => {
                self.failures = 0;
                return Some(outlook);
            }
            Err(error) => error,
        };
        self.failures = self.failures.saturating_add(1);
        self.lost = !may_pass(&error) || self.failures > FAILURES;
        // What comes of the pauses meanwhile is in the words of the next look.
        (!self.lost).then_some(Next { pace: Rate::Idle, rests: false })
    }

    fn try_look(&mut self, now: Tick, scratch: &mut Scratch) -> Result<Next, RegionError> {
        let Scratch { words, again } = scratch;
        self.region.read_fast(&self.region_identity, &self.offsets, words)?;
        self.turn_windows(now);

        let mut words = WordCursor(words);
        let pausing = self.look_at_pauses(words.take(self.list.pauses.len().saturating_mul(4)), again);
        let mut running = false;
        let mut collected = self.list.survivors == Some(Survivors::AfterPause) && pausing.young.max(pausing.full) > 0;
        if let Some((_, cause)) = &self.list.cycles {
            running = !cause.is(words.take(cause.words(NO_GC_BYTES).count()), NO_GC);
            let ended = self.cycles.look(running, now.steady);
            collected |= ended && self.list.survivors == Some(Survivors::AfterCycle);
        }
        self.look_at_pools(&mut words, collected);
        if self.list.threads.is_some() {
            self.threads.see(sum(words.take(1)));
        }
        if self.list.classes.is_some() {
            let loaded = sum(words.take(2));
            self.classes.see(loaded.saturating_sub(sum(words.take(2))));
        }
        if let Some(source) = self.list.allocation {
            let interval = Interval {
                tlab: sum(words.take(1)),
                old: source.old.map(|_| sum(words.take(1))),
                young: pausing.young,
                major: pausing.major,
                disturbed: pausing.disturbed,
            };
            let allocation = self.allocation.get_or_insert_with(|| Allocation::new(source.rule, interval));
            if let Some(publication) = allocation.look(interval) {
                self.tempo.publication(now.steady, publication.lost);
            }
        }
        if !pausing.completed.is_empty() {
            self.attribute(&pausing.completed, again);
        }
        let stirring = running || pausing.disturbed;
        Ok(Next { pace: self.tempo.look(now.steady, pausing.most, stirring), rests: !stirring })
    }

    fn rise(&mut self, levels: Levels) {
        let peaks = [&mut self.heap, &mut self.threads, &mut self.classes];
        for (peak, level) in peaks.into_iter().zip([levels.heap, levels.threads, levels.classes]) {
            if let Some(level) = level {
                peak.see(level);
            }
        }
    }

    fn look_at_pools(&mut self, words: &mut WordCursor<'_>, collected: bool) {
        let used = self.list.pools.iter().map(|pool| sum(words.take(pool.used.len())));
        let heap = if collected {
            let survived: Box<[i64]> = used.collect();
            let heap = sum(&survived);
            self.survived = Some(survived);
            heap
        } else {
            used.fold(0, i64::saturating_add)
        };
        if self.list.heap_peak {
            self.heap.see(heap);
        }
    }

    fn turn_windows(&mut self, now: Tick) {
        if let Some(turns) = self.windows.turn(now.windows) {
            let peaks = [&mut self.heap, &mut self.threads, &mut self.classes];
            for peak in peaks.into_iter().chain(self.collectors.iter_mut().map(|collector| &mut collector.longest)) {
                peak.turn(turns);
            }
        }
    }

    fn look_at_pauses(&mut self, words: &[i64], again: &mut Vec<i64>) -> Pausing {
        let mut pausing = Pausing::default();
        let sources = self.list.pauses.iter().zip(&mut self.collectors).zip(words.chunks_exact(4)).enumerate();
        for (number, ((source, collector), words)) in sources {
            let Some(mut look) = look_of(words) else { continue };
            let is_news = collector.pauses.is_none_or(|pauses| pauses.is_news(&look));
            let mut completed = None;
            if is_news {
                let read = || {
                    self.region.read_fast(&self.region_identity, &source.offsets(), again).ok()?;
                    look_of(again)
                };
                // Words that do not come to rest are read again at the next tick.
                if let Some(rest) = steady(look, read) {
                    look = rest;
                    completed = match &mut collector.pauses {
                        Some(pauses) => pauses.take(look),
                        none => {
                            *none = Some(PauseTracker::new(look));
                            None
                        }
                    };
                }
            } else if let Some(pauses) = &mut collector.pauses {
                pauses.note(&look);
            }
            pausing.disturbed |= is_news || look.is_running();
            collector.longest.see(completed.map_or(0, |completed| completed.longest()));
            if let Some(completed) = completed {
                pausing.most = pausing.most.max(completed.count);
                match source.role {
                    Role::Young => pausing.young = pausing.young.saturating_add(completed.count),
                    Role::Full => pausing.full = pausing.full.saturating_add(completed.count),
                    Role::MajorPhase => pausing.major = pausing.major.saturating_add(completed.count),
                    Role::Phase => {}
                }
                collector.interpolated = collector.interpolated.saturating_add(completed.interpolated());
                collector.lengths.add(&completed);
                if self.settings.causes {
                    pausing.completed.push((number, completed));
                }
            }
        }
        pausing
    }

    /// Adds pauses to the histograms of their causes. Only the last one's cause can be known.
    fn attribute(&mut self, completed: &[(usize, Completed)], words: &mut Vec<i64>) {
        // Pauses without a known cause are pauses: they must not be missing from the sum.
        let cause = self.last_cause(words).unwrap_or_default();
        // While the next collection runs, it reads "No GC".
        let cause = if cause.is_empty() || cause == NO_GC { UNKNOWN } else { &cause };
        for (collector, pauses) in completed {
            let (others, time) = pauses.others();
            if let Some(last) = pauses.last {
                self.lengths_of(*collector, cause).add(&Completed { count: 1, time: last, last: Some(last) });
            }
            if others > 0 || time > 0 {
                self.lengths_of(*collector, UNKNOWN).add(&Completed { count: others, time, last: None });
            }
        }
    }

    fn last_cause(&self, words: &mut Vec<i64>) -> Option<String> {
        let text = self.list.last_cause?;
        let offsets: Vec<u32> = text.words(text.length()).collect();
        self.region.read_fast(&self.region_identity, &offsets, words).ok()?;
        Some(text.decode(words))
    }

    fn lengths_of(&mut self, collector: usize, cause: &str) -> &mut Distribution {
        let find = |causes: &[CauseTrack], cause: &str| {
            causes.iter().position(|known| known.collector == collector && &*known.cause == cause)
        };
        let cause = if self.causes.len() < CAUSES || find(&self.causes, cause).is_some() { cause } else { UNKNOWN };
        let at = find(&self.causes, cause).unwrap_or_else(|| {
            let lengths = Distribution::new(&self.settings.bounds, self.list.frequency, self.created);
            self.causes.push(CauseTrack { collector, cause: cause.into(), lengths });
            let at = self.causes.len().saturating_sub(1);
            self.cells.push(SampledValue::PausesByCause(at));
            let causes: Vec<_> = self.causes.iter().map(|known| (known.collector, &*known.cause)).collect();
            self.facts = facts::facts(&self.cells, &self.list, &self.settings, &causes);
            at
        });
        #[allow(clippy::indexing_slicing, reason = "`at` was just found or pushed")]
        &mut self.causes[at].lengths
    }

    /// What the provider shows at `now`, seconds since the epoch.
    pub(super) fn read(&self, now: f64) -> Reading {
        let values = self.cells.iter().map(|cell| if self.lost { None } else { self.value(*cell, now) });
        (Arc::clone(&self.facts), values.collect())
    }

    fn value(&self, cell: SampledValue, now: f64) -> Option<Value> {
        let collector = |number: usize| self.collectors.get(number);
        let count = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        Some(match cell {
            SampledValue::Pauses(number) => Value::Histogram(collector(number)?.lengths.histogram()),
            SampledValue::PausesByCause(at) => Value::Histogram(self.causes.get(at)?.lengths.histogram()),
            SampledValue::Interpolated(number) => count(collector(number)?.interpolated),
            SampledValue::LongestPause(number, window) => {
                Value::Float(collector(number)?.longest.last(window)? as f64 / self.list.frequency)
            }
            SampledValue::InProgress => Value::Int(self.running_since().is_some().into()),
            SampledValue::PauseAge => {
                let since = self.list.begin as f64 / 1e3 + self.running_since()? as f64 / self.list.frequency;
                Value::Float((now - since).max(0.0))
            }
            SampledValue::Cycles => count(self.cycles.count),
            SampledValue::CycleTime => Value::Float(self.cycles.nanoseconds as f64 / 1e9),
            SampledValue::PoolSurvivors(pool) => Value::Int(*self.survived.as_ref()?.get(pool)?),
            SampledValue::LiveSet => Value::Int(sum(self.survived.as_ref()?)),
            SampledValue::HeapPeak(window) => Value::Int(self.heap.last(window)?),
            SampledValue::ThreadPeak(window) => Value::Int(self.threads.last(window)?),
            SampledValue::ClassPeak(window) => Value::Int(self.classes.last(window)?),
            SampledValue::Allocated => Value::Int(self.allocation.as_ref()?.bytes()),
            SampledValue::Overwritten => count(self.allocation.as_ref()?.overwritten()),
        })
    }

    /// When the oldest running pause began, in ticks.
    fn running_since(&self) -> Option<i64> {
        self.collectors.iter().filter_map(|collector| collector.pauses?.running_since()).min()
    }
}

/// The words of a look that were not taken yet, in the order of [`SamplePlan::offsets`].
pub(super) struct WordCursor<'a>(pub(super) &'a [i64]);

impl<'a> WordCursor<'a> {
    pub(super) fn take(&mut self, count: usize) -> &'a [i64] {
        let (taken, rest) = self.0.split_at_checked(count).unwrap_or_default();
        self.0 = rest;
        taken
    }
}

/// Whether the next look may succeed after this error: it says nothing of whose region it is.
fn may_pass(error: &RegionError) -> bool {
    matches!(error, RegionError::Unsettled | RegionError::Io(_) | RegionError::Memory(MemoryError::Os(_)))
}

fn look_of(words: &[i64]) -> Option<PauseReading> {
    let [invocations, time, entry, exit] = *words else { return None };
    Some(PauseReading { invocations, time, entry, exit })
}

pub(super) fn sum(words: &[i64]) -> i64 {
    words.iter().copied().fold(0, i64::saturating_add)
}
