//! Examines the regions of a scan, on several threads where many need plans.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use super::kind::JvmKinds;
use super::reconciler::AttachProviders;
use super::target::Target;
use super::tracked::{Examination, Readable, TrackedRegion};
use crate::config::Config;
use crate::discovery::{RefusalReason, RegionId};
use crate::sync::{ExpendableThread, lock};

/// Regions that a thread takes at a time, whose images it holds. So many that need plans, at a start or after a reload, are
/// worth a further thread.
const PART: usize = 16;

/// Most threads: allocation and the caches of plans are shared.
const THREADS_MAXIMUM: usize = 4;

/// What all regions of a scan are examined with.
pub(super) struct Examiner<'a> {
    config: &'a Config,
    providers: &'a dyn AttachProviders,
    /// JVMs that may still be served.
    free: AtomicUsize,
    kinds: JvmKinds,
}

impl<'a> Examiner<'a> {
    /// Only live JVMs count towards the limit, and a JVM that is served stays served: files of ended JVMs must not
    /// displace live ones.
    pub(super) fn new(config: &'a Config, providers: &'a dyn AttachProviders, served: usize) -> Self {
        let free = AtomicUsize::new(config.limits.max_jvms.saturating_sub(served));
        Self { config, providers, free, kinds: JvmKinds::default() }
    }

    /// Examines every region, and makes the plans of those that need them. In the order of the regions; which of too many
    /// new JVMs are refused is not determined.
    pub(super) fn examine_all(
        &self,
        tracked: &mut BTreeMap<RegionId, TrackedRegion>,
        reader: &mut ExpendableThread,
    ) -> Vec<(RegionId, Examination<Target>)> {
        let unplanned = tracked.values().filter(|tracked| tracked.target.is_none() || tracked.outdated).count();
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAXIMUM);
        let threads = threads.min(unplanned / PART);
        let mut regions: Vec<_> = tracked.iter_mut().map(|(id, tracked)| (*id, tracked)).collect();
        let parts = Mutex::new(regions.chunks_mut(PART).enumerate());
        let next = || lock(&parts).next();
        let examine = |reader: &mut ExpendableThread| {
            let mut examined = Vec::new();
            while let Some((number, part)) = next() {
                examined.push((number, self.examine_part(part, reader)));
            }
            examined
        };
        let mut examined = thread::scope(|scope| {
            let start = |_| {
                let run = || examine(&mut ExpendableThread::new("memory"));
                let started = thread::Builder::new().name("examine".to_owned()).spawn_scoped(scope, run);
                started
                    .inspect_err(|error| tracing::warn!(%error, "cannot start a thread; this one examines all JVMs"))
                    .ok()
            };
            let others: Vec<_> = (1..threads).map_while(start).collect();
            let mut examined = examine(reader);
            for other in others {
                examined.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            examined
        });
        examined.sort_by_key(|(number, _)| *number);
        examined.into_iter().flat_map(|(_, part)| part).collect()
    }

    fn examine_part(
        &self,
        regions: &mut [(RegionId, &mut TrackedRegion)],
        reader: &mut ExpendableThread,
    ) -> Vec<(RegionId, Examination<Target>)> {
        let examined: Vec<_> = regions.iter_mut().map(|(_, tracked)| self.examine(tracked, reader)).collect();
        self.attach(regions, &examined);
        let plan = |((id, tracked), examination): (&mut (RegionId, &mut TrackedRegion), Examination<Readable>)| {
            (*id, examination.map(|readable| tracked.plan(readable, self.config, &self.kinds)))
        };
        regions.iter_mut().zip(examined).map(plan).collect()
    }

    fn examine(&self, tracked: &mut TrackedRegion, reader: &mut ExpendableThread) -> Examination<Readable> {
        let is_new = tracked.target.is_none();
        let examination = tracked.examine(self.config, reader);
        if is_new && matches!(examination, Examination::Starting | Examination::Readable(_)) && !self.admit() {
            let max_jvms = self.config.limits.max_jvms;
            let detail = format!("limits.max_jvms is {max_jvms}, and as many JVMs are served");
            return Examination::Refused(RefusalReason::TooMany, detail);
        }
        examination
    }

    /// Gives providers to the readable JVMs that have none.
    fn attach(&self, regions: &mut [(RegionId, &mut TrackedRegion)], examined: &[Examination<Readable>]) {
        let (mut tracked, jvms): (Vec<_>, Vec<_>) = regions
            .iter_mut()
            .zip(examined)
            .filter(|((_, tracked), _)| tracked.providers.is_empty())
            .filter_map(|((_, tracked), examination)| match examination {
                Examination::Readable(readable) => Some((tracked, (&readable.target, &readable.model))),
                _ => None,
            })
            .unzip();
        if jvms.is_empty() {
            return;
        }
        for (tracked, providers) in tracked.iter_mut().zip(self.providers.attach(&jvms)) {
            tracked.providers = providers;
            tracked.attached = SystemTime::now();
        }
    }

    /// Takes one of the places that are free.
    fn admit(&self) -> bool {
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1)).is_ok()
    }
}

impl Examination<Readable> {
    fn map(self, plan: impl FnOnce(Readable) -> Target) -> Examination<Target> {
        match self {
            Self::Unchanged => Examination::Unchanged,
            Self::Starting => Examination::Starting,
            Self::Ended => Examination::Ended,
            Self::Refused(reason, detail) => Examination::Refused(reason, detail),
            Self::State(state) => Examination::State(state),
            Self::Readable(readable) => Examination::Readable(Box::new(plan(*readable))),
        }
    }
}
