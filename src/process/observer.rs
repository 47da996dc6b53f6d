//! Who is looked at when: all processes in turn, by one thread.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::cgroup::Hierarchies;
use super::sources::{SOURCES, since};
use super::usage::{Memory, Usage};
use crate::formula::BoardId;
use crate::sheet::Sheet;
use crate::snapshot::{Board, Reading};

/// Time between two looks at a process: about 50 us of work each, more with many threads.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// Looks at processes in the background. Dropped, it looks no more.
#[derive(Debug)]
pub struct Observer {
    shared: Arc<Shared>,
}

/// One process. While it is held, the process is looked at.
#[derive(Debug)]
pub struct Watch {
    directory: OwnedFd,
    memory: Mutex<Memory>,
    sheet: Mutex<Sheet>,
}

#[derive(Debug)]
struct Shared {
    groups: Hierarchies,
    state: Mutex<Rounds>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    watches: Vec<Weak<Watch>>,
    running: bool,
    stopped: bool,
}

impl Observer {
    /// An observer of nothing yet, and so without a thread.
    pub fn new() -> Self {
        let groups = Hierarchies::visible().unwrap_or_else(|error| {
            tracing::warn!(%error, "cgroup mounts are not known; cgroup facts are absent");
            Hierarchies::default()
        });
        let shared = Shared { groups, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Looks at the process of this directory of the proc file system (opened with `O_PATH`) at once, and then every
    /// [`INTERVAL`] for as long as the result is held.
    pub fn observe(&self, directory: OwnedFd) -> Arc<Watch> {
        let sheet = Mutex::new(Sheet::new(BoardId::Process, SOURCES, since));
        let watch = Arc::new(Watch { directory, memory: Mutex::default(), sheet });
        watch.look(&self.shared.groups);
        let mut state = lock(&self.shared.state);
        state.watches.push(Arc::downgrade(&watch));
        if !state.running {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("process".to_owned()).stack_size(256 << 10);
            match thread.spawn(move || shared.run()) {
                Ok(_) => state.running = true,
                Err(error) => tracing::warn!(%error, "cannot start the thread that looks at processes"),
            }
        }
        watch
    }
}

impl Default for Observer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        lock(&self.shared.state).stopped = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            let wait = self.changed.wait_timeout_while(state, INTERVAL, |state| !state.stopped);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
            if state.stopped {
                return;
            }
            state.watches.retain(|watch| watch.strong_count() > 0);
            let watches = state.watches.clone();
            drop(state);
            for watch in watches.iter().filter_map(Weak::upgrade) {
                watch.look(&self.groups);
            }
            state = lock(&self.state);
        }
    }
}

impl Watch {
    /// Reads first and publishes then, so that a scrape never waits for the kernel.
    fn look(&self, groups: &Hierarchies) {
        let usage = Usage::read(&self.directory, groups, &mut lock(&self.memory));
        let mut sheet = lock(&self.sheet);
        match usage {
            Ok(usage) => usage.publish(&mut sheet),
            Err(error) => {
                tracing::debug!(%error, "a process cannot be looked at");
                sheet.clear();
            }
        }
    }
}

impl Board for Watch {
    fn read(&self) -> Reading {
        lock(&self.sheet).read()
    }
}

/// A poisoned lock holds values that a panic elsewhere left whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::fs::File;
    use std::process::Command;

    use super::*;
    use crate::metric::Value;

    fn value(reading: &Reading, source: &str) -> Option<Value> {
        let at = reading.0.iter().position(|fact| fact.source == source)?;
        reading.1[at].clone()
    }

    fn directory(pid: u32) -> OwnedFd {
        File::open(format!("/proc/{pid}")).unwrap().into()
    }

    #[test]
    fn our_own_process_has_facts() {
        let observer = Observer::new();
        let watch = observer.observe(directory(std::process::id()));
        let reading = watch.read();
        for source in ["proc.memory_resident", "proc.memory_virtual", "proc.threads", "proc.descriptors"] {
            assert!(matches!(value(&reading, source), Some(Value::Int(1..))), "{source}");
        }
        assert!(matches!(value(&reading, "proc.cpu_time"), Some(Value::Float(0.0..))));
        assert!(matches!(value(&reading, "proc.context_switches"), Some(Value::Int(_))));
    }

    #[test]
    fn a_process_that_ended_has_no_values() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let watch = Observer::new().observe(directory(child.id()));
        assert!(value(&watch.read(), "proc.threads").is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        watch.look(&Hierarchies::default());
        assert!(watch.read().1.iter().all(Option::is_none));
    }
}
