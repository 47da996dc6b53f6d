//! Does the JVM of a region still live?

use crate::perfdata::{Region, Writer};
use crate::proc::Process;

/// What is known about the life of a JVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It lives.
    Alive,
    /// It is dead: a file that is still there is stale.
    Dead,
    /// Neither its process nor the kernel's lease answers; only counters that move can tell.
    Unknown,
}

/// Asks the process if it is visible, otherwise the kernel whether anybody still holds the region open for writing.
pub fn assess(process: Option<&Process>, region: &Region) -> Liveness {
    match process {
        Some(process) if process.is_alive() => Liveness::Alive,
        Some(_) => Liveness::Dead,
        None => match region.writer() {
            Writer::Present => Liveness::Alive,
            Writer::Absent => Liveness::Dead,
            Writer::Unknown => Liveness::Unknown,
        },
    }
}
