//! How a process was started: its words, and chosen variables of its environment.
//!
//! The kernel reads both from the process's memory, which may hold the reader for ever (userfaultfd; pages of files are
//! refused since Linux 4.17).

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use super::stat::read;

/// Longest text that is read, in bytes: two of the longest words (MAX_ARG_STRLEN, 128 KiB).
const MAXIMUM: usize = 256 << 10;

/// The words of the process of this directory, and the values of those of these variables that it has. Empty where the
/// exporter may not read them; the environment is closed to other users without `CAP_SYS_PTRACE`.
pub(crate) fn words(directory: &OwnedFd, names: &'static [&'static str]) -> (Vec<String>, Vec<(&'static str, String)>) {
    let text = |name| read(directory, name, MAXIMUM).unwrap_or_default();
    (strings(&text("cmdline")), variables(&text("environ"), names))
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
