//! The native memory of one JVM, as a page has it and as the JDK's tool prints it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use hotspot_exporter::providers::attach::native_memory::{NmtReply, NmtSummary, parse};

use crate::native::{Config, LISTENING, exporter};
use crate::support::exporter::Exporter;
use crate::support::exposition::Exposition;
use crate::support::jdk::Jdk;
use crate::support::program;
use crate::support::{ensure, jdk, jvm::Jvm, skip, wait_for};

/// Amounts by name: what both have of a category, where it is there.
pub(crate) type Table = BTreeMap<String, BTreeMap<&'static str, f64>>;

/// Changed by the query itself: its text is in Serviceability, its reply in Internal, the headers of both in the
/// tracking itself.
const CHANGED_BY_QUERY: [&str; 3] = ["Serviceability", "Internal", "Native Memory Tracking"];

/// Every category of the one JVM of this page that has these labels.
pub(crate) fn of_page(page: &Exposition, labels: &[(&str, &str)]) -> Table {
    let mut table = Table::new();
    for (amount, name) in [
        ("reserved", "jvm_nmt_reserved_bytes"),
        ("committed", "jvm_nmt_committed_bytes"),
        ("malloc", "jvm_nmt_malloc_bytes"),
        ("arena", "jvm_nmt_arena_bytes"),
        ("mmap", "jvm_nmt_mmap_committed_bytes"),
    ] {
        for sample in page.all(name, labels) {
            table.entry(sample.labels["category"].clone()).or_default().insert(amount, sample.value);
        }
    }
    table
}

/// Checks that the categories sum to the total, as exactly as that JDK prints them.
pub(crate) fn check_sums(page: &Exposition, labels: &[(&str, &str)], jdk: &Jdk) -> Result<(), String> {
    for amount in ["reserved", "committed"] {
        let total = page.value(&format!("jvm_nmt_total_{amount}_bytes"), labels).ok_or("no total yet")?;
        let name = format!("jvm_nmt_{amount}_bytes");
        let categories: Vec<f64> = page.all(&name, labels).map(|sample| sample.value).collect();
        let off = (categories.iter().sum::<f64>() - total).abs();
        let rounding = jdk.nmt_rounding() as f64 * categories.len() as f64;
        assert!(off <= rounding, "{jdk}: {amount} {labels:?}: {categories:?}, and the total is {total}");
    }
    Ok(())
}

/// What the JDK's own tool prints; `enter` is the command that goes to where the JVM is.
pub(crate) fn of_jcmd(jdk: &Jdk, mut enter: Command, pid: u32) -> NmtSummary {
    enter.args([&jcmd(jdk).expect("jcmd").display().to_string(), "-J-XX:-UsePerfData", &pid.to_string()]);
    let output = enter.args(["VM.native_memory", "summary", jdk.nmt_scale()]).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    match parse(&text) {
        NmtReply::Summary(summary) => *summary,
        other => panic!("jcmd printed {other:?}: {text}"),
    }
}

/// The tool of that JDK, or any: their protocol is the same.
pub(crate) fn jcmd(jdk: &Jdk) -> Option<PathBuf> {
    let own = jdk.home.join("bin/jcmd");
    if own.is_file() { Some(own) } else { program("jcmd") }
}

/// Checks that every category with the same amounts before and after has them in the tool's summary too.
pub(crate) fn check_agreement(before: &Table, theirs: &NmtSummary, after: &Table) -> Result<(), String> {
    let mut agreed = 0;
    for (name, amounts) in before {
        if after.get(name) != Some(amounts) || CHANGED_BY_QUERY.contains(&name.as_str()) {
            continue;
        }
        let theirs = theirs.categories.iter().find(|category| *category.name == **name);
        let theirs = theirs.ok_or(format!("jcmd has no {name}"))?;
        for (amount, value) in amounts {
            let printed = match *amount {
                "reserved" => Some(theirs.reserved),
                "committed" => Some(theirs.committed),
                "malloc" => theirs.malloc.map(|blocks| blocks.bytes),
                "arena" => theirs.arena.map(|blocks| blocks.bytes),
                _ => theirs.mmap.map(|mapped| mapped.committed),
            };
            // What is below one byte is not printed.
            let printed = printed.unwrap_or(0) as f64;
            ensure(printed == *value, format!("{name} {amount}: {value}, and jcmd prints {printed}"))?;
        }
        agreed += 1;
    }
    ensure(agreed >= 8, format!("only {agreed} categories stood still"))
}

/// When the JVM last replied, by the page's own clock.
pub(crate) fn last_success(page: &Exposition, labels: &[(&str, &str)]) -> Option<f64> {
    page.value("jvm_nmt_last_success_timestamp_seconds", labels)
}

#[test]
fn metrics_of_every_jdk_equal_those_of_jcmd() {
    let test = "metrics_of_every_jdk_equal_those_of_jcmd";
    let (_config, exporter) = exporter();
    for jdk in &jdk::of_each_release(|_| true) {
        if jcmd(jdk).is_none() {
            return skip(test, "no jcmd");
        }
        let jvm = Jvm::start(jdk, ["-XX:+UseSerialGC"].into_iter().chain(LISTENING));
        let scrape = |after: f64| {
            wait_for(&format!("{jdk} to reply"), || {
                let (_, page) = exporter.scrape().of_pid(jvm.pid()).ok_or("the JVM is not there yet")?;
                ensure(last_success(&page, &[]).is_some_and(|time| time > after), "no reply yet")?;
                Ok::<_, String>(page)
            })
        };
        wait_for(&format!("{jdk} and jcmd to agree"), || {
            let before = scrape(0.0);
            check_sums(&before, &[], jdk)?;
            assert_eq!(before.value("jvm_nmt_enabled", &[]), Some(1.0));
            let theirs = of_jcmd(jdk, Command::new("env"), jvm.pid());
            let after = scrape(last_success(&before, &[]).unwrap());
            check_agreement(&of_page(&before, &[]), &theirs, &of_page(&after, &[]))
        });
    }
}

/// JVMs start during discovery: whether tracking is on is known of each from its first page on.
#[test]
fn tracking_of_starting_jvms_follows_from_their_arguments() {
    let (_config, exporter) = exporter();
    let jdk = jdk::any();
    for start in 0..6 {
        let on = start % 2 == 0;
        let jvm = Jvm::start(&jdk, if on { &LISTENING[..] } else { &LISTENING[1..] });
        let page = wait_for("the JVM", || exporter.scrape().of_pid(jvm.pid()).ok_or("not there")).1;
        assert_eq!(page.value("jvm_nmt_enabled", &[]), Some(f64::from(u8::from(on))), "start {start}");
        if on {
            wait_for("its table", || check_sums(&exporter.scrape().of_pid(jvm.pid()).ok_or("not there")?.1, &[], &jdk));
        }
    }
}

/// HotSpot publishes the first 1,024 bytes of a JVM's arguments: only the JVM itself knows the rest.
#[test]
fn a_jvm_whose_arguments_are_cut_is_queried() {
    let (_config, exporter) = exporter();
    let jdk = jdk::any();
    let padding = format!("-Dpadding={}", "x".repeat(1100));
    for on in [true, false] {
        let flags = if on { &LISTENING[..] } else { &LISTENING[1..] };
        let jvm = Jvm::start(&jdk, [padding.as_str()].iter().chain(flags));
        wait_for("the reply", || {
            let page = exporter.scrape().of_pid(jvm.pid()).ok_or("not there")?.1;
            ensure(page.value("jvm_nmt_enabled", &[]) == Some(f64::from(u8::from(on))), "not known yet")?;
            ensure(check_sums(&page, &[], &jdk).is_ok() == on, "not asked yet")
        });
    }
}

/// Both profiles, from one reply each.
#[test]
fn the_client_java_profile_uses_the_names_of_the_java_client() {
    let config = Config::new("profiles: [otel, client_java]\nnmt: {interval: 1s}\n");
    let exporter = Exporter::start([config.flag(), "--discovery.root=/tmp".to_owned()]);
    let jvm = Jvm::start(&jdk::any(), LISTENING);
    wait_for("the table", || {
        // Before a JVM is known that profile has no line at all.
        exporter.scrape().of_pid(jvm.pid()).ok_or("not found yet")?;
        let page = exporter.scrape_path("/metrics/client_java").of_pid(jvm.pid()).ok_or("not there")?.1;
        let heap = page.value("jvm_native_memory_committed_bytes", &[("pool", "Java Heap")]);
        ensure(heap > Some(0.0), "not there")
    });
}
