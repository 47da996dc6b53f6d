//! One moment of every JVM, from which all outputs of that moment are written.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use crate::fact::{ProviderId, PublishedId, Since, Values};
use crate::metric::Value;
use crate::perfdata::{LayoutChange, MemoryError, RegionError, WriterState};
use crate::proc;
use crate::targets::{Target, TargetSet, TargetState};

/// Every JVM of a target_set at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The JVMs, in the order of `samples`.
    pub target_set: Arc<TargetSet>,
    samples: Vec<Sample>,
    words: Vec<i64>,
    /// What kept JVMs of the target_set from being read.
    pub failures: Vec<UnreadTarget>,
    /// A JVM's plan no longer fits it, or it is gone: the target_set should be made anew soon.
    pub outdated: bool,
}

/// A JVM that could not be read, by its index in the target_set.
#[derive(Debug)]
pub struct UnreadTarget {
    /// Index in the target_set.
    pub target: usize,
    /// Why.
    pub reason: ReadFailure,
}

/// Why a JVM of the target_set gave no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReadFailure {
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

impl ReadFailure {
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

impl From<&RegionError> for ReadFailure {
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
    providers: [Vec<Option<Value>>; ProviderId::COUNT],
    /// When the JVM started, and when the exporter began to watch it, in seconds since the epoch.
    started: Option<f64>,
    attached: Option<f64>,
}

impl Snapshot {
    /// Reads every JVM of `target_set`. Those not reached before `deadline` are marked as unreadable.
    pub fn take(target_set: Arc<TargetSet>, deadline: Instant) -> Self {
        let exited = exited(&target_set.targets);
        Self::read(target_set, |index| {
            if exited.get(index).copied().unwrap_or(false) {
                Err(ReadFailure::Exited)
            } else if Instant::now() >= deadline {
                Err(ReadFailure::Deadline)
            } else {
                Ok(())
            }
        })
    }

    /// The last values of JVMs, whether they live or not: a region that is mapped outlives its JVM.
    pub fn last(targets: Vec<Arc<Target>>) -> Self {
        Self::read(Arc::new(TargetSet { targets, ..TargetSet::default() }), |_| Ok(()))
    }

    /// Reads the JVMs of `target_set` of which, by their index, nothing speaks against it.
    fn read(target_set: Arc<TargetSet>, may_read: impl Fn(usize) -> Result<(), ReadFailure>) -> Self {
        let mut snapshot = Self {
            samples: Vec::with_capacity(target_set.targets.len()),
            words: Vec::with_capacity(target_set.words()),
            failures: Vec::new(),
            outdated: false,
            target_set: Arc::clone(&target_set),
        };
        let mut row = Vec::new();
        for (index, target) in target_set.targets.iter().enumerate() {
            let mut sample = Sample::default();
            let outcome = may_read(index).and_then(|()| {
                target.region.read(&target.region_identity, &target.words, &mut row).map_err(|error| (&error).into())
            });
            match outcome {
                Ok(freshness) => {
                    snapshot.outdated |= freshness == LayoutChange::Grown;
                    if target.state != TargetState::Stalled {
                        sample.first = Some(snapshot.words.len());
                        snapshot.words.extend_from_slice(&row);
                    }
                    for (id, provider, shape) in &target.providers {
                        let (facts, values) = provider.read();
                        let same = Arc::ptr_eq(&facts, shape);
                        snapshot.outdated |= !same;
                        // Of a provider that has grown, the cells that the plan knows are still what they were.
                        if same || facts.starts_with(shape) {
                            sample.providers[*id as usize] = values;
                        }
                    }
                }
                Err(reason) => {
                    sample.gone = matches!(reason, ReadFailure::Exited | ReadFailure::Replaced);
                    snapshot.outdated |= reason != ReadFailure::Deadline;
                    snapshot.failures.push(UnreadTarget { target: index, reason });
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

impl Values for View<'_> {
    fn word(&self, index: u32) -> Option<i64> {
        self.words?.get(index as usize).copied()
    }

    fn cell(&self, id: PublishedId) -> Option<Value> {
        self.words?;
        self.sample?.providers[id.provider as usize].get(id.index as usize).cloned().flatten()
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
    let mut ended = proc::exited(&processes).into_iter();
    targets
        .iter()
        .map(|target| match &target.process {
            Some(_) => ended.next().unwrap_or(false),
            None => target.is_unlinked() && target.region.writer() == WriterState::Absent,
        })
        .collect()
}
