//! The subject of a command: a file, or the process id of a JVM.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::discovery::{Candidate, Refusal, Scanner};
use crate::perfdata::{FileMode, Image, Region, RegionError};
use crate::providers::Providers;
use crate::providers::attach::AttachError;
use crate::providers::attach::native_memory::NmtState;
use crate::targets::{Reconciler, Target};

/// Why there is no report on the subject of a command.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Neither a process id nor a file.
    #[error("{0}: no such file, and not a process id; `hotspot-exporter list` shows all JVMs")]
    Unknown(String),
    /// A process that is not a readable JVM, and why the scan refused it, or that it found nothing.
    #[error("process {0}: {1}")]
    NotFound(i32, String),
    /// A JVM whose region is not initialized yet.
    #[error("process {0}: the JVM is starting; try again in a moment")]
    Starting(i32),
    /// Several JVMs with this pid, in containers whose processes are not visible, and their regions.
    #[error("several JVMs are pid {0} in their own pid namespaces: {1}; select one with --discovery.root={{its /tmp}}")]
    Ambiguous(i32, String),
    /// The region cannot be read.
    #[error("{path}: {1}", path = .0.display())]
    Region(PathBuf, RegionError),
    /// The file cannot be read as a reply about native memory.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, io::Error),
    /// The configuration forbids questions.
    #[error(
        "JVM {0} is not queried: attach.mode is off; use --attach.mode=passive to ask JVMs whose attach listener runs"
    )]
    QueriesOff(i32),
    /// The directory of the JVM's attach socket cannot be found.
    #[error("JVM {0}: cannot find its attach socket: {1}")]
    NoSocket(i32, io::Error),
    /// The question for native memory failed.
    #[error("JVM {0}: {1}")]
    Attach(i32, AttachError),
    /// The subject does not track its native memory, or cannot be queried.
    #[error("{0}: {1}")]
    NotTracked(String, NmtState),
    /// The reply, which begins with this line, is not a summary.
    #[error("{0}: not a reply to VM.native_memory summary: it begins with {1:?}")]
    NotSummary(String, Box<str>),
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
            Err(_) => Err(ReportError::Unknown(subject.to_owned())),
        }
    }
}

/// A copy of the region of `subject`: a region file, or the process id of a JVM as `list` shows it.
pub fn image(subject: &str, config: &Config) -> Result<Image, ReportError> {
    match Subject::of(subject)? {
        Subject::Process(pid) => of_process(pid, config),
        Subject::File(path) => of_file(path),
    }
}

pub(super) fn of_file(path: &Path) -> Result<Image, ReportError> {
    let region = |error| ReportError::Region(path.to_owned(), error);
    let file = open(path, "a region").map_err(|error| region(error.into()))?;
    let open = Region::open(file, FileMode::Pread).map_err(region)?;
    Image::read(&open).map_err(region)
}

/// Opens a regular file, and refuses others, which could block. `what` names the expected content in the error.
pub(super) fn open(path: &Path, what: &str) -> io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    let found = match kind {
        _ if kind.is_file() => return File::open(path),
        _ if kind.is_dir() => "directory",
        _ if kind.is_fifo() => "FIFO",
        _ if kind.is_socket() => "socket",
        _ => "device",
    };
    let message = format!("{what} is a regular file, this is a {found}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

fn of_process(pid: i32, config: &Config) -> Result<Image, ReportError> {
    let scan = Scanner::new(&config.discovery).scan(&|_| false);
    let found = scan.candidates.into_iter().find(|candidate| is_process(candidate, pid));
    let Some((path, source)) = found.and_then(|candidate| Some((candidate.path, candidate.source?))) else {
        return Err(not_found(pid, &scan.refusals));
    };
    let region = |error| ReportError::Region(path.clone(), error);
    let open = source.open(config.discovery.access).map_err(region)?;
    Image::read(&open).map_err(region)
}

/// Whether `list` shows the JVM of this region with that pid.
fn is_process(candidate: &Candidate, pid: i32) -> bool {
    candidate.process.as_ref().map_or(candidate.vpid, |process| process.pid) == pid
}

pub(super) fn not_found(pid: i32, refusals: &[Refusal]) -> ReportError {
    let describe = |refusal: &Refusal| format!("{}: {}. {}", refusal.reason, refusal.detail, refusal.remedy);
    let nothing = || "no JVM with that pid was found; `hotspot-exporter list` shows all JVMs".to_owned();
    let refusal = refusals.iter().find(|refusal| refusal.pid == Some(pid));
    ReportError::NotFound(pid, refusal.map_or_else(nothing, describe))
}

/// The JVM of a process id, as `list` shows it, with its providers from `providers`. Fails if there is none, if there
/// are several (in containers each may be pid 1), or if it cannot be served yet.
pub(super) fn find(pid: i32, config: &Config, providers: Providers) -> Result<Arc<Target>, ReportError> {
    let mut scan = Scanner::new(&config.discovery).scan(&|_| false);
    scan.candidates.retain(|candidate| is_process(candidate, pid));
    // The region of another process that is not initialized yet must not count as this one's.
    scan.refusals.retain(|refusal| is_about(refusal, pid));
    let target_set = Reconciler::new(Arc::new(config.clone()), Box::new(providers)).update(scan);
    match target_set.targets.as_slice() {
        [target] => Ok(Arc::clone(target)),
        [] if !target_set.starting.is_empty() => Err(ReportError::Starting(pid)),
        [] => Err(not_found(pid, &target_set.refusals)),
        several => {
            let paths: Vec<_> = several.iter().map(|target| target.path.display().to_string()).collect();
            Err(ReportError::Ambiguous(pid, paths.join(", ")))
        }
    }
}

fn is_about(refusal: &Refusal, pid: i32) -> bool {
    let name = refusal.path.as_ref().and_then(|path| path.file_name()?.to_str()?.parse().ok());
    refusal.pid.or(name) == Some(pid)
}
