//! Who provides facts of a JVM beside its region: the sampler, Native Memory Tracking, the kernel.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, Weak};

use super::{Fact, ProviderId};
use crate::metric::Value;
use crate::sync::lock;

/// What a provider publishes: facts whose formulas are cells of that provider, and one value per cell.
pub type Reading = (Arc<[Fact]>, Vec<Option<Value>>);

/// The facts as an `Arc` that all JVMs with equal facts have in common: a thousand of a kind hold them once.
pub fn share(facts: Vec<Fact>) -> Arc<[Fact]> {
    static SHARED: Mutex<Vec<Weak<[Fact]>>> = Mutex::new(Vec::new());
    let mut shared = lock(&SHARED);
    shared.retain(|other| other.strong_count() > 0);
    if let Some(same) = shared.iter().filter_map(Weak::upgrade).find(|other| **other == *facts) {
        return same;
    }
    let facts: Arc<[Fact]> = facts.into();
    shared.push(Arc::downgrade(&facts));
    facts
}

/// A provider, whose it is, and the facts from which plans were made.
pub type Attached = (ProviderId, Arc<dyn Provider>, Arc<[Fact]>);

/// Values that another part of the program has for one JVM: NMT, /proc, the sampler.
pub trait Provider: Debug + Send + Sync {
    /// The facts and their values now, cell by cell. Must not block on the JVM, a file or a socket. The same facts are
    /// given as the same `Arc`: a new one makes the JVM's plan anew.
    fn read(&self) -> Reading;
}
