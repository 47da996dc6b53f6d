//! Which capabilities the exporter keeps.
//!
//! An exporter that starts as root, or with more capabilities than its configuration needs, drops the others before it
//! starts a thread: from the bounding set too, so that no program that it executes gets them back.

use std::sync::OnceLock;

use rustix::io;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use crate::config::{AttachMode, Config, Toggle};

/// Capabilities that the process held at the start and has dropped.
static DROPPED: OnceLock<CapabilitySet> = OnceLock::new();

/// The capabilities that the configuration needs, of those that are `held`.
fn needed(config: &Config, held: CapabilitySet) -> CapabilitySet {
    // Region files have mode 0600; a read lease on another user's file shows whether its JVM is alive.
    let mut needed = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::LEASE;
    if config.discovery.procfs.visible().is_some() {
        // /proc/PID/root, /proc/PID/exe, and the memory of JVMs without a file.
        needed |= CapabilitySet::SYS_PTRACE;
        if config.discovery.processes == Toggle::Auto {
            // /proc/PID/map_files: a libjvm.so that was replaced on disk.
            needed |= CapabilitySet::CHECKPOINT_RESTORE;
        }
    }
    if config.attach.mode != AttachMode::Off {
        // A JVM answers only its own user and group, which the query takes on; without that, root bypasses mode 0600.
        let ids = CapabilitySet::SETUID | CapabilitySet::SETGID;
        needed |= if held.contains(ids) { ids } else { CapabilitySet::DAC_OVERRIDE };
    }
    needed & held
}

/// Logs that an exporter that serves need not be root.
pub fn warn_of_root(config: &Config) {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let kept = needed(config, held);
    // A container's capabilities take effect for root only, so root with no more than these is as it should be.
    if rustix::process::geteuid().is_root() && kept != held {
        tracing::warn!(kept = %names(kept), "running as root; CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE are enough");
    }
}

/// Drops the capabilities that the configuration does not need, and those that execve(2) could grant. To be called
/// before other threads start, since each thread has its own.
///
/// # Errors
/// The kernel refuses to drop a capability.
pub fn reduce(config: &Config) -> io::Result<()> {
    let held = capabilities(None)?.permitted;
    let kept = needed(config, held);
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    if held.contains(CapabilitySet::SETPCAP) {
        for number in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << number);
            if !kept.contains(one) {
                match remove_capability_from_bounding_set(one) {
                    // The kernel knows no higher one.
                    Err(io::Errno::INVAL) => break,
                    other => other?,
                }
            }
        }
    }
    // No call without a reason: systemd's filters for unprivileged services kill the process for it.
    if kept != held {
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        match set_capabilities(None, sets) {
            Err(io::Errno::PERM) => {
                tracing::warn!(kept = %names(held), "a system call filter does not allow capset(2); no capability is dropped");
                return Ok(());
            }
            other => other?,
        }
    }
    let _ = DROPPED.set(held - kept);
    Ok(())
}

/// Logs the capabilities that a new configuration needs and that were dropped at the start: they are lost.
pub(crate) fn warn_of_missing(config: &Config) {
    let dropped = DROPPED.get().copied().unwrap_or(CapabilitySet::empty());
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    let missing = needed(config, dropped | held) & dropped;
    if !missing.is_empty() {
        let missing = names(missing);
        tracing::warn!(%missing, "the new configuration needs capabilities that were dropped at the start; restart the exporter");
    }
}

fn names(set: CapabilitySet) -> String {
    let names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    names.join(" ")
}
