//! An exporter that finds no JVM says why, once.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::discovery::{Refusal, RefusalReason};
use crate::report::list::NOTHING_FOUND;
use crate::targets::TargetSet;

/// A JVM that has not appeared by then is probably not seen at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most refusals that are named.
const LINES: usize = 10;

/// How long no JVM has been there.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    said: bool,
}

impl Silence {
    /// Takes the result of a scan at `now`; whether there has been no JVM for [`PATIENCE`].
    pub(super) fn observe(&mut self, targets: &TargetSet, config: &Config, now: Instant) -> bool {
        if !targets.targets.is_empty() || !targets.starting.is_empty() {
            self.since = None;
            return false;
        }
        let silent = now.saturating_duration_since(*self.since.get_or_insert(now)) >= PATIENCE;
        if silent && !std::mem::replace(&mut self.said, true) {
            explain(targets, config);
        }
        silent
    }

    /// Other places are looked at from now on.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

fn explain(targets: &TargetSet, config: &Config) {
    let told: Vec<&Refusal> = targets.refusals.iter().filter(|refusal| explains(refusal)).collect();
    let seconds = PATIENCE.as_secs();
    if told.is_empty() && config.discovery.procfs.visible().is_some() {
        // A host without Java is nothing to warn of.
        tracing::info!(seconds, "no JVM found; if one runs here, `list --local` says what to check");
        return;
    }
    tracing::warn!(seconds, refused = told.len(), "no JVM found; the usual reasons follow");
    for refusal in told.iter().take(LINES) {
        let (subject, reason, remedy) = (refusal.subject(), refusal.reason.as_str(), &*refusal.remedy);
        tracing::warn!(subject, reason, detail = refusal.detail, remedy, "not served");
    }
    for (topic, advice) in NOTHING_FOUND.iter().filter(|_| told.is_empty()) {
        tracing::warn!(topic, advice, "no JVM found");
    }
}

/// Whether a refusal may be of a JVM that runs.
fn explains(refusal: &Refusal) -> bool {
    !matches!(refusal.reason, RefusalReason::Stale | RefusalReason::NotHotspot | RefusalReason::NotReady)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::{Overrides, load};
    use crate::targets::Starting;

    #[test]
    fn a_minute_without_any_jvm_is_silence() {
        let config = load(None, &Overrides::default(), &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap();
        let (mut silence, start) = (Silence::default(), Instant::now());
        let empty = TargetSet::default();
        let starting = Starting { path: "/tmp/hsperfdata_a/1".into(), vpid: 1, pid: None, transport: None };
        let starting = TargetSet { starting: vec![starting], ..TargetSet::default() };
        let mut observed = |targets, seconds| silence.observe(targets, &config, start + Duration::from_secs(seconds));
        assert_eq!([0, 59, 60, 65].map(|second| observed(&empty, second)), [false, false, true, true]);
        assert!(!observed(&starting, 70));
        assert_eq!([75, 134, 135].map(|second| observed(&empty, second)), [false, false, true]);
        silence.reset();
        assert!(!silence.said && !silence.observe(&empty, &config, start + Duration::from_secs(200)));
    }
}
