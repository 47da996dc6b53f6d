//! What a JVM is asked, and what is published of its answers.

use super::super::AttachCommand;
use crate::hotspot::{Collector, Model};

/// First release with `Compiler.codecache`.
const CODE_CACHE_SINCE: u32 = 11;

/// First release whose `GC.heap_info` has no metaspace, and whose `VM.metaspace basic` has whole kibibytes.
const METASPACE_APART_SINCE: u32 = 25;

/// What one JVM is asked: only what is better than its counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiagnosticPlan {
    /// In this order: the one that waits for a running collection comes last.
    pub(super) commands: Vec<AttachCommand>,
    /// The heap's pools, if the counters have their use late or not at all.
    pub(super) stale_pools: Vec<&'static str>,
    /// The counters lack the heap's maximum size.
    pub(super) wants_limit: bool,
}

impl DiagnosticPlan {
    /// The commands, in the order in which they are asked.
    pub fn commands(&self) -> &[AttachCommand] {
        &self.commands
    }

    /// What to ask the JVM of that region. Its flags are asked for only where they are not read from its memory.
    pub fn of(model: &Model, memory_read: bool) -> Self {
        let Some(feature) = model.jvm.feature.filter(|_| !model.jvm.native_image) else { return Self::default() };
        // The beans of G1 are no fresher than its counters.
        let is_fresh = model.heap.is_fresh() || model.jvm.collector == Some(Collector::G1);
        let stale_pools: Vec<_> = model.heap.pools.iter().filter(|_| !is_fresh).map(|pool| pool.name).collect();
        let metaspace_apart = feature >= METASPACE_APART_SINCE;
        let commands = [
            (AttachCommand::Flags, !memory_read),
            (AttachCommand::CodeCache, feature >= CODE_CACHE_SINCE),
            (AttachCommand::MetaspaceBasic, metaspace_apart),
            (AttachCommand::HeapInfo, !metaspace_apart || !stale_pools.is_empty()),
        ];
        Self {
            commands: commands.into_iter().filter_map(|(command, wanted)| wanted.then_some(command)).collect(),
            stale_pools,
            wants_limit: model.heap.limit.is_none(),
        }
    }
}
