//! What one scan has found so far, and the directories below the roots.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::open::{CheckedFile, FileKey, Opener, RefusedItem, UserDirectory, names};
use super::refusal::{Refusal, RefusalReason};
use super::roots;
use super::watch::{WatchKind, WatchedDirectory};
use super::{Candidate, DIRECTORY_NAMES, OWNER_FILES, OWNER_NAMES, RegionId, RegionSource, SCAN_NAMES};
use crate::config::RootPattern;
use crate::metric::Labels;
use crate::perfdata::name::{user_of, vpid_of};
use crate::proc::FileId;

/// The state of a running scan.
pub(super) struct ScanState<'a> {
    pub(super) opener: &'a Opener,
    known: &'a dyn Fn(RegionId) -> bool,
    pub(super) candidates: Vec<Candidate>,
    pub(super) refused: Vec<RefusedItem>,
    pub(super) watched: Vec<WatchedDirectory>,
    by_id: HashMap<RegionId, usize>,
    by_vpid: HashMap<i32, Vec<usize>>,
    names_left: usize,
    /// By uid, so that a user who floods a directory crowds out nobody else.
    allowances: HashMap<u32, Allowance>,
    /// HotSpot's directories in each temporary directory, since many processes share one.
    listings: HashMap<FileId, Rc<[Box<OsStr>]>>,
}

/// What the directories of one owner may still cost in this scan.
struct Allowance {
    names: usize,
    /// Files to open; each holds a descriptor to the end of the scan.
    files: usize,
    /// The end of `files` has been reported.
    reported: bool,
}

impl Allowance {
    fn new() -> Self {
        let descriptors = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
        let files = descriptors.map_or(OWNER_FILES, |limit| OWNER_FILES.min(limit.wrapping_div(4)));
        Self { names: OWNER_NAMES, files, reported: false }
    }
}

impl<'a> ScanState<'a> {
    /// The state at the begin of a scan; the caller has the regions that are `known` open already.
    pub(super) fn new(opener: &'a Opener, known: &'a dyn Fn(RegionId) -> bool) -> Self {
        Self {
            opener,
            known,
            candidates: Vec::new(),
            refused: Vec::new(),
            watched: Vec::new(),
            by_id: HashMap::new(),
            by_vpid: HashMap::new(),
            names_left: SCAN_NAMES,
            allowances: HashMap::new(),
            listings: HashMap::new(),
        }
    }

    /// Scans every directory that a root pattern matches.
    pub(super) fn scan_root(&mut self, root: &RootPattern) {
        let matches = roots::find(root, self.opener);
        matches.refusals.into_iter().for_each(|refusal| self.refuse(refusal));
        matches.parents.into_iter().for_each(|path| self.watch(path, WatchKind::Parent));
        for directory in matches.directories {
            self.watch(directory.path.clone(), WatchKind::Root);
            match self.user_directories(&directory.handle, &directory.path) {
                Err(errno) => self.refuse(Refusal::of_errno(&directory.path, errno)),
                Ok(names) => {
                    for name in &*names {
                        match UserDirectory::open(self.opener, &directory.handle, &directory.path, name) {
                            Some(Ok(user_directory)) => self.scan_user_directory(&user_directory, &directory.labels),
                            Some(Err(refusal)) => self.refuse(refusal),
                            None => {}
                        }
                    }
                }
            }
        }
    }

    /// The names of HotSpot's directories in a temporary directory.
    pub(super) fn user_directories(&mut self, directory: impl AsFd, path: &Path) -> Result<Rc<[Box<OsStr>]>, Errno> {
        let id = FileId::of(&fstat(&directory)?);
        if let Some(listing) = self.listings.get(&id) {
            return Ok(Rc::clone(listing));
        }
        // A crowded /tmp is no attack: only HotSpot's own names count against the limit.
        let (names, more) = names(directory, SCAN_NAMES, |name| user_of(name).is_some())?;
        if more || names.len() > DIRECTORY_NAMES {
            self.refuse(too_many_names(path, DIRECTORY_NAMES));
        }
        let listing: Rc<[Box<OsStr>]> = names.into_iter().take(DIRECTORY_NAMES).collect();
        self.listings.insert(id, Rc::clone(&listing));
        Ok(listing)
    }

    fn scan_user_directory(&mut self, directory: &UserDirectory, labels: &Labels) {
        self.watch(directory.path.clone(), WatchKind::UserDirectory);
        let allowed = self.allowance(directory.owner).names;
        let limit = DIRECTORY_NAMES.min(self.names_left).min(allowed);
        let (names, more) = match names(&directory.handle, limit, |_| true) {
            Ok(listing) => listing,
            Err(errno) => return self.refuse(Refusal::of_errno(&directory.path, errno)),
        };
        self.names_left = self.names_left.saturating_sub(names.len());
        self.allowance(directory.owner).names = allowed.saturating_sub(names.len());
        if more {
            self.refuse(too_many_names(&directory.path, limit));
        }
        for vpid in names.iter().filter_map(|name| vpid_of(name)) {
            if let Some((key, path)) = directory.find_open(vpid, |id| self.is_known(RegionId::File(id))) {
                self.push_file(directory, key, path, None, labels);
                continue;
            }
            match directory.find(self.opener, vpid) {
                Some(Ok(file)) => {
                    self.add_file(directory, &file, labels);
                }
                Some(Err(refused)) => self.refused.push(refused),
                None => {}
            }
        }
    }

    /// Makes a file a candidate, once however often it is found; the index of that candidate, or `None` if the file
    /// cannot be opened.
    pub(super) fn add_file(&mut self, directory: &UserDirectory, file: &CheckedFile, labels: &Labels) -> Option<usize> {
        let key = file.key;
        let id = RegionId::File(key.id);
        if let Some(at) = self.by_id.get(&id) {
            return Some(*at);
        }
        let source = if self.is_known(id) {
            None
        } else if !self.may_open(directory) {
            return None;
        } else {
            match directory.read(file) {
                Ok(file) => Some(RegionSource::File(file)),
                Err(refused) => {
                    self.refused.push(refused);
                    return None;
                }
            }
        };
        Some(self.push_file(directory, key, file.path.clone(), source, labels))
    }

    fn push_file(
        &mut self,
        directory: &UserDirectory,
        key: FileKey,
        path: PathBuf,
        source: Option<RegionSource>,
        labels: &Labels,
    ) -> usize {
        let id = RegionId::File(key.id);
        if let Some(at) = self.by_id.get(&id) {
            return *at;
        }
        self.push(Candidate {
            path,
            source,
            id,
            owner: key.owner,
            vpid: key.vpid,
            user: directory.user.clone(),
            labels: labels.clone(),
            process: None,
            linked: true,
            orphaned: false,
        })
    }

    fn allowance(&mut self, owner: u32) -> &mut Allowance {
        self.allowances.entry(owner).or_insert_with(Allowance::new)
    }

    /// Takes one of the files that may be opened for the directory's owner; reports once that none is left.
    fn may_open(&mut self, directory: &UserDirectory) -> bool {
        let allowance = self.allowance(directory.owner);
        if let Some(left) = allowance.files.checked_sub(1) {
            allowance.files = left;
            return true;
        }
        if !std::mem::replace(&mut allowance.reported, true) {
            let owner = directory.owner;
            let detail = format!("uid {owner} has more new files than one scan opens; the others are not examined");
            self.refuse(
                Refusal::of_path(&directory.path, RefusalReason::TooMany, detail)
                    .with_remedy(format!("Remove the files of uid {owner} that belong to no JVM.")),
            );
        }
        false
    }

    /// Adds a candidate and gives its index.
    pub(super) fn push(&mut self, candidate: Candidate) -> usize {
        let at = self.candidates.len();
        self.by_id.insert(candidate.id, at);
        self.by_vpid.entry(candidate.vpid).or_default().push(at);
        self.candidates.push(candidate);
        at
    }

    /// Whether the caller has this region open already.
    pub(super) fn is_known(&self, id: RegionId) -> bool {
        (self.known)(id)
    }

    /// Whether this region is a candidate.
    pub(super) fn has_candidate(&self, id: RegionId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The numbers that name the files found so far.
    pub(super) fn numbers(&self) -> HashSet<i32> {
        let refused = self.refused.iter().filter_map(|refused| refused.key).map(|key| key.vpid);
        self.by_vpid.keys().copied().chain(refused).collect()
    }

    /// The first candidate of that number that `matches`.
    pub(super) fn candidate_named(
        &mut self,
        vpid: i32,
        matches: impl Fn(&Candidate) -> bool,
    ) -> Option<&mut Candidate> {
        let at = *self.by_vpid.get(&vpid)?.iter().find(|at| self.candidates.get(**at).is_some_and(&matches))?;
        self.candidates.get_mut(at)
    }

    fn watch(&mut self, path: PathBuf, kind: WatchKind) {
        self.watched.push(WatchedDirectory { path, kind });
    }

    /// Adds a refusal.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.refused.push(RefusedItem { refusal, key: None });
    }
}

fn too_many_names(path: &Path, limit: usize) -> Refusal {
    let detail = format!("more than {limit} names; the others are not examined");
    Refusal::of_path(path, RefusalReason::TooMany, detail).with_remedy("Remove the names that belong to no JVM.")
}
