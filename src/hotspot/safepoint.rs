//! Safepoints, with one meaning over all JDKs.

use super::Jvm;
use super::counters::Counters;
use crate::fact::Formula;

/// First release whose `sun.rt.safepointTime` begins when all threads have stopped, as measured on 17 and later. On 8
/// and 11 it begins with the request to stop and includes `safepointSyncTime`. Between them lies JDK-8219436 of early
/// 2019, the time of JDK 13: it brought `SafepointTracing`, whose `end()` records the time since all had stopped.
const EXCLUDES_SYNC: u32 = 13;

/// Safepoints and the time around them; durations in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Safepoints {
    /// Offset of `sun.rt.safepoints`, their number.
    pub count: Option<u32>,
    /// Offset of `sun.rt.safepointTime`, in ticks.
    pub ticks: Option<u32>,
    /// From the request until all threads stopped.
    pub sync_time: Option<Formula>,
    /// While all threads were stopped.
    pub time: Option<Formula>,
    /// Both together.
    pub stopped_time: Option<Formula>,
    /// Between safepoints; grows at the next one only.
    pub application_time: Option<Formula>,
}

impl Safepoints {
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
