//! Directories that others may write to: nothing blocks, nothing leads elsewhere, and `list` names reason and remedy.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::support::exporter::{Exporter, command};
use crate::support::mounts::tmpfs_over_tmp;
use crate::support::native::compile;
use crate::support::regions::{Root, fixture};
use crate::support::{PATIENCE, ensure, is_root, skip, wait_for};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use serde_json::Value;

/// What stands before the exporter on its command line: nothing, or a filter that refuses `openat2` with one of the two
/// errors that kernels, container runtimes and sandboxes give.
fn ways(test: &str) -> Vec<Vec<String>> {
    let mut ways = vec![Vec::new()];
    match refuse_calls() {
        Some(program) => ways.extend([Errno::PERM, Errno::NOSYS].map(|errno| refusing(&program, errno, "openat2"))),
        None => skip(test, "no C compiler, so openat2 is not refused"),
    }
    ways
}

fn refuse_calls() -> Option<PathBuf> {
    compile("refuse_calls", &["tests/hostile/refuse_calls.c"])
}

/// What stands before a program for which these system calls end with that error.
fn refusing(program: &Path, errno: Errno, calls: &str) -> Vec<String> {
    vec![program.display().to_string(), errno.raw_os_error().to_string(), calls.to_owned()]
}

/// A filter before a command of the binary.
fn filtered(way: &[String], exporter: &Command) -> Command {
    let mut call = Command::new(&way[0]);
    call.args(&way[1..]).arg(exporter.get_program()).args(exporter.get_args());
    call
}

/// `list` of a root, within the time that nothing may take; the path and reason of each refusal, and the JVMs.
fn list(way: &[String], flags: &[String]) -> (BTreeMap<String, String>, Vec<Value>) {
    let exporter = command(["list", "--local", "--format=json"]);
    let words = way.iter().map(String::as_str).chain([exporter.get_program().to_str().unwrap()]).collect::<Vec<_>>();
    let mut call = Command::new(words[0]);
    call.args(&words[1..]).args(exporter.get_args()).args(flags);
    let output = assert_cmd::Command::from_std(call).timeout(PATIENCE).output().unwrap();
    assert!(output.status.success(), "{way:?}: {output:?}");
    let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = listing["refused"].as_array().unwrap();
    assert!(rows.iter().all(|row| text(&row["remedy"]).ends_with('.')), "each has a remedy: {rows:#?}");
    let refused = rows.iter().map(|row| (text(&row["path"]), text(&row["reason"])));
    (refused.collect(), listing["jvms"].as_array().unwrap().clone())
}

/// A region that must not be served, outside of every root.
fn secret() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let user = folder.path().join("hsperfdata_secret");
    fs::create_dir(&user).unwrap();
    fs::copy(fixture("jdk21-Z"), user.join("1")).unwrap();
    folder
}

/// Every kind of entry that no JVM makes, in the place of a file.
#[test]
fn whatever_lies_in_the_place_of_a_file_is_refused_with_its_reason() {
    let (root, secret) = (Root::new(), secret());
    let _jvm = root.put("jdk25-G1", 1);
    let target = secret.path().join("hsperfdata_secret/1");
    let mut expected = Vec::new();
    let mut plant = |pid: u32, reason: &'static str, make: &dyn Fn(&Path)| {
        make(&root.place(pid));
        expected.push((root.place(pid).display().to_string(), reason));
    };
    let size = |path: &Path, bytes: u64| File::create(path).unwrap().set_len(bytes).unwrap();
    plant(2, "symlink", &|path| symlink(&target, path).unwrap());
    plant(3, "symlink", &|path| symlink("1", path).unwrap());
    plant(4, "symlink", &|path| symlink("/nowhere", path).unwrap());
    plant(5, "symlink", &|path| symlink("/proc/self/mem", path).unwrap());
    plant(6, "hard_link", &|path| {
        fs::copy(&target, path.with_extension("other")).unwrap();
        fs::hard_link(path.with_extension("other"), path).unwrap();
    });
    plant(7, "not_regular", &|path| mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap());
    plant(8, "not_regular", &|path| drop(UnixListener::bind(path).unwrap()));
    plant(9, "not_regular", &|path| fs::create_dir(path).unwrap());
    plant(10, "too_large", &|path| size(path, 1 << 40));
    plant(11, "too_small", &|path| size(path, 31));
    if is_root() {
        // The console, whose opening would have effects.
        let device = |path: &Path| {
            mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), makedev(5, 1)).unwrap();
        };
        plant(12, "not_regular", &device);
        plant(13, "other_owner", &|path| {
            size(path, 32768);
            chown(path, Some(54321), None).unwrap();
        });
    }
    // Held open for writing, so that it is not merely stale.
    let _garbage = {
        fs::write(root.place(14), [0xff; 32768]).unwrap();
        expected.push((root.place(14).display().to_string(), "not_perfdata"));
        File::options().write(true).open(root.place(14)).unwrap()
    };
    for name in ["0", "01", "-1", "+1", "2147483648", "1x", "lock", " 1"] {
        fs::copy(&target, root.place(1).with_file_name(name)).unwrap();
    }
    for way in ways("whatever_lies_in_the_place_of_a_file_is_refused_with_its_reason") {
        let (refused, jvms) = list(&way, &root.flags());
        for (path, reason) in &expected {
            assert_eq!(refused.get(path).map(String::as_str), Some(*reason), "{path} {way:?}");
        }
        assert_eq!(refused.len(), expected.len(), "names that are not numbers are nobody's: {refused:#?}");
        assert_eq!(jvms.len(), 1, "{way:?}: {jvms:#?}");
        assert_eq!(jvms[0]["path"], root.place(1).display().to_string());
    }
}

/// Links and openings in the place of a directory, and above it.
#[test]
fn whatever_lies_in_the_place_of_a_directory_is_refused_with_its_reason() {
    let (root, secret) = (Root::new(), secret());
    let at = |path: &str| root.path().join(path);
    for pod in ["good", "links", "open"] {
        fs::create_dir_all(at(pod)).unwrap();
    }
    fs::create_dir(at("good/hsperfdata_me")).unwrap();
    fs::copy(fixture("jdk25-G1"), at("good/hsperfdata_me/1")).unwrap();
    let _jvm = File::options().write(true).open(at("good/hsperfdata_me/1")).unwrap();
    let user = secret.path().join("hsperfdata_secret");
    symlink(&user, at("links/hsperfdata_absolute")).unwrap();
    symlink("../good/hsperfdata_me", at("links/hsperfdata_relative")).unwrap();
    symlink("hsperfdata_loop", at("links/hsperfdata_loop")).unwrap();
    symlink("/proc/self/root/tmp", at("links/hsperfdata_magic")).unwrap();
    fs::write(at("links/hsperfdata_file"), "x").unwrap();
    fs::create_dir(at("open/hsperfdata_all")).unwrap();
    fs::copy(fixture("jdk21-Z"), at("open/hsperfdata_all/1")).unwrap();
    fs::set_permissions(at("open/hsperfdata_all"), Permissions::from_mode(0o777)).unwrap();
    // The parent itself, seen by the pattern.
    symlink(secret.path(), at("parent")).unwrap();
    let expected = [
        ("links/hsperfdata_absolute", "symlink"),
        ("links/hsperfdata_relative", "symlink"),
        ("links/hsperfdata_loop", "symlink"),
        ("links/hsperfdata_magic", "symlink"),
        ("links/hsperfdata_file", "not_regular"),
        ("open/hsperfdata_all", "insecure_directory"),
        ("parent", "symlink"),
    ];
    let flags = [format!("--discovery.root={}/{{pod}}", root.path().display()), "--path.procfs=off".to_owned()];
    for way in ways("whatever_lies_in_the_place_of_a_directory_is_refused_with_its_reason") {
        let (refused, jvms) = list(&way, &flags);
        for (path, reason) in expected {
            assert_eq!(
                refused.get(&at(path).display().to_string()).map(String::as_str),
                Some(reason),
                "{path} {way:?}"
            );
        }
        assert_eq!(refused.len(), expected.len(), "{refused:#?}");
        assert_eq!(jvms.len(), 1, "{way:?}: {jvms:#?}");
        assert_eq!(jvms[0]["labels"]["pod"], "good");
    }
}

/// A JVM of JDK 8 with `-XX:PerfDataMemorySize=16m` fills no more of its region than any other.
#[test]
fn a_region_of_many_mebibytes_is_served() {
    let root = Root::new();
    let jvm = root.put("jdk8-Parallel", 1);
    jvm.set_len(16 << 20).unwrap();
    File::create(root.place(2)).unwrap().set_len((32 << 20) + 1).unwrap();
    let (refused, jvms) = list(&[], &root.flags());
    assert_eq!(refused, BTreeMap::from([(root.place(2).display().to_string(), "too_large".to_owned())]));
    assert_eq!((jvms.len(), &jvms[0]["state"]), (1, &Value::from("mapped")), "{jvms:#?}");
    for access in ["mapped", "pread"] {
        let config = root.path().join("exporter.yaml");
        fs::write(&config, format!("discovery: {{access: {access}}}\n")).unwrap();
        let flags = [root.flags().to_vec(), vec![format!("--config.file={}", config.display())]].concat();
        let mut dump = command(["dump", "--format=json"]);
        dump.args(&flags).arg("1");
        let output = assert_cmd::Command::from_std(dump).timeout(PATIENCE).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let dump: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(dump["prologue"]["size"], 16 << 20, "{access}");
        assert!(dump["entries"].as_array().unwrap().len() > 100, "{access}");
    }
}

/// An overlay, unmounted when it is dropped.
struct Overlay<'a>(&'a Path);

impl<'a> Overlay<'a> {
    /// Mounts `merged` over `upper`, both of that directory; `None` where the kernel does not allow it.
    fn mount(directory: &'a Path) -> Option<Self> {
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        let options = ["lowerdir=lower", "upperdir=upper", "workdir=work"].join(",");
        let mount = Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options, "merged"])
            .current_dir(directory)
            .output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(directory))
    }
}

impl Drop for Overlay<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.join("merged")).status();
    }
}

/// A pattern over a container engine's directories matches the upper directory of a container and its mount.
#[test]
fn a_jvm_below_an_overlay_is_served_once() {
    const TEST: &str = "a_jvm_below_an_overlay_is_served_once";
    let root = Root::new();
    let Some(overlay) = Overlay::mount(root.path()) else { return skip(TEST, "no overlay can be mounted") };
    let user = root.path().join("merged/hsperfdata_tester");
    fs::create_dir(&user).unwrap();
    let copy = |fixture_name: &str, pid: u32| {
        fs::copy(fixture(fixture_name), user.join(pid.to_string())).unwrap();
        File::options().write(true).open(user.join(pid.to_string())).unwrap()
    };
    let _jvms = [copy("jdk25-G1", 1), copy("jdk21-Z", 2)];
    // Other containers, whose files have the same names.
    for container in ["a", "b"] {
        fs::create_dir_all(root.path().join(container).join("hsperfdata_tester")).unwrap();
        fs::copy(fixture("jdk17-G1"), root.path().join(container).join("hsperfdata_tester/1")).unwrap();
    }
    let _others = ["a", "b"].map(|container| {
        File::options().write(true).open(root.path().join(container).join("hsperfdata_tester/1")).unwrap()
    });
    let flags = [format!("--discovery.root={}/*", root.path().display()), "--path.procfs=off".to_owned()];
    let (refused, jvms) = list(&[], &flags);
    assert_eq!(jvms.len(), 4, "{jvms:#?}");
    assert_eq!(refused.values().collect::<Vec<_>>(), ["collision"; 2], "{refused:#?}");

    let config = root.path().join("exporter.yaml");
    fs::write(&config, "discovery: {interval: 1s}\n").unwrap();
    let exporter = Exporter::start([&flags[..], &[format!("--config.file={}", config.display())]].concat());
    let served = |scans: f64| {
        wait_for("scans", || {
            let page = exporter.scrape();
            let value = page.value("hotspot_exporter_scans_total", &[]).unwrap_or(0.0);
            ensure(value >= scans, value)
        });
        exporter.targets()["jvms"].clone()
    };
    let first = served(1.0);
    assert_eq!(first.as_array().unwrap().len(), 4, "{first:#?}");
    let paths = |jvms: &Value| jvms.as_array().unwrap().iter().map(|row| row["path"].clone()).collect::<Vec<_>>();
    assert_eq!(paths(&served(3.0)), paths(&first), "the served views stay");
    drop(exporter);
    drop(overlay);
}

/// A process that looks like a JVM and is alone in a mount namespace, in which a script has prepared `/tmp`.
struct Container(Child);

impl Container {
    fn start(script: &str, words: &[&str]) -> Self {
        let script = format!("{} && {script} && exec \"$@\"", tmpfs_over_tmp());
        let mut command = Command::new("unshare");
        command.args(["--mount", "--kill-child", "sh", "-c", &script, "sh"]).args(words);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Waits for its first line, its pid.
    fn ready(&mut self) -> u32 {
        let mut byte = [0];
        let mut line = String::new();
        while self.0.stdout.as_mut().unwrap().read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(char::from(byte[0]));
        }
        line.trim().parse().unwrap_or_else(|_| panic!("the container does not start: {line:?}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reached through /proc/PID/root, an absolute link in a container would lead into the host's own files: a region that
/// is named by the process's number lies ready there for whoever follows.
#[test]
fn an_absolute_link_below_proc_root_does_not_lead_to_the_host() {
    const TEST: &str = "an_absolute_link_below_proc_root_does_not_lead_to_the_host";
    if !is_root() {
        return skip(TEST, "takes root");
    }
    let library = compile("libjvm.so", &["tests/memory/libjvm.c", "-shared", "-fPIC"]);
    let Some(library) = library else { return skip(TEST, "no C compiler") };
    let search = format!("-L{}", library.parent().unwrap().display());
    let java = compile("java", &["tests/memory/java.c", &search, "-ljvm", "-Wl,-rpath,$ORIGIN"]).unwrap();
    // Not below /tmp, over which the containers mount their own.
    let host = tempfile::tempdir_in("/var/tmp").unwrap();
    let user = host.path().join("hsperfdata_root");
    fs::create_dir(&user).unwrap();
    let host = host.path().display();
    let java = java.display().to_string();
    let region = fixture("jdk25-G1").display().to_string();
    let words = [java.as_str(), "not initialized", &region];
    let mut containers = [
        Container::start(&format!("ln -s {host}/hsperfdata_root /tmp/hsperfdata_root"), &words),
        Container::start(
            &format!("mkdir -m 755 /tmp/hsperfdata_root && ln -s {host}/hsperfdata_root/$$ /tmp/hsperfdata_root/$$"),
            &words,
        ),
        Container::start(&format!("ln -s {host} /tmp/out && ln -s out/hsperfdata_root /tmp/hsperfdata_root"), &words),
    ];
    let pids = containers.each_mut().map(Container::ready);
    for pid in pids {
        fs::copy(fixture("jdk21-Z"), user.join(pid.to_string())).unwrap();
    }
    // A root with nothing in it: all that can be found is found by way of the processes, and not in their memory.
    let empty = Root::new();
    let config = empty.path().join("exporter.yaml");
    fs::write(&config, "discovery: {processes: off}\n").unwrap();
    let flags = [
        format!("--discovery.root={}", empty.path().display()),
        format!("--config.file={}", config.display()),
        "--path.procfs=/proc".to_owned(),
    ];
    // Until then a JVM without a file may just not have made it.
    wait_for("the containers to be old enough", || {
        let (_, jvms) = list(&[], &flags);
        ensure(jvms.iter().all(|row| pids.iter().all(|pid| row["pid"] != *pid)), format!("{jvms:#?}"))
    });
    for way in ways(TEST) {
        let (refused, jvms) = list(&way, &flags);
        for pid in pids {
            assert!(jvms.iter().all(|row| row["pid"] != pid), "{way:?} {pid}: {jvms:#?}");
            let root = format!("/proc/{pid}/root/tmp");
            let reason = refused.iter().find(|(path, _)| path.starts_with(&root)).map(|(_, reason)| reason.as_str());
            assert_eq!(reason, Some("symlink"), "{way:?} {pid}: {refused:#?}");
        }
    }
}

/// A hundred thousand files of the right size in one directory, and in as many directories as a scan looks at.
#[test]
fn a_hundred_thousand_files_are_cut_and_the_others_are_served() {
    let root = Root::new();
    let _jvm = root.put("jdk25-G1", 1);
    let flood = |directory: &Path, from: u32, to: u32| {
        fs::create_dir_all(directory).unwrap();
        for pid in from..to {
            File::create(directory.join(pid.to_string())).unwrap().set_len(32768).unwrap();
        }
    };
    flood(&root.path().join("hsperfdata_flood"), 1_000, 60_000);
    for number in 0..40 {
        flood(&root.path().join(format!("hsperfdata_flood{number}")), 100_000, 101_000);
    }
    if is_root() {
        // Somebody else's; root's own JVM must not suffer from it.
        for entry in fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if !entry.ends_with("hsperfdata_tester") {
                let owned = fs::read_dir(&entry).unwrap().map(|file| file.unwrap().path()).chain([entry.clone()]);
                owned.for_each(|path| chown(path, Some(54321), None).unwrap());
            }
        }
    }
    let exporter = Exporter::start(root.flags());
    let served = |exporter: &Exporter| exporter.scrape().value("jvm_process_info", &[("pid", "1")]) == Some(1.0);
    if is_root() {
        assert!(served(&exporter), "the one JVM is served");
    }
    let targets = exporter.targets();
    let reported = targets["refused"].as_array().unwrap().iter().any(|row| row["reason"] == "too_many");
    assert!(reported, "what is left out is reported");
    wait_for("a second scan", || {
        let scans = exporter.scrape().value("hotspot_exporter_scans_total", &[]).unwrap_or(0.0);
        ensure(scans >= 2.0, scans)
    });
    if is_root() {
        assert!(served(&exporter), "and stays so");
    }
    wait_for("the descriptors of a scan to be given back", || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", exporter.pid())).unwrap().count();
        ensure(descriptors < 100, descriptors)
    });
    let lines = exporter.log().lines().count();
    assert!(lines < 200, "{lines} lines are logged");
}

/// Each of them would be a reason to scan at once.
#[test]
fn directories_that_come_and_go_ask_for_no_more_than_ten_scans_a_second() {
    let root = Root::new();
    let _jvm = root.put("jdk25-G1", 1);
    let exporter = Exporter::start(root.flags());
    let scans = || exporter.scrape().value("hotspot_exporter_scans_total", &[]).unwrap_or(0.0);
    let (over, directory) = (AtomicBool::new(false), root.path().join("hsperfdata_storm"));
    std::thread::scope(|scope| {
        let (over, directory, begun) = (&over, &directory, Instant::now());
        scope.spawn(move || {
            // Not for ever where the test fails.
            while !over.load(Ordering::Relaxed) && begun.elapsed() < 2 * PATIENCE {
                fs::create_dir(directory).unwrap();
                fs::remove_dir(directory).unwrap();
            }
        });
        let (began, before) = (Instant::now(), scans());
        let counted = wait_for("the storm to be noticed", || {
            let more = scans() - before;
            if more >= 10.0 { Ok(more) } else { Err(more) }
        });
        over.store(true, Ordering::Relaxed);
        // The first may have been due already.
        let most = began.elapsed().as_secs_f64() * 10.0 + 1.0;
        assert!(counted <= most, "{counted} scans, at most {most}");
    });
}

/// The calls that came with Linux 5.3 and later, or that old profiles refuse; all but the one that starts threads.
const NEWER_CALLS: &str = "close_range,faccessat2,openat2,pidfd_getfd,pidfd_open,process_vm_readv,rseq,statx";

#[test]
fn an_old_seccomp_profile_that_refuses_newer_calls_costs_nothing() {
    let Some(program) = refuse_calls() else {
        return skip("an_old_seccomp_profile_that_refuses_newer_calls_costs_nothing", "no C compiler");
    };
    let root = Root::new();
    let _jvm = root.put("jdk25-G1", 1);
    let all = format!("{NEWER_CALLS},clone3");
    for (errno, calls) in [(Errno::PERM, NEWER_CALLS), (Errno::NOSYS, &all)] {
        let way = refusing(&program, errno, calls);
        let mut exporter = Exporter::spawn(&mut filtered(&way, &command(root.flags())));
        let page = exporter.scrape();
        assert_eq!(page.value("jvm_up", &[]), Some(1.0), "{way:?}; the log:\n{}", exporter.log());
        exporter.terminate();
        assert!(!exporter.log().contains("panicked"), "{way:?}: {}", exporter.log());
    }
}

#[test]
fn a_seccomp_profile_that_forbids_threads_is_named_in_one_line_with_the_remedy() {
    let Some(program) = refuse_calls() else {
        return skip("a_seccomp_profile_that_forbids_threads_is_named_in_one_line_with_the_remedy", "no C compiler");
    };
    let root = Root::new();
    let _jvm = root.put("jdk25-G1", 1);
    let way = refusing(&program, Errno::PERM, &format!("{NEWER_CALLS},clone3"));
    if cfg!(target_env = "gnu") {
        let serve = command(["--web.listen-address=127.0.0.1:0".to_owned()].into_iter().chain(root.flags()));
        for call in [serve, command(["healthcheck", "http://127.0.0.1:1/-/ready"])] {
            let output = assert_cmd::Command::from_std(filtered(&way, &call)).timeout(PATIENCE).output().unwrap();
            let log = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{log}");
            // As root it warns first.
            let lines = log.lines().filter(|line| !line.starts_with("ts=")).collect::<Vec<_>>();
            assert!(log.contains("clone3; update the container runtime") && lines.len() == 1, "{log}");
        }
    }
    let (_, jvms) = list(&way, &root.flags());
    assert_eq!(jvms.len(), 1, "commands that need no thread work: {jvms:#?}");
}
