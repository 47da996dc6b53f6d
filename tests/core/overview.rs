//! `/overview`: what the page, `top` and `doctor` know, of recorded regions.

use std::fs;

use crate::support::exporter::{Exporter, command};
use crate::support::regions::Root;
use crate::support::{ensure, wait_for};
use serde_json::Value;

fn overview(exporter: &Exporter) -> Value {
    serde_json::from_str(exporter.get("/overview").text()).unwrap()
}

/// The JVM whose region is in that file.
fn jvm(overview: &Value, pid: u32) -> Option<&Value> {
    overview["jvms"].as_array().unwrap().iter().find(|jvm| jvm["pid"] == pid)
}

#[test]
fn jvms_have_values_points_and_a_path_of_their_own() {
    let root = Root::new();
    let _writers = [root.put("jdk25-G1", 101), root.put("jdk17-Z", 102)];
    let exporter = Exporter::start(root.flags());
    let known = wait_for("two points of both", || {
        let overview = overview(&exporter);
        let known = |pid| jvm(&overview, pid).is_some_and(|jvm| jvm["history"]["heap_used"].is_array());
        ensure(known(101) && known(102), &overview).map(|()| overview)
    });
    assert_eq!(known["step"], 25.0);
    let g1 = jvm(&known, 101).unwrap();
    let page = exporter.scrape();
    let labels = [("app", g1["app"].as_str().unwrap())];
    assert_eq!(g1["values"]["heap_used"].as_f64(), page.value("jvm_hotspot_heap_used_bytes", &labels), "{g1}");
    assert_eq!(g1["values"]["heap_used"].as_f64(), g1["heap_used"].as_f64());
    assert_eq!(
        g1["values"]["threads"].as_f64(),
        page.value("jvm_hotspot_threads_live", &labels).or(g1["values"]["threads"].as_f64())
    );
    assert!(g1.get("end").is_none() && g1["values"].get("rss").is_none(), "its process is not visible: {g1}");
    let points = g1["history"]["heap_used"].as_array().unwrap();
    assert_eq!(points.len(), 36);
    assert_eq!(
        points.last().unwrap().as_f64().map(|last| last as f32),
        g1["heap_used"].as_f64().map(|used| used as f32)
    );

    let path = format!("/overview/{}/{}", g1["app"].as_str().unwrap(), g1["slot"]);
    let detail: Value = serde_json::from_str(exporter.get(&path).text()).unwrap();
    assert_eq!((&detail["pid"], &detail["step"]), (&Value::from(101), &Value::from(5.0)));
    assert_eq!(detail["history"]["heap_used"].as_array().unwrap().len(), 180);
    let pools = detail["details"]["facts"]["pool.used"].as_array().unwrap();
    assert!(pools.iter().any(|pool| pool["labels"]["pool"] == "G1 Old Gen"), "{detail}");
    assert_eq!(exporter.request("GET", &format!("{path}?container=none"), &[]).status, 404);
}

#[test]
fn the_pools_of_every_collector_make_its_heap() {
    let root = Root::new();
    let generations = ["jdk8-Serial", "jdk8-Parallel", "jdk11-ConcMarkSweep", "jdk21-G1"];
    let _writers: Vec<_> =
        (1..).zip(generations.into_iter().chain(["jdk17-Z"])).map(|(pid, name)| root.put(name, pid)).collect();
    let exporter = Exporter::start(root.flags());
    let known = wait_for("all JVMs", || {
        let overview = overview(&exporter);
        ensure((1..=5).all(|pid| jvm(&overview, pid).is_some()), &overview).map(|()| overview)
    });
    for (pid, name) in (1..).zip(generations) {
        let jvm = jvm(&known, pid).unwrap();
        let value =
            |measure: &str| jvm["values"][measure].as_f64().unwrap_or_else(|| panic!("{name}: {measure}: {jvm}"));
        let pools = value("eden_used") + value("survivor_used") + value("old_used");
        assert_eq!(pools, jvm["heap_used"].as_f64().unwrap(), "{name}: {jvm}");
    }
    let z = jvm(&known, 5).unwrap();
    assert!(z["values"].get("eden_used").is_none(), "its heap is one pool: {z}");
}

#[test]
fn jvms_that_end_stay_and_say_how() {
    let root = Root::new();
    let writers = [root.put("jdk25-G1", 201), root.put("jdk17-Z", 202)];
    let exporter = Exporter::start(root.flags());
    wait_for("both JVMs", || {
        let overview = overview(&exporter);
        ensure(jvm(&overview, 201).is_some() && jvm(&overview, 202).is_some(), overview)
    });
    // As a JVM that exits, and as one that is killed.
    fs::remove_file(root.place(201)).unwrap();
    drop(writers);
    let ended = wait_for("both ends", || {
        let overview = overview(&exporter);
        let ended = |pid| jvm(&overview, pid).is_some_and(|jvm| jvm["end"]["how"].is_string());
        ensure(ended(201) && ended(202), &overview).map(|()| overview)
    });
    assert_eq!(jvm(&ended, 201).unwrap()["end"]["how"], "exited");
    assert_eq!(jvm(&ended, 202).unwrap()["end"]["how"], "killed");
    let gone = jvm(&ended, 202).unwrap();
    let path = format!("/overview/{}/{}", gone["app"].as_str().unwrap(), gone["slot"]);
    let detail: Value = serde_json::from_str(exporter.get(&path).text()).unwrap();
    assert_eq!(detail["end"]["how"], "killed", "{detail}");
}

#[test]
fn without_a_history_there_is_the_present() {
    let root = Root::new();
    let _writer = root.put("jdk25-G1", 301);
    let config = tempfile::NamedTempFile::new().unwrap();
    fs::write(config.path(), "history: off\n").unwrap();
    let flags = root.flags().into_iter().chain([format!("--config.file={}", config.path().display())]);
    let exporter = Exporter::start(flags);
    let overview = wait_for("the JVM", || {
        let overview = overview(&exporter);
        ensure(jvm(&overview, 301).is_some(), &overview).map(|()| overview)
    });
    assert!(overview.get("step").is_none() && jvm(&overview, 301).unwrap().get("history").is_none(), "{overview}");
    assert!(jvm(&overview, 301).unwrap()["values"]["heap_used"].is_number());
    drop(exporter);
    fs::write(config.path(), "history: 2h\n").unwrap();
    let refused =
        command(["--config.check"]).arg(format!("--config.file={}", config.path().display())).output().unwrap();
    assert_eq!(refused.status.code(), Some(64));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("a duration from 1m to 1h"), "{text}");
}
