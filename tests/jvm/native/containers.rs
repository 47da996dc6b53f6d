//! A pod: JVMs that are pid 1 of their own pid and mount namespaces, and an exporter beside them with their uid and
//! gid, no capability, no view of their processes, and their `/tmp` mounted read-only.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::native::LISTENING;
use crate::native::table::{check_agreement, check_sums, jcmd, last_success, of_jcmd, of_page};
use crate::support::exporter::Exporter;
use crate::support::exposition::Exposition;
use crate::support::jdk::{self, Jdk};
use crate::support::jvm::Jvm;
use crate::support::mounts::over_tmp;
use crate::support::{ensure, is_root, program, skip, wait_for};

/// A user that has an entry in passwd, without which HotSpot makes no region.
const NOBODY: &str = "--reuid=65534";
const NOGROUP: &str = "--regid=65534";

/// Directories that every user can reach, with copies of the programs in them.
struct Pod {
    directory: TempDir,
}

/// A JVM that sees only itself.
struct Container {
    name: &'static str,
    jdk: Jdk,
    /// Dropped with the container: the JVM dies with `unshare`.
    _jvm: Jvm,
    /// The JVM, as this test sees it.
    pid: u32,
}

impl Pod {
    /// `None`, printed as a skip, where this machine has no namespaces to give.
    fn new(test: &str) -> Option<Self> {
        if !is_root() || program("unshare").is_none() || program("setpriv").is_none() {
            skip(test, "unshare and setpriv need root, and Debian's util-linux");
            return None;
        }
        // Not below /tmp, which the mounts hide.
        let parent = Path::new("/dev/shm");
        let directory = tempfile::Builder::new().prefix("hsx-pod-").tempdir_in(parent).unwrap();
        let pod = Self { directory };
        open_to_all(pod.path(), 0o755);
        fs::create_dir(pod.path().join("classes")).unwrap();
        for entry in fs::read_dir(jdk::class_path()).unwrap() {
            let class = entry.unwrap().path();
            fs::copy(&class, pod.path().join("classes").join(class.file_name().unwrap())).unwrap();
        }
        fs::copy(env!("CARGO_BIN_EXE_hotspot-exporter"), pod.path().join("exporter")).unwrap();
        for place in ["tmp", "view"] {
            fs::create_dir(pod.path().join(place)).unwrap();
        }
        Some(pod)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn tmp(&self, name: &str) -> PathBuf {
        self.path().join("tmp").join(name)
    }

    fn container(&self, name: &'static str, jdk: &Jdk) -> Container {
        let tmp = self.tmp(name);
        fs::create_dir(&tmp).unwrap();
        open_to_all(&tmp, 0o1777);
        fs::create_dir(self.path().join("view").join(name)).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
        command.arg(over_tmp(&tmp) + " && cd / && exec \"$@\"").arg("sh");
        command.args(["setpriv", "--pdeathsig=KILL", NOBODY, NOGROUP, "--clear-groups"]).arg(jdk.java());
        command.args(["-Xmx96m", "-XX:+UseSerialGC"]).args(LISTENING);
        command.arg("-cp").arg(self.path().join("classes")).arg("Workload");
        let jvm = Jvm::spawn(&mut command);
        let children = format!("/proc/{0}/task/{0}/children", jvm.pid());
        let pid = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        Container { name, jdk: jdk.clone(), _jvm: jvm, pid }
    }

    /// The sidecar.
    fn exporter(&self) -> Exporter {
        let config = self.path().join("exporter.yaml");
        let root = self.path().join("view/{container}");
        let text = format!(
            "discovery: {{interval: 1s, roots: [\"{}\"]}}\nnmt: {{mode: passive, interval: 1s}}\n",
            root.display()
        );
        fs::write(&config, text).unwrap();
        let script = "cd \"$0\" && for name in $(ls tmp); do \
                      mount --bind -o ro tmp/$name view/$name && ! touch view/$name/file 2>/dev/null || exit 1; done && \
                      exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]);
        command.arg(self.path()).args(["setpriv", "--pdeathsig=KILL", NOBODY, NOGROUP, "--clear-groups"]);
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
        command.arg(self.path().join("exporter")).arg(format!("--config.file={}", config.display()));
        Exporter::spawn(&mut command)
    }
}

impl Container {
    fn labels(&self) -> [(&'static str, &'static str); 1] {
        [("container", self.name)]
    }

    /// A command of root in the JVM's namespaces.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--pid", &format!("--target={}", self.pid)]);
        command
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.pid).unwrap()).unwrap(), signal).unwrap();
    }
}

fn open_to_all(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A page with a reply of the JVM later than `time`.
fn reply_since(exporter: &Exporter, container: &Container, time: f64) -> Exposition {
    wait_for(&format!("a reply of {}", container.jdk), || {
        let page = exporter.scrape();
        let answered = last_success(&page, &container.labels());
        ensure(answered > Some(time), format!("{answered:?}\n{}", exporter.get("/targets").text()))?;
        Ok::<_, String>(page)
    })
}

#[test]
fn a_sidecar_without_capabilities_serves_the_native_memory_of_every_container() {
    let test = "a_sidecar_without_capabilities_serves_the_native_memory_of_every_container";
    let Some((pod, javas)) = Pod::new(test).zip(jdk::for_other_users(test)) else { return };
    let containers = [pod.container("orders", &javas[0]), pod.container("billing", &javas[1])];
    let exporter = pod.exporter();
    for container in &containers {
        let labels = &container.labels();
        let page = reply_since(&exporter, container, 0.0);
        check_sums(&page, labels, &container.jdk).unwrap();
        assert_eq!(page.value("jvm_process_info", &[labels[0], ("pid", "1")]), Some(1.0));
        assert_eq!(page.value("process_thread_count", labels), None, "its process is not visible");
        if jcmd(&container.jdk).is_none() {
            continue;
        }
        wait_for(&format!("{} and jcmd to agree", container.jdk), || {
            let before = exporter.scrape();
            let theirs = of_jcmd(&container.jdk, container.enter(), 1);
            let after = reply_since(&exporter, container, last_success(&before, labels).unwrap());
            check_agreement(&of_page(&before, labels), &theirs, &of_page(&after, labels))
        });
    }
}

/// The JVM's listener accepts connections and never replies.
#[test]
fn a_stopped_jvm_costs_the_others_nothing() {
    let test = "a_stopped_jvm_costs_the_others_nothing";
    let Some((pod, javas)) = Pod::new(test).zip(jdk::for_other_users(test)) else { return };
    let [stopped, running] = [pod.container("stopped", &javas[0]), pod.container("running", &javas[1])];
    let exporter = pod.exporter();
    reply_since(&exporter, &stopped, 0.0);
    let before = reply_since(&exporter, &running, 0.0);
    let calm = latencies(&exporter);

    stopped.signal(Signal::STOP);
    let mut time = last_success(&before, &running.labels()).unwrap();
    let mut troubled = Vec::new();
    for _ in 0..5 {
        troubled.extend(latencies(&exporter));
        time = last_success(&reply_since(&exporter, &running, time), &running.labels()).unwrap();
    }
    let page = exporter.scrape();
    let left_behind = last_success(&page, &stopped.labels()).unwrap();
    assert!(left_behind < time, "the stopped JVM has not answered since: {left_behind}, {time}");
    // It may hold another question, with a longer deadline, before that for native memory.
    wait_for("a timeout to be counted", || {
        let timeouts = exporter.scrape().value("hotspot_exporter_nmt_failures_total", &[("reason", "timeout")]);
        ensure(timeouts >= Some(1.0), "not yet")
    });
    let table = of_page(&page, &stopped.labels());
    assert!(table.len() >= 10, "its last values stay, with their age: {table:?}");
    eprintln!("scrape latency before: {}, while a JVM is stopped: {}", summary(calm), summary(troubled));

    stopped.signal(Signal::CONT);
    reply_since(&exporter, &stopped, left_behind);
}

fn latencies(exporter: &Exporter) -> Vec<Duration> {
    let scrape = |_| {
        let begin = Instant::now();
        assert_eq!(exporter.get("/metrics").status, 200);
        begin.elapsed()
    };
    (0..40).map(scrape).collect()
}

fn summary(mut latencies: Vec<Duration>) -> String {
    latencies.sort();
    let at = |share: usize| latencies[latencies.len() * share / 100];
    format!("median {:?}, 95th percentile {:?} of {}", at(50), at(95), latencies.len())
}
