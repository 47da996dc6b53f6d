//! What the tests of the running program share: JVMs and exporters that end with their test, a client, and a strict
//! reader of the text format.

// Each test binary compiles this module for itself and uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod attach;
pub mod certificates;
pub mod churn;
pub mod exporter;
pub mod exposition;
pub mod facts;
pub mod golden;
pub mod http;
pub mod jdk;
pub mod jvm;
pub mod mounts;
pub mod native;
pub mod otlp;
pub mod prometheus;
pub mod region_builder;
pub mod regions;
pub mod server;

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Long enough for a slow machine that runs other things too; only a failing test takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is `Ok`, at most [`PATIENCE`], and gives the value.
///
/// # Panics
/// With `what` and the last error, when the time is over.
pub fn wait_for<T, E: Display>(what: &str, ask: impl FnMut() -> Result<T, E>) -> T {
    wait_at_most(PATIENCE, ask).unwrap_or_else(|error| panic!("waited {PATIENCE:?} for {what}: {error}"))
}

/// Asks until the answer is `Ok` or the time is over, and gives the last answer.
pub fn wait_at_most<T, E>(patience: Duration, mut ask: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            answer => return answer,
        }
    }
}

/// `Ok` if the condition holds, for [`wait_for`].
pub fn ensure(condition: bool, otherwise: impl Display) -> Result<(), String> {
    if condition { Ok(()) } else { Err(otherwise.to_string()) }
}

/// Says that a whole test did not run, and why. `test.sh` counts these lines, so they go around the capture of the
/// test runner; a test has to return after it.
pub fn skip(test: &str, reason: impl Display) {
    let line = format!("SKIP {test}: {reason}\n");
    // A closed stderr must not fail the test.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// [`skip`], by the name of the test that runs in this thread.
pub fn skip_this(reason: impl Display) {
    skip(std::thread::current().name().unwrap_or("a test"), reason);
}

/// Whether the test runs where nothing that is required may be missing.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Whether the test may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A port of the loopback interface for a program that wants its number before it listens. Nobody is given it by chance:
/// it lies below those that the kernel gives out, and no two calls give the same.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < 32_768, "no port is free");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Copies a program by another one: a file that this process itself has open for writing, any child that is just being
/// started may hold open, too, and then it cannot be run.
pub fn copy_program(from: impl AsRef<OsStr>, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success(), "cp to {}", to.display());
}

/// The program of that name in `PATH`.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Top of the package.
pub fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where `test.sh` puts what it downloads, and where tests put what they compile.
pub fn target() -> PathBuf {
    package().join("target")
}
