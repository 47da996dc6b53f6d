//! Native Memory Tracking against listeners that misbehave, and against real JVMs.
//!
//! Real JVMs get a `/tmp` of their own in a mount namespace, which needs root and `unshare`; without them, and for
//! every JDK that is not installed, a test prints that it was skipped.

mod decoy;
mod fakes;
mod jvm;
mod live;
mod namespaces;
mod stopped;
use std::time::{Duration, Instant};

use hotspot_exporter::config::NmtMode;
use hotspot_exporter::providers::nmt::attach::{Capabilities, ask};
use hotspot_exporter::providers::nmt::{Answer, AttachError, Attachable, Summary};

/// Asks once, with a deadline that no healthy JVM misses.
fn ask_once(target: &Attachable, mode: NmtMode) -> Result<Answer, AttachError> {
    ask(target, mode, &mut Capabilities::default(), Instant::now() + Duration::from_secs(20))
}

fn summary(outcome: Result<Answer, AttachError>) -> Summary {
    match outcome {
        Ok(Answer::Summary(summary)) => *summary,
        other => panic!("expected a summary, found {other:?}"),
    }
}

/// Waits until `condition` holds.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
