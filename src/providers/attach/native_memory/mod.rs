//! Native Memory Tracking: what a JVM reports about its own memory.

mod parse;
mod query;
mod record;
mod summary;
mod table;

pub use parse::{CATEGORY_MAXIMUM, parse};
pub use query::query;
pub(super) use record::NmtRecord;
pub use record::NmtState;
pub use summary::{Category, NmtReply, NmtSummary};
pub use table::table;
