//! Safepoints, with the same meaning for all JDKs.

use super::Jvm;
use super::counters::Counters;
use crate::fact::Formula;

/// First release whose `sun.rt.safepointTime` excludes `safepointSyncTime`: it begins when all threads have stopped
/// (measured on JDK 17 and later), on JDK 8 and 11 with the request to stop. The change is JDK-8219436 of early 2019,
/// the time of JDK 13, whose `SafepointTracing::end()` records the time since all threads stopped.
const EXCLUDES_SYNC: u32 = 13;

/// The counters of safepoints: offsets, and formulas of seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SafepointCounters {
    /// Offset of `sun.rt.safepoints`, their number.
    pub(crate) count: Option<u32>,
    /// Offset of `sun.rt.safepointTime`, in ticks.
    pub(crate) ticks: Option<u32>,
    /// Time to safepoint: from the request until all threads have stopped.
    pub(crate) sync_time: Option<Formula>,
    /// Time at safepoints, while all threads are stopped.
    pub(crate) time: Option<Formula>,
    /// Time to safepoint and time at safepoints.
    pub(crate) stopped_time: Option<Formula>,
    /// Time between safepoints; grows only at the next safepoint.
    pub(crate) application_time: Option<Formula>,
}

impl SafepointCounters {
    pub(super) fn of(jvm: &Jvm, counters: &Counters<'_>) -> Self {
        const TIME: &str = "sun.rt.safepointTime";
        const SYNC: &str = "sun.rt.safepointSyncTime";
        let (time, stopped_time) = match jvm.feature {
            Some(feature) if feature < EXCLUDES_SYNC => (counters.seconds_of(&[TIME], &[SYNC]), counters.seconds(TIME)),
            Some(_) => (counters.seconds(TIME), counters.seconds_of(&[TIME, SYNC], &[])),
            None => (None, None),
        };
        Self {
            count: counters.offset("sun.rt.safepoints"),
            ticks: counters.offset(TIME),
            sync_time: counters.seconds(SYNC),
            time,
            stopped_time,
            application_time: counters.seconds("sun.rt.applicationTime"),
        }
    }
}
