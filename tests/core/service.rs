//! The exporter as a unit of systemd: what it tells, and the sockets that it takes over.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::exporter::{Exporter, command};
use crate::support::{PATIENCE, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What systemd hears at the end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    /// An exporter of one empty root that scans once an hour, with a watchdog of that many microseconds.
    fn start(&self, watchdog: &str) -> Exporter {
        self.configure("discovery: {interval: 1h}\n");
        fs::create_dir(self.directory.path().join("tmp")).unwrap();
        let arguments = [
            format!("--config.file={}", self.config().display()),
            format!("--discovery.root={}", self.directory.path().join("tmp").display()),
            "--path.procfs=off".to_owned(),
        ];
        let mut command = command(arguments);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify")).env("WATCHDOG_USEC", watchdog);
        Exporter::spawn(&mut command)
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("exporter.yaml")
    }

    fn configure(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    /// The next datagram.
    fn hear(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("the exporter says something");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next datagram that is more than a sign of life.
    fn hear_news(&self) -> String {
        loop {
            let message = self.hear();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }
}

fn signal(exporter: &Exporter, signal: Signal) {
    kill_process(Pid::from_raw(exporter.pid().try_into().unwrap()).unwrap(), signal).unwrap();
}

#[test]
fn the_first_scan_makes_the_unit_ready() {
    let manager = Manager::new();
    let _exporter = manager.start("");
    assert_eq!(manager.hear(), "STATUS=0 JVMs served, 0 stalled, 0 starting, 0 not served\nREADY=1\n");
}

#[test]
fn the_watchdog_hears_the_scanning_thread_between_scans() {
    let manager = Manager::new();
    // Many signs of life fit between two scans an hour apart.
    let exporter = manager.start("400000");
    assert!(manager.hear().contains("READY=1"));
    for _ in 0..5 {
        assert_eq!(manager.hear(), "WATCHDOG=1\n");
    }
    let scans = exporter.scrape().value("hotspot_exporter_scans_total", &[]);
    assert_eq!(scans, Some(1.0), "a sign of life costs no scan");
}

#[test]
fn without_a_watchdog_there_are_no_signs_of_life() {
    let manager = Manager::new();
    let exporter = manager.start("");
    assert!(manager.hear().contains("READY=1"));
    signal(&exporter, Signal::TERM);
    assert_eq!(manager.hear(), "STOPPING=1\n");
}

#[test]
fn a_reload_is_told_with_its_begin_and_end() {
    let manager = Manager::new();
    let exporter = manager.start("");
    assert!(manager.hear().contains("READY=1"));

    manager.configure("discovery: {interval: 30m}\n");
    signal(&exporter, Signal::HUP);
    let begin = manager.hear_news();
    assert!(begin.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{begin}");
    assert_eq!(manager.hear_news(), "READY=1\n");
    assert_eq!(manager.hear_news(), "STATUS=0 JVMs served, 0 stalled, 0 starting, 0 not served\n");

    manager.configure("discovery: {interval: soon}\n");
    signal(&exporter, Signal::HUP);
    assert!(manager.hear_news().starts_with("RELOADING=1\n"));
    assert_eq!(manager.hear_news(), "READY=1\n");
    // The next scan says what is wrong. Before it the changed file is tried once more.
    let status = std::iter::repeat_with(|| manager.hear_news()).find(|news| news.starts_with("STATUS=")).unwrap();
    assert!(status.contains("the last reload failed"), "{status}");
}

#[test]
fn sockets_of_systemd_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let root = tempfile::tempdir().unwrap();
    // systemd passes sockets from descriptor 3 on, and says for which process they are.
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@""#]);
    command.arg(env!("CARGO_BIN_EXE_hotspot-exporter")).args(["--web.systemd-socket", "--path.procfs=off"]);
    command.arg(format!("--discovery.root={}", root.path().display()));
    let exporter = Exporter::spawn_with_input(&mut command, Stdio::from(std::os::fd::OwnedFd::from(listener)));
    assert_eq!(exporter.address(), address);
    wait_for("a scrape through the socket", || match exporter.get("/metrics").status {
        200 => Ok(()),
        status => Err(status),
    });
}

#[test]
fn a_flag_for_sockets_that_nobody_passed_is_an_error() {
    let output = command(["--web.systemd-socket"]).env_remove("LISTEN_FDS").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("systemd passed no socket") && said.contains(".socket unit"), "{said}");
}
