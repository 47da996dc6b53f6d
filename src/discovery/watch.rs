//! Hints that a JVM may have come or gone. Scans take place at their interval in any case, since network and overlay file
//! systems, a full watch table and JVMs that are killed give no hint.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::{Errno, read, write};

use crate::perfdata::name::{user_of, vpid_of};
use crate::sync::lock;

/// A directory to watch, and which names in it matter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchedDirectory {
    pub(super) path: PathBuf,
    pub(super) kind: WatchKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WatchKind {
    /// A directory in which any new directory may complete a root pattern.
    Parent,
    /// A temporary directory, for new `hsperfdata_*`.
    Root,
    /// An `hsperfdata_*`, for files named by numbers.
    UserDirectory,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A name that matters appeared or vanished.
    Changed,
    /// A [`Waker`] was used.
    Called,
    /// Nothing happened in time.
    Timeout,
}

/// Ends a wait from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Ends the current wait, or the next one if none is under way.
    pub fn wake(&self) {
        // The write fails only when the counter is full, and then a wake is pending.
        let _ = write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// Watches directories through inotify(7).
#[derive(Debug)]
pub struct DirectoryWatcher {
    /// `None` when the user has no inotify instance left; waits then end by timeout or [`Waker`] only.
    inotify: Option<Arc<OwnedFd>>,
    wake: Arc<OwnedFd>,
    watches: Arc<Mutex<HashMap<WatchedDirectory, i32>>>,
}

/// Changes what a [`DirectoryWatcher`] watches, from another thread: looking up a path may block.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchList {
    inotify: Option<Arc<OwnedFd>>,
    watches: Arc<Mutex<HashMap<WatchedDirectory, i32>>>,
}

impl DirectoryWatcher {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The exporter has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Ok(Self { inotify: inotify.map(Arc::new), wake: Arc::new(wake), watches: Arc::default() })
    }

    /// A handle that ends waits from other threads.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.wake))
    }

    /// Watches these directories and no others, and returns how many are watched. The others are left to the scan
    /// interval.
    pub fn follow(&mut self, directories: &[WatchedDirectory]) -> usize {
        self.list().follow(directories)
    }

    /// What another thread needs to change the list.
    pub(crate) fn list(&self) -> WatchList {
        WatchList { inotify: self.inotify.clone(), watches: Arc::clone(&self.watches) }
    }

    /// Waits for a change or a [`Waker`], at most `timeout`.
    pub fn wait(&self, timeout: Duration) -> Woken {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let limit = left.and_then(|left| Timespec::try_from(left).ok());
            let mut waits = vec![PollFd::new(&*self.wake, PollFlags::IN)];
            waits.extend(self.inotify.iter().map(|inotify| PollFd::new(inotify, PollFlags::IN)));
            match poll(&mut waits, limit.as_ref()) {
                Ok(0) => return Woken::Timeout,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return Woken::Timeout,
            }
            if read(&*self.wake, &mut [0u8; 8]).is_ok() {
                return Woken::Called;
            }
            if self.drain() {
                return Woken::Changed;
            }
            if left.is_some_and(|left| left.is_zero()) {
                return Woken::Timeout;
            }
        }
    }

    /// Waits for a [`Waker`] only, at most `timeout`, and returns whether one was used. Changes in the directories end the
    /// next [`Self::wait`].
    pub fn wait_for_call(&self, timeout: Duration) -> bool {
        let mut waits = [PollFd::new(&*self.wake, PollFlags::IN)];
        let limit = Timespec::try_from(timeout).ok();
        match poll(&mut waits, limit.as_ref()) {
            Ok(0) => false,
            _ => read(&*self.wake, &mut [0u8; 8]).is_ok(),
        }
    }

    /// Reads every pending event; true if one of them matters.
    fn drain(&self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut events = Reader::new(inotify, &mut buffer);
        let mut changed = false;
        while let Ok(event) = events.next() {
            let flags = event.events();
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            changed |= flags.intersects(ReadFlags::QUEUE_OVERFLOW | ReadFlags::DELETE_SELF)
                || name.is_some_and(|name| self.matters(event.wd(), name, flags.contains(ReadFlags::ISDIR)));
        }
        changed
    }

    fn matters(&self, watch: i32, name: &OsStr, directory: bool) -> bool {
        lock(&self.watches).iter().filter(|(_, wd)| **wd == watch).any(|(watched, _)| match watched.kind {
            WatchKind::Parent => directory,
            WatchKind::Root => user_of(name).is_some(),
            WatchKind::UserDirectory => vpid_of(name).is_some(),
        })
    }
}

impl WatchList {
    /// See [`DirectoryWatcher::follow`].
    pub(crate) fn follow(&self, directories: &[WatchedDirectory]) -> usize {
        let Some(inotify) = &self.inotify else { return 0 };
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        // Every path is added again, so that a directory that was replaced under its name is watched; for the same
        // directory the kernel keeps the watch.
        let watches: HashMap<WatchedDirectory, i32> = directories
            .iter()
            .filter_map(|watched| Some((watched.clone(), inotify::add_watch(inotify, &*watched.path, flags).ok()?)))
            .collect();
        let mut old = lock(&self.watches);
        for gone in old.values().filter(|old| !watches.values().any(|new| new == *old)) {
            let _ = inotify::remove_watch(inotify, *gone);
        }
        *old = watches;
        old.len()
    }
}
