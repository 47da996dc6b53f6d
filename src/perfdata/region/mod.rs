//! Foreign memory: the only module with `unsafe`.
//!
//! # Rules
//! 1. No reference to plain memory and no slice into a mapping exists: another process writes to it. Words are read with
//!    one atomic load each; anything longer is copied first.
//! 2. Every load is bounds-checked against the mapped length.
//! 3. The file may shrink at any time. A mapped read past its end raises SIGBUS; `guard` turns that into a zero and a
//!    mark on the region, and every read checks the mark before it returns values.
//! 4. The memory of another process is never mapped: the kernel copies it ([`ProcessMemory`]), which cannot fault.
//! 5. Another JVM may reuse a region in place. [`RegionIdentity`] names the JVM that the caller knows; a read that cannot
//!    prove that all its words are that JVM's is an error.

#![allow(unsafe_code)]

mod change;
mod guard;
mod identity;
mod lease;
mod mapped;
mod peer;
mod process;
mod stable;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::{cell::RefCell, fs::File, os::fd::AsFd, os::unix::fs::FileExt};

use super::{ByteOrder, DecodeError, IMAGE_MAXIMUM, REGION_MAXIMUM, REGION_MINIMUM};

pub use change::ChangeDetector;
use identity::HEAD;
pub use identity::RegionIdentity;
pub use lease::WriterState;
use mapped::Mapping;
pub(crate) use peer::peer;
pub use process::{MemoryError, ProcessMemory};
use stable::{COPIES_MAXIMUM, read_stable};

/// How a region file is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileMode {
    /// Loads from a shared read-only mapping: 0.2 ns a counter (measured), and never torn.
    #[default]
    Mapped,
    /// `pread` into a private buffer: 1.5 us a region (measured). For file systems that cannot map.
    Pread,
}

/// The way by which a region is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Transport {
    /// The file that the JVM publishes.
    File,
    /// The JVM's own memory.
    Memory,
}

impl Transport {
    /// The value of `via` in `list` and `/targets`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The memory of one JVM's counters, open for reading.
#[derive(Debug)]
pub struct Region {
    length: usize,
    source: Backing,
    given_up: AtomicBool,
    /// See [`lease::is_trusted`].
    leases_trusted: OnceLock<bool>,
}

#[derive(Debug)]
enum Backing {
    Mapped { file: File, mapping: Mapping },
    Pread { file: File },
    Process { memory: ProcessMemory, start: u64 },
}

type Result<T> = std::result::Result<T, RegionError>;

thread_local! {
    /// The buffer for words that the kernel copies, at most [`IMAGE_MAXIMUM`] bytes for the words of an image. It is not
    /// the region's own, since those of a thousand regions would hold tens of megabytes.
    static COPY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why a region could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The region has an unsupported size.
    #[error("a region has {REGION_MINIMUM} to {REGION_MAXIMUM} bytes, found {0}")]
    Size(u64),
    /// The file shrank under the read, or had shrunk before.
    #[error("the file shrank while it was read: another JVM takes it over, or somebody truncated it")]
    Truncated,
    /// The region belongs to another JVM than the given identity.
    #[error("another JVM took the region over")]
    Replaced,
    /// A read of the process's memory did not end.
    #[error("a read of the JVM's memory does not end: a file system or userfaultfd below it does not answer")]
    Unresponsive,
    /// The region changed during every copy of it, so that its words may be torn.
    #[error("the region changed during each of {COPIES_MAXIMUM} copies")]
    Unsettled,
    /// An offset outside of the region, or one that is no multiple of 8.
    #[error("no word at byte {0}")]
    Offset(u32),
    /// The content is not a region.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The region's process cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The operating system reported an error.
    #[error("cannot read the region: {0}")]
    Io(#[from] std::io::Error),
}

/// Whether the entries of a region are still those of its identity; of two changes the greater holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayoutChange {
    /// No entry was added.
    Same,
    /// Entries were added; the known ones keep their offsets.
    Grown,
}

/// Whether the words of a read are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Every word is whole.
    Stable,
    /// The words come from a single copy, in which a word that was being written may be torn.
    MaybeTorn,
}

impl Region {
    /// Opens the region in `file`, which the caller has checked to be a regular file of a trusted owner, open for reading
    /// only. A file that cannot be mapped is read with `pread`. A size outside of [`REGION_MINIMUM`] to
    /// [`REGION_MAXIMUM`] is an error.
    pub fn open(file: File, access: FileMode) -> Result<Self> {
        let length = checked_length(file.metadata()?.len())?;
        let mapping = if access == FileMode::Mapped { Mapping::new(&file, length) } else { None };
        let source = match mapping {
            Some(mapping) => Backing::Mapped { file, mapping },
            None => Backing::Pread { file },
        };
        Ok(Self { length, source, given_up: AtomicBool::new(false), leases_trusted: OnceLock::new() })
    }

    /// The region of `length` bytes at the address `start` of another process. Nothing is read yet: an address at which
    /// no region can be is an error, one without memory is not.
    pub fn of_process(memory: ProcessMemory, start: u64, length: u64) -> Result<Self> {
        let checked = checked_length(length)?;
        if !start.is_multiple_of(8) || start.checked_add(length).is_none() {
            return Err(MemoryError::Unmapped.into());
        }
        Ok(Self {
            length: checked,
            source: Backing::Process { memory, start },
            given_up: AtomicBool::new(false),
            leases_trusted: OnceLock::new(),
        })
    }

    /// In bytes, as of the time when the region was opened.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The way by which this region is reached.
    pub fn transport(&self) -> Transport {
        match self.source {
            Backing::Mapped { .. } | Backing::Pread { .. } => Transport::File,
            Backing::Process { .. } => Transport::Memory,
        }
    }

    /// Whether a read of it did not end, so that nobody should begin another.
    pub fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Notes that a read of it did not end.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// The open file; `None` where the JVM's memory is read.
    pub fn file(&self) -> Option<&File> {
        match &self.source {
            Backing::Mapped { file, .. } | Backing::Pread { file } => Some(file),
            Backing::Process { .. } => None,
        }
    }

    /// Whether some process has the file open for writing, as a running JVM does: the read-lease probe.
    pub fn writer(&self) -> WriterState {
        let file = self.file().map(File::as_fd);
        let trusted = file.filter(|file| *self.leases_trusted.get_or_init(|| lease::is_trusted(*file)));
        trusted.map_or(WriterState::Unknown, lease::probe)
    }

    /// Replaces `into` by a copy of the region, of at most [`IMAGE_MAXIMUM`] bytes from its start.
    pub fn copy(&self, into: &mut Vec<u8>) -> Result<()> {
        let length = self.length.min(IMAGE_MAXIMUM);
        into.clear();
        match &self.source {
            Backing::Mapped { mapping, .. } => {
                // A length that is no multiple of 8 is no JVM's; its last bytes hold no word and stay 0.
                into.resize(length, 0);
                for (offset, word) in (0..).step_by(8).zip(into.chunks_exact_mut(8)) {
                    word.copy_from_slice(&mapping.load(offset).to_ne_bytes());
                }
                mapping.check()
            }
            Backing::Pread { file } => {
                into.resize(length, 0);
                read_stable(into, |bytes| read_exact(file, bytes, 0))
            }
            Backing::Process { memory, start } => {
                into.resize(length, 0);
                read_stable(into, |bytes| read_memory(memory, *start, 0, bytes))
            }
        }
    }

    /// Replaces `out` by the words at `offsets`, all of them of the JVM of `identity`. Each word is whole; different words
    /// may be nanoseconds apart.
    ///
    /// # Errors
    /// [`RegionError::Replaced`] or [`RegionError::Truncated`] if the words may not be that JVM's: `out` is then
    /// empty. [`RegionError::Offset`] for an offset outside the region.
    pub fn read(&self, identity: &RegionIdentity, offsets: &[u32], out: &mut Vec<i64>) -> Result<LayoutChange> {
        self.try_read(identity, offsets, out).inspect_err(|_| out.clear())
    }

    fn try_read(&self, identity: &RegionIdentity, offsets: &[u32], out: &mut Vec<i64>) -> Result<LayoutChange> {
        out.clear();
        match &self.source {
            Backing::Mapped { mapping, .. } => {
                let before = self.check_identity(identity)?;
                fence(Ordering::Acquire);
                for offset in offsets {
                    let at = self.checked(*offset)?;
                    out.push(identity.order.i64(mapping.load(at).to_ne_bytes()));
                }
                fence(Ordering::Acquire);
                self.check_identity(identity).map(|after| before.max(after))
            }
            Backing::Pread { file } => {
                let before = self.check_identity(identity)?;
                self.with_copy(
                    offsets.iter().copied(),
                    |at, into| read_stable(into, |into| read_exact(file, into, at as u64)),
                    |copy| copy.append_words(identity.order, offsets, out),
                )?;
                self.check_identity(identity).map(|after| before.max(after))
            }
            Backing::Process { memory, start } => self.with_copy(
                HEAD.into_iter().chain(identity.birth_offset()).chain(offsets.iter().copied()),
                |at, into| read_stable(into, |into| read_memory(memory, *start, at, into)),
                |copy| {
                    let mut head = [0; HEAD.len()];
                    for (word, offset) in head.iter_mut().zip(HEAD) {
                        *word = u64::from_ne_bytes(copy.word(offset)?);
                    }
                    let birth = identity.birth_offset().map(|offset| copy.word(offset)).transpose()?;
                    let change = identity.check(head, birth.map(u64::from_ne_bytes))?;
                    copy.append_words(identity.order, offsets, out)?;
                    Ok(change)
                },
            ),
        }
    }

    /// Has `copy` fill a buffer with the region from the first to the last of the words at `offsets`, given where the
    /// first one is, and passes the result to `take`.
    ///
    /// It copies one range, since further ones cost more than the bytes between them (measured: 2 KiB in one range cost
    /// as much as 8 bytes). Of a process, one call reads one address space, in which HotSpot creates PerfMemory once, so
    /// the identity is checked once, in the same copy.
    fn with_copy<T>(
        &self,
        offsets: impl Iterator<Item = u32> + Clone,
        copy: impl FnOnce(usize, &mut [u8]) -> Result<()>,
        take: impl FnOnce(Copied<'_>) -> Result<T>,
    ) -> Result<T> {
        let first = offsets.clone().min().map(|first| self.checked(first)).transpose()?.unwrap_or(0);
        let last = offsets.max().map(|last| self.checked(last)).transpose()?.unwrap_or(0);
        let length = last.saturating_sub(first).saturating_add(8);
        COPY.with_borrow_mut(|buffer| {
            if buffer.len() < length {
                buffer.resize(length, 0);
            }
            let bytes = buffer.get_mut(..length).unwrap_or_default();
            copy(first, bytes)?;
            take(Copied { first, bytes })
        })
    }

    /// Replaces `out` by the words at `offsets`, for reads that take place hundreds of times a second: only the birth
    /// counter and the fault mark are checked, once and after the loads, so that added entries are no error. An identity
    /// without a birth counter, and a file that is not mapped, cost as much as [`Region::read`], whose errors these are.
    ///
    /// Each word is whole; the order in which different words are read is not defined.
    pub fn read_fast(&self, identity: &RegionIdentity, offsets: &[u32], out: &mut Vec<i64>) -> Result<()> {
        self.read_by_birth(identity, offsets, out, |memory, start, at, into| {
            read_stable(into, |into| read_memory(memory, start, at, into))
        })
        .map(|_| ())
    }

    /// As [`Region::read_fast`], but with a single copy of a process's memory, in which a word that is being written may
    /// be torn: enough to see that nothing has changed.
    pub fn read_once(&self, identity: &RegionIdentity, offsets: &[u32], out: &mut Vec<i64>) -> Result<Consistency> {
        self.read_by_birth(identity, offsets, out, read_memory)
    }

    /// Reads with the birth counter as the only proof of identity; `copy` reads the memory of a process.
    fn read_by_birth(
        &self,
        identity: &RegionIdentity,
        offsets: &[u32],
        out: &mut Vec<i64>,
        copy: impl FnOnce(&ProcessMemory, u64, usize, &mut [u8]) -> Result<()>,
    ) -> Result<Consistency> {
        out.clear();
        let result = match (&self.source, identity.birth) {
            (Backing::Mapped { mapping, .. }, Some(birth)) => self.load(mapping, identity, birth, offsets, out),
            (Backing::Process { memory, start }, Some((birth, value))) => self.with_copy(
                offsets.iter().copied().chain([birth]),
                |at, into| copy(memory, *start, at, into),
                |copy| {
                    if identity.order.i64(copy.word(birth)?) != value {
                        return Err(RegionError::Replaced);
                    }
                    copy.append_words(identity.order, offsets, out).map(|()| Consistency::MaybeTorn)
                },
            ),
            _ => self.try_read(identity, offsets, out).map(|_| Consistency::Stable),
        };
        result.inspect_err(|_| out.clear())
    }

    /// Appends loaded words, all of them of the JVM whose birth counter has that offset and value.
    fn load(
        &self,
        mapping: &Mapping,
        identity: &RegionIdentity,
        (offset, value): (u32, i64),
        offsets: &[u32],
        out: &mut Vec<i64>,
    ) -> Result<Consistency> {
        for offset in offsets {
            out.push(identity.order.i64(mapping.load(self.checked(*offset)?).to_ne_bytes()));
        }
        // A region is emptied before another JVM writes to it, so a birth counter that is unchanged proves every load
        // before it.
        fence(Ordering::Acquire);
        let birth = identity.order.i64(self.word(offset)?.to_ne_bytes());
        mapping.check()?;
        if birth == value { Ok(Consistency::Stable) } else { Err(RegionError::Replaced) }
    }

    /// The words of the prologue.
    pub(crate) fn prologue(&self) -> Result<[u64; HEAD.len()]> {
        let head = self.head()?;
        self.check_mapping()?;
        Ok(head)
    }

    /// Checks that the region is still that of the identity.
    fn check_identity(&self, identity: &RegionIdentity) -> Result<LayoutChange> {
        let head = self.head()?;
        let birth = identity.birth_offset().map(|offset| self.word(offset)).transpose()?;
        self.check_mapping()?;
        identity.check(head, birth)
    }

    /// Checks that every load so far read the file.
    fn check_mapping(&self) -> Result<()> {
        match &self.source {
            Backing::Mapped { mapping, .. } => mapping.check(),
            Backing::Pread { .. } | Backing::Process { .. } => Ok(()),
        }
    }

    /// The words of the prologue; zeros where a mapping has faulted.
    fn head(&self) -> Result<[u64; HEAD.len()]> {
        let mut head = [0; HEAD.len()];
        for (word, offset) in head.iter_mut().zip(HEAD) {
            *word = self.word(offset)?;
        }
        Ok(head)
    }

    /// One word in this machine's byte order.
    fn word(&self, offset: u32) -> Result<u64> {
        let at = self.checked(offset)?;
        match &self.source {
            Backing::Mapped { mapping, .. } => Ok(mapping.load(at)),
            Backing::Pread { file } => {
                let mut bytes = [0; 8];
                read_exact(file, &mut bytes, at as u64)?;
                Ok(u64::from_ne_bytes(bytes))
            }
            Backing::Process { memory, start } => {
                Ok(u64::from_ne_bytes(memory.bytes(start.saturating_add(at as u64))?))
            }
        }
    }

    /// `offset` as the index of a whole aligned word of the region.
    fn checked(&self, offset: u32) -> Result<usize> {
        let at = offset as usize;
        let fits = at.checked_add(8).is_some_and(|end| end <= self.length);
        (fits && at.is_multiple_of(8)).then_some(at).ok_or(RegionError::Offset(offset))
    }
}

/// A copy of a part of a region.
struct Copied<'a> {
    /// Its start in the region.
    first: usize,
    bytes: &'a [u8],
}

impl Copied<'_> {
    fn word(&self, offset: u32) -> Result<[u8; 8]> {
        let at = (offset as usize).checked_sub(self.first).filter(|at| at.is_multiple_of(8));
        let rest = at.and_then(|at| self.bytes.get(at..));
        rest.and_then(|rest| rest.first_chunk()).copied().ok_or(RegionError::Offset(offset))
    }

    /// Appends the words at `offsets`.
    fn append_words(&self, order: ByteOrder, offsets: &[u32], out: &mut Vec<i64>) -> Result<()> {
        for offset in offsets {
            out.push(order.i64(self.word(*offset)?));
        }
        Ok(())
    }
}

/// Reads the bytes `at` bytes behind the `start` of a process's region.
fn read_memory(memory: &ProcessMemory, start: u64, at: usize, into: &mut [u8]) -> Result<()> {
    Ok(memory.read(start.saturating_add(at as u64), into)?)
}

/// A length that a region may have.
fn checked_length(length: u64) -> Result<usize> {
    let checked = usize::try_from(length).ok();
    checked.filter(|_| (REGION_MINIMUM..=REGION_MAXIMUM).contains(&length)).ok_or(RegionError::Size(length))
}

/// `pread` of exactly that many bytes; fewer mean that the file shrank.
fn read_exact(file: &File, into: &mut [u8], at: u64) -> Result<()> {
    match file.read_exact_at(into, at) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(RegionError::Truncated),
        other => Ok(other?),
    }
}
