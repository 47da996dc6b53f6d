//! Processes that pretend to be JVMs and hold whoever reads their counters, by a file system or a userfaultfd(2) that
//! does not answer. Not beside tests that scan in their own process, which they would hold, too.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::exporter::{Exporter, command};
use crate::support::native::compile;
use crate::support::regions::fixture;
use crate::support::{copy_program, ensure, is_root, skip_this, target, wait_for};

/// A directory with the program; `None`, said as a skip, where it cannot be had.
pub(crate) fn program() -> Option<TempDir> {
    if !is_root() {
        skip_this("takes root");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = compile("libjvm.so", &["tests/memory/libjvm.c", "-shared", "-fPIC", "-pthread"]) else {
        skip_this("no C compiler");
        return None;
    };
    copy_program(library, &folder.path().join("libjvm.so"));
    let search = format!("-L{}", target().join("native").display());
    let java = compile("java", &["tests/memory/java.c", &search, "-ljvm", "-Wl,-rpath,$ORIGIN"]).unwrap();
    copy_program(java, &folder.path().join("java"));
    Some(folder)
}

/// Ends with its test.
struct Pretender(Child);

impl Pretender {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, Path::new("/mnt"))
    }

    /// The same with the place of a file system.
    fn start_with(folder: &Path, held: &Path) -> Self {
        let mut command = Command::new(folder.join("java"));
        command.arg("honest").arg(fixture("jdk17-G1")).env("HELD", held);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Has it hold its readers in one of the ways of `tests/memory/libjvm.c`.
    fn hold(&mut self, way: u8) {
        self.0.stdin.as_mut().unwrap().write_all(&[way]).unwrap();
    }

    /// Whether it could not do so.
    fn has_failed(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Its row in a list of `/targets`.
    fn row(&self, list: &Value, name: &str) -> Option<Value> {
        list[name].as_array().unwrap().iter().find(|row| row["pid"] == self.pid()).cloned()
    }
}

impl Drop for Pretender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A JVM that holds its readers in that way is refused for that reason, and costs no other JVM anything. The detail.
fn given_up(way: u8, reason: &str) -> Option<String> {
    let folder = program()?;
    let (mut hostile, honest) = (Pretender::start(folder.path()), Pretender::start(folder.path()));
    let mut exporter = Exporter::start(["--discovery.root=/var/tmp/no-such-directory"]);
    for process in [&hostile, &honest] {
        wait_for("both to be served", || exporter.scrape().of_pid(process.pid()).ok_or("not there"));
    }
    hostile.hold(way);
    let refusal = wait_for("the refusal", || {
        if hostile.has_failed() {
            return Ok(None);
        }
        let targets = exporter.targets();
        let refused = hostile.row(&targets, "refused");
        refused.filter(|row| row["reason"] == reason).map(Some).ok_or(targets)
    });
    let Some(refusal) = refusal else {
        skip_this("FUSE cannot be mounted on /mnt, or no userfaultfd be had");
        return None;
    };
    let page = exporter.scrape();
    assert!(page.of_pid(hostile.pid()).is_none() && page.of_pid(honest.pid()).is_some());
    assert_eq!((exporter.get("/-/healthy").status, exporter.get("/-/ready").status), (200, 200));
    let looks = |exporter: &Exporter| exporter.scrape().value("hotspot_exporter_sampler_looks_total", &[]);
    let before = looks(&exporter);
    wait_for("the other JVM to be sampled on", || ensure(looks(&exporter) > before, "no looks"));
    let newcomer = Pretender::start(folder.path());
    wait_for("a new JVM", || exporter.scrape().of_pid(newcomer.pid()).ok_or("not there"));
    if way == b'p' {
        // The kernel ends no thread that waits for a page of FUSE before the server does.
        drop(hostile);
    }
    exporter.terminate();
    Some(refusal["detail"].as_str().unwrap().to_owned())
}

#[test]
fn a_jvm_that_holds_its_readers_is_given_up() {
    given_up(b'p', "unresponsive");
}

#[test]
fn a_jvm_whose_pages_wait_for_a_userfaultfd_is_refused() {
    if let Some(detail) = given_up(b'u', "private_memory") {
        assert!(detail.contains("no memory that can be read"), "{detail}");
    }
}

#[test]
fn a_file_on_fuse_that_only_its_jvm_shows_is_not_touched() {
    let Some(folder) = program() else { return };
    // Empty but in the namespace of the process.
    let place = tempfile::Builder::new().prefix("hsperfdata_").tempdir_in("/tmp").unwrap();
    let mut jvm = Pretender::start_with(folder.path(), place.path());
    jvm.hold(b'f');
    let maps = format!("/proc/{}/maps", jvm.pid());
    let file = format!("{}/{}", place.path().display(), jvm.pid());
    let mounted = wait_for("the file", || match jvm.has_failed() {
        true => Ok(false),
        false => ensure(std::fs::read_to_string(&maps).unwrap().contains(&file), "not mapped").map(|()| true),
    });
    if !mounted {
        return skip_this("FUSE cannot be mounted");
    }
    let root = "--discovery.root=/var/tmp/no-such-directory";
    let mut exporter = Exporter::start([root]);
    let row = wait_for("the JVM", || jvm.row(&exporter.targets(), "jvms").ok_or("not there"));
    assert_eq!((&row["via"], &row["state"]), (&"memory".into(), &"mapped".into()));
    assert!(exporter.scrape().of_pid(jvm.pid()).is_some());
    exporter.terminate();

    let config = folder.path().join("exporter.yaml");
    std::fs::write(&config, "discovery: {processes: off}\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let output = command(["list", "--format=json", root, &config]).output().unwrap();
    let refusal = jvm.row(&serde_json::from_slice(&output.stdout).unwrap(), "refused").unwrap();
    let detail = refusal["detail"].as_str().unwrap();
    assert!(refusal["reason"] == "other_tmp" && detail.contains("on FUSE"), "{refusal}");
}
