//! systemd: notifications about the state of the service, and the sockets that it passes.
//!
//! The scanning thread notifies, so that the watchdog takes effect when that thread hangs. Without `NOTIFY_SOCKET` in the
//! environment nothing is sent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, net::TcpListener, path::PathBuf, time::Duration};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::targets::{TargetSet, TargetState};

/// The unit that the exporter runs as, if any.
#[derive(Debug, Default)]
pub(crate) struct Service {
    /// Longest time between two keep-alive notifications: half of the watchdog's limit.
    keep_alive_interval: Option<Duration>,
    ready: AtomicBool,
    reload_failed: AtomicBool,
    warned: AtomicBool,
}

impl Service {
    /// The unit with the watchdog that `WATCHDOG_USEC` names.
    pub(crate) fn from_environment() -> Self {
        Self { keep_alive_interval: sd_notify::watchdog_enabled().map(|limit| limit / 2), ..Self::default() }
    }

    /// How long the scanning thread may wait before it has to call [`Service::keep_alive`], at most `time`.
    pub(crate) fn until_keep_alive(&self, time: Duration) -> Duration {
        self.keep_alive_interval.map_or(time, |interval| time.min(interval))
    }

    /// The scanning thread does not hang.
    pub(crate) fn keep_alive(&self) {
        if self.keep_alive_interval.is_some() {
            self.notify(&[NotifyState::Watchdog]);
        }
    }

    /// A scan ended. The first one makes the unit ready.
    pub(crate) fn scanned(&self, targets: &TargetSet) {
        let status = self.status(targets);
        let mut states = vec![NotifyState::Status(&status)];
        if !self.ready.swap(true, Ordering::Relaxed) {
            states.push(NotifyState::Ready);
        }
        self.notify(&states);
        self.keep_alive();
    }

    fn status(&self, set: &TargetSet) -> String {
        let (served, stalled) = (set.targets.len(), set.count(TargetState::Stalled));
        let (starting, refused) = (set.starting.len(), set.refusals.len());
        let mut status = format!("{served} JVMs served, {stalled} stalled, {starting} starting, {refused} not served");
        if self.reload_failed.load(Ordering::Relaxed) {
            status.push_str("; the last reload failed, the previous configuration is in force");
        }
        status
    }

    /// A reload of the configuration begins.
    pub(crate) fn reloading(&self) {
        // systemd requires the time, to match the answer with its request.
        let now = NotifyState::monotonic_usec_now();
        self.notify(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
    }

    /// A reload ended. systemd has no state for a reload that failed; the status says so from the next scan on.
    pub(crate) fn reloaded(&self, succeeded: bool) {
        self.reload_failed.store(!succeeded, Ordering::Relaxed);
        self.notify(&[NotifyState::Ready]);
    }

    /// The shutdown begins.
    pub(crate) fn stopping(&self) {
        self.notify(&[NotifyState::Stopping]);
    }

    /// Only the first failure is logged: every scan would repeat it.
    fn notify(&self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states)
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, "cannot notify systemd at NOTIFY_SOCKET; see NotifyAccess= of the unit");
        }
    }
}

/// The first directory of `StateDirectory=`.
pub(crate) fn state_directory() -> Option<PathBuf> {
    let list = std::env::var("STATE_DIRECTORY").ok()?;
    list.split(':').next().map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The listening TCP sockets of the `.socket` unit that started the exporter: at least one.
pub fn sockets() -> io::Result<Vec<TcpListener>> {
    let mut passed = ListenFd::from_env();
    let sockets: io::Result<Vec<_>> =
        (0..passed.len()).filter_map(|at| passed.take_tcp_listener(at).transpose()).collect();
    match sockets {
        Ok(sockets) if sockets.is_empty() => Err(io::Error::other(
            "--web.systemd-socket: systemd passed no socket (LISTEN_FDS); start the .socket unit, or remove the flag",
        )),
        other => other,
    }
}
