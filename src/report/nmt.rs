//! `nmt`: the native memory of a JVM, or of a saved reply.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::running;
use super::subject::{ReportError, Subject, open};
use crate::config::{Config, NmtMode};
use crate::hotspot::NmtSetting;
use crate::providers::nmt::{AttachError, Capabilities, NmtReply, NmtState, NmtSummary, REPLY_MAXIMUM, parse, query};
use crate::providers::{Providers, attachable};

/// Why there is no report of native memory.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// There is no such JVM or file.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The file cannot be read as a reply.
    #[error("{}: {error}", path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// Why it cannot be read.
        error: io::Error,
    },
    /// The configuration disables NMT queries.
    #[error(
        "JVM {pid} is not queried: nmt.mode is off; use --nmt.mode=passive to query JVMs whose attach listener runs"
    )]
    Off {
        /// As given.
        pid: i32,
    },
    /// The directory of the JVM's attach socket cannot be found.
    #[error("JVM {pid}: cannot find its attach socket: {error}")]
    Gone {
        /// As given.
        pid: i32,
        /// Why.
        error: io::Error,
    },
    /// The query failed.
    #[error("JVM {pid}: {error}")]
    Attach {
        /// As given.
        pid: i32,
        /// Why.
        error: AttachError,
    },
    /// This JVM does not track its native memory, or cannot be queried.
    #[error("{subject}: {state}")]
    Nothing {
        /// As given.
        subject: String,
        /// Why.
        state: NmtState,
    },
    /// The reply is not a summary.
    #[error("{subject}: not a reply to VM.native_memory summary: it begins with {line:?}")]
    Unknown {
        /// As given.
        subject: String,
        /// The first line, truncated.
        line: Box<str>,
    },
}

/// The native memory of `subject`: a saved reply, or the process id of a JVM as `list` shows it, which is queried once
/// in the configured mode.
///
/// # Errors
/// See [`NativeError`].
pub fn native_memory(subject: &str, config: &Config) -> Result<NmtSummary, NativeError> {
    let answer = match Subject::of(subject)? {
        Subject::Process(pid) => of_process(pid, config)?,
        Subject::File(path) => {
            let text = read(path).map_err(|error| NativeError::File { path: path.to_owned(), error })?;
            parse(&text)
        }
    };
    let subject = subject.to_owned();
    match answer {
        NmtReply::Summary(summary) => Ok(*summary),
        NmtReply::NotEnabled => Err(NativeError::Nothing { subject, state: NmtState::NotEnabled }),
        NmtReply::ShutDown => Err(NativeError::Nothing { subject, state: NmtState::ShutDown }),
        NmtReply::ScaleRefused => Err(NativeError::Unknown { subject, line: "Incorrect scale value".into() }),
        NmtReply::Unknown(line) => Err(NativeError::Unknown { subject, line }),
    }
}

/// Reads a saved reply, up to the size of a JVM's longest.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path, "a reply")?.take(REPLY_MAXIMUM as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > REPLY_MAXIMUM {
        let message = format!("a reply has at most {REPLY_MAXIMUM} bytes, but the file has more");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn of_process(pid: i32, config: &Config) -> Result<NmtReply, NativeError> {
    if config.nmt.mode == NmtMode::Off {
        return Err(NativeError::Off { pid });
    }
    let target = running::find(pid, config, Providers::default())?;
    let nothing = |state| Err(NativeError::Nothing { subject: format!("JVM {pid}"), state });
    match (target.jvm.nmt, target.jvm.attach_supported) {
        (NmtSetting::Off, _) => return nothing(NmtState::NotEnabled),
        (_, Some(false)) => return nothing(NmtState::NotAttachable),
        _ => {}
    }
    let attachable = attachable(&target).map_err(|error| NativeError::Gone { pid, error })?;
    let until = Instant::now() + config.nmt.timeout;
    query(&attachable, config.nmt.mode, &mut Capabilities::default(), until)
        .map_err(|error| NativeError::Attach { pid, error })
}
