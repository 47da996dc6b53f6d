//! The file in which slots outlive the exporter.
//!
//! It is written whole, under another name first. Without it, or with another content than this program writes, JVMs get
//! their slots in the order in which they started.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::sync::ExpendableThread;
use crate::targets::SlotRecord;

const NAME: &str = "slots.json";
const NEW_NAME: &str = "slots.json.new";

/// Most bytes that are read: 100,000 JVMs, each with a few long names.
const SIZE_MAXIMUM: u64 = 64 << 20;

/// Longest time to read or write it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The form of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSlots {
    version: u32,
    jvms: Vec<SlotRecord>,
}

/// The file, if there is a directory for it.
#[derive(Debug)]
pub(super) struct SlotFile {
    /// `None` once it did not answer.
    directory: Option<PathBuf>,
    thread: ExpendableThread,
    /// The log says that it cannot be written.
    failed: bool,
}

impl SlotFile {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, thread: ExpendableThread::new("state"), failed: false }
    }

    /// What the last exporter wrote; nothing where that is missing or not to be believed.
    pub(super) fn read(&mut self) -> Vec<SlotRecord> {
        match self.call(read) {
            None => Vec::new(),
            Some(Ok(records)) => records,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Some(Err(error)) => {
                let directory = self.shown();
                tracing::warn!(%error, directory, "slots of an earlier run are not used; {NAME} is written anew");
                Vec::new()
            }
        }
    }

    pub(super) fn write(&mut self, records: Vec<SlotRecord>) {
        match self.call(move |directory| write(directory, records)) {
            None => {}
            Some(Ok(())) => self.failed = false,
            Some(Err(error)) if !std::mem::replace(&mut self.failed, true) => {
                let directory = self.shown();
                tracing::warn!(%error, directory, "slots cannot be kept for the next run; see state.directory");
            }
            Some(Err(_)) => {}
        }
    }

    fn shown(&self) -> String {
        self.directory.as_deref().unwrap_or(Path::new("")).display().to_string()
    }

    fn call<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Option<io::Result<T>> {
        let directory = self.directory.clone()?;
        let outcome = self.thread.call(move || work(&directory), PATIENCE, || true);
        if outcome.is_none() {
            let directory = self.shown();
            tracing::warn!(directory, "the directory for slots does not answer; they are not kept");
            self.directory = None;
        }
        outcome
    }
}

fn open_directory(directory: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn read(directory: &Path) -> io::Result<Vec<SlotRecord>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(open_directory(directory)?, NAME, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        return Err(io::Error::other("others than the exporter's user may write it"));
    }
    let mut text = Vec::new();
    File::from(file).take(SIZE_MAXIMUM).read_to_end(&mut text)?;
    let content: StoredSlots = serde_json::from_slice(&text)?;
    if content.version != VERSION {
        return Err(io::Error::other(format!("expected version {VERSION}, found {}", content.version)));
    }
    Ok(content.jvms)
}

fn write(directory: &Path, jvms: Vec<SlotRecord>) -> io::Result<()> {
    let directory = open_directory(directory)?;
    match unlinkat(&directory, NEW_NAME, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&directory, NEW_NAME, flags, Mode::RUSR | Mode::WUSR)?);
    // Not synchronized with the disk: what outlives a power failure is of no JVM that runs.
    file.write_all(&serde_json::to_vec(&StoredSlots { version: VERSION, jvms })?)?;
    Ok(renameat(&directory, NEW_NAME, &directory, NAME)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const RECORD: &str = r#"{"jvm":{"region":{"device":1,"inode":2},"start_millis":3,"vpid":4,"process":[5,6]},"app":"a","labels":{"container":"b"},"slot":7}"#;

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = SlotFile::new(Some(directory.path().to_owned()));
        assert_eq!(file.read(), []);
        let records: Vec<SlotRecord> = vec![serde_json::from_str(RECORD).unwrap()];
        fs::write(directory.path().join(NEW_NAME), "left behind").unwrap();
        file.write(records.clone());
        assert_eq!(file.read(), records);
        let path = directory.path().join(NAME);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!(r#"{{"version":1,"jvms":[{RECORD}]}}"#));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_this_program_does_not_write_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        let mut file = SlotFile::new(Some(directory.path().to_owned()));
        for text in [
            "".to_owned(),
            "{".to_owned(),
            r#"{"version":2,"jvms":[]}"#.to_owned(),
            r#"{"version":1,"jvms":[],"more":1}"#.to_owned(),
            format!(r#"{{"version":1,"jvms":[{}]}}"#, RECORD.replace("7", "-1")),
            "[".repeat(100_000),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(file.read(), [], "{text:.40}");
        }
        let good = format!(r#"{{"version":1,"jvms":[{RECORD}]}}"#);
        fs::write(&path, &good).unwrap();
        assert_eq!(file.read().len(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(file.read(), [], "anybody may write it");
        fs::remove_file(&path).unwrap();
        fs::write(directory.path().join("elsewhere"), &good).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert_eq!(file.read(), [], "a link");
        file.write(Vec::new());
        assert_eq!(
            fs::read_to_string(directory.path().join("elsewhere")).unwrap(),
            good,
            "it is replaced, not followed"
        );
        let mut absent = SlotFile::new(Some(directory.path().join("none")));
        assert_eq!(absent.read(), []);
        absent.write(Vec::new());
        assert_eq!(SlotFile::new(None).read(), []);
    }
}
