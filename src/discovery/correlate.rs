//! Brings files and processes together: whose region is which.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::explain::{Facts, STARTING, explain};
use super::flags::Flags;
use super::open::{Found, Opener, UserDirectory};
use super::procfs::{Evidence, JvmProcess, Procfs};
use super::refusal::{Refusal, RefusalReason};
use super::survey::ScanState;
use super::{Candidate, RegionId};
use crate::metric::Labels;
use crate::perfdata::name::user_of;
use crate::proc::Process;
use crate::proc::handle::ticks_since_boot;
use crate::proc::maps::Mapped;
use crate::proc::passwd;
use crate::proc::stat::{HERTZ, STATUS_MAXIMUM, read, read_text};

/// Bytes of a command line that are searched for JVM flags.
const COMMAND_LINE: u64 = 1 << 17;

/// Attaches each process to its file, finds files that only the process's own root shows, and says of every other
/// JVM why it cannot be read.
pub(super) fn join(survey: &mut ScanState<'_>, procfs: &mut Procfs, jvm_processes: Vec<JvmProcess>) {
    // Processes whose map names their file come first; the rest may only claim what is left.
    let (mapped, rest): (Vec<_>, Vec<_>) =
        jvm_processes.into_iter().partition(|jvm_process| matches!(jvm_process.evidence, Evidence::Jvm(Some(_))));
    for JvmProcess { process, evidence } in mapped.into_iter().chain(rest) {
        match evidence {
            Evidence::Jvm(mapped) => find(survey, procfs, &process, mapped),
            Evidence::Hidden => claim(survey, procfs, &process),
            Evidence::NotHotspot if age(&process) < STARTING => survey.refuse(Refusal::of_pid(
                process.pid,
                RefusalReason::NotReady,
                "it is called java and has not loaded a JVM yet; the next scan looks again",
            )),
            Evidence::NotHotspot => survey.refuse(Refusal::of_pid(
                process.pid,
                RefusalReason::NotHotspot,
                "it is a Java process without HotSpot (OpenJ9, or a launcher), which publishes no counters",
            )),
        }
    }
}

/// Seconds since the process started.
pub(super) fn age(process: &Process) -> u64 {
    ticks_since_boot().saturating_sub(process.start_ticks).wrapping_div(HERTZ)
}

/// A JVM whose memory map could be read.
fn find(survey: &mut ScanState<'_>, procfs: &mut Procfs, process: &Arc<Process>, mapped: Option<Mapped>) {
    if mapped.as_ref().is_some_and(|mapped| attach(survey, process, mapped)) {
        return;
    }
    let mut place = ExpectedFile::look(survey, procfs, process, mapped.as_ref());
    // Its file is not where it was, or another lies there: what is remembered of its map may be out of date.
    let doubtful =
        place.file.is_some() || place.obstacle.is_some() || mapped.as_ref().is_some_and(|mapped| !mapped.deleted);
    let mapped = if doubtful && !place.is_its_own(mapped.as_ref()) {
        match procfs.look_again(process) {
            Some(Evidence::Jvm(mapped)) => mapped,
            Some(_) => mapped,
            None => return,
        }
    } else {
        mapped
    };
    if mapped.as_ref().is_some_and(|mapped| attach(survey, process, mapped)) {
        return;
    }
    if let Some((directory, found)) = place.file.as_ref().filter(|_| place.is_its_own(mapped.as_ref())) {
        let at = survey.admit(directory, found, &Labels::default());
        match at.and_then(|at| survey.candidates.get_mut(at)) {
            Some(candidate) => candidate.process = Some(Arc::clone(process)),
            // The refusal was noted a moment ago, for the file.
            None => {
                if let Some(refused) = survey.refused.last_mut() {
                    refused.refusal.pid = Some(process.pid);
                }
            }
        }
        return;
    }
    match mapped {
        Some(mapped) => out_of_reach(survey, process, &mapped, place),
        None => {
            place.facts.foreign_file = place.file.is_some_and(|(_, found)| found.sight.owner == process.uid);
            place.facts.obstacle = place.obstacle;
            survey.refuse(explain(place.facts));
        }
    }
}

/// Gives a process the file that its map names, if a root showed that, read or refused.
fn attach(survey: &mut ScanState<'_>, process: &Arc<Process>, mapped: &Mapped) -> bool {
    if let Some(candidate) = survey.named(process.vpid, |candidate| {
        let file = candidate.id.file();
        file.is_some_and(|id| mapped.is(id, &candidate.path)) && candidate.process.is_none()
    }) {
        candidate.process = Some(Arc::clone(process));
        return true;
    }
    let refused = survey.refused.iter_mut().find(|refused| {
        refused.refusal.pid.is_none()
            && refused
                .sight
                .is_some_and(|sight| refused.refusal.path.as_ref().is_some_and(|path| mapped.is(sight.id, path)))
    });
    refused.map(|refused| refused.refusal.pid = Some(process.pid)).is_some()
}

/// A JVM that writes a region which no path leads to.
fn out_of_reach(survey: &mut ScanState<'_>, process: &Arc<Process>, mapped: &Mapped, place: ExpectedFile) {
    let id = RegionId::File(mapped.id);
    if survey.is_known(id) {
        let user = mapped.path.parent().and_then(Path::file_name).and_then(user_of).unwrap_or_default();
        survey.push(Candidate {
            path: mapped.path.clone(),
            source: None,
            id,
            owner: process.uid,
            vpid: process.vpid,
            user,
            labels: Labels::default(),
            process: Some(Arc::clone(process)),
            linked: false,
        });
        return;
    }
    let refusal = if place.facts.denied || place.obstacle.is_some() {
        explain(Facts { obstacle: place.obstacle, ..place.facts })
    } else if mapped.deleted {
        Refusal {
            path: Some(mapped.path.clone()),
            ..Refusal::of_pid(
                process.pid,
                RefusalReason::Deleted,
                "its file was deleted, by a cleaner of /tmp or a JVM that shares the directory from another pid namespace; exclude hsperfdata_* from cleaning and restart the JVM",
            )
        }
    } else {
        Refusal {
            path: Some(mapped.path.clone()),
            ..Refusal::of_pid(
                process.pid,
                RefusalReason::OtherTmp,
                "its file lies in a directory that is not looked at; name the parent of hsperfdata_* as a root",
            )
        }
    };
    survey.refuse(refusal);
}

/// A process whose memory map is closed: number and owner must do, and only where numbers are comparable.
fn claim(survey: &mut ScanState<'_>, procfs: &Procfs, process: &Arc<Process>) {
    if procfs.own_numbers() && process.vpid == process.pid {
        let candidate = survey.named(process.vpid, |candidate| {
            candidate.process.is_none() && candidate.owner == process.uid && candidate.labels.is_empty()
        });
        if let Some(candidate) = candidate {
            candidate.process = Some(Arc::clone(process));
            return;
        }
        let refused = survey.refused.iter_mut().find(|refused| {
            refused.refusal.pid.is_none()
                && refused.sight.is_some_and(|sight| sight.vpid == process.vpid && sight.owner == process.uid)
        });
        if let Some(refused) = refused {
            refused.refusal.pid = Some(process.pid);
            return;
        }
    }
    if process.name == "java" {
        let facts = Facts { denied: true, ..facts(procfs, process) };
        survey.refuse(explain(facts));
    }
}

fn facts(procfs: &Procfs, process: &Process) -> Facts {
    let cmdline = procfs.directory(process).and_then(|directory| read(directory, "cmdline", COMMAND_LINE as usize));
    Facts {
        pid: process.pid,
        uid: process.uid,
        age: age(process),
        flags: Flags::read(&cmdline.unwrap_or_default()),
        own_user: process.uid == rustix::process::geteuid().as_raw(),
        ..Facts::default()
    }
}

/// The name of a user inside a process's `root`; `None` without an answer, `Some(None)` without an entry.
pub(super) fn user_name(opener: &Opener, directory: &OwnedFd, root: &OwnedFd, uid: u32) -> Option<Option<String>> {
    let inside = passwd::inside(&read_text(directory, "uid_map", STATUS_MAXIMUM).unwrap_or_default(), uid)?;
    let passwd = opener.content(root, Path::new("etc/passwd"), passwd::MAXIMUM).ok()?;
    Some(passwd::name_of(&passwd, inside))
}

/// The place where a JVM's file belongs, seen through its own root.
struct ExpectedFile {
    file: Option<(UserDirectory, Found)>,
    obstacle: Option<Refusal>,
    facts: Facts,
}

impl ExpectedFile {
    fn look(survey: &mut ScanState<'_>, procfs: &Procfs, process: &Process, mapped: Option<&Mapped>) -> Self {
        let mut place = Self { file: None, obstacle: None, facts: facts(procfs, process) };
        // `root` is a magic link, the only one that is ever followed, and everything else is resolved beneath it.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = procfs
            .directory(process)
            .and_then(|directory| Ok((openat(&directory, "root", flags, Mode::empty())?, directory)));
        let (root, directory) = match opened {
            Ok(opened) => opened,
            Err(errno) => {
                place.facts.denied = matches!(errno, Errno::ACCESS | Errno::PERM);
                return place;
            }
        };
        let user = user_name(survey.opener, &directory, &root, process.uid);
        place.facts.has_passwd_entry = user.as_ref().map(Option::is_some);
        let path = procfs.path().join(process.pid.to_string()).join("root/tmp");
        if let Err(errno) = place.search(survey, &root, &path, process, user.flatten().as_deref(), mapped)
            && errno != Errno::NOENT
        {
            place.obstacle = Some(Refusal::of_errno(&path, errno));
        }
        place
    }

    /// Of several files with the process's number the one that it maps counts, or else the one changed last, as for
    /// HotSpot (get_user_name_slow, perfMemory_posix.cpp).
    fn search(
        &mut self,
        survey: &mut ScanState<'_>,
        root: &OwnedFd,
        path: &Path,
        process: &Process,
        user: Option<&str>,
        mapped: Option<&Mapped>,
    ) -> Result<(), Errno> {
        let tmp = survey.opener.directory(root, Path::new("tmp"))?;
        for name in &*survey.user_directories(&tmp, path)? {
            let directory = match UserDirectory::open(survey.opener, &tmp, path, name) {
                Some(Ok(directory)) => directory,
                Some(Err(refusal)) if user_of(name).as_deref() == user => {
                    self.obstacle = Some(refusal);
                    continue;
                }
                _ => continue,
            };
            if user == Some(&*directory.user) && process.uid != 0 && directory.owner != process.uid {
                let detail = format!(
                    "owned by uid {}, so a JVM of uid {} does not use it; remove it",
                    directory.owner, process.uid
                );
                self.obstacle = Some(Refusal::of_path(&directory.path, RefusalReason::InsecureDirectory, detail));
                continue;
            }
            match directory.find(survey.opener, process.vpid) {
                Some(Ok(found)) => {
                    let rank = |found: &Found| {
                        (mapped.is_some_and(|mapped| mapped.is(found.sight.id, &found.path)), found.changed)
                    };
                    if self.file.as_ref().is_none_or(|(_, other)| rank(&found) > rank(other)) {
                        self.file = Some((directory, found));
                    }
                }
                Some(Err(refused)) if refused.sight.is_some_and(|sight| sight.owner == process.uid) => {
                    self.obstacle = Some(refused.refusal);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn is_its_own(&self, mapped: Option<&Mapped>) -> bool {
        self.file.as_ref().zip(mapped).is_some_and(|((_, found), mapped)| mapped.is(found.sight.id, &found.path))
    }
}
