//! Threads of HotSpot's own that are in its list and that neither `java.threads.live` nor the beans count.
//!
//! HotSpot marks them by a virtual function, so they are objects of classes of their own, and their first word tells the
//! class. Which class is hidden is learned from the names of its threads, since no symbol says it.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use super::list::JavaThreads;
use super::tasks::Tasks;
use crate::discovery::HotSpotMemory;

/// What the names of hidden threads begin with, on JDK 8 to 27 (`is_hidden_from_external_view`). Linux cuts names to 15
/// bytes, and JDK 26 shortens them in the middle.
const HIDDEN: [&str; 11] = [
    "C1 Comp",
    "C2 Comp",
    "JVMCI",
    "Service Thread",
    "Monitor Deflati",
    "Monitor..Thread",
    "Sweeper thread",
    "Surrogate Locke",
    "Surroga..Thread",
    "StringDedup",
    "StringD..Thread",
];
/// Threads of a class of which the names are read. The first ones of the common class are HotSpot's: the names of the
/// others are the program's.
const NAMES: usize = 3;
/// Most classes that are remembered; JDKs have about 10.
const CLASSES_MAXIMUM: usize = 64;

/// Which classes of threads are hidden, by the threads' first word.
#[derive(Debug, Default)]
pub(super) struct HiddenThreads {
    hidden: HashMap<u64, bool>,
}

impl HiddenThreads {
    /// Learns the classes that `threads` has for the first time. The fields that were read include the first one.
    pub(super) fn learn(
        &mut self,
        memory: &HotSpotMemory,
        threads: &JavaThreads,
        [os_thread, tid]: [u64; 2],
        tasks: &mut Tasks,
        process: BorrowedFd<'_>,
    ) {
        let mut new: HashMap<u64, Vec<u64>> = HashMap::new();
        for index in 0..threads.addresses().len() {
            let Some(fields) = threads.get(index) else { continue };
            let Some((class, os_thread)) = fields.word(0).zip(fields.word(os_thread)) else { continue };
            if !self.hidden.contains_key(&class) && self.hidden.len().saturating_add(new.len()) < CLASSES_MAXIMUM {
                let found = new.entry(class).or_default();
                if found.len() < NAMES {
                    found.push(os_thread);
                }
            }
        }
        for (class, found) in new {
            let names = found.into_iter().filter_map(|os_thread| {
                let tid = memory.half(os_thread.wrapping_add(tid)).ok()?;
                tasks.line(process, tid, "comm")
            });
            let hidden: Vec<bool> = names.map(|name| is_hidden(&name)).collect();
            if !hidden.is_empty() {
                self.hidden.insert(class, hidden.iter().all(|hidden| *hidden));
            }
        }
    }

    /// Whether a thread with that first word is hidden; `None` while it is unknown.
    pub(super) fn is_hidden(&self, class: u64) -> Option<bool> {
        self.hidden.get(&class).copied()
    }
}

fn is_hidden(name: &[u8]) -> bool {
    HIDDEN.iter().any(|hidden| name.starts_with(hidden.as_bytes()))
}
