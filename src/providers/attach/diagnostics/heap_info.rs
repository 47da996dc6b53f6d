//! The text of `GC.heap_info`, JDK 8 to 27 (`print_on` of the collectors' heaps, spaces and of metaspace).
//!
//! # Promise
//! Any text is legal input. Parsing never panics, reads each line once, and skips lines that it does not know. What is not
//! printed, or fails its check, is absent. Addresses are used for differences and leave this module nowhere.

use super::metaspace::MetaspaceReply;
use super::text::{extent, quantity, quantity_after};

/// A reply to `GC.heap_info`, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapReply {
    /// Pools under the names of their MemoryPoolMXBeans, where the collector tells them apart; each name once.
    pub pools: Vec<PoolReply>,
    /// Memory in use in the whole heap.
    pub used: Option<u64>,
    /// Memory that the heap has committed.
    pub committed: Option<u64>,
    /// Maximum size of the heap, where the collector prints it.
    pub limit: Option<u64>,
    /// Up to JDK 24.
    pub metaspace: MetaspaceReply,
}

/// One pool of the heap, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolReply {
    /// The name of its MemoryPoolMXBean.
    pub name: &'static str,
    /// Memory in use.
    pub used: u64,
    /// Memory committed.
    pub committed: u64,
}

/// Parses the text of a reply.
pub fn parse_heap_info(text: &str) -> HeapReply {
    let mut parser = HeapParser::default();
    for line in text.lines() {
        parser.line(line.trim());
    }
    parser.finish()
}

#[derive(Default)]
struct HeapParser {
    reply: HeapReply,
    /// What the lines that follow describe.
    section: Option<HeapSection>,
    /// Shenandoah's used bytes, by generation from JDK 26 on.
    shenandoah_used: Option<u64>,
}

#[derive(Clone, Copy)]
enum HeapSection {
    /// With the names of eden and of the survivor space.
    Young(&'static str, &'static str),
    /// With its name.
    Old(&'static str),
    Shenandoah,
    Epsilon,
}

/// How a generation begins, and what follows.
const SECTIONS: [(&str, HeapSection); 11] = [
    ("def new generation", SERIAL_YOUNG),
    ("DefNew", SERIAL_YOUNG),
    ("par new generation", HeapSection::Young("Par Eden Space", "Par Survivor Space")),
    ("PSYoungGen", HeapSection::Young("PS Eden Space", "PS Survivor Space")),
    ("tenured generation", SERIAL_OLD),
    ("Tenured", SERIAL_OLD),
    ("ParOldGen", PARALLEL_OLD),
    ("PSOldGen", PARALLEL_OLD),
    ("Shenandoah Heap", HeapSection::Shenandoah),
    ("Generational Shenandoah Heap", HeapSection::Shenandoah),
    ("Epsilon Heap", HeapSection::Epsilon),
];
const SERIAL_YOUNG: HeapSection = HeapSection::Young("Eden Space", "Survivor Space");
const SERIAL_OLD: HeapSection = HeapSection::Old("Tenured Gen");
const PARALLEL_OLD: HeapSection = HeapSection::Old("PS Old Gen");

impl HeapParser {
    fn line(&mut self, line: &str) {
        if let Some((_, section)) = SECTIONS.iter().find(|(heading, _)| line.starts_with(heading)) {
            self.section = Some(*section);
        } else if self.reply.metaspace.line(line) {
            self.section = None;
        } else if let Some(rest) = line.strip_prefix("concurrent mark-sweep generation") {
            self.section = None;
            if let (Some(used), Some(committed)) = (quantity_after(rest, "used "), quantity_after(rest, "total ")) {
                self.add("CMS Old Gen", used, committed);
            }
        } else if let Some(rest) = line.strip_prefix("ZHeap") {
            self.whole(quantity_after(rest, "used "), quantity_after(rest, "capacity "));
            self.reply.limit = quantity_after(rest, "max capacity ");
            self.whole_pool("ZHeap");
        } else if let Some(rest) = line.strip_prefix("garbage-first heap") {
            let committed = quantity_after(rest, "committed ").or_else(|| quantity_after(rest, "total "));
            self.whole(quantity_after(rest, "used "), committed);
            self.reply.limit = quantity_after(rest, "reserved ");
        } else if line.starts_with("lgrp ") {
            // With NUMA eden is several spaces, and its line has the end of the last one.
            self.reply.pools.retain(|pool| !pool.name.ends_with("Eden Space"));
        } else if let Some(section) = self.section {
            self.detail(section, line);
        }
    }

    /// A line below a heading.
    fn detail(&mut self, section: HeapSection, line: &str) {
        let Some((word, rest)) = line.split_once(' ') else { return };
        let name = match (section, word) {
            (HeapSection::Shenandoah, _) => return self.shenandoah(line),
            (HeapSection::Epsilon, "space") => "Epsilon Heap",
            (HeapSection::Young(eden, _), "eden") => eden,
            (HeapSection::Young(_, survivor), "from") => survivor,
            (HeapSection::Old(old), "the" | "object") => old,
            _ => return,
        };
        let rest = rest.trim_start();
        let rest = rest.strip_prefix("space ").unwrap_or(rest);
        if let (Some(size), Some((used, committed))) = (quantity(rest), extent(rest))
            && committed & !0x3ff == size
        {
            self.add(name, used, committed);
        }
    }

    /// `98304K max, 98304K soft max, 32768K committed, 11280K used`, by generation or of all.
    fn shenandoah(&mut self, line: &str) {
        for part in line.split(',') {
            let Some((amount, meaning)) = part.trim().split_once(' ') else { continue };
            let Some(bytes) = quantity(amount) else { continue };
            match meaning {
                "used" => self.shenandoah_used = self.shenandoah_used.unwrap_or(0).checked_add(bytes),
                "committed" => self.reply.committed = Some(bytes),
                "max" => self.reply.limit = self.reply.limit.unwrap_or(0).checked_add(bytes),
                _ => {}
            }
        }
    }

    fn add(&mut self, name: &'static str, used: u64, committed: u64) {
        if used <= committed && self.reply.pools.iter().all(|pool| pool.name != name) {
            self.reply.pools.push(PoolReply { name, used, committed });
        }
    }

    fn whole(&mut self, used: Option<u64>, committed: Option<u64>) {
        (self.reply.used, self.reply.committed) = (used, committed);
    }

    /// The heap is one pool.
    fn whole_pool(&mut self, name: &'static str) {
        if let (Some(used), Some(committed)) = (self.reply.used, self.reply.committed) {
            self.add(name, used, committed);
        }
    }

    fn finish(mut self) -> HeapReply {
        match self.reply.pools.as_slice() {
            _ if self.shenandoah_used.is_some() => {
                self.reply.used = self.shenandoah_used;
                self.whole_pool("Shenandoah");
            }
            // Both generations are known completely.
            [eden, survivor, old] if eden.name.ends_with("Eden Space") => {
                let sum = |of: fn(&PoolReply) -> u64| of(eden).checked_add(of(survivor))?.checked_add(of(old));
                let (used, committed) = (sum(|pool| pool.used), sum(|pool| pool.committed));
                self.whole(used, committed);
            }
            [heap] if heap.name == "Epsilon Heap" => {
                let (used, committed) = (heap.used, heap.committed);
                self.whole(Some(used), Some(committed));
            }
            _ => {}
        }
        self.reply
    }
}
