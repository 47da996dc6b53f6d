//! `/proc/PID/maps`: whether the process runs HotSpot, where its `libjvm.so` is, and which region it writes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, makedev, openat};
use rustix::io::Errno;

use super::FileId;
use crate::perfdata::name::{user_of, vpid_of};

/// Bytes of one process's map that are read; a JVM with 100,000 mappings has about 10 MB.
const MAXIMUM: u64 = 32 << 20;

/// What a memory map says about a JVM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mappings {
    /// `libjvm.so`, if it is mapped.
    pub(crate) library: Option<Library>,
    /// OpenJ9's `libj9vm` is mapped: its `libjvm.so` is only a front, and it publishes no PerfData.
    pub(crate) openj9: bool,
    /// The region that the process writes.
    pub(crate) region: Option<MappedRegion>,
}

/// A library as the process has it mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Library {
    /// The addresses of the library's first mapping, from `start` up to `end`.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The address at which the file's first byte is, or would be, mapped.
    pub(crate) base: u64,
    pub(crate) inode: u64,
    pub(crate) path: PathBuf,
    /// The file no longer has that path.
    pub(crate) deleted: bool,
}

/// A region that a process maps for writing, as HotSpot does. Readers such as `jstat` map it read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MappedRegion {
    /// The device may differ from that of stat(2) on file systems with several devices (btrfs, overlayfs).
    pub(crate) id: FileId,
    /// The path in the mount namespace of the process.
    pub(crate) path: PathBuf,
    /// The file no longer has that path.
    pub(crate) deleted: bool,
}

impl MappedRegion {
    /// Whether this is the file `id` at `path`.
    pub(crate) fn is(&self, id: FileId, path: &Path) -> bool {
        let tail = |path: &Path| Some((path.parent()?.file_name()?.to_owned(), path.file_name()?.to_owned()));
        self.id == id || (self.id.inode == id.inode && !self.deleted && tail(&self.path) == tail(path))
    }
}

impl Mappings {
    /// Whether the process runs HotSpot, and not another virtual machine behind a `libjvm.so`.
    pub(crate) fn is_hotspot(&self) -> bool {
        self.library.is_some() && !self.openj9
    }

    /// Reads the `maps` of the process of this directory.
    ///
    /// # Errors
    /// `EACCES` for a process that may not be examined, `ESRCH` or `ENOENT` for one that has ended.
    pub(crate) fn read(directory: impl AsFd) -> Result<Self, Errno> {
        let maps = openat(directory, "maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Self::parse(File::from(maps)).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    /// Reads a map up to the line at which both library and region are known.
    fn parse(source: impl Read) -> io::Result<Self> {
        let mut found = Self::default();
        let mut source = io::BufReader::with_capacity(1 << 16, source.take(MAXIMUM));
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line)? > 0 {
            found.parse_line(line.strip_suffix(b"\n").unwrap_or(&line));
            line.clear();
            if found.library.is_some() && found.region.is_some() {
                break;
            }
        }
        Ok(found)
    }

    fn parse_line(&mut self, line: &[u8]) {
        // Nearly every line is anonymous memory or some other library.
        let Some(slash) = line.iter().position(|byte| *byte == b'/') else { return };
        let path = line.get(slash..).unwrap_or_default();
        let (path, deleted) = match path.strip_suffix(b" (deleted)") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.openj9 |= name.starts_with(b"libj9vm");
        let (fields, path) = (line.get(..slash).unwrap_or_default(), Path::new(OsStr::from_bytes(path)));
        if self.library.is_none() && name == b"libjvm.so" {
            self.library = library(fields, path, deleted);
        }
        if self.region.is_none() {
            self.region = region(fields, path, deleted);
        }
    }
}

/// `start-end r--p offset major:minor inode /usr/lib/jvm/…/libjvm.so`
fn library(fields: &[u8], path: &Path, deleted: bool) -> Option<Library> {
    let mut fields = std::str::from_utf8(fields).ok()?.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (start, end, offset) = (number(start)?, number(end)?, number(fields.nth(1)?)?);
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Library { start, end, base: start.checked_sub(offset)?, inode, path: path.to_owned(), deleted })
}

/// `start-end rw-s offset major:minor inode /tmp/hsperfdata_<user>/<vpid>`
fn region(fields: &[u8], path: &Path, deleted: bool) -> Option<MappedRegion> {
    vpid_of(path.file_name()?)?;
    user_of(path.parent()?.file_name()?)?;
    let mut fields = std::str::from_utf8(fields).ok()?.split_ascii_whitespace();
    let permissions = fields.nth(1)?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let device = makedev(number(major)?, number(minor)?);
    let inode = fields.next()?.parse().ok()?;
    permissions.starts_with("rw-s").then(|| MappedRegion {
        id: FileId { device, inode },
        path: path.to_owned(),
        deleted,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn library_and_region_are_found() {
        let text = b"\
5581-5582 r--p 00000000 fe:00 99 /usr/lib/jvm/bin/java
7f11-7f12 rw-p 00000000 00:00 0
7f13-7f14 r-xp 00000100 fe:00 77 /usr/lib/jvm/lib/server/libjvm.so
7f15-7f16 r--s 00000000 fe:01 55 /tmp/hsperfdata_me/1
7f17-7f18 rw-s 00000000 fe:01 56 /tmp/hsperfdata_a b/4711 (deleted)
7f19-7f1a rw-p 00000000 00:00 0 [stack]
";
        let found = Mappings::parse(&text[..]).unwrap();
        let library = found.library.unwrap();
        assert!(!found.openj9);
        assert_eq!((library.start, library.end, library.base, library.inode), (0x7f13, 0x7f14, 0x7e13, 77));
        let region = found.region.unwrap();
        assert_eq!(region.id, FileId { device: makedev(0xfe, 1), inode: 56 });
        assert_eq!(region.path, Path::new("/tmp/hsperfdata_a b/4711"));
        assert!(region.deleted);
    }

    #[test]
    fn other_lines_name_no_region() {
        for line in [
            "7f17-7f18 rw-s 00000000 fe:01 56 /tmp/hsperfdata_me/other",
            "7f17-7f18 rw-s 00000000 fe:01 56 /tmp/other/4711",
            "7f17-7f18 rw-p 00000000 fe:01 56 /tmp/hsperfdata_me/4711",
            "7f17-7f18 rw-s 00000000 fe01 56 /tmp/hsperfdata_me/4711",
            "7f17-7f18 rw-s 00000000 fe:01 x /tmp/hsperfdata_me/4711",
            "rw-s /tmp/hsperfdata_me/4711",
            "/tmp/hsperfdata_me/4711",
            "/",
            "",
        ] {
            assert_eq!(Mappings::parse(line.as_bytes()).unwrap(), Mappings::default(), "{line}");
        }
    }

    #[test]
    fn openj9_has_a_libjvm_too() {
        let text = "1-2 r-xp 0 fe:00 7 /opt/j9/libjvm.so\n1-2 r-xp 0 fe:00 7 /opt/j9/libj9vm29.so";
        let found = Mappings::parse(text.as_bytes()).unwrap();
        assert!(found.library.is_some() && found.openj9);
    }
}
