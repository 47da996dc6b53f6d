//! Slots: what tells JVMs of one app apart without a pid.
//!
//! A slot is the lowest ordinal that no living JVM of the same app has, so a restarted JVM continues the series of the
//! one before it, and `rate()` sees a counter reset.

use std::collections::{BTreeMap, BTreeSet};

use crate::metric::Labels;

/// The slots that are taken, by app and root labels.
#[derive(Debug, Default)]
pub(super) struct Slots {
    taken: BTreeMap<(Box<str>, Labels), BTreeSet<u32>>,
}

impl Slots {
    /// Takes the lowest free ordinal.
    pub(super) fn take(&mut self, app: &str, labels: &Labels) -> u32 {
        let taken = self.taken.entry((app.into(), labels.clone())).or_default();
        let free = taken.iter().zip(0..).find(|(slot, ordinal)| **slot != *ordinal).map(|(_, ordinal)| ordinal);
        let slot = free.unwrap_or_else(|| u32::try_from(taken.len()).unwrap_or(u32::MAX));
        taken.insert(slot);
        slot
    }

    /// Gives an ordinal back.
    pub(super) fn give_back(&mut self, app: &str, labels: &Labels, slot: u32) {
        let key = (app.into(), labels.clone());
        if let Some(taken) = self.taken.get_mut(&key) {
            taken.remove(&slot);
            if taken.is_empty() {
                self.taken.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_slot_is_taken() {
        let (mut slots, none) = (Slots::default(), Labels::default());
        assert_eq!([0, 1, 2], [(); 3].map(|()| slots.take("orders", &none)));
        slots.give_back("orders", &none, 1);
        assert_eq!(slots.take("orders", &none), 1);
        assert_eq!(slots.take("orders", &none), 3);
        slots.give_back("orders", &none, 0);
        assert_eq!(slots.take("orders", &none), 0);
        assert_eq!(slots.take("billing", &none), 0, "another app counts for itself");
        assert_eq!(slots.take("orders", &Labels::new([("container", "a")])), 0, "so does another root");
    }
}
