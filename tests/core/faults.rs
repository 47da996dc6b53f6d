//! JVM-like writers that start, die and are killed in great numbers while everything around the exporter fails in turn:
//! it lives, its counts are right afterwards, and nothing grows. `scripts/soak` does the same for hours.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::exporter::{Exporter, command};
use crate::support::native::compile;
use crate::support::regions::{Root, fixture};
use crate::support::{ensure, is_root, skip, wait_for};
use hotspot_exporter::rules::SeriesLimits;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// A crowd of writers (tests/faults/writers.c), all of which end with it.
struct Writers {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Writers {
    /// Starts that many one after the other, `alive` at a time, each for up to twice the time. `None` where they cannot
    /// be compiled.
    fn start(directory: &Path, total: u32, alive: u32, microseconds: u32) -> Option<Self> {
        let program = compile("writers", &["tests/faults/writers.c"])?;
        let mut command = Command::new(program);
        command.arg(directory.join("hsperfdata_tester")).arg(fixture("jdk17-G1"));
        command.args([total, alive, microseconds].map(|number| number.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, output })
    }

    /// Waits for the last ones; their pids, in order.
    fn read_stable(&mut self) -> Vec<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let mut pids: Vec<u64> = line.split_whitespace().skip(1).map(|pid| pid.parse().unwrap()).collect();
        pids.sort_unstable();
        line.clear();
        self.output.read_line(&mut line).unwrap();
        println!("{}", line.trim_end());
        pids
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        // At the end of its input it ends all of its own.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// An exporter of a root and of processes, which looks around often; `before` goes before it on the command line.
fn start(root: &Root, before: &[&str]) -> Exporter {
    let config = root.path().join("exporter.yaml");
    if !config.exists() {
        fs::write(&config, GOOD).unwrap();
    }
    let exporter = command([format!("--discovery.root={}", root.path().display())]);
    let mut words = before.to_vec();
    words.push(exporter.get_program().to_str().unwrap());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(exporter.get_args()).arg(format!("--config.file={}", config.display()));
    Exporter::spawn(&mut command)
}

const GOOD: &str = "discovery: {interval: 200ms}\n";

/// Waits until exactly these are served of that root; other JVMs of the machine are not our concern.
fn serves(exporter: &Exporter, root: &Root, pids: &[u64]) {
    wait_for("the writers that are left, and no others", || {
        let targets = exporter.targets();
        let rows = targets["jvms"].as_array().unwrap().iter();
        let below = |path: &str| Path::new(path).starts_with(root.path());
        let rows = rows.filter(|row| row["path"].as_str().is_some_and(below) && row["state"] == "mapped");
        let mut found: Vec<u64> = rows.map(|row| row["pid"].as_u64().unwrap()).collect();
        found.sort_unstable();
        ensure(found == pids, format!("{found:?} and not {pids:?}"))
    });
    let page = exporter.scrape();
    for pid in pids {
        assert_eq!(page.value("jvm_process_info", &[("pid", &pid.to_string())]), Some(1.0), "{pid}");
    }
}

/// What must not grow. Other processes of the machine are seen too, and have no part in these numbers.
#[derive(Debug, Default)]
struct Figures {
    anonymous_kib: usize,
    /// Those that belong to no process and no region.
    descriptors: usize,
    /// Of processes that have ended.
    dead_processes: usize,
    /// Of files below the root.
    regions: usize,
    /// Of anything but regions.
    mappings: usize,
    threads: usize,
}

impl Figures {
    fn of(exporter: &Exporter, root: &Root) -> Self {
        let process = Path::new("/proc").join(exporter.pid().to_string());
        let read = |name: &str| fs::read_to_string(process.join(name)).unwrap_or_default();
        let mut figures = Self { threads: fs::read_dir(process.join("task")).unwrap().count(), ..Self::default() };
        let status = read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        figures.anonymous_kib = line.split_whitespace().next().unwrap().parse().unwrap();
        for line in read("maps").lines() {
            figures.regions += usize::from(line.contains(root.path().to_str().unwrap()));
            figures.mappings += usize::from(!line.contains("/hsperfdata_"));
        }
        for entry in fs::read_dir(process.join("fd")).unwrap().map(Result::unwrap) {
            let link = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
            let info = read(&format!("fdinfo/{}", entry.file_name().display()));
            let process = info.contains("\nPid:") || link.starts_with("/proc/");
            figures.dead_processes += usize::from(info.contains("\nPid:\t-1\n"));
            figures.descriptors += usize::from(!process && !link.contains("/hsperfdata_"));
        }
        figures
    }
}

#[test]
fn ten_thousand_writers_come_and_go_and_nothing_grows() {
    const ALIVE: u32 = 20;
    let root = Root::new();
    let exporter = start(&root, &[]);
    let measure = |total| {
        let mut writers = Writers::start(root.path(), total, ALIVE, 20_000)?;
        let pids = writers.read_stable();
        serves(&exporter, &root, &pids);
        Some(wait_for("the dead to be forgotten", || {
            let figures = Figures::of(&exporter, &root);
            let settled = figures.regions == ALIVE as usize && figures.dead_processes == 0;
            if settled { Ok(figures) } else { Err(format!("{figures:?}")) }
        }))
    };
    let Some(before) = measure(1_000) else {
        return skip("ten_thousand_writers_come_and_go_and_nothing_grows", "no C compiler");
    };
    let after = measure(10_000).unwrap();
    println!("after 1,000: {before:?}, after 11,000: {after:?}");
    // Pools of threads and of memory may still have reached their size in between.
    assert!(after.descriptors <= before.descriptors + 4, "{before:?} {after:?}");
    assert!(after.threads <= before.threads + 8, "{before:?} {after:?}");
    assert!(after.mappings <= before.mappings + 40, "{before:?} {after:?}");
    assert!(after.anonymous_kib <= before.anonymous_kib + 4096, "{before:?} {after:?}");
    serves(&exporter, &root, &[]);
}

/// Starts an exporter, has `fault` happen among writers that come and go, and looks who is served afterwards.
fn among_writers(test: &str, root: &Root, before: &[&str], fault: impl FnOnce(&Exporter)) {
    let exporter = start(root, before);
    let Some(mut writers) = Writers::start(root.path(), 500, 10, 20_000) else { return skip(test, "no C compiler") };
    fault(&exporter);
    let pids = writers.read_stable();
    serves(&exporter, root, &pids);
}

#[test]
fn a_directory_that_is_moved_away_and_replaced_by_a_link_is_followed() {
    let root = Root::new();
    among_writers("a_directory_that_is_moved_away_and_replaced_by_a_link_is_followed", &root, &[], |exporter| {
        let user = root.path().join("hsperfdata_tester");
        // Few enough that the writers outlast them on a busy machine: nobody makes the directory again afterwards.
        for round in 0..5 {
            wait_for("the writers' directory", || fs::rename(&user, root.path().join(format!("hsperfdata_{round}"))));
            // A writer may have been faster, and then there is a directory again.
            if symlink("/etc", &user).is_ok() {
                exporter.scrape();
                fs::remove_file(&user).unwrap();
            }
        }
    });
}

#[test]
fn a_full_tmpfs_is_survived() {
    const TEST: &str = "a_full_tmpfs_is_survived";
    if !is_root() {
        return skip(TEST, "mounting takes root");
    }
    let root = Root::new();
    let mount = |words: &[&str]| assert!(Command::new(words[0]).args(&words[1..]).status().unwrap().success());
    let path = root.path().to_str().unwrap().to_owned();
    mount(&["mount", "-t", "tmpfs", "-o", "size=2m", "none", &path]);
    among_writers(TEST, &root, &[], |exporter| {
        let mut filler = File::create(root.path().join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        // A hole of this file has no page, and there is none left to read it with.
        let other = root.path().join("hsperfdata_other");
        fs::create_dir(&other).unwrap();
        let hole = File::create(other.join("7")).unwrap();
        hole.set_len(32768).unwrap();
        let scans = || exporter.scrape().value("hotspot_exporter_scans_total", &[]).unwrap();
        let now = scans();
        wait_for("three scans", || ensure(scans() >= now + 3.0, scans()));
        drop(hole);
        fs::remove_dir_all(other).unwrap();
        fs::remove_file(root.path().join("filler")).unwrap();
    });
    mount(&["umount", "-l", &path]);
}

#[test]
fn a_storm_of_reloads_with_good_and_bad_files_ends_in_the_last_good_one() {
    const TEST: &str = "a_storm_of_reloads_with_good_and_bad_files_ends_in_the_last_good_one";
    let root = Root::new();
    among_writers(TEST, &root, &[], |exporter| {
        let config = root.path().join("exporter.yaml");
        let pid = Pid::from_raw(exporter.pid().try_into().unwrap()).unwrap();
        let bad = ["discovery: {interval: soon}\n", "}{", "unknown: 1\n", "discovery:\n\t- tab\n"];
        for round in 0..200 {
            let text = if round % 2 == 0 { bad[round / 2 % bad.len()] } else { GOOD };
            fs::write(&config, text).unwrap();
            kill_process(pid, Signal::HUP).unwrap();
            if round % 20 == 0 {
                exporter.scrape();
            }
        }
        let count = |outcome| exporter.scrape().value("hotspot_exporter_config_reloads_total", &[("outcome", outcome)]);
        wait_for("the last reload", || {
            kill_process(pid, Signal::HUP).unwrap();
            let good = exporter.scrape().value("hotspot_exporter_config_last_reload_successful", &[]);
            ensure(good == Some(1.0) && count("success") > Some(0.0), format!("{good:?}"))
        });
    });
}

#[test]
fn descriptors_that_run_out_cost_no_more_than_the_time_without_them() {
    const TEST: &str = "descriptors_that_run_out_cost_no_more_than_the_time_without_them";
    let root = Root::new();
    among_writers(TEST, &root, &[], |exporter| {
        let pid = Pid::from_raw(exporter.pid().try_into().unwrap());
        let ours = rustix::process::getrlimit(Resource::Nofile).maximum;
        // Only the standard streams lie below.
        let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(3), maximum: ours }).unwrap();
        let asked = std::net::TcpStream::connect(exporter.address()).unwrap();
        wait_for("the complaint", || ensure(exporter.log().contains("cannot accept connections"), exporter.log()));
        drop(asked);
        prlimit(pid, Resource::Nofile, Rlimit { current: before.current, maximum: ours }).unwrap();
    });
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing_that_is_served() {
    const TEST: &str = "a_wall_clock_that_jumps_changes_nothing_that_is_served";
    let root = Root::new();
    let Some(library) = compile("clock.so", &["tests/faults/clock.c", "-shared", "-fPIC"]) else {
        return skip(TEST, "no C compiler");
    };
    let offset = root.path().join("clock");
    fs::write(&offset, [0; 8]).unwrap();
    let (preload, clock) = (format!("LD_PRELOAD={}", library.display()), format!("CLOCK_OFFSET={}", offset.display()));
    among_writers(TEST, &root, &["env", &preload, &clock], |exporter| {
        let file = File::options().write(true).open(&offset).unwrap();
        let own_date = |exporter: &Exporter| exporter.get("/-/healthy").header("date").to_owned();
        let before = own_date(exporter);
        const DAY: i64 = 86_400;
        for seconds in [3_600, -DAY, 3_650 * DAY, -18_000 * DAY, 0] {
            file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
            let scans = || exporter.scrape().value("hotspot_exporter_scans_total", &[]).unwrap();
            let now = scans();
            wait_for("two scans", || ensure(scans() >= now + 2.0, scans()));
            if seconds == 3_650 * DAY {
                assert_ne!(
                    own_date(exporter)[..16],
                    before[..16],
                    "the clock does not move: the library has no effect"
                );
            }
        }
    });
}

/// A region as large as any may be, full of entries; held open, so that it lives.
fn bomb() -> Vec<u8> {
    let mut bytes = fs::read(fixture("jdk17-G1")).unwrap();
    let number = |bytes: &[u8], at: usize| i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut end = usize::try_from(number(&bytes, 8)).unwrap();
    let mut entries = number(&bytes, 28);
    bytes.resize(2 << 20, 0);
    while end + 48 <= bytes.len() {
        let name = format!("bomb.{entries:010}");
        bytes[end..end + 12].copy_from_slice(&[48_i32, 20, 0].map(i32::to_le_bytes).concat());
        bytes[end + 12..end + 16].copy_from_slice(&[b'J', 0, 1, 3]);
        bytes[end + 16..end + 20].copy_from_slice(&40_i32.to_le_bytes());
        bytes[end + 20..end + 20 + name.len()].copy_from_slice(name.as_bytes());
        end += 48;
        entries += 1;
    }
    bytes[8..12].copy_from_slice(&i32::try_from(end).unwrap().to_le_bytes());
    bytes[28..32].copy_from_slice(&entries.to_le_bytes());
    bytes
}

/// Twenty regions of the largest size, with over 40,000 counters each that nobody has heard of, cost a bounded part of the
/// memory that the exporter may have, and the JVMs beside them are served.
#[test]
fn regions_full_of_names_stay_below_a_memory_limit() {
    const TEST: &str = "regions_full_of_names_stay_below_a_memory_limit";
    let root = Root::new();
    fs::write(root.path().join("exporter.yaml"), format!("{GOOD}profiles: [otel, raw]\n")).unwrap();
    let bytes = bomb();
    let bombs: Vec<File> = (0..20)
        .map(|number| {
            let path = root.place(4_100_000 + number);
            fs::write(&path, &bytes).unwrap();
            File::options().write(true).open(path).unwrap()
        })
        .collect();
    // 192 MiB of private memory, stacks of threads included.
    among_writers(TEST, &root, &["sh", "-c", "ulimit -d 196608 && exec \"$@\"", "sh"], |exporter| {
        let page = exporter.scrape();
        let dropped = page.value("hotspot_exporter_series_dropped", &[("reason", "limit")]).unwrap();
        println!("{} samples, {dropped} dropped, {:?}", page.samples.len(), Figures::of(exporter, &root));
        assert!(dropped >= 20.0 * 40_000.0, "what is left out is counted: {dropped}");
        let raw = exporter.scrape_path("/metrics/raw");
        let limit = SeriesLimits::default().max_series_per_jvm;
        let of_bombs = raw.samples.iter().filter(|sample| sample.name.contains("bomb")).count();
        assert!(of_bombs > 0 && of_bombs <= 20 * limit, "{of_bombs}");
        drop(bombs);
    });
}
