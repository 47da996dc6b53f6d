//! A native program that embeds a JVM and forks workers, as Python with JPype under gunicorn does: the workers have the
//! memory of that JVM, and none of them is one. Needs a C compiler and `jni.h`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::exporter::{Exporter, command};
use crate::support::jdk::{self, Jdk};
use crate::support::{ensure, native, skip_this, wait_for};

/// The program with its workers, all of which end with the test.
struct Program {
    child: Child,
    workers: Vec<i32>,
}

impl Program {
    /// `None` where the library cannot be loaded. One with a C library of its own beside it gets that one.
    fn start(program: &PathBuf, libjvm: &Path, options: &[&str]) -> Option<Self> {
        let own_loader = |directory: &Path| {
            let names = ["ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
            names.map(|name| directory.join(name)).into_iter().find(|loader| loader.is_file())
        };
        let mut command = match libjvm.ancestors().find_map(|above| Some((above, own_loader(above)?))) {
            Some((directory, loader)) => {
                let mut command = Command::new(loader);
                command.arg("--library-path").arg(directory).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg(libjvm).args(["2", "-Xmx64m", "-XX:+UseSerialGC"]).args(options);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers: Vec<i32> =
            lines.map_while(Result::ok).take_while(|line| line != "ready").map(|line| line.parse().unwrap()).collect();
        let program = Self { child, workers: numbers.get(1..)?.to_vec() };
        assert_eq!(program.workers.len(), 2, "{command:?}");
        Some(program)
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        for worker in &self.workers {
            let _ = kill_process(Pid::from_raw(*worker).unwrap(), Signal::KILL);
        }
    }
}

/// The rows of `jvms` or `refused` that are about one of the processes, or about the file of the first.
fn rows<'a>(listing: &'a Value, list: &str, program: &Program) -> Vec<&'a Value> {
    let pid = i64::from(program.child.id());
    let file = format!("/{pid}");
    let is_ours = |row: &&Value| {
        let number = row["pid"].as_i64();
        number == Some(pid)
            || program.workers.iter().any(|worker| number == Some((*worker).into()))
            || row["path"].as_str().is_some_and(|path| path.contains("hsperfdata_") && path.ends_with(&file))
    };
    listing[list].as_array().into_iter().flatten().filter(is_ours).collect()
}

fn libjvm(jdk: &Jdk) -> Option<PathBuf> {
    ["lib/server", "jre/lib/amd64/server", "lib/amd64/server", "jre/lib/aarch64/server", "lib/aarch64/server"]
        .iter()
        .map(|directory| jdk.home.join(directory).join("libjvm.so"))
        .find(|library| library.is_file())
}

fn programs() -> Option<(PathBuf, Vec<PathBuf>)> {
    let Some(headers) = jdk::installed().iter().map(|jdk| jdk.home.join("include")).find(|path| path.exists()) else {
        skip_this("no JDK with jni.h");
        return None;
    };
    let include = format!("-I{}", headers.display());
    let include_linux = format!("-I{}", headers.join("linux").display());
    let Some(program) = native::compile("embed", &["tests/forks/embed.c", &include, &include_linux, "-ldl"]) else {
        skip_this("no C compiler");
        return None;
    };
    Some((program, jdk::of_each_release(|_| true).iter().filter_map(libjvm).collect()))
}

fn list(arguments: &[&str]) -> Value {
    let output = command(["list", "--format=json", "--discovery.root=/tmp"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn forked_workers_of_an_embedded_jvm_are_no_jvms() {
    let Some((program, libraries)) = programs() else { return };
    let directory = tempfile::tempdir().unwrap();
    let off = directory.path().join("off.yaml");
    std::fs::write(&off, "discovery: {processes: off}\n").unwrap();
    let off = format!("--config.file={}", off.display());
    for library in &libraries {
        for options in [&[][..], &["-XX:+PerfDisableSharedMem"]] {
            let in_memory = !options.is_empty();
            let Some(program) = Program::start(&program, library, options) else {
                skip_this(format!("{} cannot be loaded", library.display()));
                break;
            };
            let listing = wait_for("the JVM to be up", || {
                let listing = list(&[]);
                ensure(rows(&listing, "jvms", &program).iter().any(|row| row["state"] != "starting"), &listing)
                    .map(|()| listing)
            });
            let [row] = rows(&listing, "jvms", &program)[..] else { panic!("{library:?} {options:?}: {listing:#}") };
            assert_eq!(row["pid"], program.child.id());
            assert_eq!(rows(&listing, "refused", &program), Vec::<&Value>::new(), "{library:?} {options:?}");

            let listing = list(&[&off]);
            let (jvms, refused) = (rows(&listing, "jvms", &program), rows(&listing, "refused", &program));
            assert_eq!((jvms.len(), refused.len()), if in_memory { (0, 1) } else { (1, 0) }, "{listing:#}");
            assert!(refused.iter().all(|row| row["pid"] == program.child.id() && row["reason"] == "private_memory"));
        }
    }
}

#[test]
fn a_jvm_that_was_killed_does_not_live_on_in_its_fork() {
    let Some((program, libraries)) = programs() else { return };
    for options in [&[][..], &["-XX:+PerfDisableSharedMem"]] {
        let started = libraries.iter().find_map(|library| Program::start(&program, library, options));
        let Some(mut program) = started else { return skip_this("no libjvm.so can be loaded") };
        let exporter = Exporter::start(["--discovery.root=/tmp"]);
        let pid = program.child.id();
        wait_for("the JVM", || exporter.scrape().of_pid(pid).ok_or("not there"));
        program.kill();
        wait_for("the JVM's end", || {
            let targets = exporter.targets();
            let (jvms, refused) = (rows(&targets, "jvms", &program), rows(&targets, "refused", &program));
            let stale = refused.iter().all(|row| row["reason"] == "stale");
            ensure(jvms.is_empty() && stale && refused.len() == usize::from(options.is_empty()), &targets)
        });
        assert!(exporter.scrape().of_pid(pid).is_none());
        let listing = list(&[]);
        assert_eq!(rows(&listing, "jvms", &program), Vec::<&Value>::new());
        if let [row] = rows(&listing, "refused", &program)[..] {
            let _ = std::fs::remove_file(row["path"].as_str().unwrap());
        }
    }
}
