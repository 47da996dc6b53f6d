//! Real JVMs are asked for what their counters lack, and it costs them no safepoint.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use hotspot_exporter::config::{AttachMode, AttachSettings};
use hotspot_exporter::hotspot::{Model, NmtSetting};
use hotspot_exporter::metric::Value;
use hotspot_exporter::perfdata::Image;
use hotspot_exporter::providers::attach::diagnostics::{self, DiagnosticPlan, DiagnosticState};
use hotspot_exporter::providers::attach::{AttachCommand, AttachTopic, Capabilities, PolledJvm, Poller};

use crate::attach::jvm::{Jvm, Place, javas};
use crate::attach::wait_for;

const LISTENING: &str = "-XX:+StartAttachListener";

fn region(jvm: &Jvm) -> Image {
    Image::decode(fs::read(jvm.tmp.path().join(format!("hsperfdata_root/{}", jvm.vpid))).unwrap()).unwrap()
}

fn plan(jvm: &Jvm) -> DiagnosticPlan {
    DiagnosticPlan::of(&Model::of(&region(jvm), &[]), false)
}

/// The values of a topic by the fact's name and its first label.
pub(crate) fn values(jvm: &PolledJvm, topic: AttachTopic) -> BTreeMap<(&'static str, String), Value> {
    let (facts, values) = jvm.read(topic);
    let key = |fact: &hotspot_exporter::fact::Fact| {
        (fact.name, fact.labels.first().map(|(_, value)| value.to_string()).unwrap_or_default())
    };
    facts.iter().zip(values).filter_map(|(fact, value)| Some((key(fact), value?))).collect()
}

/// What every JVM with Serial tells whose native memory is not tracked.
pub(crate) fn assert_told(feature: u32, values: &BTreeMap<(&'static str, String), Value>) {
    let bytes = |name, label: &str| values.get(&(name, label.to_owned())).map(Value::as_f64);
    assert!(bytes("pool.used", "Metaspace") > Some(10e3), "JDK {feature}: {values:?}");
    assert!(bytes("pool.committed", "Metaspace") >= bytes("pool.used", "Metaspace"));
    assert_eq!(bytes("flag.value", "MaxHeapSize"), Some(32.0 * 1024.0 * 1024.0), "JDK {feature}");
    let has_code_heaps = feature >= 11;
    let code: f64 = values
        .iter()
        .filter(|((name, label), _)| *name == "pool.used" && label.starts_with("Code"))
        .map(|(_, value)| value.as_f64())
        .sum();
    assert_eq!(code > 300e3, has_code_heaps, "JDK {feature}: {values:?}");
    assert_eq!(bytes("jit.enabled", ""), has_code_heaps.then_some(1.0));
    // The counters of Serial are late from JDK 25 on.
    let eden = bytes("pool.used", "Eden Space");
    assert_eq!(eden > Some(100e3), feature >= 25, "JDK {feature}: {values:?}");
    assert_eq!(bytes("heap.used", "") >= eden && eden.is_some(), feature >= 25);
    assert!(bytes("diagnostics.age", "") < Some(60.0));
}

#[test]
fn jvms_without_native_memory_tracking_tell_the_rest() {
    for java in javas() {
        let mut jvm = Jvm::start(&java, Place::default(), &[LISTENING]);
        let mut attachable = jvm.attachable();
        attachable.setting = NmtSetting::Off;
        let poller = Poller::new(AttachSettings { diagnostics: Duration::from_secs(5), ..AttachSettings::default() });
        let polled = poller.add(attachable, plan(&jvm));
        wait_for("answers", || polled.diagnostic_state() == DiagnosticState::Answering);
        assert_told(java.feature, &values(&polled, AttachTopic::Diagnostics));
        assert_eq!(poller.failures().iter().map(|(_, count)| count).sum::<u64>(), 0);
        jvm.assert_unharmed();
    }
}

#[test]
fn a_jvm_that_cannot_be_attached_to_is_not_asked() {
    for java in javas() {
        let jvm = Jvm::start(&java, Place::default(), &["-XX:+DisableAttachMechanism"]);
        let settings = AttachSettings { mode: AttachMode::Active, ..AttachSettings::default() };
        let polled = Poller::new(settings).add(jvm.attachable(), plan(&jvm));
        assert_eq!(polled.diagnostic_state(), DiagnosticState::NotAttachable);
        assert!(polled.read(AttachTopic::Diagnostics).0.is_empty());
    }
}

/// CPU time of the thread that answers.
fn listener_cpu(pid: i32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten().map(|task| task.path());
    let is_it = |comm: &str| comm.trim_end() == "Attach Listener";
    let listener = tasks.into_iter().find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| is_it(&comm)));
    let text = fs::read_to_string(listener.unwrap().join("schedstat")).unwrap();
    Duration::from_nanos(text.split_ascii_whitespace().next().unwrap().parse().unwrap())
}

/// Rounds of questions: each command that needs a safepoint would add one to each round.
const ROUNDS: u32 = 20;

#[test]
fn questions_add_no_safepoint() {
    for java in javas() {
        // Otherwise JDK 8 to 17 stop once a second.
        let quiet = ["-XX:+UnlockDiagnosticVMOptions", "-XX:GuaranteedSafepointInterval=0"];
        let mut jvm = Jvm::start(&java, Place::default(), &[LISTENING, quiet[0], quiet[1]]);
        let (attachable, plan) = (jvm.attachable(), plan(&jvm));
        let mut capabilities = Capabilities::default();
        let mut ask = |commands: &[AttachCommand]| {
            let until = Instant::now() + Duration::from_secs(20);
            let outcomes = diagnostics::query(&attachable, commands, AttachMode::Passive, &mut capabilities, until);
            let outcomes = outcomes.unwrap();
            assert_eq!(outcomes.len(), commands.len());
            for (command, outcome) in outcomes {
                outcome.unwrap_or_else(|error| panic!("{java}: {command:?}: {error}"));
            }
        };
        // The first questions load classes and compile.
        ask(plan.commands());
        let safepoints = || region(&jvm).word("sun.rt.safepoints").unwrap();
        wait_for(&format!("{java} to stop nothing in {ROUNDS} rounds"), || {
            let before = safepoints();
            let mut spent = Vec::new();
            for commands in plan.commands().chunks(1).chain([&plan.commands()[1..]]) {
                let cpu = listener_cpu(jvm.vpid);
                (0..ROUNDS).for_each(|_| ask(commands));
                spent.push(format!("{commands:?} {:?}", (listener_cpu(jvm.vpid) - cpu) / ROUNDS));
            }
            println!("JDK {}: CPU of the listener: {}", java.feature, spent.join(", "));
            safepoints() == before
        });
        jvm.assert_unharmed();
    }
}
