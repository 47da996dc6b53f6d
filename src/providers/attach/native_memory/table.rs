//! A summary as a table.

use std::borrow::Cow;

use super::summary::{BlockMemory, MappedMemory, NmtSummary};
use crate::text::{Align, printable};

/// Totals and categories in bytes, one row each, aligned; `-` is what the JDK does not print.
pub fn table(summary: &NmtSummary) -> String {
    let total = &summary.total;
    let mut rows = vec![["CATEGORY", "RESERVED", "COMMITTED", "MALLOC", "BLOCKS", "MMAP", "ARENA"].map(Cow::Borrowed)];
    rows.push(row("Total", total.reserved, total.committed, total.malloc, total.mmap, None));
    rows.extend(summary.categories.iter().map(|c| row(&c.name, c.reserved, c.committed, c.malloc, c.mmap, c.arena)));

    let mut align = [Align::Right; 7];
    align[0] = Align::Left;
    let mut out = crate::text::table(&rows, align);
    if !summary.exact {
        out.push_str("Rounded by the JVM to whole units: the categories need not add up to the total.\n");
    }
    out
}

fn row(
    name: &str,
    reserved: u64,
    committed: u64,
    malloc: Option<BlockMemory>,
    mmap: Option<MappedMemory>,
    arena: Option<BlockMemory>,
) -> [Cow<'static, str>; 7] {
    let text = |value: Option<u64>| value.map_or(Cow::Borrowed("-"), |value| value.to_string().into());
    [
        printable(name).into_owned().into(),
        reserved.to_string().into(),
        committed.to_string().into(),
        text(malloc.map(|blocks| blocks.bytes)),
        text(malloc.and_then(|blocks| blocks.count)),
        text(mmap.map(|mapped| mapped.committed)),
        text(arena.map(|blocks| blocks.bytes)),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::{NmtReply, parse};
    use super::*;

    #[test]
    fn columns_are_aligned_and_unprinted_amounts_are_dashes() {
        let text = "Total: reserved=100KB, committed=50KB\n\
                    -  Java Heap (reserved=90KB, committed=40KB)\n (mmap: reserved=90KB, committed=40KB)\n\
                    -  GC\u{1b} (reserved=10KB, committed=10KB)\n (malloc=10KB #7)\n";
        let NmtReply::Summary(summary) = parse(text) else { panic!("no summary") };
        let expected = "\
CATEGORY   RESERVED  COMMITTED  MALLOC  BLOCKS   MMAP  ARENA
Total        102400      51200       -       -      -      -
Java Heap     92160      40960       -       -  40960      -
GC\u{fffd}           10240      10240   10240       7      -      -
Rounded by the JVM to whole units: the categories need not add up to the total.
";
        assert_eq!(table(&summary), expected);
    }

    #[test]
    fn json_leaves_out_what_is_not_printed() {
        let text = "Total: reserved=9, committed=5\n- GC (reserved=9, committed=5)\n (malloc=5 #2)\n";
        let NmtReply::Summary(summary) = parse(text) else { panic!("no summary") };
        let json = serde_json::to_string(&summary).unwrap();
        let expected = "{\"total\":{\"reserved\":9,\"committed\":5},\"categories\":[{\"name\":\"GC\",\"reserved\":9,\
                        \"committed\":5,\"malloc\":{\"bytes\":5,\"count\":2}}],\"exact\":true}";
        assert_eq!(json, expected);
    }
}
