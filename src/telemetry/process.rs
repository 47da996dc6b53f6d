//! The exporter's own process, under the `process_*` names that every Prometheus client library uses.

use std::fs;
use std::sync::LazyLock;

use super::registry::{ObservedCounter, OptionalGauge, int, metrics, unix_time};
use crate::metric::Value;
use crate::proc::stat::{Stat, USER_HZ};

metrics! {
    /// This process as the kernel sees it.
    pub(crate) struct ProcessMetrics {
        /// Total user and system CPU time spent in seconds.
        "process_cpu_seconds_total" => cpu: ObservedCounter,
        /// Resident memory size in bytes.
        "process_resident_memory_bytes" => resident: OptionalGauge,
        /// Virtual memory size in bytes.
        "process_virtual_memory_bytes" => virtual_memory: OptionalGauge,
        /// Number of OS threads in the process.
        "process_threads" => threads: OptionalGauge,
        /// Number of open file descriptors.
        "process_open_fds" => open_fds: OptionalGauge,
        /// Maximum number of open file descriptors.
        "process_max_fds" => max_fds: OptionalGauge,
        /// Start time of the process since unix epoch in seconds.
        "process_start_time_seconds" => start_time: OptionalGauge,
    }
}

impl ProcessMetrics {
    /// The values now; what /proc does not say is absent. One file is read, since this is part of every scrape.
    pub(crate) fn read() -> Self {
        let stat = stat();
        let of_stat = |field: fn(&Stat) -> u64| stat.as_ref().map(|stat| int(field(stat))).into();
        let page = rustix::param::page_size() as u64;
        let resident = stat.as_ref().map(|stat| int(stat.resident_pages.saturating_mul(page)));
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        Self {
            cpu: Value::Float(seconds(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime))).into(),
            resident: resident.into(),
            virtual_memory: of_stat(|stat| stat.virtual_bytes),
            threads: of_stat(|stat| stat.threads),
            open_fds: open_fds().map(int).into(),
            max_fds: limit.map(int).into(),
            start_time: start_time().map(Value::Float).into(),
        }
    }
}

fn stat() -> Option<Stat> {
    Stat::parse(&fs::read("/proc/self/stat").ok()?)
}

/// Since Linux 6.2 the size of the directory is the number of descriptors; before that it is 0, and they are counted.
fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    let size = fs::metadata(DIRECTORY).ok()?.len();
    // The descriptor of the directory that is being read is one of those counted.
    Some(if size > 0 { size } else { fs::read_dir(DIRECTORY).ok()?.count().saturating_sub(1) as u64 })
}

/// When this process started, in seconds since the epoch: its age on the boot clock before the time of the first call.
/// One value for the whole life, whatever is done to the wall clock.
pub(crate) fn start_time() -> Option<f64> {
    static START: LazyLock<Option<f64>> = LazyLock::new(|| {
        let hertz = USER_HZ as f64;
        let started = stat()?.start_ticks as f64 / hertz;
        let age = seconds(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)) - started;
        Some(((unix_time() - age) * hertz).round() / hertz)
    });
    *START
}

fn seconds(time: rustix::time::Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
