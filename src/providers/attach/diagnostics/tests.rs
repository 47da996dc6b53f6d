//! Recorded replies of JDK 8 to 27 with every collector, each beside what the JVM's MemoryPoolMXBeans said a moment before.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::hotspot::CODE_HEAP_NAMES;
use crate::metric::Value;

/// Bytes that the program allocated for printing its beans.
const PRINTING: u64 = 1 << 20;

/// The names of recorded JVMs, such as `jdk25-Serial`, and their replies of a kind.
fn recorded(kind: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/attach");
    let names = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let ending = format!(".{kind}.txt");
    let mut found: Vec<_> = names
        .filter_map(|name| {
            Some((name.strip_suffix(&ending)?.to_owned(), fs::read_to_string(folder.join(&name)).unwrap()))
        })
        .collect();
    found.sort();
    found
}

fn reply(name: &str, kind: &str) -> String {
    recorded(kind).into_iter().find(|(other, _)| other == name).unwrap().1
}

/// Used, committed and maximum of each pool: `Tenured Gen Heap memory init = 1(0K) used = 2(0K) committed = …`.
fn beans(name: &str) -> BTreeMap<String, [Option<u64>; 3]> {
    let row = |line: &str| {
        let (name, amounts) = line.split_once(" init = ").unwrap();
        let name = name.strip_suffix(" Heap memory").or_else(|| name.strip_suffix(" Non-heap memory")).unwrap();
        let amount = |key: &str| amounts.split_once(key).unwrap().1.split_once('(').unwrap().0.parse().ok();
        (name.to_owned(), ["used = ", "committed = ", "max = "].map(amount))
    };
    reply(name, "beans").lines().map(row).collect()
}

fn feature(name: &str) -> u32 {
    name.strip_prefix("jdk").unwrap().split_once('-').unwrap().0.parse().unwrap()
}

fn assert_close(name: &str, pool: &str, used: u64, committed: u64, beans: &BTreeMap<String, [Option<u64>; 3]>) {
    let [Some(bean_used), Some(bean_committed), _] = beans[pool] else { panic!("{name} {pool}") };
    // Collectors with pages and regions take and give whole ones.
    let slack = if matches!(pool, "ZHeap" | "Shenandoah") { 4 * PRINTING } else { PRINTING };
    assert!(used.abs_diff(bean_used) <= slack, "{name} {pool}: {used} of {bean_used}");
    assert!(committed.abs_diff(bean_committed) <= slack, "{name} {pool}: {committed} of {bean_committed}");
}

#[test]
fn the_heap_and_its_pools_are_those_of_the_beans() {
    let replies = recorded("heap_info");
    assert_eq!(replies.len(), 54);
    for (name, text) in replies {
        let (heap, beans) = (parse_heap_info(&text), beans(&name));
        let collector = name.split_once('-').unwrap().1;
        let told: Vec<&str> = heap.pools.iter().map(|pool| pool.name).collect();
        let expected: &[&str] = match (collector, feature(&name)) {
            ("Serial" | "SerialSmall", _) => &["Eden Space", "Survivor Space", "Tenured Gen"],
            ("Parallel", _) => &["PS Eden Space", "PS Survivor Space", "PS Old Gen"],
            ("ParNew", _) => &["Par Eden Space", "Par Survivor Space", "Tenured Gen"],
            ("CMS", _) => &["Par Eden Space", "Par Survivor Space", "CMS Old Gen"],
            ("CMSDefNew", _) => &["Eden Space", "Survivor Space", "CMS Old Gen"],
            ("Z" | "GenZ", _) => &["ZHeap"],
            ("Shenandoah" | "GenShenandoah", _) => &["Shenandoah"],
            ("Epsilon", _) => &["Epsilon Heap"],
            ("G1", _) => &[],
            other => panic!("{other:?}"),
        };
        assert_eq!(told, expected, "{name}");
        for pool in heap.pools.iter().filter(|pool| beans.contains_key(pool.name)) {
            assert_close(&name, pool.name, pool.used, pool.committed, &beans);
        }

        let pools = || beans.iter().filter(|(pool, _)| !pool.starts_with("Code") && !pool.contains("space"));
        let is_heap = |pool: &str| !matches!(pool, "Metaspace" | "Compressed Class Space");
        let sum =
            |at: usize| -> u64 { pools().filter(|(pool, _)| is_heap(pool)).filter_map(|(_, bean)| bean[at]).sum() };
        let (used, committed) = (heap.used.unwrap(), heap.committed.unwrap());
        // G1 counts objects in eden, its bean whole regions; the empty regions of ZGC and Shenandoah are given back.
        let slack = if matches!(collector, "G1" | "GenShenandoah") { 25 << 20 } else { 6 << 20 };
        assert!(used.abs_diff(sum(0)) <= slack, "{name}: {used} of {}", sum(0));
        let slack = if collector == "GenShenandoah" { 64 << 20 } else { slack };
        assert!(committed.abs_diff(sum(1)) <= slack, "{name}: {committed} of {}", sum(1));
        let prints_limit = matches!(collector, "Z" | "GenZ" | "Shenandoah" | "GenShenandoah")
            || collector == "G1" && feature(&name) >= 25;
        assert_eq!(heap.limit, prints_limit.then_some(96 << 20), "{name}");

        assert_eq!(heap.metaspace.whole.is_some(), feature(&name) < 25, "{name}");
        assert_metaspace(&name, &heap.metaspace, &beans);
    }
}

fn assert_metaspace(name: &str, reply: &MetaspaceReply, beans: &BTreeMap<String, [Option<u64>; 3]>) {
    if let Some(MetaspaceSize { used, committed }) = reply.whole {
        assert_close(name, "Metaspace", used, committed, beans);
        let has_class_space = beans.contains_key("Compressed Class Space");
        assert_eq!(reply.class_space.is_some(), has_class_space, "{name}");
    }
    if let Some(MetaspaceSize { used, committed }) = reply.class_space {
        assert_close(name, "Compressed Class Space", used, committed, beans);
    }
}

#[test]
fn metaspace_is_that_of_the_beans() {
    let replies = recorded("metaspace");
    assert_eq!(replies.len(), 6);
    for (name, text) in replies {
        let reply = parse_metaspace(&text);
        assert!(reply.whole.is_some(), "{name}");
        assert_metaspace(&name, &reply, &beans(&name));
    }
}

#[test]
fn code_heaps_are_those_of_the_beans() {
    let replies = recorded("code_cache");
    assert_eq!(replies.len(), 12);
    for (name, text) in replies {
        let (reply, beans) = (parse_code_cache(&text), beans(&name));
        let mut told: Vec<&str> = reply.heaps.iter().map(|heap| &*heap.name).collect();
        told.sort_unstable();
        let expected: Vec<&str> = beans.keys().map(|pool| &**pool).filter(|pool| pool.starts_with("Code")).collect();
        assert_eq!(told, expected, "{name}");
        for heap in &reply.heaps {
            assert_close(&name, &heap.name, heap.used, heap.committed, &beans);
            assert_eq!(Some(heap.limit), beans[&*heap.name][2], "{name} {}", heap.name);
        }
        assert!((100..400).contains(&reply.nmethods.unwrap()), "{name}: {reply:?}");
        assert_eq!((reply.full, reply.compiling), (Some(0), Some(true)), "{name}");
    }
}

#[test]
fn a_full_code_cache_is_told() {
    let text = reply("jdk27-G1", "code_cache")
        .replace("adapters=0, full_count=0", "adapters=0, full_count=3")
        .replace("total blobs=", "other blobs=")
        .replace("Compilation: enabled", "Compilation: disabled (not enough contiguous free space left)");
    let reply = parse_code_cache(&text);
    assert_eq!((reply.full, reply.nmethods, reply.compiling), (Some(6), Some(131), Some(false)));
    let reply = parse_code_cache(&self::reply("jdk11-G1", "code_cache").replace("full_count=0", "full_count=2"));
    assert_eq!(reply.full, Some(2));
}

#[test]
fn flags_of_the_list_are_taken_from_all_releases() {
    let replies = recorded("flags");
    assert_eq!(replies.len(), 14);
    for (name, text) in replies {
        let flags = parse_flags(&text);
        let value = |name: &str| flags.iter().find(|flag| flag.name == name).map(|flag| flag.value.clone());
        assert_eq!(value("MaxHeapSize"), Some(Value::Int(96 << 20)), "{name}");
        assert_eq!(value("InitialHeapSize"), Some(Value::Int(32 << 20)), "{name}");
        let g1 = name.ends_with("G1").then_some(Value::Int(1));
        assert_eq!((value("UseG1GC"), value("MinHeapDeltaBytes")), (g1, None), "{name}");
    }
}

#[test]
fn values_of_flags_are_numbers_and_switches() {
    let text = "-XX:MaxRAMPercentage=62.500000 -XX:-UseCompressedOops -XX:ActiveProcessorCount=-1 -XX:ConcGCThreads=many \
                -XX:HeapDumpPath=/secret -XX:MaxDirectMemorySize=18446744073709551615 -XX:+UseG1GC=1 \
                -XX:OnError=echo -XX:MaxHeapSize=1 -XX:MaxHeapSize=2 -XX:MinHeapSize=nan -XX:+UnlockDiagnosticVMOptions";
    let flags: Vec<_> = parse_flags(text).into_iter().map(|flag| (flag.name, flag.value)).collect();
    let expected = [
        ("MaxRAMPercentage", Value::Float(62.5)),
        ("UseCompressedOops", Value::Int(0)),
        ("ActiveProcessorCount", Value::Int(-1)),
        ("MaxDirectMemorySize", Value::Float(18_446_744_073_709_551_615.0)),
    ];
    assert_eq!(flags, expected);
}

#[test]
fn amounts_that_contradict_each_other_are_absent() {
    for line in [
        "eden space 8832K,  79% used [0x00000000fa000000, 0x00000000f9000000, 0x00000000fa8a0000)",
        "eden space 8832K,  79% used [0x00000000fa000000, 0x00000000fb000000, 0x00000000fa8a0000)",
        "eden space 8831K,  79% used [0x00000000fa000000, 0x00000000fa6db2a8, 0x00000000fa8a0000)",
        "eden space 8832K,  79% used [0x00000000fa000000)",
        "eden space 8832K,  79% used [0x, 0x00000000fa6db2a8, 0x00000000fa8a0000)",
        "eden space 99999999999999999K,  79% used [0x0000000000000000, 0x0000000000000000, 0xffffffffffffffff)",
    ] {
        assert_eq!(parse_heap_info(&format!("DefNew     total 9920K\n {line}\n")).pools, [], "{line}");
    }
    let numa =
        "PSYoungGen total 1K\n eden space 8832K, 79% used [0xfa000000,0xfa6db2a8,0xfa8a0000)\n    lgrp 0 space 1K\n";
    assert_eq!(parse_heap_info(numa).pools, []);
    for (old, new) in [("used=1098Kb", "used=99999Kb"), ("size=5692Kb", "size=5690Kb"), ("[0x00007f7170938000", "[0x1")]
    {
        let text = reply("jdk17-G1", "code_cache");
        assert!(text.contains(old));
        assert_eq!(parse_code_cache(&text.replace(old, new)).heaps.len(), 2, "{old} {new}");
    }
}

#[test]
fn hostile_replies_stay_small() {
    let heaps: String = (0..1000)
        .map(|n| format!("CodeHeap '{n}': size=1Kb used=0Kb max_used=0Kb free=1Kb\n bounds [0x0, 0x400, 0x400]\n"))
        .collect();
    assert_eq!(parse_code_cache(&heaps).heaps, [], "names that HotSpot does not have");
    let known =
        CODE_HEAP_NAMES.map(|name| format!("{name}: size=1Kb used=0Kb free=1Kb\n bounds [0x0, 0x400, 0x400]\n"));
    assert!(parse_code_cache(&known.concat().repeat(9)).heaps.len() <= CODE_HEAPS_MAXIMUM, "each once");
    let name = "x".repeat(100);
    let text = format!("CodeHeap '{name}': size=1Kb used=0Kb\n bounds [0x0, 0x400, 0x400]\n");
    assert_eq!(parse_code_cache(&text).heaps, []);
    let blobs = format!("blobs=1, nmethods={0}, full_count={0}\n", i64::MAX).repeat(3);
    assert_eq!(parse_code_cache(&blobs).nmethods, None);
    let heap = format!("Shenandoah Heap\n {0}B used, {0}B max\n {0}B used, {0}B max\n {0}B used\n", i64::MAX);
    assert_eq!(parse_heap_info(&heap).limit, Some(2 * i64::MAX as u64));
}

/// Mainline prints the local time first; lines may come that no release has.
#[test]
fn unknown_lines_are_skipped() {
    for (name, text) in recorded("heap_info") {
        let mixed: String = text.lines().map(|line| format!("2026-11-29 12:00:00\n{line}\nMetaspaceX 1K\n")).collect();
        assert_eq!(parse_heap_info(&mixed), parse_heap_info(&text), "{name}");
    }
    for (name, text) in recorded("code_cache") {
        let mixed: String = text.lines().map(|line| format!("2026-11-29 12:00:00\n{line}\n hot methods=1\n")).collect();
        assert_eq!(parse_code_cache(&mixed), parse_code_cache(&text), "{name}");
    }
}

fn parse_all(text: &str) {
    parse_heap_info(text);
    parse_code_cache(text);
    parse_metaspace(text);
    parse_flags(text);
}

proptest! {
    #[test]
    fn any_text_is_legal(text in "\\PC*|([-a-zA-Z0-9:='\\[,\\) \n]|0x|space |used |Heap ){0,200}") {
        parse_all(&text);
    }

    #[test]
    fn damaged_replies_are_legal(cut in 0_usize..5000, at in 0_usize..5000, byte in any::<u8>(), which in 0_usize..4) {
        let replies = [
            include_str!("../../../../tests/fixtures/attach/jdk21-Serial.heap_info.txt"),
            include_str!("../../../../tests/fixtures/attach/jdk27-GenShenandoah.heap_info.txt"),
            include_str!("../../../../tests/fixtures/attach/jdk27-G1.code_cache.txt"),
            include_str!("../../../../tests/fixtures/attach/jdk25-G1.metaspace.txt"),
        ];
        let mut bytes = replies[which].as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut);
        parse_all(&String::from_utf8_lossy(&bytes));
    }
}
