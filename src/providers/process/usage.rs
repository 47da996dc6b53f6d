//! One reading of one process, and what the next one needs of it.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use crate::fact::ValueTable;
use crate::metric::Value;
use crate::proc::cgroup::{Cgroup, Hierarchies};
use crate::proc::cgroup_path::CgroupPaths;
use crate::proc::stat::{self, STATUS_MAXIMUM, Stat, read_text};

/// Most descriptors that are counted one by one, on kernels before 6.2.
const DESCRIPTORS_MAXIMUM: usize = 65_536;

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
    pub(super) fn read(directory: impl AsFd, cgroups: &Hierarchies, previous: &mut PreviousUsage) -> io::Result<Self> {
        let directory = directory.as_fd();
        let stat = Stat::read(directory)?;
        let now = Instant::now();
        let status = read_text(directory, "status", STATUS_MAXIMUM)?;
        let text = |name| read_text(directory, name, STATUS_MAXIMUM).ok();
        let cgroup = CgroupPaths::read(directory).map(|paths| cgroups.read(&paths)).unwrap_or_default();
        let cpu_count = cpu_count(&status, &cgroup);
        Ok(Self {
            descriptors: descriptors(directory).ok().flatten(),
            descriptor_limit: text("limits").and_then(|limits| stat::descriptor_limit(&limits)),
            cpu_utilization: previous.cpu_share(stat::seconds(stat.cpu()), now, cpu_count),
            stat,
            status,
            cgroup,
            cpu_count,
        })
    }

    /// CPU time of all threads that the process has had, in clock ticks.
    pub(super) fn cpu_ticks(&self) -> u64 {
        self.stat.cpu()
    }

    /// Replaces the values of the table.
    pub(super) fn publish(&self, table: &mut ValueTable) {
        table.clear();
        let Self { stat, status, cgroup, .. } = self;
        let mut seconds = |source, labels: &[&str], value: Option<f64>| {
            if let Some(value) = value {
                table.set(source, labels, Value::Float(value));
            }
        };
        seconds("proc.cpu_time", &[], Some(stat::seconds(stat.cpu())));
        seconds("proc.cpu_time_by_mode", &["user"], Some(stat::seconds(stat.user)));
        seconds("proc.cpu_time_by_mode", &["system"], Some(stat::seconds(stat.system)));
        seconds("proc.cpu_utilization", &[], self.cpu_utilization);
        seconds("cgroup.cpu_quota", &[], cgroup.cpu_quota);
        seconds("cgroup.cpu_throttled_time", &[], cgroup.cpu_throttled_time);

        let memory = |key| stat::memory(status, key);
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
            ("cgroup.memory_current", &[], cgroup.memory_current),
            ("cgroup.memory_peak", &[], cgroup.memory_peak),
            ("cgroup.memory_limit", &[], cgroup.memory_limit),
            ("cgroup.oom_kills", &[], cgroup.oom_kills),
            ("cgroup.cpu_periods", &[], cgroup.cpu_periods),
            ("cgroup.cpu_throttled_periods", &[], cgroup.cpu_throttled_periods),
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

/// As HotSpot counts its CPUs: the CPUs of the affinity mask, at most the cgroup's quota rounded up.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Float to integer saturates, and is at least 1.
fn cpu_count(status: &str, cgroup: &Cgroup) -> Option<u64> {
    let allowed = stat::cpu_list_length(stat::field(status, "Cpus_allowed_list:")?)?;
    Some(cgroup.cpu_quota.map_or(allowed, |quota| allowed.min(quota.ceil().max(1.0) as u64)))
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
        let status = "Cpus_allowed_list:\t0-7\n";
        for (quota, expected) in [(None, 8), (Some(1.5), 2), (Some(0.1), 1), (Some(64.0), 8)] {
            let cgroup = Cgroup { cpu_quota: quota, ..Cgroup::default() };
            assert_eq!(cpu_count(status, &cgroup), Some(expected), "{quota:?}");
        }
    }

    #[test]
    fn utilization_is_over_the_time_between_two_readings() {
        let mut previous = PreviousUsage::default();
        let begin = Instant::now();
        assert_eq!(previous.cpu_share(10.0, begin, Some(2)), None);
        let later = begin.checked_add(Duration::from_secs(4)).unwrap();
        assert_eq!(previous.cpu_share(12.0, later, Some(2)), Some(0.25));
        assert_eq!(previous.cpu_share(12.0, later, Some(2)), None, "no time has passed");
    }
}
