//! Scans on a thread that can be given up: a file system or a process that does not answer costs its own JVMs, and no
//! other.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::config::Discovery;
use crate::discovery::watch::WatchList;
use crate::discovery::{Progress, RegionId, Scan, ScanSubject, Scanner};
use crate::sync::ExpendableThread;

/// Time between two looks at a scan that is under way.
const PERIOD: Duration = Duration::from_millis(200);

/// A scanner, and the thread that it runs on.
#[derive(Debug)]
pub(super) struct ScanThread {
    thread: ExpendableThread,
    config: Discovery,
    progress: Arc<Progress>,
    /// `None` at the start, and after the thread with the last one was given up.
    scanner: Option<Scanner>,
}

impl ScanThread {
    pub(super) fn new(config: &Discovery) -> Self {
        let thread = ExpendableThread::new("discovery");
        Self { thread, config: config.clone(), progress: Arc::default(), scanner: None }
    }

    /// Has later scans use other settings.
    pub(super) fn configure(&mut self, config: &Discovery) {
        self.config = config.clone();
        self.scanner = None;
    }

    /// Has later scans leave a process alone.
    pub(super) fn leave_alone(&self, pid: i32, start_ticks: u64) {
        self.progress.leave_alone(ScanSubject::Process(pid, start_ticks));
    }

    /// Scans once, without whatever holds the scan, and says how much CPU time that took. `None` while stopping.
    pub(super) fn scan(
        &mut self,
        known: &HashSet<RegionId>,
        watches: &WatchList,
        stopping: &AtomicBool,
        alive: impl Fn(),
    ) -> Option<(Scan, Duration)> {
        loop {
            let (known, watches) = (known.clone(), watches.clone());
            let outcome = self.call(stopping, &alive, move |scanner| {
                let begin = cpu_time();
                let scan = scanner.scan(&|id| known.contains(&id));
                watches.follow(&scan.watched);
                (scan, cpu_time().saturating_sub(begin))
            });
            if outcome.is_some() || stopping.load(Ordering::Acquire) {
                return outcome;
            }
            // What has panicked may panic again.
            std::thread::sleep(PERIOD);
        }
    }

    /// See [`Scanner::has_newcomer`].
    pub(super) fn has_newcomer(&mut self, stopping: &AtomicBool) -> bool {
        self.call(stopping, &|| {}, Scanner::has_newcomer).unwrap_or_default()
    }

    fn call<T: Send + 'static>(
        &mut self,
        stopping: &AtomicBool,
        alive: &impl Fn(),
        work: impl FnOnce(&mut Scanner) -> T + Send + 'static,
    ) -> Option<T> {
        let (scanner, config, progress) = (self.scanner.take(), self.config.clone(), Arc::clone(&self.progress));
        let given_up = Arc::new(AtomicBool::new(false));
        let late = Arc::clone(&given_up);
        let run = move || {
            let mut scanner = scanner.unwrap_or_else(|| Scanner::watched(&config, Arc::clone(&progress)));
            let result = work(&mut scanner);
            if late.load(Ordering::Acquire) {
                progress.release_roots();
            }
            (scanner, result)
        };
        let watched = &self.progress;
        let outcome = self.thread.call(run, PERIOD, || {
            alive();
            watched.is_held() || stopping.load(Ordering::Acquire)
        });
        match outcome {
            Some((scanner, result)) => {
                self.scanner = Some(scanner);
                Some(result)
            }
            None => {
                given_up.store(true, Ordering::Release);
                let subject = self.progress.give_up();
                if !stopping.load(Ordering::Acquire) {
                    tracing::error!(?subject, "a scan was given up: this does not answer, and is left alone");
                }
                None
            }
        }
    }
}

/// CPU time of this thread.
pub(super) fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
