//! JVMs that publish no file, read from their memory: living JVMs, and processes that only claim to be one. Needs
//! `java` or `gcc`; most cases also need root, `unshare` and `setpriv`. What cannot run here is skipped with a reason.
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::support::jdk;
use crate::support::mounts::over_tmp;
use crate::support::{program, skip_this};
use hotspot_exporter::config::{self, Config, Overrides};
use hotspot_exporter::discovery::{RefusalReason, RegionId, Scanner};
use hotspot_exporter::hotspot::Model;
use hotspot_exporter::perfdata::{CounterValue, Image, MemoryError, RegionError, Transport, Variability};
use hotspot_exporter::report::list::{JvmRow, Listing};
use hotspot_exporter::snapshot::Snapshot;
use hotspot_exporter::targets::{AttachProviders, JvmProviders, Reconciler, Target, TargetSet, TargetState};

const DEADLINE: Duration = Duration::from_secs(120);
const FIXTURE: &str = "tests/fixtures/perfdata/jdk17-G1.hsperfdata";

/// Collects garbage, prints its pid, and waits for its input to end. JDK 8 has no `ProcessHandle`.
const PROGRAM: &str = "public class Waiter { public static void main(String[] a) throws Exception {
    System.gc(); System.out.println(new java.io.File(\"/proc/self\").getCanonicalFile().getName());
    System.in.read(); } }";

/// A directory that every user can read, and that no test mounts over.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// What ends with its test.
struct Running {
    child: Child,
    /// As /proc numbers it.
    pid: i32,
}

impl Running {
    /// Runs the words and waits for the first line, a number.
    fn start(words: &[&str]) -> Self {
        let (program, arguments) = words.split_first().unwrap();
        let mut child = Command::new(program)
            .args(arguments)
            .env_remove("JAVA_TOOL_OPTIONS")
            .env_remove("JDK_JAVA_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pid = lines.find_map(|line| line.unwrap().trim().parse::<i32>().ok());
        assert!(pid.is_some(), "{words:?} did not start");
        let id = child.id();
        // In a pid namespace of its own the program is the child of `unshare`.
        let inner = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let inner = inner.split_whitespace().next().and_then(|pid| pid.parse().ok());
        let pid = inner.filter(|_| words[0] == "unshare").unwrap_or(i32::try_from(id).unwrap());
        Self { child, pid }
    }

    /// A JVM in `prefix`, a command that executes another.
    fn jvm(prefix: &[&str], java: &str, flags: &[&str]) -> Self {
        let classes = classes().to_str().unwrap();
        let usual = ["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes];
        Self::start(&[prefix, &[java], &usual, flags, &["Waiter"]].concat())
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the program lies, compiled for every JDK from 11.
fn classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        // Shared by the tests of this run and the next.
        let path = Path::new("/var/tmp").join(format!("hotspot-exporter-{}", rustix::process::geteuid().as_raw()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let source = path.join("Waiter.java");
        std::fs::write(&source, PROGRAM).unwrap();
        let javac =
            Command::new("javac").args(["--release", "8", "-Xlint:-options", "-d"]).args([&path, &source]).status();
        assert!(javac.unwrap().success());
        path
    })
}

/// A Java of each release.
fn javas() -> Vec<String> {
    let found = jdk::of_each_release(|_| true);
    if found.is_empty() {
        skip_this("no Java");
    }
    found.iter().map(|jdk| jdk.java().display().to_string()).collect()
}

/// The `java` on PATH, by its real path, or another one.
fn java() -> Option<String> {
    let on_path = program("java").and_then(|java| java.canonicalize().ok());
    let java = on_path.or_else(|| (!javas().is_empty()).then(|| jdk::any().java()))?;
    Some(java.display().to_string())
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip_this("takes root");
    }
    root
}

#[derive(Debug)]
struct NoProviders;

impl AttachProviders for NoProviders {
    fn attach(&self, jvms: &[(&Target, &Model)]) -> Vec<JvmProviders> {
        jvms.iter().map(|_| Vec::new()).collect()
    }
}

/// The exporter, without its server.
struct Exporter {
    scanner: Scanner,
    reconciler: Reconciler,
    target_set: Arc<TargetSet>,
}

impl Exporter {
    fn new() -> Self {
        let overrides = Overrides { roots: vec!["/tmp".into()], ..Overrides::default() };
        let config = config::load(None, &overrides, &|path| std::fs::read_to_string(path)).unwrap();
        Self::with(&config)
    }

    fn with(config: &Config) -> Self {
        let reconciler = Reconciler::new(Arc::new(config.clone()), Box::new(NoProviders));
        Self { scanner: Scanner::new(&config.discovery), reconciler, target_set: Arc::default() }
    }

    fn scan(&mut self) {
        let reconciler = &self.reconciler;
        let scan = self.scanner.scan(&|id| reconciler.tracks(id));
        self.target_set = self.reconciler.update(scan);
    }

    /// The target of a process, once it is served.
    fn target(&mut self, pid: i32) -> Arc<Target> {
        let start = Instant::now();
        loop {
            self.scan();
            let of_process = |target: &&Arc<Target>| target.process.as_ref().is_some_and(|process| process.pid == pid);
            let mut found = self.target_set.targets.iter().filter(of_process);
            if let Some(target) = found.next() {
                assert!(found.next().is_none(), "served twice");
                assert!(self.refusal(pid).is_none(), "served and refused: {:?}", self.refusal(pid));
                return Arc::clone(target);
            }
            assert!(start.elapsed() < DEADLINE, "not served: {:?}", self.refusal(pid));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn refusal(&self, pid: i32) -> Option<(RefusalReason, String)> {
        let mut refusals = self.target_set.refusals.iter().filter(|refusal| refusal.pid == Some(pid));
        let refusal = refusals.next().map(|refusal| (refusal.reason, refusal.detail.clone()));
        assert!(refusals.next().is_none(), "refused twice");
        refusal
    }

    /// Why a process is not served, once that is settled.
    fn refused(&mut self, pid: i32) -> (RefusalReason, String) {
        let start = Instant::now();
        loop {
            self.scan();
            if let Some(refusal) = self.refusal(pid) {
                return refusal;
            }
            assert!(start.elapsed() < DEADLINE, "neither served nor refused");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn row(&self, pid: i32) -> Option<JvmRow> {
        let snapshot = Snapshot::take(Arc::clone(&self.target_set), Instant::now() + DEADLINE);
        Listing::of(&snapshot).jvms.into_iter().find(|row| row.description.pid == u32::try_from(pid).ok())
    }
}

fn families(target: &Target) -> BTreeSet<String> {
    target.plans[0].families.iter().map(|planned| format!("{:?}", planned.family)).collect()
}

/// The output of `jcmd PID PerfCounter.print`, which reads the file itself.
fn jcmd(pid: i32) -> Option<String> {
    let printed = Command::new("jcmd").args([&pid.to_string(), "PerfCounter.print"]).output();
    if printed.is_err() {
        skip_this("no jcmd on PATH");
    }
    Some(String::from_utf8_lossy(&printed.ok()?.stdout).into_owned())
}

/// Compares what never changes: every name, and the values of constants.
fn compare(printed: &str, image: &Image) {
    let printed: Vec<(&str, &str)> = printed.lines().filter_map(|line| line.split_once('=')).collect();
    assert!(printed.len() > 100, "{printed:?}");
    for (name, value) in &printed {
        // Synthesised by the JDK's reader.
        let Some(entry) = image.entry(name) else {
            assert!(name.starts_with("sun.perfdata."), "{name} is missing");
            continue;
        };
        if entry.variability == Variability::Constant {
            let ours = match image.value(entry) {
                CounterValue::Long(value) => value.to_string(),
                CounterValue::Text(text) => format!("\"{text}\""),
                CounterValue::Opaque(_) => continue,
            };
            // Line ends and quotes are escaped there.
            if !ours.contains('\\') && ours.matches('"').count() <= 2 {
                assert_eq!(ours, *value, "{name}");
            }
        }
    }
    let names: BTreeSet<_> = printed.iter().map(|(name, _)| *name).collect();
    for entry in &image.entries.list {
        assert!(names.contains(&*entry.name), "{} is not the JVM's", entry.name);
    }
}

#[test]
fn jvms_without_a_file_show_the_same_families() {
    for java in javas() {
        let published = Running::jvm(&[], &java, &[]);
        let private = Running::jvm(&[], &java, &["-XX:+PerfDisableSharedMem"]);
        let mut exporter = Exporter::new();
        let expected = exporter.target(published.pid);
        assert_eq!(expected.region.transport(), Transport::File, "a readable file wins");
        let target = exporter.target(private.pid);
        assert_eq!(
            (target.region.transport(), target.state, target.vpid),
            (Transport::Memory, TargetState::Mapped, private.pid)
        );
        assert_eq!(families(&target), families(&expected), "{java}");
        assert_eq!((&*target.app, &target.jvm.java_version), (&*expected.app, &expected.jvm.java_version));
        assert_ne!(target.slot, expected.slot);
        assert_eq!(target.user, expected.user);

        let (mut words, mut again) = (Vec::new(), Vec::new());
        target.region.read(&target.region_identity, &target.words, &mut words).unwrap();
        target.region.read(&target.region_identity, &target.words, &mut again).unwrap();
        assert_eq!((words.len(), again.len()), (target.words.len(), target.words.len()));
        assert!(words.iter().filter(|word| **word != 0).count() > words.len() / 3);

        let [row, other] = [private.pid, published.pid].map(|pid| exporter.row(pid).unwrap());
        assert_eq!((row.description.via.as_deref(), other.description.via.as_deref()), (Some("memory"), Some("file")));
        assert!(row.heap_limit.is_some() && row.uptime_seconds.is_some(), "{row:?}");
        exporter.scan();
        let same = exporter.target(private.pid);
        assert!(Arc::ptr_eq(&same, &target), "nothing changed, nothing is made anew");
    }
}

#[test]
fn a_deleted_file_is_read_from_memory_with_the_same_values() {
    for java in javas() {
        let jvm = Running::jvm(&[], &java, &[]);
        let target = Exporter::new().target(jvm.pid);
        let Some(printed) = jcmd(jvm.pid) else { return };
        std::fs::remove_file(&target.path).unwrap();
        let mut exporter = Exporter::new();
        let from_memory = exporter.target(jvm.pid);
        assert_eq!(from_memory.region.transport(), Transport::Memory);
        compare(&printed, &Image::read(&from_memory.region).unwrap());
        assert_eq!(target.region.transport(), Transport::File, "who has the file mapped keeps it");
        assert_eq!(families(&target), families(&from_memory));
    }
}

#[test]
fn a_user_without_a_passwd_entry_is_read() {
    let Some(java) = java().filter(|_| is_root()) else { return };
    let jvm = Running::jvm(&["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"], &java, &[]);
    let mut exporter = Exporter::new();
    let target = exporter.target(jvm.pid);
    assert_eq!((target.region.transport(), &*target.user), (Transport::Memory, "12345"));
}

#[test]
fn two_first_processes_that_share_a_tmp_are_both_read() {
    let Some(java) = java().filter(|_| is_root()) else { return };
    let tmp = directory();
    let script = over_tmp(tmp.path()) + " && exec \"$@\"";
    let container = ["unshare", "-mpf", "--kill-child", "sh", "-c", &*script, "sh"];
    let (first, second) = (Running::jvm(&container, &java, &[]), Running::jvm(&container, &java, &[]));
    let mut exporter = Exporter::new();
    let ways = [&first, &second].map(|jvm| {
        let target = exporter.target(jvm.pid);
        assert_eq!(target.vpid, 1);
        target.region.transport()
    });
    assert_eq!(ways, [Transport::File, Transport::Memory], "the file is the first one's");
}

#[test]
fn a_library_elsewhere_is_found() {
    let Some(java) = java().filter(|_| is_root()) else { return };
    let home = Path::new(&java).parent().and_then(Path::parent).unwrap();
    let root = directory();
    for folder in ["usr", "lib", "lib64", "etc", "proc", "tmp", "var/tmp", "opt/elsewhere"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    let (root, home) = (root.path().display(), home.display());
    let namespace = format!(
        "mount -t tmpfs none /opt && mkdir /opt/elsewhere && mount --rbind {home} /opt/elsewhere && exec \"$@\""
    );
    let chroot = format!(
        "for d in usr lib lib64 etc proc var/tmp; do mount --rbind /$d {root}/$d; done && mount --rbind {home} {root}/opt/elsewhere && exec chroot {root} \"$@\""
    );
    for script in [namespace, chroot] {
        let prefix = ["unshare", "-m", "sh", "-c", &*script, "sh"];
        let jvm = Running::jvm(&prefix, "/opt/elsewhere/bin/java", &["-XX:+PerfDisableSharedMem"]);
        assert_eq!(Exporter::new().target(jvm.pid).region.transport(), Transport::Memory, "{script}");
    }
}

#[test]
fn counters_that_are_switched_off_are_said_to_be() {
    let Some(java) = java() else { return };
    let directory = directory();
    let arguments = directory.path().join("arguments");
    std::fs::write(&arguments, "-XX:-UsePerfData").unwrap();
    let jvm = Running::jvm(&[], &java, &[&format!("@{}", arguments.display())]);
    let mut exporter = Exporter::new();
    let (reason, detail) = exporter.refused(jvm.pid);
    assert_eq!(reason, RefusalReason::PerfDisabled, "{detail}");
}

#[test]
fn an_exit_during_a_read_is_an_end() {
    let Some(java) = java() else { return };
    let mut jvm = Running::jvm(&[], &java, &["-XX:+PerfDisableSharedMem"]);
    let mut exporter = Exporter::new();
    let target = exporter.target(jvm.pid);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut words = Vec::new();
            loop {
                if let Err(error) = target.region.read(&target.region_identity, &target.words, &mut words) {
                    assert!(words.is_empty());
                    return error;
                }
            }
        });
        jvm.kill();
        let error = reader.join().unwrap();
        assert!(matches!(error, RegionError::Memory(MemoryError::Ended | MemoryError::Unmapped)), "{error}");
    });
    let snapshot = Snapshot::take(Arc::clone(&exporter.target_set), Instant::now() + DEADLINE);
    let index = exporter.target_set.targets.iter().position(|other| Arc::ptr_eq(other, &target)).unwrap();
    assert!(snapshot.values(u32::try_from(index).unwrap()).is_gone(), "gone at the next scrape, before any scan");
    exporter.scan();
    assert!(exporter.row(jvm.pid).is_none() && exporter.refusal(jvm.pid).is_none());
}

/// A program called `java` with a `libjvm.so` of ours.
struct Fake(tempfile::TempDir);

impl Fake {
    fn compile(options: &[&str]) -> Option<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/memory");
        let folder = directory();
        let gcc = |output: &str, source: &str, more: &[&str]| {
            let output = folder.path().join(output);
            Command::new("gcc").arg("-o").arg(output).arg(sources.join(source)).args(more).args(options).status()
        };
        let library = gcc("libjvm.so", "libjvm.c", &["-shared", "-fPIC"]);
        if library.is_err() {
            skip_this("no gcc on PATH");
            return None;
        }
        assert!(library.unwrap().success());
        let search = format!("-L{}", folder.path().display());
        assert!(gcc("java", "java.c", &[&*search, "-ljvm", "-Wl,-rpath,$ORIGIN"]).unwrap().success());
        let region = Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURE);
        std::fs::copy(region, folder.path().join("region")).unwrap();
        Some(Self(folder))
    }

    fn start(&self, prefix: &[&str], mode: &str) -> Running {
        let [java, region] = ["java", "region"].map(|name| self.0.path().join(name).display().to_string());
        Running::start(&[prefix, &[&java, mode, &region]].concat())
    }
}

/// Wrong in every way that a process can be: refused with a reason, at once, and nobody is harmed.
#[test]
fn hostile_processes_are_refused() {
    let Some(fake) = Fake::compile(&[]) else { return };
    let mut exporter = Exporter::new();
    let modes = [
        ("endless array", "no PerfMemory::_start"),
        ("cyclic", "no PerfMemory::_start"),
        ("no stride", "entries of 0 bytes"),
        ("huge stride", "entries of 9223372036854775807 bytes"),
        ("huge offset", "no PerfMemory::_start"),
        ("wild array", "no memory at that address"),
        ("wild names", "no PerfMemory::_start"),
        ("wild statics", "no memory at that address"),
        ("endless type", "no PerfMemory::_start"),
        ("endless field", "no PerfMemory::_start"),
        ("huge capacity", "18446744073709551615 bytes"),
        ("large capacity", "1073741824 bytes"),
        ("no capacity", "0 bytes"),
        ("capacity beyond the end", "has no memory"),
        ("wild start", "0xdeadbeef000"),
        ("odd start", "has no memory"),
        ("no magic", "expected magic"),
    ];
    let processes = modes.map(|(mode, expected)| (fake.start(&[], mode), mode, expected));
    let silent = fake.start(&[], "not initialized");
    let (honest, random) = (fake.start(&[], "honest"), fake.start(&[], "random"));
    let target = exporter.target(honest.pid);
    assert_eq!((target.region.transport(), &*target.app), (Transport::Memory, "Alloc"));
    let Some(RegionId::Memory { pid, .. }) = Some(target.incarnation.region) else { panic!("{target:?}") };
    assert_eq!(pid, honest.pid);
    let start = Instant::now();
    for (process, mode, expected) in &processes {
        loop {
            exporter.scan();
            let detail = exporter.refusal(process.pid).map(|(_, detail)| detail);
            if detail.as_ref().is_some_and(|detail| detail.contains(expected)) {
                break;
            }
            assert!(start.elapsed() < DEADLINE, "{mode}: {detail:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(exporter.row(process.pid).is_none(), "{mode}");
    }
    assert_eq!(exporter.refused(silent.pid).0, RefusalReason::PerfDisabled);
    exporter.scan();
    assert!(exporter.row(random.pid).is_none_or(|row| row.state == "starting" || row.state == "mapped"));
    assert!(Arc::ptr_eq(&exporter.target(honest.pid), &target), "served on beside all of them");
}

#[test]
fn a_library_without_exports_is_said_to_be() {
    let Some(fake) = Fake::compile(&["-DSTRIPPED"]) else { return };
    let process = fake.start(&[], "honest");
    let mut exporter = Exporter::new();
    let start = Instant::now();
    loop {
        let (_, detail) = exporter.refused(process.pid);
        if detail.contains("does not export gHotSpotVMStructs") {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "{detail}");
    }
}

/// Reads processes until they die, many times over.
#[test]
fn killing_what_is_read_never_harms() {
    let Some(fake) = Fake::compile(&[]) else { return };
    let mut exporter = Exporter::new();
    for _ in 0..5 {
        let mut process = fake.start(&[], "honest");
        let target = exporter.target(process.pid);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| while target.region.read(&target.region_identity, &[], &mut Vec::new()).is_ok() {})
                })
                .collect();
            process.kill();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
        exporter.scan();
        assert!(exporter.row(process.pid).is_none());
    }
}

/// What an unprivileged exporter sees: its own user's JVMs, and of others the reason alone.
#[test]
fn an_unprivileged_exporter_reads_its_own_user_only() {
    let Some(fake) = Fake::compile(&[]).filter(|_| is_root()) else { return };
    let exporter = fake.0.path().join("hotspot-exporter");
    crate::support::copy_program(env!("CARGO_BIN_EXE_hotspot-exporter"), &exporter);
    let list = |uid: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid", uid, "--regid", uid, "--clear-groups"])
            .arg(&exporter)
            .args(["list", "--local", "--format=json"])
            .output()
            .unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let find = |list: &serde_json::Value, part: &str, pid: i32| {
        list[part].as_array().unwrap().iter().find(|row| row["pid"] == pid).cloned()
    };
    let user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"];
    let (open, closed) = (fake.start(&user, "honest"), fake.start(&user, "undumpable"));
    let start = Instant::now();
    let own = loop {
        let own = list("12345");
        if find(&own, "jvms", open.pid).is_some_and(|row| row["state"] == "mapped") {
            break own;
        }
        let refusal = find(&own, "refused", open.pid);
        if refusal.as_ref().is_some_and(|refusal| refusal["detail"].as_str().unwrap().contains("ptrace_scope")) {
            return skip_this(format!("{refusal:?}"));
        }
        assert!(start.elapsed() < DEADLINE, "{refusal:?}");
    };
    assert_eq!(find(&own, "jvms", open.pid).unwrap()["via"], "memory");
    assert_eq!(find(&own, "refused", closed.pid).unwrap()["reason"], "not_dumpable");
    let other = list("23456");
    for process in [&open, &closed] {
        assert_eq!(find(&other, "jvms", process.pid), None);
        let refusal = find(&other, "refused", process.pid).unwrap();
        assert_eq!(refusal["reason"], "other_owner");
        assert!(refusal["remedy"].as_str().unwrap().contains("CAP_SYS_PTRACE"), "{refusal}");
    }
    let mut root = Exporter::new();
    assert_eq!(root.target(closed.pid).region.transport(), Transport::Memory, "root may read what is not dumpable");
}

/// The host's /proc in a container, without the host's pid namespace.
#[test]
fn a_procfs_of_other_numbers_will_do() {
    let Some(fake) = Fake::compile(&[]).filter(|_| is_root()) else { return };
    let process = fake.start(&[], "honest");
    let start = Instant::now();
    loop {
        let output = Command::new("unshare")
            .args(["--pid", "--fork", env!("CARGO_BIN_EXE_hotspot-exporter"), "list", "--local", "--format=json"])
            .output()
            .unwrap();
        let list = serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
        let row = |part: &str| list[part].as_array().unwrap().iter().find(|row| row["pid"] == process.pid).cloned();
        if row("jvms").is_some_and(|row| row["via"] == "memory") {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{list}");
    }
}
