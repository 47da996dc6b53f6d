//! A Java program that obeys its test, and what it says of itself.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use serde::Deserialize;

use super::jdk::{self, Collector, Jdk};
use super::mounts;

/// A running `tests/java/Workload.java`; killed when dropped.
#[derive(Debug)]
pub struct Jvm {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Values of `java.lang.management`, all taken at one moment.
#[derive(Clone, Debug, Deserialize)]
pub struct Beans {
    pub vm: Vm,
    /// Epoch milliseconds at which the VM had finished its own initialisation.
    pub start_ms: i64,
    pub uptime_ms: i64,
    pub compilation_ms: i64,
    pub threads: Threads,
    pub classes: Classes,
    pub heap: Usage,
    pub pools: Vec<Pool>,
    pub collectors: Vec<CollectorBean>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Vm {
    pub name: String,
    pub vendor: String,
    pub version: String,
    pub java_version: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Threads {
    pub live: i64,
    pub daemon: i64,
    pub peak: i64,
    pub started: i64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Classes {
    pub loaded: i64,
    pub unloaded: i64,
    pub total: i64,
}

/// Bytes; -1 where a pool has no maximum.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Usage {
    pub used: i64,
    pub committed: i64,
    pub max: i64,
    pub init: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Pool {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub usage: Usage,
}

#[derive(Clone, Debug, Deserialize)]
pub struct CollectorBean {
    pub name: String,
    pub count: i64,
    pub time_ms: i64,
}

impl Beans {
    /// Pools by name.
    pub fn pools(&self) -> BTreeMap<&str, &Pool> {
        self.pools.iter().map(|pool| (pool.name.as_str(), pool)).collect()
    }
}

impl Jvm {
    /// Starts the program with a small heap and these further options.
    pub fn start<O: AsRef<OsStr>>(jdk: &Jdk, options: impl IntoIterator<Item = O>) -> Self {
        Self::spawn(Command::new(jdk.java()).args(Self::arguments()).args(options).arg("Workload"))
    }

    /// Starts the program with one collector.
    pub fn with_collector(jdk: &Jdk, collector: Collector) -> Self {
        Self::start(jdk, collector.options())
    }

    /// Starts it in mount and pid namespaces of its own, where `tmp` is its `/tmp`: so the exporter sees its files and
    /// not its process. Needs root. The handle is that of `unshare`, with which the JVM dies by SIGKILL.
    pub fn hidden(jdk: &Jdk, tmp: &Path) -> Self {
        let script = mounts::over_tmp(tmp) + " && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script, "sh"]);
        command.arg(jdk.java()).args(Self::arguments()).arg("Workload");
        Self::spawn(&mut command)
    }

    /// Starts it in a mount namespace of its own, where `tmp` is its `/tmp`. Needs root.
    pub fn in_tmp<O: AsRef<OsStr>>(jdk: &Jdk, tmp: &Path, options: impl IntoIterator<Item = O>) -> Self {
        let script = mounts::over_tmp(tmp) + " && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]);
        command.arg(jdk.java()).args(Self::arguments()).args(options).arg("Workload");
        Self::spawn(&mut command)
    }

    /// Starts any command that ends in the program.
    pub fn spawn(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut jvm = Self { child, input, output };
        assert_eq!(jvm.answer(), "ready", "{command:?}");
        jvm
    }

    /// What every JVM of the tests gets: a small heap, and the class path.
    pub fn arguments() -> Vec<String> {
        vec!["-Xmx96m".to_owned(), "-cp".to_owned(), jdk::class_path().display().to_string()]
    }

    /// The process that was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives a command and waits until it is done.
    pub fn obey(&mut self, command: &str) {
        assert_eq!(self.ask(command), "done", "{command}");
    }

    /// Asks it for its management beans.
    pub fn beans(&mut self) -> Beans {
        let answer = self.ask("beans");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
    }

    /// Ends it the regular way.
    pub fn exit(mut self) -> ExitStatus {
        writeln!(self.input.as_mut().unwrap(), "exit 0").unwrap();
        self.child.wait().unwrap()
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Gives a command that has no answer.
    pub fn tell(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
    }

    /// Waits until something has ended it.
    pub fn await_death(mut self) {
        self.child.wait().unwrap();
    }

    /// Gives a command and waits for the answer.
    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the JVM {} ended", self.child.id());
        line.trim_end().to_owned()
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A JVM that is killed leaves its attach socket, which a later process with its pid would seem to have. Most
        // JVMs have none.
        let _ = fs::remove_file(format!("/tmp/.java_pid{}", self.child.id()));
    }
}
