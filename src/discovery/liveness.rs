//! Whether the JVM of a region is alive.

use crate::perfdata::{Region, WriterState};
use crate::proc::Process;

/// Whether a JVM is alive, as far as the kernel can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It is alive.
    Alive,
    /// It is dead; a file that it left is stale.
    Dead,
    /// Its process is not visible and the lease probe has no answer; only counters that move can tell.
    Unknown,
}

/// Asks the process where it is visible, else the kernel whether some process has the region open for writing.
pub fn assess(process: Option<&Process>, region: &Region) -> Liveness {
    match process {
        Some(process) if process.is_alive() => Liveness::Alive,
        Some(_) => Liveness::Dead,
        None => match region.writer() {
            WriterState::Present => Liveness::Alive,
            WriterState::Absent => Liveness::Dead,
            WriterState::Unknown => Liveness::Unknown,
        },
    }
}
