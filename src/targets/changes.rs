//! Logs what a scan changed: JVMs found and gone, refusals, and rules of the user that match nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::rules::RuleLocation;
use crate::targets::{Target, TargetSet};
use crate::telemetry::LogDedup;

/// Most lines of one kind per scan: whoever can write to a scanned directory must not be able to flood the log.
const LINE_MAXIMUM: usize = 50;

/// Logs changes of the target set, each refusal and each unmatched rule once.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    dedup: LogDedup<String>,
}

impl ChangeLog {
    /// Logs how `after` differs from `before`.
    pub(crate) fn log(&self, before: &TargetSet, after: &TargetSet, config: &Config) {
        let keys: HashSet<_> = self.log_unmatched_rules(after, config).chain(self.log_refusals(after)).collect();
        self.dedup.retain(|key| keys.contains(key));
        let further = log_each(missing(&after.targets, &before.targets), |target| {
            let (app, slot, path) = (&*target.app, target.slot, target.path.display());
            tracing::info!(app, slot, %path, state = <&str>::from(target.state), "JVM found");
        });
        if further > 0 {
            tracing::info!(further, "JVMs found; `list` and /targets name them");
        }
        let further = log_each(missing(&before.targets, &after.targets), |target| {
            let (app, slot, path) = (&*target.app, target.slot, target.path.display());
            tracing::info!(app, slot, %path, "JVM gone");
        });
        if further > 0 {
            tracing::info!(further, "JVMs gone");
        }
    }

    /// Logs the user's rules that match nothing, and returns their keys. Shipped rules are for every JDK and collector,
    /// so they may match nothing.
    fn log_unmatched_rules(&self, set: &TargetSet, config: &Config) -> impl Iterator<Item = String> {
        let is_users = |rule: &RuleLocation| config.files.iter().any(|file| *rule.file == *file.to_string_lossy());
        let unmatched = config.profiles.iter().flat_map(|profile| profile.unmatched()).filter(is_users);
        let unmatched: Vec<_> = unmatched.map(|rule| format!("{rule}: {}", rule.selector)).collect();
        if !set.targets.is_empty() {
            for rule in &unmatched {
                if self.dedup.admits(rule.clone(), "unmatched", Instant::now()) {
                    tracing::warn!(rule, "the rule matches nothing of the JVMs found so far; see `explain`");
                }
            }
        }
        unmatched.into_iter()
    }

    /// Logs refusals, and returns their keys.
    fn log_refusals(&self, set: &TargetSet) -> impl Iterator<Item = String> {
        let time = Instant::now();
        let refusals: Vec<_> = set.refusals.iter().map(|refusal| (refusal.subject(), refusal)).collect();
        let new = refusals
            .iter()
            .filter(|(subject, refusal)| self.dedup.admits(subject.clone(), refusal.reason.as_str(), time));
        let further = log_each(new, |(subject, refusal)| {
            tracing::info!(
                subject,
                reason = refusal.reason.as_str(),
                detail = refusal.detail,
                remedy = &*refusal.remedy,
                "not served"
            );
        });
        if further > 0 {
            tracing::info!(further, "not served; `list` and /targets name them");
        }
        refusals.into_iter().map(|(subject, _)| subject)
    }
}

/// Logs the first items; returns the number of further ones.
fn log_each<T>(mut items: impl Iterator<Item = T>, log: impl FnMut(T)) -> usize {
    items.by_ref().take(LINE_MAXIMUM).for_each(log);
    items.count()
}

/// The JVMs of one list that the other lacks.
fn missing<'a>(of: &'a [Arc<Target>], other: &'a [Arc<Target>]) -> impl Iterator<Item = &'a Arc<Target>> {
    let known: HashSet<_> = other.iter().map(|target| target.incarnation).collect();
    of.iter().filter(move |target| !known.contains(&target.incarnation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_that_are_not_logged_are_counted() {
        for (items, logged, further) in
            [(0, 0, 0), (LINE_MAXIMUM, LINE_MAXIMUM, 0), (LINE_MAXIMUM + 7, LINE_MAXIMUM, 7)]
        {
            let mut lines = 0;
            assert_eq!(log_each(0..items, |_| lines += 1), further);
            assert_eq!(lines, logged);
        }
    }
}
