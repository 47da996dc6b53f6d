//! What a JVM keeps in fields of its own, read from the memory of its process: what its counters lack, or have late.
//!
//! HotSpot describes its own structures for debuggers (vmStructs); [`HotSpotMemory`](crate::discovery::HotSpotMemory)
//! finds fields by their names. Reading stops nothing and changes nothing in the JVM. Each reader of this module is made
//! once for a JVM, from the names that its JDK has, and reads one fact per pass.
//!
//! # Promise
//! The memory is hostile: lengths and loops are bounded, and a value that contradicts another is absent and counted
//! (`introspection.rejected`), never published. A page that never answers holds a thread of this module, which is given
//! up, and its JVM with it for good; never a scrape, a scan, the sampler or another JVM. No JVM takes more than a fiftieth
//! of a CPU, whatever it has us look at. Releases that were not tested are left alone unless `introspection.mode` is
//! `force`.

mod buffers;
mod class_loaders;
mod code_heaps;
mod fields;
mod flags;
mod heap;
mod held;
mod humongous;
mod jvm;
pub mod objects;
mod open_jvm;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
mod planted;
mod publish;
mod rota;
mod threads;

use std::sync::Arc;

use crate::config::{Introspection, IntrospectionMode};
use crate::discovery::HotSpotFinder;
use crate::sync::ExpendableThread;
use crate::targets::guarded::PATIENCE;
pub(crate) use jvm::{IntrospectedJvm, IntrospectionSubject};
use rota::Rota;

/// Reads JVMs in the background. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct Introspector {
    settings: Introspection,
    rota: Arc<Rota>,
}

impl Introspector {
    /// One without JVMs, and so without threads; `None` where introspection is off, and where no descriptor is left, which
    /// is logged.
    pub(crate) fn new(settings: &Introspection) -> Option<Self> {
        if settings.mode == IntrospectionMode::Off {
            return None;
        }
        let rota = Rota::new().inspect_err(|error| {
            tracing::error!(%error, "cannot make a timer; what is read in JVMs' memory is absent");
        });
        Some(Self { settings: settings.clone(), rota: Arc::new(rota.ok()?) })
    }

    /// Reads a JVM for as long as the result is held.
    pub(crate) fn add(&self, subject: IntrospectionSubject) -> Arc<IntrospectedJvm> {
        let jvm = Arc::new(IntrospectedJvm::new(subject, &self.settings, Arc::clone(&self.rota.held)));
        self.rota.add(&jvm);
        jvm
    }
}

/// Reads a JVM once and at once, on a thread that is given up if it is held.
pub(crate) fn read_once(subject: IntrospectionSubject, settings: &Introspection) -> Arc<IntrospectedJvm> {
    let jvm = Arc::new(IntrospectedJvm::new(subject, settings, Arc::default()));
    if jvm.due().is_some() {
        let reading = Arc::clone(&jvm);
        let read = move || reading.update(&HotSpotFinder::default());
        if ExpendableThread::new("memory-reader").call(read, PATIENCE, || true).is_none() {
            jvm.give_up();
        }
    }
    jvm
}

impl Drop for Introspector {
    fn drop(&mut self) {
        self.rota.stop();
    }
}
