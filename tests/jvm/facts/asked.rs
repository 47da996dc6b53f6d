//! What is asked over the attach socket.

use super::{Case, Source, every_pair, flags, memory, threads};
use crate::support::jdk::{Collector, Jdk};

every_pair! { check;
    jdk8_serial: 8 Serial, jdk8_g1: 8 G1,
    jdk11_serial: 11 Serial, jdk11_g1: 11 G1, jdk11_z: 11 Z,
    jdk17_parallel: 17 Parallel, jdk17_g1: 17 G1, jdk17_z: 17 Z,
    jdk21_g1: 21 G1, jdk21_generational_z: 21 GenerationalZ,
    jdk25_serial: 25 Serial, jdk25_parallel: 25 Parallel, jdk25_g1: 25 G1, jdk25_z: 25 Z,
    jdk25_shenandoah: 25 Shenandoah,
    jdk26_serial: 26 Serial, jdk26_z: 26 Z,
    jdk27_serial: 27 Serial, jdk27_parallel: 27 Parallel, jdk27_g1: 27 G1, jdk27_z: 27 Z,
}

fn check(jdk: &Jdk, collector: Collector) {
    let options = ["-XX:NativeMemoryTracking=summary"];
    let mut case = Case::start(jdk, collector, Source::Diagnostics, &options);
    case.facts.beans();
    case.facts.beans();
    let truth = flags::Truth::ask(&mut case.facts);
    case.wait_for_source(&["jvm_hotspot_diagnostics_last_success_timestamp_seconds"]);
    case.settle("still", &["gc", "allocate 10"], |bracket, case| {
        memory::still(bracket, case);
        threads::still(bracket, case);
        flags::still(bracket, case, &truth);
        flags::code(bracket, case);
        if case.source == Source::Diagnostics {
            memory::direct(bracket, &case.jdk);
        }
    });
    case.load();
    case.finish();
}
