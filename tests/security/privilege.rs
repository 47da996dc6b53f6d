//! What a serving exporter may do: no more than its modes need. Most of it can be seen by root only.

use std::fs;
use std::process::Command;

use crate::support::exporter::{Exporter, command};
use crate::support::regions::Root;
use crate::support::{ensure, is_root, program, skip, wait_for};

/// Bits of linux/capability.h.
const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const SYS_PTRACE: u64 = 1 << 19;
const LEASE: u64 = 1 << 28;
const CHECKPOINT_RESTORE: u64 = 1 << 40;

/// A line of a thread's status, as a number.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {status}"));
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

/// That every thread has these capabilities in force and to take, and no other by any way.
fn assert_privileges(exporter: &Exporter, expected: u64) {
    let tasks = fs::read_dir(format!("/proc/{}/task", exporter.pid())).unwrap();
    let mut threads = 0;
    for task in tasks {
        // A thread of the runtime may have ended meanwhile.
        let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else { continue };
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(field(&status, set), expected, "{set} of {status}");
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(field(&status, set), 0, "{set} of {status}");
        }
        assert_eq!(field(&status, "NoNewPrivs"), 1, "{status}");
        threads += 1;
    }
    assert!(threads > 3, "all threads were looked at");
}

/// The flags with a root of its own.
fn flags(root: &Root, more: &[&str]) -> Vec<String> {
    let mut flags = vec![format!("--discovery.root={}", root.path().display())];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    flags
}

#[test]
fn root_keeps_what_its_modes_need() {
    if !is_root() {
        return skip("root_keeps_what_its_modes_need", "needs root");
    }
    let held = field(&fs::read_to_string("/proc/self/status").unwrap(), "CapPrm");
    let root = Root::new();
    let files = DAC_READ_SEARCH | LEASE;
    let processes = SYS_PTRACE | CHECKPOINT_RESTORE;
    for (more, expected) in [
        (&["--path.procfs=off", "--attach.mode=off"][..], files),
        (&["--nmt.mode=off"], files | processes),
        (&["--path.procfs=off"], files | SETUID | SETGID),
        (&[], files | processes | SETUID | SETGID),
        (&["--nmt.mode=active", "--nmt.allow-active-as-root"], files | processes | SETUID | SETGID),
    ] {
        let exporter = Exporter::start(flags(&root, more));
        assert!(exporter.log().contains("running as root"), "{}", exporter.log());
        assert_privileges(&exporter, expected & held);
    }
}

#[test]
fn what_cannot_change_ids_keeps_the_way_past_file_modes() {
    if !is_root() || program("setpriv").is_none() {
        return skip("what_cannot_change_ids_keeps_the_way_past_file_modes", "needs root and setpriv");
    }
    let root = Root::new();
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-setuid,-setgid,-checkpoint_restore", "--inh-caps=-all"]);
    command.arg(env!("CARGO_BIN_EXE_hotspot-exporter")).args(flags(&root, &[]));
    let exporter = Exporter::spawn(&mut command);
    let held = field(&fs::read_to_string("/proc/self/status").unwrap(), "CapPrm");
    assert_privileges(&exporter, (DAC_READ_SEARCH | LEASE | SYS_PTRACE | DAC_OVERRIDE) & held);
}

/// As systemd's `AmbientCapabilities` starts it.
#[test]
fn ambient_capabilities_do_not_outlive_the_start() {
    if !is_root() || program("setpriv").is_none() {
        return skip("ambient_capabilities_do_not_outlive_the_start", "needs root and setpriv");
    }
    let root = Root::new();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let capabilities = "+dac_read_search,+sys_ptrace,+kill,+net_bind_service";
    command.args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")]);
    command.arg(env!("CARGO_BIN_EXE_hotspot-exporter")).args(flags(&root, &[]));
    let exporter = Exporter::spawn(&mut command);
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.pid())).unwrap();
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(field(&status, set), DAC_READ_SEARCH | SYS_PTRACE, "{status}");
    }
    assert_eq!((field(&status, "CapInh"), field(&status, "CapAmb"), field(&status, "NoNewPrivs")), (0, 0, 1));
    assert!(!exporter.log().contains("running as root"));
}

/// As the unit in `deploy/systemd` starts it, whose filter kills who calls capset(2).
#[test]
fn what_has_no_more_than_it_needs_makes_no_forbidden_call() {
    let test = "what_has_no_more_than_it_needs_makes_no_forbidden_call";
    if !is_root() || program("setpriv").is_none() || program("strace").is_none() {
        return skip(test, "needs root, setpriv and strace");
    }
    let root = Root::new();
    let capabilities = "+dac_read_search,+sys_ptrace";
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")]);
    // The tracer is the grandchild, so that the exporter is ours to end.
    command.args(["strace", "-D", "-f", "-e", "trace=capset"]);
    command.arg(env!("CARGO_BIN_EXE_hotspot-exporter")).args(flags(&root, &[]));
    let exporter = Exporter::spawn(&mut command);
    let log = exporter.log();
    assert!(log.contains("strace: Process") && !log.contains("capset("), "{log}");
}

#[test]
fn active_mode_as_root_needs_a_flag_of_its_own() {
    if !is_root() {
        return skip("active_mode_as_root_needs_a_flag_of_its_own", "needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yaml");
    fs::write(&config, "nmt: {mode: active}").unwrap();
    let file = format!("--config.file={}", config.display());
    for arguments in [&["--nmt.mode=active"][..], &[&file], &["nmt", "1", "--attach.mode=active"], &["nmt", "1", &file]]
    {
        let output = command(arguments).arg("--path.procfs=off").output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {error}");
        assert!(
            error.contains("attach.mode") && error.contains("--attach.allow-active-as-root"),
            "{arguments:?}: {error}"
        );
    }
    // Calls that signal nobody go on, as does the check of a file that is for another user.
    for arguments in [&["list", "--local"][..], &["--once"], &["--config.check"]] {
        let output = command(arguments).args([&file, "--path.procfs=off"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    // Nor does a reload bring it.
    let root = Root::new();
    fs::write(&config, "nmt: {mode: passive}").unwrap();
    let exporter = Exporter::start(flags(&root, &["--path.procfs=off", "--web.enable-lifecycle", &file]));
    fs::write(&config, "nmt: {mode: active}").unwrap();
    let answer = exporter.request("POST", "/-/reload", &[]);
    assert_eq!(
        (answer.status, answer.text().contains("--attach.allow-active-as-root")),
        (500, true),
        "{}",
        answer.text()
    );
    fs::write(&config, "nmt: {mode: off}").unwrap();
    assert_eq!(exporter.request("POST", "/-/reload", &[]).status, 200);
}

#[test]
fn a_reload_that_needs_more_says_so() {
    if !is_root() {
        return skip("a_reload_that_needs_more_says_so", "needs root");
    }
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yaml");
    fs::write(&config, "nmt: {mode: off}").unwrap();
    let root = Root::new();
    let file = format!("--config.file={}", config.display());
    let exporter = Exporter::start(flags(&root, &["--path.procfs=off", "--web.enable-lifecycle", &file]));
    fs::write(&config, "nmt: {mode: passive}").unwrap();
    assert_eq!(exporter.request("POST", "/-/reload", &[]).status, 200);
    wait_for("the warning", || ensure(exporter.log().contains("CAP_SETGID CAP_SETUID"), exporter.log()));
}

/// The port is taken while the right to it is there.
#[test]
fn low_ports_are_bound_before_the_right_to_them_goes() {
    let start = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if !is_root() || start.trim() == "0" {
        return skip("low_ports_are_bound_before_the_right_to_them_goes", "needs root, and ports that want privilege");
    }
    let root = Root::new();
    // Any free port below 1024 will do.
    let free = (600..1024).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    let mut command = command(flags(&root, &["--path.procfs=off", &format!("--web.listen-address=127.0.0.1:{free}")]));
    let exporter = Exporter::spawn(&mut command);
    let held = field(&fs::read_to_string("/proc/self/status").unwrap(), "CapPrm");
    assert_privileges(&exporter, (DAC_READ_SEARCH | LEASE | SETUID | SETGID) & held);
    assert!(std::net::TcpStream::connect(("127.0.0.1", free)).is_ok());
}
