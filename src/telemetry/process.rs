//! The exporter's own process, under the `process_*` names that every Prometheus client library uses.

use std::fs;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::metric::{Kind, Value};
use crate::proc::stat::{self, Stat};

/// A gauge or counter without labels: name, unit, kind, help, value.
pub(super) type Reading = (&'static str, &'static str, Kind, &'static str, Value);

/// What `/proc/self` says now; what it does not say is absent. One file is read: this is part of every scrape.
pub(super) fn readings() -> Vec<Reading> {
    let stat = own_stat();
    let field = |field: fn(&Stat) -> u64| i64::try_from(field(stat.as_ref()?)).ok();
    let page = i64::try_from(rustix::param::page_size()).unwrap_or(i64::MAX);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let gauge = |name, unit, help, value: Option<Value>| Some((name, unit, Kind::Gauge, help, value?));
    let help = "Total user and system CPU time spent in seconds.";
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let resident = field(|stat| stat.resident_pages).map(|pages| Value::Int(pages.saturating_mul(page)));
    [
        Some(("process_cpu_seconds_total", "s", Kind::Counter, help, Value::Float(seconds(cpu)))),
        gauge("process_resident_memory_bytes", "By", "Resident memory size in bytes.", resident),
        gauge(
            "process_virtual_memory_bytes",
            "By",
            "Virtual memory size in bytes.",
            field(|stat| stat.virtual_bytes).map(Value::Int),
        ),
        gauge(
            "process_threads",
            "",
            "Number of OS threads in the process.",
            field(|stat| stat.threads).map(Value::Int),
        ),
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
        let started = stat::seconds(own_stat()?.start_ticks);
        let age = seconds(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)) - started;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        let ticks = stat::USER_HZ as f64;
        Some(((now - age) * ticks).round() / ticks)
    });
    *START
}

/// `/proc/self/stat`.
fn own_stat() -> Option<Stat> {
    Stat::parse(&fs::read("/proc/self/stat").ok()?)
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
