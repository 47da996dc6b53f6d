//! JVMs without a readable file, found in their memory.
//!
//! With `-XX:+PerfDisableSharedMem`, a user without passwd entry or a `/tmp` shared by containers, a JVM creates no file,
//! but keeps the same counters in memory of its own. Where the kernel lets the exporter read that memory, the JVM's
//! refusal is withdrawn.

mod hotspot_memory;
mod libjvm;
mod structures;
mod vm_structs;

use std::borrow::Cow;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::correlate::user_name;
use super::diagnosis::STARTING;
use super::open::Opener;
use super::processes::ProcessScanner;
use super::refusal::{Refusal, RefusalReason};
use super::scan_state::ScanState;
use super::{Candidate, RegionId, RegionSource};
use crate::metric::Labels;
use crate::perfdata::{MemoryError, ProcessMemory, REGION_MAXIMUM};
use crate::proc::Process;
use crate::proc::handle::ticks_since_boot;
use crate::proc::maps::Mappings;
use crate::proc::stat::{STATUS_MAXIMUM, USER_HZ, read_text};
pub(crate) use hotspot_memory::{HotSpotFinder, HotSpotMemory, Implausible, object};
use libjvm::{Libraries, LibraryError};
use structures::StructuresError;
use vm_structs::{PerfMemory, VmStructsError, locate};

/// Longest time in seconds until a process whose counters were not found is searched again; before that, it is once its
/// age has doubled.
const LONGEST_DELAY: u64 = 600;

/// Searches the memory of processes, and remembers the results from one scan to the next.
#[derive(Debug, Default)]
pub(super) struct MemoryScanner {
    libraries: Libraries,
    records: HashMap<i32, MemoryRecord>,
    scan: u64,
}

/// The result of the last search in one process.
#[derive(Debug)]
struct MemoryRecord {
    start_ticks: u64,
    outcome: Result<PerfMemory, Obstacle>,
    /// When a failed search is repeated, in clock ticks since boot.
    due: u64,
    /// The last scan that asked for it.
    scan: u64,
}

/// Why the counters in a JVM's memory cannot be read. The texts follow "its memory cannot be read either: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Obstacle {
    #[error("its map cannot be read ({0})")]
    Map(Errno),
    #[error("it has no libjvm.so, as a native image")]
    NoLibrary,
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// By Yama's `ptrace_scope`, where that is the cause.
    #[error("the kernel denies access to /proc/PID/mem{}", scope_text(.0))]
    Denied(Option<u8>),
    #[error(transparent)]
    Structs(VmStructsError),
    #[error(transparent)]
    Structures(StructuresError),
}

fn scope_text(scope: &Option<u8>) -> String {
    scope.map_or_else(String::new, |scope| format!(" (kernel.yama.ptrace_scope is {scope})"))
}

impl Obstacle {
    /// What makes the memory readable, as a clause in the imperative; `None` where nothing does.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Denied(Some(3)) => Some("boot with a kernel.yama.ptrace_scope below 3"),
            Self::Denied(_) => Some("grant the exporter CAP_SYS_PTRACE"),
            Self::Library(LibraryError::Open(_)) => Some(
                "grant the exporter CAP_SYS_PTRACE, and CAP_CHECKPOINT_RESTORE if libjvm.so was replaced after the JVM had started",
            ),
            Self::Structs(VmStructsError::Capacity(size)) if *size > REGION_MAXIMUM => {
                Some("start the JVM with -XX:PerfDataMemorySize of at most 32M")
            }
            Self::Map(_) | Self::NoLibrary | Self::Library(_) | Self::Structs(_) | Self::Structures(_) => None,
        }
    }
}

impl MemoryScanner {
    /// Withdraws the refusals of JVMs whose counters it finds, and adds to those of the others why they cannot be read.
    pub(super) fn resolve(&mut self, state: &mut ScanState<'_>, processes: &mut ProcessScanner) {
        self.scan = self.scan.wrapping_add(1);
        for mut refused in std::mem::take(&mut state.refused) {
            let pid = refused.refusal.pid.filter(|_| may_have_counters(&refused.refusal));
            if let Some(process) = pid.and_then(|pid| processes.jvm(pid)) {
                if !processes.enter(process.pid, process.start_ticks) {
                    continue;
                }
                match self.find(state, processes, &process) {
                    Ok(candidate) => {
                        state.push(candidate);
                        continue;
                    }
                    // It ended during the search.
                    Err(_) if !process.is_alive() => continue,
                    Err(obstacle) => annotate(&mut refused.refusal, &process, &obstacle),
                }
            }
            state.refused.push(refused);
        }
        let scan = self.scan;
        self.records.retain(|_, record| record.scan == scan);
    }

    fn find(
        &mut self,
        state: &ScanState<'_>,
        processes: &ProcessScanner,
        process: &Arc<Process>,
    ) -> Result<Candidate, Obstacle> {
        let now = ticks_since_boot();
        let id = |found: PerfMemory| RegionId::Memory {
            pid: process.pid,
            start_ticks: process.start_ticks,
            address: found.start,
        };
        // A process that executes another program keeps number and start: a result counts only while the caller reads
        // that region.
        let current = self.records.get_mut(&process.pid).filter(|record| {
            record.start_ticks == process.start_ticks
                && match &record.outcome {
                    Ok(found) => state.is_known(id(*found)),
                    Err(_) => now < record.due,
                }
        });
        let (found, memory) = match current {
            Some(record) => {
                record.scan = self.scan;
                (record.outcome.clone()?, None)
            }
            None => {
                let outcome = self.search(state.opener, processes, process);
                let delay = match &outcome {
                    // A lack of descriptors or memory passes soon.
                    Err(Obstacle::Structs(VmStructsError::ProcessMemory(MemoryError::Os(_)))) => 0,
                    _ => now.saturating_sub(process.start_ticks).min(LONGEST_DELAY.saturating_mul(USER_HZ)),
                };
                let record = MemoryRecord {
                    start_ticks: process.start_ticks,
                    outcome: outcome.as_ref().map(|(found, _)| *found).map_err(Obstacle::clone),
                    due: now.saturating_add(delay),
                    scan: self.scan,
                };
                self.records.insert(process.pid, record);
                let (found, memory) = outcome?;
                (found, Some(memory))
            }
        };
        let memory = memory.filter(|_| !state.is_known(id(found)));
        Ok(Candidate {
            path: processes.path.join(process.pid.to_string()).join("mem"),
            source: memory.map(|memory| RegionSource::Memory { memory, start: found.start, length: found.capacity }),
            id: id(found),
            owner: process.uid,
            vpid: process.vpid,
            user: user(state.opener, process).unwrap_or_else(|| process.uid.to_string()),
            labels: Labels::default(),
            process: Some(Arc::clone(process)),
            linked: true,
            orphaned: false,
        })
    }

    fn search(
        &mut self,
        opener: &Opener,
        processes: &ProcessScanner,
        process: &Process,
    ) -> Result<(PerfMemory, ProcessMemory), Obstacle> {
        let directory = process.directory();
        let library = Mappings::read(directory).map_err(Obstacle::Map)?.library.ok_or(Obstacle::NoLibrary)?;
        let (_, symbols) = self.libraries.symbols(opener, process, &library)?;
        let memory = ProcessMemory::open(directory).map_err(|error| match error {
            MemoryError::Denied => Obstacle::Denied(ptrace_scope(&processes.root)),
            error => Obstacle::Structs(error.into()),
        })?;
        let found = locate(&memory, library.base, &symbols).map_err(Obstacle::Structs)?;
        Ok((found, memory))
    }
}

/// Whether the process may have counters in spite of that refusal.
fn may_have_counters(refusal: &Refusal) -> bool {
    !matches!(refusal.reason, RefusalReason::NotReady | RefusalReason::NotHotspot | RefusalReason::PerfDisabled)
}

/// Adds to a refusal why the memory cannot be read, and what would make it readable.
fn annotate(refusal: &mut Refusal, process: &Process, obstacle: &Obstacle) {
    if *obstacle == Obstacle::Structs(VmStructsError::NotInitialized) {
        *refusal = if process.age() < STARTING {
            Refusal::of_pid(process.pid, RefusalReason::NotReady, "the JVM is starting")
        } else {
            let detail = "it keeps no counters: it runs with -XX:-UsePerfData";
            Refusal::of_pid(process.pid, RefusalReason::PerfDisabled, detail)
                .with_remedy("Remove -XX:-UsePerfData from JAVA_TOOL_OPTIONS or the JVM's argument files.")
        };
        return;
    }
    refusal.detail = format!("{}; its memory cannot be read either: {obstacle}", refusal.detail);
    if let Some(alternative) = obstacle.remedy() {
        refusal.remedy = Cow::Owned(format!("{}, or {alternative}.", refusal.remedy.trim_end_matches('.')));
    }
}

/// Yama's `ptrace_scope`, if it forbids to read the memory of a process whose map may be read.
fn ptrace_scope(procfs: impl AsFd) -> Option<u8> {
    let text = read_text(procfs, "sys/kernel/yama/ptrace_scope", STATUS_MAXIMUM).ok()?;
    text.trim().parse().ok().filter(|scope| *scope > 0)
}

/// The name of the process's user, by the passwd file of its own root.
fn user(opener: &Opener, process: &Process) -> Option<String> {
    user_name(opener, process, &process.root().ok()?)?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use super::*;

    #[test]
    fn a_denial_names_its_cause_and_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let yama = directory.path().join("sys/kernel/yama");
        std::fs::create_dir_all(&yama).unwrap();
        for (scope, detail, remedy) in [
            ("0\n", "denies access to /proc/PID/mem", "grant the exporter CAP_SYS_PTRACE"),
            ("1\n", "ptrace_scope is 1)", "grant the exporter CAP_SYS_PTRACE"),
            ("2\n", "ptrace_scope is 2)", "grant the exporter CAP_SYS_PTRACE"),
            ("3\n", "ptrace_scope is 3)", "boot with"),
        ] {
            std::fs::write(yama.join("ptrace_scope"), scope).unwrap();
            let obstacle = Obstacle::Denied(ptrace_scope(std::fs::File::open(directory.path()).unwrap()));
            assert!(obstacle.to_string().ends_with(detail), "{scope} {obstacle}");
            assert!(obstacle.remedy().unwrap().starts_with(remedy), "{scope} {obstacle:?}");
        }
    }

    #[test]
    fn a_refusal_gains_the_remedy_of_its_obstacle() {
        let process = Process::open(Path::new("/proc"), i32::try_from(std::process::id()).unwrap()).unwrap();
        let too_large = REGION_MAXIMUM + 1;
        for (obstacle, remedy) in [
            (Obstacle::Denied(None), "Add an entry, or grant the exporter CAP_SYS_PTRACE."),
            (Obstacle::NoLibrary, "Add an entry."),
            (
                Obstacle::Structs(VmStructsError::Capacity(too_large)),
                "Add an entry, or start the JVM with -XX:PerfDataMemorySize of at most 32M.",
            ),
        ] {
            let mut refusal = Refusal::of_pid(7, RefusalReason::NoPasswdEntry, "no entry").with_remedy("Add an entry.");
            annotate(&mut refusal, &process, &obstacle);
            assert_eq!(refusal.detail, format!("no entry; its memory cannot be read either: {obstacle}"));
            assert_eq!(refusal.remedy, remedy);
        }
    }
}
