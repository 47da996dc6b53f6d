//! Which capabilities the exporter keeps.
//!
//! What is started as root, or with more than it needs, goes on with what its modes need: the rest is given up before
//! the first thread is there, from the bounding set too, and no program that it might be made to run gets any back.

use std::sync::OnceLock;

use rustix::io;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use crate::config::{Config, NmtMode, Toggle};

/// What was there at the start and was given up.
static GIVEN_UP: OnceLock<CapabilitySet> = OnceLock::new();

/// What the configuration has a use for, of what is `held`.
fn needed(config: &Config, held: CapabilitySet) -> CapabilitySet {
    // Region files are 0600; a read lease on another user's file tells whether its JVM lives.
    let mut needed = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::LEASE;
    if config.discovery.procfs.visible().is_some() {
        // /proc/PID/root, /proc/PID/exe, and the memory of JVMs without a file.
        needed |= CapabilitySet::SYS_PTRACE;
        if config.discovery.processes == Toggle::Auto {
            // /proc/PID/map_files: a libjvm that was replaced on disk.
            needed |= CapabilitySet::CHECKPOINT_RESTORE;
        }
    }
    if config.nmt.mode != NmtMode::Off {
        // A JVM answers its own ids only, which are taken for the question; else root has to get past mode 0600.
        let ids = CapabilitySet::SETUID | CapabilitySet::SETGID;
        needed |= if held.contains(ids) { ids } else { CapabilitySet::DAC_OVERRIDE };
    }
    needed & held
}

/// Gives up what the configuration has no use for, and what programs could gain by execve(2). Call it before there
/// are other threads, which would keep what they have.
///
/// # Errors
/// The kernel refuses to take a capability away, which it has no reason to.
pub fn reduce(config: &Config) -> io::Result<()> {
    let held = capabilities(None)?.permitted;
    let kept = needed(config, held);
    if rustix::process::geteuid().is_root() {
        tracing::warn!(kept = %names(kept), "running as root; CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE are all that is needed");
    }
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    if held.contains(CapabilitySet::SETPCAP) {
        for number in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if !kept.contains(one) {
                match remove_capability_from_bounding_set(one) {
                    // This kernel knows no higher one.
                    Err(io::Errno::INVAL) => break,
                    other => other?,
                }
            }
        }
    }
    // Where nothing is to be given up, the call is spared: systemd's filters for services without privileges kill it.
    if kept != held {
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        match set_capabilities(None, sets) {
            Err(io::Errno::PERM) => {
                tracing::warn!(kept = %names(held), "a system call filter forbids to give up capabilities (capset)");
                return Ok(());
            }
            other => other?,
        }
    }
    let _ = GIVEN_UP.set(held - kept);
    Ok(())
}

/// A reload cannot get back what was given up at the start.
pub(crate) fn warn_of_missing(config: &Config) {
    let given_up = GIVEN_UP.get().copied().unwrap_or(CapabilitySet::empty());
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let missing = needed(config, given_up | held) & given_up;
    if !missing.is_empty() {
        let missing = names(missing);
        tracing::warn!(%missing, "the new configuration needs capabilities that were given up at the start; restart");
    }
}

fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    names.join(" ")
}
