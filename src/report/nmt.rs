//! `nmt`: what a JVM says of its native memory, now or in a saved reply.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{InspectError, Named, living, open};
use crate::config::{Config, NmtMode};
use crate::hotspot::NmtSetting;
use crate::providers::nmt::{AttachError, Capabilities, NmtReply, NmtState, NmtSummary, REPLY_MAXIMUM, parse, query};
use crate::providers::{Providers, attachable};

/// Why there is no summary of native memory.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// There is nothing of that name to ask.
    #[error(transparent)]
    Subject(#[from] InspectError),
    /// The file is not one that holds a reply.
    #[error("{}: {error}", path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
    /// The configuration forbids it.
    #[error("JVM {pid} is not asked: nmt.mode is off; --nmt.mode=passive asks JVMs that listen already")]
    Off {
        /// As given.
        pid: i32,
    },
    /// The JVM's region file is gone.
    #[error("JVM {pid}: the way to its attach socket is gone: {error}")]
    Gone {
        /// As given.
        pid: i32,
        /// What is missing.
        error: io::Error,
    },
    /// The JVM gave no answer.
    #[error("JVM {pid}: {error}")]
    Attach {
        /// As given.
        pid: i32,
        /// Why.
        error: AttachError,
    },
    /// There is nothing to be had from this JVM.
    #[error("{subject}: {state}")]
    Nothing {
        /// As given.
        subject: String,
        /// Why.
        state: NmtState,
    },
    /// Words that are no summary.
    #[error("{subject}: not a reply to VM.native_memory summary: it says {line:?}")]
    Unknown {
        /// As given.
        subject: String,
        /// The first line, shortened.
        line: Box<str>,
    },
}

/// The native memory of `subject`: a saved reply, or the process id of a JVM as `list` shows it, which is asked once in
/// the configured mode.
///
/// # Errors
/// See [`NativeError`].
pub fn native_memory(subject: &str, config: &Config) -> Result<NmtSummary, NativeError> {
    let answer = match Named::of(subject)? {
        Named::Process(pid) => of_process(pid, config)?,
        Named::File(path) => {
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

/// A saved reply, no longer than a JVM's may be.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    open(path, "a reply")?.take(REPLY_MAXIMUM as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > REPLY_MAXIMUM {
        let message = format!("a reply has at most {REPLY_MAXIMUM} bytes, and this file has more");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn of_process(pid: i32, config: &Config) -> Result<NmtReply, NativeError> {
    if config.nmt.mode == NmtMode::Off {
        return Err(NativeError::Off { pid });
    }
    let target = living::find(pid, config, Providers::default())?;
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
