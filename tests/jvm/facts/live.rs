//! What is read from the JVM's memory.

use super::{Case, Source, every_pair, flags, memory, threads};
use crate::support::jdk::{Collector, Jdk};

every_pair! { check;
    jdk8_serial: 8 Serial, jdk8_parallel: 8 Parallel, jdk8_cms: 8 ConcMarkSweep, jdk8_g1: 8 G1,
    jdk11_serial: 11 Serial, jdk11_parallel: 11 Parallel, jdk11_cms: 11 ConcMarkSweep, jdk11_g1: 11 G1, jdk11_z: 11 Z,
    jdk11_shenandoah: 11 Shenandoah, jdk11_epsilon: 11 Epsilon,
    jdk17_serial: 17 Serial, jdk17_parallel: 17 Parallel, jdk17_g1: 17 G1, jdk17_z: 17 Z,
    jdk17_shenandoah: 17 Shenandoah, jdk17_epsilon: 17 Epsilon,
    jdk21_serial: 21 Serial, jdk21_parallel: 21 Parallel, jdk21_g1: 21 G1, jdk21_z: 21 Z,
    jdk21_generational_z: 21 GenerationalZ, jdk21_shenandoah: 21 Shenandoah, jdk21_epsilon: 21 Epsilon,
    jdk25_serial: 25 Serial, jdk25_parallel: 25 Parallel, jdk25_g1: 25 G1, jdk25_z: 25 Z,
    jdk25_shenandoah: 25 Shenandoah, jdk25_epsilon: 25 Epsilon,
    jdk26_serial: 26 Serial, jdk26_parallel: 26 Parallel, jdk26_g1: 26 G1, jdk26_z: 26 Z,
    jdk26_shenandoah: 26 Shenandoah, jdk26_epsilon: 26 Epsilon,
    jdk27_serial: 27 Serial, jdk27_parallel: 27 Parallel, jdk27_g1: 27 G1, jdk27_z: 27 Z,
    jdk27_shenandoah: 27 Shenandoah, jdk27_epsilon: 27 Epsilon,
}

fn check(jdk: &Jdk, collector: Collector) {
    let mut case = Case::start(jdk, collector, Source::Introspection, &[]);
    // Twice: the first answer loads classes.
    case.facts.beans();
    case.facts.beans();
    let truth = flags::Truth::ask(&mut case.facts);
    case.wait_for_source(&["jvm_hotspot_thread_states", "jvm_hotspot_allocated_source_info", "jvm_hotspot_flag"]);
    // What lies in eden then is nowhere in the counters of JDK 25.
    let still = case.settle("still", &["gc", "allocate 10"], |bracket, case| {
        memory::still(bracket, case);
        threads::still(bracket, case);
        threads::no_virtual_threads(bracket, case);
        flags::still(bracket, case, &truth);
        if case.source == Source::Introspection {
            memory::humongous(bracket, case);
            memory::buffers(bracket, case);
            flags::loaders(bracket, case);
            flags::code(bracket, case);
        }
    });
    if let Some(still) = still.filter(|_| case.source == Source::Introspection) {
        memory::allocation(&mut case, &still);
    }
    case.load();
    // The states come from objects, or under ZGC from elsewhere.
    if matches!(
        (collector, jdk.feature),
        (Collector::G1 | Collector::GenerationalZ, _) | (Collector::Z, 11 | 17 | 25 | 27)
    ) {
        threads::churn(&mut case);
    }
    if jdk.feature >= 21 {
        threads::virtual_threads(&mut case);
    }
    case.finish();
}
