//! How a process was started: its words, and chosen variables of its environment.
//!
//! The kernel reads both from the process's memory, which a hostile process may have made wait for ever (userfaultfd;
//! pages of files are refused since Linux 4.17). So a thread reads that can be given up.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::stat::read;

/// Longest text that is read, in bytes: two of the longest words (MAX_ARG_STRLEN, 128 KiB).
const MAXIMUM: usize = 256 << 10;

/// Time for both texts. They take microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Threads that may wait for ever; then nothing is read any more.
const WAITING_MAXIMUM: usize = 8;

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The words of the process of this directory, and the values of those of these variables that it has. Empty where the
/// exporter may not read them; the environment is closed to other users without `CAP_SYS_PTRACE`.
pub(crate) fn words(directory: &OwnedFd, names: &'static [&'static str]) -> (Vec<String>, Vec<(&'static str, String)>) {
    let Ok(directory) = directory.try_clone() else { return Default::default() };
    if WAITING.fetch_add(1, Ordering::Relaxed) >= WAITING_MAXIMUM {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return Default::default();
    }
    let (sender, receiver) = sync_channel(1);
    let run = move || {
        let arguments = strings(&read(&directory, "cmdline", MAXIMUM).unwrap_or_default());
        let variables = variables(&read(&directory, "environ", MAXIMUM).unwrap_or_default(), names);
        WAITING.fetch_sub(1, Ordering::Relaxed);
        // Nobody waits any more if this took too long.
        let _ = sender.send((arguments, variables));
    };
    match std::thread::Builder::new().name("proc".to_owned()).spawn(run) {
        Ok(_) => receiver.recv_timeout(PATIENCE).unwrap_or_default(),
        Err(_) => {
            WAITING.fetch_sub(1, Ordering::Relaxed);
            Default::default()
        }
    }
}

/// The texts of a list, each of which ends with a zero byte. One without it is cut.
fn strings(bytes: &[u8]) -> Vec<String> {
    let whole = bytes.iter().rposition(|byte| *byte == 0).and_then(|end| bytes.get(..end)).unwrap_or_default();
    let words = whole.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    if whole.is_empty() { Vec::new() } else { words.collect() }
}

/// The first value of each of these names, which is the one that getenv(3) finds.
fn variables(bytes: &[u8], names: &'static [&'static str]) -> Vec<(&'static str, String)> {
    let mut found = HashSet::new();
    let variables =
        bytes.split(|byte| *byte == 0).filter_map(|variable| std::str::from_utf8(variable).ok()?.split_once('='));
    let known =
        variables.filter_map(|(name, value)| Some((*names.iter().find(|known| **known == name)?, value.to_owned())));
    known.filter(|(name, _)| found.insert(*name)).collect()
}
