//! `nmt`: the native memory of a JVM, or of a saved reply.

use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use super::subject::{ReportError, Subject, find, open};
use crate::config::{AttachMode, Config};
use crate::hotspot::NmtSetting;
use crate::providers::attach::native_memory::{NmtReply, NmtState, NmtSummary, parse, query};
use crate::providers::attach::{Capabilities, REPLY_MAXIMUM};
use crate::providers::{Providers, attachable};

/// The native memory of `subject`: a saved reply, or the process id of a JVM as `list` shows it, which is queried once
/// in the configured mode.
pub fn native_memory(subject: &str, config: &Config) -> Result<NmtSummary, ReportError> {
    let answer = match Subject::of(subject)? {
        Subject::Process(pid) => of_process(pid, config)?,
        Subject::File(path) => parse(&read(path).map_err(|error| ReportError::File(path.to_owned(), error))?),
    };
    let subject = subject.to_owned();
    match answer {
        NmtReply::Summary(summary) => Ok(*summary),
        NmtReply::NotEnabled => Err(ReportError::NotTracked(subject, NmtState::NotEnabled)),
        NmtReply::ShutDown => Err(ReportError::NotTracked(subject, NmtState::ShutDown)),
        NmtReply::ScaleRefused => Err(ReportError::NotSummary(subject, "Incorrect scale value".into())),
        NmtReply::Unknown(line) => Err(ReportError::NotSummary(subject, line)),
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

fn of_process(pid: i32, config: &Config) -> Result<NmtReply, ReportError> {
    if config.attach.mode == AttachMode::Off {
        return Err(ReportError::QueriesOff(pid));
    }
    let target = find(pid, config, Providers::default())?;
    let nothing = |state| Err(ReportError::NotTracked(format!("JVM {pid}"), state));
    match (target.jvm.nmt, target.jvm.attach_supported) {
        (NmtSetting::Off, _) => return nothing(NmtState::NotEnabled),
        (_, Some(false)) => return nothing(NmtState::NotAttachable),
        _ => {}
    }
    let attachable = attachable(&target)().map_err(|error| ReportError::NoSocket(pid, error))?;
    let until = Instant::now() + config.attach.timeout_within(config.attach.native_memory);
    query(&attachable, config.attach.mode, &mut Capabilities::default(), until)
        .map_err(|error| ReportError::Attach(pid, error))
}
