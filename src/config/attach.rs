//! `attach:`, `nmt:` and `diagnostics:`: what JVMs are asked over their attach sockets, and when.

use std::time::Duration;

use super::schema::{ConfigKeys, HOUR, SECOND, between};
use crate::yaml::codec::{Choice, DurationBounds, Optional, OrNull};
use crate::yaml::decode::{Decoder, Path};
use crate::yaml::document::Node;
use crate::yaml::section::{Given, section};

/// The questions over attach sockets, from all keys that concern them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachSettings {
    /// Which JVMs are asked.
    pub mode: AttachMode,
    /// Longest time that one JVM is waited for.
    pub timeout: Duration,
    /// Time between two questions for native memory.
    pub native_memory: Duration,
    /// Time between two questions for everything else.
    pub diagnostics: Duration,
}

/// `attach.mode`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AttachMode {
    /// Ask no JVM.
    Off,
    /// Use the attach socket of JVMs that have one. Signals no JVM and writes nothing.
    Passive,
    /// Start the attach listener of JVMs that have none.
    Active,
}

impl AttachMode {
    pub(super) fn as_str(self) -> &'static str {
        self.into()
    }
}

const MODES: Choice<AttachMode> =
    Choice::of(&[("off", AttachMode::Off), ("passive", AttachMode::Passive), ("active", AttachMode::Active)]);

const TIMEOUTS: DurationBounds = between(Duration::from_millis(10), HOUR);

const MODE: AttachMode = AttachMode::Passive;
const TIMEOUT: Duration = Duration::from_secs(5);

section! {
    /// `attach:`
    #[derive(Debug)]
    pub(super) struct AttachKeys {
        /// off: ask no JVM. passive: ask JVMs whose attach socket exists. active: also make a JVM open its socket, as jcmd
        /// does. The flag --attach.mode replaces the mode.
        pub(super) mode: Option<AttachMode> = None => OrNull(Optional { codec: MODES, default: Some(MODE) }),
        /// Longest time that a JVM is waited for, at most the interval of the question.
        pub(super) timeout: Option<Duration> = None => OrNull(Optional { codec: TIMEOUTS, default: Some(TIMEOUT) }),
    }
}

section! {
    /// `nmt:`
    #[derive(Debug)]
    pub(super) struct NmtKeys {
        /// Time between two questions for native memory.
        pub(super) interval: Duration = Duration::from_secs(30) => between(SECOND, 24 * HOUR),
        /// The old name of attach.mode, which is preferred.
        pub(super) mode: Option<AttachMode> = None => OrNull(Optional { codec: MODES, default: None }),
        /// The old name of attach.timeout, which is preferred; at most the interval.
        pub(super) timeout: Option<Duration> = None => OrNull(Optional { codec: TIMEOUTS, default: None }),
    }
}

section! {
    /// `diagnostics:`
    #[derive(Debug)]
    pub(super) struct DiagnosticsKeys {
        /// Time between two questions of this kind.
        pub(super) interval: Duration = Duration::from_secs(15) => between(SECOND, 24 * HOUR),
    }
}

pub(super) fn check_nmt(nmt: &mut NmtKeys, _: &Given<'_>, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) {
    if nmt.timeout.is_some_and(|timeout| timeout > nmt.interval) {
        let hint = "set both `interval` and `timeout`";
        decoder.report(node.position, path, "the timeout is longer than the interval", hint);
    }
}

impl Default for AttachSettings {
    fn default() -> Self {
        Self {
            mode: MODE,
            timeout: TIMEOUT,
            native_memory: NmtKeys::default().interval,
            diagnostics: DiagnosticsKeys::default().interval,
        }
    }
}

impl AttachSettings {
    /// Takes the old names of keys for the new ones; both are a problem where they differ.
    pub(super) fn of(keys: &ConfigKeys, given: &Given<'_>, decoder: &mut Decoder<'_>) -> Self {
        let ConfigKeys { attach, nmt, diagnostics, .. } = keys;
        let mut refuse = |key: &str| {
            let Some(node) = given.get("nmt") else { return };
            let message = format!("`nmt.{key}` and `attach.{key}` are one key, and their values differ");
            let hint = format!("keep `attach.{key}`");
            decoder.report(node.position, &Path::Root.key("nmt").key(key), message, &hint);
        };
        if attach.mode.zip(nmt.mode).is_some_and(|(one, other)| one != other) {
            refuse("mode");
        }
        if attach.timeout.zip(nmt.timeout).is_some_and(|(one, other)| one != other) {
            refuse("timeout");
        }
        Self {
            mode: attach.mode.or(nmt.mode).unwrap_or(MODE),
            timeout: attach.timeout.or(nmt.timeout).unwrap_or(TIMEOUT),
            native_memory: nmt.interval,
            diagnostics: diagnostics.interval,
        }
    }

    /// Longest time that a JVM is waited for in a question of that interval.
    pub(crate) fn timeout_within(&self, interval: Duration) -> Duration {
        self.timeout.min(interval)
    }
}
