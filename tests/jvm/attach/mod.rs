//! Questions over attach sockets to listeners that misbehave, and to real JVMs.
//!
//! Real JVMs get a `/tmp` of their own in a mount namespace, which needs root and `unshare`; without them, and for
//! every JDK that is not installed, a test prints that it was skipped.

mod decoy;
mod diagnostics;
mod fakes;
mod jvm;
mod live;
mod namespaces;
mod stopped;
mod topics;
use std::time::{Duration, Instant};

use hotspot_exporter::config::AttachMode;
use hotspot_exporter::providers::attach::native_memory::{NmtReply, NmtSummary, query};
use hotspot_exporter::providers::attach::{AttachError, Attachable, Capabilities};

/// Queries once, with a deadline that no healthy JVM misses.
fn query_once(attachable: &Attachable, mode: AttachMode) -> Result<NmtReply, AttachError> {
    query(attachable, mode, &mut Capabilities::default(), Instant::now() + Duration::from_secs(20))
}

fn summary(outcome: Result<NmtReply, AttachError>) -> NmtSummary {
    match outcome {
        Ok(NmtReply::Summary(summary)) => *summary,
        other => panic!("expected a summary, found {other:?}"),
    }
}

/// Waits until `condition` holds.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
