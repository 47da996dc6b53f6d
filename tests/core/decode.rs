//! The decoder against the JDK's own decoding of 20 real regions, against mutated regions, and against both byte orders.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use hotspot_exporter::perfdata::{ByteOrder, CounterValue, Image, Prologue, Units, Variability};
use proptest::prelude::*;

use crate::support::region_builder::RegionBuilder;

fn fixtures() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hsperfdata"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 20);
    files
}

/// Every line of `jstat -J-Djstat.showUnsupported=true -snap`: the entries, and pseudo-counters from the prologue.
fn decoding(image: &Image) -> BTreeMap<String, String> {
    let mut lines: BTreeMap<_, _> = image
        .entries
        .list
        .iter()
        .map(|entry| {
            let value = match image.value(entry) {
                CounterValue::Long(value) => value.to_string(),
                CounterValue::Text(text) => format!("\"{text}\""),
                CounterValue::Opaque(bytes) => format!("{bytes:?}"),
            };
            (entry.name.to_string(), value)
        })
        .collect();
    let prologue = &image.prologue;
    for (name, value) in [
        ("majorVersion", prologue.major.to_string()),
        ("minorVersion", prologue.minor.to_string()),
        ("size", image.bytes().len().to_string()),
        ("used", prologue.used.to_string()),
        ("overflow", prologue.overflow.to_string()),
        ("timestamp", prologue.mod_time_stamp.to_string()),
    ] {
        lines.insert(format!("sun.perfdata.{name}"), value);
    }
    lines
}

#[test]
fn every_entry_of_every_region_equals_the_jdks_decoding() {
    for file in fixtures() {
        let image = Image::decode(fs::read(&file).unwrap()).unwrap();
        assert_eq!(image.entries.stopped, None, "{}", file.display());
        let ours = decoding(&image);
        let text = fs::read_to_string(file.with_extension("jstat.txt")).unwrap();
        let theirs: BTreeMap<_, _> = text
            .lines()
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(ours, theirs, "{}", file.display());
    }
}

#[test]
fn a_name_finds_its_entry() {
    for file in fixtures() {
        let image = Image::decode(fs::read(&file).unwrap()).unwrap();
        for entry in &image.entries.list {
            assert_eq!(image.entry(&entry.name), Some(entry));
        }
        assert_eq!(image.entry("sun.gc.nothing"), None);
        assert_eq!(image.entry(""), None);
        assert_eq!(image.word("sun.rt.javaCommand"), None, "a string is no number");
    }
}

#[test]
fn both_byte_orders_read_the_same() {
    for order in [ByteOrder::Big, ByteOrder::Little] {
        let builder = match order {
            ByteOrder::Big => RegionBuilder::new().big_endian(),
            ByteOrder::Little => RegionBuilder::new(),
        };
        let bytes = builder.long("sun.a", -2).text("sun.b", "hello").long("sun.c", i64::MAX).build();
        let image = Image::decode(bytes).unwrap();
        assert_eq!(image.prologue.byte_order, order);
        assert_eq!(image.word("sun.a"), Some(-2));
        assert_eq!(image.text("sun.b").as_deref(), Some("hello"));
        assert_eq!(image.word("sun.c"), Some(i64::MAX));
    }
}

#[test]
fn unknown_codes_are_carried() {
    let bytes = RegionBuilder::new().entry("odd", b'Q', 3, 9, 77, b"abc").long("after", 5).build();
    let image = Image::decode(bytes).unwrap();
    let odd = image.entry("odd").unwrap();
    assert_eq!((odd.units, odd.variability), (Units::Unknown(9), Variability::Unknown(77)));
    assert_eq!(odd.units.to_string(), "unknown(9)");
    assert_eq!(odd.data_type.to_string(), "Q");
    assert_eq!(image.value(odd), CounterValue::Opaque(b"abc"));
    assert_eq!(image.word("after"), Some(5));
}

#[test]
fn a_string_ends_at_its_nul_or_its_field() {
    let bytes = RegionBuilder::new()
        .entry("cut", b'B', 4, 5, 3, b"abcd")
        .entry("torn", b'B', 8, 5, 3, b"No GC\0xx")
        .entry("odd", b'B', 3, 5, 3, b"\xffz\0")
        .build();
    let image = Image::decode(bytes).unwrap();
    assert_eq!(image.text("cut").as_deref(), Some("abcd"));
    assert_eq!(image.text("torn").as_deref(), Some("No GC"));
    assert_eq!(image.text("odd").as_deref(), Some("\u{fffd}z"));
}

#[test]
fn an_entry_being_written_ends_the_walk_and_is_seen_later() {
    let whole = RegionBuilder::new().long("first", 1).long("second", 2).build();
    let second = 32 + 40;
    let data_offset = second + 16;
    let name = second + 20;
    for blank in [second..second + 40, second..second + 4, data_offset..data_offset + 4, name..name + 1] {
        let mut bytes = whole.clone();
        bytes[blank.clone()].fill(0);
        let image = Image::decode(bytes).unwrap();
        assert_eq!(image.entries.list.len(), 1, "{blank:?}");
        let stopped = image.entries.stopped.clone().unwrap();
        assert!(stopped.is_unfinished(), "{blank:?}: {stopped}");
        assert_eq!(stopped.offset, second);
    }
    assert_eq!(Image::decode(whole).unwrap().entries.list.len(), 2);
}

#[test]
fn damage_ends_the_walk_with_its_offset() {
    let whole = RegionBuilder::new().long("first", 1).long("second", 2).build();
    for (at, value, expected) in [
        (72, 20, "an entry takes 24"),
        (72, -8, "an entry takes 24"),
        (72, 1 << 20, "an entry takes 24"),
        (76, 4, "do not fit"),
        (76, i32::MAX, "do not fit"),
        (80, i32::MAX, "elements does not fit"),
        (80, -1, "elements does not fit"),
        (88, 4000, "do not fit"),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&i32::to_le_bytes(value));
        let image = Image::decode(bytes).unwrap();
        let stopped = image.entries.stopped.as_ref().expect("damage is seen").to_string();
        assert!(stopped.starts_with("at byte 72: ") && stopped.contains(expected), "{at}={value}: {stopped}");
        assert_eq!(image.word("first"), Some(1));
    }
}

#[test]
fn what_is_no_region_is_named() {
    let error = |bytes: &[u8]| Prologue::decode(bytes).unwrap_err().to_string();
    assert!(error(&[0; 31]).contains("found 31"));
    assert!(error(&[0; 64]).contains("has not written its prologue"));
    assert!(error(b"#!/bin/sh\nexit 0\n# a file that is none").contains("found 23212f62"));
    let mut old = RegionBuilder::new().big_endian().build();
    old[5] = 1;
    assert!(error(&old).contains("found 1.0"));
}

#[test]
fn an_overflowed_region_works() {
    let mut bytes = RegionBuilder::new().long("first", 1).build();
    bytes[12..16].copy_from_slice(&i32::to_le_bytes(5000));
    let image = Image::decode(bytes).unwrap();
    assert_eq!((image.prologue.overflow, image.word("first")), (5000, Some(1)));
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_in_bounded_steps(bytes in prop::collection::vec(any::<u8>(), 0..4096), valid in any::<bool>()) {
        let mut bytes = bytes;
        if valid && bytes.len() >= 8 {
            bytes[..8].copy_from_slice(&[0xca, 0xfe, 0xc0, 0xc0, 1, 2, 0, 1]);
        }
        let length = bytes.len();
        if let Ok(image) = Image::decode(bytes) {
            prop_assert!(image.entries.list.len() <= length / 24);
            for entry in &image.entries.list {
                let _ = image.value(entry);
            }
        }
    }

    #[test]
    fn a_real_region_with_flipped_bytes_is_decoded(file in 0..20_usize, flips in prop::collection::vec((0..16384_usize, any::<u8>()), 1..40)) {
        let mut bytes = fs::read(&fixtures()[file]).unwrap();
        for (at, value) in flips {
            bytes[at] = value;
        }
        if let Ok(image) = Image::decode(bytes) {
            let mut end = 32;
            for entry in &image.entries.list {
                prop_assert!(entry.offset as usize >= end, "entries advance");
                end = entry.offset as usize;
                let _ = image.value(entry);
            }
        }
    }
}
