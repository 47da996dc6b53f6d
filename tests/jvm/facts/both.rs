//! What is read and what is asked, together: the JVM is not stopped for it, and each fact has its freshest source.

use std::time::Duration;

use super::{Case, Source, every_pair};
use crate::support::jdk::{Collector, Jdk};
use crate::support::{ensure, wait_at_most};

const SAFEPOINTS: &str = "jvm_hotspot_safepoints_total";
const ASKED: &str = "jvm_hotspot_diagnostics_last_success_timestamp_seconds";

every_pair! { check;
    jdk8: 8 Parallel, jdk11: 11 Serial, jdk17: 17 Shenandoah, jdk21: 21 GenerationalZ, jdk25: 25 Parallel, jdk26: 26 Z,
    jdk27: 27 Serial,
}

fn check(jdk: &Jdk, collector: Collector) {
    let options = [
        "-XX:NativeMemoryTracking=summary",
        "-XX:+UnlockDiagnosticVMOptions",
        // Else there is one each second.
        "-XX:GuaranteedSafepointInterval=0",
    ];
    let mut case = Case::start(jdk, collector, Source::Both, &options);
    case.wait_for_source(&["jvm_hotspot_thread_states", "jvm_hotspot_allocated_source_info", "jvm_hotspot_flag"]);
    case.wait_for_source(&[ASKED]);
    let result = sources(&case);
    case.note("sources", result);
    // The first looks at a class find it and its code uncompiled; from then on nothing needs a stop. The program's own
    // beans would stop it, and are not asked.
    let result = wait_at_most(Duration::from_secs(15), || safepoints(&case));
    case.note("safepoints", result);
    case.finish();
}

/// While the JVM is asked three times, it is not stopped.
fn safepoints(case: &Case) -> Result<(), String> {
    let look = || {
        let page = super::look(&case.exporter, case.facts.pid())?;
        Ok::<_, String>(page.value(SAFEPOINTS, &[]).zip(page.value(ASKED, &[])).ok_or("it is not asked")?)
    };
    let (before, asked) = look()?;
    let after = wait_at_most(Duration::from_secs(10), || {
        let (after, asked_again) = look()?;
        ensure(asked_again >= asked + 3.0, "it is not asked three times in ten seconds").map(|()| after)
    })?;
    ensure(after == before, format!("{} in the time of three answers", after - before))
}

/// Code heaps come from memory, although answers have them; metaspace is in answers only.
fn sources(case: &Case) -> Result<(), String> {
    wait_at_most(Duration::from_secs(5), || {
        let page = super::look(&case.exporter, case.facts.pid())?;
        let mode = |pool: &str| {
            let found = page.all("jvm_hotspot_memory_pool_freshness_info", &[]);
            let found = found.filter(|sample| sample.labels["jvm_memory_pool_name"].starts_with(pool));
            found.map(|sample| sample.labels["mode"].as_str()).collect::<Vec<_>>()
        };
        let (code, metaspace) = (mode("Code"), mode("Metaspace"));
        ensure(!code.is_empty() && code.iter().all(|mode| *mode == "live"), format!("code heaps are {code:?}"))?;
        ensure(metaspace == ["asked"], format!("metaspace is {metaspace:?}"))
    })
}
