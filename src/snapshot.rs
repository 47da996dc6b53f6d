//! One moment of every JVM, from which all outputs of that moment are written.

use std::fmt::Debug;
use std::sync::Arc;

use crate::hotspot::Fact;
use crate::metric::Value;

/// What a board publishes: facts whose formulas are cells of that board, and one value per cell.
pub type Reading = (Arc<[Fact]>, Vec<Option<Value>>);

/// Values that another part of the program has for one JVM: NMT, /proc, the sampler.
pub trait Board: Debug + Send + Sync {
    /// The facts and their values now, cell by cell. Must not block on the JVM, a file or a socket. The same facts are
    /// given as the same `Arc`: a new one makes the JVM's plan anew.
    fn read(&self) -> Reading;
}
