//! One JVM under watch: what its looks have added up to.

use std::sync::Arc;

use super::allocation::{Allocation, Interval};
use super::cycle::Cycles;
use super::distribution::Distribution;
use super::facts::{self, Cell};
use super::pace::{Pace, Tempo};
use super::pause::{Completed, Look, Pauses, steady};
use super::peak::{Peak, WINDOWS, Windows};
use super::watchlist::{NO_GC, NO_GC_BYTES, PauseSource, Role, Survivors, Watchlist};
use super::{Settings, Subject};
use crate::hotspot::Fact;
use crate::metric::Value;
use crate::perfdata::{Region, RegionError, Seal};
use crate::snapshot::Reading;

/// Distinct causes told apart per JVM; HotSpot has about 33, in free text.
const CAUSES: usize = 40;

/// The moment of a look, taken once for all JVMs of a tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Steady clock, in nanoseconds.
    pub(super) steady: u64,
    /// Ordinals of the open windows.
    pub(super) windows: [i64; WINDOWS],
}

/// Room for the words of a look, shared by all JVMs.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    words: Vec<i64>,
    again: Vec<i64>,
}

/// All that is known of one JVM.
#[derive(Debug)]
pub(super) struct Track {
    region: Arc<Region>,
    seal: Seal,
    list: Watchlist,
    settings: Arc<Settings>,
    offsets: Box<[u32]>,
    created: f64,
    collectors: Vec<Collector>,
    causes: Vec<CauseTrack>,
    cycles: Cycles,
    windows: Windows,
    heap: Peak,
    threads: Peak,
    classes: Peak,
    /// Used per pool when the last collection had ended.
    survived: Option<Box<[i64]>>,
    allocation: Option<Allocation>,
    tempo: Tempo,
    cells: Vec<Cell>,
    facts: Arc<[Fact]>,
    lost: bool,
}

#[derive(Debug)]
struct Collector {
    pauses: Option<Pauses>,
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
    /// Most pauses of one collector.
    most: u64,
    /// A pause runs, or its words changed.
    disturbed: bool,
}

impl Track {
    /// Starts to watch at `now`, seconds since the epoch.
    pub(super) fn new(subject: Subject, settings: Arc<Settings>, now: f64, steady: u64) -> Self {
        let Subject { region, seal, list } = subject;
        let lengths = || Distribution::new(&settings.bounds, list.frequency, now);
        let collectors = list.pauses.iter().map(|_| Collector {
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
            tempo: Tempo::new(settings.nanoseconds(), steady),
            region,
            seal,
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
            lost: false,
        }
    }

    /// The watchlist that this JVM is watched by.
    pub(super) fn list(&self) -> &Watchlist {
        &self.list
    }

    /// Looks once. `None`: the region is not this JVM's any more, and there is nothing left to watch.
    pub(super) fn look(&mut self, now: Moment, scratch: &mut Scratch) -> Option<Pace> {
        if !self.lost {
            self.lost = self.try_look(now, scratch).is_err();
        }
        (!self.lost).then_some(self.tempo.pace())
    }

    fn try_look(&mut self, now: Moment, scratch: &mut Scratch) -> Result<(), RegionError> {
        let Scratch { words, again } = scratch;
        self.region.peek(&self.seal, &self.offsets, words)?;
        self.turn_windows(now);

        let mut rest: &[i64] = words;
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count).unwrap_or_default();
            rest = left;
            taken
        };
        let pausing = self.look_at_pauses(take(self.list.pauses.len().saturating_mul(4)), again);
        let mut running = false;
        let mut collected = self.list.survivors == Some(Survivors::AfterPause) && pausing.young.max(pausing.full) > 0;
        if let Some((_, cause)) = &self.list.cycles {
            running = !cause.is(take(cause.words(NO_GC_BYTES).count()), NO_GC);
            let ended = self.cycles.look(running, now.steady);
            collected |= ended && self.list.survivors == Some(Survivors::AfterCycle);
        }
        let used = self.list.pools.iter().map(|pool| sum(take(pool.used.len())));
        if collected {
            self.survived = Some(used.collect());
            if let (true, Some(pools)) = (self.list.heap_peak, &self.survived) {
                self.heap.see(sum(pools));
            }
        } else {
            let heap = used.fold(0_i64, i64::saturating_add);
            if self.list.heap_peak {
                self.heap.see(heap);
            }
        }
        if let (Some(_), [live]) = (self.list.threads, take(usize::from(self.list.threads.is_some()))) {
            self.threads.see(*live);
        }
        if self.list.classes.is_some() {
            if let [loaded, shared, unloaded, shared_unloaded] = take(4) {
                self.classes.see(sum(&[*loaded, *shared]).saturating_sub(sum(&[*unloaded, *shared_unloaded])));
            }
        }
        if let Some(source) = self.list.allocation {
            let interval = Interval {
                tlab: take(1).first().copied().unwrap_or(0),
                old: source.old.and_then(|_| take(1).first().copied()),
                young: pausing.young,
                full: pausing.full,
                disturbed: pausing.disturbed,
            };
            self.allocation.get_or_insert_with(|| Allocation::new(source.rule, interval)).look(interval);
        }
        self.tempo.look(now.steady, pausing.most, running || pausing.disturbed);
        Ok(())
    }

    fn turn_windows(&mut self, now: Moment) {
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
                    self.region.peek(&self.seal, &source.offsets(), again).ok()?;
                    look_of(again)
                };
                // Words that do not come to rest are read again at the next tick.
                if let Some(rest) = steady(look, read) {
                    look = rest;
                    completed = match &mut collector.pauses {
                        Some(pauses) => pauses.take(look),
                        none => {
                            *none = Some(Pauses::new(look));
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
                    Role::Phase => {}
                }
                collector.interpolated = collector.interpolated.saturating_add(completed.interpolated());
                collector.lengths.add(&completed);
            }
        }
        pausing
    }
}
