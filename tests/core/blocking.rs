//! Files and file systems that never answer: they cost what lies on them, and neither scans nor health nor the end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::exporter::{Exporter, command};
use crate::support::native::compile;
use crate::support::regions::Root;
use crate::support::{ensure, is_root, skip_this, wait_for};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// A mounted file system whose server never answers.
struct SilentFileSystem(Child);

impl SilentFileSystem {
    /// `None` where it cannot be mounted.
    fn mount(directory: &Path) -> Option<Self> {
        let program = compile("silent_fuse", &["tests/hostile/silent_fuse.c"])?;
        let mut child =
            Command::new(program).arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mounted = Self(child);
        (line == "mounted\n").then_some(mounted)
    }
}

impl Drop for SilentFileSystem {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Waits until another region is found, which takes a scan.
fn scans(exporter: &Exporter, root: &Root, pid: u32) {
    let _writer = root.put("jdk17-G1", pid);
    wait_for("a new JVM", || exporter.scrape().of_pid(pid).ok_or("not there"));
    assert_eq!((exporter.get("/-/healthy").status, exporter.get("/-/ready").status), (200, 200));
}

fn hang_up(exporter: &Exporter) {
    kill_process(Pid::from_raw(exporter.pid().try_into().unwrap()).unwrap(), Signal::HUP).unwrap();
}

#[test]
fn a_configuration_in_a_pipe_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("exporter.yaml");
    fifo(&pipe);
    let named = directory.path().join("other.yaml");
    for (text, flag) in [
        (format!("profiles: [{}]", pipe.display()), "--config.file"),
        (format!("otlp: {{enabled: true, headers: {{x: {{file: {}}}}}}}", pipe.display()), "--config.file"),
        (format!("tls_server_config: {{cert_file: {0}, key_file: {0}}}", pipe.display()), "--web.config.file"),
    ] {
        std::fs::write(&named, &text).unwrap();
        let output = command([format!("{flag}={}", named.display()), "--config.check".to_owned()]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(64) && error.contains("a pipe"), "{text}: {error}");
    }
    for flag in ["--config.file", "--web.config.file"] {
        let output = command([format!("{flag}={}", pipe.display())]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(64) && error.contains("a pipe"), "{flag}: {error}");
    }
}

#[test]
fn a_configuration_that_becomes_a_pipe_changes_nothing() {
    let root = Root::new();
    let file = root.path().join("exporter.yaml");
    std::fs::write(&file, "discovery: {interval: 100ms}\n").unwrap();
    let mut exporter = Exporter::start(root.flags().into_iter().chain([format!("--config.file={}", file.display())]));
    std::fs::remove_file(&file).unwrap();
    fifo(&file);
    hang_up(&exporter);
    wait_for("the failed reload", || {
        let loaded = exporter.scrape().value("hotspot_exporter_config_last_reload_successful", &[]);
        ensure(loaded == Some(0.0), format!("{loaded:?}"))
    });
    scans(&exporter, &root, 7);
    exporter.terminate();
}

#[test]
fn file_systems_that_do_not_answer_cost_only_what_lies_on_them() {
    if !is_root() {
        return skip_this("takes root");
    }
    let root = Root::new();
    let silent = tempfile::tempdir().unwrap();
    let file = root.path().join("link.yaml");
    let target = silent.path().join("exporter.yaml");
    std::fs::write(&target, "discovery: {interval: 200ms}\n").unwrap();
    std::os::unix::fs::symlink(&target, &file).unwrap();
    let flags =
        [format!("--config.file={}", file.display()), format!("--discovery.root={}/tmp", silent.path().display())];
    let mut exporter = Exporter::start(root.flags().into_iter().chain(flags));
    let Some(_mounted) = SilentFileSystem::mount(silent.path()) else { return skip_this("FUSE cannot be mounted") };
    hang_up(&exporter);
    wait_for("the scan to be overdue", || {
        let ready = exporter.get("/-/ready");
        ensure(ready.status == 503 && ready.text().starts_with("Not ready: the last scan ended"), ready.text())
    });
    assert_eq!(exporter.get("/-/healthy").status, 200);
    wait_for("the refusal of the root", || {
        let targets = exporter.targets();
        let refused = targets["refused"].as_array().unwrap();
        ensure(refused.iter().any(|row| row["reason"] == "unresponsive"), &targets)
    });
    wait_for("the failed reload", || {
        let loaded = exporter.scrape().value("hotspot_exporter_config_last_reload_successful", &[]);
        ensure(loaded == Some(0.0), format!("{loaded:?}"))
    });
    scans(&exporter, &root, 7);
    exporter.terminate();
}
