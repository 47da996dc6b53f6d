//! One moment of every JVM, from which all outputs of that moment are written.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Instant, UNIX_EPOCH};

use crate::discovery;
use crate::formula::{BoardId, CellId, Since, Source};
use crate::hotspot::Fact;
use crate::metric::Value;
use crate::perfdata::{Freshness, MemoryError, RegionError, Writer};
use crate::roster::{Roster, State, Target};

/// What a board publishes: facts whose formulas are cells of that board, and one value per cell.
pub type Reading = (Arc<[Fact]>, Vec<Option<Value>>);

/// The facts as an `Arc` that all JVMs with equal facts have in common: a thousand of a kind hold them once.
pub fn share(facts: Vec<Fact>) -> Arc<[Fact]> {
    static SHARED: Mutex<Vec<Weak<[Fact]>>> = Mutex::new(Vec::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|other| other.strong_count() > 0);
    if let Some(same) = shared.iter().filter_map(Weak::upgrade).find(|other| **other == *facts) {
        return same;
    }
    let facts: Arc<[Fact]> = facts.into();
    shared.push(Arc::downgrade(&facts));
    facts
}

/// A board, whose it is, and the facts from which plans were made.
pub type Attached = (BoardId, Arc<dyn Board>, Arc<[Fact]>);

/// Values that another part of the program has for one JVM: NMT, /proc, the sampler.
pub trait Board: Debug + Send + Sync {
    /// The facts and their values now, cell by cell. Must not block on the JVM, a file or a socket. The same facts are
    /// given as the same `Arc`: a new one makes the JVM's plan anew.
    fn read(&self) -> Reading;
}

/// Every JVM of a roster at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The JVMs, in the order of `samples`.
    pub roster: Arc<Roster>,
    samples: Vec<Sample>,
    words: Vec<i64>,
    /// What kept JVMs of the roster from being read.
    pub failures: Vec<Failure>,
    /// A JVM's plan no longer fits it, or it is gone: the roster should be made anew soon.
    pub outdated: bool,
}

/// A JVM that could not be read, by its index in the roster.
#[derive(Debug)]
pub struct Failure {
    /// Index in the roster.
    pub target: usize,
    /// Why.
    pub reason: FailureReason,
}

/// Why a JVM of the roster gave no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureReason {
    /// The process ended, or the last writer of its region is gone.
    Exited,
    /// Another JVM took the region over.
    Replaced,
    /// The file shrank.
    Truncated,
    /// The region changed during every copy of it.
    Unsettled,
    /// The operating system refused.
    Io,
    /// The scraper's deadline had passed.
    Deadline,
}

impl FailureReason {
    /// Every reason, for metrics that show zeros too.
    pub const ALL: [Self; 6] =
        [Self::Exited, Self::Replaced, Self::Truncated, Self::Unsettled, Self::Io, Self::Deadline];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Replaced => "replaced",
            Self::Truncated => "truncated",
            Self::Unsettled => "unsettled",
            Self::Io => "io",
            Self::Deadline => "deadline",
        }
    }
}

impl From<&RegionError> for FailureReason {
    fn from(error: &RegionError) -> Self {
        match error {
            RegionError::Truncated | RegionError::Size(_) => Self::Truncated,
            RegionError::Replaced
            | RegionError::Decode(_)
            | RegionError::Offset(_)
            | RegionError::Memory(MemoryError::Unmapped) => Self::Replaced,
            RegionError::Memory(MemoryError::Ended) => Self::Exited,
            RegionError::Unsettled => Self::Unsettled,
            RegionError::Memory(_) | RegionError::Io(_) => Self::Io,
        }
    }
}

/// One JVM's part of a snapshot.
#[derive(Debug, Default)]
struct Sample {
    /// Its words start here in the snapshot's words; `None` while it cannot be read.
    first: Option<usize>,
    /// The JVM is gone: not even `jvm_up` is left of it.
    gone: bool,
    boards: [Vec<Option<Value>>; BoardId::COUNT],
    /// When the JVM started, and when the exporter began to watch it, in seconds since the epoch.
    started: Option<f64>,
    attached: Option<f64>,
}

impl Snapshot {
    /// Reads every JVM of `roster`. Those not reached before `deadline` are marked as unreadable.
    pub fn take(roster: Arc<Roster>, deadline: Instant) -> Self {
        let exited = exited(&roster.targets);
        Self::read(roster, |index| {
            if exited.get(index).copied().unwrap_or(false) {
                Err(FailureReason::Exited)
            } else if Instant::now() >= deadline {
                Err(FailureReason::Deadline)
            } else {
                Ok(())
            }
        })
    }

    /// The last values of JVMs, whether they live or not: a region that is mapped outlives its JVM.
    pub fn last(targets: Vec<Arc<Target>>) -> Self {
        Self::read(Arc::new(Roster { targets, ..Roster::default() }), |_| Ok(()))
    }

    /// Reads the JVMs of `roster` of which, by their index, nothing speaks against it.
    fn read(roster: Arc<Roster>, may_read: impl Fn(usize) -> Result<(), FailureReason>) -> Self {
        let mut snapshot = Self {
            samples: Vec::with_capacity(roster.targets.len()),
            words: Vec::with_capacity(roster.words()),
            failures: Vec::new(),
            outdated: false,
            roster: Arc::clone(&roster),
        };
        let mut row = Vec::new();
        for (index, target) in roster.targets.iter().enumerate() {
            let mut sample = Sample::default();
            let outcome = may_read(index).and_then(|()| {
                target.region.gather(&target.seal, &target.words, &mut row).map_err(|error| (&error).into())
            });
            match outcome {
                Ok(freshness) => {
                    snapshot.outdated |= freshness == Freshness::Grown;
                    if target.state != State::Stalled {
                        sample.first = Some(snapshot.words.len());
                        snapshot.words.extend_from_slice(&row);
                    }
                    for (id, board, shape) in &target.boards {
                        let (facts, values) = board.read();
                        let same = Arc::ptr_eq(&facts, shape);
                        snapshot.outdated |= !same;
                        // Of a board that has grown, the cells that the plan knows are still what they were.
                        if same || facts.starts_with(shape) {
                            sample.boards[*id as usize] = values;
                        }
                    }
                }
                Err(reason) => {
                    sample.gone = matches!(reason, FailureReason::Exited | FailureReason::Replaced);
                    snapshot.outdated |= reason != FailureReason::Deadline;
                    snapshot.failures.push(Failure { target: index, reason });
                }
            }
            snapshot.samples.push(sample);
            let started =
                target.vitals.start_time.as_ref().and_then(|start| start.evaluate(&snapshot.of(index as u32)));
            if let Some(sample) = snapshot.samples.last_mut() {
                sample.started = started.map(|start| start.as_f64());
                sample.attached = target.attached.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
            }
        }
        snapshot
    }

    /// The values of the JVM of that index.
    pub fn of(&self, target: u32) -> View<'_> {
        let sample = self.samples.get(target as usize);
        View { sample, words: sample.and_then(|sample| self.words.get(sample.first?..)) }
    }
}

/// One JVM's values in a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    sample: Option<&'a Sample>,
    words: Option<&'a [i64]>,
}

impl View<'_> {
    /// Whether the JVM has ended: it has no series at all.
    pub fn is_gone(&self) -> bool {
        self.sample.is_none_or(|sample| sample.gone)
    }
}

impl Source for View<'_> {
    fn word(&self, index: u32) -> Option<i64> {
        self.words?.get(index as usize).copied()
    }

    fn cell(&self, id: CellId) -> Option<Value> {
        self.words?;
        self.sample?.boards[id.board as usize].get(id.index as usize).cloned().flatten()
    }

    fn is_up(&self) -> Option<bool> {
        (!self.is_gone()).then_some(self.words.is_some())
    }

    fn created(&self, since: Since) -> Option<f64> {
        match since {
            Since::Start => self.sample?.started,
            Since::Attached => self.sample?.attached,
            Since::Before => None,
        }
    }
}

/// Which JVMs have ended: by their processes in one system call, or, where no process is visible, by the file: one
/// that is unlinked and has no writer left. (A tmp cleaner unlinks files of living JVMs, so unlinked is not dead.)
fn exited(targets: &[Arc<Target>]) -> Vec<bool> {
    let processes: Vec<_> = targets.iter().filter_map(|target| target.process.as_deref()).collect();
    let mut ended = discovery::exited(&processes).into_iter();
    targets
        .iter()
        .map(|target| match &target.process {
            Some(_) => ended.next().unwrap_or(false),
            None => target.is_unlinked() && target.region.writer() == Writer::Absent,
        })
        .collect()
}
