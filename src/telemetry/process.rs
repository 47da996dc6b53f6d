//! The exporter's own process, under the `process_*` names that every Prometheus client library uses.

use std::fs;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::metric::{Kind, Value};

/// A gauge or counter without labels: name, unit, kind, help, value.
pub(super) type Reading = (&'static str, &'static str, Kind, &'static str, Value);

/// Clock ticks in a second as `/proc` counts them: `USER_HZ`, 100 on every Linux that Rust runs on.
const USER_HZ: f64 = 100.0;

/// What `/proc/self` says now; what it does not say is absent. One file is read: this is part of every scrape.
pub(super) fn readings() -> Vec<Reading> {
    let stat = Stat::read();
    let field = |number| stat.as_ref().and_then(|stat| stat.field(number));
    let page = i64::try_from(rustix::param::page_size()).unwrap_or(i64::MAX);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let gauge = |name, unit, help, value: Option<Value>| Some((name, unit, Kind::Gauge, help, value?));
    let help = "Total user and system CPU time spent in seconds.";
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let resident = field(RSS).map(|pages| Value::Int(pages.saturating_mul(page)));
    [
        Some(("process_cpu_seconds_total", "s", Kind::Counter, help, Value::Float(seconds(cpu)))),
        gauge("process_resident_memory_bytes", "By", "Resident memory size in bytes.", resident),
        gauge("process_virtual_memory_bytes", "By", "Virtual memory size in bytes.", field(VSIZE).map(Value::Int)),
        gauge("process_threads", "", "Number of OS threads in the process.", field(THREADS).map(Value::Int)),
        gauge("process_open_fds", "", "Number of open file descriptors.", open_fds().map(Value::Int)),
        gauge(
            "process_max_fds",
            "",
            "Maximum number of open file descriptors.",
            limit.map(|max| Value::Int(i64::try_from(max).unwrap_or(i64::MAX))),
        ),
        gauge(
            "process_start_time_seconds",
            "s",
            "Start time of the process since unix epoch in seconds.",
            start_time().map(Value::Float),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Since Linux 6.2 the size of the directory is the number of descriptors; before that it is 0, and they are counted.
fn open_fds() -> Option<i64> {
    const DIRECTORY: &str = "/proc/self/fd";
    let size = fs::metadata(DIRECTORY).ok()?.len();
    // The descriptor of the directory that is being read is one of those counted.
    let open = if size > 0 { size } else { fs::read_dir(DIRECTORY).ok()?.count().saturating_sub(1) as u64 };
    i64::try_from(open).ok()
}

/// When this process started, seconds since the epoch: its age on the boot clock before the time of the first call.
/// One value for the whole life, whatever is done to the wall clock.
pub(crate) fn start_time() -> Option<f64> {
    static START: LazyLock<Option<f64>> = LazyLock::new(|| {
        let ticks = Stat::read()?.field(START_TICKS)? as f64;
        let age = seconds(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)) - ticks / USER_HZ;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        Some(((now - age) * USER_HZ).round() / USER_HZ)
    });
    *START
}

/// Numbers of fields of `/proc/PID/stat` (proc_pid_stat(5)).
const THREADS: usize = 20;
const START_TICKS: usize = 22;
const VSIZE: usize = 23;
/// In pages.
const RSS: usize = 24;

/// `/proc/self/stat`.
struct Stat(String);

impl Stat {
    fn read() -> Option<Self> {
        fs::read_to_string("/proc/self/stat").ok().map(Self)
    }

    /// A field from the third on: the command before them, which may hold anything, ends at the last parenthesis.
    fn field(&self, number: usize) -> Option<i64> {
        self.0.rsplit_once(')')?.1.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
    }
}

fn seconds(time: rustix::time::Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rules::name::is_of_own_process;

    #[test]
    fn every_standard_name_has_a_plausible_value() {
        let readings = readings();
        let value = |name: &str| readings.iter().find(|reading| reading.0 == name).unwrap().4.as_f64();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        for (name, low, high) in [
            ("process_cpu_seconds_total", 0.0, 1e6),
            ("process_resident_memory_bytes", 1e5, 1e11),
            ("process_virtual_memory_bytes", 1e6, 1e15),
            ("process_threads", 1.0, 1e4),
            ("process_open_fds", 3.0, 1e6),
            ("process_max_fds", 16.0, 1e10),
            ("process_start_time_seconds", now - 86_400.0, now + 1.0),
        ] {
            assert!((low..=high).contains(&value(name)), "{name} {}", value(name));
        }
        assert!(readings.iter().all(|reading| is_of_own_process(reading.0)), "a rule could take the name");
    }
}
