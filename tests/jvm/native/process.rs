//! What the kernel reports about a JVM: /metrics against /proc, and against the control group's own files.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::native::exporter;
use crate::support::exporter::command;
use crate::support::exposition::Exposition;
use crate::support::jvm::Jvm;
use crate::support::{ensure, jdk, skip, wait_for};

/// `status` and `stat` of a process, read by other means than the exporter's.
fn proc(pid: u32) -> BTreeMap<&'static str, f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |key: &str, unit: f64| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * unit
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    BTreeMap::from([
        ("jvm_cpu_time_seconds_total", ticks / 100.0),
        ("process_memory_usage_bytes", number("VmRSS:", 1024.0)),
        ("process_memory_virtual_bytes", number("VmSize:", 1024.0)),
        ("process_thread_count", number("Threads:", 1.0)),
        ("process_unix_file_descriptor_count", fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as f64),
    ])
}

/// Checks that every value lies between those of /proc before and after.
fn check(page: &Exposition, before: &BTreeMap<&str, f64>, after: &BTreeMap<&str, f64>) -> Result<(), String> {
    for (name, one) in before {
        let other = after[name];
        let value = page.value(name, &[]).ok_or(format!("{name} is absent"))?;
        ensure(
            one.min(other) <= value && value <= one.max(other),
            format!("{name}: {value}, not in {one} to {other}"),
        )?;
    }
    let parts: f64 = page.all("jvm_hotspot_process_memory_resident_bytes", &[]).map(|part| part.value).sum();
    let whole = page.value("process_memory_usage_bytes", &[]).ok_or("no resident memory")?;
    ensure(parts == whole, format!("resident parts are {parts}, the whole {whole}"))
}

#[test]
fn process_facts_equal_those_of_proc() {
    let mut jvm = Jvm::start(&jdk::any(), ["-XX:+UseSerialGC"]);
    jvm.obey("threads 3 2");
    jvm.obey("allocate 40");
    // The exporter reads /proc when it discovers the JVM, and then every 15 s.
    wait_for("/metrics and /proc to agree", || {
        let before = proc(jvm.pid());
        let (_config, exporter) = exporter();
        let page = wait_for("the JVM", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there")).1;
        check(&page, &before, &proc(jvm.pid()))
    });
    wait_for("--once and /proc to agree", || {
        let before = proc(jvm.pid());
        let output = command(["--discovery.root=/tmp", "--once"]).output().unwrap();
        let page = Exposition::parse(std::str::from_utf8(&output.stdout).unwrap());
        check(&page.of_pid(jvm.pid()).ok_or("not there")?.1, &before, &proc(jvm.pid()))
    });
}

#[test]
fn cgroup_facts_equal_the_groups_own() {
    let test = "cgroup_facts_equal_the_groups_own";
    let Some((group, [current, limit])) = memory_group() else {
        return skip(test, "the memory cgroup of this process is not visible below /sys/fs/cgroup");
    };
    let jvm = Jvm::start(&jdk::any(), ["-XX:+UseSerialGC"]);
    let (_config, exporter) = exporter();
    let page = wait_for("the JVM", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there")).1;
    let read = |name: &str| fs::read_to_string(group.join(name)).unwrap().trim().parse::<f64>().ok();
    assert!(page.value("jvm_hotspot_cgroup_memory_current_bytes", &[]) > Some(0.0), "{current} of {group:?}");
    assert!(read(current) > Some(0.0));
    // A group above may have a lower limit. Version 1 says none with a number that no machine has.
    let own = read(limit).filter(|bytes| *bytes < 4e18);
    if let Some(own) = own {
        let found = page.value("jvm_hotspot_cgroup_memory_limit_bytes", &[]);
        assert!(found.is_some_and(|found| found <= own && found > 0.0), "{found:?}, the group's own is {own}");
    }
}

/// The group that this process and its children are in, and what its current use and its limit are called there.
fn memory_group() -> Option<(PathBuf, [&'static str; 2])> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = |controllers: &str| {
        let mut lines = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        lines.find(|(found, _)| found.split(',').any(|one| one == controllers)).map(|(_, path)| path[1..].to_owned())
    };
    let version_1 = path("memory").map(|path| PathBuf::from("/sys/fs/cgroup/memory").join(path));
    let version_2 = path("").map(|path| PathBuf::from("/sys/fs/cgroup").join(path));
    let names_1 = ["memory.usage_in_bytes", "memory.limit_in_bytes"];
    let names_2 = ["memory.current", "memory.max"];
    let candidates = [(version_1, names_1), (version_2, names_2)];
    candidates
        .into_iter()
        .find_map(|(group, names)| group.filter(|group| group.join(names[0]).exists()).zip(Some(names)))
}
