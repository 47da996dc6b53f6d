//! A control group with a memory limit, where this host lets one be made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::jdk::Jdk;
use crate::support::jvm::Jvm;

/// Removed when dropped; its processes must have ended.
pub(crate) struct Group(PathBuf);

impl Group {
    /// `None` where no group with a memory limit can be made, as without root or in most containers.
    pub(crate) fn with_limit(name: &str, bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |controller: &str| {
            let mut lines = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(":/"));
            lines.find(|(found, _)| *found == controller).map(|(_, path)| path.to_owned())
        };
        let version_1 =
            path("memory").map(|path| (Path::new("/sys/fs/cgroup/memory").join(path), "memory.limit_in_bytes"));
        let version_2 = path("").map(|path| (Path::new("/sys/fs/cgroup").join(path), "memory.max"));
        let (parent, limit) = version_1.or(version_2)?;
        let group = Self(parent.join(name));
        fs::create_dir(&group.0).ok()?;
        // Without the memory controller the directory has no such file, and none can be created.
        fs::write(group.0.join(limit), bytes.to_string()).ok()?;
        Some(group)
    }

    /// Starts the test program in the group.
    pub(crate) fn start(&self, jdk: &Jdk, options: &[String]) -> Jvm {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0"/cgroup.procs && exec "$@""#]).arg(&self.0).arg(jdk.java());
        Jvm::spawn(command.args(Jvm::arguments()).args(options).arg("Workload"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What cannot be removed was not made, or has a process that is still ending.
        let _ = fs::remove_dir(&self.0);
    }
}
