//! Finds one running JVM, as the exporter would serve it.

use std::sync::Arc;

use super::ReportError;
use super::subject::{is_process, not_found};
use crate::config::Config;
use crate::discovery::{Refusal, Scanner};
use crate::providers::Providers;
use crate::targets::{Reconciler, ReconcilerSettings, Target};

/// The JVM of a process id, as `list` shows it, with its providers from `providers`.
///
/// # Errors
/// There is no such JVM, there are several (in containers each may be pid 1), or the JVM cannot be served yet.
pub(super) fn find(pid: i32, config: &Config, providers: Providers) -> Result<Arc<Target>, ReportError> {
    let mut scan = Scanner::new(&config.discovery).scan(&|_| false);
    scan.candidates.retain(|candidate| is_process(candidate, pid));
    // The region of another process that is not initialized yet must not count as this one's.
    scan.refusals.retain(|refusal| is_about(refusal, pid));
    let target_set = Reconciler::new(ReconcilerSettings::from(config), Box::new(providers)).update(scan);
    match target_set.targets.as_slice() {
        [target] => Ok(Arc::clone(target)),
        [] if !target_set.starting.is_empty() => Err(ReportError::Starting { pid }),
        [] => Err(not_found(pid, &target_set.refusals)),
        several => {
            let paths: Vec<_> = several.iter().map(|target| target.path.display().to_string()).collect();
            Err(ReportError::Ambiguous { pid, paths: paths.join(", ") })
        }
    }
}

fn is_about(refusal: &Refusal, pid: i32) -> bool {
    let name = refusal.path.as_ref().and_then(|path| path.file_name()?.to_str()?.parse().ok());
    refusal.pid.or(name) == Some(pid)
}
