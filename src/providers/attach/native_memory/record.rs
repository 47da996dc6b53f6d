//! The state of one JVM's native memory queries, and the facts from its replies.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::{AttachError, AttachFailureReason};
use super::summary::{Category, MappedMemory, MetaspaceMemory, NmtReply, NmtSummary};
use crate::fact::{ProviderId, Reading, ValueTable};
use crate::{hotspot::NmtSetting, metric::Value};

/// The state of the queries of one JVM.
#[derive(Clone, Debug, PartialEq, Eq, strum::Display)]
pub enum NmtState {
    /// Not queried yet.
    #[strum(to_string = "not queried yet")]
    Waiting,
    /// Tracking is off, by the JVM's arguments or its reply. Never queried again.
    #[strum(to_string = "tracking is not enabled; start the JVM with -XX:NativeMemoryTracking=summary")]
    NotEnabled,
    /// Tracking was shut down. Never queried again.
    #[strum(to_string = "tracking was shut down, which lasts until the JVM is restarted")]
    ShutDown,
    /// The JVM was started with `+DisableAttachMechanism`. Never queried.
    #[strum(to_string = "the JVM was started with -XX:+DisableAttachMechanism")]
    NotAttachable,
    /// The last query gave a summary.
    #[strum(to_string = "answering")]
    Answering,
    /// The last query failed.
    #[strum(to_string = "{message}")]
    Failing {
        /// Why, for metrics.
        reason: AttachFailureReason,
        /// Why, in a sentence.
        message: Box<str>,
    },
}

impl NmtState {
    /// Whether no further query can change the state.
    pub(in super::super) fn is_final(&self) -> bool {
        matches!(self, Self::NotEnabled | Self::ShutDown | Self::NotAttachable)
    }
}

#[derive(Debug)]
pub(in super::super) struct NmtRecord {
    state: NmtState,
    table: ValueTable,
    last_success: Option<Instant>,
    /// How long a reply is worth more than what other sources have.
    lifetime: Duration,
}

impl NmtRecord {
    /// The record of a JVM before its first query, from what its region publishes.
    pub(in super::super) fn new(setting: NmtSetting, attach_supported: Option<bool>) -> Self {
        let table = ValueTable::new(ProviderId::Nmt);
        let mut record = Self { state: NmtState::Waiting, table, last_success: None, lifetime: Duration::MAX };
        match (setting, attach_supported) {
            (NmtSetting::Off, _) => record.disable(NmtState::NotEnabled),
            (_, Some(false)) => record.state = NmtState::NotAttachable,
            _ => {}
        }
        if setting == NmtSetting::On {
            record.table.set("nmt.enabled", &[], Value::Int(1));
        }
        record
    }

    pub(in super::super) fn state(&self) -> &NmtState {
        &self.state
    }

    /// Adds the outcome of a query that took that long. After a failure the old values stay and their age grows, but for
    /// those that other sources have too, which stay for `lifetime`; a JVM that never replied has none.
    pub(in super::super) fn update(
        &mut self,
        outcome: Result<NmtReply, AttachError>,
        took: Duration,
        lifetime: Duration,
    ) {
        self.lifetime = lifetime;
        let has_reply = outcome.is_ok();
        match outcome {
            Err(error) => self.fail(&error),
            Ok(NmtReply::NotEnabled) => self.disable(NmtState::NotEnabled),
            Ok(NmtReply::ShutDown) => self.disable(NmtState::ShutDown),
            Ok(NmtReply::ScaleRefused) => self.fail(&AttachError::UnknownReply("it supports no scale".into())),
            Ok(NmtReply::Unknown(line)) => self.fail(&AttachError::unknown_reply(&line)),
            Ok(NmtReply::Summary(summary)) => {
                self.publish(&summary);
                self.state = NmtState::Answering;
                self.last_success = Some(Instant::now());
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.table.set("nmt.enabled", &[], Value::Int(1));
                self.table.set("nmt.last_success", &[], Value::Float(now.as_secs_f64()));
            }
        }
        if has_reply || self.last_success.is_some() {
            self.table.set("nmt.duration", &[], Value::Float(took.as_secs_f64()));
        }
    }

    /// The facts and their current values.
    pub(in super::super) fn read(&mut self) -> Reading {
        if let Some(last_success) = self.last_success {
            let age = last_success.elapsed();
            self.table.set("nmt.age", &[], Value::Float(age.as_secs_f64()));
            if age > self.lifetime {
                self.table.clear_where(is_shared);
            }
        }
        self.table.release_absent_where(Instant::now(), is_shared);
        self.table.read()
    }

    /// Has no values any more but whether the JVM tracks its memory, which does not change. To be asked anew, unless its
    /// state is final.
    pub(in super::super) fn forget(&mut self) {
        if self.state.is_final() {
            return;
        }
        (self.state, self.last_success) = (NmtState::Waiting, None);
        self.table.clear_where(|name| name != "nmt.enabled");
    }

    fn disable(&mut self, state: NmtState) {
        self.state = state;
        self.last_success = None;
        self.table.clear();
        self.table.set("nmt.enabled", &[], Value::Int(0));
    }

    fn fail(&mut self, error: &AttachError) {
        self.state = NmtState::Failing { reason: error.reason(), message: error.to_string().into() };
    }

    fn publish(&mut self, summary: &NmtSummary) {
        let table = &mut self.table;
        table.clear();
        let total = &summary.total;
        amount(table, "nmt.total_reserved", &[], Some(total.reserved));
        amount(table, "nmt.total_committed", &[], Some(total.committed));
        amount(table, "nmt.total_malloc", &[], total.malloc.map(|blocks| blocks.bytes));
        amount(table, "nmt.total_malloc_blocks", &[], total.malloc.and_then(|blocks| blocks.count));
        amount(table, "nmt.total_malloc_peak", &[], total.malloc.and_then(|blocks| blocks.peak));
        amount(table, "nmt.total_mmap_reserved", &[], total.mmap.map(|mapped| mapped.reserved));
        amount(table, "nmt.total_mmap_committed", &[], total.mmap.map(|mapped| mapped.committed));
        for category in &summary.categories {
            publish_category(table, category, summary.exact);
        }
        // JDK 8, the only release without bytes, tells neither.
        if summary.exact {
            publish_metaspace(table, summary);
            let other = summary.categories.iter().find(|category| &*category.name == "Other");
            amount(table, "nmt.direct", &[], Some(other.map_or(0, |category| category.committed)));
        }
        // The text omits a category, or a line under one, that is below one unit.
        table.zero_unknown(|source| ADDITIVE.contains(&source));
    }
}

/// Facts that other sources have too.
fn is_shared(fact: &str) -> bool {
    fact.starts_with("pool.")
}

/// Metaspace as its MXBeans have it: the pool `Metaspace` includes the class space.
fn publish_metaspace(table: &mut ValueTable, summary: &NmtSummary) {
    let part = |of: fn(&Category) -> Option<MetaspaceMemory>| summary.categories.iter().find_map(of);
    let class_space = part(|category| category.class_space);
    let Some(metadata) = part(|category| category.metadata) else { return };
    let sum = |of: fn(&MetaspaceMemory) -> Option<u64>| match &class_space {
        Some(class_space) => of(&metadata)?.checked_add(of(class_space)?),
        None => of(&metadata),
    };
    publish_pool(table, "Metaspace", sum(|part| part.used), sum(|part| Some(part.committed)));
    if let Some(class_space) = &class_space {
        publish_pool(table, "Compressed Class Space", class_space.used, Some(class_space.committed));
    }
}

fn publish_pool(table: &mut ValueTable, name: &str, used: Option<u64>, committed: Option<u64>) {
    if used.is_some() {
        amount(table, "pool.used", &[name, "non_heap"], used);
        amount(table, "pool.committed", &[name, "non_heap"], committed);
        table.set("pool.freshness", &[name, "asked"], Value::Int(1));
    }
}

/// Sources that are 0 once they are no longer printed. Peaks and counts are not: the text omits the line of their
/// amount.
const ADDITIVE: [&str; 6] =
    ["nmt.reserved", "nmt.committed", "nmt.malloc", "nmt.arena", "nmt.mmap_reserved", "nmt.mmap_committed"];

fn publish_category(table: &mut ValueTable, category: &Category, exact: bool) {
    let label: &[&str] = &[&category.name];
    amount(table, "nmt.reserved", label, Some(category.reserved));
    amount(table, "nmt.committed", label, Some(category.committed));
    amount(table, "nmt.readonly", label, category.readonly);
    for ([bytes, count, peak], blocks) in [
        (["nmt.malloc", "nmt.malloc_blocks", "nmt.malloc_peak"], category.malloc),
        (["nmt.arena", "nmt.arena_blocks", "nmt.arena_peak"], category.arena),
    ] {
        amount(table, bytes, label, blocks.map(|blocks| blocks.bytes));
        amount(table, count, label, blocks.and_then(|blocks| blocks.count));
        amount(table, peak, label, blocks.and_then(|blocks| blocks.peak));
    }
    if let Some(MappedMemory { reserved, committed, peak }) = category.mmap {
        amount(table, "nmt.mmap_reserved", label, Some(reserved));
        amount(table, "nmt.mmap_committed", label, Some(committed));
        amount(table, "nmt.mmap_peak", label, peak);
    }
    amount(table, "nmt.threads", &[], category.threads);
    if let Some(MappedMemory { reserved, committed, peak }) = category.stack {
        amount(table, "nmt.stack_reserved", &[], Some(reserved));
        // JDK 8, the only release without bytes, prints the reserved size twice.
        amount(table, "nmt.stack_committed", &[], Some(committed).filter(|_| exact));
        amount(table, "nmt.stack_peak", &[], peak);
    }
    if let Some(classes) = category.classes {
        amount(table, "nmt.classes", &["instance"], classes.instance);
        amount(table, "nmt.classes", &["array"], classes.array);
    }
    amount(table, "nmt.tracking_overhead", &[], category.tracking_overhead);
    for (part, metaspace) in [("metadata", category.metadata), ("class_space", category.class_space)] {
        if let Some(MetaspaceMemory { reserved, committed, used, waste, .. }) = metaspace {
            amount(table, "nmt.metaspace_reserved", &[part], Some(reserved));
            amount(table, "nmt.metaspace_committed", &[part], Some(committed));
            amount(table, "nmt.metaspace_used", &[part], used);
            amount(table, "nmt.metaspace_waste", &[part], waste);
        }
    }
}

/// Sets an amount that is printed; one that is not has no value.
fn amount(table: &mut ValueTable, source: &str, labels: &[&str], value: Option<u64>) {
    if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
        table.set(source, labels, Value::Int(value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use std::sync::Arc;

    use super::super::parse;
    use super::*;

    fn value(reading: &Reading, source: &str, label: &str) -> Option<Value> {
        let at = reading.0.iter().position(|fact| {
            fact.name == source && fact.labels.first().map_or(label.is_empty(), |(_, value)| &**value == label)
        })?;
        reading.1[at].clone()
    }

    fn update(record: &mut NmtRecord, text: &str) -> Reading {
        record.update(Ok(parse(text)), Duration::from_millis(1), Duration::MAX);
        record.read()
    }

    const FULL: &str = "Total: reserved=30, committed=12\n\
        - GC (reserved=20, committed=10)\n (malloc=4 #2) (peak=6 #3)\n (mmap: reserved=16, committed=6)\n\
        - Test (reserved=10, committed=2)\n (malloc=2 #1) (at peak)\n";

    #[test]
    fn a_category_that_falls_below_one_unit_is_zero_and_the_facts_stay() {
        let mut record = NmtRecord::new(NmtSetting::Unknown, None);
        let before = update(&mut record, FULL);
        assert_eq!(value(&before, "nmt.malloc_peak", "GC"), Some(Value::Int(6)));
        let after = update(&mut record, "Total: reserved=16, committed=6\n- GC (reserved=16, committed=6)\n");
        assert!(Arc::ptr_eq(&before.0, &after.0));
        for (source, category, expected) in [
            ("nmt.reserved", "Test", Some(0)),
            ("nmt.malloc", "Test", Some(0)),
            ("nmt.malloc_peak", "Test", None),
            ("nmt.malloc", "GC", Some(0)),
            ("nmt.malloc_blocks", "GC", None),
            ("nmt.arena", "GC", None),
            ("nmt.committed", "GC", Some(6)),
        ] {
            assert_eq!(value(&after, source, category), expected.map(Value::Int), "{source} {category}");
        }
    }

    #[test]
    fn a_failure_keeps_old_values_and_reports_the_reason() {
        let mut record = NmtRecord::new(NmtSetting::Unknown, None);
        update(&mut record, FULL);
        record.update(Err(AttachError::Timeout), Duration::from_secs(5), Duration::MAX);
        let reading = record.read();
        assert_eq!(value(&reading, "nmt.committed", "GC"), Some(Value::Int(10)));
        assert_eq!(value(&reading, "nmt.duration", ""), Some(Value::Float(5.0)));
        assert!(matches!(value(&reading, "nmt.age", ""), Some(Value::Float(age)) if age >= 0.0));
        assert!(matches!(record.state(), NmtState::Failing { reason: AttachFailureReason::Timeout, .. }));
    }

    const SHARED: &str = "Total: reserved=30, committed=12\n\
        - Metaspace (reserved=20, committed=10)\n (  Metadata:   )\n (    reserved=16, committed=8)\n (    used=6)\n\
         (    waste=2 =25.00%)\n (  Class space:)\n (    reserved=4, committed=2)\n (    used=1)\n\
        - Other (reserved=10, committed=2)\n (malloc=2 #1)\n";

    #[test]
    fn metaspace_and_direct_memory_follow_from_the_summary() {
        let mut record = NmtRecord::new(NmtSetting::Unknown, None);
        let reading = update(&mut record, SHARED);
        for (fact, label, expected) in [
            ("pool.used", "Metaspace", 7),
            ("pool.committed", "Metaspace", 10),
            ("pool.used", "Compressed Class Space", 1),
            ("pool.freshness", "Metaspace", 1),
            ("nmt.direct", "", 2),
        ] {
            assert_eq!(value(&reading, fact, label), Some(Value::Int(expected)), "{fact} {label}");
        }
        let reading = update(&mut record, FULL);
        assert_eq!(
            (value(&reading, "nmt.direct", ""), value(&reading, "pool.used", "Metaspace")),
            (Some(Value::Int(0)), None)
        );

        update(&mut record, SHARED);
        // As if the JVM had not answered for long.
        record.lifetime = Duration::ZERO;
        let reading = record.read();
        assert_eq!(value(&reading, "pool.used", "Metaspace"), None, "other sources have it");
        assert_eq!(value(&reading, "nmt.direct", ""), Some(Value::Int(2)));

        let kibibytes = SHARED.replace("committed=", "committed=1KB ").replace("reserved=", "reserved=1KB ");
        let mut record = NmtRecord::new(NmtSetting::Unknown, None);
        let reading = update(&mut record, &kibibytes);
        assert_eq!((value(&reading, "nmt.direct", ""), value(&reading, "pool.used", "Metaspace")), (None, None));
    }

    #[test]
    fn jdk_8_stacks_have_no_committed_size() {
        let mut record = NmtRecord::new(NmtSetting::Unknown, None);
        let text = "Total: reserved=9KB, committed=9KB\n- Thread (reserved=9KB, committed=9KB)\n (thread #3)\n \
                    (stack: reserved=8KB, committed=8KB)\n";
        let reading = update(&mut record, text);
        assert_eq!(value(&reading, "nmt.threads", ""), Some(Value::Int(3)));
        assert_eq!(value(&reading, "nmt.stack_reserved", ""), Some(Value::Int(8192)));
        assert_eq!(value(&reading, "nmt.stack_committed", ""), None);
    }

    #[test]
    fn not_enabled_is_final() {
        let mut record = NmtRecord::new(NmtSetting::Unknown, None);
        let reading = update(&mut record, "Native memory tracking is not enabled\n");
        assert_eq!(value(&reading, "nmt.enabled", ""), Some(Value::Int(0)));
        assert!(record.state().is_final());
        update(&mut record, "Native memory tracking has been shutdown\n");
        assert_eq!(record.state(), &NmtState::ShutDown);
        update(&mut record, "what?\u{1b}\n");
        assert_eq!(record.state().to_string(), "the JVM's reply is not understood: what?");
    }
}
