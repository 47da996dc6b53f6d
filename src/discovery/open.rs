//! Opening files in directories that others may write to: nothing leads elsewhere, nothing blocks, and only what was
//! examined is read.
//!
//! A name is first opened with `O_PATH`, which has no effect on what it names, and examined; only a regular file that
//! passes is opened for reading. No link is followed: `openat2` where the kernel has it and seccomp allows it, otherwise
//! one `openat(O_NOFOLLOW)` per component.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, open, openat, openat2, statat,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::refusal::{Refusal, RefusalReason};
use crate::perfdata::name::user_of;
use crate::perfdata::{REGION_MAXIMUM, REGION_MINIMUM};
use crate::proc::FileId;

/// For a handle that names a file and gives no access to its content.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Never blocks, and never takes a controlling terminal.
const READING: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// `FUSE_SUPER_MAGIC` of include/uapi/linux/magic.h.
const FUSE: u64 = 0x6573_5546;

/// Resolves paths beneath a directory without following any link.
#[derive(Debug, Default)]
pub(super) struct Opener {
    /// `openat2` was refused once, by an old kernel or a seccomp filter.
    by_component: AtomicBool,
}

impl Opener {
    /// One that behaves as if the kernel had no `openat2`.
    #[cfg(test)]
    pub(super) fn by_component() -> Self {
        Self { by_component: AtomicBool::new(true) }
    }

    /// A handle of `path` beneath `directory`. If the last component is a link, the handle is of the link itself.
    ///
    /// # Errors
    /// `ELOOP` for a link on the way, `EXDEV` for a path that would leave the directory.
    pub(super) fn handle(&self, directory: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
        if !self.by_component.load(Ordering::Relaxed) {
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match openat2(directory.as_fd(), path, HANDLE, Mode::empty(), beneath) {
                Err(Errno::NOSYS | Errno::PERM) => self.by_component.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        walk(directory.as_fd(), path)
    }

    /// A handle of a directory beneath `parent`.
    ///
    /// # Errors
    /// As for [`Self::handle`]; `ELOOP` for a link and `ENOTDIR` for any other file that is no directory.
    pub(super) fn directory(&self, parent: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
        let handle = self.handle(parent, path)?;
        require_directory(&handle)?;
        Ok(handle)
    }

    /// The first `limit` bytes of the regular file `path` beneath `root`.
    ///
    /// # Errors
    /// As for [`Self::handle`], and `EINVAL` for anything but a regular file.
    pub(super) fn content(&self, root: impl AsFd, path: &Path, limit: u64) -> Result<Vec<u8>, Errno> {
        let handle = self.handle(&root, path)?;
        if FileType::from_raw_mode(fstat(&handle)?.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let mut content = Vec::new();
        match reopen(&handle, root.as_fd(), path)?.take(limit).read_to_end(&mut content) {
            Ok(_) => Ok(content),
            Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
}

fn walk(directory: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let mut components = path.components().map(|component| match component {
        Component::Normal(name) => Ok(name),
        _ => Err(Errno::XDEV),
    });
    let first = components.next().ok_or(Errno::NOENT)??;
    let mut at = openat(directory, first, HANDLE, Mode::empty())?;
    for component in components {
        require_directory(&at)?;
        at = openat(&at, component?, HANDLE, Mode::empty())?;
    }
    Ok(at)
}

fn require_directory(handle: &OwnedFd) -> Result<(), Errno> {
    match FileType::from_raw_mode(fstat(handle)?.st_mode) {
        FileType::Directory => Ok(()),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::NOTDIR),
    }
}

/// The names in a directory that are `wanted`, of the first `limit` ones, and whether there are more names.
pub(super) fn names(
    directory: impl AsFd,
    limit: usize,
    wanted: impl Fn(&OsStr) -> bool,
) -> Result<(Vec<Box<OsStr>>, bool), Errno> {
    let mut names = Vec::new();
    let dots = [&b"."[..], b".."];
    let listing = openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let entries = Dir::new(listing)?
        .filter(|entry| !entry.as_ref().is_ok_and(|entry| dots.contains(&entry.file_name().to_bytes())));
    for (examined, entry) in entries.enumerate() {
        if examined >= limit {
            return Ok((names, true));
        }
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if wanted(name) {
            names.push(name.into());
        }
    }
    Ok((names, false))
}

/// An `hsperfdata_<user>` directory that is as safe as HotSpot demands.
#[derive(Debug)]
pub(super) struct UserDirectory {
    pub(super) handle: OwnedFd,
    /// Who may write to it.
    pub(super) owner: u32,
    /// Where it was found.
    pub(super) path: PathBuf,
    /// From its name.
    pub(super) user: String,
}

impl UserDirectory {
    /// Opens `name` in the directory `root`, which is at `path`. `None` for a name that is not HotSpot's or is gone.
    pub(super) fn open(opener: &Opener, root: impl AsFd, path: &Path, name: &OsStr) -> Option<Result<Self, Refusal>> {
        let user = user_of(name)?;
        let path = path.join(name);
        let opened = opener.directory(root, Path::new(name)).and_then(|handle| Ok((fstat(&handle)?, handle)));
        match opened {
            Err(Errno::NOENT) => None,
            Err(errno) => Some(Err(Refusal::of_errno(&path, errno))),
            Ok((stat, _)) if stat.st_mode & 0o022 != 0 => {
                let mode = stat.st_mode & 0o7777;
                let detail = format!("mode {mode:04o} lets group or others write, and HotSpot uses no such directory");
                Some(Err(Refusal::of_path(&path, RefusalReason::InsecureDirectory, detail)))
            }
            Ok((stat, handle)) => Some(Ok(Self { handle, owner: stat.st_uid, path, user })),
        }
    }

    /// The file of that number and its path, if the caller has it open and it passes the checks: one system call, since
    /// no handle is needed of a file that is not opened.
    pub(super) fn find_open(&self, vpid: i32, is_open: impl Fn(FileId) -> bool) -> Option<(FileKey, PathBuf)> {
        let name = vpid.to_string();
        let stat = statat(&self.handle, &*name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT).ok()?;
        let key = FileKey { id: FileId::of(&stat), owner: stat.st_uid, vpid };
        let path = self.path.join(name);
        (is_open(key.id) && check(&path, &stat, self.owner).is_ok()).then_some((key, path))
    }

    /// Finds and checks the file of that number; `None` if there is none.
    pub(super) fn find(&self, opener: &Opener, vpid: i32) -> Option<Result<CheckedFile, RefusedItem>> {
        let name = vpid.to_string();
        let path = self.path.join(&name);
        let opened = opener.handle(&self.handle, Path::new(&name)).and_then(|handle| Ok((fstat(&handle)?, handle)));
        match opened {
            Err(Errno::NOENT) => None,
            Err(errno) => Some(Err(RefusedItem { refusal: Refusal::of_errno(&path, errno), key: None })),
            Ok((stat, handle)) => {
                let key = FileKey { id: FileId::of(&stat), owner: stat.st_uid, vpid };
                Some(match check(&path, &stat, self.owner) {
                    Err(refusal) => Err(RefusedItem { refusal, key: Some(key) }),
                    Ok(()) => Ok(CheckedFile { handle, path, key, changed: (stat.st_ctime, stat.st_ctime_nsec) }),
                })
            }
        }
    }

    /// Opens a file of this directory for reading.
    pub(super) fn read(&self, file: &CheckedFile) -> Result<File, RefusedItem> {
        let FileKey { vpid, owner, .. } = file.key;
        reopen(&file.handle, self.handle.as_fd(), Path::new(&vpid.to_string())).map_err(|errno| {
            let refusal = match errno {
                Errno::STALE | Errno::NOENT => {
                    Refusal::of_path(&file.path, RefusalReason::NotReady, "replaced while it was opened")
                }
                Errno::ACCESS | Errno::PERM => {
                    let detail = format!("access is denied to a file of uid {owner}");
                    let remedy = format!("Run the exporter as uid {owner}, or grant it CAP_DAC_READ_SEARCH.");
                    Refusal::of_path(&file.path, RefusalReason::OtherOwner, detail).with_remedy(remedy)
                }
                errno => Refusal::of_errno(&file.path, errno),
            };
            RefusedItem { refusal, key: Some(file.key) }
        })
    }
}

/// What identifies a region file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileKey {
    pub(super) id: FileId,
    pub(super) owner: u32,
    /// The number that is its name.
    pub(super) vpid: i32,
}

/// A region file that passed every check and is not open yet.
#[derive(Debug)]
pub(super) struct CheckedFile {
    handle: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) key: FileKey,
    /// Change time in seconds and nanoseconds; of several files of one number the newest belongs to the live JVM.
    pub(super) changed: (i64, u64),
}

impl CheckedFile {
    /// Whether it lies on FUSE, whose server may leave whoever touches a mapped page waiting for ever. One that does not
    /// say so may do the same.
    pub(super) fn is_on_fuse(&self) -> bool {
        !fstatfs(&self.handle).is_ok_and(|system| u64::try_from(system.f_type).is_ok_and(|kind| kind != FUSE))
    }
}

/// A refusal, with the key of the file if it is about a file that could be examined.
#[derive(Debug)]
pub(super) struct RefusedItem {
    pub(super) refusal: Refusal,
    pub(super) key: Option<FileKey>,
}

/// HotSpot's own rules for a file that it would use (is_file_secure, perfMemory_posix.cpp), and the size of a region.
fn check(path: &Path, stat: &Stat, directory_owner: u32) -> Result<(), Refusal> {
    let refuse = |reason, detail: String| Err(Refusal::of_path(path, reason, detail));
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => {
            return refuse(RefusalReason::Symlink, "a symbolic link, and HotSpot creates none".into())
                .map_err(|refusal| refusal.with_remedy("Remove the link."));
        }
        other => return refuse(RefusalReason::NotRegular, format!("a {} in place of a regular file", noun(other))),
    }
    if stat.st_nlink > 1 {
        let detail = format!("the file has {} names, and HotSpot gives it one", stat.st_nlink);
        return refuse(RefusalReason::HardLink, detail);
    }
    if stat.st_uid != directory_owner {
        let detail = format!("owned by uid {} in a directory of uid {directory_owner}", stat.st_uid);
        return refuse(RefusalReason::OtherOwner, detail)
            .map_err(|refusal| refusal.with_remedy("Remove the file: no JVM uses it."));
    }
    match size {
        0 => refuse(RefusalReason::NotReady, "empty: its JVM is starting, or ended while it started".into()),
        _ if size < REGION_MINIMUM => {
            refuse(RefusalReason::TooSmall, format!("{size} bytes; a region has at least {REGION_MINIMUM}"))
        }
        _ if size > REGION_MAXIMUM => {
            refuse(RefusalReason::TooLarge, format!("{size} bytes; the largest supported region has {REGION_MAXIMUM}"))
        }
        _ => Ok(()),
    }
}

/// A file type in words.
fn noun(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Directory => "directory",
        FileType::Fifo => "named pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "file of another type",
    }
}

/// Opens for reading the regular file that the handle names, whatever its name refers to by now.
///
/// `/proc/self/fd` reopens the very inode that was examined, so that not even a device put in its place is opened.
/// Without it, `name` in `directory` is opened again and compared.
pub(super) fn reopen(handle: &OwnedFd, directory: BorrowedFd<'_>, name: &Path) -> Result<File, Errno> {
    let through_handle = format!("/proc/self/fd/{}", handle.as_raw_fd());
    match open_noatime(READING, |flags| open(&*through_handle, flags, Mode::empty())) {
        Err(Errno::NOENT) => reopen_by_name(handle, directory, name),
        result => same(handle, result?),
    }
}

fn reopen_by_name(handle: &OwnedFd, directory: BorrowedFd<'_>, name: &Path) -> Result<File, Errno> {
    same(handle, open_noatime(READING | OFlags::NOFOLLOW, |flags| openat(directory, name, flags, Mode::empty()))?)
}

/// The opened file, if it is the regular file that the handle names.
fn same(handle: &OwnedFd, file: OwnedFd) -> Result<File, Errno> {
    let (examined, opened) = (fstat(handle)?, fstat(&file)?);
    if FileId::of(&examined) != FileId::of(&opened) || FileType::from_raw_mode(opened.st_mode) != FileType::RegularFile
    {
        return Err(Errno::STALE);
    }
    Ok(File::from(file))
}

/// Opens without a change of the access time where that is allowed, which it is to the owner only.
fn open_noatime(flags: OFlags, open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        result => result,
    }
}

/// Raises the soft limit of open files to the hard one, since every JVM takes three: its region, its process and a pidfd.
///
/// Returns the limit in force; `None` means unlimited.
pub fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
