//! What a JVM is told other than by its command line: options in files and in the environment, and the time of day.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::native::exporter;
use crate::support::exporter::command;
use crate::support::jdk::{self, Jdk};
use crate::support::jvm::Jvm;
use crate::support::native::compile;
use crate::support::{ensure, skip, wait_for};

const METASPACE: [(&str, &str); 1] = [("jvm_memory_pool_name", "Metaspace")];

/// JDK 8 and 11 take Native Memory Tracking from the command line only.
fn jdks(test: &str) -> Vec<Jdk> {
    let jdks = jdk::of_each_release(|jdk| jdk.feature >= 17);
    if jdks.is_empty() {
        skip(test, "no JDK from 17 on");
    }
    jdks
}

#[test]
fn options_of_a_flags_file_count_like_those_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flags");
    fs::write(&file, "NativeMemoryTracking=summary\nMaxMetaspaceSize=64m\nActiveProcessorCount=7\n").unwrap();
    let jdks = jdks("options_of_a_flags_file_count_like_those_of_the_command_line");
    let options = [format!("-XX:Flags={}", file.display()), "-XX:+StartAttachListener".to_owned()];
    let jvms: Vec<_> = jdks.iter().map(|jdk| (jdk, Jvm::start(jdk, &options))).collect();
    let (_config, exporter) = exporter();
    for (jdk, jvm) in &jvms {
        wait_for("native memory", || {
            let page = exporter.scrape().of_pid(jvm.pid()).ok_or("not there")?.1;
            ensure(page.value("jvm_nmt_enabled", &[]) == Some(1.0), format!("{jdk}: not enabled"))?;
            ensure(page.value("jvm_nmt_total_committed_bytes", &[]) > Some(0.0), format!("{jdk}: not asked"))?;
            assert_eq!(page.value("jvm_memory_limit_bytes", &METASPACE), Some((64_u64 << 20) as f64), "{jdk}");
            assert_eq!(page.value("jvm_cpu_count", &[]), Some(7.0), "{jdk}");
            Ok::<_, String>(())
        });
    }
}

#[test]
fn a_number_of_processors_that_the_jvm_was_told_is_its_number_of_cpus() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("arguments");
    fs::write(&file, "-XX:ActiveProcessorCount=5\n-XX:MaxMetaspaceSize=48m\n").unwrap();
    let jdk = jdk::any();
    let mut told = Command::new(jdk.java());
    told.args(Jvm::arguments()).arg("Workload").env("JAVA_TOOL_OPTIONS", "-XX:ActiveProcessorCount=3");
    let jvms = [
        (Jvm::start(&jdk, ["-XX:ActiveProcessorCount=7"]), 7.0),
        (Jvm::start(&jdk, [format!("@{}", file.display())]), 5.0),
        (Jvm::spawn(&mut told), 3.0),
    ];
    let (_config, exporter) = exporter();
    for (jvm, count) in &jvms {
        let page = wait_for("the JVM", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there")).1;
        assert_eq!(page.value("jvm_cpu_count", &[]), Some(*count));
    }
}

#[test]
fn a_jvm_whose_clock_was_wrong_at_its_start_has_the_kernels_start() {
    const TEST: &str = "a_jvm_whose_clock_was_wrong_at_its_start_has_the_kernels_start";
    let Some(library) = compile("clock.so", &["tests/faults/clock.c", "-shared", "-fPIC"]) else {
        return skip(TEST, "no C compiler");
    };
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let folder = tempfile::tempdir().unwrap();
    let begin = now();
    let mut jvms = Vec::new();
    for jdk in jdks(TEST) {
        for (name, seconds) in [("ahead", 20_000 * 86_400_i64), ("behind", -86_400)] {
            let offset = folder.path().join(name);
            fs::write(&offset, seconds.to_ne_bytes()).unwrap();
            let mut java = Command::new(jdk.java());
            java.env("LD_PRELOAD", &library).env("CLOCK_OFFSET", &offset).args(Jvm::arguments()).arg("Workload");
            let mut jvm = Jvm::spawn(&mut java);
            let own = jvm.beans().start_ms as f64 / 1e3;
            assert!((own - now()).abs() > 80_000.0, "{jdk}: the clock is right: the library has no effect");
            jvms.push((jdk.clone(), name, jvm));
        }
    }
    let (_config, exporter) = exporter();
    for (jdk, name, jvm) in &jvms {
        let page = wait_for("the JVM", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there")).1;
        let start = page.value("jvm_start_time_seconds", &[]).unwrap();
        assert!(start >= begin - 1.0 && start <= now() + 1.0, "{jdk} {name}: {start}, begun at {begin}");
        let explained = command(["--discovery.root=/tmp", "explain", &jvm.pid().to_string()]).output().unwrap();
        assert!(String::from_utf8_lossy(&explained.stdout).contains("start: by the kernel's clock"), "{jdk} {name}");
    }
    for row in exporter.targets()["jvms"].as_array().unwrap() {
        if jvms.iter().any(|(.., jvm)| row["pid"] == jvm.pid()) {
            let uptime = row["uptime_seconds"].as_f64().unwrap();
            assert!(uptime <= now() - begin + 1.0, "{row}");
        }
    }
}
