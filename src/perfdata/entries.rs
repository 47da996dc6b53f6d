//! The bounded walk over the entries of a region. Regions of JVMs of one kind differ in values only, so their entries are
//! decoded once.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use super::entry::{ENTRY_MINIMUM, Entry, decode};
use super::prologue::{PROLOGUE_LENGTH, Prologue};
use super::{ByteOrder, DecodeError, DecodeErrorKind};
use crate::sync::lock;

/// Entries for which there is room before any is found; a JVM has 250 to 400.
const RESERVED: usize = 512;

/// Most lists of entries that a new region is compared with.
const KNOWN_MAXIMUM: usize = 16;

/// The complete entries of a region, and whether these are all that the prologue counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// In the order of the region.
    pub list: Vec<Entry>,
    /// The entry that ended the walk before the prologue's last one: it is incomplete or damaged. The entries before it
    /// are valid, and a later walk may find more.
    pub stopped: Option<DecodeError>,
    /// Hash of each name and its index in the list, in ascending order.
    by_name: Vec<(u64, u32)>,
    input: Option<WalkInput>,
    /// Where each entry starts in the region.
    starts: Vec<u32>,
    /// What the region has between the start of each entry and its value, one after the other.
    headers: Vec<u8>,
}

/// What a walk depends on beside the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WalkInput {
    byte_order: ByteOrder,
    used: i32,
    entry_offset: i32,
    num_entries: i32,
    length: usize,
}

impl WalkInput {
    fn of(prologue: &Prologue, length: usize) -> Self {
        let Prologue { byte_order, used, entry_offset, num_entries, .. } = *prologue;
        Self { byte_order, used, entry_offset, num_entries, length }
    }
}

impl Entries {
    /// The entries of `bytes`, which start with `prologue`; the one copy of equal ones.
    pub(super) fn of(prologue: &Prologue, bytes: &[u8]) -> Arc<Self> {
        static KNOWN: Mutex<Vec<Weak<Entries>>> = Mutex::new(Vec::new());
        let same = lock(&KNOWN).iter().filter_map(Weak::upgrade).find(|entries| entries.is_of(prologue, bytes));
        same.unwrap_or_else(|| {
            let entries = Arc::new(Self::walk(prologue, bytes));
            let mut known = lock(&KNOWN);
            known.retain(|entries| entries.strong_count() > 0);
            if known.len() < KNOWN_MAXIMUM {
                known.push(Arc::downgrade(&entries));
            }
            entries
        })
    }

    /// The entry of that exact name; the first one of several.
    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        let wanted = hash(name);
        let from = self.by_name.partition_point(|(hash, _)| *hash < wanted);
        let candidates = self.by_name.get(from..).unwrap_or_default().iter().take_while(|(hash, _)| *hash == wanted);
        candidates.filter_map(|(_, index)| self.list.get(*index as usize)).find(|entry| *entry.name == *name)
    }

    /// Walks the entries of `bytes`, which start with `prologue`, to the first that is incomplete or not legal. HotSpot
    /// publishes the count before the bytes (perfData.cpp, `create_entry`), so an incomplete entry is no error. At most
    /// `bytes.len() / 24` entries are read.
    fn walk(prologue: &Prologue, bytes: &[u8]) -> Self {
        let mut entries = Self { input: Some(WalkInput::of(prologue, bytes.len())), ..Self::default() };
        let published = usize::try_from(prologue.num_entries).unwrap_or(0).min(bytes.len() / ENTRY_MINIMUM);
        let used = usize::try_from(prologue.used).unwrap_or(0).min(bytes.len());
        let found = prologue.entry_offset;
        let first = usize::try_from(found).ok().filter(|first| *first >= PROLOGUE_LENGTH && first.is_multiple_of(4));
        let Some(mut at) = first else {
            return Self { stopped: Some(DecodeErrorKind::EntryOffset { found }.at(24)), ..entries };
        };
        entries.list.reserve(published.min(RESERVED));
        while entries.list.len() < published {
            match decode(prologue, bytes.get(..used).unwrap_or_default(), at) {
                Ok((entry, next)) => {
                    entries.headers.extend_from_slice(bytes.get(at..entry.offset as usize).unwrap_or_default());
                    entries.starts.extend(u32::try_from(at));
                    entries.list.push(entry);
                    at = next;
                }
                Err(kind) => {
                    entries.stopped = Some(kind.at(at));
                    break;
                }
            }
        }
        entries.by_name = entries.list.iter().map(|entry| hash(&entry.name)).zip(0..).collect();
        entries.by_name.sort_unstable();
        entries
    }

    /// Whether a walk over `bytes` would find these entries: it depends on nothing else.
    fn is_of(&self, prologue: &Prologue, bytes: &[u8]) -> bool {
        let mut headers = &*self.headers;
        let mut is_next = |found: &[u8]| headers.strip_prefix(found).map(|rest| headers = rest).is_some();
        self.stopped.is_none()
            && self.input == Some(WalkInput::of(prologue, bytes.len()))
            && self
                .starts
                .iter()
                .zip(&self.list)
                .all(|(start, entry)| bytes.get(*start as usize..entry.offset as usize).is_some_and(&mut is_next))
    }
}

/// The hash has a seed: otherwise a region could hold thousands of names with the hash of a name that is looked up.
fn hash(name: &str) -> u64 {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SEED.hash_one(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_types, reason = "they have no seed")]
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use rustc_hash::FxHasher;

    use super::*;

    #[test]
    fn names_are_hashed_with_a_seed() {
        let name = "sun.gc.cause";
        assert_eq!(hash(name), hash(name));
        assert_ne!(hash(name), BuildHasherDefault::<DefaultHasher>::default().hash_one(name));
        assert_ne!(hash(name), BuildHasherDefault::<FxHasher>::default().hash_one(name));
    }

    /// A change of any byte gives the entries that a walk finds, and the entries are shared only if it is one of a value.
    #[test]
    fn entries_are_shared_where_a_walk_would_find_the_same() {
        let bytes = include_bytes!("../../tests/fixtures/perfdata/jdk21-G1.hsperfdata");
        let prologue = Prologue::decode(bytes).unwrap();
        let entries = Entries::of(&prologue, bytes);
        let is_value = |at: usize| {
            let next = entries.starts.partition_point(|start| *start as usize <= at);
            at >= entries.list[next - 1].offset as usize
        };
        let mut changed = bytes.to_vec();
        for at in (PROLOGUE_LENGTH..usize::try_from(prologue.used).unwrap()).step_by(7) {
            changed[at] ^= 0x15;
            let found = Entries::of(&prologue, &changed);
            assert_eq!(found.list, Entries::walk(&prologue, &changed).list, "byte {at}");
            assert_eq!(Arc::ptr_eq(&found, &entries), is_value(at), "byte {at}");
            changed[at] = bytes[at];
        }
        for prologue in [
            Prologue { used: prologue.used - 8, ..prologue },
            Prologue { num_entries: prologue.num_entries - 1, ..prologue },
        ] {
            assert!(!Arc::ptr_eq(&Entries::of(&prologue, bytes), &entries));
        }
    }
}
