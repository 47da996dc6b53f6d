//! The question for all commands of a plan.

use std::time::Instant;

use super::super::protocol::{Capabilities, Dialogue, converse};
use super::super::{AttachCommand, AttachError, Attachable};
use super::{
    CodeCacheReply, FlagReply, HeapReply, MetaspaceReply, parse_code_cache, parse_flags, parse_heap_info,
    parse_metaspace,
};
use crate::config::AttachMode;

/// What a JVM replied to one command.
#[derive(Clone, Debug, PartialEq)]
pub enum DiagnosticReply {
    /// To `GC.heap_info`.
    Heap(HeapReply),
    /// To `Compiler.codecache`.
    CodeCache(CodeCacheReply),
    /// To `VM.metaspace basic`.
    Metaspace(MetaspaceReply),
    /// To `VM.flags`.
    Flags(Vec<FlagReply>),
}

/// What each command gave.
pub type DiagnosticOutcomes = Vec<(AttachCommand, Result<DiagnosticReply, AttachError>)>;

/// Asks these commands, and gives the outcome of each that was asked. Whatever the error, the JVM is unharmed.
pub fn query(
    jvm: &Attachable,
    commands: &[AttachCommand],
    mode: AttachMode,
    capabilities: &mut Capabilities,
    deadline: Instant,
) -> Result<DiagnosticOutcomes, AttachError> {
    converse(jvm, mode, capabilities, deadline, |dialogue| match dialogue.ask_together(commands) {
        // Each parser skips what is not its own.
        Ok(text) => Ok(commands.iter().map(|command| (*command, DiagnosticReply::parse(*command, &text))).collect()),
        // One of them is refused, and those after it were not tried.
        Err(error) if error.reason().is_reply() => Ok(ask_each(dialogue, commands)),
        Err(error) => Err(error),
    })
}

/// A command that the JVM refuses is no error of the others; a JVM that does not reply is asked no further.
fn ask_each(dialogue: &mut Dialogue<'_>, commands: &[AttachCommand]) -> DiagnosticOutcomes {
    let mut outcomes = Vec::with_capacity(commands.len());
    for command in commands {
        let outcome = dialogue.ask(*command).and_then(|text| DiagnosticReply::parse(*command, &text));
        let is_over = outcome.as_ref().is_err_and(|error| !error.reason().is_reply());
        outcomes.push((*command, outcome));
        if is_over {
            break;
        }
    }
    outcomes
}

impl DiagnosticReply {
    fn parse(command: AttachCommand, text: &str) -> Result<Self, AttachError> {
        let reply = match command {
            AttachCommand::HeapInfo => {
                Some(parse_heap_info(text)).filter(|reply| *reply != HeapReply::default()).map(Self::Heap)
            }
            AttachCommand::CodeCache => {
                Some(parse_code_cache(text)).filter(|reply| !reply.heaps.is_empty()).map(Self::CodeCache)
            }
            AttachCommand::MetaspaceBasic => {
                Some(parse_metaspace(text)).filter(|reply| reply.whole.is_some()).map(Self::Metaspace)
            }
            AttachCommand::Flags => text.contains("-XX:").then(|| Self::Flags(parse_flags(text))),
            AttachCommand::NativeMemoryBytes | AttachCommand::NativeMemoryKibibytes => None,
        };
        reply.ok_or_else(|| AttachError::unknown_reply(text))
    }
}
