//! When a JVM started: by its own word, or by the kernel's where that cannot be true.
//!
//! A JVM takes the wall clock once, when it starts; a clock that was wrong then leaves its word wrong for ever. The
//! kernel counts from boot. A process may run long before its JVM begins (a script that ends in `exec java`, a program
//! that embeds a JVM), so that the two need not agree: a JVM begins after its process, and before its VM Thread.

use std::time::UNIX_EPOCH;

use crate::proc::Process;
use crate::proc::handle::{ticks_since_boot, wall_clock};

/// Seconds between two accounts of a moment that are no contradiction: leap seconds, ticks, and small steps of a clock.
const TOLERANCE: f64 = 5.0;

/// Between which clock ticks since boot a JVM started.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartBounds {
    process: u64,
    vm_thread: Option<u64>,
}

impl StartBounds {
    /// Those of the JVM that runs in the process. HotSpot names the thread on every JDK (8 to 27, measured).
    pub(super) fn of(process: &Process) -> Self {
        Self { process: process.start_ticks, vm_thread: process.thread_start(b"VM Thread") }
    }

    /// The start in seconds since the epoch, where the JVM's own word lies outside of the bounds. An earlier result
    /// stays until the wall clock is set again.
    pub(super) fn corrected(&self, start_millis: i64, before: Option<f64>) -> Option<f64> {
        let seconds = |ticks| wall_clock(ticks).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let own = Some(start_millis).filter(|millis| *millis != 0)? as f64 / 1e3;
        let latest = self.vm_thread.unwrap_or_else(ticks_since_boot);
        if (seconds(self.process) - TOLERANCE..=seconds(latest) + TOLERANCE).contains(&own) {
            return None;
        }
        let kernel = seconds(self.vm_thread.unwrap_or(self.process));
        Some(before.filter(|before| (before - kernel).abs() <= TOLERANCE).unwrap_or(kernel))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_kernels_time_is_taken_where_the_jvms_own_is_impossible() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // A process of 100 s, whose JVM began 40 s ago.
        let ticks = ticks_since_boot();
        let bounds =
            StartBounds { process: ticks.saturating_sub(10_000), vm_thread: Some(ticks.saturating_sub(4_000)) };
        let native = StartBounds { vm_thread: None, ..bounds };
        let corrected = |bounds: StartBounds, age: f64| {
            bounds.corrected(((now - age) * 1e3) as i64, None).map(|start| (now - start).round())
        };
        for (age, jvm, native_image) in [
            (40.0, None, None),
            (99.0, None, None),
            (0.0, Some(40.0), None),
            (-3600.0, Some(40.0), Some(100.0)),
            (3600.0, Some(40.0), Some(100.0)),
        ] {
            assert_eq!((corrected(bounds, age), corrected(native, age)), (jvm, native_image), "{age} s ago");
        }
        assert_eq!(bounds.corrected(0, None), None, "it has no word of its own");
        assert_eq!(bounds.corrected(1, Some(now - 41.0)), Some(now - 41.0), "its series keep their beginning");
        assert_ne!(bounds.corrected(1, Some(now - 50.0)), Some(now - 50.0), "the clock was set again");
    }
}
