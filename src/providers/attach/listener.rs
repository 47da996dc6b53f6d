//! Starting a JVM's attach listener: a trigger file and SIGQUIT (`attach.mode: active`).
//!
//! A JVM can be asked from the time that its region is accessible, the last act of `Threads::create_vm`
//! (`Management::record_vm_startup_time`, JDK 8 to 27). Before it `AttachListener::vm_start` removes a socket file of its
//! pid as a remnant, also that of a listener which a signal started a moment earlier.
//!
//! In a JVM that does not expect it, SIGQUIT causes a thread dump on the application's standard output, or death
//! (`-Xrs`, any program that is not a JVM, JDK 8 and 11 in their first milliseconds). So it is sent only where all of
//! this holds, checked in this order, and the process again right before the signal:
//!
//! - the process is visible, is the one that was discovered (start time), and runs as the region's owner;
//! - it has HotSpot mapped, catches SIGQUIT, does not ignore it, and is not stopped;
//! - its `sun.rt.jvmCapabilities` starts with `1` (not `+DisableAttachMechanism`);
//! - the region's directory is the `/tmp` of that process, and its working directory holds no other trigger;
//! - the exporter itself made the trigger file, through a directory handle, with an owner that this JDK accepts.
//!
//! At most one signal is sent in a JVM's life: HotSpot reacts to a second one with a thread dump unless its build
//! contains JDK-8225690, and an older one never recovers.

use std::time::{Duration, Instant};
use std::{os::fd::OwnedFd, thread};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};

use super::{AttachError, Attachable, credentials::as_user};
use crate::proc::maps::Mappings;
use crate::proc::{Process, stat};

/// The first release whose listener accepts a trigger of root (JDK-8197387).
const ROOT_ACCEPTED_SINCE: u32 = 11;

/// Starts the listener of `jvm` and waits for its socket. `signalled` becomes true right before a signal is sent.
pub(super) fn start(jvm: &Attachable, signalled: &mut bool, deadline: Instant) -> Result<(), AttachError> {
    let process = jvm.process.as_ref();
    let process = process.ok_or(AttachError::UnsafeToSignal("its process is not visible in the proc file system"))?;
    check(jvm.attach_supported == Some(true), "its sun.rt.jvmCapabilities does not permit attaching")?;
    // The process's own directory, which the kernel accepts as a pidfd: a pid may belong to another pid namespace, or
    // to another process meanwhile. For a process outside the exporter's pid namespace the signal fails with EINVAL.
    let handle = openat(process.directory(), ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    check_process(jvm, process)?;
    check(Mappings::read(process.directory())?.is_hotspot(), "it has no HotSpot mapped")?;
    check_directories(jvm, process)?;
    as_user(jvm.uid, jvm.gid, || {
        let _trigger = Trigger::create(jvm)?;
        check_process(jvm, process)?;
        *signalled = true;
        pidfd_send_signal(&handle, Signal::QUIT)?;
        await_socket(jvm, deadline)
    })
}

/// Refuses the signal unless `is_safe`; `fault` says what is not.
fn check(is_safe: bool, fault: &'static str) -> Result<(), AttachError> {
    if is_safe { Ok(()) } else { Err(AttachError::UnsafeToSignal(fault)) }
}

/// Checks that the process is the one that was discovered, and survives a SIGQUIT.
fn check_process(jvm: &Attachable, process: &Process) -> Result<(), AttachError> {
    let stat = stat::Stat::read(process.directory())?;
    check(stat.start_ticks == process.start_ticks, "its pid now belongs to another process")?;
    let receives = matches!(stat.state, b'R' | b'S' | b'D');
    check(receives, "it is stopped or dead, and would receive the signal too late")?;
    let status = stat::read_text(process.directory(), "status", stat::STATUS_MAXIMUM)?;
    let is_owner = stat::effective_id(&status, "Uid:") == Some(jvm.uid);
    check(is_owner, "it does not run as the owner of the region")?;
    // Bit n-1 is signal n; SIGQUIT is 3.
    let handles = |set: &str| stat::signal_set(&status, set).map(|mask| mask & (1 << 2) != 0);
    let survives = handles("SigCgt:") == Some(true) && handles("SigIgn:") == Some(false);
    check(survives, "it does not catch SIGQUIT (-Xrs, or still starting), which would kill it")
}

/// HotSpot searches for its trigger in its working directory, then in its `/tmp`.
fn check_directories(jvm: &Attachable, process: &Process) -> Result<(), AttachError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(process.directory(), "root", flags, Mode::empty())?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let tmp = match openat2(&root, "tmp", flags, Mode::empty(), inside) {
        // An old kernel, or a seccomp filter. Then it must not be a link.
        Err(Errno::NOSYS | Errno::PERM) => process.tmp()?,
        other => other?,
    };
    let is_same = file_id(&tmp)? == file_id(&jvm.tmp)?;
    check(is_same, "the directory of the region is not the /tmp of the process")?;
    let cwd = openat(process.directory(), "cwd", flags, Mode::empty())?;
    let other = statat(&cwd, trigger_name(jvm), AtFlags::SYMLINK_NOFOLLOW);
    check(matches!(other, Err(Errno::NOENT)), "its working directory contains another attach trigger")
}

fn file_id(directory: &OwnedFd) -> Result<(u64, u64), AttachError> {
    let stat = statat(directory, "", AtFlags::EMPTY_PATH)?;
    Ok((stat.st_dev, stat.st_ino))
}

fn trigger_name(jvm: &Attachable) -> String {
    format!(".attach_pid{}", jvm.vpid)
}

/// The trigger file, removed when dropped.
struct Trigger<'a>(&'a Attachable);

impl<'a> Trigger<'a> {
    fn create(jvm: &'a Attachable) -> Result<Self, AttachError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&jvm.tmp, trigger_name(jvm), flags, Mode::RUSR | Mode::WUSR);
        check(!matches!(file, Err(Errno::EXIST)), "another tool is attaching: its trigger file exists")?;
        let (file, trigger) = (file?, Self(jvm));
        let owner = fstat(&file)?.st_uid;
        let root_accepted = jvm.feature.is_some_and(|feature| feature >= ROOT_ACCEPTED_SINCE);
        let is_accepted = owner == jvm.uid || owner == 0 && root_accepted;
        check(is_accepted, "the JVM's user does not own the trigger file")?;
        Ok(trigger)
    }
}

impl Drop for Trigger<'_> {
    fn drop(&mut self) {
        let name = trigger_name(self.0);
        if let Err(error) = unlinkat(&self.0.tmp, &name, AtFlags::empty()) {
            tracing::warn!(%error, name, "cannot remove the attach trigger file; delete it manually");
        }
    }
}

/// HotSpot makes the socket within 20 ms, measured.
fn await_socket(jvm: &Attachable, deadline: Instant) -> Result<(), AttachError> {
    let name = format!(".java_pid{}", jvm.vpid);
    loop {
        match statat(&jvm.tmp, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            Err(Errno::NOENT) => return Err(AttachError::Timeout),
            Err(errno) => return Err(errno.into()),
        }
    }
}
