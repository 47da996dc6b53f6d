//! Whether files are as they were.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells that a file was changed, or a mounted ConfigMap swapped: of each file its device, inode, length, and the
/// times of its content and of its inode; nothing where there is no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, Option<Stamp>)>);

type Stamp = [i64; 7];

impl Fingerprint {
    /// The files as they are now.
    pub(crate) fn of(files: &[PathBuf]) -> Self {
        let mut fingerprint = Self::default();
        files.iter().for_each(|file| fingerprint.note(file));
        fingerprint
    }

    /// Adds a file as it is now. Noted before it is read, no change is missed.
    pub(crate) fn note(&mut self, file: &Path) {
        self.0.push((file.to_owned(), stamp(file)));
    }

    /// Whether all files are still as they were noted.
    pub(crate) fn holds(&self) -> bool {
        self.0.iter().all(|(file, noted)| stamp(file) == *noted)
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(file).ok()?;
    // Only compared, so a wrapped number is as good.
    let [device, inode, length] = [file.dev(), file.ino(), file.len()].map(u64::cast_signed);
    Some([device, inode, length, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()])
}
