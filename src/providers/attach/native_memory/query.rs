//! The question for native memory.

use std::time::Instant;

use super::super::protocol::{Capabilities, Dialogue, converse};
use super::super::{AttachCommand, AttachError, Attachable};
use super::{NmtReply, parse};
use crate::config::AttachMode;

/// Asks one JVM for its native memory. Whatever the error, the JVM is unharmed.
pub fn query(
    jvm: &Attachable,
    mode: AttachMode,
    capabilities: &mut Capabilities,
    deadline: Instant,
) -> Result<NmtReply, AttachError> {
    converse(jvm, mode, capabilities, deadline, ask)
}

/// In bytes where the JDK supports them.
fn ask(jvm: &mut Dialogue<'_>) -> Result<NmtReply, AttachError> {
    if !jvm.capabilities.kibibytes && jvm.feature != Some(8) {
        match parse(&jvm.ask(AttachCommand::NativeMemoryBytes)?) {
            NmtReply::ScaleRefused => jvm.capabilities.kibibytes = true,
            reply => return Ok(reply),
        }
    }
    Ok(parse(&jvm.ask(AttachCommand::NativeMemoryKibibytes)?))
}
