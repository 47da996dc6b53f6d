//! The control group of a process, version 1 or 2: memory with its limit, and CPU bandwidth with its throttling.
//!
//! The kernel names groups and the roots of their mounts from the root of the *reader's* cgroup namespace, so that both
//! fit together whoever reads them: `/../x` is a group beside that root. A group that no mount of the exporter shows,
//! as that of another container on version 2, is read where its process sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, openat};
use rustix::io::Errno;

use super::cgroup_path::{CgroupPath, CgroupPaths};
use super::group::GroupDirectory;
use super::mounts::{HANDLE, Mount, ViewError, mounts, walk};
use super::stat::directory;

/// A version 1 limit of this many bytes or more means none: the kernel prints `LONG_MAX` rounded down to a page.
const UNLIMITED: u64 = 1 << 62;

/// Most levels above a group that are read to find the lowest limit.
const DEPTH_MAXIMUM: usize = 32;

/// `PROC_CGROUP_INIT_INO` of include/linux/proc_ns.h: the initial cgroup namespace.
const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFB;

/// What a process's groups report. A group that cannot be seen is an error, and not a group without limits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cgroup {
    pub(crate) memory: Result<MemoryGroup, CgroupError>,
    pub(crate) cpu: Result<CpuGroup, CgroupError>,
}

/// The memory of all processes of a group. What the kernel does not report is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryGroup {
    /// Bytes charged, page cache included.
    pub(crate) current: Option<u64>,
    /// Most bytes ever charged (version 2: Linux 5.19 and later).
    pub(crate) peak: Option<u64>,
    /// The lowest limit of the group and those above it, in bytes; `None` without a limit.
    pub(crate) limit: Option<u64>,
    /// Processes killed for lack of memory.
    pub(crate) oom_kills: Option<u64>,
}

/// The CPU bandwidth of all processes of a group. What the kernel does not report is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuGroup {
    /// The lowest quota of the group and those above it, in CPUs; `None` without a quota.
    pub(crate) quota: Option<f64>,
    /// Periods in which the group was runnable.
    pub(crate) periods: Option<u64>,
    /// Periods in which the group was throttled.
    pub(crate) throttled_periods: Option<u64>,
    /// Seconds in which the group was throttled.
    pub(crate) throttled_time: Option<f64>,
}

/// Why a control group cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CgroupError {
    /// A file of the process that names its groups or mounts.
    #[error("its file {0} cannot be read: {1}")]
    Process(&'static str, Errno),
    /// The group, whose hierarchy is mounted nowhere, or elsewhere.
    #[error(
        "neither the exporter nor the process has a mount that shows its group {0}; mount /sys/fs/cgroup in either"
    )]
    NoMount(Box<str>),
    /// The process's own view.
    #[error("its group {0} is visible to the process only, and {1}")]
    View(Box<str>, ViewError),
    /// A file of the group.
    #[error("its group {0} cannot be read: {1}")]
    Group(Box<str>, Errno),
}

/// The control group mounts of the exporter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies {
    mounts: Vec<Mount>,
    /// `/` is the root of all groups, which limits nothing.
    initial: bool,
}

/// The directory of one group, and how many visible ones are above it.
#[derive(Debug)]
struct Group {
    directory: GroupDirectory,
    above: usize,
    version_2: bool,
}

impl Hierarchies {
    /// The mounts of this process.
    ///
    /// # Errors
    /// `/proc/self` cannot be read.
    pub(crate) fn visible() -> Result<Self, Errno> {
        let namespace = rustix::fs::stat("/proc/self/ns/cgroup").is_ok_and(|stat| stat.st_ino == INITIAL_NAMESPACE);
        Ok(Self { mounts: mounts(directory(CWD, "/proc/self")?, is_cgroup)?, initial: namespace })
    }

    /// Reads the groups of the process of this directory.
    pub(crate) fn read(&self, process: impl AsFd) -> Cgroup {
        let process = process.as_fd();
        match CgroupPaths::read(process) {
            Ok(paths) => Cgroup {
                memory: self.group(process, &paths, "memory", MemoryGroup::read),
                cpu: self.group(process, &paths, "cpu", CpuGroup::read),
            },
            Err(errno) => {
                let error = CgroupError::Process("cgroup", errno);
                Cgroup { memory: Err(error.clone()), cpu: Err(error) }
            }
        }
    }

    /// Kills for lack of memory that a memory group has counted; `None` where it is gone, or no mount of the exporter shows
    /// it.
    pub(super) fn oom_kills(&self, path: CgroupPath<'_>) -> Option<u64> {
        let (mount, below) = shown(&self.mounts, path, "memory").next()?;
        let handle = openat(CWD, mount.point.join(below), HANDLE, Mode::empty()).ok()?;
        MemoryGroup::read(&Group::new(handle, mount, below).ok()?).ok()?.oom_kills
    }

    /// Reads the group that `controller` governs, which is empty on a kernel without the controller.
    fn group<T: Default>(
        &self,
        process: impl AsFd,
        paths: &CgroupPaths,
        controller: &str,
        read: impl Fn(&Group) -> Result<T, Errno>,
    ) -> Result<T, CgroupError> {
        let Some(path) = paths.governed_by(controller) else { return Ok(T::default()) };
        match self.find(process, path, controller)? {
            Some(group) => read(&group).map_err(|errno| CgroupError::Group(path.path.into(), errno)),
            None => Ok(T::default()),
        }
    }

    /// Opens a group where a mount of the exporter shows it, else where the process sees it; `None` for the root of all
    /// groups where nothing shows it. A mount that another covers shows nothing.
    fn find(&self, process: impl AsFd, path: CgroupPath<'_>, controller: &str) -> Result<Option<Group>, CgroupError> {
        for (mount, below) in shown(&self.mounts, path, controller) {
            let handle = openat(CWD, mount.point.join(below), HANDLE, Mode::empty());
            if let Ok(group) = handle.and_then(|handle| Group::new(handle, mount, below)) {
                return Ok(Some(group));
            }
        }
        let theirs = mounts(&process, is_cgroup).map_err(|errno| CgroupError::Process("mountinfo", errno))?;
        for (mount, below) in shown(&theirs, path, controller) {
            match walk(&process, &mount.point.join(below)) {
                Ok(handle) => match Group::new(handle, mount, below) {
                    Ok(group) => return Ok(Some(group)),
                    Err(_) => continue,
                },
                Err(ViewError::Io(_, Errno::NOENT)) => continue,
                Err(error) => return Err(CgroupError::View(path.path.into(), error)),
            }
        }
        let is_root = self.initial && path.path == "/";
        if is_root { Ok(None) } else { Err(CgroupError::NoMount(path.path.into())) }
    }
}

fn is_cgroup(mount: &Mount) -> bool {
    matches!(&*mount.file_system, "cgroup" | "cgroup2")
}

/// The mounts that show the group, and the group's path below each.
fn shown<'a>(
    mounts: &'a [Mount],
    group: CgroupPath<'a>,
    controller: &'a str,
) -> impl Iterator<Item = (&'a Mount, &'a Path)> {
    mounts.iter().filter_map(move |mount| {
        let fits = match &*mount.file_system {
            "cgroup2" => group.is_unified(),
            _ => !group.is_unified() && mount.options.split(',').any(|name| name == controller),
        };
        let below = Path::new(group.path).strip_prefix(&mount.root).ok().filter(|_| fits)?;
        below.components().all(|part| matches!(part, Component::Normal(_))).then_some((mount, below))
    })
}

impl Group {
    fn new(handle: OwnedFd, mount: &Mount, below: &Path) -> Result<Self, Errno> {
        let directory = GroupDirectory::new(handle, mount.id)?;
        Ok(Self { directory, above: below.components().count(), version_2: &*mount.file_system == "cgroup2" })
    }

    /// The lowest of what `read` finds in the group and the visible ones above it.
    fn lowest<T: PartialOrd>(
        &self,
        read: impl Fn(&GroupDirectory) -> Result<Option<T>, Errno>,
    ) -> Result<Option<T>, Errno> {
        let mut lowest = read(&self.directory)?;
        let mut above: Option<GroupDirectory> = None;
        for _ in 0..self.above.min(DEPTH_MAXIMUM) {
            let parent = above.as_ref().unwrap_or(&self.directory).parent()?;
            if let Some(found) = read(&parent)?.filter(|found| lowest.as_ref().is_none_or(|lowest| found < lowest)) {
                lowest = Some(found);
            }
            above = Some(parent);
        }
        Ok(lowest)
    }
}

impl MemoryGroup {
    fn read(group: &Group) -> Result<Self, Errno> {
        let Group { directory, .. } = group;
        if group.version_2 {
            return Ok(Self {
                current: directory.number("memory.current")?,
                peak: directory.number("memory.peak")?,
                limit: group.lowest(|level| level.number("memory.max"))?,
                oom_kills: directory.entry("memory.events", "oom_kill ")?,
            });
        }
        // Only the root has this file. It is the whole machine and no container.
        if directory.text("cgroup.sane_behavior")?.is_some() {
            return Ok(Self::default());
        }
        let limit = directory.entry("memory.stat", "hierarchical_memory_limit ")?;
        Ok(Self {
            current: directory.number("memory.usage_in_bytes")?,
            peak: directory.number("memory.max_usage_in_bytes")?,
            limit: limit.filter(|limit| *limit < UNLIMITED),
            oom_kills: directory.entry("memory.oom_control", "oom_kill ")?,
        })
    }
}

impl CpuGroup {
    fn read(group: &Group) -> Result<Self, Errno> {
        let Group { directory, .. } = group;
        let (quota, time, ticks): (fn(&GroupDirectory) -> _, _, _) =
            if group.version_2 { (quota_2, "throttled_usec ", 1e6) } else { (quota_1, "throttled_time ", 1e9) };
        Ok(Self {
            quota: group.lowest(quota)?,
            periods: directory.entry("cpu.stat", "nr_periods ")?,
            throttled_periods: directory.entry("cpu.stat", "nr_throttled ")?,
            throttled_time: directory.entry("cpu.stat", time)?.map(|time| time as f64 / ticks),
        })
    }
}

/// `cpu.max`: `200000 100000`, or `max 100000`.
fn quota_2(level: &GroupDirectory) -> Result<Option<f64>, Errno> {
    Ok(level.text("cpu.max")?.and_then(|text| {
        let (quota, period) = text.trim().split_once(' ')?;
        ratio(quota.parse().ok()?, period.parse().ok()?)
    }))
}

/// `cpu.cfs_quota_us`, -1 without one, over `cpu.cfs_period_us`.
fn quota_1(level: &GroupDirectory) -> Result<Option<f64>, Errno> {
    let (quota, period) = (level.number("cpu.cfs_quota_us")?, level.number("cpu.cfs_period_us")?);
    Ok(quota.zip(period).and_then(|(quota, period)| ratio(quota, period)))
}

fn ratio(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;
    use crate::proc::mounts::{mount, mount_of};

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    /// The mounts of these lines, whose ids are that of the directory.
    fn hierarchies(directory: &Path, lines: &[String]) -> Hierarchies {
        let id = mount_of(fs::File::open(directory).unwrap()).unwrap();
        let mounts = lines.iter().map(|line| mount(&format!("{id} {line}")).unwrap()).collect();
        Hierarchies { mounts, initial: false }
    }

    /// The groups of a process whose `cgroup` has this text.
    fn read(hierarchies: &Hierarchies, text: &[u8]) -> Cgroup {
        let (paths, own) = (CgroupPaths::parse(text), directory(CWD, "/proc/self").unwrap());
        Cgroup {
            memory: hierarchies.group(&own, &paths, "memory", MemoryGroup::read),
            cpu: hierarchies.group(&own, &paths, "cpu", CpuGroup::read),
        }
    }

    #[test]
    fn kills_are_counted_by_path_while_the_group_is_there() {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join("pod/app");
        write(&app, &[("memory.events", "oom 9\noom_kill 3\n")]);
        let line = format!("25 0:1 / {} rw - cgroup2 cgroup2 rw", root.path().display());
        let hierarchies = hierarchies(root.path(), &[line]);
        let paths = CgroupPaths::parse(b"0::/pod/app\n");
        let path = paths.governed_by("memory").unwrap();
        assert_eq!(hierarchies.oom_kills(path), Some(3));
        fs::remove_dir_all(app).unwrap();
        assert_eq!(hierarchies.oom_kills(path), None);
    }

    #[test]
    fn version_2_takes_the_lowest_limit_on_the_way_up() {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join("pod");
        write(&pod, &[("memory.max", "1000\n"), ("cpu.max", "150000 100000\n")]);
        write(
            &pod.join("app"),
            &[
                ("memory.current", "700\n"),
                ("memory.max", "max\n"),
                ("memory.events", "low 0\noom 2\noom_kill 1\n"),
                ("cpu.max", "max 100000\n"),
                ("cpu.stat", "usage_usec 9\nnr_periods 10\nnr_throttled 3\nthrottled_usec 1500000\n"),
            ],
        );
        let mut line = format!("1 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw", root.path().display());
        let memory = MemoryGroup { current: Some(700), peak: None, limit: Some(1000), oom_kills: Some(1) };
        let cpu =
            CpuGroup { quota: Some(1.5), periods: Some(10), throttled_periods: Some(3), throttled_time: Some(1.5) };
        let expected = Cgroup { memory: Ok(memory), cpu: Ok(cpu) };
        assert_eq!(read(&hierarchies(root.path(), &[line.clone()]), b"0::/pod/app\n"), expected);
        line = line.replace(" / ", " /../.. ");
        assert_eq!(
            read(&hierarchies(root.path(), &[line]), b"0::/../../pod/app\n"),
            expected,
            "from another namespace"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_an_error_and_not_a_group_without_limits() {
        let root = tempfile::tempdir().unwrap();
        let line = |point: &str| format!("1 0:26 / {}{point} rw - cgroup2 cgroup2 rw", root.path().display());
        for group in ["0::/../beside", "0::/gone"] {
            let found = read(&hierarchies(root.path(), &[line("")]), group.as_bytes());
            assert!(found.memory.is_err() && found.cpu.is_err(), "{group}: {found:?}");
        }
        // The mount is not the one that the line names: another lies over it.
        let mut covered = hierarchies(root.path(), &[line("")]);
        covered.mounts.iter_mut().for_each(|mount| mount.id = 0);
        fs::create_dir(root.path().join("covered")).unwrap();
        assert_eq!(read(&covered, b"0::/covered").cpu, Err(CgroupError::NoMount("/covered".into())));
        assert_eq!(read(&Hierarchies::default(), b"").cpu, Ok(CpuGroup::default()), "a kernel without control groups");
    }

    #[test]
    fn version_1_maps_the_root_of_the_mount() {
        let root = tempfile::tempdir().unwrap();
        let (memory, cpu) = (root.path().join("memory"), root.path().join("cpu"));
        write(
            &memory,
            &[
                ("memory.usage_in_bytes", "5\n"),
                ("memory.max_usage_in_bytes", "6\n"),
                ("memory.stat", "cache 1\nhierarchical_memory_limit 7\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            ],
        );
        write(&cpu, &[("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")]);
        write(&cpu, &[("cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 500000000\n")]);
        let lines = [(&memory, "memory"), (&cpu, "cpu,cpuacct")]
            .map(|(point, names)| format!("1 0:1 /docker/a {} ro - cgroup cgroup rw,{names}", point.display()));
        let hierarchies = hierarchies(root.path(), &lines);
        let found = || read(&hierarchies, b"4:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n0::/\n");
        let group = MemoryGroup { current: Some(5), peak: Some(6), limit: Some(7), oom_kills: Some(2) };
        assert_eq!(found().memory, Ok(group));
        let found_cpu = found().cpu.unwrap();
        assert_eq!((found_cpu.quota, found_cpu.throttled_time), (None, Some(0.5)));

        write(&memory, &[("memory.stat", "hierarchical_memory_limit 9223372036854771712\n")]);
        assert_eq!(found().memory, Ok(MemoryGroup { limit: None, ..group }), "a container without a limit");
        write(&memory, &[("cgroup.sane_behavior", "0\n")]);
        assert_eq!(found().memory, Ok(MemoryGroup::default()), "the whole machine is no container");
    }
}
