//! Checks of memory outside the heap: native memory and the container's limit, classes, compiled code.

use super::check::{
    CODE_CACHE_FULL, COMPILER_OFF, Check, METASPACE_NEAR_LIMIT, NMT_GROWTH_OUTSIDE_HEAP, NMT_NEAR_CONTAINER_LIMIT,
    NMT_OFF, OUT_OF_MEMORY_KILL, Threshold, WARMED_UP,
};
use super::{Checkup, TREND, ask_explain, percent, pid, size, span, spans};
use crate::report::overview::{JvmOverview, Measure, Severity};

/// Why native memory is not known.
fn untracked(jvm: &JvmOverview) -> String {
    match jvm.values.nmt_enabled {
        Some(false) => "Native Memory Tracking is off".to_owned(),
        Some(true) => ask_explain(jvm, "the JVM tracks its native memory but has not told it"),
        None => ask_explain(jvm, "native memory is not known"),
    }
}

/// `OutOfMemoryKill`: the kernel killed a process of its cgroup.
pub(super) fn out_of_memory(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &Check = &OUT_OF_MEMORY_KILL;
    let Some(recent) = spans(jvm, CHECK).find(|recent| recent.oom_kills.is_some()) else {
        return checkup.cannot(CHECK, || "its cgroup is not visible");
    };
    let kills = recent.oom_kills.unwrap_or_default();
    if kills > 0.0 {
        checkup.found(CHECK.finding(
            format!(
                "The kernel killed {kills:.0} processes of its cgroup for lack of memory over the last {}.",
                span(recent.seconds)
            ),
            "Look for which in the kernel's log (`dmesg`, `journalctl -k`): the JVM still runs. Raise the memory limit, or \
             move the other processes out of the container.",
        ));
    }
}

/// `NmtNearContainerLimit`: what it has committed nearly fills its container.
pub(super) fn container_limit(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &Check = &NMT_NEAR_CONTAINER_LIMIT;
    let Some(committed) = jvm.values.last.get(&Measure::NativeCommitted) else {
        return checkup.cannot(CHECK, || untracked(jvm));
    };
    let Some(limit) = jvm.values.cgroup_limit.filter(|limit| *limit > 0.0) else {
        return checkup.cannot(CHECK, || "its cgroup has no memory limit, or is not visible");
    };
    let share = committed / limit;
    if share > CHECK.share() {
        let charged = match jvm.values.cgroup_used {
            Some(used) => format!("{} are charged to the container now.", size(used)),
            None => "Compare with what is charged to the container.".to_owned(),
        };
        checkup.found(CHECK.finding(
            format!(
                "It has committed {} of the {} that its container may use: {} (threshold {}).",
                size(*committed),
                size(limit),
                percent(share),
                percent(CHECK.share())
            ),
            format!(
                "{charged} When all of it is touched, the kernel kills the JVM: lower -Xmx or raise the limit, so that \
                 heap, stacks, classes, code and buffers fit."
            ),
        ));
    }
}

/// `NmtGrowthOutsideHeap`: native memory grows, and not for the heap.
pub(super) fn growth(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &Check = &NMT_GROWTH_OUTSIDE_HEAP;
    let (Threshold::Bytes(threshold), Some(needed)) = (CHECK.threshold, CHECK.over) else { return };
    let Some(recent) = spans(jvm, CHECK).find(|recent| recent.native_growth.is_some()) else {
        return checkup.cannot(CHECK, || match jvm.values.last.get(&Measure::NativeCommitted) {
            Some(_) => "native memory was told only once so far".to_owned(),
            None => untracked(jvm),
        });
    };
    let (grown, known) = (recent.native_growth.unwrap_or_default(), recent.seconds);
    let text = || format!("native memory outside the heap grew by {} over the last {}", size(grown), span(known));
    if known < TREND {
        return checkup.cannot(CHECK, || format!("{}, and a trend needs {}", text(), span(TREND)));
    }
    let is_warm = jvm.row.uptime_seconds.is_some_and(|uptime| uptime - known > WARMED_UP);
    if !is_warm {
        return checkup.cannot(CHECK, || format!("{}, of which it did not run for {} before", text(), span(WARMED_UP)));
    }
    // At the rate of a short time, it would be as much over the alert's.
    if grown * (needed / known).max(1.0) <= threshold {
        return;
    }
    let mut finding = CHECK.finding(
        format!(
            "Committed memory outside the heap grew by {} over the last {} (threshold {} over {}).",
            size(grown),
            span(known),
            size(threshold),
            span(needed)
        ),
        format!(
            "`hotspot-exporter nmt {pid}`, twice some minutes apart, shows the category. For its callers: `jcmd {pid} \
             VM.native_memory baseline`, then `detail.diff`.",
            pid = pid(jvm)
        ),
    );
    if known < needed && grown <= threshold {
        finding.severity = Severity::Info;
    }
    checkup.found(finding);
}

/// `NmtOff`: nothing tells where native memory goes.
pub(super) fn tracking(jvm: &JvmOverview, checkup: &mut Checkup) {
    match jvm.values.nmt_enabled {
        Some(true) => {}
        Some(false) => checkup.found(NMT_OFF.finding(
            "Native Memory Tracking is off (jvm_nmt_enabled is 0): memory outside the heap is not checked.".to_owned(),
            "Start it with -XX:NativeMemoryTracking=summary -XX:+StartAttachListener; docs/native-memory.md has the cost.",
        )),
        None => checkup.cannot(&NMT_OFF, || ask_explain(jvm, "whether it tracks its native memory is not known")),
    }
}

/// `MetaspaceNearLimit`: there is little room for classes.
pub(super) fn metaspace(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &Check = &METASPACE_NEAR_LIMIT;
    let spaces = [
        ("Metaspace", "-XX:MaxMetaspaceSize", jvm.values.metaspace_usage),
        ("The compressed class space", "-XX:CompressedClassSpaceSize", jvm.values.class_space_usage),
    ];
    if spaces.iter().all(|(.., usage)| usage.is_none()) {
        return checkup.cannot(CHECK, || "neither Metaspace nor the class space has a limit that is known");
    }
    for (space, option, usage) in spaces {
        let Some(usage) = usage.filter(|usage| *usage > CHECK.share()) else { continue };
        checkup.found(CHECK.finding(
            format!("{space} is {} full (threshold {}).", percent(usage), percent(CHECK.share())),
            format!(
                "Do classes go on being loaded? `jcmd {} VM.classloader_stats` counts them by loader (JDK 9 and later). If the \
                 level is constant, raise {option}.",
                pid(jvm)
            ),
        ));
    }
}

/// `CodeCacheFull`: there is little room for compiled code.
pub(super) fn code(jvm: &JvmOverview, checkup: &mut Checkup) {
    const CHECK: &Check = &CODE_CACHE_FULL;
    let (what, usage) = match (jvm.values.code_usage, jvm.values.native_code_usage) {
        (Some(usage), _) => ("The fullest code heap is", usage),
        (None, Some(usage)) => ("The code cache has committed", usage),
        (None, None) => return checkup.cannot(CHECK, || ask_explain(jvm, "code heaps are not known")),
    };
    if usage > CHECK.share() {
        let (share, threshold) = (percent(usage), percent(CHECK.share()));
        let end = if jvm.values.code_usage.is_some() { " full" } else { " of its reserved size" };
        checkup.found(CHECK.finding(
            format!("{what} {share}{end} (threshold {threshold})."),
            "When it is full, the JVM stops compiling: raise -XX:ReservedCodeCacheSize and restart it.",
        ));
    }
}

/// `CompilerOff`: it interprets.
pub(super) fn compiler(jvm: &JvmOverview, checkup: &mut Checkup) {
    match jvm.values.jit_enabled {
        Some(true) => {}
        Some(false) => checkup.found(COMPILER_OFF.finding(
            "The compiler is off (jvm_hotspot_jit_enabled is 0): code that is not compiled yet runs interpreted.".to_owned(),
            format!(
                "`jcmd {} Compiler.codecache` says why (JDK 9 and later): raise -XX:ReservedCodeCacheSize, or remove -Xint.",
                pid(jvm)
            ),
        )),
        None => checkup.cannot(&COMPILER_OFF, || ask_explain(jvm, "whether the compiler works is not known")),
    }
}
