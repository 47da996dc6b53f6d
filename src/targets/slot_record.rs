//! What outlives the exporter: which JVM has which slot.
//!
//! A record names one life of one JVM: its region, its birth and its process. It is of no use for any other JVM, so that
//! a record that is old, copied or invented gives nobody another's slot.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Target;
use crate::discovery::RegionId;
use crate::metric::Labels;
use crate::proc::FileId;

/// Highest slot that is believed: `limits.max_jvms` may be as large.
const SLOT_MAXIMUM: u32 = 100_000;

/// One life of one JVM, as far as it can be told from every other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Life {
    region: RegionPlace,
    /// The JVM's start by its own word.
    start_millis: i64,
    /// The JVM's number in its own pid namespace.
    vpid: i32,
    /// Number and start of its process, in ticks since boot, where that is visible.
    process: Option<(i32, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum RegionPlace {
    File { device: u64, inode: u64 },
    Memory { pid: i32, start_ticks: u64, address: u64 },
}

/// A JVM with its slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRecord {
    jvm: Life,
    app: String,
    /// The labels of the root's path: each combination of them has its own slots.
    labels: BTreeMap<String, String>,
    slot: u32,
}

impl SlotRecord {
    /// Of a JVM that is served.
    pub(super) fn of(target: &Target, labels: &Labels) -> Self {
        let labels = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { jvm: Life::of(target), app: target.app.to_string(), labels, slot: target.slot }
    }
}

impl Life {
    fn of(target: &Target) -> Self {
        let region = match target.incarnation.region {
            RegionId::File(FileId { device, inode }) => RegionPlace::File { device, inode },
            RegionId::Memory { pid, start_ticks, address } => RegionPlace::Memory { pid, start_ticks, address },
        };
        let process = target.process.as_ref().map(|process| (process.pid, process.start_ticks));
        Self { region, start_millis: target.incarnation.start_millis, vpid: target.vpid, process }
    }
}

/// The slots of an earlier exporter that no JVM has taken yet.
#[derive(Debug, Default)]
pub(super) struct SlotRecords(HashMap<Life, SlotRecord>);

impl SlotRecords {
    pub(super) fn new(records: Vec<SlotRecord>) -> Self {
        let believed = records.into_iter().filter(|record| record.slot <= SLOT_MAXIMUM);
        Self(believed.map(|record| (record.jvm.clone(), record)).collect())
    }

    /// Whether there is one of this JVM.
    pub(super) fn knows(&self, target: &Target) -> bool {
        !self.0.is_empty() && self.0.contains_key(&Life::of(target))
    }

    /// The slot of this very JVM, once, if it still has that app and those labels.
    pub(super) fn take(&mut self, target: &Target, labels: &Labels) -> Option<u32> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.0.remove(&Life::of(target))?;
        (SlotRecord { slot: record.slot, ..SlotRecord::of(target, labels) } == record).then_some(record.slot)
    }
}
