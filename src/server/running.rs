//! What a running exporter answers, for commands.
//!
//! It knows its own arguments and rights; a command started beside it, as in a container, does not. Its address is that of
//! a URL or a flag, or that of a process of this program and user, or the default.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use serde::de::DeserializeOwned;

use super::ListenAddress;
use super::healthcheck::{Address, fetch};
use crate::proc::stat::{directory, read};
use crate::sync::ExpendableThread;

/// Time for one answer; the exporter takes at most 5 s to read all JVMs.
const DEADLINE: Duration = Duration::from_secs(8);

/// Time to look for running exporters.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most bytes of an answer.
const ANSWER: usize = 64 << 20;

/// Bytes of a command line that are read.
const COMMAND_LINE: usize = 64 << 10;

/// Most processes that are looked at, and most exporters among them that are asked.
const PROCESSES: usize = 100_000;
const EXPORTERS: usize = 8;

/// The kernel's name of a process has 15 bytes.
const NAME: &[u8] = b"hotspot-exporte\n";

const FLAG: &str = "--web.listen-address";

/// An exporter that runs, on this machine or elsewhere.
#[derive(Clone, Debug)]
pub struct RunningExporter {
    address: Address,
}

impl RunningExporter {
    /// That of a URL, which may have a user and a password. `password` is that of a user without one.
    pub fn at(url: &str, password: Option<&str>) -> Self {
        Self { address: Address::new(url, password) }
    }

    /// The first exporter of this machine that answers at this path, with its answer.
    ///
    /// # Errors
    /// Why none answers.
    pub async fn find<T: DeserializeOwned>(given: &[ListenAddress], path: &str) -> Result<(Self, T), String> {
        let mut addresses = given.to_vec();
        if addresses.is_empty() {
            let found = ExpendableThread::new("exporters").call(|| running(Path::new("/proc")), PATIENCE, || true);
            addresses = found.unwrap_or_default();
        }
        if addresses.is_empty() {
            addresses = vec![ListenAddress::default()];
        }
        let mut failure = None;
        for host in addresses.iter().flat_map(ListenAddress::reachable) {
            // TLS is not mentioned in the address.
            for scheme in ["http", "https"] {
                let exporter = Self::at(&format!("{scheme}://{host}"), None);
                // The first failure names the cause; what follows is a guess.
                match exporter.ask(path).await {
                    Ok(Ok(answer)) => return Ok((exporter, answer)),
                    Ok(Err(error)) => {
                        failure.get_or_insert(error);
                        break;
                    }
                    Err(error) => _ = failure.get_or_insert(error),
                }
            }
        }
        Err(failure.unwrap_or_default())
    }

    /// Its URL, without user and password.
    pub fn url(&self) -> &str {
        &self.address.url
    }

    /// What it answers at this path, as JSON.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.ask(path).await?
    }

    /// The same; what is no response of HTTP is told apart from one that is not expected.
    async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Result<T, String>, String> {
        let address = self.address.join(path);
        let url = &address.url;
        let late = |_| Err(format!("{url}: no response within {} s", DEADLINE.as_secs()));
        let response = tokio::time::timeout(DEADLINE, fetch(&address, Some(ANSWER))).await.unwrap_or_else(late)?;
        Ok(match response {
            (StatusCode::OK, body) => {
                serde_json::from_slice(&body).map_err(|error| format!("not an exporter: {error}"))
            }
            (StatusCode::UNAUTHORIZED, _) => {
                Err(format!("{url}: expected 200 OK, found 401: it wants a user and a password"))
            }
            (status, _) => Err(format!("{url}: expected 200 OK, found {status}")),
        })
    }
}

/// The addresses of this program's processes of the same user.
fn running(procfs: &Path) -> Vec<ListenAddress> {
    let Ok(own) = fs::metadata(procfs.join("self/exe")) else { return Vec::new() };
    let user = rustix::process::geteuid().as_raw();
    let mut found = Vec::new();
    for entry in fs::read_dir(procfs).into_iter().flatten().flatten().take(PROCESSES) {
        let is_other = entry.file_name().to_str().and_then(|name| name.parse().ok()) != Some(std::process::id());
        let path = entry.path();
        let is_exporter = || {
            let process = directory(rustix::fs::CWD, &path).ok()?;
            let is_ours = fs::metadata(&path).is_ok_and(|process| process.uid() == user)
                && read(&process, "comm", NAME.len()).is_ok_and(|name| *name == *NAME)
                && fs::metadata(path.join("exe")).is_ok_and(|exe| (exe.dev(), exe.ino()) == (own.dev(), own.ino()));
            is_ours.then(|| read(&process, "cmdline", COMMAND_LINE).ok()).flatten()
        };
        if let Some(command) = is_other.then(is_exporter).flatten() {
            found.extend(addresses(&String::from_utf8_lossy(&command)));
        }
        if found.len() >= EXPORTERS {
            break;
        }
    }
    found
}

/// The addresses on a command line, whose arguments end with NUL.
fn addresses(command: &str) -> Vec<ListenAddress> {
    let mut arguments = command.split('\0').skip(1);
    let mut found = Vec::new();
    while let Some(argument) = arguments.next() {
        let value = match argument.strip_prefix(FLAG) {
            Some("") => arguments.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        found.extend(value.and_then(|value| value.parse().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_on_command_lines() {
        let of = |command: &str| {
            let hosts: Vec<String> = addresses(command).iter().flat_map(ListenAddress::reachable).collect();
            hosts.join(" ")
        };
        for (command, expected) in [
            ("hotspot-exporter\0", ""),
            ("hotspot-exporter\0--web.listen-address=:9851\0--once\0", "127.0.0.1:9851 [::1]:9851"),
            ("x\0--web.listen-address\x0010.0.0.1:1\0--web.listen-address=[::1]:2\0", "10.0.0.1:1 [::1]:2"),
            ("x\0--web.listen-address=0.0.0.0:1\0--web.listen-address=[::]:2", "127.0.0.1:1 [::1]:2"),
            ("x\0--web.listen-address=nonsense\0--web.listen-address", ""),
        ] {
            assert_eq!(of(command), expected, "{command}");
        }
    }
}
