//! What a running exporter of this machine answers, for `list`.
//!
//! It knows its own arguments and rights; a command started beside it, as in a container, does not. Its address is that of
//! the flag, or that of a process of this program and user, or the default.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;

use super::ListenAddress;
use super::healthcheck::fetch;
use crate::proc::stat::{directory, read};
use crate::report::list::Listing;
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

/// The listing of the first exporter that answers, with its URL.
///
/// # Errors
/// Why none answers.
pub async fn listing(given: &[ListenAddress]) -> Result<(Listing, String), String> {
    let mut addresses = given.to_vec();
    if addresses.is_empty() {
        let found = ExpendableThread::new("exporters").call(|| running(Path::new("/proc")), PATIENCE, || true);
        addresses = found.unwrap_or_default();
    }
    if addresses.is_empty() {
        addresses = vec![ListenAddress::default()];
    }
    let mut failures = Vec::new();
    for host in addresses.iter().flat_map(ListenAddress::reachable) {
        match ask(&host).await {
            Ok(answered) => return Ok(answered),
            Err(failure) => failures.push(failure),
        }
    }
    Err(failures.into_iter().next().unwrap_or_default())
}

async fn ask(host: &str) -> Result<(Listing, String), String> {
    let mut failure = None;
    // TLS is not mentioned in the address.
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://{host}/targets");
        let late = |_| Err(format!("{url}: no response within {} s", DEADLINE.as_secs()));
        match tokio::time::timeout(DEADLINE, fetch(&url, Some(ANSWER))).await.unwrap_or_else(late) {
            Ok((StatusCode::OK, body)) => {
                let listing = serde_json::from_slice(&body);
                return listing.map(|listing| (listing, url)).map_err(|error| format!("not an exporter: {error}"));
            }
            Ok((status, _)) => return Err(format!("{url}: expected 200 OK, found {status}")),
            // The first failure names the cause; what follows is a guess.
            Err(error) => _ = failure.get_or_insert(error),
        }
    }
    Err(failure.unwrap_or_default())
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
