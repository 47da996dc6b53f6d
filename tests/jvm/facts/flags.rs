//! Flags, class loaders and the code cache, against diagnostic commands that are asked once.

use std::collections::BTreeMap;

use regex::Regex;

use super::{Case, Source};
use crate::support::facts::{Bracket, Facts, Flags};
use crate::support::jdk::Collector;

/// All that an exporter may tell: numbers and switches, no text.
const TOLD: &[&str] = &[
    "MaxHeapSize",
    "InitialHeapSize",
    "MinHeapSize",
    "SoftMaxHeapSize",
    "MaxMetaspaceSize",
    "CompressedClassSpaceSize",
    "MaxDirectMemorySize",
    "ReservedCodeCacheSize",
    "UseCompressedOops",
    "UseCompactObjectHeaders",
    "ActiveProcessorCount",
    "ParallelGCThreads",
    "ConcGCThreads",
    "MaxRAMPercentage",
    "AlwaysPreTouch",
    "UseLargePages",
    "UseTransparentHugePages",
    "UseStringDeduplication",
    "MaxGCPauseMillis",
    "G1HeapRegionSize",
    "HeapDumpOnOutOfMemoryError",
    "ExitOnOutOfMemoryError",
    "CrashOnOutOfMemoryError",
    "DisableAttachMechanism",
    "UseSerialGC",
    "UseParallelGC",
    "UseConcMarkSweepGC",
    "UseG1GC",
    "UseZGC",
    "UseShenandoahGC",
    "UseEpsilonGC",
    "ZGenerational",
];

/// What diagnostic commands say of a JVM that stands still.
pub(super) struct Truth {
    /// Value, and origin in words, where the JDK prints it.
    flags: BTreeMap<String, (String, Option<String>)>,
    options: Flags,
}

impl Truth {
    pub(super) fn ask(facts: &mut Facts) -> Self {
        Self { options: facts.flags(TOLD), flags: flags(&facts.diagnose("VM.flags -all")) }
    }
}

/// The last number that a reply has in such a place. From JDK 27 on there are lines of heaps before that of their sum.
fn number(reply: &str, pattern: &str) -> f64 {
    let found = Regex::new(pattern).unwrap().captures_iter(reply).last();
    found.unwrap_or_else(|| panic!("{pattern} in {reply}"))[1].parse().unwrap()
}

/// Reads lines such as `size_t MaxHeapSize = 100663296 {product} {command line}`. JDK 8 writes `:=` for what is not the
/// default, and no origin.
fn flags(reply: &str) -> BTreeMap<String, (String, Option<String>)> {
    let line = Regex::new(r"(?m)^\s*\w+ (\w+)\s+:?= ?(\S*)\s+\{[^}]*\}(?: \{([^}]*)\})?").unwrap();
    let flags: BTreeMap<_, _> = line
        .captures_iter(reply)
        .map(|found| {
            (found[1].to_owned(), (found[2].to_owned(), found.get(3).map(|origin| origin.as_str().to_owned())))
        })
        .collect();
    assert!(flags.len() > 500, "{} flags in {reply}", flags.len());
    flags
}

/// Every flag that is told has the value and the origin that the JVM tells, and the important ones are told.
pub(super) fn still(bracket: &mut Bracket, case: &Case, truth: &Truth) {
    if case.source == Source::Region {
        return;
    }
    let mut problems = Vec::new();
    let mut told = Vec::new();
    for sample in bracket.page.all("jvm_hotspot_flag", &[]) {
        let flag = &sample.labels["flag"];
        told.push(flag.as_str());
        let Some((value, printed)) = truth.flags.get(flag).filter(|_| TOLD.contains(&flag.as_str())) else {
            problems.push(format!("{flag} should not be told"));
            continue;
        };
        if amount(value) != Some(sample.value) {
            problems.push(format!("{flag}: {}, not {value}", sample.value));
        }
        // VM.flags without -all has no origins.
        let origin = sample.labels.get("origin").map_or("", String::as_str);
        if origin.is_empty() && case.source == Source::Diagnostics {
            continue;
        }
        let expected = printed.clone().unwrap_or_else(|| word(&truth.options[flag].1).to_owned());
        if normal(origin) != normal(&expected) {
            problems.push(format!("origin of {flag}: {origin}, not {expected}"));
        }
    }
    let chosen = match case.collector {
        Collector::GenerationalZ => "UseZGC".to_owned(),
        other => format!("Use{other:?}GC"),
    };
    // VM.flags, which is asked where memory is closed, prints only what is not the default.
    for flag in ["MaxHeapSize", "InitialHeapSize", chosen.as_str()] {
        if !told.contains(&flag) {
            problems.push(format!("{flag} is not told"));
        }
    }
    if case.source == Source::Introspection {
        let missing = TOLD.iter().filter(|flag| truth.flags.contains_key(**flag) && !told.contains(flag));
        problems.extend(missing.filter(|flag| **flag != "ZGenerational").map(|flag| format!("{flag} is not told")));
    }
    bracket.differences.extend(problems);
}

/// A number, or 0 or 1 for a switch.
fn amount(value: &str) -> Option<f64> {
    match value {
        "true" => Some(1.0),
        "false" => Some(0.0),
        number => number.parse().ok(),
    }
}

/// An origin as `VM.flags` would write it.
fn word(origin: &str) -> &'static str {
    match origin {
        "DEFAULT" => "default",
        "VM_CREATION" => "command line",
        "ENVIRON_VAR" => "environment",
        "CONFIG_FILE" => "config file",
        "MANAGEMENT" => "management",
        "ERGONOMIC" => "ergonomic",
        "ATTACH_ON_DEMAND" => "attach",
        _ => "internal",
    }
}

/// The label's spelling is the exporter's own.
fn normal(origin: &str) -> String {
    let origin = origin.split(',').next().unwrap_or(origin).to_lowercase().replace(['_', '-'], " ");
    if origin == "config file" { "file".to_owned() } else { origin }
}

/// Class loaders as the command counts them, which on JDK 8 counts those of anonymous classes, too.
pub(super) fn loaders(bracket: &mut Bracket, case: &Case) {
    let name = "jvm_hotspot_class_loaders";
    if case.jdk.feature < 11 {
        return bracket.absent(name, &[]);
    }
    let loaders = number(&case.facts.diagnose("VM.classloader_stats"), r"Total = (\d+)");
    bracket.equal(name, &[], loaders);
}

/// Compiled methods: compilers may go on between the two looks. JDK 8 counts none.
pub(super) fn code(bracket: &mut Bracket, case: &Case) {
    if case.source == Source::Region || case.jdk.feature < 11 {
        return;
    }
    let now = number(&case.facts.diagnose("Compiler.codecache"), r"nmethods=(\d+)");
    bracket.between("jvm_hotspot_code_cache_nmethods", &[], 0.9 * now - 20.0, 1.1 * now + 20.0);
    bracket.equal("jvm_hotspot_code_cache_full_total", &[], 0.0);
    if case.source == Source::Diagnostics || bracket.page.value("jvm_hotspot_jit_enabled", &[]).is_some() {
        bracket.equal("jvm_hotspot_jit_enabled", &[], 1.0);
    }
}
