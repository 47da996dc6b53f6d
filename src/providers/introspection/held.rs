//! Threads that are given up, with the JVMs whose memory holds them. A user may start and end such processes as it likes, and
//! a file system outlive them, so their number is bounded.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::sync::lock;

/// Threads that the JVMs of one user may hold.
const OF_USER: usize = 4;
/// Threads that all JVMs may hold.
const OF_ALL: usize = 64;

/// How many threads the JVMs of each user hold now.
#[derive(Debug, Default)]
pub(super) struct HeldThreads {
    by_user: Mutex<HashMap<u32, usize>>,
}

impl HeldThreads {
    pub(super) fn add(&self, uid: u32) {
        let mut held = lock(&self.by_user);
        let count = held.entry(uid).or_default();
        *count = count.saturating_add(1);
    }

    /// A thread that was held has ended.
    pub(super) fn remove(&self, uid: u32) {
        let mut held = lock(&self.by_user);
        if let Some(count) = held.get_mut(&uid) {
            *count = count.saturating_sub(1);
        }
        held.retain(|_, count| *count > 0);
    }

    /// Whether no further thread is risked for a JVM of that user. One that answered before is risked as long as its
    /// user's JVMs hold few, whatever those of others hold.
    pub(super) fn refuses(&self, uid: u32, answered: bool) -> bool {
        let held = lock(&self.by_user);
        let all = held.values().copied().fold(0, usize::saturating_add);
        held.get(&uid).is_some_and(|count| *count >= OF_USER) || (!answered && all >= OF_ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_whose_jvms_hold_threads_risks_no_more() {
        let held = HeldThreads::default();
        (0..OF_USER).for_each(|_| held.add(7));
        assert_eq!([held.refuses(7, false), held.refuses(7, true), held.refuses(8, false)], [true, true, false]);
        held.remove(7);
        assert!(!held.refuses(7, false));
        held.remove(9);
    }

    #[test]
    fn many_users_keep_newcomers_out_and_nobody_else() {
        let held = HeldThreads::default();
        (0..64).for_each(|uid| held.add(uid));
        assert_eq!([held.refuses(1, true), held.refuses(99, false), held.refuses(99, true)], [false, true, false]);
        (0..64).for_each(|uid| held.remove(uid));
        assert!(lock(&held.by_user).is_empty());
    }
}
