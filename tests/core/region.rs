//! Regions that change under a reader: truncated, regrown in place, replaced, unlinked.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::{ensure, skip_this, wait_for};
use hotspot_exporter::perfdata::{
    ChangeDetector, Consistency, FileMode, Image, LayoutChange, ProcessMemory, Region, RegionError, RegionIdentity,
    WriterState,
};

/// A real region, and the offsets of its numbers.
fn fixture() -> (Vec<u8>, Vec<u32>, u32) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata/jdk17-G1.hsperfdata");
    let bytes = fs::read(path).unwrap();
    let image = Image::decode(bytes.clone()).unwrap();
    let birth = image.entry("sun.rt.createVmBeginTime").unwrap().offset;
    let words = image.entries.list.iter().filter(|entry| entry.is_word()).map(|entry| entry.offset).collect::<Vec<_>>();
    assert!(words.len() > 100);
    (bytes, words, birth)
}

/// The region of JVM number `life`: every number in it is `life`.
fn region_of(life: i64, (bytes, words, _): &(Vec<u8>, Vec<u32>, u32)) -> Vec<u8> {
    let mut bytes = bytes.clone();
    for word in words {
        bytes[*word as usize..][..8].copy_from_slice(&life.to_ne_bytes());
    }
    bytes
}

fn open(path: &Path, access: FileMode) -> Result<Region, RegionError> {
    Region::open(File::open(path).unwrap(), access)
}

/// What the writer does to the file between two lives.
#[derive(Clone, Copy)]
enum Change {
    /// `ftruncate(0)`, `ftruncate(size)`, write: a JVM that takes a file over, as HotSpot does.
    InPlace,
    /// A new file under the same name.
    Replace,
    /// Truncated to one page and regrown.
    Partly,
}

const ROUNDS: u64 = 100_000;

/// One thread truncates, regrows and replaces 100,000 times; readers never die and never see two lives in one read.
#[test]
fn a_region_that_is_truncated_and_replaced_never_mixes_two_jvms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("4711");
    let fixture = fixture();
    fs::write(&path, region_of(1, &fixture)).unwrap();

    let (done, reads, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for access in [FileMode::Mapped, FileMode::Pread] {
            let (done, reads, refused, path, fixture) = (&done, &reads, &refused, &path, &fixture);
            scope.spawn(move || {
                let mut row = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let Ok(file) = File::open(path) else { continue };
                    let Ok(region) = Region::open(file, access) else { continue };
                    let Ok(image) = Image::read(&region) else { continue };
                    if image.word("sun.rt.createVmBeginTime").is_none_or(|life| life == 0) {
                        continue;
                    }
                    let region_identity = RegionIdentity::of(&image);
                    let life = image.word("sun.rt.createVmBeginTime").unwrap();
                    for _ in 0..50 {
                        match region.read(&region_identity, &fixture.1, &mut row) {
                            Ok(_) => {
                                reads.fetch_add(1, Ordering::Relaxed);
                                assert!(row.iter().all(|word| *word == life), "life {life}: {row:?}");
                            }
                            Err(_) => {
                                refused.fetch_add(1, Ordering::Relaxed);
                                assert!(row.is_empty(), "a refused read leaves no words behind");
                                break;
                            }
                        }
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            let life = i64::try_from(round).unwrap() + 2;
            let bytes = region_of(life, &fixture);
            match [Change::InPlace, Change::Partly, Change::InPlace, Change::Replace][(round % 4) as usize] {
                Change::InPlace => {
                    let file = OpenOptions::new().write(true).open(&path).unwrap();
                    file.set_len(0).unwrap();
                    file.set_len(bytes.len() as u64).unwrap();
                    publish(&file, &bytes, fixture.2);
                }
                Change::Partly => {
                    let file = OpenOptions::new().write(true).open(&path).unwrap();
                    file.set_len(4096).unwrap();
                    file.write_all_at(&[0; 4096], 0).unwrap();
                    file.set_len(bytes.len() as u64).unwrap();
                    publish(&file, &bytes, fixture.2);
                }
                Change::Replace => {
                    let next = path.with_extension("next");
                    fs::write(&next, &bytes).unwrap();
                    fs::rename(&next, &path).unwrap();
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    let (reads, refused) = (reads.into_inner(), refused.into_inner());
    println!("{ROUNDS} changes, {reads} whole reads, {refused} refused");
    assert!(reads > 0 && refused > 0, "{reads} reads, {refused} refused");
}

/// As HotSpot does: the prologue counts entries before their bytes are there, and the start time comes last.
fn publish(file: &File, bytes: &[u8], birth: u32) {
    let birth = birth as usize;
    file.write_all_at(&bytes[..32], 0).unwrap();
    file.write_all_at(&bytes[32..birth], 32).unwrap();
    file.write_all_at(&bytes[birth + 8..], birth as u64 + 8).unwrap();
    file.write_all_at(&bytes[birth..birth + 8], birth as u64).unwrap();
}

#[test]
fn a_truncated_region_is_refused_from_then_on() {
    for access in [FileMode::Mapped, FileMode::Pread] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1");
        let fixture = fixture();
        fs::write(&path, &fixture.0).unwrap();
        let region = open(&path, access).unwrap();
        let region_identity = RegionIdentity::of(&Image::read(&region).unwrap());
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(0).unwrap();
        let mut row = Vec::new();
        let error = region.read(&region_identity, &fixture.1, &mut row).unwrap_err();
        assert!(matches!(error, RegionError::Truncated), "{access:?}: {error}");
        assert!(matches!(Image::read(&region), Err(RegionError::Truncated)));
        if access == FileMode::Mapped {
            fs::write(&path, &fixture.0).unwrap();
            assert!(
                region.read(&region_identity, &fixture.1, &mut row).is_err(),
                "a mapping that faulted is not trusted again"
            );
        }
    }
}

#[test]
fn growth_is_told_from_replacement() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1");
    let fixture = fixture();
    fs::write(&path, &fixture.0).unwrap();
    let region = open(&path, FileMode::Mapped).unwrap();
    let region_identity = RegionIdentity::of(&Image::read(&region).unwrap());
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let mut row = Vec::new();
    assert_eq!(region.read(&region_identity, &fixture.1, &mut row).unwrap(), LayoutChange::Same);

    let used = i32::from_ne_bytes(fixture.0[8..12].try_into().unwrap());
    file.write_all_at(&(used + 40).to_ne_bytes(), 8).unwrap();
    assert_eq!(region.read(&region_identity, &fixture.1, &mut row).unwrap(), LayoutChange::Grown);
    assert_eq!(row.len(), fixture.1.len());

    file.write_all_at(&(used - 40).to_ne_bytes(), 8).unwrap();
    assert!(matches!(region.read(&region_identity, &fixture.1, &mut row), Err(RegionError::Replaced)));

    file.write_all_at(&used.to_ne_bytes(), 8).unwrap();
    file.write_all_at(&1_i64.to_ne_bytes(), u64::from(fixture.2)).unwrap();
    assert!(matches!(region.read(&region_identity, &fixture.1, &mut row), Err(RegionError::Replaced)));
}

#[test]
fn offsets_outside_the_region_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1");
    let fixture = fixture();
    fs::write(&path, &fixture.0).unwrap();
    for access in [FileMode::Mapped, FileMode::Pread] {
        let region = open(&path, access).unwrap();
        let region_identity = RegionIdentity::of(&Image::read(&region).unwrap());
        for offset in [4, 32_768, 32_764, u32::MAX, u32::MAX - 7] {
            let mut row = vec![7];
            let error = region.read(&region_identity, &[32, offset], &mut row).unwrap_err();
            assert!(matches!(error, RegionError::Offset(found) if found == offset), "{error}");
            assert!(row.is_empty());
        }
        let mut row = Vec::new();
        region.read(&region_identity, &[32_760], &mut row).unwrap();
    }
}

#[test]
fn sizes_that_no_jvm_makes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, size, fits) in [
        ("0", 0, false),
        ("31", 31, false),
        ("32", 32, true),
        ("odd", 4099, true),
        ("16m", 16 << 20, true),
        ("4g", 4 << 30, false),
    ] {
        let path = folder.path().join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        let opened = open(&path, FileMode::Mapped);
        match opened {
            Ok(region) => {
                assert!(fits, "{name}");
                assert!(matches!(Image::read(&region), Err(RegionError::Decode(error)) if error.is_blank()), "{name}");
            }
            Err(error) => assert!(!fits && error.to_string().contains(&format!("found {size}")), "{name}: {error}"),
        }
    }
}

#[test]
fn the_lease_tells_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1");
    fs::write(&path, fixture().0).unwrap();
    let region = open(&path, FileMode::Mapped).unwrap();
    if region.writer() == WriterState::Unknown {
        return skip_this("leases on this file system are not trusted");
    }
    // A program that another test starts holds this process's files, too, until it runs.
    let closed = || wait_for("no writer", || ensure(region.writer() == WriterState::Absent, "there is one"));
    closed();
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(region.writer(), WriterState::Present);
    drop(writer);
    closed();
    fs::remove_file(&path).unwrap();
    assert_eq!(region.writer(), WriterState::Absent, "an unlinked file is asked the same way");
}

#[test]
fn a_change_detector_sees_every_change_and_outlives_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("1");
    let fixture = fixture();
    fs::write(&path, region_of(7, &fixture)).unwrap();
    let words = [fixture.1[0], fixture.1[50], fixture.1[0]];
    let region = Arc::new(open(&path, FileMode::Mapped).unwrap());
    let region_identity = RegionIdentity::of(&Image::decode(fs::read(&path).unwrap()).unwrap());
    let detector = ChangeDetector::new(&region, &region_identity, words).unwrap();
    assert_eq!(detector.load(), Some([7; 3]));

    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&9_i64.to_ne_bytes(), words[1].into()).unwrap();
    assert_eq!(detector.load(), Some([7, 9, 7]));
    drop(region);
    file.set_len(0).unwrap();
    assert_eq!(detector.load(), Some([0; 3]), "the file has no pages any more");

    fs::write(&path, region_of(7, &fixture)).unwrap();
    let copied = Arc::new(open(&path, FileMode::Pread).unwrap());
    assert!(ChangeDetector::new(&copied, &region_identity, words).is_none(), "nothing is mapped");
    let mapped = Arc::new(open(&path, FileMode::Mapped).unwrap());
    let length = u32::try_from(mapped.length()).unwrap();
    for outside in [length, length - 4, 33] {
        assert!(ChangeDetector::new(&mapped, &region_identity, [words[0], outside]).is_none(), "{outside}");
    }
}

/// The memory of this very process stands for that of a JVM.
#[test]
fn reads_of_a_process_see_every_change() {
    let fixture = fixture();
    let bytes = region_of(7, &fixture);
    let memory: Vec<AtomicU64> =
        bytes.chunks_exact(8).map(|word| AtomicU64::new(u64::from_ne_bytes(word.try_into().unwrap()))).collect();
    let own = ProcessMemory::open(fs::File::open("/proc/self").unwrap()).unwrap();
    let region = Arc::new(Region::of_process(own.clone(), memory.as_ptr() as u64, bytes.len() as u64).unwrap());
    let region_identity = RegionIdentity::of(&Image::decode(bytes).unwrap());
    let words = [fixture.1[50], fixture.1[0], fixture.1[50]];
    let detector = ChangeDetector::new(&region, &region_identity, words).unwrap();
    let read_once = || {
        let mut values = Vec::new();
        let consistency = region.read_once(&region_identity, &words, &mut values);
        consistency.map(|consistency| (consistency, values))
    };
    assert_eq!(detector.load(), Some([7; 3]));
    assert_eq!(read_once().unwrap(), (Consistency::MaybeTorn, vec![7; 3]));

    memory[words[0] as usize / 8].store(9, Ordering::Relaxed);
    assert_eq!(detector.load(), Some([9, 7, 9]));
    assert_eq!(read_once().unwrap().1, [9, 7, 9]);
    let mut fast = Vec::new();
    region.read_fast(&region_identity, &words, &mut fast).unwrap();
    assert_eq!(fast, [9, 7, 9]);

    memory[fixture.2 as usize / 8].store(8, Ordering::Relaxed);
    assert!(matches!(read_once(), Err(RegionError::Replaced)), "another JVM's");
    let nobody = Arc::new(Region::of_process(own, 8, 4096).unwrap());
    assert_eq!(ChangeDetector::new(&nobody, &region_identity, words).unwrap().load(), None);
}
