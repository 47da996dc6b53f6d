//! What the exporter does to JVMs, as the kernel sees it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::native::Config;
use crate::support::exporter::{Exporter, command};
use crate::support::jdk;
use crate::support::jvm::Jvm;
use crate::support::{ensure, program, skip, wait_for};

/// `strace` with a log of signals, and of files and directories made and removed. With -D what it runs is our child,
/// and strace that one's.
fn strace(log: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-e", "signal=none", "-e"]);
    command.arg("trace=kill,tkill,tgkill,pidfd_send_signal,rt_sigqueueinfo,unlink,unlinkat,mkdir,mkdirat,renameat2");
    command.arg("-o").arg(log);
    command
}

/// JVMs that track their memory and whose listener is not started: only a signal makes one reply.
#[test]
fn passive_mode_sends_no_signal_and_removes_nothing() {
    let test = "passive_mode_sends_no_signal_and_removes_nothing";
    let config = Config::new("discovery: {interval: 100ms}\nnmt: {mode: passive, interval: 1s}\n");
    let log = config.file.with_extension("strace");
    let control = strace(&log).args(["sh", "-c", "kill -0 $$"]).output();
    if program("strace").is_none() || !control.is_ok_and(|control| control.status.success()) {
        return skip(test, "no strace, or it may not trace; decoys that count signals are tried in tests/jvm/attach");
    }
    wait_for("strace to see a signal", || ensure(fs::read_to_string(&log).unwrap().contains("kill("), "not yet"));

    let jdk = jdk::any();
    let tracking = "-XX:NativeMemoryTracking=summary";
    let jvms = [Jvm::start(&jdk, [tracking]), Jvm::start(&jdk, [tracking, "-XX:+DisableAttachMechanism"])];
    let served = command([config.flag(), "--discovery.root=/tmp".to_owned()]);
    let exporter = Exporter::spawn(strace(&log).arg(served.get_program()).args(served.get_args()));
    wait_for("three searches for a socket", || {
        let failures = exporter.scrape().value("hotspot_exporter_nmt_failures_total", &[("reason", "no_socket")]);
        ensure(failures >= Some(3.0), "not yet")
    });
    for jvm in &jvms {
        let page = exporter.scrape().of_pid(jvm.pid()).unwrap().1;
        assert_eq!(page.value("jvm_nmt_enabled", &[]), Some(1.0));
        assert_eq!(page.value("jvm_nmt_total_committed_bytes", &[]), None);
    }
    drop(exporter);
    // What strace was about to look at when it was killed with the exporter has no name in its log, and is no call.
    let log = fs::read_to_string(&log).unwrap();
    let calls: Vec<&str> = log.lines().filter(|line| !line.ends_with("???( <detached ...>")).collect();
    assert_eq!(calls, [""; 0]);
}
