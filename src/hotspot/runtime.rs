//! Start, threads, classes, compiler and VM thread: what does not depend on the collector.

use super::counters::Counters;
use crate::fact::Fact;
use crate::fact::{Formula, Scale};

/// `target.start_time`, `thread.*`, `class.*`, `jit.*` and `vm.*`
pub(super) fn facts(counters: &Counters<'_>, into: &mut Vec<Fact>) {
    into.extend(Fact::of("target.start_time", vec![], start_time(counters)));

    let daemon = |daemon: &str| vec![("daemon", daemon.into())];
    let facts = [
        ("thread.count", daemon("true"), counters.word("java.threads.daemon")),
        ("thread.count", daemon("false"), counters.sum(&["java.threads.live"], &["java.threads.daemon"])),
        ("thread.live", vec![], counters.word("java.threads.live")),
        ("thread.daemon", vec![], counters.word("java.threads.daemon")),
        ("thread.peak", vec![], counters.word("java.threads.livePeak")),
        ("thread.started", vec![], counters.word("java.threads.started")),
    ];
    into.extend(facts.into_iter().filter_map(|(source, labels, formula)| Fact::of(source, labels, formula)));

    classes(counters, into);

    let kind = |kind: &str| vec![("kind", kind.into())];
    let facts = [
        ("jit.time", vec![], counters.seconds("java.ci.totalTime")),
        ("jit.compilations", kind("standard"), counters.word("sun.ci.standardCompiles")),
        ("jit.compilations", kind("osr"), counters.word("sun.ci.osrCompiles")),
        ("jit.bailouts", vec![], counters.word("sun.ci.totalBailouts")),
        ("jit.invalidations", vec![], counters.word("sun.ci.totalInvalidates")),
        ("vm.operation_time", vec![], counters.seconds("sun.threads.vmOperationTime")),
        ("vm.cpu_time", vec![], counters.seconds("sun.threads.cpu_time.vm")),
    ];
    into.extend(facts.into_iter().filter_map(|(source, labels, formula)| Fact::of(source, labels, formula)));
}

/// Epoch milliseconds. `createVmBeginTime` is 0 until the JVM is up, and native images do not have it;
/// `vmInitDoneTime` is early and a fraction of a second later than the start.
fn start_time(counters: &Counters<'_>) -> Option<Formula> {
    let words = ["sun.rt.createVmBeginTime", "sun.rt.vmInitDoneTime"];
    let words: Box<[u32]> = words.iter().filter_map(|name| counters.offset(name)).collect();
    (!words.is_empty()).then_some(Formula::FirstNonZero(words, Scale::Ratio(1.0, 1000.0)))
}

/// Classes out of the CDS archive are counted apart, and are most of them since JDK 12. A native image has no such
/// counts but one constant.
fn classes(counters: &Counters<'_>, into: &mut Vec<Fact>) {
    const LOADED: [&str; 2] = ["java.cls.loadedClasses", "java.cls.sharedLoadedClasses"];
    const UNLOADED: [&str; 2] = ["java.cls.unloadedClasses", "java.cls.sharedUnloadedClasses"];
    let facts = [
        ("class.loaded", counters.sum(&LOADED, &[])),
        ("class.unloaded", counters.sum(&UNLOADED, &[])),
        ("class.count", counters.sum(&LOADED, &UNLOADED)),
        ("class.loaded_bytes", counters.sum(&["sun.cls.loadedBytes", "sun.cls.sharedLoadedBytes"], &[])),
        ("class.unloaded_bytes", counters.sum(&["sun.cls.unloadedBytes", "sun.cls.sharedUnloadedBytes"], &[])),
        ("class.load_time", counters.seconds("sun.cls.time")),
    ];
    into.extend(facts.into_iter().filter_map(|(source, formula)| Fact::of(source, vec![], formula)));
}
