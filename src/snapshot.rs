//! The values of every JVM at one time, from which all outputs of that time are written.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use std::{fmt::Debug, ops::Range, sync::Arc};

use strum::EnumCount as _;

use crate::fact::{AttachedProvider, Provider, ProviderId, PublishedId, Reading, Since, Values};
use crate::perfdata::{LayoutChange, MemoryError, RegionError, Transport, WriterState};
use crate::targets::{Target, TargetSet, TargetState, guarded};
use crate::{metric::Value, proc};

/// The values of every JVM of a target set at one time.
#[derive(Debug)]
pub struct Snapshot {
    /// The JVMs, in the order of `samples`.
    pub target_set: Arc<TargetSet>,
    samples: Vec<Sample>,
    words: Vec<i64>,
    /// Why each JVM that could not be read was not.
    pub(crate) failures: Vec<ReadFailure>,
    /// When it was taken, in seconds since the epoch.
    taken: Option<f64>,
    /// The target set no longer fits the JVMs: a plan is outdated, or a JVM has ended.
    pub outdated: bool,
}

/// Why a JVM could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ReadFailure {
    /// The process has ended, or its region file has no writer left.
    Exited,
    /// Another JVM has replaced the region.
    Replaced,
    /// The file is shorter than when it was opened.
    Truncated,
    /// The region changed during every copy of it.
    Unsettled,
    /// A read of the JVM's memory did not end.
    Unresponsive,
    /// The operating system reported an error.
    Io,
    /// The scrape's deadline has passed.
    Deadline,
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
            RegionError::Unresponsive => Self::Unresponsive,
            RegionError::Memory(_) | RegionError::Io(_) => Self::Io,
        }
    }
}

/// What is read of each JVM.
#[derive(Clone, Copy, Debug)]
enum SnapshotPart {
    /// What its plans and its vitals need.
    All,
    /// What its vitals need.
    Vitals,
}

impl SnapshotPart {
    fn words(self, target: &Target) -> &[u32] {
        match self {
            Self::All => &target.words,
            Self::Vitals => target.words.get(..target.vital_words).unwrap_or_default(),
        }
    }

    /// `None` where no value of that provider is needed.
    fn values(self, target: &Target, id: ProviderId, provider: &dyn Provider) -> Option<Reading> {
        match self {
            Self::All => Some(provider.read()),
            Self::Vitals => {
                let wanted = target.vitals.published.get(id as usize).filter(|wanted| !wanted.is_empty())?;
                Some(provider.read_some(wanted))
            }
        }
    }
}

/// One JVM's part of a snapshot.
#[derive(Debug, Default)]
struct Sample {
    /// Its words, as indexes of the snapshot's; `None` while it cannot be read.
    words: Option<Range<usize>>,
    /// The JVM has ended: it has no series, not even `jvm_up`.
    gone: bool,
    providers: [Vec<Option<Value>>; ProviderId::COUNT],
    /// When the JVM started, and when it got its providers, in seconds since the epoch.
    started: Option<f64>,
    attached: Option<f64>,
}

impl Snapshot {
    /// Reads every JVM of `target_set`; one that is not reached before `deadline` counts as not readable.
    pub fn take(target_set: Arc<TargetSet>, deadline: Instant) -> Self {
        Self::take_part(target_set, SnapshotPart::All, deadline)
    }

    /// The same with what vitals need only; other words and values are absent.
    pub(crate) fn take_vitals(target_set: Arc<TargetSet>, deadline: Instant) -> Self {
        Self::take_part(target_set, SnapshotPart::Vitals, deadline)
    }

    fn take_part(target_set: Arc<TargetSet>, part: SnapshotPart, deadline: Instant) -> Self {
        let exited = exited(&target_set.targets);
        Self::read(target_set, part, deadline, |index| match exited.get(index) {
            Some(true) => Err(ReadFailure::Exited),
            _ if Instant::now() >= deadline => Err(ReadFailure::Deadline),
            _ => Ok(()),
        })
    }

    /// The last values of JVMs, ended or not: a mapped region outlives its JVM.
    pub fn last(targets: Vec<Arc<Target>>) -> Self {
        let deadline = Instant::now() + 2 * guarded::PATIENCE;
        let target_set = Arc::new(TargetSet { targets, ..TargetSet::default() });
        Self::read(target_set, SnapshotPart::All, deadline, |_| Ok(()))
    }

    /// Reads the JVMs of `target_set` for which `may_read`, called with the index, returns `Ok`.
    fn read(
        target_set: Arc<TargetSet>,
        part: SnapshotPart,
        deadline: Instant,
        may_read: impl Fn(usize) -> Result<(), ReadFailure>,
    ) -> Self {
        let mut snapshot = Self {
            samples: Vec::with_capacity(target_set.targets.len()),
            words: Vec::with_capacity(target_set.targets.iter().map(|target| part.words(target).len()).sum()),
            failures: Vec::new(),
            taken: SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64()),
            outdated: false,
            target_set: Arc::clone(&target_set),
        };
        let in_memory = target_set.targets.iter().enumerate();
        let in_memory = in_memory
            .filter(|(index, target)| target.region.transport() == Transport::Memory && may_read(*index).is_ok());
        let mut in_memory =
            guarded::read_words(in_memory.map(|(index, target)| (index, Arc::clone(target))).collect(), deadline);
        let mut row = Vec::new();
        for (index, target) in target_set.targets.iter().enumerate() {
            let mut sample = Sample::default();
            let outcome = may_read(index).and_then(|()| {
                if target.region.transport() == Transport::Memory {
                    let words = in_memory.remove(&index).ok_or(ReadFailure::Deadline)?;
                    return words.map_err(|error| (&error).into()).map(|(change, words)| {
                        row = words;
                        change
                    });
                }
                target
                    .region
                    .read(&target.region_identity, part.words(target), &mut row)
                    .map_err(|error| (&error).into())
            });
            match outcome {
                Ok(change) => {
                    snapshot.outdated |= change == LayoutChange::Grown;
                    if target.state != TargetState::Stalled {
                        let first = snapshot.words.len();
                        snapshot.words.extend_from_slice(&row);
                        sample.words = Some(first..snapshot.words.len());
                    }
                    for AttachedProvider { id, provider, facts: planned } in &target.providers {
                        let Some((facts, values)) = part.values(target, *id, &**provider) else { continue };
                        let same = Arc::ptr_eq(&facts, planned);
                        snapshot.outdated |= !same;
                        // Where the provider only added facts, the plan's indexes are still valid.
                        if same || facts.starts_with(planned) {
                            sample.providers[*id as usize] = values;
                        }
                    }
                }
                Err(reason) => {
                    sample.gone = matches!(reason, ReadFailure::Exited | ReadFailure::Replaced);
                    snapshot.outdated |= reason != ReadFailure::Deadline;
                    snapshot.failures.push(reason);
                }
            }
            snapshot.samples.push(sample);
            let started =
                target.vitals.start_time.as_ref().and_then(|start| start.evaluate(&snapshot.values(index as u32)));
            if let Some(sample) = snapshot.samples.last_mut() {
                sample.started = started.map(|start| start.as_f64());
                sample.attached = target.attached.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64());
            }
        }
        snapshot
    }

    /// The values of the JVM of that index.
    pub fn values(&self, target: u32) -> TargetValues<'_> {
        let sample = self.samples.get(target as usize);
        TargetValues {
            taken: self.taken,
            sample,
            words: sample.and_then(|sample| self.words.get(sample.words.clone()?)),
        }
    }
}

/// One JVM's values in a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct TargetValues<'a> {
    taken: Option<f64>,
    sample: Option<&'a Sample>,
    words: Option<&'a [i64]>,
}

impl TargetValues<'_> {
    /// Whether the JVM has ended: it has no series at all.
    pub fn is_gone(&self) -> bool {
        self.sample.is_none_or(|sample| sample.gone)
    }
}

#[cfg(test)]
impl<'a> TargetValues<'a> {
    /// Those of a JVM with these words and no providers.
    pub(crate) fn of_words(words: &'a [i64]) -> Self {
        Self { taken: None, sample: None, words: Some(words) }
    }
}

impl Values for TargetValues<'_> {
    fn word(&self, index: u32) -> Option<i64> {
        self.words?.get(index as usize).copied()
    }

    fn published(&self, id: PublishedId) -> Option<Value> {
        self.words?;
        self.sample?.providers[id.provider as usize].get(id.index as usize).cloned().flatten()
    }

    fn is_up(&self) -> Option<bool> {
        (!self.is_gone()).then_some(self.words.is_some())
    }

    fn now(&self) -> Option<f64> {
        self.taken
    }

    fn created(&self, since: Since) -> Option<f64> {
        match since {
            Since::Start => self.sample?.started,
            Since::Attached => self.sample?.attached,
            Since::Before => None,
        }
    }
}

/// Which JVMs have ended. Visible processes are checked in one system call. Where no process is visible, the JVM has
/// ended if its file is unlinked and has no writer left; an unlinked file alone proves nothing, since tmp cleaners
/// unlink files of live JVMs.
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
