//! Where a page is written to, whole or in chunks.

use std::fmt;

/// A page while it is written. What is complete of a long page can be taken away before the rest is written.
#[derive(Default)]
pub struct PageBuffer<'a> {
    /// What is written and not taken away.
    pub bytes: Vec<u8>,
    chunks: Option<ChunkTaker<'a>>,
}

struct ChunkTaker<'a> {
    /// Least length of a chunk.
    minimum: usize,
    take: &'a mut dyn FnMut(&mut Vec<u8>),
}

impl<'a> PageBuffer<'a> {
    /// Collects the whole page behind these bytes.
    pub fn whole(bytes: Vec<u8>) -> Self {
        Self { bytes, chunks: None }
    }

    /// Gives every chunk of at least `minimum` bytes to `take`, which empties or replaces the vector. The rest stays.
    pub fn chunked(bytes: Vec<u8>, minimum: usize, take: &'a mut dyn FnMut(&mut Vec<u8>)) -> Self {
        Self { bytes, chunks: Some(ChunkTaker { minimum, take }) }
    }

    /// Everything that is written is complete: a long chunk is taken away.
    pub(crate) fn complete(&mut self) {
        if let Some(chunks) = &mut self.chunks
            && self.bytes.len() >= chunks.minimum
        {
            (chunks.take)(&mut self.bytes);
        }
    }
}

impl fmt::Debug for PageBuffer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageBuffer").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}
