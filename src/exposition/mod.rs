//! Snapshots written as Prometheus formats.
//!
//! A [`Page`] lays out all series of a profile once, when the set of JVMs or their counters changes: the text in front
//! of each value is rendered then, in output order. Writing walks it front to back, copies that text and formats the
//! numbers; this is what keeps a scrape near the cost of copying its bytes.

pub mod negotiate;
mod page;
pub mod protobuf;
mod text;

pub use negotiate::Format;
pub use page::{Page, Row};
pub use text::{finish, write_families, write_page};
