//! Complaints said once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Time after which an unchanged complaint is worth a line again.
const REMINDER: Duration = Duration::from_secs(3600);

/// Lets a complaint through when it is new, has changed, or was last let through an hour ago. Scans run every few
/// seconds and would otherwise fill the log with one sentence.
#[derive(Debug)]
pub struct LogDedup<K> {
    said: Mutex<HashMap<K, (Box<str>, Instant)>>,
}

impl<K> Default for LogDedup<K> {
    fn default() -> Self {
        Self { said: Mutex::default() }
    }
}

impl<K: Eq + Hash> LogDedup<K> {
    /// Whether `complaint` about `key` should be logged at `now`; if so it is remembered as said.
    pub fn is_news(&self, key: K, complaint: &str, now: Instant) -> bool {
        let mut said = lock(&self.said);
        if let Some((before, at)) = said.get(&key)
            && **before == *complaint
            && now.saturating_duration_since(*at) < REMINDER
        {
            return false;
        }
        said.insert(key, (complaint.into(), now));
        true
    }

    /// Forgets every key but those that `is_current` holds of: a scan calls it with what it saw, which bounds the
    /// memory, and makes a complaint that ended and came back news.
    pub fn retain(&self, mut is_current: impl FnMut(&K) -> bool) {
        lock(&self.said).retain(|key, _| is_current(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_news_once_until_it_changes_or_an_hour_passed() {
        let (quiet, start) = (LogDedup::default(), Instant::now());
        let at = |minutes: u64| start + Duration::from_secs(minutes * 60);
        for (key, complaint, minutes, expected) in [
            ("a", "denied", 0, true),
            ("a", "denied", 1, false),
            ("b", "denied", 1, true),
            ("a", "truncated", 2, true),
            ("a", "denied", 3, true),
            ("a", "denied", 62, false),
            ("a", "denied", 63, true),
        ] {
            assert_eq!(quiet.is_news(key, complaint, at(minutes)), expected, "{key} {complaint} {minutes}");
        }
        quiet.retain(|key| *key == "b");
        assert!(quiet.is_news("a", "denied", at(64)));
        assert!(!quiet.is_news("b", "denied", at(10)));
    }
}
