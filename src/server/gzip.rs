//! gzip of bodies, while they are written.
//!
//! A page is compressed in chunks that stay in a processor's cache, by a compressor that is kept from scrape to scrape.
//! Where the page is long and a processor is left, a thread beside the one that writes does it.
//!
//! # Promise
//! Nothing here runs on a thread of the runtime. One body holds at most [`BUFFERS`] chunks, and all bodies together start
//! at most one thread less than there are processors.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use flate2::{Compress, CompressError, Compression, FlushCompress, Status};

use crate::output::prometheus::PageBuffer;
use crate::sync::lock;

/// Bodies of at most this many bytes are not compressed: they fit into one or two packets.
const MINIMUM: usize = 1024;
/// Least bytes of a chunk: less than a processor's own cache, and far more than the window of 32 KiB.
const CHUNK: usize = 128 << 10;
/// ChunkStream of one body at a time: one is written, one waits, and one is compressed.
const BUFFERS: usize = 3;
/// Buffers of more bytes are not kept.
const BUFFER_MAXIMUM: usize = 8 * CHUNK;
/// Compressors that are kept, of 0.3 MiB each and their buffers.
const KEPT: usize = 2;
/// Least room for what the compressor gives out at a time.
const ROOM: usize = 16 << 10;
/// The window of 32 KiB, which every reader of gzip knows.
const WINDOW_BITS: u8 = 15;

/// What bodies are compressed with.
#[derive(Debug)]
pub(super) struct Compressors {
    kept: Mutex<Vec<Compressor>>,
    /// Threads that may still be started.
    free: AtomicUsize,
}

/// A compressor, and the buffers that its input was in.
#[derive(Debug)]
struct Compressor {
    level: u32,
    state: Compress,
    buffers: Vec<Vec<u8>>,
    out: Vec<u8>,
    failure: Option<CompressError>,
}

/// A body as it was compressed, or as it is because it is short.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compressed {
    Gzip(Vec<u8>),
    Short(Vec<u8>),
}

impl Default for Compressors {
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(processors.saturating_sub(1))
    }
}

impl Compressors {
    fn with_threads(free: usize) -> Self {
        Self { kept: Mutex::default(), free: AtomicUsize::new(free) }
    }

    /// Compresses what `write` writes behind `begin`, into the memory of `out`. Blocks.
    pub(super) fn compress<T>(
        &self,
        level: u32,
        begin: Vec<u8>,
        out: Vec<u8>,
        write: impl FnOnce(&mut PageBuffer<'_>) -> T,
    ) -> Result<(T, Compressed), CompressError> {
        let mut compressor = self.compressor(level);
        compressor.out = out;
        let begin = if begin.is_empty() { compressor.buffers.pop().unwrap_or_default() } else { begin };
        thread::scope(|scope| {
            let mut chunks = ChunkStream { scope, free: &self.free, taken: 0, here: Some(compressor), beside: None };
            let mut take = |chunk: &mut Vec<u8>| chunks.take(chunk);
            let mut page = PageBuffer::chunked(begin, CHUNK, &mut take);
            let result = write(&mut page);
            let rest = page.bytes;
            let is_short = chunks.taken == 0 && rest.len() <= MINIMUM;
            let mut compressor = chunks.end().unwrap_or_else(|| Compressor::new(level));
            if is_short {
                compressor.out = Vec::new();
                self.keep(compressor);
                return Ok((result, Compressed::Short(rest)));
            }
            compressor.add(&rest, FlushCompress::Finish);
            compressor.reuse(rest);
            if let Some(failure) = compressor.failure.take() {
                return Err(failure);
            }
            let body = std::mem::take(&mut compressor.out);
            compressor.state.reset();
            self.keep(compressor);
            Ok((result, Compressed::Gzip(body)))
        })
    }

    fn compressor(&self, level: u32) -> Compressor {
        let kept = lock(&self.kept).pop().filter(|compressor| compressor.level == level);
        kept.unwrap_or_else(|| Compressor::new(level))
    }

    fn keep(&self, compressor: Compressor) {
        let mut kept = lock(&self.kept);
        if kept.len() < KEPT {
            kept.push(compressor);
        }
    }
}

impl Compressor {
    fn new(level: u32) -> Self {
        let state = Compress::new_gzip(Compression::new(level), WINDOW_BITS);
        Self { level, state, buffers: Vec::new(), out: Vec::new(), failure: None }
    }

    /// Compresses all of `input`.
    fn add(&mut self, mut input: &[u8], flush: FlushCompress) {
        let finish = matches!(flush, FlushCompress::Finish);
        while self.failure.is_none() && (finish || !input.is_empty()) {
            self.out.reserve(ROOM);
            let before = self.state.total_in();
            match self.state.compress_vec(input, &mut self.out, flush) {
                Ok(Status::StreamEnd) => return,
                Ok(_) => {
                    let used = usize::try_from(self.state.total_in() - before).unwrap_or(usize::MAX);
                    input = input.get(used..).unwrap_or_default();
                }
                Err(failure) => self.failure = Some(failure),
            }
        }
    }

    /// Keeps a buffer for the next chunk or body.
    fn reuse(&mut self, mut buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS && buffer.capacity() <= BUFFER_MAXIMUM {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

/// The chunks of one body.
struct ChunkStream<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    free: &'env AtomicUsize,
    taken: usize,
    /// Compresses on the thread that writes, unless there is one beside it.
    here: Option<Compressor>,
    beside: Option<Beside<'scope>>,
}

/// A thread that compresses what another writes.
struct Beside<'scope> {
    full: SyncSender<Vec<u8>>,
    /// ChunkStream that are compressed, to be written again.
    done: Receiver<Vec<u8>>,
    /// Buffers that are not in use yet.
    spare: Vec<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, Compressor>,
}

/// One thread of those that may be started.
struct ThreadPermit<'a>(&'a AtomicUsize);

impl<'scope, 'env> ChunkStream<'scope, 'env> {
    /// Takes a chunk, and leaves an empty vector.
    fn take(&mut self, chunk: &mut Vec<u8>) {
        if self.taken == 0 {
            self.begin();
        }
        self.taken += 1;
        match (&mut self.beside, &mut self.here) {
            (Some(beside), _) => beside.take(chunk),
            (None, Some(compressor)) => {
                compressor.add(chunk, FlushCompress::None);
                chunk.clear();
            }
            (None, None) => {}
        }
    }

    /// The page is long: a thread takes over if one may be started.
    fn begin(&mut self) {
        let Some(permit) = ThreadPermit::of(self.free) else { return };
        let Some(mut compressor) = self.here.take() else { return };
        let (level, spare) = (compressor.level, std::mem::take(&mut compressor.buffers));
        let (full, chunks) = sync_channel::<Vec<u8>>(BUFFERS - 2);
        let (empty, done) = channel();
        let work = move || {
            let _until_the_end = permit;
            for chunk in chunks {
                compressor.add(&chunk, FlushCompress::None);
                // Whoever writes is done if it takes no buffer back.
                _ = empty.send(chunk);
            }
            compressor
        };
        match thread::Builder::new().name("gzip".to_owned()).spawn_scoped(self.scope, work) {
            Ok(thread) => self.beside = Some(Beside { full, done, spare, thread }),
            // The system has no thread left, and the compressor went with it.
            Err(_) => self.here = Some(Compressor::new(level)),
        }
    }

    /// The compressor, when it has compressed all chunks.
    fn end(self) -> Option<Compressor> {
        self.beside.map(Beside::end).or(self.here)
    }
}

impl Beside<'_> {
    fn take(&mut self, chunk: &mut Vec<u8>) {
        let mut empty = self.done.try_recv().ok().or_else(|| self.spare.pop()).unwrap_or_default();
        empty.clear();
        // The thread takes everything unless it panics, which `end` passes on.
        _ = self.full.send(std::mem::replace(chunk, empty));
    }

    fn end(self) -> Compressor {
        let Self { full, done, spare, thread } = self;
        drop(full);
        let mut compressor = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        done.into_iter().chain(spare).for_each(|buffer| compressor.reuse(buffer));
        compressor
    }
}

impl<'a> ThreadPermit<'a> {
    fn of(free: &'a AtomicUsize) -> Option<Self> {
        let less = |free: usize| free.checked_sub(1);
        free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok().map(|_| Self(free))
    }
}

impl Drop for ThreadPermit<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    /// A page of `chunks` chunks and a rest.
    fn page(chunks: usize) -> Vec<u8> {
        let lines = (0_u64..).map(|number| format!("jvm_up{{app=\"orders\"}} {}\n", number.wrapping_mul(0x9e37_79b9)));
        lines.flat_map(String::into_bytes).take(chunks * CHUNK + 2000).collect()
    }

    fn write(bytes: &[u8]) -> impl FnOnce(&mut PageBuffer<'_>) {
        move |page: &mut PageBuffer<'_>| {
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                page.bytes.extend_from_slice(line);
                page.complete();
            }
        }
    }

    fn unpacked(body: &Compressed) -> Vec<u8> {
        let Compressed::Gzip(bytes) = body else { panic!("not compressed: {body:?}") };
        let mut found = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut found).unwrap();
        found
    }

    #[test]
    fn a_page_of_any_length_reads_back_with_and_without_a_thread() {
        for threads in [0, 1] {
            let compressors = Compressors::with_threads(threads);
            for (chunks, level) in [(0, 1), (1, 1), (9, 1), (9, 6), (0, 9), (40, 2)] {
                let bytes = page(chunks);
                let ((), body) = compressors.compress(level, Vec::new(), Vec::new(), write(&bytes)).unwrap();
                assert!(unpacked(&body) == bytes, "{chunks} chunks at level {level} with {threads} threads");
                assert_eq!(compressors.free.load(Ordering::Relaxed), threads, "the permit is back");
            }
        }
    }

    #[test]
    fn short_bodies_are_not_compressed() {
        let compressors = Compressors::default();
        let compress = |length| compressors.compress(1, vec![b'a'; length], Vec::new(), |_| ()).unwrap().1;
        assert_eq!(compress(MINIMUM), Compressed::Short(vec![b'a'; MINIMUM]));
        let body = compress(MINIMUM + 1);
        assert_eq!(unpacked(&body), vec![b'a'; MINIMUM + 1]);
    }

    #[test]
    fn a_panic_of_the_writer_ends_the_thread() {
        let compressors = Compressors::with_threads(1);
        let broken = |page: &mut PageBuffer<'_>| {
            page.bytes.resize(2 * CHUNK, 0);
            page.complete();
            assert!(!page.bytes.is_empty(), "a panic that the test asks for");
        };
        let run = std::panic::AssertUnwindSafe(|| compressors.compress(1, Vec::new(), Vec::new(), broken));
        assert!(std::panic::catch_unwind(run).is_err());
        assert_eq!(compressors.free.load(Ordering::Relaxed), 1, "the permit is back");
        let ((), body) = compressors.compress(1, Vec::new(), Vec::new(), write(&page(3))).unwrap();
        assert!(unpacked(&body) == page(3));
    }
}
