//! What is known of one JVM's native memory, and its facts.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::summary::{Answer, Blocks, Category, Mapped, Metaspace, Summary};
use super::{AttachError, Attachable};
use crate::fact::ProviderId;
use crate::fact::Reading;
use crate::fact::ValueTable;
use crate::hotspot::NmtSetting;
use crate::metric::Value;

/// Where the questions to one JVM stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NmtState {
    /// Not asked yet.
    Waiting,
    /// Tracking is off: by `vmArgs`, or by the JVM's own word. Never asked again.
    NotEnabled,
    /// Tracking was shut down. Never asked again.
    ShutDown,
    /// The JVM was started with `+DisableAttachMechanism`. Never asked.
    NotAttachable,
    /// The last question was answered.
    Answering,
    /// The last question was not answered, or in words unknown: why.
    Failing {
        /// One word: one of [`AttachError::REASONS`], or `unknown_reply`.
        reason: &'static str,
        /// A sentence.
        message: Box<str>,
    },
}

impl NmtState {
    /// Whether another question can change anything.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::NotEnabled | Self::ShutDown | Self::NotAttachable)
    }
}

impl fmt::Display for NmtState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "not asked yet",
            Self::NotEnabled => "tracking is not enabled; start the JVM with -XX:NativeMemoryTracking=summary",
            Self::ShutDown => "tracking was shut down, which lasts until the JVM is restarted",
            Self::NotAttachable => "the JVM was started with -XX:+DisableAttachMechanism",
            Self::Answering => "answering",
            Self::Failing { message, .. } => message,
        })
    }
}

/// Facts and state of one JVM.
#[derive(Debug)]
pub(super) struct NmtRecord {
    state: NmtState,
    sheet: ValueTable,
    answered: Option<Instant>,
}

impl NmtRecord {
    pub(super) fn new() -> Self {
        Self { state: NmtState::Waiting, sheet: ValueTable::new(ProviderId::Nmt), answered: None }
    }

    pub(super) fn state(&self) -> &NmtState {
        &self.state
    }

    /// What the region says, which grows while the JVM starts. What the JVM said itself weighs more.
    pub(super) fn learn(&mut self, target: &Attachable) {
        match (target.setting, target.attach_supported) {
            (NmtSetting::Off, _) => self.disable(NmtState::NotEnabled),
            (_, Some(false)) if self.state == NmtState::Waiting => self.state = NmtState::NotAttachable,
            _ => {}
        }
        let is_off = matches!(self.state, NmtState::NotEnabled | NmtState::ShutDown);
        if target.setting == NmtSetting::On && !is_off {
            self.sheet.set("nmt.enabled", &[], Value::Int(1));
        }
    }

    /// Takes the outcome of a question that took that long. Old values stay, and their age tells; of a JVM that never
    /// answered there are none.
    pub(super) fn record(&mut self, outcome: Result<Answer, AttachError>, took: Duration) {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                if self.answered.is_some() {
                    self.sheet.set("nmt.duration", &[], Value::Float(took.as_secs_f64()));
                }
                self.state = NmtState::Failing { reason: error.reason(), message: error.to_string().into() };
                return;
            }
        };
        match answer {
            Answer::NotEnabled => self.disable(NmtState::NotEnabled),
            Answer::ShutDown => self.disable(NmtState::ShutDown),
            Answer::ScaleRefused => self.unknown_reply("it refuses every scale"),
            Answer::Unknown(line) => self.unknown_reply(&line),
            Answer::Summary(summary) => {
                self.publish(&summary);
                self.state = NmtState::Answering;
                self.answered = Some(Instant::now());
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.sheet.set("nmt.enabled", &[], Value::Int(1));
                self.sheet.set("nmt.last_success", &[], Value::Float(now.as_secs_f64()));
            }
        }
        self.sheet.set("nmt.duration", &[], Value::Float(took.as_secs_f64()));
    }

    /// The facts now.
    pub(super) fn read(&mut self) -> Reading {
        if let Some(answered) = self.answered {
            self.sheet.set("nmt.age", &[], Value::Float(answered.elapsed().as_secs_f64()));
        }
        self.sheet.read()
    }

    fn disable(&mut self, state: NmtState) {
        self.state = state;
        self.answered = None;
        self.sheet.clear();
        self.sheet.set("nmt.enabled", &[], Value::Int(0));
    }

    fn unknown_reply(&mut self, line: &str) {
        let message = format!("the JVM's reply is not a summary: {line}").chars().filter(|c| !c.is_control()).collect();
        self.state = NmtState::Failing { reason: "unknown_reply", message };
    }

    fn publish(&mut self, summary: &Summary) {
        let sheet = &mut self.sheet;
        sheet.clear();
        let total = &summary.total;
        amount(sheet, "nmt.total_reserved", &[], Some(total.reserved));
        amount(sheet, "nmt.total_committed", &[], Some(total.committed));
        amount(sheet, "nmt.total_malloc", &[], total.malloc.map(|blocks| blocks.bytes));
        amount(sheet, "nmt.total_malloc_blocks", &[], total.malloc.and_then(|blocks| blocks.count));
        amount(sheet, "nmt.total_malloc_peak", &[], total.malloc.and_then(|blocks| blocks.peak));
        amount(sheet, "nmt.total_mmap_reserved", &[], total.mmap.map(|mapped| mapped.reserved));
        amount(sheet, "nmt.total_mmap_committed", &[], total.mmap.map(|mapped| mapped.committed));
        for category in &summary.categories {
            publish_category(sheet, category, summary.exact);
        }
        // A category, or a line under one, that is below one unit is left out of the text.
        sheet.zero_unknown(|source| ADDITIVE.contains(&source));
    }
}

/// What is 0 once it is no longer printed. Peaks and counts are not: the text leaves their amount's line out.
const ADDITIVE: [&str; 6] =
    ["nmt.reserved", "nmt.committed", "nmt.malloc", "nmt.arena", "nmt.mmap_reserved", "nmt.mmap_committed"];

/// Sources of an allocator: bytes, blocks, most bytes.
type BlockSources = [&'static str; 3];

const MALLOC: BlockSources = ["nmt.malloc", "nmt.malloc_blocks", "nmt.malloc_peak"];
const ARENA: BlockSources = ["nmt.arena", "nmt.arena_blocks", "nmt.arena_peak"];

fn publish_category(sheet: &mut ValueTable, category: &Category, exact: bool) {
    let label: &[&str] = &[&category.name];
    amount(sheet, "nmt.reserved", label, Some(category.reserved));
    amount(sheet, "nmt.committed", label, Some(category.committed));
    amount(sheet, "nmt.readonly", label, category.readonly);
    publish_blocks(sheet, MALLOC, label, category.malloc);
    publish_blocks(sheet, ARENA, label, category.arena);
    if let Some(Mapped { reserved, committed, peak }) = category.mmap {
        amount(sheet, "nmt.mmap_reserved", label, Some(reserved));
        amount(sheet, "nmt.mmap_committed", label, Some(committed));
        amount(sheet, "nmt.mmap_peak", label, peak);
    }
    amount(sheet, "nmt.threads", &[], category.threads);
    if let Some(Mapped { reserved, committed, peak }) = category.stack {
        amount(sheet, "nmt.stack_reserved", &[], Some(reserved));
        // JDK 8, the only one that has no bytes, prints what is reserved once more.
        amount(sheet, "nmt.stack_committed", &[], Some(committed).filter(|_| exact));
        amount(sheet, "nmt.stack_peak", &[], peak);
    }
    if let Some(classes) = category.classes {
        amount(sheet, "nmt.classes", &["instance"], classes.instance);
        amount(sheet, "nmt.classes", &["array"], classes.array);
    }
    amount(sheet, "nmt.tracking_overhead", &[], category.tracking_overhead);
    publish_metaspace(sheet, "metadata", category.metadata);
    publish_metaspace(sheet, "class_space", category.class_space);
}

fn publish_blocks(sheet: &mut ValueTable, [bytes, count, peak]: BlockSources, label: &[&str], blocks: Option<Blocks>) {
    if let Some(blocks) = blocks {
        amount(sheet, bytes, label, Some(blocks.bytes));
        amount(sheet, count, label, blocks.count);
        amount(sheet, peak, label, blocks.peak);
    }
}

fn publish_metaspace(sheet: &mut ValueTable, part: &str, metaspace: Option<Metaspace>) {
    if let Some(Metaspace { reserved, committed, used, waste, .. }) = metaspace {
        amount(sheet, "nmt.metaspace_reserved", &[part], Some(reserved));
        amount(sheet, "nmt.metaspace_committed", &[part], Some(committed));
        amount(sheet, "nmt.metaspace_used", &[part], used);
        amount(sheet, "nmt.metaspace_waste", &[part], waste);
    }
}

/// Sets what is printed; what is not has no value.
fn amount(sheet: &mut ValueTable, source: &str, labels: &[&str], value: Option<u64>) {
    if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
        sheet.set(source, labels, Value::Int(value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use std::sync::Arc;

    use super::super::summary::parse;
    use super::*;

    fn value(reading: &Reading, source: &str, label: &str) -> Option<Value> {
        let at = reading.0.iter().position(|fact| {
            fact.name == source && fact.labels.first().map_or(label.is_empty(), |(_, value)| &**value == label)
        })?;
        reading.1[at].clone()
    }

    fn record(ledger: &mut NmtRecord, text: &str) -> Reading {
        ledger.record(Ok(parse(text)), Duration::from_millis(1));
        ledger.read()
    }

    const FULL: &str = "Total: reserved=30, committed=12\n\
        - GC (reserved=20, committed=10)\n (malloc=4 #2) (peak=6 #3)\n (mmap: reserved=16, committed=6)\n\
        - Test (reserved=10, committed=2)\n (malloc=2 #1) (at peak)\n";

    #[test]
    fn a_category_that_falls_below_one_unit_is_zero_and_the_facts_stay() {
        let mut ledger = NmtRecord::new();
        let before = record(&mut ledger, FULL);
        assert_eq!(value(&before, "nmt.malloc_peak", "GC"), Some(Value::Int(6)));
        let after = record(&mut ledger, "Total: reserved=16, committed=6\n- GC (reserved=16, committed=6)\n");
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
    fn a_failure_keeps_old_values_and_says_why() {
        let mut ledger = NmtRecord::new();
        record(&mut ledger, FULL);
        ledger.record(Err(AttachError::Timeout), Duration::from_secs(5));
        let reading = ledger.read();
        assert_eq!(value(&reading, "nmt.committed", "GC"), Some(Value::Int(10)));
        assert_eq!(value(&reading, "nmt.duration", ""), Some(Value::Float(5.0)));
        assert!(matches!(value(&reading, "nmt.age", ""), Some(Value::Float(age)) if age >= 0.0));
        assert!(matches!(ledger.state(), NmtState::Failing { reason: "timeout", .. }));
    }

    #[test]
    fn jdk_8_stacks_have_no_committed_size() {
        let mut ledger = NmtRecord::new();
        let text = "Total: reserved=9KB, committed=9KB\n- Thread (reserved=9KB, committed=9KB)\n (thread #3)\n \
                    (stack: reserved=8KB, committed=8KB)\n";
        let reading = record(&mut ledger, text);
        assert_eq!(value(&reading, "nmt.threads", ""), Some(Value::Int(3)));
        assert_eq!(value(&reading, "nmt.stack_reserved", ""), Some(Value::Int(8192)));
        assert_eq!(value(&reading, "nmt.stack_committed", ""), None);
    }

    #[test]
    fn not_enabled_is_final() {
        let mut ledger = NmtRecord::new();
        let reading = record(&mut ledger, "Native memory tracking is not enabled\n");
        assert_eq!(value(&reading, "nmt.enabled", ""), Some(Value::Int(0)));
        assert!(ledger.state().is_final());
        record(&mut ledger, "Native memory tracking has been shutdown\n");
        assert_eq!(ledger.state(), &NmtState::ShutDown);
        record(&mut ledger, "what?\u{1b}\n");
        assert_eq!(ledger.state().to_string(), "the JVM's reply is not a summary: what?");
    }
}
