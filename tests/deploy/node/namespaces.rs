//! Namespaces and control groups that end with the test, however it ends; `node.sh` makes them.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::{package, wait_for};

/// Whoever lives in them is killed, and their files are removed, when the standard input of their supervisor ends: with
/// this value, or with this process.
pub struct Namespaces {
    #[expect(dead_code, reason = "its input is open as long as the namespaces are to live")]
    supervisor: Child,
    /// The first process in them.
    process: u32,
    /// Their control group in each hierarchy, without the slash at its beginning.
    group: String,
    directory: PathBuf,
}

impl Namespaces {
    /// `directory` must not be one that the node covers, such as /run; it goes with the namespaces.
    pub fn new(directory: &Path) -> Self {
        let group = format!("hotspot-exporter-test-{}", std::process::id());
        let log = File::create(directory.join("supervisor.log")).unwrap();
        let mut command = Command::new(package().join("tests/deploy/node/node.sh"));
        command.arg("supervise").arg(directory).arg(&group).stdin(Stdio::piped());
        let supervisor = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let process = wait_for("the namespaces", || {
            let process = fs::read_to_string(directory.join("process")).map_err(|error| error.to_string())?;
            process.trim().parse().map_err(|error| format!("{error} in {process:?}"))
        });
        Self { supervisor, process, group, directory: directory.to_owned() }
    }

    /// The files of the node's programs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The control group of the node.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// A command in all of them.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.process)).args(["--mount", "--net", "--uts", "--ipc", "--pid", "--"]);
        command.arg(program.as_ref());
        command
    }

    /// Does something, and starts whatever that starts, in their network.
    pub fn online<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.process)).unwrap();
        let inside = || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            action()
        };
        // The thread's place in a network ends with it.
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The process in this machine's numbers that is the first one of the container with that id.
    pub fn first_process(&self, id: &str) -> Option<u32> {
        let mut found: Vec<u32> = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if fs::read_to_string(entry.path().join("cgroup")).is_ok_and(|groups| groups.contains(id)) {
                found.push(pid);
            }
        }
        found.into_iter().min()
    }
}
