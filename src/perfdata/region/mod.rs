//! Foreign memory: the only module with `unsafe`.
//!
//! # Rules
//! 1. No reference or slice into a mapping exists, ever: another process writes to it. Words are read with one atomic
//!    load each; anything longer is copied out first.
//! 2. Every load is bounds-checked against the length that was mapped.
//! 3. The file may shrink under us at any instant. A mapped read past its end raises SIGBUS; [`guard`] turns that into
//!    a zero and a mark on the region, and every read checks the mark before it hands out values.
//! 4. The memory of another process is never mapped: the kernel copies it ([`Memory`]), which cannot fault.
//! 5. A region may be reused in place by another JVM. [`Seal`] names the JVM that the caller knows; a read that
//!    cannot prove that all its words are that JVM's is an error.

#![allow(unsafe_code)]

mod guard;
mod lease;
mod peer;
mod pulse;
mod remote;
mod settle;

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};

use super::prologue::{ACCESSIBLE_OFFSET, PROLOGUE_LENGTH};
use super::{ByteOrder, DecodeError, Image, REGION_MAXIMUM, REGION_MINIMUM};

pub use lease::Writer;
pub use peer::{Peer, peer};
pub use pulse::Pulse;
pub use remote::{Memory, MemoryError};
use settle::{COPIES_MAXIMUM, settle};

/// How a region file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Loads from a shared read-only mapping: 0.2 ns a counter (measured), and never torn.
    #[default]
    Mapped,
    /// `pread` into a private buffer: 1.5 us a region (measured). For file systems that cannot map, and for those who
    /// prefer it.
    Pread,
}

/// By which way a region is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// The file that the JVM publishes.
    File,
    /// The JVM's own memory.
    Memory,
}

impl Via {
    /// The word in `list` and `/targets`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Memory => "memory",
        }
    }
}

/// The memory of one JVM's counters, open for reading.
#[derive(Debug)]
pub struct Region {
    length: usize,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Mapped { file: File, mapping: Mapping },
    Pread { file: File },
    Process { memory: Memory, start: u64 },
}

thread_local! {
    /// Where the words of a process are copied to, at most [`REGION_MAXIMUM`] bytes. Not a region's own, since a
    /// thousand of them would hold tens of megabytes.
    static COPY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Mapping {
    /// Held before `memory` so that the guard forgets the range before it is unmapped.
    registration: guard::Registration,
    memory: MmapRaw,
}

/// Why a region could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The region has a size that no JVM makes.
    #[error("a region has {REGION_MINIMUM} to {REGION_MAXIMUM} bytes, found {0}")]
    Size(u64),
    /// The file shrank under the read, or had shrunk before.
    #[error("the file shrank while it was read; its JVM is being replaced, or somebody truncated it")]
    Truncated,
    /// The region now belongs to another JVM than the one in the seal.
    #[error("another JVM took the region over")]
    Replaced,
    /// The region changed during every copy of it, so that its words may be torn.
    #[error("the region changed during each of {COPIES_MAXIMUM} copies")]
    Unsettled,
    /// An offset that does not lie in the region or is not a multiple of 8.
    #[error("no word at byte {0}")]
    Offset(u32),
    /// The bytes are not a region.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The region's process cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The operating system refused.
    #[error("cannot read the region: {0}")]
    Io(#[from] std::io::Error),
}

/// Whether the layout that a plan was made from is still the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// No entry was added.
    Same,
    /// Entries were added; those known keep their places, and a new plan would see more.
    Grown,
}

/// The identity of the JVM in a region: its prologue, and the word that tells one JVM's life from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    head: [u64; HEAD.len()],
    order: ByteOrder,
    birth: Option<(u32, i64)>,
}

/// Offsets of the prologue's words.
const HEAD: [u32; PROLOGUE_LENGTH / 8] = [0, 8, 16, 24];

/// Counters that are written once in a JVM's life and differ between any two, in order of preference: epoch
/// milliseconds of the start. GraalVM native images have only the second (hotspot.md section 2).
const BIRTH: [&str; 2] = ["sun.rt.createVmBeginTime", "sun.rt.vmInitDoneTime"];

impl Seal {
    /// The seal of the JVM in `image`.
    pub fn of(image: &Image) -> Self {
        let mut head = [0; HEAD.len()];
        for (word, bytes) in head.iter_mut().zip(image.bytes().chunks_exact(8)) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
        }
        let birth = BIRTH.iter().find_map(|name| {
            let entry = image.entry(name).filter(|entry| entry.is_word())?;
            let value = image.word(name).filter(|value| *value != 0)?;
            Some((entry.offset, value))
        });
        Self { head, order: image.prologue.byte_order, birth }
    }

    /// Offset of the birth word.
    fn birth_offset(&self) -> Option<u32> {
        self.birth.map(|(offset, _)| offset)
    }

    /// What `head` and the birth word, just read, say about the JVM of this seal.
    fn verify(&self, head: [u64; HEAD.len()], birth: Option<u64>) -> Result<Freshness, RegionError> {
        if birth.map(|word| self.order.i64(word.to_ne_bytes())) != self.birth.map(|(_, value)| value) {
            return Err(RegionError::Replaced);
        }
        if head == self.head {
            return Ok(Freshness::Same);
        }
        let (old, new) = (Counts::of(self.head, self.order), Counts::of(head, self.order));
        // Entries are only ever appended. Without a birth word growth cannot be told from a replacement.
        let grown = self.birth.is_some() && new.continues(&old);
        grown.then_some(Freshness::Grown).ok_or(RegionError::Replaced)
    }
}

/// The numbers of a prologue, compared between two reads.
struct Counts {
    fixed: (u64, i32),
    growing: [i32; 3],
    stamp: i64,
}

impl Counts {
    fn of(head: [u64; HEAD.len()], order: ByteOrder) -> Self {
        let [first, used, stamp, entries] = head.map(u64::to_ne_bytes);
        let halves = |bytes: [u8; 8]| {
            let [a, b, c, d, e, f, g, h] = bytes;
            (order.i32([a, b, c, d]), order.i32([e, f, g, h]))
        };
        let (used, overflow) = halves(used);
        let (entry_offset, num_entries) = halves(entries);
        let mut opening = first;
        // `accessible` goes from 0 to 1 within one life.
        if let Some(byte) = opening.get_mut(ACCESSIBLE_OFFSET) {
            *byte = 1;
        }
        Self {
            fixed: (u64::from_ne_bytes(opening), entry_offset),
            growing: [used, overflow, num_entries],
            stamp: order.i64(stamp),
        }
    }

    fn continues(&self, old: &Self) -> bool {
        self.fixed == old.fixed
            && self.stamp >= old.stamp
            && self.growing.iter().zip(&old.growing).all(|(new, old)| new >= old)
    }
}

impl Region {
    /// Opens the region in `file`, which the caller has checked to be a regular file of a trusted owner, opened for
    /// reading only.
    ///
    /// # Errors
    /// A size outside [`REGION_MINIMUM`] to [`REGION_MAXIMUM`], or a refusal of the operating system. A file that
    /// cannot be mapped is read with `pread`, which is no error.
    pub fn open(file: File, access: Access) -> Result<Self, RegionError> {
        let length = checked_length(file.metadata()?.len())?;
        let mapping = match access {
            Access::Mapped => Mapping::new(&file, length),
            Access::Pread => None,
        };
        let source = match mapping {
            Some(mapping) => Source::Mapped { file, mapping },
            None => Source::Pread { file },
        };
        Ok(Self { length, source })
    }

    /// The region of `length` bytes at the address `start` of another process. Nothing is read yet.
    ///
    /// # Errors
    /// A length outside [`REGION_MINIMUM`] to [`REGION_MAXIMUM`], or an address at which no region can lie.
    pub fn of_process(memory: Memory, start: u64, length: u64) -> Result<Self, RegionError> {
        let checked = checked_length(length)?;
        if !start.is_multiple_of(8) || start.checked_add(length).is_none() {
            return Err(MemoryError::Unmapped.into());
        }
        Ok(Self { length: checked, source: Source::Process { memory, start } })
    }

    /// Length in bytes, fixed when the region was opened.
    pub fn length(&self) -> usize {
        self.length
    }

    /// By which way this region is reached.
    pub fn via(&self) -> Via {
        match self.source {
            Source::Mapped { .. } | Source::Pread { .. } => Via::File,
            Source::Process { .. } => Via::Memory,
        }
    }

    /// The open file, for questions about the file itself; `None` where the JVM's memory is read.
    pub fn file(&self) -> Option<&File> {
        match &self.source {
            Source::Mapped { file, .. } | Source::Pread { file } => Some(file),
            Source::Process { .. } => None,
        }
    }

    /// Whether some process holds the file open for writing, as a living JVM does: the read-lease probe.
    pub fn writer(&self) -> Writer {
        self.file().map_or(Writer::Unknown, |file| lease::probe(file.as_fd()))
    }

    /// Replaces `into` by a copy of the whole region.
    ///
    /// # Errors
    /// [`RegionError::Truncated`], or a refusal of the operating system.
    pub fn copy(&self, into: &mut Vec<u8>) -> Result<(), RegionError> {
        into.clear();
        match &self.source {
            Source::Mapped { mapping, .. } => {
                into.reserve(self.length);
                for offset in (0..self.length.saturating_sub(7)).step_by(8) {
                    into.extend_from_slice(&mapping.load(offset).to_ne_bytes());
                }
                // A length that is no multiple of 8 is no JVM's; its last bytes hold no word.
                into.resize(self.length, 0);
                mapping.check()
            }
            Source::Pread { file } => {
                into.resize(self.length, 0);
                settle(into, |bytes| read_exact(file, bytes, 0))
            }
            Source::Process { memory, start } => {
                into.resize(self.length, 0);
                settle(into, |bytes| Ok(memory.read(*start, bytes)?))
            }
        }
    }

    /// Replaces `out` by the words at `offsets`, all of them of the JVM of `seal`.
    ///
    /// Each word is untorn; different words may be nanoseconds apart.
    ///
    /// # Errors
    /// [`RegionError::Replaced`] or [`RegionError::Truncated`] if the words may not be that JVM's: `out` is then
    /// empty. [`RegionError::Offset`] for an offset outside the region.
    pub fn gather(&self, seal: &Seal, offsets: &[u32], out: &mut Vec<i64>) -> Result<Freshness, RegionError> {
        let result = self.try_gather(seal, offsets, out);
        if result.is_err() {
            out.clear();
        }
        result
    }

    fn try_gather(&self, seal: &Seal, offsets: &[u32], out: &mut Vec<i64>) -> Result<Freshness, RegionError> {
        out.clear();
        match &self.source {
            Source::Mapped { mapping, .. } => {
                let before = self.identify(seal)?;
                fence(Ordering::Acquire);
                for offset in offsets {
                    let at = self.checked(*offset)?;
                    out.push(seal.order.i64(mapping.load(at).to_ne_bytes()));
                }
                fence(Ordering::Acquire);
                self.identify(seal).map(|after| later(before, after))
            }
            Source::Pread { file } => {
                let before = self.identify(seal)?;
                let mut bytes = vec![0; self.length];
                settle(&mut bytes, |bytes| read_exact(file, bytes, 0))?;
                self.pick(&bytes, seal, offsets, out)?;
                self.identify(seal).map(|after| later(before, after))
            }
            Source::Process { memory, start } => COPY.with_borrow_mut(|copy| {
                // One range from the prologue to the last word, since further ranges cost more than the bytes between
                // them (measured: 12 KiB in one range as much as 40 bytes, five ranges three times that). One call
                // reads one address space, in which HotSpot makes PerfMemory once, so one look at the seal will do.
                let last = offsets.iter().copied().chain(seal.birth_offset()).max();
                let end = last.map(|last| self.checked(last)).transpose()?.unwrap_or(0).saturating_add(8);
                let end = end.max(PROLOGUE_LENGTH);
                if copy.len() < end {
                    copy.resize(end, 0);
                }
                let copy = copy.get_mut(..end).unwrap_or_default();
                settle(copy, |bytes| Ok(memory.read(*start, bytes)?))?;
                let mut head = [0; HEAD.len()];
                for (word, offset) in head.iter_mut().zip(HEAD) {
                    *word = u64::from_ne_bytes(self.word_in(copy, offset)?);
                }
                let birth = seal.birth_offset().map(|offset| self.word_in(copy, offset)).transpose()?;
                let freshness = seal.verify(head, birth.map(u64::from_ne_bytes))?;
                self.pick(copy, seal, offsets, out)?;
                Ok(freshness)
            }),
        }
    }

    /// Appends the words at `offsets` of a copy of this region, or of its beginning.
    fn pick(&self, copy: &[u8], seal: &Seal, offsets: &[u32], out: &mut Vec<i64>) -> Result<(), RegionError> {
        for offset in offsets {
            out.push(seal.order.i64(self.word_in(copy, *offset)?));
        }
        Ok(())
    }

    fn word_in(&self, copy: &[u8], offset: u32) -> Result<[u8; 8], RegionError> {
        let at = self.checked(offset)?;
        copy.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(RegionError::Offset(offset))
    }

    /// Replaces `out` by the words at `offsets`, for looks that come hundreds of times a second: only the birth word
    /// and the fault mark are checked, once and after the loads, so that entries may be added meanwhile. A seal
    /// without a birth word, and a region that is not mapped, cost as much as [`Region::gather`].
    ///
    /// Each word is untorn; nothing is promised about the order in which different words are read.
    ///
    /// # Errors
    /// As [`Region::gather`]; `out` is then empty.
    pub fn peek(&self, seal: &Seal, offsets: &[u32], out: &mut Vec<i64>) -> Result<(), RegionError> {
        let (Source::Mapped { mapping, .. }, Some((offset, value))) = (&self.source, seal.birth) else {
            return self.gather(seal, offsets, out).map(|_| ());
        };
        out.clear();
        for offset in offsets {
            let Ok(at) = self.checked(*offset) else {
                out.clear();
                return Err(RegionError::Offset(*offset));
            };
            out.push(seal.order.i64(mapping.load(at).to_ne_bytes()));
        }
        // A region is emptied before another JVM writes to it: a birth word that is still there vouches for every
        // load before it.
        fence(Ordering::Acquire);
        let birth = seal.order.i64(self.word(offset)?.to_ne_bytes());
        let verdict = mapping.check().and(if birth == value { Ok(()) } else { Err(RegionError::Replaced) });
        if verdict.is_err() {
            out.clear();
        }
        verdict
    }

    /// Compares the region with the seal, now.
    fn identify(&self, seal: &Seal) -> Result<Freshness, RegionError> {
        let mut head = [0; HEAD.len()];
        for (word, offset) in head.iter_mut().zip(HEAD) {
            *word = self.word(offset)?;
        }
        let birth = seal.birth_offset().map(|offset| self.word(offset)).transpose()?;
        if let Source::Mapped { mapping, .. } = &self.source {
            mapping.check()?;
        }
        seal.verify(head, birth)
    }

    /// One word in the order of this machine's memory.
    fn word(&self, offset: u32) -> Result<u64, RegionError> {
        let at = self.checked(offset)?;
        match &self.source {
            Source::Mapped { mapping, .. } => Ok(mapping.load(at)),
            Source::Pread { file } => {
                let mut bytes = [0; 8];
                read_exact(file, &mut bytes, at as u64)?;
                Ok(u64::from_ne_bytes(bytes))
            }
            Source::Process { memory, start } => Ok(u64::from_ne_bytes(memory.bytes(start.saturating_add(at as u64))?)),
        }
    }

    /// `offset` as an index at which a whole aligned word lies in the region.
    fn checked(&self, offset: u32) -> Result<usize, RegionError> {
        let at = offset as usize;
        let fits = at.checked_add(8).is_some_and(|end| end <= self.length);
        (fits && at.is_multiple_of(8)).then_some(at).ok_or(RegionError::Offset(offset))
    }
}

/// A length that a region may have.
fn checked_length(length: u64) -> Result<usize, RegionError> {
    usize::try_from(length)
        .ok()
        .filter(|_| (REGION_MINIMUM..=REGION_MAXIMUM).contains(&length))
        .ok_or(RegionError::Size(length))
}

/// What is known after two looks of which the second saw `after`.
fn later(before: Freshness, after: Freshness) -> Freshness {
    if before == after { before } else { Freshness::Grown }
}

impl Mapping {
    /// `None` where the file cannot be mapped or the guard has no room for it.
    fn new(file: &File, length: usize) -> Option<Self> {
        let memory = MmapOptions::new().len(length).map_raw_read_only(file).ok()?;
        let registration = guard::register(memory.as_ptr() as usize, length)?;
        Some(Self { registration, memory })
    }

    /// The word at `at`, which the caller has checked: a multiple of 8 with `at + 8` at most the mapped length.
    fn load(&self, at: usize) -> u64 {
        debug_assert!(at.is_multiple_of(8) && at.saturating_add(8) <= self.memory.len());
        // SAFETY: `at` lies in the mapping and is aligned (checked by `Region::checked`, or by the step of
        // `Region::copy`); the mapping starts on a page. The mapping lives as long as `self`. A relaxed load of 8
        // bytes never writes, so read-only memory is fine, and other processes may write meanwhile: it is atomic. A
        // page behind the end of a shrunken file raises SIGBUS, which the registered guard turns into a zero.
        unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().add(at).cast()).load(Ordering::Relaxed) }
    }

    /// Whether every load so far read the file.
    fn check(&self) -> Result<(), RegionError> {
        if self.registration.faulted() { Err(RegionError::Truncated) } else { Ok(()) }
    }
}

/// `pread` of exactly that many bytes; fewer mean that the file shrank.
fn read_exact(file: &File, into: &mut [u8], at: u64) -> Result<(), RegionError> {
    match file.read_exact_at(into, at) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(RegionError::Truncated),
        other => Ok(other?),
    }
}
