//! Programs that are not JVMs, with everything a region can claim.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use hotspot_exporter::config::AttachMode;
use hotspot_exporter::providers::attach::{AttachError, Attachable};
use rustix::process::{getegid, geteuid};
use std::sync::Arc;
use tempfile::TempDir;

use crate::attach::jvm::{plain_attachable, process};
use crate::attach::{query_once, wait_for};

struct Decoy {
    child: Child,
    tmp: TempDir,
}

impl Decoy {
    /// Its pid has no leftovers in `/tmp`: a JVM that is killed leaves its attach socket, and pids are reused.
    fn run(script: &str) -> Self {
        loop {
            let tmp = TempDir::new().unwrap();
            let child = Command::new("sh").args(["-c", script]).current_dir(tmp.path()).spawn().unwrap();
            wait_for("the decoy", || tmp.path().join("up").exists());
            let decoy = Self { child, tmp };
            if fs::symlink_metadata(format!("/tmp/.java_pid{}", decoy.child.id())).is_err() {
                return decoy;
            }
        }
    }

    /// With the real `/tmp` of the process.
    fn attachable(&self) -> Attachable {
        let pid = i32::try_from(self.child.id()).unwrap();
        let mut attachable = plain_attachable(Path::new("/tmp"), pid, geteuid().as_raw());
        attachable.gid = getegid().as_raw();
        attachable.feature = Some(17);
        attachable.process = process(pid);
        attachable
    }
}

impl Drop for Decoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_program_that_does_not_catch_sigquit_lives() {
    let mut decoy = Decoy::run("touch up; exec sleep 600");
    let error = query_once(&decoy.attachable(), AttachMode::Active).unwrap_err();
    assert!(matches!(error, AttachError::UnsafeToSignal(_)), "{error}");
    assert!(decoy.child.try_wait().unwrap().is_none());
}

/// The decoy counts the signals that it receives.
#[test]
fn a_program_that_catches_sigquit_gets_none_in_any_mode() {
    let mut decoy = Decoy::run("trap 'touch quit' QUIT; touch up; while :; do sleep 0.05; done");
    assert_eq!(query_once(&decoy.attachable(), AttachMode::Passive).unwrap_err().reason().as_str(), "no_socket");
    let error = query_once(&decoy.attachable(), AttachMode::Active).unwrap_err();
    assert!(matches!(error, AttachError::UnsafeToSignal("it has no HotSpot mapped")), "{error}");

    assert!(!decoy.tmp.path().join("quit").exists());
    let pid = rustix::process::Pid::from_child(&decoy.child);
    rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
    wait_for("the decoy to count", || decoy.tmp.path().join("quit").exists());
    assert!(decoy.child.try_wait().unwrap().is_none());
    assert!(
        fs::read_dir("/tmp")
            .unwrap()
            .all(|file| { file.unwrap().file_name() != format!(".attach_pid{}", decoy.child.id()).as_str() })
    );
}

/// The pid is right, the process is another one.
#[test]
fn a_reused_pid_is_detected() {
    let decoy = Decoy::run("touch up; exec sleep 600");
    let mut attachable = decoy.attachable();
    Arc::get_mut(attachable.process.as_mut().unwrap()).unwrap().start_ticks -= 1;
    let error = query_once(&attachable, AttachMode::Active).unwrap_err();
    assert!(matches!(error, AttachError::UnsafeToSignal(why) if why.contains("another process")), "{error}");
}
