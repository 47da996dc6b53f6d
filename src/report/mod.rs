//! The output of the subcommands `list`, `dump`, `explain`, `nmt` and `doctor`.

pub mod details;
pub mod doctor;
mod dump;
mod explain;
pub mod exporter;
pub mod findings;
pub mod list;
mod nmt;
pub mod overview;
mod subject;

pub use dump::{dump_json, dump_table};
pub use explain::explain;
pub(crate) use explain::explain_served;
pub use nmt::native_memory;
pub use subject::{ReportError, image};
