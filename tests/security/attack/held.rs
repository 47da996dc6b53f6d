//! A process that pretends to be a JVM and holds whoever reads its counters, by a file system that does not answer. Not
//! beside tests that scan in their own process, which it would hold, too.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::exporter::Exporter;
use crate::support::native::compile;
use crate::support::regions::fixture;
use crate::support::{copy_program, ensure, is_root, skip_this, target, wait_for};

/// Ends with its test.
struct Pretender(Child);

impl Pretender {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(folder.join("java"));
        Self(
            command.arg("honest").arg(fixture("jdk17-G1")).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap(),
        )
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Pretender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_jvm_that_holds_its_readers_is_given_up() {
    if !is_root() {
        return skip_this("takes root");
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = compile("libjvm.so", &["tests/memory/libjvm.c", "-shared", "-fPIC", "-pthread"]) else {
        return skip_this("no C compiler");
    };
    copy_program(library, &folder.path().join("libjvm.so"));
    let search = format!("-L{}", target().join("native").display());
    let java = compile("java", &["tests/memory/java.c", &search, "-ljvm", "-Wl,-rpath,$ORIGIN"]).unwrap();
    copy_program(java, &folder.path().join("java"));

    let (mut hostile, honest) = (Pretender::start(folder.path()), Pretender::start(folder.path()));
    let mut exporter = Exporter::start(["--discovery.root=/var/tmp/no-such-directory"]);
    for process in [&hostile, &honest] {
        wait_for("both to be served", || exporter.scrape().of_pid(process.pid()).ok_or("not there"));
    }
    hostile.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    let refusal = wait_for("the refusal", || {
        if hostile.0.try_wait().unwrap().is_some() {
            return Ok(None);
        }
        let targets = exporter.targets();
        let refused = targets["refused"].as_array().unwrap().iter().find(|row| row["pid"] == hostile.pid()).cloned();
        refused.filter(|row| row["reason"] == "unresponsive").map(Some).ok_or(targets)
    });
    if refusal.is_none() {
        return skip_this("FUSE cannot be mounted on /mnt");
    }
    let page = exporter.scrape();
    assert!(page.of_pid(hostile.pid()).is_none() && page.of_pid(honest.pid()).is_some());
    assert_eq!((exporter.get("/-/healthy").status, exporter.get("/-/ready").status), (200, 200));
    let looks = |exporter: &Exporter| exporter.scrape().value("hotspot_exporter_sampler_looks_total", &[]);
    let before = looks(&exporter);
    wait_for("the other JVM to be sampled on", || ensure(looks(&exporter) > before, "no looks"));
    let newcomer = Pretender::start(folder.path());
    wait_for("a new JVM", || exporter.scrape().of_pid(newcomer.pid()).ok_or("not there"));
    // The kernel ends no thread that waits for a page of FUSE before the server does.
    drop(hostile);
    exporter.terminate();
}
