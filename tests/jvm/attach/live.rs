//! Real JVMs that reply.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hotspot_exporter::config::{AttachMode, AttachSettings};
use hotspot_exporter::fact::Formula;
use hotspot_exporter::hotspot::NmtSetting;
use hotspot_exporter::metric::Value;
use hotspot_exporter::providers::attach::diagnostics::DiagnosticPlan;
use hotspot_exporter::providers::attach::native_memory::{Category, NmtReply, NmtState, NmtSummary, parse};
use hotspot_exporter::providers::attach::{AttachTopic, Poller};

use crate::attach::jvm::{Jvm, Place, javas, javas_of_everybody};
use crate::attach::{query_once, summary, wait_for};
use crate::support::jdk::Jdk;

const LISTENING: [&str; 2] = ["-XX:NativeMemoryTracking=summary", "-XX:+StartAttachListener"];

fn by_name(summary: NmtSummary) -> BTreeMap<Box<str>, Category> {
    summary.categories.into_iter().map(|category| (category.name.clone(), category)).collect()
}

/// What the JDK's own tool prints, run where the JVM's `/tmp` is.
fn jcmd(java: &Jdk, pid: i32) -> NmtSummary {
    let sibling = java.java().with_file_name("jcmd");
    let tool = if sibling.exists() { sibling.as_path() } else { Path::new("jcmd") };
    let mut command = Command::new("nsenter");
    command.args(["--mount", &format!("--target={pid}")]).arg(tool).arg(pid.to_string());
    let output = command.args(["VM.native_memory", "summary", java.nmt_scale()]).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    match parse(&text) {
        NmtReply::Summary(summary) => *summary,
        other => panic!("jcmd printed {other:?}: {text}"),
    }
}

#[test]
fn categories_that_do_not_move_equal_those_of_jcmd() {
    for java in javas() {
        let mut jvm = Jvm::start(&java, Place::default(), &LISTENING);
        let attachable = jvm.attachable();
        let query = || summary(query_once(&attachable, AttachMode::Passive));
        let first = query();
        assert_eq!(first.exact, java.feature > 8, "{java}");
        let sum: u64 = first.categories.iter().map(|category| category.committed).sum();
        let rounding = java.nmt_rounding() * first.categories.len() as u64;
        assert!(sum.abs_diff(first.total.committed) <= rounding, "{java}: {sum} of {}", first.total.committed);

        // A compiler that works in between takes memory and gives it back, so that a category may only seem to stand
        // still.
        wait_for(&format!("JDK {} and jcmd to agree", java.feature), || {
            let (before, theirs, after) = (by_name(query()), by_name(jcmd(&java, jvm.vpid)), by_name(query()));
            // The command's own text is in Serviceability, its reply in Internal, the headers of both in the tracking
            // itself, and jcmd words the command otherwise.
            let still: Vec<_> = before
                .values()
                .filter(|category| after.get(&category.name) == Some(category))
                .filter(|category| !["Serviceability", "Internal", "Native Memory Tracking"].contains(&&*category.name))
                .collect();
            assert_eq!(before["Java Heap"].reserved, 32 << 20);
            still.len() >= 8 && still.iter().all(|category| theirs.get(&category.name) == Some(*category))
        });
        jvm.assert_unharmed();
    }
}

#[test]
fn a_jvm_of_another_user_is_queried_as_that_user() {
    for java in javas_of_everybody() {
        for mode in [AttachMode::Passive, AttachMode::Active] {
            let flags = if mode == AttachMode::Active { &LISTENING[..1] } else { &LISTENING[..] };
            let mut jvm = Jvm::start(&java, Place { nobody: true, ..Place::default() }, flags);
            summary(query_once(&jvm.attachable(), mode));
            jvm.assert_unharmed();
        }
    }
}

#[test]
fn active_mode_starts_the_listener_and_passive_mode_does_not() {
    for java in javas() {
        let mut jvm = Jvm::start(&java, Place::default(), &LISTENING[..1]);
        assert_eq!(query_once(&jvm.attachable(), AttachMode::Passive).unwrap_err().reason().as_str(), "no_socket");
        summary(query_once(&jvm.attachable(), AttachMode::Active));
        summary(query_once(&jvm.attachable(), AttachMode::Passive));
        jvm.assert_unharmed();
    }
}

#[test]
fn the_poller_publishes_facts_or_that_tracking_is_off() {
    for java in javas() {
        let settings = AttachSettings { native_memory: Duration::from_secs(5), ..AttachSettings::default() };
        let poller = Poller::new(settings);
        let add = |attachable| poller.add(attachable, DiagnosticPlan::default());
        let on = Jvm::start(&java, Place::default(), &LISTENING);
        let off = Jvm::start(&java, Place::default(), &LISTENING[1..]);
        let mut known = off.attachable();
        known.setting = NmtSetting::Off;
        let polled = [add(on.attachable()), add(off.attachable()), add(known)];
        wait_for("a reply", || polled[0].state() == NmtState::Answering && polled[1].state() == NmtState::NotEnabled);
        assert_eq!(polled[2].state(), NmtState::NotEnabled);

        let (facts, values) = polled[0].read(AttachTopic::NativeMemory);
        for (at, fact) in facts.iter().enumerate() {
            assert!(matches!(fact.formula, Formula::Published(cell, _) if cell.index as usize == at));
        }
        let sum = |source: &str| {
            let of = |(fact, value): (&hotspot_exporter::fact::Fact, &Option<Value>)| match value {
                Some(value) if fact.name == source => value.as_f64(),
                _ => 0.0,
            };
            facts.iter().zip(&values).map(of).sum::<f64>()
        };
        assert!(sum("nmt.committed") > 32e6);
        let categories = facts.iter().filter(|fact| fact.name == "nmt.committed").count();
        let rounding = java.nmt_rounding() as f64 * categories as f64;
        assert!((sum("nmt.committed") - sum("nmt.total_committed")).abs() <= rounding, "{java}");
        assert_eq!(sum("nmt.enabled"), 1.0);
        let (facts, values) = polled[1].read(AttachTopic::NativeMemory);
        let enabled = facts.iter().position(|fact| fact.name == "nmt.enabled").unwrap();
        assert_eq!(values[enabled], Some(Value::Int(0)));
    }
}
