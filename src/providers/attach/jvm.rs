//! One JVM that is asked, and the providers of its values.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use strum::VariantArray;

use super::diagnostics::{self, DiagnosticPlan, DiagnosticRecord, DiagnosticState};
use super::native_memory::{self, NmtRecord, NmtState};
use super::protocol::Capabilities;
use super::{AttachCommand, AttachFailureReason, Attachable};
use crate::config::{AttachMode, AttachSettings};
use crate::fact::{Provider, ProviderId, Reading};
use crate::sync::lock;

/// Shortest time for which a value stays although the JVM does not answer any more. Then it is absent, or another
/// source's.
const LIFETIME: Duration = Duration::from_secs(60);

/// After how many intervals a value is too old, where that is longer.
const LIFETIME_INTERVALS: u32 = 4;

/// What is asked at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum AttachTopic {
    /// Native Memory Tracking.
    NativeMemory,
    /// Heap, metaspace, code heaps and flags.
    Diagnostics,
}

impl AttachTopic {
    /// Time between two questions.
    pub(super) fn interval(self, settings: &AttachSettings) -> Duration {
        match self {
            Self::NativeMemory => settings.native_memory,
            Self::Diagnostics => settings.diagnostics,
        }
    }

    /// Whose facts the answers are.
    fn provider(self) -> ProviderId {
        match self {
            Self::NativeMemory => ProviderId::Nmt,
            Self::Diagnostics => ProviderId::Diagnostics,
        }
    }
}

/// A JVM that is asked, and what it has answered.
#[derive(Debug)]
pub struct PolledJvm {
    attachable: Attachable,
    native_memory: Mutex<NmtRecord>,
    diagnostics: Mutex<DiagnosticRecord>,
}

/// The values of one topic of a JVM. The JVM is asked for as long as one of them is held.
#[derive(Debug)]
struct TopicProvider {
    jvm: Arc<PolledJvm>,
    topic: AttachTopic,
}

impl Provider for TopicProvider {
    fn read(&self) -> Reading {
        self.jvm.read(self.topic)
    }
}

impl PolledJvm {
    pub(super) fn new(attachable: Attachable, plan: DiagnosticPlan) -> Self {
        let native_memory = Mutex::new(NmtRecord::new(attachable.setting, attachable.attach_supported));
        let diagnostics = Mutex::new(DiagnosticRecord::new(plan, attachable.attach_supported));
        Self { attachable, native_memory, diagnostics }
    }

    /// The state of the questions for native memory.
    pub fn state(&self) -> NmtState {
        lock(&self.native_memory).state().clone()
    }

    /// The state of the other questions.
    pub fn diagnostic_state(&self) -> DiagnosticState {
        lock(&self.diagnostics).state().clone()
    }

    /// What is asked besides native memory, as long as the state is not final.
    pub(crate) fn diagnostic_commands(&self) -> Vec<AttachCommand> {
        lock(&self.diagnostics).commands().collect()
    }

    /// The facts of a topic and their current values.
    pub fn read(&self, topic: AttachTopic) -> Reading {
        match topic {
            AttachTopic::NativeMemory => lock(&self.native_memory).read(),
            AttachTopic::Diagnostics => lock(&self.diagnostics).read(),
        }
    }

    /// A provider for each topic.
    pub(crate) fn providers(self: Arc<Self>) -> impl Iterator<Item = (ProviderId, Arc<dyn Provider>)> {
        AttachTopic::VARIANTS.iter().map(move |topic| {
            let provider: Arc<dyn Provider> = Arc::new(TopicProvider { jvm: Arc::clone(&self), topic: *topic });
            (topic.provider(), provider)
        })
    }

    /// Forgets what the JVM has answered.
    pub(super) fn forget(&self) {
        lock(&self.native_memory).forget();
        lock(&self.diagnostics).forget();
    }

    /// Whether no further question can change anything.
    pub(super) fn is_final(&self, topic: AttachTopic) -> bool {
        match topic {
            AttachTopic::NativeMemory => lock(&self.native_memory).state().is_final(),
            AttachTopic::Diagnostics => lock(&self.diagnostics).is_final(),
        }
    }

    /// Asks once. Returns why there is no answer, or not every answer.
    pub(super) fn ask(
        &self,
        topic: AttachTopic,
        settings: &AttachSettings,
        capabilities: &mut Capabilities,
    ) -> Option<AttachFailureReason> {
        let interval = topic.interval(settings);
        let lifetime = interval.saturating_mul(LIFETIME_INTERVALS).max(LIFETIME);
        let begin = Instant::now();
        let deadline = after(begin, settings.timeout_within(interval));
        match topic {
            AttachTopic::NativeMemory => {
                let outcome = native_memory::query(&self.attachable, settings.mode, capabilities, deadline);
                let mut record = lock(&self.native_memory);
                record.update(outcome, begin.elapsed(), lifetime);
                let NmtState::Failing { reason, message } = record.state() else { return None };
                self.log(topic, *reason, message);
                Some(*reason)
            }
            AttachTopic::Diagnostics => {
                let commands = self.diagnostic_commands();
                let outcome = diagnostics::query(&self.attachable, &commands, settings.mode, capabilities, deadline);
                let mut record = lock(&self.diagnostics);
                record.update(outcome, begin.elapsed(), lifetime);
                let DiagnosticState::Failing { reason, message } = record.state() else { return None };
                self.log(topic, *reason, message);
                Some(*reason)
            }
        }
    }

    fn log(&self, topic: AttachTopic, reason: AttachFailureReason, message: &str) {
        let vpid = self.attachable.vpid;
        tracing::debug!(vpid, ?topic, reason = reason.as_str(), %message, "a question over the attach socket failed");
    }
}

/// Asks a JVM once and at once, whatever a question can succeed for, and signals nothing.
pub(crate) fn ask_once(attachable: Attachable, plan: DiagnosticPlan, settings: &AttachSettings) -> Arc<PolledJvm> {
    let settings = AttachSettings { mode: AttachMode::Passive, ..settings.clone() };
    let (jvm, mut capabilities) = (PolledJvm::new(attachable, plan), Capabilities::default());
    for topic in AttachTopic::VARIANTS.iter().filter(|topic| !jvm.is_final(**topic)) {
        jvm.ask(*topic, &settings, &mut capabilities);
    }
    Arc::new(jvm)
}

/// `begin` plus `wait`; a time beyond the clock is a day away.
pub(super) fn after(begin: Instant, wait: Duration) -> Instant {
    begin.checked_add(wait).or_else(|| begin.checked_add(Duration::from_secs(86400))).unwrap_or(begin)
}
