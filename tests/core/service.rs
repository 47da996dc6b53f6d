//! The exporter as a systemd unit: its notifications, and the sockets that systemd passes.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::exporter::{Exporter, command};
use crate::support::{PATIENCE, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Stands in for systemd: receives the notifications at `NOTIFY_SOCKET`.
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

    /// An exporter with one empty root that scans once an hour, and a watchdog of that many microseconds.
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
    fn receive(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a notification");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The next datagram that is no keep-alive.
    fn receive_state(&self) -> String {
        loop {
            let message = self.receive();
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
    assert_eq!(manager.receive(), "STATUS=0 JVMs served, 0 stalled, 0 starting, 0 not served\nREADY=1\n");
}

#[test]
fn the_scanning_thread_keeps_the_watchdog_alive_between_scans() {
    // Many keep-alive notifications fit between two scans an hour apart, whether they are due more often or less often than
    // a look for new processes.
    for watchdog in ["400000", "6000000"] {
        let manager = Manager::new();
        let exporter = manager.start(watchdog);
        assert!(manager.receive().contains("READY=1"));
        for _ in 0..3 {
            assert_eq!(manager.receive(), "WATCHDOG=1\n");
        }
        let scans = exporter.scrape().value("hotspot_exporter_scans_total", &[]);
        assert_eq!(scans, Some(1.0), "a keep-alive notification costs no scan");
    }
}

#[test]
fn without_a_watchdog_there_is_no_keep_alive() {
    let manager = Manager::new();
    let exporter = manager.start("");
    assert!(manager.receive().contains("READY=1"));
    signal(&exporter, Signal::TERM);
    assert_eq!(manager.receive(), "STOPPING=1\n");
}

#[test]
fn begin_and_end_of_a_reload_are_notified() {
    let manager = Manager::new();
    let exporter = manager.start("");
    assert!(manager.receive().contains("READY=1"));

    manager.configure("discovery: {interval: 30m}\n");
    signal(&exporter, Signal::HUP);
    let begin = manager.receive_state();
    assert!(begin.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{begin}");
    assert_eq!(manager.receive_state(), "READY=1\n");
    assert_eq!(manager.receive_state(), "STATUS=0 JVMs served, 0 stalled, 0 starting, 0 not served\n");

    manager.configure("discovery: {interval: soon}\n");
    signal(&exporter, Signal::HUP);
    assert!(manager.receive_state().starts_with("RELOADING=1\n"));
    assert_eq!(manager.receive_state(), "READY=1\n");
    // The status of the next scan names the failure. Before that scan the changed file is read once more.
    let status = std::iter::repeat_with(|| manager.receive_state()).find(|state| state.starts_with("STATUS=")).unwrap();
    assert!(status.contains("the last reload failed"), "{status}");
}

/// An exporter that has its socket from systemd.
fn start_on(listener: &TcpListener) -> Exporter {
    // systemd passes sockets from descriptor 3 on, and names the process that they are for.
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$0" "$@""#]);
    command.arg(env!("CARGO_BIN_EXE_hotspot-exporter")).args(["--web.systemd-socket", "--path.procfs=off"]);
    command.arg("--discovery.root=/none");
    Exporter::spawn_with_input(&mut command, Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
}

#[test]
fn sockets_of_systemd_are_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporter = start_on(&listener);
    assert_eq!(exporter.address(), listener.local_addr().unwrap());
    wait_for("a scrape through the socket", || match exporter.get("/metrics").status {
        200 => Ok(()),
        status => Err(status),
    });
}

/// What the old process has accepted it answers, and the rest waits for the new one.
#[test]
fn a_restart_on_a_socket_of_systemd_loses_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut first = start_on(&listener);
    let ask = |_| {
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n").unwrap();
        stream
    };
    let streams: Vec<TcpStream> = (0..100).map(ask).collect();
    first.terminate();
    let _second = start_on(&listener);
    for mut stream in streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer:?}");
    }
}

#[test]
fn the_socket_flag_without_a_socket_is_an_error() {
    let output = command(["--web.systemd-socket"]).env_remove("LISTEN_FDS").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("systemd passed no socket") && error.contains(".socket unit"), "{error}");
}
