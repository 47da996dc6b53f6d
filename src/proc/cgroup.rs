//! The control group of a process, version 1 or 2: memory with its limit, and CPU bandwidth with its throttling.

use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::fs::CWD;

use super::cgroup_path::CgroupPaths;
use super::stat::{STATUS_MAXIMUM, field, read_text};

/// A version 1 limit of this many bytes or more means none: the kernel prints `LONG_MAX` rounded down to a page.
const UNLIMITED: u64 = 1 << 62;

/// Most levels above a group that are read to find the lowest limit.
const DEPTH_MAXIMUM: usize = 32;

/// The values of a control group, all of its processes together. What the kernel does not report is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cgroup {
    /// Bytes charged, page cache included.
    pub(crate) memory_current: Option<u64>,
    /// Most bytes ever charged (version 2: Linux 5.19 and later).
    pub(crate) memory_peak: Option<u64>,
    /// The lowest memory limit of the group and those above it, in bytes; `None` without a limit.
    pub(crate) memory_limit: Option<u64>,
    /// Processes killed for lack of memory.
    pub(crate) oom_kills: Option<u64>,
    /// The lowest CPU bandwidth of the group and those above it, in CPUs; `None` without a quota.
    pub(crate) cpu_quota: Option<f64>,
    /// Periods in which the group was runnable.
    pub(crate) cpu_periods: Option<u64>,
    /// Periods in which the group was throttled.
    pub(crate) cpu_throttled_periods: Option<u64>,
    /// Seconds in which the group was throttled.
    pub(crate) cpu_throttled_time: Option<f64>,
}

/// The control group mounts of the exporter's mount namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchies(Vec<Mount>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// The group that the mount point shows.
    root: PathBuf,
    point: PathBuf,
    /// `None` for version 2, which has all controllers.
    controllers: Option<Vec<Box<str>>>,
}

/// The directory of one group, and the topmost visible one above it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    directory: PathBuf,
    top: PathBuf,
    version_2: bool,
}

impl Hierarchies {
    /// The mounts of this process.
    ///
    /// # Errors
    /// `/proc/self/mountinfo` cannot be read.
    pub(crate) fn visible() -> io::Result<Self> {
        std::fs::read_to_string("/proc/self/mountinfo").map(|text| Self::parse(&text))
    }

    /// Reads the text of a `mountinfo` (proc_pid_mountinfo(5)).
    pub(crate) fn parse(mountinfo: &str) -> Self {
        Self(mountinfo.lines().filter_map(mount).collect())
    }

    /// Reads the files of a process's control groups.
    pub(crate) fn read(&self, paths: &CgroupPaths) -> Cgroup {
        let mut found = Cgroup::default();
        if let Some(group) = self.find(paths, "memory") {
            group.read_memory(&mut found);
        }
        if let Some(group) = self.find(paths, "cpu") {
            group.read_cpu(&mut found);
        }
        found
    }

    /// The directory of the group that `controller` governs; `None` where no mount shows it.
    fn find(&self, paths: &CgroupPaths, controller: &str) -> Option<Group> {
        let group = paths.governed_by(controller)?;
        // `..` leads out of the exporter's cgroup namespace, to a group that no mount shows.
        let path = Path::new(group.path);
        if path.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        self.0.iter().find_map(|mount| {
            let fits = match &mount.controllers {
                Some(names) => !group.is_unified() && names.iter().any(|name| &**name == controller),
                None => group.is_unified(),
            };
            let below = path.strip_prefix(&mount.root).ok().filter(|_| fits)?;
            let directory = mount.point.join(below);
            Some(Group { directory, top: mount.point.clone(), version_2: mount.controllers.is_none() })
        })
    }
}

/// `36 35 98:0 /root /point options [tags] - type source super-options`
fn mount(line: &str) -> Option<Mount> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, point) = (PathBuf::from(mount.next()?), PathBuf::from(mount.next()?));
    let mut system = system.split(' ');
    let controllers = match system.next()? {
        "cgroup2" => None,
        "cgroup" => Some(system.nth(1)?.split(',').map(Box::from).collect()),
        _ => return None,
    };
    Some(Mount { root, point, controllers })
}

impl Group {
    fn read_memory(&self, found: &mut Cgroup) {
        if self.version_2 {
            found.memory_current = self.number("memory.current");
            found.memory_peak = self.number("memory.peak");
            found.memory_limit = self.levels().filter_map(|level| number(&level, "memory.max")).min();
            found.oom_kills = self.entry("memory.events", "oom_kill ");
            return;
        }
        let limit = self.entry("memory.stat", "hierarchical_memory_limit ").filter(|limit| *limit < UNLIMITED);
        if limit.is_none() && self.directory == self.top {
            // The top of a v1 hierarchy without a limit is the whole machine, not a container.
            return;
        }
        found.memory_current = self.number("memory.usage_in_bytes");
        found.memory_peak = self.number("memory.max_usage_in_bytes");
        found.memory_limit = limit;
        found.oom_kills = self.entry("memory.oom_control", "oom_kill ");
    }

    fn read_cpu(&self, found: &mut Cgroup) {
        let quota = if self.version_2 { quota_2 } else { quota_1 };
        found.cpu_quota = self.levels().filter_map(|level| quota(&level)).min_by(f64::total_cmp);
        found.cpu_periods = self.entry("cpu.stat", "nr_periods ");
        found.cpu_throttled_periods = self.entry("cpu.stat", "nr_throttled ");
        found.cpu_throttled_time = if self.version_2 {
            self.entry("cpu.stat", "throttled_usec ").map(|time| time as f64 / 1e6)
        } else {
            self.entry("cpu.stat", "throttled_time ").map(|time| time as f64 / 1e9)
        };
    }

    /// The group and the visible ones above it.
    fn levels(&self) -> impl Iterator<Item = PathBuf> {
        let above = self.directory.ancestors().take_while(|level| level.starts_with(&self.top));
        above.take(DEPTH_MAXIMUM).map(Path::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        number(&self.directory, name)
    }

    fn entry(&self, name: &str, key: &str) -> Option<u64> {
        field(&text(&self.directory, name)?, key)?.parse().ok()
    }
}

fn text(directory: &Path, name: &str) -> Option<String> {
    read_text(CWD, directory.join(name), STATUS_MAXIMUM).ok()
}

/// The number in a file; `None` for `max`.
fn number(directory: &Path, name: &str) -> Option<u64> {
    text(directory, name)?.trim().parse().ok()
}

/// `cpu.max`: `200000 100000`, or `max 100000`.
fn quota_2(directory: &Path) -> Option<f64> {
    let text = text(directory, "cpu.max")?;
    let (quota, period) = text.trim().split_once(' ')?;
    ratio(quota.parse().ok()?, period.parse().ok()?)
}

/// `cpu.cfs_quota_us`, -1 without one, over `cpu.cfs_period_us`.
fn quota_1(directory: &Path) -> Option<f64> {
    ratio(number(directory, "cpu.cfs_quota_us")?, number(directory, "cpu.cfs_period_us")?)
}

fn ratio(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, text) in files {
            fs::write(directory.join(name), text).unwrap();
        }
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
        let line = format!("30 1 0:26 / {} rw,nosuid - cgroup2 cgroup2 rw", root.path().display());
        let expected = Cgroup {
            memory_current: Some(700),
            memory_peak: None,
            memory_limit: Some(1000),
            oom_kills: Some(1),
            cpu_quota: Some(1.5),
            cpu_periods: Some(10),
            cpu_throttled_periods: Some(3),
            cpu_throttled_time: Some(1.5),
        };
        assert_eq!(Hierarchies::parse(&line).read(&CgroupPaths::parse(b"0::/pod/app\n")), expected);
        assert_eq!(Hierarchies::parse(&line).read(&CgroupPaths::parse(b"0::/../other\n")), Cgroup::default());
        assert_eq!(Hierarchies::parse("").read(&CgroupPaths::parse(b"0::/pod/app\n")), Cgroup::default());
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
        let mountinfo = format!(
            "1 1 0:1 /docker/a {} ro - cgroup cgroup rw,memory\n2 1 0:2 /docker/a {} ro - cgroup cgroup rw,cpu,cpuacct\n",
            memory.display(),
            cpu.display()
        );
        let hierarchies = Hierarchies::parse(&mountinfo);
        let paths = CgroupPaths::parse(b"4:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n0::/\n");
        let found = hierarchies.read(&paths);
        assert_eq!((found.memory_current, found.memory_peak, found.memory_limit), (Some(5), Some(6), Some(7)));
        assert_eq!((found.oom_kills, found.cpu_quota, found.cpu_throttled_time), (Some(2), None, Some(0.5)));

        write(&memory, &[("memory.stat", "hierarchical_memory_limit 9223372036854771712\n")]);
        assert_eq!(hierarchies.read(&paths).memory_current, None, "the whole machine is no container");
    }
}
