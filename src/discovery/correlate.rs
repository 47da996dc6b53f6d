//! Which process writes which region.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::diagnosis::{Findings, STARTING, diagnose};
use super::flags::PerfDataFlags;
use super::open::{CheckedFile, Opener, UserDirectory};
use super::processes::{Evidence, JvmProcess, ProcessScanner};
use super::refusal::{Refusal, RefusalReason};
use super::scan_state::ScanState;
use super::{Candidate, RegionId};
use crate::metric::Labels;
use crate::perfdata::name::{user_of, vpid_of};
use crate::proc::maps::MappedRegion;
use crate::proc::stat::{STATUS_MAXIMUM, read, read_text};
use crate::proc::{Process, passwd};

/// Bytes of a command line that are searched for JVM flags.
const COMMAND_LINE: usize = 1 << 17;

/// Gives each process its file, finds files that only the process's own root shows, and refuses every other JVM with the
/// reason.
pub(super) fn correlate(state: &mut ScanState<'_>, scanner: &mut ProcessScanner, jvm_processes: Vec<JvmProcess>) {
    // The best evidence first: each candidate takes one process. The map may name the candidate's very file, or a file
    // of its inode and name, or not be readable.
    let (mapped, rest): (Vec<_>, Vec<_>) =
        jvm_processes.into_iter().partition(|jvm_process| matches!(jvm_process.evidence, Evidence::Jvm(Some(_))));
    let (exact, mapped): (Vec<_>, Vec<_>) = mapped.into_iter().partition(|jvm_process| match &jvm_process.evidence {
        Evidence::Jvm(Some(region)) => state.has_candidate(RegionId::File(region.id)),
        _ => false,
    });
    let mut forks = Vec::new();
    for JvmProcess { process, evidence } in exact.into_iter().chain(mapped).chain(rest) {
        if !scanner.enter(process.pid, process.start_ticks) {
            continue;
        }
        match evidence {
            Evidence::Jvm(region) => correlate_jvm(state, scanner, &process, region),
            Evidence::Fork(region) => forks.push((process, region)),
            Evidence::Hidden => correlate_by_number(state, scanner, &process),
            Evidence::NotHotspot if process.age() < STARTING => state.refuse(Refusal::of_pid(
                process.pid,
                RefusalReason::NotReady,
                "a process named java that has not loaded a JVM yet",
            )),
            Evidence::NotHotspot => state.refuse(Refusal::of_pid(
                process.pid,
                RefusalReason::NotHotspot,
                "a Java process without HotSpot: OpenJ9, or a launcher",
            )),
        }
    }
    for (fork, region) in forks {
        let inherited = |candidate: &Candidate| matches!(candidate.id, RegionId::File(id) if candidate.process.is_none() && region.is(id, &candidate.path));
        let number = region.path.file_name().and_then(vpid_of);
        if let Some(candidate) = number.and_then(|number| state.candidate_named(number, inherited)) {
            candidate.orphaned = candidate.orphaned || scanner.is_gone(candidate.vpid, &fork);
        }
    }
}

/// A JVM whose memory map could be read.
fn correlate_jvm(
    state: &mut ScanState<'_>,
    scanner: &mut ProcessScanner,
    process: &Arc<Process>,
    region: Option<MappedRegion>,
) {
    if region.as_ref().is_some_and(|region| assign(state, process, region)) {
        return;
    }
    let mut expected = ExpectedFile::find(state, scanner, process, region.as_ref());
    // Its file is not where it was, or another file is there: the remembered map may be out of date.
    let doubtful =
        expected.file.is_some() || expected.obstacle.is_some() || region.as_ref().is_some_and(|region| !region.deleted);
    let region = if doubtful && !expected.is_mapped(region.as_ref()) {
        match scanner.reread_map(process) {
            Some(Evidence::Jvm(region)) => region,
            Some(Evidence::Fork(_)) | None => return,
            Some(_) => region,
        }
    } else {
        region
    };
    if region.as_ref().is_some_and(|region| assign(state, process, region)) {
        return;
    }
    if let Some((directory, file)) = expected.file.as_ref().filter(|_| expected.is_mapped(region.as_ref())) {
        let at = state.add_file(directory, file, &Labels::default());
        match at.and_then(|at| state.candidates.get_mut(at)) {
            Some(candidate) => candidate.process = Some(Arc::clone(process)),
            // `add_file` has just refused the file.
            None => {
                if let Some(refused) = state.refused.last_mut() {
                    refused.refusal.pid = Some(process.pid);
                }
            }
        }
        return;
    }
    match region {
        Some(region) => report_unreachable(state, process, &region, expected),
        None => {
            expected.findings.foreign_file = expected.file.is_some_and(|(_, file)| file.key.owner == process.uid);
            expected.findings.obstacle = expected.obstacle;
            state.refuse(diagnose(expected.findings));
        }
    }
}

/// Gives a process the candidate or the refused file that its map names, if a root showed one.
fn assign(state: &mut ScanState<'_>, process: &Arc<Process>, region: &MappedRegion) -> bool {
    let matches = |candidate: &Candidate, exact: bool| match candidate.id {
        RegionId::File(id) if candidate.process.is_none() => {
            if exact {
                region.id == id
            } else {
                region.is(id, &candidate.path)
            }
        }
        _ => false,
    };
    for exact in [true, false] {
        if let Some(candidate) = state.candidate_named(process.vpid, |candidate| matches(candidate, exact)) {
            candidate.process = Some(Arc::clone(process));
            return true;
        }
    }
    let refused = state.refused.iter_mut().find(|refused| {
        refused.refusal.pid.is_none()
            && refused.key.is_some_and(|key| refused.refusal.path.as_ref().is_some_and(|path| region.is(key.id, path)))
    });
    refused.map(|refused| refused.refusal.pid = Some(process.pid)).is_some()
}

/// A JVM that writes a region to which no path leads.
fn report_unreachable(
    state: &mut ScanState<'_>,
    process: &Arc<Process>,
    region: &MappedRegion,
    expected: ExpectedFile,
) {
    let id = RegionId::File(region.id);
    let directory = region.path.parent();
    if state.is_known(id) {
        state.push(Candidate {
            path: region.path.clone(),
            source: None,
            id,
            owner: process.uid,
            vpid: process.vpid,
            user: directory.and_then(Path::file_name).and_then(user_of).unwrap_or_default(),
            labels: Labels::default(),
            process: Some(Arc::clone(process)),
            linked: false,
            orphaned: false,
        });
        return;
    }
    let refuse =
        |reason, detail| Refusal { path: Some(region.path.clone()), ..Refusal::of_pid(process.pid, reason, detail) };
    state.refuse(if expected.findings.denied || expected.obstacle.is_some() {
        diagnose(Findings { obstacle: expected.obstacle, ..expected.findings })
    } else if region.deleted {
        refuse(
            RefusalReason::Deleted,
            "its file was deleted, by a cleaner of /tmp or by a JVM that shares the directory from another pid namespace",
        )
    } else {
        refuse(RefusalReason::OtherTmp, "its file is in a directory that no root matches")
            .with_remedy("Configure the parent of the JVM's hsperfdata_* as a root.")
    });
}

/// A process whose memory map may not be read: number and owner decide, and only where numbers are comparable.
fn correlate_by_number(state: &mut ScanState<'_>, scanner: &ProcessScanner, process: &Arc<Process>) {
    if scanner.own_numbers && process.vpid == process.pid {
        let candidate = state.candidate_named(process.vpid, |candidate| {
            candidate.process.is_none() && candidate.owner == process.uid && candidate.labels.is_empty()
        });
        if let Some(candidate) = candidate {
            candidate.process = Some(Arc::clone(process));
            return;
        }
        let refused = state.refused.iter_mut().find(|refused| {
            refused.refusal.pid.is_none()
                && refused.key.is_some_and(|key| key.vpid == process.vpid && key.owner == process.uid)
        });
        if let Some(refused) = refused {
            refused.refusal.pid = Some(process.pid);
            return;
        }
    }
    if process.name == "java" {
        state.refuse(diagnose(Findings { denied: true, ..findings(process) }));
    }
}

fn findings(process: &Process) -> Findings {
    let cmdline = read(process.directory(), "cmdline", COMMAND_LINE).unwrap_or_default();
    Findings {
        pid: process.pid,
        uid: process.uid,
        age: process.age(),
        flags: PerfDataFlags::parse(&cmdline),
        own_user: process.uid == rustix::process::geteuid().as_raw(),
        ..Findings::default()
    }
}

/// The name of a process's user, by the passwd file below the process's `root`; `None` if that cannot be read,
/// `Some(None)` without an entry.
pub(super) fn user_name(opener: &Opener, process: &Process, root: &OwnedFd) -> Option<Option<String>> {
    let uid_map = read_text(process.directory(), "uid_map", STATUS_MAXIMUM).unwrap_or_default();
    let uid = passwd::mapped_uid(&uid_map, process.uid)?;
    let passwd = opener.content(root, Path::new("etc/passwd"), passwd::MAXIMUM).ok()?;
    Some(passwd::name_of(&passwd, uid))
}

/// The file where a JVM's region is expected, as the JVM's own root shows it.
struct ExpectedFile {
    file: Option<(UserDirectory, CheckedFile)>,
    obstacle: Option<Refusal>,
    findings: Findings,
}

impl ExpectedFile {
    fn find(
        state: &mut ScanState<'_>,
        scanner: &ProcessScanner,
        process: &Process,
        region: Option<&MappedRegion>,
    ) -> Self {
        let mut expected = Self { file: None, obstacle: None, findings: findings(process) };
        let root = match process.root() {
            Ok(root) => root,
            Err(errno) => {
                expected.findings.denied = matches!(errno, Errno::ACCESS | Errno::PERM);
                return expected;
            }
        };
        let user = user_name(state.opener, process, &root);
        expected.findings.has_passwd_entry = user.as_ref().map(Option::is_some);
        let path = scanner.path.join(process.pid.to_string()).join("root/tmp");
        if let Err(errno) = expected.search(state, &root, &path, process, user.flatten().as_deref(), region)
            && errno != Errno::NOENT
        {
            expected.obstacle = Some(Refusal::of_errno(&path, errno));
        }
        expected
    }

    /// Of several files with the process's number, takes the one that it maps, or else the one that was changed last, as
    /// HotSpot does (get_user_name_slow, perfMemory_posix.cpp).
    fn search(
        &mut self,
        state: &mut ScanState<'_>,
        root: &OwnedFd,
        path: &Path,
        process: &Process,
        user: Option<&str>,
        region: Option<&MappedRegion>,
    ) -> Result<(), Errno> {
        let tmp = state.opener.directory(root, Path::new("tmp"))?;
        for name in &*state.user_directories(&tmp, path)? {
            let directory = match UserDirectory::open(state.opener, &tmp, path, name) {
                Some(Ok(directory)) => directory,
                Some(Err(refusal)) if user_of(name).as_deref() == user => {
                    self.obstacle = Some(refusal);
                    continue;
                }
                _ => continue,
            };
            if user == Some(&*directory.user) && process.uid != 0 && directory.owner != process.uid {
                self.obstacle = Some(owned_by_another(&directory, process.uid));
                continue;
            }
            match directory.find(state.opener, process.vpid) {
                // A mapped file is read where others wait for it; the process's memory, on a thread that can be given up.
                Some(Ok(file)) if file.is_on_fuse() => self.obstacle = Some(on_fuse(&file.path)),
                Some(Ok(file)) => {
                    let rank = |file: &CheckedFile| {
                        (region.is_some_and(|region| region.is(file.key.id, &file.path)), file.changed)
                    };
                    if self.file.as_ref().is_none_or(|(_, other)| rank(&file) > rank(other)) {
                        self.file = Some((directory, file));
                    }
                }
                Some(Err(refused)) if refused.key.is_some_and(|key| key.owner == process.uid) => {
                    self.obstacle = Some(refused.refusal);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the file that was found is the region that the process maps.
    fn is_mapped(&self, region: Option<&MappedRegion>) -> bool {
        self.file.as_ref().zip(region).is_some_and(|((_, file), region)| region.is(file.key.id, &file.path))
    }
}

/// The refusal of a file whose file system only the JVM, and nobody who configures roots, vouches for.
fn on_fuse(path: &Path) -> Refusal {
    let detail = "its file lies on FUSE, which may never answer, and in a directory that no root matches";
    Refusal::of_path(path, RefusalReason::OtherTmp, detail)
        .with_remedy("Configure the parent of the JVM's hsperfdata_* as a root.")
}

/// The refusal of a directory that belongs to another user than the JVM whose name it has.
fn owned_by_another(directory: &UserDirectory, uid: u32) -> Refusal {
    let detail = format!("owned by uid {}, so the JVM of uid {uid} does not use it", directory.owner);
    Refusal::of_path(&directory.path, RefusalReason::InsecureDirectory, detail)
        .with_remedy(format!("Remove the directory, and restart the JVM of uid {uid}, which creates its own."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::proc::FileId;

    /// Container file systems number their files alike: inode and name of two regions may be the same.
    #[test]
    fn a_region_of_the_same_inode_and_name_elsewhere_is_another() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let open = || Arc::new(Process::open(Path::new("/proc"), pid).unwrap());
        let (inexact, exact) = (open(), open());
        let id = |device| FileId { device, inode: 3 };
        let candidate = |device: u64| Candidate {
            path: format!("/containers/{device}/hsperfdata_root/1").into(),
            source: None,
            id: RegionId::File(id(device)),
            owner: 0,
            vpid: exact.vpid,
            user: "root".into(),
            labels: Labels::default(),
            process: None,
            linked: true,
            orphaned: false,
        };
        let opener = Opener::default();
        let mut state = ScanState::new(&opener, &|_| true);
        for device in [9, 8] {
            state.push(candidate(device));
        }
        let jvm_process = |process: &Arc<Process>, device| {
            let region = MappedRegion { id: id(device), path: "/tmp/hsperfdata_root/1".into(), deleted: false };
            JvmProcess { process: Arc::clone(process), evidence: Evidence::Jvm(Some(region)) }
        };
        // One map shows a device that stat(2) does not, as on btrfs; its process comes first and takes what is left.
        let mut scanner = ProcessScanner::new(Path::new("/proc"), Arc::default()).unwrap();
        correlate(&mut state, &mut scanner, vec![jvm_process(&inexact, 77), jvm_process(&exact, 9)]);
        let assigned =
            |at: usize, process| state.candidates[at].process.as_ref().is_some_and(|p| Arc::ptr_eq(p, process));
        assert!(assigned(0, &exact) && assigned(1, &inexact));
    }
}
