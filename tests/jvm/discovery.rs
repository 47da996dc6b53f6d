//! Discovery against living JVMs. Needs `java`; some cases also need root, `unshare` and `setpriv`. What cannot run
//! here is skipped with a printed reason.
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::support::mounts::tmpfs_over_tmp;
use crate::support::skip_this;
use hotspot_exporter::config::{Discovery, RootPattern, Toggle};
use hotspot_exporter::discovery::{Candidate, Liveness, RefusalReason, Scan, Scanner, liveness};
use hotspot_exporter::perfdata::FileMode;
use hotspot_exporter::proc::exited;

const DEADLINE: Duration = Duration::from_secs(60);

/// Says that it runs, and waits for its input to end.
const PROGRAM: &str = "public class Waiter { public static void main(String[] a) throws Exception {
    System.out.println(ProcessHandle.current().pid()); System.in.read(); } }";

/// A JVM that ends with its test.
struct Jvm {
    child: Child,
    /// As the JVM itself sees it.
    own_pid: i32,
}

impl Jvm {
    /// Runs `prefix java flags Waiter.java` and waits for its first line.
    fn start(prefix: &[&str], flags: &[&str]) -> Option<Self> {
        let java = java()?;
        // Not in /tmp, over which some tests mount their own.
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let source = directory.path().join("Waiter.java");
        std::fs::write(&source, PROGRAM).unwrap();
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let words: Vec<&str> = prefix.iter().copied().chain([java.to_str().unwrap()]).collect();
        let mut child = Command::new(words.first().unwrap())
            .args(words.iter().skip(1))
            .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(flags)
            .arg(&source)
            .env_remove("JAVA_TOOL_OPTIONS")
            .env_remove("JDK_JAVA_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let own_pid = lines.find_map(|line| line.unwrap().trim().parse().ok()).expect("the JVM did not start");
        Some(Self { child, own_pid })
    }

    fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn java() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let java = std::env::split_paths(&path).map(|directory| directory.join("java")).find(|java| java.exists());
    if java.is_none() {
        skip_this("no java on PATH");
    }
    // The real path: what a test may remount must not matter to the launcher.
    java.and_then(|java| java.canonicalize().ok())
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip_this("takes root");
    }
    root
}

fn scanner() -> Scanner {
    Scanner::new(&Discovery {
        roots: vec![RootPattern::new("/tmp").unwrap()],
        processes: Toggle::Off,
        ..Discovery::default()
    })
}

/// Scans until something of interest is there.
fn until<T>(scanner: &mut Scanner, mut found: impl FnMut(&mut Scan) -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        let mut scan = scanner.scan(&|_| false);
        if let Some(found) = found(&mut scan) {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not found: {:?}", scan.refusals);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn take(scan: &mut Scan, pid: i32) -> Vec<Candidate> {
    let ours = |candidate: &Candidate| candidate.process.as_ref().is_some_and(|process| process.pid == pid);
    std::mem::take(&mut scan.candidates).into_iter().filter(ours).collect()
}

fn candidate_of(scanner: &mut Scanner, pid: i32) -> Candidate {
    until(scanner, |scan| {
        let mut found = take(scan, pid);
        assert!(found.len() < 2, "found twice: {found:?}");
        found.pop()
    })
}

/// The reason given for a process, once it is no longer `not_ready`.
fn reason_of(scanner: &mut Scanner, pid: i32) -> RefusalReason {
    until(scanner, |scan| {
        assert!(take(scan, pid).is_empty());
        let mut refusals = scan.refusals.iter().filter(|refusal| refusal.pid == Some(pid));
        let reason = refusals.next().map(|refusal| refusal.reason).filter(|reason| *reason != RefusalReason::NotReady);
        assert_eq!(refusals.next(), None, "refused twice");
        reason
    })
}

#[test]
fn a_jvm_is_found_once_and_goes_stale_when_killed() {
    if !is_root() {
        return;
    }
    // A JVM that starts deletes the files of its user's dead ones; no other test starts JVMs of this user.
    let user = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups"];
    let Some(mut jvm) = Jvm::start(&user, &[]) else { return };
    let mut scanner = scanner();
    let candidate = candidate_of(&mut scanner, jvm.pid());
    assert_eq!(candidate.vpid, jvm.own_pid);
    assert!(candidate.path.starts_with("/tmp"), "{:?}", candidate.path);
    let process = candidate.process.unwrap();
    assert_eq!((process.vpid, process.uid, process.name.as_str()), (jvm.own_pid, candidate.owner, "java"));
    assert!(process.is_alive());
    assert!(process.start_time <= SystemTime::now());
    assert!(SystemTime::now().duration_since(process.start_time).unwrap() < DEADLINE);
    let region = candidate.source.unwrap().open(FileMode::Mapped).unwrap();
    assert_eq!(liveness::assess(Some(&process), &region), Liveness::Alive);
    assert_ne!(liveness::assess(None, &region), Liveness::Dead);

    jvm.kill();
    assert!(!process.is_alive());
    assert_eq!(exited(&[&process]), [true]);
    assert_eq!(liveness::assess(Some(&process), &region), Liveness::Dead);
    assert_ne!(liveness::assess(None, &region), Liveness::Alive);
    let left = scanner.scan(&|id| id == candidate.id).candidates;
    let left = left.iter().find(|left| left.id == candidate.id).expect("the file of a killed JVM stays");
    assert!(left.process.is_none());
    std::fs::remove_file(&left.path).unwrap();
}

#[test]
fn a_private_mount_namespace_is_looked_into() {
    if !is_root() {
        return;
    }
    let script = tmpfs_over_tmp() + " && exec \"$@\"";
    let private = ["unshare", "-m", "sh", "-c", &script, "sh"];
    let Some(jvm) = Jvm::start(&private, &[]) else { return };
    let candidate = candidate_of(&mut scanner(), jvm.pid());
    let expected = Path::new("/proc").join(jvm.pid().to_string()).join("root/tmp");
    assert!(candidate.path.starts_with(expected), "{:?}", candidate.path);
    assert_eq!(candidate.vpid, jvm.own_pid);
    assert!(candidate.labels.is_empty());
    let region = candidate.source.unwrap().open(FileMode::Mapped).unwrap();
    assert_eq!(liveness::assess(None, &region), Liveness::Alive);
}

#[test]
fn jvms_without_a_file_are_refused_with_the_reason() {
    for (flags, expected) in [
        (["-XX:+PerfDisableSharedMem"], RefusalReason::PrivateMemory),
        (["-XX:-UsePerfData"], RefusalReason::PerfDisabled),
    ] {
        let Some(jvm) = Jvm::start(&[], &flags) else { return };
        assert_eq!(reason_of(&mut scanner(), jvm.pid()), expected);
    }
}

#[test]
fn a_user_without_a_passwd_entry_is_the_reason() {
    if !is_root() {
        return;
    }
    let user = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];
    let Some(jvm) = Jvm::start(&user, &[]) else { return };
    assert_eq!(reason_of(&mut scanner(), jvm.pid()), RefusalReason::NoPasswdEntry);
}

#[test]
fn a_deleted_file_is_kept_by_those_who_know_it() {
    let Some(jvm) = Jvm::start(&[], &[]) else { return };
    let mut scanner = scanner();
    let candidate = candidate_of(&mut scanner, jvm.pid());
    std::fs::remove_file(&candidate.path).unwrap();
    let known = scanner.scan(&|id| id == candidate.id);
    let kept = known.candidates.iter().find(|kept| kept.id == candidate.id).expect("its JVM lives");
    assert!(!kept.linked && kept.source.is_none());
    assert_eq!(reason_of(&mut scanner, jvm.pid()), RefusalReason::Deleted);
}
