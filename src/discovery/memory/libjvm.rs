//! The symbols of `libjvm.so` that lead to HotSpot's description of its own structures, vmStructs.
//!
//! The user who runs the process controls the library, so its ELF headers are hostile. No more of it is read than the
//! tables in question, each at most [`TABLE_MAXIMUM`] bytes.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use object::elf::{FileHeader64, SHT_DYNSYM, Sym64};
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{Endianness, ReadCache, ReadRef};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::discovery::open::{Opener, reopen};
use crate::proc::maps::Library;
use crate::proc::stat::directory;
use crate::proc::{FileId, Process};

/// Largest library that is read; HotSpot's have about 20 MB, and several hundred with debugging symbols.
const LIBRARY_MAXIMUM: u64 = 2 << 30;
/// Largest table read at once, in bytes: 170,000 symbols. HotSpot exports about 500.
const TABLE_MAXIMUM: u64 = 4 << 20;
/// Libraries whose symbols are remembered; a host has as many as it has JDKs.
const REMEMBERED: usize = 256;

/// Addresses of HotSpot's variables, relative to the address where the library is loaded (vmStructs.hpp, JDK 8 to 27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbols {
    /// `gHotSpotVMStructs`, which points to the array.
    pub(super) structs: u64,
    /// Bytes from one entry to the next.
    pub(super) stride: u64,
    /// The variables that hold the offset of each field in an entry.
    pub(super) type_name: u64,
    pub(super) field_name: u64,
    pub(super) is_static: u64,
    pub(super) address: u64,
    /// What takes more than the addresses of static fields.
    pub(super) tables: Option<TableSymbols>,
}

/// Addresses of the variables that describe instance fields, types and constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableSymbols {
    /// The variable that holds the offset of a field's own offset in an entry of `gHotSpotVMStructs`.
    pub(super) field_offset: u64,
    /// `gHotSpotVMTypes`: names and sizes of types.
    pub(super) types: ColumnSymbols,
    /// `gHotSpotVMIntConstants`: names and values.
    pub(super) ints: ColumnSymbols,
    /// `gHotSpotVMLongConstants`: names and values.
    pub(super) longs: ColumnSymbols,
}

/// Addresses of the variables that describe an array of names and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ColumnSymbols {
    /// The variable that points to the array.
    pub(super) array: u64,
    /// Bytes from one entry to the next.
    pub(super) stride: u64,
    /// The offset of the name in an entry.
    pub(super) name: u64,
    /// The offset of the number in an entry.
    pub(super) number: u64,
}

/// Why a library gives no symbols.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LibraryError {
    /// It cannot be opened.
    #[error("its libjvm.so cannot be opened ({0})")]
    Open(Errno),
    /// Larger than any libjvm.so.
    #[error("its libjvm.so has {0} bytes, expected at most {LIBRARY_MAXIMUM}")]
    Size(u64),
    /// Not ELF, of another word size, or with tables that lie outside of the file.
    #[error("its libjvm.so cannot be read as 64-bit ELF ({0})")]
    Elf(String),
    /// The symbols are not exported.
    #[error("its libjvm.so does not export {0}: it is stripped, or not HotSpot's")]
    Symbol(&'static str),
}

/// The symbols of the libraries that were read; all JVMs of a JDK share one library.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    known: HashMap<LibraryVersion, Result<Symbols, LibraryError>>,
}

/// A file with one content: a change of content changes size or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LibraryVersion {
    id: FileId,
    size: i64,
    modified: (i64, u64),
}

impl Libraries {
    /// The symbols of the library that the process has mapped.
    pub(super) fn symbols(
        &mut self,
        opener: &Opener,
        process: &Process,
        library: &Library,
    ) -> Result<(LibraryVersion, Symbols), LibraryError> {
        let file = open_library(opener, process, library).map_err(LibraryError::Open)?;
        let stat = fstat(&file).map_err(LibraryError::Open)?;
        let version =
            LibraryVersion { id: FileId::of(&stat), size: stat.st_size, modified: (stat.st_mtime, stat.st_mtime_nsec) };
        if let Some(symbols) = self.known.get(&version) {
            return symbols.clone().map(|symbols| (version, symbols));
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let symbols = match u64::try_from(stat.st_size).unwrap_or_default() {
            size if size > LIBRARY_MAXIMUM => Err(LibraryError::Size(size)),
            _ => read(file),
        };
        self.known.insert(version, symbols.clone());
        symbols.map(|symbols| (version, symbols))
    }
}

/// Opens the very file that is mapped, through `map_files`, which takes `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`; else
/// the file at its path.
fn open_library(opener: &Opener, process: &Process, library: &Library) -> Result<File, Errno> {
    let directory = process.directory();
    let name = format!("map_files/{:x}-{:x}", library.start, library.end);
    let through_map = openat(directory, &*name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .and_then(|handle| regular(&handle).map(|_| handle))
        .and_then(|handle| reopen(&handle, directory.as_fd(), Path::new(&name)));
    match through_map {
        Err(_) if !library.deleted => by_path(opener, process, library),
        result => result,
    }
}

/// The map shows a path below the reader's root if the file is there, and below the process's root in another mount
/// namespace.
fn by_path(opener: &Opener, process: &Process, library: &Library) -> Result<File, Errno> {
    let path = library.path.strip_prefix("/").map_err(|_| Errno::NOENT)?;
    let roots = [process.root(), directory(CWD, "/")];
    let mut failure = Errno::NOENT;
    for root in roots {
        let found = root.and_then(|root| {
            let handle = opener.handle(&root, path)?;
            // The map of a layered file system may show another number; then the file counts as replaced.
            match regular(&handle)? {
                inode if inode == library.inode => reopen(&handle, root.as_fd(), path),
                _ => Err(Errno::STALE),
            }
        });
        match found {
            Err(errno) => failure = errno,
            found => return found,
        }
    }
    Err(failure)
}

/// The inode of a regular file.
fn regular(handle: &OwnedFd) -> Result<u64, Errno> {
    let stat = fstat(handle)?;
    (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then_some(stat.st_ino).ok_or(Errno::INVAL)
}

fn read(file: File) -> Result<Symbols, LibraryError> {
    let cache = ReadCache::new(file);
    let table = symbol_table(BoundedFile(&cache)).map_err(|error| LibraryError::Elf(error.to_string()))?;
    let find = |name| table.find(name).ok_or(LibraryError::Symbol(name));
    Ok(Symbols {
        structs: find("gHotSpotVMStructs")?,
        stride: find("gHotSpotVMStructEntryArrayStride")?,
        type_name: find("gHotSpotVMStructEntryTypeNameOffset")?,
        field_name: find("gHotSpotVMStructEntryFieldNameOffset")?,
        is_static: find("gHotSpotVMStructEntryIsStaticOffset")?,
        address: find("gHotSpotVMStructEntryAddressOffset")?,
        tables: tables(&table),
    })
}

fn tables(table: &SymbolTable<'_>) -> Option<TableSymbols> {
    let columns = |array, entry: &str, number: &str| {
        Some(ColumnSymbols {
            array: table.find(array)?,
            stride: table.find(&format!("gHotSpotVM{entry}EntryArrayStride"))?,
            name: table
                .find(&format!("gHotSpotVM{entry}EntryNameOffset"))
                .or_else(|| table.find(&format!("gHotSpotVM{entry}EntryTypeNameOffset")))?,
            number: table.find(&format!("gHotSpotVM{entry}Entry{number}Offset"))?,
        })
    };
    Some(TableSymbols {
        field_offset: table.find("gHotSpotVMStructEntryOffsetOffset")?,
        types: columns("gHotSpotVMTypes", "Type", "Size")?,
        ints: columns("gHotSpotVMIntConstants", "IntConstant", "Value")?,
        longs: columns("gHotSpotVMLongConstants", "LongConstant", "Value")?,
    })
}

/// The exported symbols of a library and their names.
struct SymbolTable<'a> {
    endian: Endianness,
    symbols: &'a [Sym64<Endianness>],
    names: &'a [u8],
}

fn symbol_table<'a>(data: BoundedFile<'a>) -> object::read::Result<SymbolTable<'a>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.section_headers(endian, data)?;
    let Some(dynamic) = sections.iter().find(|section| section.sh_type(endian) == SHT_DYNSYM) else {
        return Ok(SymbolTable { endian, symbols: &[], names: &[] });
    };
    let symbols = dynamic.data_as_array(endian, data)?;
    let names = usize::try_from(dynamic.sh_link(endian)).ok().and_then(|at| sections.get(at));
    let names = names.map(|names| names.data(endian, data)).transpose()?.unwrap_or_default();
    Ok(SymbolTable { endian, symbols, names })
}

impl SymbolTable<'_> {
    fn find(&self, name: &str) -> Option<u64> {
        let symbol = self.symbols.iter().find(|symbol| {
            let at = usize::try_from(symbol.st_name(self.endian)).ok();
            let rest = at.and_then(|at| self.names.get(at..)?.strip_prefix(name.as_bytes()));
            rest.is_some_and(|rest| rest.first() == Some(&0)) && !symbol.is_undefined(self.endian)
        })?;
        Some(symbol.st_value(self.endian))
    }
}

/// A file of which no table larger than [`TABLE_MAXIMUM`] is read.
#[derive(Clone, Copy)]
struct BoundedFile<'a>(&'a ReadCache<File>);

impl<'a> ReadRef<'a> for BoundedFile<'a> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > TABLE_MAXIMUM { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use std::io::Write;

    use super::*;

    fn of_bytes(bytes: &[u8]) -> Result<Symbols, LibraryError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read(file)
    }

    /// The headers of an ELF file with one section, of type SHT_DYNSYM, at that offset and of that size.
    fn elf(offset: u64, size: u64, link: u32) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([3, 0, 62, 0, 1, 0, 0, 0]);
        bytes.extend([0_u64, 0, 64].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([0_u8; 4]);
        bytes.extend([64_u16, 56, 0, 64, 2, 0].iter().flat_map(|half| half.to_le_bytes()));
        bytes.extend([0; 64]);
        let mut section = vec![0_u8; 64];
        section[4] = 11;
        section[24..32].copy_from_slice(&offset.to_le_bytes());
        section[32..40].copy_from_slice(&size.to_le_bytes());
        section[40..44].copy_from_slice(&link.to_le_bytes());
        bytes.extend(section);
        bytes
    }

    #[test]
    fn damaged_libraries_are_refused_without_reading_much() {
        for (what, bytes) in [
            ("empty", vec![]),
            ("text", b"not a library, and long enough to hold a header of sixty-four bytes at least".to_vec()),
            ("32 bits", [&[0x7f, b'E', b'L', b'F', 1, 1, 1][..], &[0; 200]].concat()),
            ("header alone", elf(0, 24, 0)[..64].to_vec()),
            ("endless table", elf(0, u64::MAX, 1)),
            ("table beyond the end", elf(1 << 40, 48, 1)),
            ("table of half an entry", elf(0, 25, 1)),
        ] {
            assert!(matches!(of_bytes(&bytes), Err(LibraryError::Elf(_))), "{what}: {:?}", of_bytes(&bytes));
        }
        for link in [0, 1, 2, u32::MAX] {
            assert_eq!(of_bytes(&elf(0, 48, link)), Err(LibraryError::Symbol("gHotSpotVMStructs")), "{link}");
        }
    }

    #[test]
    fn a_sparse_giant_is_not_read() {
        let file = tempfile::tempfile().unwrap();
        let size = 1 << 40;
        file.set_len(size).unwrap();
        let mut bytes = elf(4096, size - 4096, 1);
        bytes[63] = 0;
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        assert!(matches!(read(file), Err(LibraryError::Elf(_))));
    }
}
