//! What systemd is told, and the sockets that it passes.
//!
//! The thread that scans speaks for the exporter, so that a watchdog bites when it hangs. Without `NOTIFY_SOCKET` in the
//! environment nobody listens, and nothing is sent.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::targets::{TargetSet, TargetState};

/// The unit that the exporter runs as, if it does.
#[derive(Debug)]
pub struct Service {
    /// Longest time between two signs of life: half of what the watchdog allows.
    watchdog: Option<Duration>,
    ready: AtomicBool,
    reload_failed: AtomicBool,
    complained: AtomicBool,
}

impl Service {
    /// As `WATCHDOG_USEC` says.
    pub fn from_environment() -> Self {
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        Self {
            watchdog,
            ready: AtomicBool::new(false),
            reload_failed: AtomicBool::new(false),
            complained: AtomicBool::new(false),
        }
    }

    /// How long the scanning thread may wait before it has to say [`Service::alive`], if it means to wait for `left`.
    pub fn nap(&self, left: Duration) -> Duration {
        self.watchdog.map_or(left, |limit| left.min(limit))
    }

    /// The scanning thread is not stuck.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// A scan ended. The first makes the unit ready.
    pub fn scanned(&self, target_set: &TargetSet) {
        let status = self.status(target_set);
        let mut states = vec![NotifyState::Status(&status)];
        if !self.ready.swap(true, Ordering::Relaxed) {
            states.push(NotifyState::Ready);
        }
        self.tell(&states);
        self.alive();
    }

    fn status(&self, target_set: &TargetSet) -> String {
        let (served, stalled) = (target_set.targets.len(), target_set.count(TargetState::Stalled));
        let (starting, refused) = (target_set.starting.len(), target_set.refusals.len());
        let mut status = format!("{served} JVMs served, {stalled} stalled, {starting} starting, {refused} not served");
        if self.reload_failed.load(Ordering::Relaxed) {
            status.push_str("; the last reload failed, an old configuration is in force");
        }
        status
    }

    /// The configuration is about to be read again.
    pub fn reloading(&self) {
        // systemd wants to know when, to tell this from an answer to an earlier request.
        let now = NotifyState::monotonic_usec_now();
        self.tell(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
    }

    /// It has been read. systemd knows no reload that fails; the status tells it from the next scan on.
    pub fn reloaded(&self, good: bool) {
        self.reload_failed.store(!good, Ordering::Relaxed);
        self.tell(&[NotifyState::Ready]);
    }

    /// The exporter was asked to end.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// A scan every few seconds would fail alike, so only the first failure is logged.
    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states)
            && !self.complained.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "cannot notify systemd at NOTIFY_SOCKET; see NotifyAccess= of the unit");
        }
    }
}

/// The listening TCP sockets of the `.socket` unit that started the exporter.
///
/// # Errors
/// There is none, or one is not a listening TCP socket.
pub fn sockets() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let sockets: io::Result<Vec<_>> =
        (0..passed.len()).filter_map(|at| passed.take_tcp_listener(at).transpose()).collect();
    match sockets {
        Ok(sockets) if sockets.is_empty() => Err(io::Error::other(
            "--web.systemd-socket: systemd passed no socket (LISTEN_FDS); start the .socket unit, or leave the flag away",
        )),
        other => other,
    }
}
