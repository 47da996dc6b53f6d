//! Everything that `source:` may name, whoever knows it.

use crate::hotspot::{self, SourceInfo};
use crate::{nmt, process, sampler};

/// The facts of the region, of the sampler, of Native Memory Tracking and of the process.
pub fn sources() -> impl Iterator<Item = &'static SourceInfo> {
    [hotspot::SOURCES, sampler::SOURCES, nmt::SOURCES, process::SOURCES].into_iter().flatten()
}

/// The source of that name.
pub fn source(name: &str) -> Option<&'static SourceInfo> {
    sources().find(|source| source.name == name)
}
