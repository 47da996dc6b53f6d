//! One reading of one process, and what the next one needs of it.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};

use crate::fact::ValueTable;
use crate::hotspot::CpuSetting;
use crate::metric::Value;
use crate::proc::cgroup::{Cgroup, CgroupError, CpuGroup, Hierarchies};
use crate::proc::stat::{self, STATUS_MAXIMUM, Stat, read_text};

/// Most descriptors that are counted one by one, on kernels before 6.2.
const DESCRIPTORS_MAXIMUM: usize = 65_536;

/// The CPUs that run, in the form of `Cpus_allowed_list`.
const ONLINE_CPUS: &str = "/sys/devices/system/cpu/online";

/// What one reading found; `None` is unknown.
#[derive(Debug)]
pub(super) struct ProcessUsage {
    stat: Stat,
    status: String,
    descriptors: Option<u64>,
    descriptor_limit: Option<u64>,
    cgroup: Cgroup,
    cpu_count: Option<u64>,
    cpu_utilization: Option<f64>,
}

/// What a reading needs of the previous one.
#[derive(Debug, Default)]
pub(super) struct PreviousUsage {
    /// CPU seconds, and when.
    cpu: Option<(f64, Instant)>,
}

impl ProcessUsage {
    /// Reads the process.
    ///
    /// # Errors
    /// The process has ended, or may not be read.
    pub(super) fn read(
        directory: impl AsFd,
        cgroups: &Hierarchies,
        setting: CpuSetting,
        previous: &mut PreviousUsage,
    ) -> io::Result<Self> {
        let directory = directory.as_fd();
        let stat = Stat::read(directory)?;
        let now = Instant::now();
        let status = read_text(directory, "status", STATUS_MAXIMUM)?;
        let text = |name| read_text(directory, name, STATUS_MAXIMUM).ok();
        let cgroup = cgroups.read(directory);
        let affinity = affinity(&status, ONLINE_CPUS);
        let available = available_cpus(affinity, &cgroup.cpu);
        Ok(Self {
            descriptors: descriptors(directory).ok().flatten(),
            descriptor_limit: text("limits").and_then(|limits| stat::descriptor_limit(&limits)),
            cpu_utilization: previous.cpu_share(stat::seconds(stat.cpu()), now, available),
            stat,
            status,
            cgroup,
            cpu_count: match setting {
                CpuSetting::Count(count) => Some(count),
                CpuSetting::Affinity => affinity,
                CpuSetting::Available => available,
            },
        })
    }

    /// CPU time of all threads that the process has had, in clock ticks.
    pub(super) fn cpu_ticks(&self) -> u64 {
        self.stat.cpu()
    }

    /// Replaces the values of the table.
    pub(super) fn publish(&self, table: &mut ValueTable) {
        table.clear();
        let Self { stat, status, .. } = self;
        let group = self.cgroup.cpu.clone().unwrap_or_default();
        let mut seconds = |source, labels: &[&str], value: Option<f64>| {
            if let Some(value) = value {
                table.set(source, labels, Value::Float(value));
            }
        };
        seconds("proc.cpu_time", &[], Some(stat::seconds(stat.cpu())));
        seconds("proc.cpu_time_by_mode", &["user"], Some(stat::seconds(stat.user)));
        seconds("proc.cpu_time_by_mode", &["system"], Some(stat::seconds(stat.system)));
        seconds("proc.cpu_utilization", &[], self.cpu_utilization);
        seconds("cgroup.cpu_quota", &[], group.quota);
        seconds("cgroup.cpu_throttled_time", &[], group.throttled_time);

        let memory = |key| stat::memory(status, key);
        let cgroup = self.cgroup.memory.clone().unwrap_or_default();
        let counts: [(&str, &[&str], Option<u64>); 18] = [
            ("proc.cpu_count", &[], self.cpu_count),
            ("proc.memory_resident", &[], memory("VmRSS:")),
            ("proc.memory_resident_part", &["anonymous"], memory("RssAnon:")),
            ("proc.memory_resident_part", &["file"], memory("RssFile:")),
            ("proc.memory_resident_part", &["shared"], memory("RssShmem:")),
            ("proc.memory_virtual", &[], memory("VmSize:")),
            ("proc.memory_swap", &[], memory("VmSwap:")),
            ("proc.threads", &[], stat::number(status, "Threads:")),
            ("proc.descriptors", &[], self.descriptors),
            ("proc.descriptor_limit", &[], self.descriptor_limit),
            ("proc.page_faults", &["minor"], Some(stat.minor_faults)),
            ("proc.page_faults", &["major"], Some(stat.major_faults)),
            ("cgroup.memory_current", &[], cgroup.current),
            ("cgroup.memory_peak", &[], cgroup.peak),
            ("cgroup.memory_limit", &[], cgroup.limit),
            ("cgroup.oom_kills", &[], cgroup.oom_kills),
            ("cgroup.cpu_periods", &[], group.periods),
            ("cgroup.cpu_throttled_periods", &[], group.throttled_periods),
        ];
        for (source, labels, value) in counts {
            if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
                table.set(source, labels, Value::Int(value));
            }
        }
    }
}

impl PreviousUsage {
    /// The share of its CPUs that the process used since the previous reading.
    fn cpu_share(&mut self, seconds: f64, now: Instant, cpus: Option<u64>) -> Option<f64> {
        let (before, then) = self.cpu.replace((seconds, now))?;
        let passed = now.saturating_duration_since(then).as_secs_f64() * cpus? as f64;
        // Ticks of 10 ms may attribute a little more to a short time than it contains.
        (passed > 0.0).then(|| ((seconds - before) / passed).clamp(0.0, 1.0))
    }
}

/// The CPUs of the affinity mask that are online, as `sched_getaffinity` has them: `Cpus_allowed_list` names those that
/// the machine may get, too.
fn affinity(status: &str, online: &str) -> Option<u64> {
    let allowed = stat::field(status, "Cpus_allowed_list:")?;
    let online = read_text(CWD, online, STATUS_MAXIMUM).unwrap_or_else(|_| allowed.to_owned());
    stat::common_cpus(allowed, &online)
}

/// As HotSpot counts its CPUs: the CPUs of the affinity mask, at most the cgroup's quota rounded up; `None` where the
/// cgroup cannot be seen.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Float to integer saturates, and is at least 1.
fn available_cpus(affinity: Option<u64>, group: &Result<CpuGroup, CgroupError>) -> Option<u64> {
    let quota = group.as_ref().ok()?.quota;
    let quota = quota.map_or(u64::MAX, |quota| quota.ceil().max(1.0) as u64);
    Some(affinity?.min(quota))
}

/// Linux 6.2 and later give the number of descriptors as the directory's size; else they are counted.
fn descriptors(directory: impl AsFd) -> io::Result<Option<u64>> {
    let size = rustix::fs::statat(&directory, "fd", AtFlags::empty())?.st_size;
    if let Some(count) = u64::try_from(size).ok().filter(|count| *count > 0) {
        return Ok(Some(count));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing = rustix::fs::openat(&directory, "fd", flags, Mode::empty())?;
    let count = Dir::read_from(&listing)?.take(DESCRIPTORS_MAXIMUM).count();
    // `.` and `..` are in the listing.
    Ok((count < DESCRIPTORS_MAXIMUM).then_some(count.saturating_sub(2) as u64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn cpus_are_the_affinity_within_the_quota() {
        for (quota, expected) in [(None, 8), (Some(1.5), 2), (Some(0.1), 1), (Some(64.0), 8)] {
            let group = Ok(CpuGroup { quota, ..CpuGroup::default() });
            assert_eq!(available_cpus(Some(8), &group), Some(expected), "{quota:?}");
        }
        assert_eq!(available_cpus(Some(8), &Err(CgroupError::NoMount("/a".into()))), None);
    }

    #[test]
    fn cpus_that_are_not_there_do_not_count() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0-1\n").unwrap();
        let status = "Cpus_allowed_list:\t0-127\n";
        assert_eq!(affinity(status, file.path().to_str().unwrap()), Some(2));
        assert_eq!(affinity(status, "/nowhere"), Some(128));
    }

    #[test]
    fn utilization_is_over_the_time_between_two_readings() {
        let mut previous = PreviousUsage::default();
        let begin = Instant::now();
        assert_eq!(previous.cpu_share(10.0, begin, Some(2)), None);
        let later = begin.checked_add(Duration::from_secs(4)).unwrap();
        assert_eq!(previous.cpu_share(12.0, later, Some(2)), Some(0.25));
        assert_eq!(previous.cpu_share(12.0, later, Some(2)), None, "no time has passed");
        let later = later.checked_add(Duration::from_secs(4)).unwrap();
        assert_eq!(previous.cpu_share(14.0, later, None), None, "of an unknown number of CPUs");
    }
}
