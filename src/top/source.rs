//! Where overviews come from, and the thread that gets them: what does not answer never holds keys and screen.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime::Handle;

use super::Message;
use crate::report::overview::{JvmDetail, JvmKey, Measure, Overview};
use crate::server::running::RunningExporter;
use crate::server::{Backend, Readiness};

/// Time for the first scan; a slow one shows what it has afterwards.
const FIRST_SCAN: Duration = Duration::from_secs(60);

/// Time between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// Intervals after which a table is printed without the rates that are still missing.
const PATIENCE: u32 = 3;

/// The least part of the interval between an answer and the next question.
const REST: u32 = 4;

/// What tells about JVMs.
#[derive(Clone)]
pub enum TopSource {
    /// This process.
    Local(Arc<dyn Backend>),
    /// A running exporter, and what runs requests to it.
    Remote(RunningExporter, Handle),
}

impl fmt::Debug for TopSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl TopSource {
    /// Whose JVMs they are.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Local(_) => "this host".to_owned(),
            Self::Remote(exporter, _) => exporter.url().to_owned(),
        }
    }

    /// All JVMs.
    fn overview(&self) -> Result<Overview, String> {
        match self {
            Self::Local(backend) => {
                wait(FIRST_SCAN, || backend.readiness() != Readiness::Starting);
                Ok(backend.overview(&[Measure::HeapUsed]))
            }
            Self::Remote(exporter, runtime) => runtime.block_on(exporter.get("/overview")),
        }
    }

    /// One JVM with all points, if it is known.
    fn jvm(&self, key: &JvmKey) -> Result<Option<JvmDetail>, String> {
        match self {
            Self::Local(backend) => Ok(backend.jvm(key)),
            Self::Remote(exporter, runtime) => runtime.block_on(exporter.get(&path(key))).map(Some),
        }
    }

    /// An overview with rates, which this process knows after two points of its history.
    pub(super) fn settled(&self, interval: Duration) -> Result<Overview, String> {
        let mut overview = self.overview();
        if matches!(self, Self::Local(_)) {
            wait(interval * PATIENCE, || {
                let is_settled = overview.as_ref().is_ok_and(has_rates);
                if !is_settled {
                    thread::sleep(interval / 8);
                    overview = self.overview();
                }
                is_settled
            });
        }
        overview
    }
}

/// Where an exporter answers about one JVM.
fn path(key: &JvmKey) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let labels = key.labels.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let query = labels.collect::<Vec<_>>().join("&");
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/overview/{}/{}{mark}{query}", encoded(&key.app), key.slot)
}

/// Whether a rate of each JVM is known.
fn has_rates(overview: &Overview) -> bool {
    let rates = [Measure::AllocationRate, Measure::Stopped, Measure::Cpu];
    let mut running = overview.jvms.iter().filter(|jvm| jvm.end.is_none() && jvm.row.description.app.is_some());
    running.all(|jvm| jvm.values.gc_share.is_some() || rates.iter().any(|rate| jvm.values.last.contains_key(rate)))
}

/// Waits until something holds, at most so long.
fn wait(patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() && Instant::now() < deadline {
        thread::sleep(LOOK);
    }
}

/// Sends an overview each interval, and the JVM that is watched, until nobody receives. What is watched comes at once.
pub(super) fn follow(
    source: &TopSource,
    interval: Duration,
    watched: &Receiver<Option<JvmKey>>,
    messages: &Sender<Message>,
) {
    let mut current: Option<JvmKey> = None;
    let mut due = Instant::now();
    loop {
        if due <= Instant::now() {
            let overview = source.overview();
            // A source that is slower than the interval gets a rest, too.
            due = (due + interval).max(Instant::now() + interval / REST);
            if messages.send(Message::Overview(overview)).is_err() {
                return;
            }
        }
        if let Some(key) = &current {
            let message = match source.jvm(key) {
                Ok(Some(detail)) => Message::Detail(Box::new(detail)),
                Ok(None) => Message::Nothing,
                Err(failure) => Message::Overview(Err(failure)),
            };
            if messages.send(message).is_err() {
                return;
            }
        }
        match watched.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(key) => current = key,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
