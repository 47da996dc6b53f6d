//! What collections leave in the old generation and bring into it.

use super::gc_pauses::PauseActivity;

/// The old generation from sample to sample.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OldGeneration {
    /// Bytes in use before the pause that runs, else as last seen. HotSpot writes them before it counts the pause.
    before: Option<i64>,
    /// Bytes by which collections made it grow. What is allocated in it between them does not count.
    pub(super) promoted: i64,
    /// Bytes in use after the last full collection, or the last pause that made it smaller.
    pub(super) live_set: Option<i64>,
}

impl OldGeneration {
    /// Adds a sample of its used bytes.
    pub(super) fn record(&mut self, used: i64, activity: &PauseActivity) {
        let collected = activity.young.max(activity.full) > 0;
        let has_ended = collected || activity.phases > 0;
        if activity.active && !has_ended {
            self.before.get_or_insert(used);
            return;
        }
        let before = self.before.replace(used).unwrap_or(used);
        if collected {
            self.promoted = self.promoted.saturating_add(used.saturating_sub(before).max(0));
        }
        if activity.full > 0 || has_ended && used < before {
            self.live_set = Some(used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_over_collections_is_promotion() {
        let idle = PauseActivity::default;
        let running = || PauseActivity { active: true, ..idle() };
        let young = || PauseActivity { young: 1, active: true, ..idle() };
        let full = || PauseActivity { full: 1, active: true, ..idle() };
        let phase = || PauseActivity { phases: 1, active: true, ..idle() };
        let mut old = OldGeneration::default();
        // Bytes in use, what happened; then bytes promoted and the live set.
        for (used, activity, promoted, live_set, why) in [
            (100, idle(), 0, None, "the first sample"),
            (150, idle(), 0, None, "objects that are too large for eden"),
            (180, running(), 0, None, "written before the pause is counted"),
            (180, young(), 30, None, "and counted"),
            (190, young(), 40, None, "a pause between two samples"),
            (170, young(), 40, Some(170), "a mixed collection"),
            (172, young(), 42, Some(170), "growth is not the live set"),
            (90, full(), 42, Some(90), "a full collection"),
            (95, full(), 47, Some(95), "one that moves all of eden"),
            (60, phase(), 47, Some(60), "regions without a live object"),
            (70, phase(), 47, Some(60), "growth over a phase"),
        ] {
            old.record(used, &activity);
            assert_eq!((old.promoted, old.live_set), (promoted, live_set), "{why}");
        }
    }
}
