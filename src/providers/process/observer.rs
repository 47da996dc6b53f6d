//! Who is looked at when: all processes in turn, by one thread.

use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::usage::{LastUsage, Usage};
use crate::fact::Provider;
use crate::fact::ProviderId;
use crate::fact::Reading;
use crate::fact::ValueTable;
use crate::proc::Process;
use crate::proc::cgroup::Hierarchies;
use crate::sync::{lock, wait_timeout};

/// Time between two looks at a process: about 50 us of work each, more with many threads.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// Looks at processes in the background. Dropped, it looks no more.
#[derive(Debug)]
pub struct Observer {
    shared: Arc<ObserverState>,
}

/// One process. While it is held, the process is looked at.
#[derive(Debug)]
pub struct ObservedProcess {
    process: Arc<Process>,
    memory: Mutex<LastUsage>,
    sheet: Mutex<ValueTable>,
}

#[derive(Debug)]
struct ObserverState {
    groups: Hierarchies,
    state: Mutex<ObserverQueue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ObserverQueue {
    watches: Vec<Weak<ObservedProcess>>,
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
        let shared = ObserverState { groups, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Looks at the process at once, and then every [`INTERVAL`] for as long as the result is held.
    pub fn observe(&self, process: Arc<Process>) -> Arc<ObservedProcess> {
        let sheet = Mutex::new(ValueTable::new(ProviderId::Process));
        let watch = Arc::new(ObservedProcess { process, memory: Mutex::default(), sheet });
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

impl ObserverState {
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            let due = Instant::now() + INTERVAL;
            while !state.stopped
                && let Some(left) = due.checked_duration_since(Instant::now())
            {
                state = wait_timeout(&self.changed, state, left);
            }
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

impl ObservedProcess {
    /// Reads first and publishes then, so that a scrape never waits for the kernel.
    fn look(&self, groups: &Hierarchies) {
        let usage = Usage::read(self.process.directory(), groups, &mut lock(&self.memory));
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

impl Provider for ObservedProcess {
    fn read(&self) -> Reading {
        lock(&self.sheet).read()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::metric::Value;

    fn value(reading: &Reading, source: &str) -> Option<Value> {
        let at = reading.0.iter().position(|fact| fact.name == source)?;
        reading.1[at].clone()
    }

    fn process(pid: u32) -> Arc<Process> {
        Arc::new(Process::open(Path::new("/proc"), i32::try_from(pid).unwrap()).unwrap())
    }

    #[test]
    fn our_own_process_has_facts() {
        let observer = Observer::new();
        let watch = observer.observe(process(std::process::id()));
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
        let watch = Observer::new().observe(process(child.id()));
        assert!(value(&watch.read(), "proc.threads").is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        watch.look(&Hierarchies::default());
        assert!(watch.read().1.iter().all(Option::is_none));
    }
}
