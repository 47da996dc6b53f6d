//! The state of one JVM's questions, and the facts from its replies.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::super::{AttachCommand, AttachError, AttachFailureReason};
use super::{
    CodeCacheReply, DiagnosticOutcomes, DiagnosticPlan, DiagnosticReply, FlagReply, HeapReply, MetaspaceReply,
};
use crate::fact::{ProviderId, Reading, ValueTable};
use crate::metric::Value;

/// The state of the questions of one JVM.
#[derive(Clone, Debug, PartialEq, Eq, strum::Display)]
pub enum DiagnosticState {
    /// Not asked yet.
    #[strum(to_string = "not asked yet")]
    Waiting,
    /// The JVM is never asked.
    #[strum(to_string = "the JVM knows no command that tells more than its counters")]
    NothingToAsk,
    /// The JVM was started with `+DisableAttachMechanism`. Never asked.
    #[strum(to_string = "the JVM was started with -XX:+DisableAttachMechanism")]
    NotAttachable,
    /// The last questions were answered.
    #[strum(to_string = "answering")]
    Answering,
    /// One of the last questions failed.
    #[strum(to_string = "{message}")]
    Failing {
        /// Why, for metrics.
        reason: AttachFailureReason,
        /// Why, in a sentence.
        message: Box<str>,
    },
}

/// A reply and when it came.
#[derive(Debug)]
struct Answer<T> {
    reply: T,
    at: Instant,
}

#[derive(Debug)]
pub(in super::super) struct DiagnosticRecord {
    plan: DiagnosticPlan,
    state: DiagnosticState,
    heap: Option<Answer<HeapReply>>,
    metaspace: Option<Answer<MetaspaceReply>>,
    code_cache: Option<Answer<CodeCacheReply>>,
    /// Asked for once: flags of the list hardly ever change.
    flags: Option<Vec<FlagReply>>,
    /// How long a reply is worth something.
    lifetime: Duration,
    last_success: Option<(Instant, SystemTime)>,
    duration: Option<Duration>,
    table: ValueTable,
}

impl DiagnosticRecord {
    /// The record of a JVM before its first question.
    pub(in super::super) fn new(plan: DiagnosticPlan, attach_supported: Option<bool>) -> Self {
        let state = match attach_supported {
            Some(false) => DiagnosticState::NotAttachable,
            _ if plan.commands.is_empty() => DiagnosticState::NothingToAsk,
            _ => DiagnosticState::Waiting,
        };
        Self {
            plan,
            state,
            heap: None,
            metaspace: None,
            code_cache: None,
            flags: None,
            lifetime: Duration::MAX,
            last_success: None,
            duration: None,
            table: ValueTable::new(ProviderId::Diagnostics),
        }
    }

    pub(in super::super) fn state(&self) -> &DiagnosticState {
        &self.state
    }

    /// Whether the JVM is never asked again.
    pub(in super::super) fn is_final(&self) -> bool {
        self.state == DiagnosticState::NotAttachable || self.commands().next().is_none()
    }

    /// What to ask next.
    pub(in super::super) fn commands(&self) -> impl Iterator<Item = AttachCommand> {
        let is_known = |command: &AttachCommand| *command == AttachCommand::Flags && self.flags.is_some();
        self.plan.commands.iter().copied().filter(move |command| !is_known(command))
    }

    /// Adds the outcome of questions that took that long; a reply is published for `lifetime`.
    pub(in super::super) fn update(
        &mut self,
        outcome: Result<DiagnosticOutcomes, AttachError>,
        took: Duration,
        lifetime: Duration,
    ) {
        let now = Instant::now();
        self.lifetime = lifetime;
        let mut failure = None;
        match outcome {
            Err(error) => failure = Some(error),
            Ok(outcomes) => {
                for (command, outcome) in outcomes {
                    match outcome {
                        Ok(reply) => self.keep(reply, now),
                        Err(error) if error.is_unknown_command() => {
                            self.plan.commands.retain(|other| *other != command);
                        }
                        Err(error) => failure = Some(error),
                    }
                }
                self.duration = Some(took);
            }
        }
        self.state = match failure {
            Some(error) => DiagnosticState::Failing { reason: error.reason(), message: error.to_string().into() },
            None if self.plan.commands.is_empty() => DiagnosticState::NothingToAsk,
            None => DiagnosticState::Answering,
        };
        if self.state == DiagnosticState::Answering {
            self.last_success = Some((now, SystemTime::now()));
        }
        self.publish(now);
    }

    /// The facts and their current values.
    pub(in super::super) fn read(&mut self) -> Reading {
        let now = Instant::now();
        if self.has_expired(now) {
            self.publish(now);
        }
        if let Some((at, _)) = self.last_success {
            let age = now.saturating_duration_since(at);
            self.table.set("diagnostics.age", &[], Value::Float(age.as_secs_f64()));
        }
        self.table.release_absent(now);
        self.table.read()
    }

    /// Has no values any more; the JVM is to be asked anew, unless its state is final.
    pub(in super::super) fn forget(&mut self) {
        if self.state == DiagnosticState::NotAttachable {
            return;
        }
        (self.heap, self.metaspace, self.code_cache, self.flags) = (None, None, None, None);
        (self.last_success, self.duration) = (None, None);
        if self.state != DiagnosticState::NothingToAsk {
            self.state = DiagnosticState::Waiting;
        }
        self.table.clear();
    }

    fn keep(&mut self, reply: DiagnosticReply, at: Instant) {
        match reply {
            DiagnosticReply::Heap(reply) => self.heap = Some(Answer { reply, at }),
            DiagnosticReply::Metaspace(reply) => self.metaspace = Some(Answer { reply, at }),
            DiagnosticReply::CodeCache(reply) => self.code_cache = Some(Answer { reply, at }),
            DiagnosticReply::Flags(reply) => self.flags = Some(reply),
        }
    }

    fn has_expired(&self, now: Instant) -> bool {
        let times = [
            self.heap.as_ref().map(|answer| answer.at),
            self.metaspace.as_ref().map(|answer| answer.at),
            self.code_cache.as_ref().map(|answer| answer.at),
        ];
        times.into_iter().flatten().any(|at| now.saturating_duration_since(at) > self.lifetime)
    }

    /// Sets the values of all replies that are not too old, and forgets the others.
    fn publish(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        self.heap.take_if(|answer| now.saturating_duration_since(answer.at) > lifetime);
        self.metaspace.take_if(|answer| now.saturating_duration_since(answer.at) > lifetime);
        self.code_cache.take_if(|answer| now.saturating_duration_since(answer.at) > lifetime);
        let table = &mut self.table;
        table.clear();
        if let Some(Answer { reply, .. }) = &self.heap {
            publish_heap(table, reply, &self.plan);
            publish_metaspace(table, &reply.metaspace);
        }
        if let Some(Answer { reply, .. }) = &self.metaspace {
            publish_metaspace(table, reply);
        }
        if let Some(Answer { reply, .. }) = &self.code_cache {
            publish_code_cache(table, reply);
        }
        for FlagReply { name, value } in self.flags.iter().flatten() {
            // The reply does not tell who set a flag.
            table.set("flag.value", &[name, ""], value.clone());
        }
        if let Some((_, at)) = self.last_success {
            let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            table.set("diagnostics.last_success", &[], Value::Float(seconds));
        }
        if let Some(duration) = self.duration {
            table.set("diagnostics.duration", &[], Value::Float(duration.as_secs_f64()));
        }
        self.table.release_absent(now);
    }
}

fn publish_heap(table: &mut ValueTable, reply: &HeapReply, plan: &DiagnosticPlan) {
    for pool in reply.pools.iter().filter(|pool| plan.stale_pools.contains(&pool.name)) {
        publish_pool(table, pool.name, "heap", pool.used, pool.committed);
    }
    if !plan.stale_pools.is_empty() {
        for (fact, area, amount) in
            [("heap.used", "area.used", reply.used), ("heap.committed", "area.committed", reply.committed)]
        {
            set(table, fact, &[], amount);
            set(table, area, &["heap"], amount);
        }
    }
    set(table, "heap.limit", &[], reply.limit.filter(|_| plan.wants_limit));
}

fn publish_metaspace(table: &mut ValueTable, reply: &MetaspaceReply) {
    for (name, size) in [("Metaspace", reply.whole), ("Compressed Class Space", reply.class_space)] {
        if let Some(size) = size {
            publish_pool(table, name, "non_heap", size.used, size.committed);
        }
    }
}

fn publish_code_cache(table: &mut ValueTable, reply: &CodeCacheReply) {
    for heap in &reply.heaps {
        publish_pool(table, &heap.name, "non_heap", heap.used, heap.committed);
        set(table, "pool.limit", &[&heap.name, "non_heap"], Some(heap.limit));
    }
    set(table, "code_cache.full", &[], reply.full);
    set(table, "code_cache.nmethods", &[], reply.nmethods);
    set(table, "jit.enabled", &[], reply.compiling.map(u64::from));
}

fn publish_pool(table: &mut ValueTable, name: &str, kind: &str, used: u64, committed: u64) {
    set(table, "pool.used", &[name, kind], Some(used));
    set(table, "pool.committed", &[name, kind], Some(committed));
    table.set("pool.freshness", &[name, "asked"], Value::Int(1));
}

fn set(table: &mut ValueTable, fact: &str, labels: &[&str], value: Option<u64>) {
    if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
        table.set(fact, labels, Value::Int(value));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::providers::attach::diagnostics::{parse_code_cache, parse_heap_info};

    const MINUTE: Duration = Duration::from_secs(60);
    const TOOK: Duration = Duration::from_millis(1);

    fn record() -> DiagnosticRecord {
        let commands = vec![AttachCommand::Flags, AttachCommand::CodeCache, AttachCommand::HeapInfo];
        let plan = DiagnosticPlan { commands, stale_pools: vec!["ZGC Young Generation"], wants_limit: false };
        DiagnosticRecord::new(plan, Some(true))
    }

    fn heap() -> (AttachCommand, Result<DiagnosticReply, AttachError>) {
        let text = "ZHeap            used 22M, capacity 32M, max capacity 96M";
        (AttachCommand::HeapInfo, Ok(DiagnosticReply::Heap(parse_heap_info(text))))
    }

    fn code_cache() -> (AttachCommand, Result<DiagnosticReply, AttachError>) {
        let text = include_str!("../../../../tests/fixtures/attach/jdk11-G1.code_cache.txt");
        (AttachCommand::CodeCache, Ok(DiagnosticReply::CodeCache(parse_code_cache(text))))
    }

    fn flags() -> (AttachCommand, Result<DiagnosticReply, AttachError>) {
        (AttachCommand::Flags, Ok(DiagnosticReply::Flags(vec![FlagReply { name: "UseZGC", value: Value::Int(1) }])))
    }

    fn values(record: &mut DiagnosticRecord, name: &str) -> Vec<Value> {
        let (facts, values) = record.read();
        facts.iter().zip(values).filter(|(fact, _)| fact.name == name).filter_map(|(_, value)| value).collect()
    }

    /// Generations of ZGC are not told apart, so its pools are the counters', and only the whole heap is published.
    #[test]
    fn only_what_is_told_better_is_published() {
        let mut record = record();
        record.update(Ok(vec![flags(), code_cache(), heap()]), TOOK, MINUTE);
        assert_eq!(values(&mut record, "heap.used"), [Value::Int(22 << 20)]);
        assert_eq!(values(&mut record, "area.committed"), [Value::Int(32 << 20)]);
        assert!(values(&mut record, "heap.limit").is_empty());
        assert_eq!(values(&mut record, "pool.used").len(), 3);
        assert_eq!(values(&mut record, "flag.value"), [Value::Int(1)]);
        assert_eq!(record.commands().collect::<Vec<_>>(), [AttachCommand::CodeCache, AttachCommand::HeapInfo]);
    }

    #[test]
    fn values_stay_after_a_failure_until_they_are_too_old() {
        let mut record = record();
        record.update(Ok(vec![flags(), code_cache(), heap()]), TOOK, MINUTE);
        record.update(Err(AttachError::Timeout), TOOK, MINUTE);
        assert!(matches!(record.state(), DiagnosticState::Failing { reason: AttachFailureReason::Timeout, .. }));
        assert_eq!(values(&mut record, "heap.used").len(), 1);
        // As if the minute were over.
        record.lifetime = Duration::ZERO;
        assert!(values(&mut record, "heap.used").is_empty());
        assert!(values(&mut record, "pool.used").is_empty());
        assert_eq!(values(&mut record, "flag.value"), [Value::Int(1)], "flags are asked for only once");
        assert_eq!(values(&mut record, "diagnostics.age").len(), 1);
        record.update(Ok(vec![code_cache(), heap()]), TOOK, MINUTE);
        assert_eq!(values(&mut record, "heap.used").len(), 1);
    }

    #[test]
    fn a_command_that_is_unknown_is_asked_no_more() {
        let unknown = |command| {
            let message = "java.lang.IllegalArgumentException: Unknown diagnostic command".into();
            (command, Err(AttachError::Status { status: -1, message }))
        };
        let mut record = record();
        record.update(Ok(vec![flags(), unknown(AttachCommand::CodeCache), heap()]), TOOK, MINUTE);
        assert_eq!(record.state(), &DiagnosticState::Answering);
        assert_eq!(record.commands().collect::<Vec<_>>(), [AttachCommand::HeapInfo]);
        record.update(Ok(vec![unknown(AttachCommand::HeapInfo)]), TOOK, MINUTE);
        assert!(record.is_final());
    }
}
