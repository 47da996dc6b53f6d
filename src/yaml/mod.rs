//! YAML with positions: a document whose every node knows its line and column, decoders that report every problem of a
//! file at once, sections whose keys are declared once, and a fingerprint that changes
//! with files.

pub(crate) mod codec;
pub(crate) mod decode;
pub(crate) mod document;
mod file;
mod fingerprint;
mod problem;
pub(crate) mod section;

pub(crate) use file::read_file;
pub(crate) use fingerprint::Fingerprint;
pub use problem::{Problem, Problems};
