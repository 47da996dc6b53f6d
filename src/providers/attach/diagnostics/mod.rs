//! What a JVM tells about its heap, metaspace, code heaps and flags: what its counters lack or tell late.

mod code_cache;
mod flags;
mod heap_info;
mod metaspace;
mod plan;
mod query;
mod record;
#[cfg(test)]
mod tests;
mod text;

pub use code_cache::{CODE_HEAPS_MAXIMUM, CodeCacheReply, CodeHeapReply, parse_code_cache};
pub use flags::{FlagReply, parse_flags};
pub use heap_info::{HeapReply, PoolReply, parse_heap_info};
pub use metaspace::{MetaspaceReply, MetaspaceSize, parse_metaspace};
pub use plan::DiagnosticPlan;
pub use query::{DiagnosticOutcomes, DiagnosticReply, query};
pub(super) use record::DiagnosticRecord;
pub use record::DiagnosticState;
