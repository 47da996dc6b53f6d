//! Completed pauses of one collector, from four words that HotSpot writes without any order between them and us.
//!
//! A pause writes, in this order, `invocations + 1`, `lastEntryTime`; at its end `lastExitTime`, then `time + length`
//! (`TraceCollectorStats` around `PerfTraceTimedEvent`, JDK 8 to 27). So a pause runs while `entry > exit`, and
//! `invocations` without the running one is the number completed. Between two of these stores the words contradict
//! each other for nanoseconds, or for as long as the VM thread is off its processor.

/// The words of one collector at one moment, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// `invocations`: pauses begun.
    pub(super) invocations: i64,
    /// `time`: summed length of the pauses completed.
    pub(super) time: i64,
    /// `lastEntryTime`.
    pub(super) entry: i64,
    /// `lastExitTime`.
    pub(super) exit: i64,
}

impl Look {
    /// Whether a pause runs.
    pub(super) fn is_running(&self) -> bool {
        self.entry > self.exit
    }

    fn completed(&self) -> i64 {
        self.invocations.wrapping_sub(i64::from(self.is_running()))
    }
}

/// Pauses that ended since the look before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Completed {
    /// How many. 0 where `time` came late, for a pause that was counted before.
    pub(super) count: u64,
    /// Their summed length, in ticks, never negative.
    pub(super) time: i64,
    /// Length of the last of them where it is known, in ticks, 0 to `time`.
    pub(super) last: Option<i64>,
}

impl Completed {
    /// The pauses whose lengths are known as a sum only: how many, and that sum. A single one is exact.
    pub(super) fn others(&self) -> (u64, i64) {
        let last = u64::from(self.last.is_some());
        (self.count.saturating_sub(last), self.time.saturating_sub(self.last.unwrap_or(0)))
    }

    /// The longest of them, in ticks, as far as known: of several others their mean.
    pub(super) fn longest(&self) -> i64 {
        let (count, time) = self.others();
        let mean = i64::try_from(count).ok().and_then(|count| time.checked_div(count)).unwrap_or(0);
        mean.max(self.last.unwrap_or(0))
    }

    /// How many lengths are means rather than measured.
    pub(super) fn interpolated(&self) -> u64 {
        match self.others().0 {
            0 | 1 => 0,
            several => several,
        }
    }
}

/// Reads until two looks in a row agree; `None` after three that do not. A contradiction between two stores lasts
/// nanoseconds, so that two equal looks show one only when the writer was interrupted there.
pub(super) fn steady(first: Look, mut again: impl FnMut() -> Option<Look>) -> Option<Look> {
    let mut known = first;
    for _ in 0..2 {
        let next = again()?;
        if next == known {
            return Some(known);
        }
        known = next;
    }
    None
}

/// Looks in a row that may contradict what was known before they are believed: 1 s at the usual 10 ms. An interrupted
/// writer goes on sooner; what lasts longer is how this JVM counts.
const PATIENCE: u32 = 100;

/// What was last believed of one collector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    invocations: i64,
    completed: i64,
    time: i64,
    running_since: Option<i64>,
    doubts: u32,
}

impl Pauses {
    /// Starts counting behind `first`; a pause that runs then is counted when it ends.
    pub(super) fn new(first: Look) -> Self {
        Self {
            invocations: first.invocations,
            completed: first.completed(),
            time: first.time,
            running_since: first.is_running().then_some(first.entry),
            doubts: 0,
        }
    }

    /// When the running pause began, in ticks.
    pub(super) fn running_since(&self) -> Option<i64> {
        self.running_since
    }

    /// Whether `look` says something new, and so wants to be read again ([`steady`]).
    pub(super) fn is_news(&self, look: &Look) -> bool {
        look.invocations != self.invocations || look.time != self.time
    }

    /// Notes whether a pause runs.
    pub(super) fn note(&mut self, look: &Look) {
        self.running_since = look.is_running().then_some(look.entry);
    }

    /// Takes a steady look in. `None`: nothing completed, or the words contradict each other and the next look tells.
    ///
    /// Over any time the counts and times returned add up to the change of PerfData's own counters.
    pub(super) fn take(&mut self, look: Look) -> Option<Completed> {
        let count = look.completed().wrapping_sub(self.completed);
        let time = look.time.wrapping_sub(self.time);
        if look.invocations < self.invocations || time < 0 {
            // Neither ever falls within one life of a JVM.
            *self = Self::new(look);
            return None;
        }
        self.note(&look);
        if count <= 0 && time == 0 {
            self.doubts = 0;
            return None;
        }
        let last = look.exit.saturating_sub(look.entry);
        // Counted and not yet timed, or timed and not yet counted, or timed without the pause that ended last.
        let contradiction = count < 1 || time == 0 || (!look.is_running() && time < last);
        if contradiction && self.doubts < PATIENCE {
            self.doubts = self.doubts.saturating_add(1);
            return None;
        }
        self.doubts = 0;
        self.time = look.time;
        let count = u64::try_from(count).unwrap_or(0);
        if count > 0 {
            self.completed = look.completed();
            self.invocations = look.invocations;
        }
        let last = match count {
            0 => None,
            1 => Some(time),
            _ if look.is_running() => None,
            _ => Some(last.clamp(0, time)),
        };
        Some(Completed { count, time, last })
    }
}
