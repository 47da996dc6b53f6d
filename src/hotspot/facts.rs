//! The facts of a [`Model`]: names, labels and formulas, as rules take them.

use super::collector::PauseCounters;
use super::model::Model;
use super::pool::{Pool, UsedBytes};
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

/// Every fact that follows from the region.
pub(super) fn facts(model: &Model) -> Vec<Fact> {
    let mut facts = FactList(Vec::new());
    runtime(model, &mut facts);
    heap(model, &mut facts);
    collectors(model, &mut facts);
    safepoints(model, &mut facts);
    facts.0
}

fn word(offset: Option<u32>) -> Option<Formula> {
    Some(Formula::Word(offset?, Scale::One))
}

fn runtime(model: &Model, facts: &mut FactList) {
    let (threads, classes, compiler) = (&model.threads, &model.classes, &model.compiler);
    facts.add("target.start_time", &[], model.start_time.clone());
    let user = threads.live.zip(threads.daemon).map(|(live, daemon)| Formula::sum(&[live], &[daemon], Scale::One));
    facts.add("thread.count", &[("daemon", "true")], word(threads.daemon));
    facts.add("thread.count", &[("daemon", "false")], user);
    facts.add("thread.live", &[], word(threads.live));
    facts.add("thread.daemon", &[], word(threads.daemon));
    facts.add("thread.peak", &[], word(threads.peak));
    facts.add("thread.started", &[], word(threads.started));

    let sum = |pair: Option<[u32; 2]>| Some(Formula::sum(&pair?, &[], Scale::One));
    let count = classes.loaded.zip(classes.unloaded);
    let count = count.map(|(loaded, unloaded)| Formula::sum(&loaded, &unloaded, Scale::One));
    facts.add("class.loaded", &[], sum(classes.loaded));
    facts.add("class.unloaded", &[], sum(classes.unloaded));
    facts.add("class.count", &[], count);
    facts.add("class.loaded_bytes", &[], sum(classes.loaded_bytes));
    facts.add("class.unloaded_bytes", &[], sum(classes.unloaded_bytes));
    facts.add("class.load_time", &[], classes.load_time.clone());

    facts.add("jit.time", &[], compiler.time.clone());
    facts.add("jit.compilations", &[("kind", "standard")], word(compiler.standard));
    facts.add("jit.compilations", &[("kind", "osr")], word(compiler.osr));
    facts.add("jit.bailouts", &[], word(compiler.bailouts));
    facts.add("jit.invalidations", &[], word(compiler.invalidations));
    facts.add("vm.operation_time", &[], model.vm_operation_time.clone());
    facts.add("vm.cpu_time", &[], model.vm_cpu_time.clone());
}

fn heap(model: &Model, facts: &mut FactList) {
    let area = &[("area", "heap")];
    facts.add("area.used", area, model.heap.used());
    facts.add("area.committed", area, model.heap.committed());
    facts.add("area.limit", area, model.heap.limit.clone());
    facts.add("area.init", area, model.heap.init.clone());
    for pool in &model.heap.pools {
        add_pool(pool, "heap", facts);
    }
    for pool in &model.metaspace {
        add_pool(pool, "non_heap", facts);
    }
    facts.add("metaspace.reserved", &[], model.metaspace_reserved.clone());
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

fn collectors(model: &Model, facts: &mut FactList) {
    // One GarbageCollectorMXBean may count the pauses of several collectors of PerfData.
    let mut beans: Vec<&PauseCounters> = Vec::new();
    for pauses in &model.pauses {
        if !beans.iter().any(|bean| bean.gc == pauses.gc) {
            beans.push(pauses);
        }
    }
    for bean in beans {
        let of_bean = || model.pauses.iter().filter(|pauses| pauses.gc == bean.gc);
        let invocations = of_bean().map(|pauses| pauses.invocations).collect::<Option<Vec<_>>>();
        let count = invocations.map(|words| Formula::sum(&words, &[], Scale::One));
        let ticks = of_bean().map(|pauses| pauses.time).collect::<Option<Vec<_>>>();
        let time = ticks
            .zip(model.frequency)
            .map(|(words, frequency)| Formula::sum(&words, &[], Scale::Ratio(1.0, frequency)));
        if let (Some(count), Some(time)) = (&count, &time) {
            let formula = Formula::Summary(Box::new((count.clone(), time.clone())));
            facts.add("gc.total", &[("gc", bean.gc)], Some(formula));
        }
        let labels = &[("gc", bean.gc), ("action", bean.action)];
        facts.add("gc.count", labels, count);
        facts.add("gc.time", labels, time);
    }
    for (thread, time) in &model.gc_cpu_time {
        facts.add("gc.cpu_time", &[("thread", thread)], Some(time.clone()));
    }
}

fn safepoints(model: &Model, facts: &mut FactList) {
    let safepoints = &model.safepoints;
    facts.add("safepoint.count", &[], word(safepoints.count));
    facts.add("safepoint.sync_time", &[], safepoints.sync_time.clone());
    facts.add("safepoint.time", &[], safepoints.time.clone());
    facts.add("safepoint.stopped_time", &[], safepoints.stopped_time.clone());
    facts.add("safepoint.application_time", &[], safepoints.application_time.clone());
}
