//! What is known of a JVM beside its counters at the moment of a scrape: what the sampler saw between scrapes, the
//! JVM's own account of its memory, and the kernel's of its process.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Sampling;
use crate::formula::BoardId;
use crate::nmt::{self, Poller};
use crate::perfdata::{Image, Seal};
use crate::process::Observer;
use crate::roster::{Boards, Target};
use crate::sampler::{self, Sampler, Subject, Watchlist};
use crate::snapshot::Board;

/// Watches JVMs between scrapes, asks them for their native memory, and the kernel for their processes.
#[derive(Debug)]
pub struct Surroundings {
    sampler: Option<Arc<Sampler>>,
    poller: Option<Arc<Poller>>,
    observer: Observer,
    procfs: Option<PathBuf>,
    /// JVMs so far: each incarnation is another one.
    count: u64,
}

impl Surroundings {
    /// Of JVMs yet to be found. Sampler and poller are shared with who reconfigures them and reports on them; without
    /// them nothing is sampled and no JVM is asked. `procfs` is where the proc file system is, if processes may be
    /// looked at.
    pub fn new(sampler: Option<Arc<Sampler>>, poller: Option<Arc<Poller>>, procfs: Option<&Path>) -> Self {
        Self { sampler, poller, observer: Observer::new(), procfs: procfs.map(Path::to_owned), count: 0 }
    }
}

impl Boards for Surroundings {
    fn attach(&mut self, target: &Target, image: &Image) -> Vec<(BoardId, Arc<dyn Board>)> {
        let mut boards: Vec<(BoardId, Arc<dyn Board>)> = Vec::new();
        if let Some((sampler, list)) = self.sampler.as_ref().zip(Watchlist::of(image)) {
            let subject = Subject { region: Arc::clone(&target.region), seal: Seal::of(image), list };
            boards.push((BoardId::Sampler, Arc::new(sampler.watch(subject))));
        }
        if let Some(process) = process(target, self.procfs.as_deref()) {
            boards.push((BoardId::Process, self.observer.observe(process.directory)));
        }
        if let Some(poller) = &self.poller {
            self.count = self.count.wrapping_add(1);
            match askable(target, self.procfs.as_deref(), self.count) {
                Ok(askable) => boards.push((BoardId::Nmt, poller.watch(askable))),
                Err(error) => tracing::debug!(path = %target.path.display(), %error, "native memory is not asked for"),
            }
        }
        boards
    }
}

/// Starts the sampling thread; `None` where sampling is off, and where no thread can be had, which is logged.
pub fn start_sampler(config: &Sampling) -> Option<Arc<Sampler>> {
    let settings = sampler::Settings {
        interval: config.interval,
        idle_interval: config.idle_interval,
        bounds: config.buckets.clone().into(),
        causes: config.causes,
        ..sampler::Settings::default()
    };
    let sampler = Sampler::start(settings).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot start the sampling thread; pauses, peaks and allocation are absent");
        None
    });
    sampler.map(Arc::new)
}

/// The JVM as one that may be asked for its native memory, under that id.
///
/// # Errors
/// Its region file is gone from where it was found, or its process, and with it the way to its attach socket.
pub fn askable(target: &Target, procfs: Option<&Path>, id: u64) -> io::Result<nmt::Target> {
    let process = process(target, procfs);
    let (tmp, uid, gid) = match (target.region.file(), &process, &target.process) {
        (Some(file), ..) => {
            let file = file.metadata()?;
            let gid = target.process.as_ref().map_or(file.gid(), |process| process.gid);
            (nmt::tmp_of(&target.path, file.dev(), file.ino())?, file.uid(), gid)
        }
        (None, Some(open), Some(owner)) => (open.tmp()?, owner.uid, owner.gid),
        _ => return Err(io::Error::new(io::ErrorKind::NotFound, "neither a file nor a process")),
    };
    Ok(nmt::Target {
        id,
        tmp,
        vpid: target.vpid,
        process,
        uid,
        gid,
        feature: target.jvm.feature,
        setting: target.jvm.nmt,
        attach_supported: target.jvm.attach_supported,
        accessible: true,
    })
}

fn process(target: &Target, procfs: Option<&Path>) -> Option<nmt::Process> {
    let process = target.process.as_ref()?;
    nmt::Process::open(procfs?, process.pid, process.start_ticks).ok()
}
