//! Kills for lack of memory, as control groups count them, also after the process that they hit has ended.

use std::os::fd::AsFd;

use super::cgroup::Hierarchies;
use super::cgroup_path::CgroupPaths;

/// What the groups of a process had counted: its own, and in Kubernetes its pod's, which outlives the container's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OomCounts {
    paths: CgroupPaths,
    /// By the level above the process's own group.
    counts: Vec<Option<u64>>,
}

impl OomCounts {
    /// Counts of the groups of the process of this directory; `in_pod` says that the group above its own is its pod's.
    pub(crate) fn read(hierarchies: &Hierarchies, process: impl AsFd, in_pod: bool) -> Self {
        let paths = CgroupPaths::read(process).unwrap_or_default();
        let levels = if in_pod { 2 } else { 1 };
        let counts = (0..levels).map(|level| count(hierarchies, &paths, level)).collect();
        Self { paths, counts }
    }

    /// Whether a group has counted a kill since. The first group that is still there tells; `None` if none is.
    pub(crate) fn has_grown(&self, hierarchies: &Hierarchies) -> Option<bool> {
        self.counts.iter().enumerate().find_map(|(level, before)| {
            let now = count(hierarchies, &self.paths, level)?;
            Some(now > (*before)?)
        })
    }
}

fn count(hierarchies: &Hierarchies, paths: &CgroupPaths, level: usize) -> Option<u64> {
    let own = paths.governed_by("memory")?;
    let mut path = own.path;
    for _ in 0..level {
        path = path.rsplit_once('/')?.0;
    }
    // The root of all groups counts the whole machine.
    (path.len() > 1).then(|| hierarchies.oom_kills(own.at(path)))?
}
