//! The text of `Compiler.codecache`, JDK 11 to 27 (`CodeCache::print_summary`).
//!
//! # Promise
//! Any text is legal input. Parsing never panics, reads each line once, keeps at most [`CODE_HEAPS_MAXIMUM`] heaps, and
//! skips lines that it does not know. What is not printed, or fails its check, is absent. Addresses are used for
//! differences only.

use super::text::{extent, number_after};
use crate::hotspot::CODE_HEAP_NAMES;

/// Most code heaps that are kept; JDK 27 has at most four.
pub const CODE_HEAPS_MAXIMUM: usize = 8;

/// A reply to `Compiler.codecache`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeCacheReply {
    /// In the order of the text; each name once.
    pub heaps: Vec<CodeHeapReply>,
    /// Compiled methods.
    pub nmethods: Option<u64>,
    /// How often a heap was full.
    pub full: Option<u64>,
    /// Whether the JVM compiles.
    pub compiling: Option<bool>,
}

/// A code heap, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeHeapReply {
    /// The name of its MemoryPoolMXBean: `CodeHeap 'non-nmethods'`, or `CodeCache` where there is only one.
    pub name: Box<str>,
    /// Memory in use, rounded down to kibibytes by the JVM.
    pub used: u64,
    /// Memory committed.
    pub committed: u64,
    /// Maximum size.
    pub limit: u64,
}

/// Parses the text of a reply.
pub fn parse_code_cache(text: &str) -> CodeCacheReply {
    let mut parser = CodeCacheParser::default();
    for line in text.lines() {
        parser.line(line.trim());
    }
    parser.finish()
}

#[derive(Default)]
struct CodeCacheParser {
    reply: CodeCacheReply,
    /// Name, used and maximum kibibytes of the heap whose bounds come next.
    heap: Option<(Box<str>, u64, u64)>,
    /// Of all heaps, where each has its own line (JDK 27).
    sums: CodeBlobCounts,
    /// Of the line for all heaps.
    totals: CodeBlobCounts,
}

#[derive(Default)]
struct CodeBlobCounts {
    nmethods: Option<u64>,
    full: Option<u64>,
}

impl CodeCacheParser {
    fn line(&mut self, line: &str) {
        if line.starts_with("CodeHeap '") || line.starts_with("CodeCache: ") {
            self.heap = heading(line);
        } else if let Some(bounds) = line.strip_prefix("bounds ") {
            self.bounds(bounds);
        } else if line.starts_with("total_blobs=") || line.starts_with("total blobs=") {
            self.totals = CodeBlobCounts::of(line);
        } else if line.starts_with("blobs=") {
            let counts = CodeBlobCounts::of(line);
            for (sum, count) in [(&mut self.sums.nmethods, counts.nmethods), (&mut self.sums.full, counts.full)] {
                *sum = count.and_then(|count| sum.unwrap_or(0).checked_add(count));
            }
        } else if line.starts_with("full_count=") {
            self.totals.full = number_after(line, "full_count=");
        } else if let Some(state) = line.strip_prefix("compilation: ").or_else(|| line.strip_prefix("Compilation: ")) {
            self.reply.compiling = match state {
                _ if state.starts_with("enabled") => Some(true),
                _ if state.starts_with("disabled") => Some(false),
                _ => None,
            };
        }
    }

    /// `[low, end of what is committed, end]`. The line for all heaps, from JDK 21 on, has none.
    fn bounds(&mut self, bounds: &str) {
        let (Some((name, used, size)), Some((committed, limit))) = (self.heap.take(), extent(bounds)) else { return };
        let used = used.saturating_mul(1024);
        let heaps = &mut self.reply.heaps;
        let is_new = heaps.len() < CODE_HEAPS_MAXIMUM && heaps.iter().all(|heap| heap.name != name);
        if is_new && used <= committed && limit / 1024 == size {
            heaps.push(CodeHeapReply { name, used, committed, limit });
        }
    }

    fn finish(self) -> CodeCacheReply {
        let Self { mut reply, sums, totals, .. } = self;
        reply.nmethods = totals.nmethods.or(sums.nmethods);
        reply.full = totals.full.or(sums.full);
        reply
    }
}

impl CodeBlobCounts {
    fn of(line: &str) -> Self {
        Self { nmethods: number_after(line, " nmethods="), full: number_after(line, "full_count=") }
    }
}

/// `CodeHeap 'profiled nmethods': size=120032Kb used=421Kb max_used=421Kb free=119610Kb`: name, used, size.
fn heading(line: &str) -> Option<(Box<str>, u64, u64)> {
    let (name, amounts) = line.split_once(": ")?;
    let name = CODE_HEAP_NAMES.iter().find(|known| **known == name)?;
    Some(((*name).into(), number_after(amounts, " used=")?, number_after(amounts, "size=")?))
}
