//! Reading a file that a user names.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// The content of a regular file of at most `maximum` bytes. No other file is read: a pipe would block, and its content
/// is gone at the next reload.
///
/// # Errors
/// Another kind of file, a larger one, or an error of the operating system.
pub(crate) fn read_file(path: &Path, maximum: u64) -> io::Result<Vec<u8>> {
    require_regular(std::fs::metadata(path)?.file_type())?;
    // Not blocked by a pipe that has taken the file's place.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    require_regular(file.metadata()?.file_type())?;
    let mut bytes = Vec::new();
    File::take(file, maximum.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > maximum {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {maximum} bytes")));
    }
    Ok(bytes)
}

fn require_regular(kind: FileType) -> io::Result<()> {
    let found = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_fifo() => "a pipe, which can be read once only; write its content to a file",
        _ if kind.is_dir() => "a directory",
        _ => "a device or socket",
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not a regular file but {found}")))
}
