//! Whether files have changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The state of some files, which differs after an edit or after a mounted ConfigMap is swapped: device, inode, length,
/// and the times of content and inode. A missing file has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<(PathBuf, Option<Stamp>)>);

type Stamp = [i64; 7];

impl Fingerprint {
    /// The current state of the files.
    pub(crate) fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(|file| (file.clone(), stamp(file))).collect())
    }

    /// Adds the current state of a file. Note it before reading, so that no change is missed.
    pub(crate) fn note(&mut self, file: &Path) {
        self.0.push((file.to_owned(), stamp(file)));
    }

    /// Whether no file has changed since it was noted.
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
