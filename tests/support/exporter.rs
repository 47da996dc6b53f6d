//! The real binary, serving.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::exposition::Exposition;
use super::http::{Response, request};
use super::{PATIENCE, wait_for};

/// A serving exporter; killed when dropped.
#[derive(Debug)]
pub struct Exporter {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
}

/// The binary under test, with arguments.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotspot-exporter"));
    command.args(arguments);
    for name in ["all_proxy", "http_proxy", "https_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

impl Exporter {
    /// Starts it on a free port of the loopback interface and waits until it is ready.
    pub fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::spawn(&mut command(arguments))
    }

    /// Starts any command that ends in the binary.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_with_input(command, Stdio::null())
    }

    /// The same, with something on standard input.
    pub fn spawn_with_input(command: &mut Command, input: Stdio) -> Self {
        Self::spawn_as_it_is(command.arg("--web.listen-address=127.0.0.1:0").stdin(input))
    }

    /// Starts a command that says itself where to listen, and what is on its standard input.
    pub fn spawn_as_it_is(command: &mut Command) -> Self {
        command.stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = channel();
        let stderr = child.stderr.take().unwrap();
        let kept = Arc::clone(&log);
        thread::spawn(move || read_log(stderr, &kept, &found));
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} does not listen; its log:\n{}", log.lock().unwrap());
        };
        let exporter = Self { child, address, log };
        // It speaks TLS too, where the tests' own client does not.
        let scheme = if exporter.log().contains("tls=true") { "https" } else { "http" };
        let mut check = self::command(["healthcheck", &format!("{scheme}://{address}/-/ready")]);
        wait_for("/-/ready", || match check.output().unwrap() {
            output if output.status.success() => Ok(()),
            output => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        });
        exporter
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end and waits until it has.
    pub fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}; the log:\n{}", self.log());
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// One GET.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    /// One request.
    pub fn request(&self, method: &str, path: &str, headers: &[&str]) -> Response {
        let response = request(self.address, method, path, headers);
        response.unwrap_or_else(|error| panic!("{method} {path}: {error}; the log:\n{}", self.log()))
    }

    /// One scrape of the default profile.
    pub fn scrape(&self) -> Exposition {
        self.scrape_path("/metrics")
    }

    /// One scrape of a path.
    pub fn scrape_path(&self, path: &str) -> Exposition {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        Exposition::parse(response.text())
    }

    /// What `/targets` says.
    pub fn targets(&self) -> Value {
        let response = self.get("/targets");
        assert_eq!(response.status, 200, "{}", response.text());
        serde_json::from_slice(&response.body).unwrap()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps the log, and sends the address of the line that says `listening`.
fn read_log(stderr: ChildStderr, log: &Mutex<String>, found: &Sender<SocketAddr>) {
    for line in BufReader::new(stderr).lines() {
        let Ok(line) = line else { return };
        {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
        if line.contains("listening") {
            let json: Option<Value> = serde_json::from_str(&line).ok();
            let field = line.split_whitespace().find_map(|field| field.strip_prefix("address="));
            let field = json.as_ref().and_then(|line| line["address"].as_str()).or(field);
            if let Some(address) = field.and_then(|address| address.trim_matches('"').parse().ok()) {
                // The receiver is gone once the first address has arrived.
                let _ = found.send(address);
            }
        }
    }
}
