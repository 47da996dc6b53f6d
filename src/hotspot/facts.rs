//! The facts of a [`Model`]: names, labels and formulas, as rules take them.

use super::collector::{Collector, PauseCounters, Role};
use super::counters::Counters;
use super::model::{AGE, LOADED, Model, SAFEPOINT_TIME, SAFEPOINTS, START_TIME, UNLOADED};
use super::pool::{Pool, UsedBytes, metaspace};
use crate::fact::{Fact, Formula, Scale};
use crate::metric::Value;

/// Collects facts; a fact without a formula is left out.
struct FactList(Vec<Fact>);

impl FactList {
    fn add(&mut self, name: &'static str, labels: &[(&'static str, &str)], formula: Option<Formula>) {
        let labels = labels.iter().map(|(label, value)| (*label, Box::from(*value))).collect();
        self.0.extend(Fact::of(name, labels, formula));
    }
}

/// Every fact that follows from the region, whose model is complete but for them.
pub(super) fn facts(model: &Model, counters: &Counters<'_>) -> Vec<Fact> {
    let mut facts = FactList(Vec::new());
    runtime(model, counters, &mut facts);
    heap(model, counters, &mut facts);
    collectors(model, counters, &mut facts);
    safepoints(model, counters, &mut facts);
    facts.0
}

/// What does not depend on the collector. HotSpot does not count virtual threads.
fn runtime(model: &Model, counters: &Counters<'_>, facts: &mut FactList) {
    let sum = |added: &[&str], subtracted: &[&str]| counters.sum(added, subtracted);
    facts.add(START_TIME, &[], model.start_time.clone());
    facts.add(AGE, &[], model.start_time.clone().map(|start| Formula::Age(Box::new(start))));
    facts.add("region.overflow", &[], model.overflow.clone());
    facts.add("thread.count", &[("daemon", "true"), ("state", "")], counters.word("java.threads.daemon"));
    facts.add(
        "thread.count",
        &[("daemon", "false"), ("state", "")],
        sum(&["java.threads.live"], &["java.threads.daemon"]),
    );
    facts.add("thread.live", &[], counters.word("java.threads.live"));
    facts.add("thread.daemon", &[], counters.word("java.threads.daemon"));
    facts.add("thread.peak", &[], counters.word("java.threads.livePeak"));
    facts.add("thread.started", &[], counters.word("java.threads.started"));

    facts.add("class.loaded", &[], sum(&LOADED, &[]));
    facts.add("class.unloaded", &[], sum(&UNLOADED, &[]));
    facts.add("class.count", &[], sum(&LOADED, &UNLOADED));
    facts.add("class.loaded_bytes", &[], sum(&["sun.cls.loadedBytes", "sun.cls.sharedLoadedBytes"], &[]));
    facts.add("class.unloaded_bytes", &[], sum(&["sun.cls.unloadedBytes", "sun.cls.sharedUnloadedBytes"], &[]));
    facts.add("class.load_time", &[], counters.seconds("sun.cls.time"));

    facts.add("jit.time", &[], counters.seconds("java.ci.totalTime"));
    facts.add("jit.compilations", &[("kind", "standard")], counters.word("sun.ci.standardCompiles"));
    facts.add("jit.compilations", &[("kind", "osr")], counters.word("sun.ci.osrCompiles"));
    facts.add("jit.bailouts", &[], counters.word("sun.ci.totalBailouts"));
    facts.add("jit.invalidations", &[], counters.word("sun.ci.totalInvalidates"));
    facts.add("vm.operation_time", &[], counters.seconds("sun.threads.vmOperationTime"));
    facts.add("vm.cpu_time", &[], counters.seconds("sun.threads.cpu_time.vm"));
}

fn heap(model: &Model, counters: &Counters<'_>, facts: &mut FactList) {
    let area = &[("area", "heap")];
    facts.add("area.used", area, model.heap.used());
    facts.add("area.committed", area, model.heap.committed());
    facts.add("area.limit", area, model.heap.limit.clone());
    facts.add("area.init", area, model.heap.init.clone());
    // G1's beans are no fresher than its counters.
    if model.heap.is_fresh() || model.jvm.collector == Some(Collector::G1) {
        facts.add("heap.used", &[], model.heap.used());
    }
    facts.add("heap.committed", &[], model.heap.committed());
    facts.add("heap.limit", &[], model.heap.limit.clone());
    facts.add("old.limit", &[], model.heap.old().and_then(|pool| pool.limit.clone()));
    for pool in &model.heap.pools {
        add_pool(pool, "heap", facts);
    }
    for pool in &metaspace(&model.jvm, counters) {
        add_pool(pool, "non_heap", facts);
    }
    facts.add("metaspace.reserved", &[], counters.nonzero("sun.gc.metaspace.maxCapacity"));
}

fn add_pool(pool: &Pool, memory_type: &str, facts: &mut FactList) {
    let labels = &[("pool", pool.name), ("type", memory_type)];
    if pool.used.is_some() {
        let labels = &[("pool", pool.name), ("mode", pool.freshness.as_str())];
        facts.add("pool.freshness", labels, Some(Formula::Constant(Value::Int(1))));
    }
    facts.add("pool.used", labels, pool.used.as_ref().map(UsedBytes::formula));
    facts.add("pool.committed", labels, pool.committed.clone());
    facts.add("pool.limit", labels, pool.limit.clone());
    facts.add("pool.init", labels, pool.init.clone());
}

fn collectors(model: &Model, counters: &Counters<'_>, facts: &mut FactList) {
    // One GarbageCollectorMXBean may count the pauses of several collectors of PerfData.
    let mut beans: Vec<&PauseCounters> = Vec::new();
    for pauses in &model.pauses {
        if !beans.iter().any(|bean| bean.gc == pauses.gc) {
            beans.push(pauses);
        }
    }
    for bean in beans {
        let of_bean = || model.pauses.iter().filter(|pauses| pauses.gc == bean.gc);
        let count = count(of_bean());
        let ticks = of_bean().map(|pauses| pauses.time).collect::<Option<Vec<_>>>();
        let scale = model.frequency.map(|frequency| Scale::Ratio(1.0, frequency));
        let time = ticks.zip(scale).map(|(words, scale)| Formula::sum(&words, &[], scale));
        if let (Some(count), Some(time)) = (&count, &time) {
            let formula = Formula::Summary(Box::new((count.clone(), time.clone())));
            facts.add("gc.total", &[("gc", bean.gc)], Some(formula));
        }
        let labels = &[("gc", bean.gc), ("action", bean.action)];
        facts.add("gc.count", labels, count);
        facts.add("gc.time", labels, time);
    }
    // String deduplication belongs to the collector although its counter's name has no `gc_`.
    for (thread, name) in [
        ("parallel_workers", "sun.threads.cpu_time.gc_parallel_workers"),
        ("conc_mark", "sun.threads.cpu_time.gc_conc_mark"),
        ("conc_refine", "sun.threads.cpu_time.gc_conc_refine"),
        ("conc_refine_control", "sun.threads.cpu_time.gc_conc_refine_control"),
        ("service", "sun.threads.cpu_time.gc_service"),
        ("conc_dedup", "sun.threads.cpu_time.conc_dedup"),
    ] {
        facts.add("gc.cpu_time", &[("thread", thread)], counters.seconds(name));
    }
}

/// Collections of the bean that counts these pauses. Where it counts both, two phases are one collection: from JDK 9 on
/// CMS counts the pauses of a concurrent cycle apart from collections that stop all threads (JDK-8153333).
fn count<'a>(of_bean: impl Iterator<Item = &'a PauseCounters> + Clone) -> Option<Formula> {
    let has_phases = of_bean.clone().any(|pauses| pauses.role == Role::Phase);
    let is_mixed = has_phases && of_bean.clone().any(|pauses| pauses.role == Role::Full);
    let times = |role| if is_mixed && role == Role::Full { 2 } else { 1 };
    let words = of_bean.flat_map(|pauses| std::iter::repeat_n(pauses.invocations, times(pauses.role)));
    let scale = if is_mixed { Scale::Quotient(2) } else { Scale::One };
    Some(Formula::sum(&words.collect::<Option<Vec<_>>>()?, &[], scale))
}

/// First release whose `sun.rt.safepointTime` excludes `safepointSyncTime`: it begins when all threads have stopped
/// (measured on JDK 17 and later), on JDK 8 and 11 with the request to stop. The change is JDK-8219436 of early 2019,
/// the time of JDK 13, whose `SafepointTracing::end()` records the time since all threads stopped.
const EXCLUDES_SYNC: u32 = 13;

fn safepoints(model: &Model, counters: &Counters<'_>, facts: &mut FactList) {
    const SYNC: &str = "sun.rt.safepointSyncTime";
    let (time, stopped_time) = match model.jvm.feature {
        Some(feature) if feature < EXCLUDES_SYNC => {
            (counters.seconds_of(&[SAFEPOINT_TIME], &[SYNC]), counters.seconds(SAFEPOINT_TIME))
        }
        Some(_) => (counters.seconds(SAFEPOINT_TIME), counters.seconds_of(&[SAFEPOINT_TIME, SYNC], &[])),
        None => (None, None),
    };
    facts.add("safepoint.count", &[], counters.word(SAFEPOINTS));
    facts.add("safepoint.sync_time", &[], counters.seconds(SYNC));
    facts.add("safepoint.time", &[], time);
    facts.add("safepoint.stopped_time", &[], stopped_time);
    facts.add("safepoint.application_time", &[], counters.seconds("sun.rt.applicationTime"));
}
