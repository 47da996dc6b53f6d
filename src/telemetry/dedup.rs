//! Log messages that repeat.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Time after which an unchanged message is logged again.
const REMINDER: Duration = Duration::from_secs(3600);

/// Admits a message that is new, has changed, or was last admitted an hour ago: what scans find would fill the log.
#[derive(Debug, Default)]
pub(crate) struct LogDedup<K> {
    logged: Mutex<HashMap<K, (Box<str>, Instant)>>,
}

impl<K: Eq + Hash> LogDedup<K> {
    /// Whether to log `message` about `key` at `now`; if so, it counts as logged.
    pub(crate) fn admits(&self, key: K, message: &str, now: Instant) -> bool {
        let mut logged = lock(&self.logged);
        if let Some((last, at)) = logged.get(&key)
            && **last == *message
            && now.saturating_duration_since(*at) < REMINDER
        {
            return false;
        }
        logged.insert(key, (message.into(), now));
        true
    }

    /// Forgets every key but those for which `is_current` is true. Called with what the last scan found, this bounds the
    /// memory, and admits a message again whose cause ended and came back.
    pub(crate) fn retain(&self, mut is_current: impl FnMut(&K) -> bool) {
        lock(&self.logged).retain(|key, _| is_current(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_admitted_once_until_it_changes_or_an_hour_passes() {
        let (dedup, start) = (LogDedup::default(), Instant::now());
        let at = |minutes: u64| start + Duration::from_secs(minutes * 60);
        for (key, message, minutes, expected) in [
            ("a", "denied", 0, true),
            ("a", "denied", 1, false),
            ("b", "denied", 1, true),
            ("a", "truncated", 2, true),
            ("a", "denied", 3, true),
            ("a", "denied", 62, false),
            ("a", "denied", 63, true),
        ] {
            assert_eq!(dedup.admits(key, message, at(minutes)), expected, "{key} {message} {minutes}");
        }
        dedup.retain(|key| *key == "b");
        assert!(dedup.admits("a", "denied", at(64)));
        assert!(!dedup.admits("b", "denied", at(10)));
    }
}
