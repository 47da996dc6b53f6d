//! Real JVMs, each with a `/tmp` of its own.

use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;

use hotspot_exporter::hotspot::NmtSetting;
use hotspot_exporter::perfdata::Image;
use hotspot_exporter::proc::Process;
use hotspot_exporter::providers::attach::Attachable;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::attach::wait_for;
use crate::support::jdk::{self, Jdk};
use crate::support::mounts::over_tmp;
use crate::support::skip_this;

/// A user that has an entry in passwd, which a region needs.
pub(crate) const NOBODY: u32 = 65534;

/// One Java of each release, if JVMs can be given a `/tmp`.
pub(crate) fn javas() -> Vec<Jdk> {
    if_root(|_| true)
}

/// One Java of each release that every user can start.
pub(crate) fn javas_of_everybody() -> Vec<Jdk> {
    if_root(Jdk::is_for_everybody)
}

fn if_root(fits: impl Fn(&Jdk) -> bool) -> Vec<Jdk> {
    if !rustix::process::geteuid().is_root() {
        skip_this("a JVM gets its own /tmp in a mount namespace, which needs root");
        return Vec::new();
    }
    let found = jdk::of_each_release(fits);
    if found.is_empty() {
        skip_this("no Java that fits");
    }
    found
}

/// A directory that a JVM can use as `/tmp`, outside of the real one, which the mount hides.
pub(crate) fn temporary_directory() -> TempDir {
    let directory = TempDir::new_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
    directory
}

fn classes() -> &'static Path {
    static CLASSES: OnceLock<TempDir> = OnceLock::new();
    CLASSES
        .get_or_init(|| {
            let directory = temporary_directory();
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java/Idle.java");
            let mut javac = Command::new("javac");
            javac.args(["--release", "8", "-Xlint:-options", "-d"]).arg(directory.path()).arg(source);
            assert!(javac.status().unwrap().success());
            directory
        })
        .path()
}

/// A running JVM; killed when dropped.
pub(crate) struct Jvm {
    pub(crate) tmp: TempDir,
    pub(crate) feature: u32,
    /// Its pid in its own pid namespace.
    pub(crate) vpid: i32,
    child: Child,
    uid: u32,
}

/// How a JVM is started.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    /// As nobody instead of root.
    pub(crate) nobody: bool,
    /// As pid 1 of its own pid namespace.
    pub(crate) own_pids: bool,
}

impl Jvm {
    /// Starts a JVM and waits until it runs its program.
    pub(crate) fn start(java: &Jdk, place: Place, flags: &[&str]) -> Self {
        let jvm = Self::launch(java, place, flags);
        wait_for("the JVM", || jvm.output().contains("up\n"));
        jvm
    }

    /// Starts a JVM.
    pub(crate) fn launch(java: &Jdk, place: Place, flags: &[&str]) -> Self {
        let tmp = temporary_directory();
        let output = File::create(tmp.path().join("output")).unwrap();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if place.own_pids {
            command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        }
        command.args(["sh", "-c", &(over_tmp(tmp.path()) + " && cd / && exec \"$@\""), "sh"]);
        if place.nobody {
            command.args(["setpriv", "--pdeathsig=KILL", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        command.arg(java.java()).args(["-Xms32m", "-Xmx32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.args(flags).arg("-cp").arg(classes()).arg("Idle");
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        let child = command.spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let vpid = if place.own_pids { 1 } else { pid };
        Self { tmp, feature: java.feature, vpid, child, uid: if place.nobody { NOBODY } else { 0 } }
    }

    /// Standard output and error so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.tmp.path().join("output")).unwrap()
    }

    /// What the attach protocol needs, from its region; `None` while there is no process or no region that is accessible,
    /// as scanning has it.
    pub(crate) fn try_attachable(&self) -> Option<Attachable> {
        let user = if self.uid == 0 { "root" } else { "nobody" };
        let region = self.tmp.path().join(format!("hsperfdata_{user}/{}", self.vpid));
        let image = Image::decode(fs::read(region).ok()?).ok()?;
        if !image.prologue.accessible {
            return None;
        }
        let capabilities = image.text("sun.rt.jvmCapabilities");
        let mut attachable = plain_attachable(self.tmp.path(), self.vpid, self.uid);
        attachable.process = Some(process(self.vpid)?);
        attachable.feature = Some(self.feature);
        attachable.attach_supported = capabilities.map(|text| text.starts_with('1'));
        Some(attachable)
    }

    /// What the attach protocol needs, from its region.
    pub(crate) fn attachable(&self) -> Attachable {
        self.try_attachable().expect("a region")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.vpid).unwrap(), signal).unwrap();
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asserts that the JVM is unharmed.
    pub(crate) fn assert_unharmed(&mut self) {
        assert!(self.is_alive(), "the JVM died: {}", self.output());
        assert!(!self.output().contains("Full thread dump"), "{}", self.output());
        let trigger = self.tmp.path().join(format!(".attach_pid{}", self.vpid));
        assert!(!trigger.exists(), "the trigger file was left behind");
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A JVM whose process is not visible.
pub(crate) fn plain_attachable(tmp: &Path, vpid: i32, uid: u32) -> Attachable {
    Attachable {
        tmp: directory(tmp),
        vpid,
        process: None,
        uid,
        gid: uid,
        feature: None,
        setting: NmtSetting::Unknown,
        attach_supported: Some(true),
        memory_readable: false,
    }
}

/// A process as discovery opens it.
pub(crate) fn process(pid: i32) -> Option<Arc<Process>> {
    Process::open(Path::new("/proc"), pid).ok().map(Arc::new)
}

fn directory(path: &Path) -> OwnedFd {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}
