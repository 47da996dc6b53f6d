//! The text of `VM.native_memory summary`, JDK 8 to 27 (HotSpot `memReporter.cpp`).
//!
//! The grammar changes within an LTS line (17.0.5, 17.0.6 and 17.0.10 differ), so parsing depends on no version: every
//! line is recognized by its own words, categories are an open set, and a line or tail of unknown form is skipped.
//!
//! # Promise
//! Any text is legal input. Parsing never panics, reads each line once, and keeps at most [`CATEGORY_MAXIMUM`]
//! categories. What is not printed is `None`, never 0.

use super::summary::{BlockMemory, Category, ClassCounts, MappedMemory, MetaspaceMemory, NmtReply, NmtSummary, Total};

/// Most categories that are kept; JDK 27 has under 30.
pub const CATEGORY_MAXIMUM: usize = 128;

/// Longest name of a category that is kept, in bytes; HotSpot prints them into 26 columns.
const NAME_MAXIMUM: usize = 128;

/// Parses the text of a reply, with or without the status line before it.
pub fn parse(text: &str) -> NmtReply {
    let mut parser = Parser::default();
    for line in text.lines() {
        parser.line(line);
    }
    if let Parser { total: Some(total), categories, exact, .. } = parser {
        return NmtReply::Summary(Box::new(NmtSummary { total, categories, exact }));
    }
    // The status of a reply, or the pid that `jcmd` prints before it.
    let is_number = |line: &str| line.strip_suffix(':').unwrap_or(line).parse::<i32>().is_ok();
    let mut lines = text.lines().map(str::trim);
    let message = lines.find(|line| !line.is_empty() && !is_number(line)).unwrap_or_default();
    match message.to_ascii_lowercase() {
        m if m.starts_with("native memory tracking is not enabled") => NmtReply::NotEnabled,
        m if m.starts_with("native memory tracking has been shut") => NmtReply::ShutDown,
        m if m.starts_with("incorrect scale value") => NmtReply::ScaleRefused,
        _ => NmtReply::Unknown(message.chars().take(NAME_MAXIMUM).collect()),
    }
}

#[derive(Default)]
struct Parser {
    total: Option<Total>,
    categories: Vec<Category>,
    exact: bool,
    /// The part of metaspace that the lines of the current category describe.
    part: Option<MetaspacePart>,
    /// The current category is not kept, and neither are the lines under it.
    skipping: bool,
}

type MetaspacePart = fn(&mut Category) -> &mut Option<MetaspaceMemory>;

impl Parser {
    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("Total: ") {
            if self.total.is_none() {
                self.total =
                    mapped(rest).map(|m| Total { reserved: m.reserved, committed: m.committed, ..Total::default() });
                self.exact = scale(rest) == Some(1);
            }
        } else if let Some(rest) = line.strip_prefix('-') {
            self.category(rest);
        } else if self.skipping {
        } else if let Some(category) = self.categories.last_mut() {
            detail(category, &mut self.part, line.trim());
        } else if let Some(total) = &mut self.total {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("malloc: ") {
                total.malloc = blocks(rest);
            } else if line.starts_with("mmap:") {
                total.mmap = mapped(line);
            }
        }
    }

    /// `                 Java Heap (reserved=N, committed=N)`; the name may hold blanks.
    fn category(&mut self, rest: &str) {
        self.part = None;
        let heading = rest.split_once(" (reserved=").and_then(|(name, _)| {
            let amounts = rest.get(name.len()..)?;
            let MappedMemory { reserved, committed, .. } = mapped(amounts)?;
            let readonly = amount(amounts, "readonly=");
            Some(Category { name: name.trim().into(), reserved, committed, readonly, ..Category::default() })
        });
        let kept = heading.filter(|new| {
            !new.name.is_empty()
                && new.name.len() <= NAME_MAXIMUM
                && self.categories.len() < CATEGORY_MAXIMUM
                && self.categories.iter().all(|old| old.name != new.name)
        });
        self.skipping = kept.is_none();
        self.categories.extend(kept);
    }
}

/// A line under a category.
fn detail(category: &mut Category, part: &mut Option<MetaspacePart>, line: &str) {
    let inner = line.trim_start_matches(['(', ' ']);
    if inner.starts_with("classes #") {
        category.classes = count(inner, "classes #").map(|total| ClassCounts { total, ..ClassCounts::default() });
    } else if inner.starts_with("instance classes #") {
        if let Some(classes) = &mut category.classes {
            classes.instance = count(inner, "instance classes #");
            classes.array = count(inner, "array classes #");
        }
    } else if inner.starts_with("thread #") || inner.starts_with("threads #") {
        category.threads = count(inner, "#");
    } else if inner.starts_with("stack:") {
        category.stack = mapped(inner);
    } else if let Some(rest) = inner.strip_prefix("malloc=") {
        category.malloc = blocks(rest);
    } else if let Some(rest) = inner.strip_prefix("arena=") {
        category.arena = blocks(rest);
    } else if inner.starts_with("mmap:") {
        category.mmap = mapped(inner);
    } else if inner.starts_with("tracking overhead=") {
        category.tracking_overhead = amount(inner, "tracking overhead=");
    } else if inner.starts_with("Metadata:") {
        *part = Some(|category| &mut category.metadata);
    } else if inner.starts_with("Class space:") {
        *part = Some(|category| &mut category.class_space);
    } else if let Some(part) = *part {
        metaspace(part(category), inner);
    }
}

/// A line under `Metadata:` or `Class space:`.
fn metaspace(part: &mut Option<MetaspaceMemory>, inner: &str) {
    if inner.starts_with("reserved=") {
        *part = mapped(inner).map(|m| MetaspaceMemory {
            reserved: m.reserved,
            committed: m.committed,
            ..MetaspaceMemory::default()
        });
    } else if let Some(part) = part {
        for (key, value) in [("used=", &mut part.used), ("free=", &mut part.free), ("waste=", &mut part.waste)] {
            if inner.starts_with(key) {
                *value = amount(inner, key);
            }
        }
    }
}

/// `reserved=N, committed=N[, peak=N|, at peak]`
fn mapped(text: &str) -> Option<MappedMemory> {
    let committed = amount(text, "committed=")?;
    let peak = if text.contains(", at peak") { Some(committed) } else { amount(text, ", peak=") };
    Some(MappedMemory { reserved: amount(text, "reserved=")?, committed, peak })
}

/// `N[ tag=T][ #c][)] [(at peak)|(peak=N #c)|, peak=N #c]`, where a tag may hold blanks.
fn blocks(text: &str) -> Option<BlockMemory> {
    let bytes = leading(text)?;
    let at = text.rfind("peak").unwrap_or(text.len());
    let (now, peak) = text.split_at_checked(at)?;
    let count = count(now, " #");
    if now.trim_end().ends_with("(at") || now.trim_end().ends_with(", at") {
        return Some(BlockMemory { bytes, count, peak: Some(bytes), peak_count: count });
    }
    Some(BlockMemory { bytes, count, peak: amount(peak, "peak="), peak_count: self::count(peak, "#") })
}

/// The amount behind the first `key`, in bytes.
fn amount(text: &str, key: &str) -> Option<u64> {
    leading(text.split_once(key)?.1)
}

/// The whole number behind the last `key`.
fn count(text: &str, key: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(key)?;
    digits(rest)?.0.parse().ok()
}

/// An amount at the start of `text`, in bytes. More than an i64 holds is no amount.
fn leading(text: &str) -> Option<u64> {
    let (number, rest) = digits(text)?;
    let unit = match rest.get(..2) {
        Some("KB") => 1 << 10,
        Some("MB") => 1 << 20,
        Some("GB") => 1 << 30,
        _ => 1,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// Bytes per unit of the first amount behind a `reserved=`.
fn scale(text: &str) -> Option<u64> {
    let (_, rest) = digits(text.split_once("reserved=")?.1)?;
    Some(if rest.starts_with(|c: char| c.is_ascii_alphabetic()) { 1 << 10 } else { 1 })
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(number, _)| !number.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn fixture(name: &str) -> String {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata").join(name);
        std::fs::read_to_string(path).unwrap()
    }

    fn replies(suffix: &str) -> Vec<(String, String)> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata");
        let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(suffix)).map(|name| (fixture(&name), name)).collect()
    }

    fn summary(text: &str) -> NmtSummary {
        match parse(text) {
            NmtReply::Summary(summary) => *summary,
            other => panic!("{other:?}"),
        }
    }

    fn category(text: &str, name: &str) -> Category {
        summary(text).categories.into_iter().find(|category| &*category.name == name).unwrap()
    }

    #[test]
    fn byte_replies_add_up_exactly() {
        let replies = replies(".nmt-bytes.txt");
        assert_eq!(replies.len(), 20);
        for (text, name) in replies {
            if name.starts_with("jdk8") {
                assert_eq!(parse(&text), NmtReply::ScaleRefused, "{name}");
                continue;
            }
            let summary = summary(&text);
            assert!(summary.exact && summary.categories.len() >= 15, "{name}");
            let sum = |of: fn(&Category) -> u64| summary.categories.iter().map(of).sum::<u64>();
            assert_eq!(sum(|c| c.reserved), summary.total.reserved, "{name}");
            assert_eq!(sum(|c| c.committed), summary.total.committed, "{name}");
            for c in &summary.categories {
                let blocks = |b: Option<BlockMemory>| b.map_or(0, |b| b.bytes);
                let committed = |m: Option<MappedMemory>| m.map_or(0, |m| m.committed);
                let parts = blocks(c.malloc) + blocks(c.arena) + committed(c.mmap) + committed(c.stack);
                assert_eq!(parts + c.tracking_overhead.unwrap_or(0), c.committed, "{name} {}", c.name);
            }
        }
    }

    #[test]
    fn kilobyte_replies_are_within_their_rounding() {
        for (text, name) in replies(".nmt-kb.txt") {
            let summary = summary(&text);
            assert!(!summary.exact, "{name}");
            let sum: u64 = summary.categories.iter().map(|c| c.committed).sum();
            let rounding = 1024 * (summary.categories.len() as u64 + 15);
            assert!(sum.abs_diff(summary.total.committed) <= rounding, "{name}");
        }
    }

    #[test]
    fn details_of_each_grammar() {
        let text = fixture("jdk8-G1.nmt-kb.txt");
        let thread = category(&text, "Thread");
        assert_eq!(thread.threads, Some(19));
        assert_eq!(thread.stack, Some(MappedMemory { reserved: 18432 << 10, committed: 18432 << 10, peak: None }));
        let chunk = category(&text, "Arena Chunk");
        assert_eq!(chunk.malloc, Some(BlockMemory { bytes: 175 << 10, ..BlockMemory::default() }));
        assert_eq!(category(&text, "Class").classes, Some(ClassCounts { total: 429, instance: None, array: None }));

        let class = category(&fixture("jdk11-G1.nmt-bytes.txt"), "Class");
        assert_eq!(class.classes, Some(ClassCounts { total: 492, instance: Some(427), array: Some(65) }));
        let metadata = MetaspaceMemory {
            reserved: 8388608,
            committed: 4456448,
            used: Some(3284304),
            free: Some(1172144),
            waste: Some(0),
        };
        assert_eq!(class.metadata, Some(metadata));
        assert_eq!(class.class_space.unwrap().committed, 524288);

        let text = fixture("jdk17-G1.nmt-bytes.txt");
        let thread = category(&text, "Thread");
        let blocks = |bytes, count, peak, peak_count| {
            Some(BlockMemory { bytes, count: Some(count), peak: Some(peak), peak_count: Some(peak_count) })
        };
        assert_eq!(thread.malloc, blocks(31856, 124, 39112, 122));
        assert_eq!(thread.arena, blocks(22032, 38, 54760, 38));
        assert_eq!(category(&text, "Class").malloc, blocks(77703, 580, 77703, 580));
        let total = summary(&text).total;
        assert_eq!(total.malloc, Some(BlockMemory { bytes: 6622692, count: Some(4563), peak: None, peak_count: None }));
        assert_eq!(total.mmap, Some(MappedMemory { reserved: 1570246656, committed: 149422080, peak: None }));

        let text = fixture("jdk25-G1.nmt-bytes.txt");
        assert_eq!(summary(&text).total.malloc, blocks(7482240, 5764, 8354917, 5789));
        assert_eq!(category(&text, "Shared class space").readonly, Some(0));
        assert_eq!(category(&text, "Native Memory Tracking").malloc, blocks(6496, 96, 6832, 102));
        assert_eq!(category(&text, "Native Memory Tracking").tracking_overhead, Some(103752));
        assert_eq!(category(&text, "GC").arena, blocks(0, 0, 1968, 2));
        let mapped = |reserved, committed, peak| Some(MappedMemory { reserved, committed, peak: Some(peak) });
        assert_eq!(category(&text, "Java Heap").mmap, mapped(100663296, 62914560, 100663296));
        assert_eq!(category(&text, "Code").mmap, mapped(253636608, 7729152, 7729152));
        assert_eq!(category(&text, "Thread").stack, mapped(19922944, 823296, 823296));
    }

    #[test]
    fn replies_without_a_summary_are_states() {
        for (text, expected) in [
            ("0\nNative memory tracking is not enabled\n", NmtReply::NotEnabled),
            ("4711:\nNative memory tracking is not enabled\n", NmtReply::NotEnabled),
            ("Native memory tracking has been shutdown", NmtReply::ShutDown),
            ("Incorrect scale value: b", NmtReply::ScaleRefused),
            ("0\nNo baseline for comparison\n", NmtReply::Unknown("No baseline for comparison".into())),
            ("0\n", NmtReply::Unknown("".into())),
            ("", NmtReply::Unknown("".into())),
            ("0\n\nTotal: reserved=, committed=\n", NmtReply::Unknown("Total: reserved=, committed=".into())),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn hostile_summaries_stay_small_and_unambiguous() {
        let total = "Total: reserved=1, committed=1\n";
        let many: String = (0..1000).map(|n| format!("- C{n} (reserved=1, committed=1)\n")).collect();
        assert_eq!(summary(&format!("{total}{many}")).categories.len(), CATEGORY_MAXIMUM);

        let twice = format!("{total}- A (reserved=1, committed=1)\n- A (reserved=2, committed=2)\n  (malloc=9 #9)\n");
        let summary = summary(&twice);
        assert_eq!((summary.categories.len(), summary.categories[0].malloc), (1, None));

        let huge = format!("Total: reserved={}, committed=1\n", u64::MAX);
        assert!(matches!(parse(&huge), NmtReply::Unknown(_)));
        assert!(matches!(parse("Total: reserved=99999999999999999GB, committed=1\n"), NmtReply::Unknown(_)));
    }

    proptest! {
        #[test]
        fn any_text_is_legal(text in "\\PC*") {
            parse(&text);
        }

        #[test]
        fn damaged_replies_are_legal(cut in 0_usize..4900, at in 0_usize..4900, byte in any::<u8>()) {
            let mut bytes = fixture("jdk25-G1.nmt-bytes.txt").into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut);
            parse(&String::from_utf8_lossy(&bytes));
        }
    }
}
