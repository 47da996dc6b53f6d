//! The subject of a command: a file, or the process id of a JVM.

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::discovery::{Candidate, Refusal, Scanner};
use crate::perfdata::{FileMode, Image, Region, RegionError};

/// Why there is no report on the subject of a command.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Neither a process id nor a file.
    #[error("{subject}: no such file, and not a process id; `hotspot-exporter list` shows all JVMs")]
    Unknown {
        /// As given.
        subject: String,
    },
    /// A process that is not a readable JVM.
    #[error("process {pid}: {detail}")]
    NotFound {
        /// As given.
        pid: i32,
        /// Why the scan refused it, or that it found nothing.
        detail: String,
    },
    /// A JVM whose region is not initialized yet.
    #[error("process {pid}: the JVM is starting; try again in a moment")]
    Starting {
        /// As given.
        pid: i32,
    },
    /// Several JVMs with this pid, in containers whose processes are not visible.
    #[error(
        "several JVMs are pid {pid} in their own pid namespaces: {paths}; select one with --discovery.root={{its /tmp}}"
    )]
    Ambiguous {
        /// As given.
        pid: i32,
        /// Their regions.
        paths: String,
    },
    /// The region cannot be read.
    #[error("{}: {error}", path.display())]
    Region {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        error: RegionError,
    },
}

/// What the command line names.
pub(super) enum Subject<'a> {
    Process(i32),
    File(&'a Path),
}

impl<'a> Subject<'a> {
    /// An existing file takes precedence over a process id.
    pub(super) fn of(subject: &'a str) -> Result<Self, ReportError> {
        let path = Path::new(subject);
        match subject.parse::<i32>() {
            _ if path.exists() => Ok(Self::File(path)),
            Ok(pid) => Ok(Self::Process(pid)),
            Err(_) => Err(ReportError::Unknown { subject: subject.to_owned() }),
        }
    }
}

/// A copy of the region of `subject`: a region file, or the process id of a JVM as `list` shows it.
///
/// # Errors
/// There is no such file or JVM, or it is not a readable region.
pub fn image(subject: &str, config: &Config) -> Result<Image, ReportError> {
    match Subject::of(subject)? {
        Subject::Process(pid) => of_process(pid, config),
        Subject::File(path) => of_file(path),
    }
}

pub(super) fn of_file(path: &Path) -> Result<Image, ReportError> {
    let region = |error| ReportError::Region { path: path.to_owned(), error };
    let file = open(path, "a region").map_err(|error| region(error.into()))?;
    let open = Region::open(file, FileMode::Pread).map_err(region)?;
    Image::read(&open).map_err(region)
}

/// Opens a regular file, and refuses others, which could block. `what` names the expected content in the error.
pub(super) fn open(path: &Path, what: &str) -> std::io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    let found = match kind {
        _ if kind.is_file() => return File::open(path),
        _ if kind.is_dir() => "directory",
        _ if kind.is_fifo() => "FIFO",
        _ if kind.is_socket() => "socket",
        _ => "device",
    };
    let message = format!("{what} is a regular file, this is a {found}");
    Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message))
}

fn of_process(pid: i32, config: &Config) -> Result<Image, ReportError> {
    let scan = Scanner::new(&config.discovery).scan(&|_| false);
    let found = scan.candidates.into_iter().find(|candidate| is_process(candidate, pid));
    let Some((path, source)) = found.and_then(|candidate| Some((candidate.path, candidate.source?))) else {
        return Err(not_found(pid, &scan.refusals));
    };
    let region = |error| ReportError::Region { path: path.clone(), error };
    let open = source.open(config.discovery.access).map_err(region)?;
    Image::read(&open).map_err(region)
}

/// Whether `list` shows the JVM of this region with that pid.
pub(super) fn is_process(candidate: &Candidate, pid: i32) -> bool {
    candidate.process.as_ref().map_or(candidate.vpid, |process| process.pid) == pid
}

pub(super) fn not_found(pid: i32, refusals: &[Refusal]) -> ReportError {
    let describe = |refusal: &Refusal| format!("{}: {}. {}", refusal.reason, refusal.detail, refusal.remedy);
    let nothing = || "no JVM with that pid was found; `hotspot-exporter list` shows all JVMs".to_owned();
    let refusal = refusals.iter().find(|refusal| refusal.pid == Some(pid));
    ReportError::NotFound { pid, detail: refusal.map_or_else(nothing, describe) }
}
