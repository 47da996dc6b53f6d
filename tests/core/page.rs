//! The pages as a browser shows them: `tests/page/check.mjs` opens them in Debian's chromium, with playwright and axe.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::exporter::Exporter;
use crate::support::jdk;
use crate::support::jvm::Jvm;
use crate::support::regions::{Root, fixtures};
use crate::support::{ensure, package, program, skip, target, wait_for};

/// Longest time for all checks, in seconds: only a browser that hangs takes as long.
const PATIENCE: &str = "600";

/// The browser, and the directory with the packages.
fn tools(test: &str) -> Option<(PathBuf, PathBuf)> {
    let browser = ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| program(name));
    let modules = target().join("tools/page");
    let missing = match (&browser, program("node")) {
        (None, _) => "no chromium; install Debian's chromium",
        (_, None) => "no node; install Debian's nodejs",
        _ if !modules.join("node_modules/playwright-core").is_dir() => {
            "no playwright-core; run scripts/test-tools quick"
        }
        _ if !modules.join("node_modules/axe-core").is_dir() => "no axe-core; run scripts/test-tools quick",
        _ => return browser.zip(Some(modules)),
    };
    skip(test, missing);
    None
}

/// Waits until that many JVMs run and have points.
fn wait_for_points(exporter: &Exporter, running: usize) {
    wait_for("points of all JVMs", || {
        let overview: Value = serde_json::from_str(exporter.get("/overview").text()).unwrap();
        let jvms = overview["jvms"].as_array().unwrap();
        let with_points =
            jvms.iter().filter(|jvm| jvm["history"]["heap_used"].is_array() || jvm["history"]["threads"].is_array());
        ensure(with_points.count() == running && jvms.len() == running, format!("{} JVMs: {overview}", jvms.len()))
    });
}

/// Recorded regions of JVMs that stand still.
fn many(count: usize) -> (Root, Vec<File>) {
    let root = Root::new();
    let recorded = fixtures();
    let names =
        recorded.iter().map(|(name, _)| name).filter(|name| name.starts_with("jdk2") || name.starts_with("jdk17"));
    let writers = names.cycle().zip(1_000..).take(count).map(|(name, pid)| root.put(name, pid)).collect();
    (root, writers)
}

#[test]
fn the_pages_work_in_a_browser() {
    let Some((browser, modules)) = tools("the_pages_work_in_a_browser") else { return };
    let jdk = jdk::any();
    let empty = Root::new();
    let _jvms = [
        Jvm::start(&jdk, ["-XX:+UseG1GC", "-Dotel.service.name=page-shop"]),
        Jvm::start(&jdk, ["-XX:+UseSerialGC", "-Dotel.service.name=page-<b>bank</b>"]),
    ];
    let (root, _writers) = many(300);
    let none = Exporter::start(empty.flags());
    let two = Exporter::start(["--discovery.root=/tmp"]);
    let crowd = Exporter::start(root.flags());
    wait_for_points(&crowd, 300);
    wait_for("both JVMs", || {
        let overview: Value = serde_json::from_str(two.get("/overview").text()).unwrap();
        let jvms = overview["jvms"].as_array().unwrap().clone();
        let has = |app| jvms.iter().any(|jvm| jvm["app"] == app && jvm["history"].is_object());
        ensure(has("page-shop") && has("page-<b>bank</b>"), &overview)
    });
    // The machine may have other JVMs, which come and go: of the two, only what is theirs is looked at.
    let stage = |name: &str, exporter: &Exporter, running: usize, words: &str| json!({"name": name, "url": format!("http://{}", exporter.address()), "running": running, "words": words});
    let plan = json!({
        "browser": browser,
        "modules": modules,
        "stages": [
            stage("no JVM", &none, 0, ""),
            stage("two JVMs", &two, 2, "page-"),
            stage("300 JVMs", &crowd, 300, ""),
        ],
    });
    let checked = Command::new("timeout")
        .arg(PATIENCE)
        .arg("node")
        .arg(package().join("tests/page/check.mjs"))
        .arg(plan.to_string())
        .output()
        .unwrap();
    let said = [checked.stdout, checked.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(checked.status.success(), "{}\n{}\n{}", checked.status, said[0], said[1]);
}
