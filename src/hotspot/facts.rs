//! The model as facts: names, labels and formulas, as rules take them.

use super::collector::PauseCounters;
use super::model::Model;
use super::pool::{Pool, Usage};
use crate::fact::{Fact, Formula, Scale, Term};
use crate::metric::Value;

/// Facts that are made one after the other; those without a formula are left out.
struct Facts(Vec<Fact>);

impl Facts {
    fn add(&mut self, name: &'static str, labels: &[(&'static str, &str)], formula: Option<Formula>) {
        let labels = labels.iter().map(|(label, value)| (*label, Box::from(*value))).collect();
        self.0.extend(Fact::of(name, labels, formula));
    }
}

/// Every fact that the counters tell.
pub(super) fn facts(model: &Model) -> Vec<Fact> {
    let mut facts = Facts(Vec::new());
    runtime(model, &mut facts);
    heap(model, &mut facts);
    collectors(model, &mut facts);
    safepoints(model, &mut facts);
    facts.0
}

fn word(offset: Option<u32>) -> Option<Formula> {
    Some(Formula::Word(offset?, Scale::One))
}

/// Words added, then words subtracted.
fn difference(plus: &[u32], minus: &[u32]) -> Formula {
    if let ([word], []) = (plus, minus) {
        return Formula::Word(*word, Scale::One);
    }
    let signed =
        |words: &[u32], negative| -> Vec<Term> { words.iter().map(|word| Term { word: *word, negative }).collect() };
    Formula::Sum([signed(plus, false), signed(minus, true)].concat().into(), Scale::One)
}

fn runtime(model: &Model, facts: &mut Facts) {
    let (threads, classes, compiler) = (&model.threads, &model.classes, &model.compiler);
    facts.add("target.start_time", &[], model.start_time.clone());
    let user = threads.live.zip(threads.daemon).map(|(live, daemon)| difference(&[live], &[daemon]));
    facts.add("thread.count", &[("daemon", "true")], word(threads.daemon));
    facts.add("thread.count", &[("daemon", "false")], user);
    facts.add("thread.live", &[], word(threads.live));
    facts.add("thread.daemon", &[], word(threads.daemon));
    facts.add("thread.peak", &[], word(threads.peak));
    facts.add("thread.started", &[], word(threads.started));

    let sum = |pair: Option<[u32; 2]>| Some(difference(&pair?, &[]));
    let count = classes.loaded.zip(classes.unloaded).map(|(loaded, unloaded)| difference(&loaded, &unloaded));
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

fn heap(model: &Model, facts: &mut Facts) {
    let area = &[("area", "heap")];
    facts.add("area.used", area, model.heap.used());
    facts.add("area.committed", area, model.heap.committed());
    facts.add("area.limit", area, model.heap.limit.clone());
    facts.add("area.init", area, model.heap.init.clone());
    model.heap.pools.iter().for_each(|one| pool(one, "heap", facts));
    model.metaspace.iter().for_each(|one| pool(one, "non_heap", facts));
    facts.add("metaspace.reserved", &[], model.metaspace_reserved.clone());
}

fn pool(pool: &Pool, kind: &str, facts: &mut Facts) {
    let labels = &[("pool", pool.name), ("type", kind)];
    if pool.used.is_some() {
        let labels = &[("pool", pool.name), ("mode", pool.freshness.as_str())];
        facts.add("pool.freshness", labels, Some(Formula::Constant(Value::Int(1))));
    }
    facts.add("pool.used", labels, pool.used.as_ref().map(Usage::formula));
    facts.add("pool.committed", labels, pool.committed.clone());
    facts.add("pool.limit", labels, pool.limit.clone());
    facts.add("pool.init", labels, pool.init.clone());
}

fn collectors(model: &Model, facts: &mut Facts) {
    let mut beans: Vec<&PauseCounters> = Vec::new();
    for one in &model.pauses {
        if !beans.iter().any(|other| other.gc == one.gc) {
            beans.push(one);
        }
    }
    for bean in beans {
        let same = || model.pauses.iter().filter(|one| one.gc == bean.gc);
        let count = same().map(|one| one.invocations).collect::<Option<Vec<_>>>();
        let count = count.map(|words| difference(&words, &[]));
        let ticks = same().map(|one| one.time).collect::<Option<Vec<_>>>();
        let time = ticks.zip(model.frequency).map(|(words, frequency)| seconds(&words, frequency));
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

/// Ticks added up, as seconds.
fn seconds(words: &[u32], frequency: f64) -> Formula {
    let scale = Scale::Ratio(1.0, frequency);
    match words {
        [word] => Formula::Word(*word, scale),
        words => Formula::Sum(words.iter().map(|word| Term { word: *word, negative: false }).collect(), scale),
    }
}

fn safepoints(model: &Model, facts: &mut Facts) {
    let safepoints = &model.safepoints;
    facts.add("safepoint.count", &[], word(safepoints.count));
    facts.add("safepoint.sync_time", &[], safepoints.sync_time.clone());
    facts.add("safepoint.time", &[], safepoints.time.clone());
    facts.add("safepoint.stopped_time", &[], safepoints.stopped_time.clone());
    facts.add("safepoint.application_time", &[], safepoints.application_time.clone());
}
