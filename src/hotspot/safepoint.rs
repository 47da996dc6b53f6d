//! Safepoints, with one meaning over all JDKs.

use super::Jvm;
use super::counters::Counters;
use crate::fact::Fact;

/// First release whose `sun.rt.safepointTime` begins when all threads have stopped, as measured on 17 and later. On 8
/// and 11 it begins with the wish to stop and includes `safepointSyncTime`. Between them lies JDK-8219436 of early
/// 2019, the time of JDK 13: it brought `SafepointTracing`, whose `end()` records the time since all had stopped.
const EXCLUDES_SYNC: u32 = 13;

/// `safepoint.*`
pub(super) fn facts(jvm: &Jvm, counters: &Counters<'_>, into: &mut Vec<Fact>) {
    const TIME: &str = "sun.rt.safepointTime";
    const SYNC: &str = "sun.rt.safepointSyncTime";
    let (time, stopped) = match jvm.feature {
        Some(feature) if feature < EXCLUDES_SYNC => (counters.seconds_of(&[TIME], &[SYNC]), counters.seconds(TIME)),
        Some(_) => (counters.seconds(TIME), counters.seconds_of(&[TIME, SYNC], &[])),
        None => (None, None),
    };
    let facts = [
        ("safepoint.count", counters.word("sun.rt.safepoints")),
        ("safepoint.sync_time", counters.seconds(SYNC)),
        ("safepoint.time", time),
        ("safepoint.stopped_time", stopped),
        ("safepoint.application_time", counters.seconds("sun.rt.applicationTime")),
    ];
    into.extend(facts.into_iter().filter_map(|(source, formula)| Fact::of(source, vec![], formula)));
}
