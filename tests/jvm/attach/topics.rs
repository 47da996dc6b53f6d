//! What a poller asks a listener, and what it makes of the answers.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hotspot_exporter::config::{AttachMode, AttachSettings};
use hotspot_exporter::fact::Reading;
use hotspot_exporter::hotspot::{Model, NmtSetting};
use hotspot_exporter::metric::Value;
use hotspot_exporter::perfdata::Image;
use hotspot_exporter::providers::attach::diagnostics::{DiagnosticPlan, DiagnosticState};
use hotspot_exporter::providers::attach::native_memory::NmtState;
use hotspot_exporter::providers::attach::{AttachCommand, AttachTopic, PolledJvm, Poller};
use strum::VariantArray;

use crate::attach::fakes::{Fake, request};
use crate::attach::wait_for;
use crate::support::package;

fn settings(interval: Duration) -> AttachSettings {
    AttachSettings { native_memory: interval, diagnostics: interval, ..AttachSettings::default() }
}

/// The plan of the JVM whose region was recorded under that name, as a sidecar sees it.
fn plan(name: &str) -> DiagnosticPlan {
    let region = package().join(format!("tests/fixtures/perfdata/{name}.hsperfdata"));
    DiagnosticPlan::of(&Model::of(&Image::decode(std::fs::read(region).unwrap()).unwrap(), &[]), false)
}

fn recorded(file: &str) -> String {
    std::fs::read_to_string(package().join("tests/fixtures").join(file)).unwrap()
}

/// The recorded reply of JDK 25 with Serial to a request, with its status.
fn reply(request: &str) -> String {
    let of = |command: AttachCommand| request.contains(command.line());
    let files = [
        (AttachCommand::NativeMemoryBytes, "perfdata/jdk25-G1.nmt-bytes.txt"),
        (AttachCommand::Flags, "attach/jdk25-G1.flags.txt"),
        (AttachCommand::CodeCache, "attach/jdk25-G1.code_cache.txt"),
        (AttachCommand::MetaspaceBasic, "attach/jdk25-G1.metaspace.txt"),
        (AttachCommand::HeapInfo, "attach/jdk25-Serial.heap_info.txt"),
    ];
    let texts = files.iter().filter(|(command, _)| of(*command)).map(|(_, file)| recorded(file));
    format!("0\n{}", texts.map(|text| text.strip_prefix("0\n").unwrap_or(&text).to_owned()).collect::<String>())
}

/// A listener that answers as `answer` says, and the requests that it got.
fn listener(answer: impl Fn(&str, &mut UnixStream) + Send + 'static) -> (Fake, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    let fake = Fake::listening(move |mut stream| {
        let request = String::from_utf8(request(&mut stream)).unwrap();
        log.lock().unwrap().push(request.clone());
        answer(&request, &mut stream);
    });
    (fake, requests)
}

fn answering() -> (Fake, Arc<Mutex<Vec<String>>>) {
    listener(|request, stream| drop(stream.write_all(reply(request).as_bytes())))
}

fn value(reading: &Reading, name: &str, label: &str) -> Option<Value> {
    let at = reading.0.iter().position(|fact| {
        fact.name == name && fact.labels.first().map_or(label.is_empty(), |(_, value)| &**value == label)
    })?;
    reading.1[at].clone()
}

fn diagnostics(jvm: &PolledJvm) -> Reading {
    jvm.read(AttachTopic::Diagnostics)
}

#[test]
fn answers_become_facts() {
    let (fake, _) = answering();
    let poller = Poller::new(settings(Duration::from_secs(1)));
    let jvm = poller.add(fake.attachable(), plan("jdk25-Serial"));
    wait_for("answers", || jvm.diagnostic_state() == DiagnosticState::Answering && jvm.state() == NmtState::Answering);
    let reading = diagnostics(&jvm);
    for (name, label, expected) in [
        ("pool.used", "Eden Space", 0xfa6d_b2a8 - 0xfa00_0000),
        ("pool.committed", "Tenured Gen", 21888 << 10),
        ("heap.used", "", (0xfa6d_b2a8 - 0xfa00_0000) + (0xfc51_fda0_u64 - 0xfc00_0000) as i64),
        ("area.committed", "heap", (8832 + 1088 + 21888) << 10),
        ("pool.used", "Metaspace", 573 << 10),
        ("pool.committed", "Compressed Class Space", 128 << 10),
        ("pool.used", "CodeHeap 'non-nmethods'", 1364 << 10),
        ("pool.limit", "CodeHeap 'profiled nmethods'", 120036 << 10),
        ("pool.freshness", "Eden Space", 1),
        ("code_cache.nmethods", "", 125),
        ("code_cache.full", "", 0),
        ("jit.enabled", "", 1),
        ("flag.value", "MaxHeapSize", 96 << 20),
    ] {
        assert_eq!(value(&reading, name, label), Some(Value::Int(expected)), "{name} {label}");
    }
    for name in ["diagnostics.age", "diagnostics.duration", "diagnostics.last_success"] {
        assert!(value(&reading, name, "").is_some(), "{name}");
    }
    assert!(reading.0.iter().flat_map(|fact| &fact.labels).all(|(_, value)| !value.contains("0x")));

    let reading = jvm.read(AttachTopic::NativeMemory);
    let part = |name: &str, part: &str| match value(&reading, name, part) {
        Some(Value::Int(bytes)) => bytes,
        other => panic!("{name} {part}: {other:?}"),
    };
    for (pool, nmt) in [("pool.used", "nmt.metaspace_used"), ("pool.committed", "nmt.metaspace_committed")] {
        assert_eq!(part(pool, "Metaspace"), part(nmt, "metadata") + part(nmt, "class_space"));
        assert_eq!(part(pool, "Compressed Class Space"), part(nmt, "class_space"));
    }
    // No direct buffers, so the JVM prints no category.
    assert_eq!((part("nmt.direct", ""), value(&reading, "nmt.committed", "Other")), (0, None));
}

/// Whatever a region says.
#[test]
fn nothing_but_the_listed_commands_is_asked() {
    let regions = std::fs::read_dir(package().join("tests/fixtures/perfdata")).unwrap().filter_map(|file| {
        let file: PathBuf = file.unwrap().path();
        Some(file.file_name()?.to_str()?.strip_suffix(".hsperfdata")?.to_owned())
    });
    let (fake, requests) = answering();
    let poller = Poller::new(settings(Duration::from_secs(1)));
    let jvms: Vec<_> = regions.map(|name| poller.add(fake.attachable(), plan(&name))).collect();
    assert_eq!(jvms.len(), 20);
    wait_for("answers", || jvms.iter().all(|jvm| jvm.diagnostic_state() != DiagnosticState::Waiting));
    let mut asked = BTreeSet::new();
    for request in requests.lock().unwrap().iter() {
        let line = request.strip_prefix("1\0jcmd\0").unwrap_or_else(|| panic!("{request:?}"));
        asked.extend(line.strip_suffix("\0\0\0").unwrap().split('\n').map(str::to_owned));
    }
    let listed: BTreeSet<String> = AttachCommand::VARIANTS.iter().map(|command| command.line().to_owned()).collect();
    assert!(asked.is_subset(&listed), "{asked:?}");
    assert!(asked.len() >= 5, "{asked:?}");
}

#[test]
fn what_the_counters_tell_is_not_asked() {
    let lines = |name: &str| plan(name).commands().iter().map(|command| command.line()).collect::<Vec<_>>();
    let (flags, heap, code, metaspace) = ("VM.flags", "GC.heap_info", "Compiler.codecache", "VM.metaspace basic");
    for (name, expected) in [
        ("jdk8-G1", &[flags, heap][..]),
        ("jdk17-G1", &[flags, code, heap]),
        ("jdk21-Z", &[flags, code, heap]),
        ("jdk25-G1", &[flags, code, metaspace]),
        ("jdk25-Shenandoah", &[flags, code, metaspace]),
        ("jdk25-Serial", &[flags, code, metaspace, heap]),
        ("jdk25-Z", &[flags, code, metaspace, heap]),
    ] {
        assert_eq!(lines(name), expected, "{name}");
    }
}

#[test]
fn mode_off_asks_nothing() {
    let (silent, none) = answering();
    let (fake, requests) = answering();
    let interval = Duration::from_millis(100);
    let off = Poller::new(AttachSettings { mode: AttachMode::Off, ..settings(interval) });
    let _off = off.add(silent.attachable(), plan("jdk25-Serial"));
    let on = Poller::new(settings(interval));
    let _on = on.add(fake.attachable(), plan("jdk25-Serial"));
    wait_for("questions of several intervals", || requests.lock().unwrap().len() >= 10);
    assert!(none.lock().unwrap().is_empty());
}

/// As a reload does with `attach.mode: off`.
#[test]
fn what_was_answered_is_gone_when_nothing_is_asked_any_more() {
    let (fake, requests) = answering();
    let on = settings(Duration::from_millis(100));
    let poller = Poller::new(on.clone());
    let jvm = poller.add(fake.attachable(), plan("jdk25-Serial"));
    let answers = || jvm.diagnostic_state() == DiagnosticState::Answering && jvm.state() == NmtState::Answering;
    let known = |topic| {
        let (facts, values) = jvm.read(topic);
        let known = facts.iter().zip(values).filter_map(|(fact, value)| value.map(|_| fact.name));
        known.collect::<BTreeSet<_>>()
    };
    wait_for("answers", answers);
    poller.configure(AttachSettings { mode: AttachMode::Off, ..on.clone() });
    // A question that was under way is no exception.
    wait_for("silence", || known(AttachTopic::Diagnostics).is_empty() && known(AttachTopic::NativeMemory).len() <= 1);
    assert!(known(AttachTopic::NativeMemory).is_subset(&["nmt.enabled"].into()), "which does not change");
    let asked = requests.lock().unwrap().len();
    poller.configure(on);
    wait_for("answers again", answers);
    assert!(known(AttachTopic::NativeMemory).contains("nmt.committed") && requests.lock().unwrap().len() > asked);
    assert!(known(AttachTopic::Diagnostics).contains("heap.used"));
}

#[test]
fn a_jvm_has_one_question_at_a_time() {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, maximum) = (Arc::clone(&open), Arc::clone(&most));
    let asked = Arc::new(AtomicUsize::new(0));
    let total = Arc::clone(&asked);
    // Connections are served at the same time, as a JVM's listener never does.
    let fake = Fake::listening(move |mut stream| {
        let (counter, maximum, total) = (Arc::clone(&counter), Arc::clone(&maximum), Arc::clone(&total));
        maximum.fetch_max(counter.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::spawn(move || {
            let answer = reply(&String::from_utf8(request(&mut stream)).unwrap());
            std::thread::sleep(Duration::from_millis(20));
            counter.fetch_sub(1, Ordering::SeqCst);
            total.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answer.as_bytes());
        });
    });
    let poller = Poller::new(settings(Duration::from_secs(1)));
    let _jvm = poller.add(fake.attachable(), plan("jdk25-Serial"));
    // A second JVM has a worker to spare for the first.
    let (other, _) = answering();
    let _other = poller.add(other.attachable(), plan("jdk25-Serial"));
    wait_for("questions about both topics", || asked.load(Ordering::SeqCst) >= 6);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_command_that_a_jvm_lacks_is_not_asked_again_and_costs_nothing_else() {
    let (fake, requests) = listener(|request, stream| {
        let answer = if request.contains(AttachCommand::CodeCache.line()) {
            "-1\njava.lang.IllegalArgumentException: Unknown diagnostic command\n".to_owned()
        } else {
            reply(request)
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    let poller = Poller::new(settings(Duration::from_millis(500)));
    let jvm = poller.add(fake.attachable(), plan("jdk25-Serial"));
    let count = |command: AttachCommand| {
        requests.lock().unwrap().iter().filter(|request| request.contains(command.line())).count()
    };
    wait_for("three rounds", || count(AttachCommand::HeapInfo) >= 5);
    wait_for("an answer", || jvm.diagnostic_state() == DiagnosticState::Answering);
    // Together with the others, then alone.
    assert_eq!((count(AttachCommand::CodeCache), count(AttachCommand::Flags)), (2, 2));
    assert_eq!(poller.failures().iter().map(|(_, count)| count).sum::<u64>(), 0);
    assert!(value(&diagnostics(&jvm), "pool.used", "Metaspace").is_some());
}

/// As `GC.heap_info` is during a long collection.
#[test]
fn values_stay_when_a_question_times_out() {
    let held = Mutex::new(Vec::new());
    let (fake, _) = listener(move |request, stream| {
        if request.contains(AttachCommand::Flags.line()) {
            let _ = stream.write_all(reply(request).as_bytes());
        } else {
            held.lock().unwrap().push(stream.try_clone().unwrap());
        }
    });
    let poller =
        Poller::new(AttachSettings { timeout: Duration::from_millis(500), ..settings(Duration::from_secs(1)) });
    let mut untracked = fake.attachable();
    untracked.setting = NmtSetting::Off;
    let jvm = poller.add(untracked, plan("jdk25-Serial"));
    wait_for("the timeout", || matches!(jvm.diagnostic_state(), DiagnosticState::Failing { .. }));
    let reading = diagnostics(&jvm);
    assert!(value(&reading, "pool.used", "CodeHeap 'non-nmethods'").is_some());
    assert!(value(&reading, "heap.used", "").is_some());
    let timeouts = || poller.failures().into_iter().find(|(reason, _)| reason.as_str() == "timeout").unwrap().1;
    wait_for("it to be counted", || timeouts() >= 1);
}

/// Most JVMs do not listen: that is no failure unless they were started for being asked.
#[test]
fn a_jvm_that_does_not_listen_is_no_failure_of_diagnostics() {
    let poller = Poller::new(settings(Duration::from_millis(100)));
    let fake = Fake::without_listener();
    let mut untracked = fake.attachable();
    untracked.setting = NmtSetting::Off;
    let jvm = poller.add(untracked, plan("jdk25-Serial"));
    wait_for("the search for a socket", || matches!(jvm.diagnostic_state(), DiagnosticState::Failing { .. }));
    let DiagnosticState::Failing { message, .. } = jvm.diagnostic_state() else { unreachable!() };
    assert!(message.contains("-XX:+StartAttachListener") && message.contains("attach.mode"), "{message}");
    let no_socket = || poller.failures().into_iter().find(|(reason, _)| reason.as_str() == "no_socket").unwrap().1;
    assert_eq!(no_socket(), 0);
    let _tracked = poller.add(fake.attachable(), DiagnosticPlan::default());
    wait_for("it to be counted", || no_socket() > 0);
}
