//! What is known of a JVM beside its counters at the moment of a scrape: what the sampler saw between scrapes, the
//! JVM's own account of its memory, and the kernel's of its process.

pub mod nmt;
pub mod process;
pub mod sampler;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use crate::config::Sampling;
use crate::fact::Provider;
use crate::fact::ProviderId;
use crate::hotspot::Model;
use crate::providers::process::Observer;
use crate::targets::{AttachProviders, Target};
use nmt::Poller;
use sampler::{SamplePlan, SampleSubject, Sampler};

/// Watches JVMs between scrapes, asks them for their native memory, and the kernel for their processes.
#[derive(Debug)]
pub struct Providers {
    sampler: Option<Arc<Sampler>>,
    poller: Option<Arc<Poller>>,
    observer: Observer,
    /// JVMs so far: each incarnation is another one.
    count: u64,
}

impl Providers {
    /// Of JVMs yet to be found. Sampler and poller are shared with who reconfigures them and reports on them; without
    /// them nothing is sampled and no JVM is asked. `procfs` is where the proc file system is, if processes may be
    /// looked at.
    pub fn new(sampler: Option<Arc<Sampler>>, poller: Option<Arc<Poller>>) -> Self {
        Self { sampler, poller, observer: Observer::new(), count: 0 }
    }
}

impl AttachProviders for Providers {
    fn attach(&mut self, target: &Target, model: &Model) -> Vec<(ProviderId, Arc<dyn Provider>)> {
        let mut providers: Vec<(ProviderId, Arc<dyn Provider>)> = Vec::new();
        if let Some((sampler, list)) = self.sampler.as_ref().zip(SamplePlan::of(model)) {
            let subject =
                SampleSubject { region: Arc::clone(&target.region), region_identity: target.region_identity, list };
            providers.push((ProviderId::Sampler, Arc::new(sampler.watch(subject))));
        }
        if let Some(process) = &target.process {
            providers.push((ProviderId::Process, self.observer.observe(Arc::clone(process))));
        }
        if let Some(poller) = &self.poller {
            self.count = self.count.wrapping_add(1);
            match attachable(target, self.count) {
                Ok(attachable) => providers.push((ProviderId::Nmt, poller.watch(attachable))),
                Err(error) => tracing::debug!(path = %target.path.display(), %error, "native memory is not asked for"),
            }
        }
        providers
    }
}

/// Starts the sampling thread; `None` where sampling is off, and where no thread can be had, which is logged.
pub fn start_sampler(config: &Sampling) -> Option<Arc<Sampler>> {
    let settings = sampler::SamplerSettings {
        interval: config.interval,
        idle_interval: config.idle_interval,
        bounds: config.buckets.clone().into(),
        causes: config.causes,
        ..sampler::SamplerSettings::default()
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
pub fn attachable(target: &Target, id: u64) -> io::Result<nmt::Attachable> {
    let (tmp, uid, gid) = match (target.region.file(), &target.process) {
        (Some(file), _) => {
            let file = file.metadata()?;
            let gid = target.process.as_ref().map_or(file.gid(), |process| process.gid);
            (nmt::tmp_of(&target.path, file.dev(), file.ino())?, file.uid(), gid)
        }
        (None, Some(process)) => (process.tmp()?, process.uid, process.gid),
        _ => return Err(io::Error::new(io::ErrorKind::NotFound, "neither a file nor a process")),
    };
    Ok(nmt::Attachable {
        id,
        tmp,
        vpid: target.vpid,
        process: target.process.clone(),
        uid,
        gid,
        feature: target.jvm.feature,
        setting: target.jvm.nmt,
        attach_supported: target.jvm.attach_supported,
    })
}
