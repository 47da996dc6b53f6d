//! JVMs without a readable file, found in their memory.
//!
//! `-XX:+PerfDisableSharedMem`, a user without passwd entry, a `/tmp` shared by containers: the JVM makes no file then,
//! but keeps the same counters in memory of its own. Where the kernel lets us read that, its refusal is taken back.

mod libjvm;
mod vm_structs;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::correlate::{age, user_name};
use super::explain::STARTING;
use super::open::Opener;
use super::procfs::Procfs;
use super::refusal::{Refusal, RefusalReason};
use super::survey::ScanState;
use super::{Candidate, RegionId, RegionSource};
use crate::metric::Labels;
use crate::perfdata::{MemoryError, ProcessMemory};
use crate::proc::Process;
use crate::proc::handle::ticks_since_boot;
use crate::proc::maps::Mappings;
use crate::proc::stat::{HERTZ, STATUS_MAXIMUM, read_text};
use libjvm::Libraries;
use vm_structs::{PerfMemory, locate};

/// A process whose counters were not found is looked at again when it is twice as old, or after this many seconds.
const LONGEST_REST: u64 = 600;

/// What is known of the memory of processes from one scan to the next.
#[derive(Debug, Default)]
pub(super) struct Memories {
    libraries: Libraries,
    seen: HashMap<i32, Seen>,
    scan: u64,
}

#[derive(Debug)]
struct Seen {
    start_ticks: u64,
    outcome: Result<PerfMemory, Obstacle>,
    /// Clock ticks since boot.
    look_again: u64,
    scan: u64,
}

/// Why the memory of a JVM is not read. The texts follow "its memory cannot be read either: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Obstacle {
    #[error("its map cannot be read ({0})")]
    Map(Errno),
    #[error("it has no libjvm.so, as a native image; only its file can be read")]
    NoLibrary,
    #[error(transparent)]
    Library(#[from] libjvm::MemoryFault),
    #[error("{0}")]
    Denied(&'static str),
    #[error(transparent)]
    Structs(vm_structs::MemoryFault),
}

impl Memories {
    /// Makes candidates of the JVMs whose refusal can be taken back, and says of the others why not.
    pub(super) fn rescue(&mut self, survey: &mut ScanState<'_>, procfs: &Procfs) {
        self.scan = self.scan.wrapping_add(1);
        for mut refused in std::mem::take(&mut survey.refused) {
            let process = refused.refusal.pid.filter(|_| may_be_rescued(&refused.refusal));
            let outcome = process.and_then(|pid| procfs.jvm(pid)).map(|process| self.find(survey, procfs, &process));
            match outcome {
                Some(Ok(candidate)) => {
                    survey.push(candidate);
                    continue;
                }
                // It ended while it was looked at.
                Some(Err((process, _))) if !process.is_alive() => continue,
                Some(Err((process, obstacle))) => blame(&mut refused.refusal, &process, &obstacle),
                None => {}
            }
            survey.refused.push(refused);
        }
        let scan = self.scan;
        self.seen.retain(|_, seen| seen.scan == scan);
    }

    fn find(
        &mut self,
        survey: &ScanState<'_>,
        procfs: &Procfs,
        process: &Arc<Process>,
    ) -> Result<Candidate, (Arc<Process>, Obstacle)> {
        let now = ticks_since_boot();
        let id = |found: PerfMemory| RegionId::Memory {
            pid: process.pid,
            start_ticks: process.start_ticks,
            address: found.start,
        };
        // A process that executes another program keeps number and start: only what the caller still reads is known.
        let current = self.seen.get_mut(&process.pid).filter(|seen| {
            seen.start_ticks == process.start_ticks
                && match &seen.outcome {
                    Ok(found) => survey.is_known(id(*found)),
                    Err(_) => now < seen.look_again,
                }
        });
        let outcome = match current {
            Some(seen) => {
                seen.scan = self.scan;
                seen.outcome.clone().map(|found| (found, None))
            }
            None => {
                let outcome = self.look(survey.opener, procfs, process);
                let rest = match &outcome {
                    // Of descriptors or memory there are enough again soon.
                    Err(Obstacle::Structs(vm_structs::MemoryFault::ProcessMemory(MemoryError::Os(_)))) => 0,
                    _ => now.saturating_sub(process.start_ticks).min(LONGEST_REST.saturating_mul(HERTZ)),
                };
                let seen = Seen {
                    start_ticks: process.start_ticks,
                    outcome: outcome.as_ref().map(|(found, _)| *found).map_err(Obstacle::clone),
                    look_again: now.saturating_add(rest),
                    scan: self.scan,
                };
                self.seen.insert(process.pid, seen);
                outcome.map(|(found, memory)| (found, Some(memory)))
            }
        };
        let (found, memory) = outcome.map_err(|obstacle| (Arc::clone(process), obstacle))?;
        let memory = memory.filter(|_| !survey.is_known(id(found)));
        Ok(Candidate {
            path: procfs.path().join(process.pid.to_string()).join("mem"),
            source: memory.map(|memory| RegionSource::Memory { memory, start: found.start, length: found.capacity }),
            id: id(found),
            owner: process.uid,
            vpid: process.vpid,
            user: user(survey.opener, procfs, process).unwrap_or_else(|| process.uid.to_string()),
            labels: Labels::default(),
            process: Some(Arc::clone(process)),
            linked: true,
        })
    }

    fn look(
        &mut self,
        opener: &Opener,
        procfs: &Procfs,
        process: &Process,
    ) -> Result<(PerfMemory, ProcessMemory), Obstacle> {
        let directory = procfs.directory(process).map_err(Obstacle::Map)?;
        let maps = openat(&directory, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let maps = Mappings::read(File::from(maps.map_err(Obstacle::Map)?));
        let maps = maps.map_err(|error| Obstacle::Map(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let library = maps.library.ok_or(Obstacle::NoLibrary)?;
        let symbols = self.libraries.symbols(opener, &directory, &library)?;
        let memory = ProcessMemory::open(&directory).map_err(|error| match error {
            MemoryError::Denied => Obstacle::Denied(denial(procfs)),
            error => Obstacle::Structs(error.into()),
        })?;
        let found = locate(&memory, library.base, &symbols).map_err(Obstacle::Structs)?;
        Ok((found, memory))
    }
}

/// Whether the process may have counters in spite of that refusal.
fn may_be_rescued(refusal: &Refusal) -> bool {
    !matches!(refusal.reason, RefusalReason::NotReady | RefusalReason::NotHotspot | RefusalReason::PerfDisabled)
}

/// Adds to a refusal why the memory is not read.
fn blame(refusal: &mut Refusal, process: &Process, obstacle: &Obstacle) {
    if *obstacle == Obstacle::Structs(vm_structs::MemoryFault::NotInitialized) {
        let (reason, detail) = if age(process) < STARTING {
            (RefusalReason::NotReady, "it is starting; the next scan looks again")
        } else {
            let detail = "it keeps no counters: -XX:-UsePerfData, in JAVA_TOOL_OPTIONS or an argument file; remove it";
            (RefusalReason::PerfDisabled, detail)
        };
        *refusal = Refusal::of_pid(process.pid, reason, detail);
    } else {
        refusal.detail = format!("{}; its memory cannot be read either: {obstacle}", refusal.detail);
    }
}

/// What stands between the exporter and a process whose map it may read: of the two only reading memory takes the
/// right to attach.
fn denial(procfs: &Procfs) -> &'static str {
    match read_text(procfs.root(), "sys/kernel/yama/ptrace_scope", STATUS_MAXIMUM).unwrap_or_default().trim() {
        "1" | "2" => "kernel.yama.ptrace_scope forbids it; grant CAP_SYS_PTRACE",
        "3" => "kernel.yama.ptrace_scope is 3, which nothing overrides; boot with a lower one",
        _ => "the kernel forbids to open /proc/PID/mem, by user, capability or security module; grant CAP_SYS_PTRACE",
    }
}

/// The name of the process's user, by the passwd file of its own root.
fn user(opener: &Opener, procfs: &Procfs, process: &Process) -> Option<String> {
    let directory = procfs.directory(process).ok()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(&directory, Path::new("root"), flags, Mode::empty()).ok()?;
    user_name(opener, &directory, &root, process.uid)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_denial_names_what_denies() {
        let directory = tempfile::tempdir().unwrap();
        let yama = directory.path().join("sys/kernel/yama");
        std::fs::create_dir_all(&yama).unwrap();
        for (scope, expected) in [
            ("0\n", "forbids to open /proc/PID/mem"),
            ("1\n", "ptrace_scope forbids it; grant CAP_SYS_PTRACE"),
            ("2\n", "ptrace_scope forbids it; grant CAP_SYS_PTRACE"),
            ("3\n", "ptrace_scope is 3"),
        ] {
            std::fs::write(yama.join("ptrace_scope"), scope).unwrap();
            let text = denial(&Procfs::new(directory.path()).unwrap());
            assert!(text.contains(expected), "{scope} {text}");
        }
    }
}
