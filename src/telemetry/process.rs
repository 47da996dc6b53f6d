//! The exporter's own process, under the `process_*` names that every Prometheus client library uses.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::metric::{Kind, Value};

/// A gauge or counter without labels: name, unit, kind, help, value.
pub(super) type Reading = (&'static str, &'static str, Kind, &'static str, Value);

/// Clock ticks in a second as `/proc` counts them: `USER_HZ`, 100 on every Linux that Rust runs on.
const USER_HZ: f64 = 100.0;

/// What `/proc/self` says now; what it does not say is absent.
pub(super) fn readings() -> Vec<Reading> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse::<i64>().ok()
    };
    let kibibytes = |name| field(name).map(|size| Value::Int(size.saturating_mul(1024)));
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let gauge = |name, unit, help, value: Option<Value>| Some((name, unit, Kind::Gauge, help, value?));
    let help = "Total user and system CPU time spent in seconds.";
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    [
        Some(("process_cpu_seconds_total", "s", Kind::Counter, help, Value::Float(seconds(cpu)))),
        gauge("process_resident_memory_bytes", "By", "Resident memory size in bytes.", kibibytes("VmRSS")),
        gauge("process_virtual_memory_bytes", "By", "Virtual memory size in bytes.", kibibytes("VmSize")),
        gauge("process_threads", "", "Number of OS threads in the process.", field("Threads").map(Value::Int)),
        gauge("process_open_fds", "", "Number of open file descriptors.", open_fds()),
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

fn open_fds() -> Option<Value> {
    // The descriptor of the directory that is being read is one of them.
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    Some(Value::Int(i64::try_from(open).ok()?))
}

/// When this process started, seconds since the epoch: now minus its age on the boot clock.
pub(crate) fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command, which may hold anything, ends at the last parenthesis; the next field is number 3 and the start
    // number 22 (proc_pid_stat(5)).
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let age = seconds(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)) - ticks / USER_HZ;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(((now - age) * USER_HZ).round() / USER_HZ)
}

fn seconds(time: rustix::time::Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
    }
}
