//! `doctor` beside JVMs in trouble: it names each trouble, and leaves healthy JVMs alone.

use std::process::Command;

use serde_json::Value;

use crate::native::cgroups::{Group, View};
use crate::support::exporter::{Exporter, command};
use crate::support::jdk;
use crate::support::jvm::Jvm;
use crate::support::{ensure, skip, wait_for};

/// What `doctor` says, and its exit code.
struct Said {
    code: Option<i32>,
    diagnosis: Value,
}

impl Said {
    fn new(arguments: &[&str]) -> Result<Self, String> {
        let output = command(["doctor", "--format=json"].iter().chain(arguments)).output().unwrap();
        let diagnosis = serde_json::from_slice(&output.stdout);
        let diagnosis = diagnosis.map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
        Ok(Self { code: output.status.code(), diagnosis })
    }

    fn jvm(&self, pid: u32) -> &Value {
        let jvms = self.diagnosis["jvms"].as_array().unwrap();
        jvms.iter().find(|jvm| jvm["pid"] == pid && jvm["end"].is_null()).unwrap_or(&Value::Null)
    }

    /// What is found of a JVM, at warning or above.
    fn findings(&self, pid: u32) -> Vec<&str> {
        let findings = self.jvm(pid)["findings"].as_array().into_iter().flatten();
        let urgent = findings.filter(|finding| finding["severity"] != "info");
        urgent.map(|finding| finding["name"].as_str().unwrap()).collect()
    }
}

fn java(options: &[&str], trouble: &[&str]) -> Command {
    let mut java = Command::new(jdk::any().java());
    java.args(["-cp", jdk::class_path().to_str().unwrap()]).args(options).arg("Ailing").args(trouble);
    java
}

fn troubled(options: &[&str], trouble: &[&str]) -> Jvm {
    Jvm::spawn(&mut java(options, trouble))
}

/// 90 % of its old generation of 40 MiB and more is never free.
fn leaking() -> Jvm {
    leaking_as("leak")
}

fn leaking_as(name: &str) -> Jvm {
    let name = format!("-Dotel.service.name={name}");
    troubled(&["-XX:+UseSerialGC", "-Xms48m", "-Xmx48m", "-Xmn8m", &name], &["leak", "38"])
}

/// Waits until a JVM has this finding, with a number, a next step and a page.
fn wait_for_finding(ask: &dyn Fn() -> Result<Said, String>, jvm: &Jvm, name: &str) -> Said {
    let (said, _) = wait_for(name, || {
        let said = ask()?;
        let found = said.findings(jvm.pid()).contains(&name);
        ensure(found, said.jvm(jvm.pid()).to_string()).map(|()| (said, ()))
    });
    assert_eq!(said.code, Some(1));
    let findings = said.jvm(jvm.pid())["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["name"] == name).unwrap();
    assert!(finding["text"].as_str().unwrap().contains(" % "), "{finding}");
    assert!(!finding["next_step"].as_str().unwrap().is_empty(), "{finding}");
    assert_eq!(finding["runbook"], format!("docs/runbooks/{name}.md"));
    said
}

#[test]
fn a_running_exporter_tells_which_jvm_leaks_and_which_only_collects() {
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let (leaking, resting) = (leaking(), troubled(&["-XX:+UseSerialGC", "-Xmx64m"], &["rest"]));
    let collecting = troubled(&["-XX:+UseSerialGC", "-Xmx256m"], &["collect", "16"]);
    let url = format!("http://{}", exporter.address());
    let ask = || Said::new(&["--url", &url]);
    wait_for_finding(&ask, &leaking, "HeapAfterGcHigh");
    let said = wait_for_finding(&ask, &collecting, "GcTimeShareHigh");
    for jvm in [&collecting, &resting] {
        assert!(!said.findings(jvm.pid()).contains(&"HeapAfterGcHigh"), "{}", said.jvm(jvm.pid()));
    }
    assert!(!said.findings(resting.pid()).contains(&"GcTimeShareHigh"), "{}", said.jvm(resting.pid()));
    // The page and `top` show the same.
    let overview: Value = serde_json::from_slice(&exporter.get("/overview").body).unwrap();
    let shown = overview["jvms"].as_array().unwrap().iter().find(|jvm| jvm["pid"] == leaking.pid()).unwrap();
    let names: Vec<_> = shown["findings"].as_array().unwrap().iter().map(|finding| &finding["name"]).collect();
    assert!(names.iter().any(|name| *name == "HeapAfterGcHigh"), "{shown}");
}

#[test]
fn a_jvm_that_its_cgroup_throttles_is_told_from_one_that_is_not() {
    const TEST: &str = "a_jvm_that_its_cgroup_throttles_is_told_from_one_that_is_not";
    let Some(group) = Group::new(TEST, "doctor") else { return };
    let spin = java(&["-XX:+UseSerialGC", "-Xmx64m"], &["spin", "4"]);
    let throttled = Jvm::spawn(&mut group.run(View::Host, &spin));
    let pid = throttled.pid().to_string();
    let ask = || Said::new(&[&pid, "--local", "--for=10s"]);
    let said = wait_for_finding(&ask, &throttled, "CpuThrottled");
    assert!(!said.findings(throttled.pid()).contains(&"HeapAfterGcHigh"), "{}", said.jvm(throttled.pid()));
}

/// What an operator has to see at once.
#[test]
fn the_page_top_and_doctor_tell_which_jvm_leaks_which_allocates_and_which_is_throttled() {
    const TEST: &str = "the_page_top_and_doctor_tell_which_jvm_leaks_which_allocates_and_which_is_throttled";
    let Some(group) = Group::new(TEST, "night") else { return };
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let serial = "-XX:+UseSerialGC";
    let spin = java(&[serial, "-Xmx64m", "-Dotel.service.name=squeezed"], &["spin", "4"]);
    let night = [
        (leaking_as("leaky"), "leaky", "HeapAfterGcHigh"),
        (
            troubled(&[serial, "-Xmx64m", "-Xmn1m", "-Dotel.service.name=wasteful"], &["allocate"]),
            "wasteful",
            "GcTimeShareHigh",
        ),
        (Jvm::spawn(&mut group.run(View::Host, &spin)), "squeezed", "CpuThrottled"),
    ];
    let url = format!("http://{}", exporter.address());
    let ask = || Said::new(&["--url", &url]);
    for (jvm, _, trouble) in &night {
        let said = wait_for_finding(&ask, jvm, trouble);
        // Under a quota everything takes longer, collections too, and this machine's own group may have one.
        for (other, ..) in night.iter().filter(|(.., theirs)| theirs != trouble && *trouble == "HeapAfterGcHigh") {
            assert!(!said.findings(other.pid()).contains(trouble), "{}", said.jvm(other.pid()));
        }
    }
    let (page, top) = (exporter.get("/"), command(["top", "--url", &url]).output().unwrap());
    let (page, top) = (page.text(), String::from_utf8(top.stdout).unwrap());
    for (_, name, trouble) in &night {
        let row = page.split("<tr").find(|row| row.contains(&format!(">{name}<"))).unwrap_or_else(|| panic!("{page}"));
        let sign = match *trouble {
            "HeapAfterGcHigh" => "of the old generation",
            "GcTimeShareHigh" => "Collections stopped it for",
            _ => "Its CPU quota",
        };
        assert!(row.contains(sign), "{trouble} is not in {row}");
        let line = top.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{top}"));
        assert!(line.starts_with('!') && (line.contains(sign) || line.contains(trouble)), "{trouble} is not in {line}");
    }
}

#[test]
fn a_local_look_finds_a_leak_and_says_so_in_words() {
    let leaking = leaking();
    let pid = leaking.pid().to_string();
    let ask = || Said::new(&[&pid, "--local", "--for=5s"]);
    wait_for_finding(&ask, &leaking, "HeapAfterGcHigh");
    let text = wait_for("the text", || {
        let output = command(["doctor", &pid, "--local", "--for=5s"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        ensure(text.contains("WARNING HeapAfterGcHigh"), text.clone()).map(|()| text)
    });
    for part in [&*format!("(pid {pid}, Ailing, "), "threshold 90 %", "Next: ", "/docs/runbooks/HeapAfterGcHigh.md"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn a_healthy_jvm_alone_gives_success_and_what_was_not_checked() {
    const TEST: &str = "a_healthy_jvm_alone_gives_success_and_what_was_not_checked";
    let resting = troubled(&["-XX:+UseSerialGC", "-Xmx64m"], &["rest"]);
    let pid = resting.pid().to_string();
    let throttled = ["CpuThrottled"];
    // A machine that is busy may hold a JVM that starts for so long that it is told.
    let said = wait_for("nothing to be found", || {
        let said = Said::new(&[&pid, "--local", "--for=2s"])?;
        let found = said.findings(resting.pid());
        ensure(found.is_empty() || found == throttled, said.diagnosis.to_string()).map(|()| said)
    });
    if said.findings(resting.pid()) == throttled {
        return skip(TEST, "the CPU quota of this machine's own control group throttles every JVM here");
    }
    assert_eq!(said.code, Some(0), "{}", said.diagnosis);
    let lacks: Vec<_> = said.jvm(resting.pid())["not_checked"].as_array().unwrap().iter().collect();
    let of = |name: &str| lacks.iter().find(|lack| lack["name"] == name).map(|lack| lack["reason"].as_str().unwrap());
    assert_eq!(of("NmtGrowthOutsideHeap"), Some("Native Memory Tracking is off"), "{lacks:?}");
    assert_eq!(of("OldGenFillingUp"), Some("under Serial garbage fills the old generation as well"));
}
