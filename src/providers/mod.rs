//! What is known of a JVM beside its counters: samples taken between scrapes, what the JVM answers over its attach socket,
//! and the kernel's account of its process.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::panic
)]

pub mod attach;
pub mod introspection;
mod peak;
pub(crate) mod process;
pub(crate) mod sampler;

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};
use std::{io, iter};

use crate::config::{Sampling, Threads};
use crate::fact::ProviderId;
use crate::hotspot::Model;
use crate::perfdata::ProcessMemory;
use crate::sync::{ExpendableThread, lock};
use crate::targets::guarded::PATIENCE;
use crate::targets::{AttachProviders, JvmProviders, Target};
use attach::{Attachable, Poller, diagnostics::DiagnosticPlan};
use introspection::{IntrospectionSubject, Introspector};
use process::ProcessMonitor;
use sampler::{SamplePlan, SampleSubject, Sampler};

/// Gives JVMs their providers.
#[derive(Debug)]
pub struct Providers {
    sampler: Option<Arc<Sampler>>,
    poller: Option<Arc<Poller>>,
    introspector: Option<Introspector>,
    monitor: ProcessMonitor,
    /// Threads that look for attach sockets, and that nobody needs now.
    readers: Mutex<Vec<ExpendableThread>>,
}

impl Providers {
    /// Providers for JVMs found later. Without `sampler` nothing is sampled, without `poller` no JVM is asked anything over
    /// its attach socket. The caller keeps both to configure them and to report on them.
    pub(crate) fn new(
        sampler: Option<Arc<Sampler>>,
        poller: Option<Arc<Poller>>,
        introspector: Option<Introspector>,
        threads: &Threads,
    ) -> Self {
        Self { sampler, poller, introspector, monitor: ProcessMonitor::new(threads), readers: Mutex::default() }
    }

    /// What the attach protocol needs of each JVM; their /tmp may be on a file system that does not answer. They are
    /// looked for together, and each alone where that takes too long.
    fn attachables(&self, jvms: &[(&Target, &Model)]) -> Vec<io::Result<Attachable>> {
        let kept = lock(&self.readers).pop();
        let mut reader = kept.unwrap_or_else(|| ExpendableThread::new("attach"));
        let finders: Vec<_> = jvms.iter().map(|(target, _)| attachable(target)).collect();
        let find_all = move || finders.into_iter().map(|find| find()).collect();
        let found = reader.call(find_all, PATIENCE, || true).unwrap_or_else(|| {
            let unanswered = || Err(io::ErrorKind::TimedOut.into());
            let alone = |reader: &mut ExpendableThread, target| reader.call(attachable(target), PATIENCE, || true);
            jvms.iter().map(|(target, _)| alone(&mut reader, target).unwrap_or_else(unanswered)).collect()
        });
        lock(&self.readers).push(reader);
        found
    }

    /// The providers of one JVM, with those that ask it over its attach socket if that can be reached.
    fn of_jvm(&self, target: &Target, model: &Model, attachable: Option<io::Result<Attachable>>) -> JvmProviders {
        let mut providers: JvmProviders = Vec::new();
        if let Some((sampler, plan)) = self.sampler.as_ref().zip(SamplePlan::of(model)) {
            let subject =
                SampleSubject { region: Arc::clone(&target.region), region_identity: target.region_identity, plan };
            providers.push((ProviderId::Sampler, Arc::new(sampler.add(subject))));
        }
        if let Some(process) = &target.process {
            providers.push((ProviderId::Process, self.monitor.add(Arc::clone(process), target.jvm.cpus)));
            let subject = IntrospectionSubject::of(target, model);
            if let Some((introspector, subject)) = self.introspector.as_ref().zip(subject) {
                providers.push((ProviderId::Introspection, introspector.add(subject)));
            }
        }
        match self.poller.as_ref().zip(attachable) {
            Some((poller, Ok(attachable))) => {
                let is_introspected = providers.iter().any(|(id, _)| *id == ProviderId::Introspection);
                let plan = DiagnosticPlan::of(model, is_introspected && attachable.memory_readable);
                providers.extend(poller.add(attachable, plan).providers());
            }
            Some((_, Err(error))) => {
                let path = target.path.display();
                tracing::debug!(%path, %error, "cannot reach the JVM's attach socket, so it is asked nothing");
            }
            None => {}
        }
        providers
    }
}

impl Default for Providers {
    /// Those that know processes only.
    fn default() -> Self {
        Self::new(None, None, None, &Threads::default())
    }
}

impl AttachProviders for Providers {
    fn attach(&self, jvms: &[(&Target, &Model)]) -> Vec<JvmProviders> {
        let found = if self.poller.is_some() { self.attachables(jvms) } else { Vec::new() };
        let attachables = found.into_iter().map(Some).chain(iter::repeat_with(|| None));
        jvms.iter().zip(attachables).map(|((target, model), found)| self.of_jvm(target, model, found)).collect()
    }
}

/// Starts the sampling thread; `None` where sampling is off, and where no thread can be had, which is logged.
pub(crate) fn start_sampler(config: &Sampling) -> Option<Arc<Sampler>> {
    let sampler = Sampler::start(config).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot start the sampling thread; pauses, peaks and allocation are absent");
        None
    });
    sampler.map(Arc::new)
}

/// Finds what the attach protocol needs of a JVM, when called.
///
/// # Errors
/// The region file is gone from where it was found, or the process has ended, and with it the way to its attach socket.
pub(crate) fn attachable(target: &Target) -> impl FnOnce() -> io::Result<Attachable> + Send + use<> {
    let (region, process, path) = (Arc::clone(&target.region), target.process.clone(), target.path.clone());
    let (vpid, jvm) = (target.vpid, target.jvm.clone());
    move || {
        let (tmp, uid, gid) = match (region.file(), &process) {
            (Some(file), _) => {
                let file = file.metadata()?;
                let gid = process.as_ref().map_or(file.gid(), |process| process.gid);
                (attach::tmp_of(&path, file.dev(), file.ino())?, file.uid(), gid)
            }
            (None, Some(process)) => (process.tmp()?, process.uid, process.gid),
            _ => {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the JVM has neither a region file nor a process"));
            }
        };
        let (feature, setting, attach_supported) = (jvm.feature, jvm.nmt, jvm.attach_supported);
        let memory_readable = process.as_ref().is_some_and(|process| ProcessMemory::open(process.directory()).is_ok());
        Ok(Attachable { tmp, vpid, process, uid, gid, feature, setting, attach_supported, memory_readable })
    }
}
