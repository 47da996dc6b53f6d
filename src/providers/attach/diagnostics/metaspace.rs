//! Metaspace, as `GC.heap_info` prints it up to JDK 24, and `VM.metaspace basic` from JDK 25 on
//! (`MetaspaceUtils::print_on`).
//!
//! # Promise
//! Any text is legal input. Parsing never panics, reads each line once, and skips lines that it does not know.

use super::text::quantity_after;

/// Metaspace in bytes, rounded down to kibibytes by the JVM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaspaceReply {
    /// All of it.
    pub whole: Option<MetaspaceSize>,
    /// The compressed class space, a part of it; absent where the JVM has none.
    pub class_space: Option<MetaspaceSize>,
}

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaspaceSize {
    /// Memory in use.
    pub used: u64,
    /// Memory committed.
    pub committed: u64,
}

/// Parses the text of a reply to `VM.metaspace basic`.
pub fn parse_metaspace(text: &str) -> MetaspaceReply {
    let mut reply = MetaspaceReply::default();
    for line in text.lines() {
        reply.line(line.trim());
    }
    reply
}

impl MetaspaceReply {
    /// Takes a line if it is of metaspace: `Metaspace  used 573K, committed 704K, reserved 1114112K`.
    pub(super) fn line(&mut self, line: &str) -> bool {
        let (part, rest) = match (line.strip_prefix("Metaspace "), line.strip_prefix("class space ")) {
            (Some(rest), _) => (&mut self.whole, rest),
            (_, Some(rest)) => (&mut self.class_space, rest),
            _ => return false,
        };
        if let (Some(used), Some(committed)) = (quantity_after(rest, "used "), quantity_after(rest, "committed ")) {
            part.get_or_insert(MetaspaceSize { used, committed });
        }
        true
    }
}
