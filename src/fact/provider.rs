//! Providers of facts that are not in a JVM's region: the sampler, Native Memory Tracking, the kernel.

use std::fmt::Debug;
use std::sync::Arc;

use super::{Fact, Interner, ProviderId};
use crate::metric::Value;

/// What a provider publishes: its facts, and one value for each, in the same order. Every formula is
/// [`Formula::Published`](super::Formula::Published) with the provider's id and the fact's index.
pub type Reading = (Arc<[Fact]>, Vec<Option<Value>>);

/// Publishes values of one JVM that are not in its region.
pub trait Provider: Debug + Send + Sync {
    /// The facts and their current values. Must not block on the JVM, a file or a socket. Unchanged facts are returned
    /// as the same `Arc`: a new one causes a new plan for the JVM.
    fn read(&self) -> Reading;

    /// The same; the values of other facts than those of the `wanted` indexes, which ascend, may be absent.
    fn read_some(&self, wanted: &[u32]) -> Reading {
        let _ = wanted;
        self.read()
    }

    /// The facts alone, for whoever looks for new ones in every JVM.
    fn facts(&self) -> Arc<[Fact]> {
        self.read().0
    }

    /// The pauses of collectors that ended since the last call; `None` from a provider that measures none.
    fn take_pauses(&self) -> Option<PauseBatch> {
        None
    }

    /// Whether the kernel has counted a kill for lack of memory where the JVM was, since the provider looked last: asked
    /// once the JVM has ended; may take as long as reading a file that does not answer is waited for.
    fn counts_oom_kill(&self) -> Option<bool> {
        None
    }
}

/// Pauses that ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PauseBatch {
    /// Seconds of the longest of all, 0 without any.
    pub longest: f32,
    /// The longest ones.
    pub pauses: Vec<CompletedPause>,
}

/// A pause that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompletedPause {
    /// How long ago.
    pub millis_ago: u32,
    /// How long it was.
    pub seconds: f32,
}

/// A provider of one JVM.
#[derive(Clone, Debug)]
pub(crate) struct AttachedProvider {
    pub(crate) id: ProviderId,
    pub(crate) provider: Arc<dyn Provider>,
    /// The facts from which the JVM's plans were made.
    pub(crate) facts: Arc<[Fact]>,
}

/// The one copy of these facts, shared by all JVMs with equal facts: a thousand JVMs of one kind hold them once.
pub(crate) fn intern(facts: Vec<Fact>) -> Arc<[Fact]> {
    static FACTS: Interner<Fact> = Interner::new();
    FACTS.intern(facts)
}
