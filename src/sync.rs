//! Locks that ignore poisoning, and threads that can be given up.
//!
//! The panic hook reports the panic of a thread. Data behind the locks of this program is consistent after every
//! statement, so the other threads can continue with it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Locks, even if a thread has panicked while it held the lock.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification; wake-ups may be spurious.
pub(crate) fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification, at most for `timeout`; wake-ups may be spurious.
pub(crate) fn wait_timeout<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> MutexGuard<'a, T> {
    condition.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
}

/// A thread for calls that the kernel may hold for ever: of the memory of a hostile process, of a file system that does
/// not answer. A call that takes too long is given up with its thread, and the next one gets another thread. One that was
/// given up ends with its call, or with the process.
#[derive(Debug)]
pub(crate) struct ExpendableThread {
    name: &'static str,
    calls: Option<Sender<Box<dyn FnOnce() + Send>>>,
}

impl ExpendableThread {
    /// Starts nothing yet.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, calls: None }
    }

    /// The result of `work`; `None` if it was given up or has panicked. Whether to give up is asked every `period`. Where
    /// no thread can be had, this one works.
    pub(crate) fn call<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        period: Duration,
        mut gives_up: impl FnMut() -> bool,
    ) -> Option<T> {
        let (reply, result) = channel();
        let call: Box<dyn FnOnce() + Send> = Box::new(move || {
            // Nobody waits for a call that was given up.
            let _ = reply.send(work());
        });
        if self.calls.is_none() {
            let (calls, received) = channel::<Box<dyn FnOnce() + Send>>();
            let run = move || received.into_iter().for_each(|call| call());
            match thread::Builder::new().name(self.name.to_owned()).spawn(run) {
                Ok(_) => self.calls = Some(calls),
                Err(error) => tracing::warn!(%error, "cannot start a thread; a file or process may hold this one"),
            }
        }
        match &self.calls {
            Some(calls) => _ = calls.send(call),
            None => call(),
        }
        loop {
            match result.recv_timeout(period) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Timeout) if !gives_up() => {}
                Err(_) => {
                    self.calls = None;
                    return None;
                }
            }
        }
    }
}
