//! The units of `deploy/systemd` in the hands of systemd's own programs.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::exporter::Exporter;
use crate::support::jvm::Jvm;
use crate::support::{copy_program, ensure, is_ci, is_root, jdk, package, program, skip, wait_for};
use tempfile::TempDir;

/// The units, the template as one of its instances.
const UNITS: [(&str, &str); 3] = [
    ("hotspot-exporter.service", "hotspot-exporter.service"),
    ("hotspot-exporter@.service", "hotspot-exporter@root.service"),
    ("hotspot-exporter.socket", "hotspot-exporter.socket"),
];

/// systemd's exposure level times 10 that no unit may exceed.
const EXPOSURE: &str = "20";

fn source(file: &str) -> PathBuf {
    package().join("deploy/systemd").join(file)
}

/// A program of systemd, or the end of the test with its reason.
fn tool(name: &str, test: &str) -> Option<PathBuf> {
    let found = program(name);
    if found.is_none() {
        assert!(!is_ci(), "CI must have {name}");
        skip(test, format!("no {name}; install Debian's systemd"));
    }
    found
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The units as they are after installation, but with the binary under test: systemd checks that it is there.
fn installed(directory: &Path) -> Vec<PathBuf> {
    let install = |(unit, instance): (&str, &str)| {
        let text = fs::read_to_string(source(unit)).unwrap();
        let text = text.replace("/usr/bin/hotspot-exporter", env!("CARGO_BIN_EXE_hotspot-exporter"));
        let documentation = |line: &&str| !line.starts_with("Documentation=");
        let text: Vec<&str> = text.lines().filter(documentation).collect();
        for name in [unit, instance] {
            fs::write(directory.join(name), text.join("\n") + "\n").unwrap();
        }
        directory.join(instance)
    };
    UNITS.into_iter().map(install).collect()
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let Some(analyze) = tool("systemd-analyze", "systemd_finds_nothing_wrong_with_the_units") else { return };
    let directory = tempfile::tempdir().unwrap();
    let units = installed(directory.path());
    let output = Command::new(analyze).arg("verify").arg("--man=no").args(units).output().unwrap();
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}

#[test]
fn the_units_are_hardly_exposed() {
    let Some(analyze) = tool("systemd-analyze", "the_units_are_hardly_exposed") else { return };
    let directory = tempfile::tempdir().unwrap();
    for unit in installed(directory.path()).iter().filter(|unit| unit.extension().is_some_and(|it| it == "service")) {
        let threshold = format!("--threshold={EXPOSURE}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold];
        let output = Command::new(&analyze).args(arguments).arg(unit).output().unwrap();
        let text = said(&output);
        assert!(output.status.success(), "{}: {text}", unit.display());
        println!("{}", text.lines().last().unwrap_or_default());
    }
}

#[test]
fn the_units_let_through_what_the_exporter_needs() {
    for (unit, capabilities) in
        [("hotspot-exporter.service", "CAP_DAC_READ_SEARCH CAP_SYS_PTRACE"), ("hotspot-exporter@.service", "")]
    {
        let text = fs::read_to_string(source(unit)).unwrap();
        let has = |line: &str| text.lines().any(|other| other == line);
        for setting in ["CapabilityBoundingSet", "AmbientCapabilities"] {
            assert!(has(&format!("{setting}={capabilities}")), "{unit}: {setting}");
        }
        // A readable /tmp; capabilities that count on the host; a scan that is alive.
        // Starts that fail never end the unit for good.
        for line in
            ["Type=notify", "WatchdogSec=30", "ProtectProc=ptraceable", "Restart=on-failure", "StartLimitIntervalSec=0"]
        {
            assert!(has(line), "{unit} has no {line}");
        }
        for setting in ["PrivateTmp=", "PrivateUsers=", "DynamicUser="] {
            assert!(!text.lines().any(|line| line.starts_with(setting)), "{unit} sets {setting}");
        }
        // A bad configuration neither starts nor reloads.
        let check = "/usr/bin/hotspot-exporter --config.check --config.file=/etc/hotspot-exporter/config.yaml";
        assert!(has(&format!("ExecStartPre={check}")) && has(&format!("ExecReload={check}")), "{unit}");
        assert!(
            text.find(&format!("ExecReload={check}")) < text.find("ExecReload=/bin/sh -c 'kill -HUP ${MAINPID}'"),
            "{unit}"
        );
    }
}

/// Options of setpriv for the capabilities that the unit gives.
fn unit_capabilities() -> [String; 3] {
    ["inh-caps", "ambient-caps", "bounding-set"].map(|set| format!("--{set}=-all,+dac_read_search,+sys_ptrace"))
}

/// A directory that every user can read.
fn open_directory() -> TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// The system call filter aside, which wants a running systemd: what the unit gives is enough for every kind of JVM.
#[test]
fn two_capabilities_see_every_jvm_of_the_host() {
    let test = "two_capabilities_see_every_jvm_of_the_host";
    if !is_root() || program("setpriv").is_none() || program("unshare").is_none() {
        return skip(test, "JVMs of another user need root, and Debian's util-linux");
    }
    let directory = open_directory();
    let binary = directory.path().join("hotspot-exporter");
    copy_program(env!("CARGO_BIN_EXE_hotspot-exporter"), &binary);
    let private = tempfile::tempdir().unwrap();
    let jdk = jdk::any();
    let jvms = [
        ("a file in /tmp", Jvm::start(&jdk, ["-XX:+UseSerialGC"])),
        ("a /tmp of its own", Jvm::in_tmp(&jdk, private.path(), ["-XX:+UseSerialGC"])),
        ("no file", Jvm::start(&jdk, ["-XX:+UseSerialGC", "-XX:+PerfDisableSharedMem"])),
    ];
    let mut command = Command::new("setpriv");
    command.args(["--reuid=64321", "--regid=64321", "--clear-groups", "--no-new-privs"]).args(unit_capabilities());
    let exporter = Exporter::spawn(command.arg(binary).current_dir("/"));
    for (kind, jvm) in &jvms {
        wait_for(&format!("the JVM with {kind}"), || {
            let page = exporter.scrape();
            let found =
                page.of_pid(jvm.pid()).ok_or(format!("no process {} in {:#}", jvm.pid(), exporter.targets()))?.1;
            ensure(found.value("jvm_up", &[]) == Some(1.0), "it is not up")
        });
    }
}

/// The system calls of a set, with those of the sets in it.
fn calls_of(analyze: &Path, set: &str, into: &mut BTreeSet<String>) {
    let output = Command::new(analyze).args(["syscall-filter", "--no-pager", set]).output().unwrap();
    assert!(output.status.success(), "{set}: {}", said(&output));
    // The first line is the set's name; a comment says what it is.
    for name in said(&output).lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if name.starts_with('@') {
            calls_of(analyze, name, into);
        } else {
            into.insert(name.to_owned());
        }
    }
}

/// What a unit's `SystemCallFilter=` lines come to: the first allows, `~` takes away, further ones add.
fn allowed(analyze: &Path, unit: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    // Always allowed with a list of what is allowed.
    calls_of(analyze, "@default", &mut calls);
    let text = fs::read_to_string(source(unit)).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (denied, words) = line.strip_prefix('~').map_or((false, line), |rest| (true, rest));
        for word in words.split(' ') {
            let mut named = BTreeSet::new();
            if word.starts_with('@') {
                calls_of(analyze, word, &mut named);
            } else {
                named.insert(word.to_owned());
            }
            if denied {
                calls.retain(|call| !named.contains(call));
            } else {
                calls.extend(named);
            }
        }
    }
    calls
}

/// No systemd runs here that could apply the filter; what the exporter calls is compared with it.
#[test]
fn the_system_call_filter_lets_through_what_is_called() {
    let test = "the_system_call_filter_lets_through_what_is_called";
    let Some(analyze) = tool("systemd-analyze", test) else { return };
    let (Some(strace), Some(_), true) = (program("strace"), program("setpriv"), is_root()) else {
        return skip(test, "another user needs root, and Debian's strace and util-linux");
    };
    let Some([_, jdk]) = jdk::for_other_users(test) else { return };
    let (classes, directory) = (jdk::classes_for_everybody(), open_directory());
    let (trace, binary) = (directory.path().join("trace"), directory.path().join("hotspot-exporter"));
    copy_program(env!("CARGO_BIN_EXE_hotspot-exporter"), &binary);
    // A user with JVMs of its own, as the one of the unit.
    let user = ["--reuid=daemon", "--regid=daemon", "--clear-groups"];
    let jvm = |options: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(user).arg(jdk.java()).args(["-Xmx96m", "-cp"]).arg(classes.path()).args(options);
        Jvm::spawn(command.arg("Workload"))
    };
    let jvms =
        [jvm(&["-XX:NativeMemoryTracking=summary", "-XX:+StartAttachListener"]), jvm(&["-XX:+PerfDisableSharedMem"])];
    let mut command = Command::new(strace);
    command.args(["--follow-forks", "--quiet=all", "-o"]).arg(&trace);
    // Without it the exporter would outlive its tracer.
    command.args(["setpriv", "--pdeathsig=KILL"]).args(user).args(unit_capabilities());
    command.arg(&binary).arg("--discovery.root=/tmp").current_dir("/");
    let exporter = Exporter::spawn(&mut command);
    for jvm in &jvms {
        wait_for("the JVM", || exporter.scrape().of_pid(jvm.pid()).map(drop).ok_or("not there"));
    }
    wait_for("native memory", || {
        let of_first = exporter.scrape().of_pid(jvms[0].pid()).ok_or("not there")?.1;
        of_first.value("jvm_nmt_total_committed_bytes", &[]).ok_or("no answer")
    });
    let text = fs::read_to_string(&trace).unwrap();
    // What comes before is setpriv's.
    let (_, text) = text.split_once(&format!("execve(\"{}\"", binary.display())).unwrap();
    // `17 openat(…` and `17 <... openat resumed>`
    let call = |line: &str| Some(line.split_once(' ')?.1.trim_start().split_once('(')?.0.to_owned());
    let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let called: BTreeSet<String> = text.lines().filter_map(call).filter(is_name).collect();
    assert!(text.contains("\"mem\", O_RDONLY"), "no process's memory was opened");
    assert!(called.contains("pread64") && called.len() > 30, "{called:?}");
    for unit in ["hotspot-exporter.service", "hotspot-exporter@.service"] {
        let allowed = allowed(&analyze, unit);
        let mut denied: Vec<&String> = called.difference(&allowed).collect();
        // Tried where a JVM of another user listens, as this machine may have one; the exporter goes on without.
        denied.retain(|call| !["setgroups", "setresgid", "setresuid"].contains(&call.as_str()));
        assert!(denied.is_empty(), "{unit} denies {denied:?}");
    }
}

#[test]
fn the_user_can_be_made() {
    let Some(sysusers) = tool("systemd-sysusers", "the_user_can_be_made") else { return };
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let mut command = Command::new(sysusers);
    command
        .arg(format!("--root={}", root.path().display()))
        .arg("--dry-run")
        .arg(source("sysusers.d/hotspot-exporter.conf"));
    let output = command.output().unwrap();
    assert!(output.status.success() && said(&output).contains("hotspot-exporter"), "{}", said(&output));
}

#[test]
fn cleaners_leave_what_jvms_need() {
    let Some(tmpfiles) = tool("systemd-tmpfiles", "cleaners_leave_what_jvms_need") else { return };
    let root = tempfile::tempdir().unwrap();
    let tmp = root.path().join("tmp");
    fs::create_dir_all(tmp.join("hsperfdata_shop")).unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    for file in ["hsperfdata_shop/17", ".java_pid17", "rubbish"] {
        fs::write(tmp.join(file), "old").unwrap();
    }
    // Everything is too old for this rule.
    let rules = root.path().join("all.conf");
    fs::write(&rules, "d /tmp 1777 - - 0\n").unwrap();
    let mut command = Command::new(tmpfiles);
    command.arg(format!("--root={}", root.path().display())).arg("--clean").arg(&rules);
    let output = command.arg(source("tmpfiles.d/hotspot-exporter.conf")).output().unwrap();
    let left = |file: &str| tmp.join(file).exists();
    assert!(output.status.success(), "{}", said(&output));
    assert!(!left("rubbish"), "the rule cleans: {}", said(&output));
    assert!(left("hsperfdata_shop/17") && left(".java_pid17"), "{}", said(&output));
}
