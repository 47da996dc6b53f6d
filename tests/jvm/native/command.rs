//! `nmt`, and what `explain`, `list` and `--once` do with JVMs that reply to queries.

use std::fs::{self, File};
use std::process::Output;

use serde_json::Value;

use crate::native::LISTENING;
use crate::support::exporter::command;
use crate::support::exposition::Exposition;
use crate::support::jvm::Jvm;
use crate::support::{jdk, package};

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Standard output of a call that succeeds.
fn stdout_of(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that the call fails with exit code 1 and an error with these words.
fn assert_fails(arguments: &[&str], words: &str) {
    let output = run(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(error.contains(words) && output.stdout.is_empty(), "{arguments:?} does not say {words:?}: {error}");
}

#[test]
fn nmt_of_a_running_jvm_adds_up() {
    for jdk in &jdk::of_each_release(|_| true) {
        let jvm = Jvm::start(jdk, LISTENING);
        let pid = jvm.pid().to_string();
        let json: Value = serde_json::from_str(&stdout_of(&["nmt", &pid, "--format=json"])).unwrap();
        let categories = json["categories"].as_array().unwrap();
        for amount in ["reserved", "committed"] {
            let sum: u64 = categories.iter().map(|category| category[amount].as_u64().unwrap()).sum();
            let total = json["total"][amount].as_u64().unwrap();
            let rounding = jdk.nmt_rounding() * categories.len() as u64;
            assert!(sum.abs_diff(total) <= rounding, "{jdk} {amount}: {sum} of {total}");
        }
        let heap = categories.iter().find(|category| category["name"] == "Java Heap").unwrap();
        assert_eq!(heap["mmap"]["reserved"], 96 << 20);
        assert!(heap.get("malloc").is_none(), "what the JVM does not print is absent: {heap}");
        let table = stdout_of(&["nmt", &pid]);
        assert!(table.starts_with("CATEGORY") && table.contains("\nJava Heap"), "{table}");
    }
}

#[test]
fn nmt_says_why_a_jvm_does_not_reply() {
    let jdk = jdk::any();
    let tracking = LISTENING[0];
    for (flags, mode, words) in [
        (&LISTENING[1..], "passive", "-XX:NativeMemoryTracking=summary"),
        (&LISTENING[..1], "passive", "-XX:+StartAttachListener"),
        (&LISTENING[..], "off", "attach.mode is off"),
        (&[tracking, "-XX:+DisableAttachMechanism"], "active", "-XX:+DisableAttachMechanism"),
    ] {
        let jvm = Jvm::start(&jdk, flags);
        let arguments = ["nmt", &jvm.pid().to_string(), &format!("--nmt.mode={mode}"), "--nmt.allow-active-as-root"];
        assert_fails(&arguments, words);
    }
    assert_fails(&["nmt", "no-such-file"], "no such file");
    // A JVM that is not ready affects only queries for its own pid.
    let root = tempfile::tempdir().unwrap();
    let user = rustix::process::geteuid().as_raw();
    let directory = root.path().join(format!("hsperfdata_{user}"));
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("4711"), "").unwrap();
    let root = format!("--discovery.root={}", root.path().display());
    assert_fails(&["nmt", "1999999999", &root], "no JVM with that pid");
    assert_fails(&["nmt", "4711", &root, "--path.procfs=off"], "the JVM is starting");
}

#[test]
fn nmt_reads_saved_replies() {
    let fixtures = package().join("tests/fixtures/perfdata");
    for (name, exact) in [("jdk25-G1.nmt-bytes.txt", true), ("jdk8-G1.nmt-kb.txt", false)] {
        let path = fixtures.join(name).display().to_string();
        let json: Value = serde_json::from_str(&stdout_of(&["nmt", &path, "--format=json"])).unwrap();
        assert_eq!(json["exact"], exact);
        assert!(json["categories"].as_array().unwrap().len() >= 10, "{json}");
        assert!(stdout_of(&["nmt", &path]).contains("\nJava Heap"));
    }
}

#[test]
fn files_that_hold_no_reply_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("off"), "4711:\nNative memory tracking is not enabled\n").unwrap();
    fs::write(path("words"), "hello\u{1b}[2J\n").unwrap();
    fs::write(path("bytes"), [0xff; 100]).unwrap();
    File::create(path("huge")).unwrap().set_len(1 << 40).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RUSR).unwrap();
    fs::create_dir(path("directory")).unwrap();
    for (name, words) in [
        ("off", "tracking is not enabled"),
        ("words", "not a reply"),
        ("bytes", "not a reply"),
        ("huge", "at most 262144 bytes"),
        ("fifo", "regular file"),
        ("directory", "regular file"),
    ] {
        let path = path(name).display().to_string();
        assert_fails(&["nmt", &path], words);
        assert_fails(&["nmt", &path], &path);
    }
}

#[test]
fn once_queries_no_jvm() {
    let jvm = Jvm::start(&jdk::any(), LISTENING);
    let page = Exposition::parse(&stdout_of(&["--discovery.root=/tmp", "--once"]));
    let (_, page) = page.of_pid(jvm.pid()).unwrap();
    assert!(page.value("process_thread_count", &[]) > Some(5.0));
    let native = page.samples.iter().find(|sample| sample.name.starts_with("jvm_nmt_"));
    assert_eq!(native, None);
}

#[test]
fn explain_of_a_running_jvm_includes_its_providers() {
    let jdk = jdk::any();
    let explain =
        |jvm: &Jvm, more: &str| stdout_of(&["explain", &jvm.pid().to_string(), "--discovery.root=/tmp", more]);
    let jvm = Jvm::start(&jdk, LISTENING);
    let text = explain(&jvm, "--nmt.mode=passive");
    for line in [
        "  process: visible",
        "  native memory: answering\n",
        "  diagnostics: answering Compiler.codecache",
        "      source code_cache.nmethods\n",
        "      source pool.freshness{mode=\"asked\",pool=\"Metaspace\"}\n",
        "  sampling: pauses",
        "      source nmt.committed{category=\"Java Heap\"}\n",
        "      source proc.threads\n",
        "  jvm_nmt_total_committed_bytes updowncounter\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
    assert!(
        explain(&jvm, "--nmt.mode=off")
            .contains("  native memory: absent: attach.mode is off\n  diagnostics: absent: attach.mode is off\n")
    );
    let hidden = explain(&jvm, "--path.procfs=off");
    assert!(hidden.contains("  process: absent: it is not visible in /proc"), "{hidden}");
    assert!(!hidden.contains("\n      source proc."), "{hidden}");

    let silent = Jvm::start(&jdk, &LISTENING[..1]);
    let silent = explain(&silent, "--attach.mode=active");
    for topic in ["native memory", "diagnostics"] {
        assert!(
            silent.contains(&format!("  {topic}: absent: the JVM has no attach socket in its /tmp; start it with"))
        );
    }
    let off = Jvm::start(&jdk, &LISTENING[1..]);
    assert!(explain(&off, "--nmt.mode=passive").contains("  native memory: absent: tracking is not enabled"));
    assert!(explain(&off, "--attach.mode=passive").contains("  diagnostics: answering Compiler.codecache"));
}

/// JVMs of containers, whose processes are not visible.
#[test]
fn jvms_with_the_same_pid_are_identified_by_their_root() {
    let root = crate::support::regions::Root::new();
    let places = ["a", "b"].map(|name| root.path().join(name).join("hsperfdata_tester"));
    let _writers = places.each_ref().map(|place| {
        fs::create_dir_all(place).unwrap();
        fs::copy(crate::support::regions::fixture("jdk25-G1"), place.join("1")).unwrap();
        File::options().write(true).open(place.join("1")).unwrap()
    });
    let roots = format!("--discovery.root={}/{{container}}", root.path().display());
    assert_fails(&["nmt", "1", &roots, "--path.procfs=off"], "several JVMs are pid 1");
    let one = format!("--discovery.root={}/a", root.path().display());
    assert_fails(&["nmt", "1", &one, "--path.procfs=off"], "JVM 1: ");
}
