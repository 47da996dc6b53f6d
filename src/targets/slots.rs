//! Slots: the label that distinguishes JVMs of one app without their pids.
//!
//! A JVM gets the lowest ordinal that is free among the JVMs of its app. A restarted JVM therefore continues the series
//! of its predecessor, and `rate()` sees a counter reset.

use std::collections::{BTreeMap, BTreeSet};

use crate::metric::Labels;

/// The slots in use, by app and root labels.
#[derive(Debug, Default)]
pub(super) struct Slots {
    used: BTreeMap<(Box<str>, Labels), BTreeSet<u32>>,
}

impl Slots {
    /// Allocates the lowest free ordinal.
    pub(super) fn allocate(&mut self, app: &str, labels: &Labels) -> u32 {
        let used = self.used.entry((app.into(), labels.clone())).or_default();
        let next = u32::try_from(used.len()).unwrap_or(u32::MAX);
        // Mostly there is no gap: then the last one says so.
        let has_gap = used.last().is_some_and(|last| *last >= next);
        let gap = || used.iter().zip(0..).find(|(slot, ordinal)| **slot != *ordinal).map(|(_, ordinal)| ordinal);
        let slot = if has_gap { gap().unwrap_or(next) } else { next };
        used.insert(slot);
        slot
    }

    /// Allocates this ordinal, if it is free.
    pub(super) fn take(&mut self, app: &str, labels: &Labels, slot: u32) -> bool {
        self.used.entry((app.into(), labels.clone())).or_default().insert(slot)
    }

    /// Frees an ordinal.
    pub(super) fn free(&mut self, app: &str, labels: &Labels, slot: u32) {
        let key = (app.into(), labels.clone());
        if let Some(used) = self.used.get_mut(&key) {
            used.remove(&slot);
            if used.is_empty() {
                self.used.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_slot_is_allocated() {
        let (mut slots, none) = (Slots::default(), Labels::default());
        assert_eq!([0, 1, 2], [(); 3].map(|()| slots.allocate("orders", &none)));
        slots.free("orders", &none, 1);
        assert_eq!(slots.allocate("orders", &none), 1);
        assert_eq!(slots.allocate("orders", &none), 3);
        slots.free("orders", &none, 0);
        assert_eq!(slots.allocate("orders", &none), 0);
        assert!(slots.take("orders", &none, 7) && !slots.take("orders", &none, 7));
        assert_eq!(slots.allocate("orders", &none), 4, "a gap is free");
        assert_eq!(slots.allocate("billing", &none), 0, "each app has its own slots");
        assert_eq!(slots.allocate("orders", &Labels::new([("container", "a")])), 0, "and each root");
    }
}
