//! What a scan found that the one before did not, as log lines: JVMs that came or went, what is not served, and rules of the
//! user that match nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::rules::Origin;
use crate::targets::{Target, TargetSet};
use crate::telemetry::LogDedup;

/// Lines of one kind in one scan: who may write to a directory must not be able to flood the log.
const LINES: usize = 50;

/// Remembers what it has complained of, to say each thing once.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    complaints: LogDedup<String>,
}

impl ChangeLog {
    /// Logs what `now` has of news.
    pub(crate) fn tell(&self, before: &TargetSet, now: &TargetSet, config: &Config) {
        let subjects = self.tell_of_rules(now, config).chain(self.tell_of_refusals(now)).collect::<HashSet<_>>();
        self.complaints.retain(|subject| subjects.contains(subject));
        let further = each_of(missing(&now.targets, &before.targets), |target| {
            let (app, slot, path) = (&*target.app, target.slot, target.path.display());
            tracing::info!(app, slot, %path, state = target.state.as_str(), "JVM found");
        });
        if further > 0 {
            tracing::info!(further, "JVMs found; `list` and /targets name them");
        }
        let further = each_of(missing(&before.targets, &now.targets), |target| {
            let (app, slot, path) = (&*target.app, target.slot, target.path.display());
            tracing::info!(app, slot, %path, "JVM gone");
        });
        if further > 0 {
            tracing::info!(further, "JVMs gone");
        }
    }

    /// Rules that match nothing. Shipped ones are for every JDK and collector; only the user's own are meant for what runs
    /// here.
    fn tell_of_rules(&self, now: &TargetSet, config: &Config) -> impl Iterator<Item = String> {
        let own = |rule: &Origin| config.files.iter().any(|file| *rule.file == *file.to_string_lossy());
        let unmatched = config.profiles.iter().flat_map(|profile| profile.unmatched()).filter(own);
        let unmatched: Vec<_> = unmatched.map(|rule| format!("{rule}: {}", rule.takes)).collect();
        if !now.targets.is_empty() {
            for rule in &unmatched {
                if self.complaints.admits(rule.clone(), "unmatched", Instant::now()) {
                    tracing::warn!(rule, "the rule matches nothing of the JVMs found so far; see `explain`");
                }
            }
        }
        unmatched.into_iter()
    }

    fn tell_of_refusals(&self, now: &TargetSet) -> impl Iterator<Item = String> {
        let time = Instant::now();
        let is_news = |subject: &String, reason| self.complaints.admits(subject.clone(), reason, time);
        let refusals: Vec<_> = now.refusals.iter().map(|refusal| (refusal.subject(), refusal)).collect();
        let news = refusals.iter().filter(|(subject, refusal)| is_news(subject, refusal.reason.as_str()));
        let further = each_of(news, |(subject, refusal)| {
            tracing::info!(subject, reason = refusal.reason.as_str(), detail = refusal.detail, "not served");
        });
        if further > 0 {
            tracing::info!(further, "not served; `list` and /targets name them");
        }
        refusals.into_iter().map(|(subject, _)| subject)
    }
}

/// Tells of the first few; how many it did not tell of.
fn each_of<T>(mut news: impl Iterator<Item = T>, tell: impl FnMut(T)) -> usize {
    news.by_ref().take(LINES).for_each(tell);
    news.count()
}

/// The JVMs of one list that the other one does not have.
fn missing<'a>(of: &'a [Arc<Target>], other: &'a [Arc<Target>]) -> impl Iterator<Item = &'a Arc<Target>> {
    of.iter().filter(|target| !other.iter().any(|known| known.incarnation == target.incarnation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_is_counted() {
        for (news, told, further) in [(0, 0, 0), (LINES, LINES, 0), (LINES + 7, LINES, 7)] {
            let mut lines = 0;
            assert_eq!(each_of(0..news, |_| lines += 1), further);
            assert_eq!(lines, told);
        }
    }
}
