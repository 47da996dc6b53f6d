//! One running JVM, as the exporter would serve it.

use std::sync::Arc;

use super::{InspectError, is_process, not_found};
use crate::config::Config;
use crate::discovery::{Refusal, Scanner};
use crate::providers::Providers;
use crate::targets::{Reconciler, ReconcilerSettings, Target};

/// The JVM of that process id, as `list` shows it, with the providers that `providers` gives it.
///
/// # Errors
/// No such JVM, several (those of containers are all pid 1 to themselves), or one that is not to be served yet.
pub(super) fn find(pid: i32, config: &Config, providers: Providers) -> Result<Arc<Target>, InspectError> {
    let mut scan = Scanner::new(&config.discovery).scan(&|_| false);
    scan.candidates.retain(|candidate| is_process(candidate, pid));
    // One of another process that is not ready would make this one seem to start.
    scan.refusals.retain(|refusal| is_about(refusal, pid));
    let target_set = Reconciler::new(ReconcilerSettings::from(config), Box::new(providers)).update(scan);
    match target_set.targets.as_slice() {
        [target] => Ok(Arc::clone(target)),
        [] if !target_set.starting.is_empty() => Err(InspectError::Starting { pid }),
        [] => Err(not_found(pid, &target_set.refusals)),
        several => {
            let paths: Vec<_> = several.iter().map(|target| target.path.display().to_string()).collect();
            Err(InspectError::Ambiguous { pid, paths: paths.join(", ") })
        }
    }
}

fn is_about(refusal: &Refusal, pid: i32) -> bool {
    let name = refusal.path.as_ref().and_then(|path| path.file_name()?.to_str()?.parse().ok());
    refusal.pid.or(name) == Some(pid)
}
