//! Recorded regions laid out as a running JVM would have them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::package;

/// A directory that is some JVM's `/tmp`, with regions whose writers are held open: to the read-lease probe they are
/// alive until their [`File`] is dropped.
#[derive(Debug)]
pub struct Root {
    directory: TempDir,
}

/// The recorded region of that name.
pub fn fixture(name: &str) -> PathBuf {
    package().join("tests/fixtures/perfdata").join(format!("{name}.hsperfdata"))
}

/// All recorded regions, by name.
pub fn fixtures() -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(package().join("tests/fixtures/perfdata")).unwrap();
    let mut found: Vec<(String, PathBuf)> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hsperfdata"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect();
    found.sort();
    assert!(found.len() >= 20, "tests/fixtures/perfdata has lost files");
    found
}

impl Root {
    /// An empty root, on tmpfs where there is one: not every file system answers the read-lease probe.
    pub fn new() -> Self {
        let shared = Path::new("/dev/shm");
        let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        Self { directory: tempfile::Builder::new().prefix("hsx-").tempdir_in(parent).unwrap() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The flags that make an exporter look here and nowhere else.
    pub fn flags(&self) -> [String; 2] {
        [format!("--discovery.root={}", self.path().display()), "--path.procfs=off".to_owned()]
    }

    /// Where the region of that pid belongs; makes the directory above it.
    pub fn place(&self, pid: u32) -> PathBuf {
        let user = self.path().join("hsperfdata_tester");
        fs::create_dir_all(&user).unwrap();
        user.join(pid.to_string())
    }

    /// Puts a recorded region there. Dropping the file is the death of its JVM.
    pub fn put(&self, name: &str, pid: u32) -> File {
        let path = self.place(pid);
        fs::copy(fixture(name), &path).unwrap();
        File::options().write(true).open(path).unwrap()
    }
}
