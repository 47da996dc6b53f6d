//! The whole sampler on regions that change under it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{SamplePlan, SampleSubject, SampledJvm, Sampler};
use crate::config::Sampling;
use crate::fact::Provider;
use crate::metric::{Histogram, Value};
use crate::perfdata::{FileMode, Image, Region, RegionIdentity};
use crate::sync::lock;

/// A region file that a test writes as a JVM would.
struct Jvm {
    file: File,
    image: Image,
    region: Arc<Region>,
    _directory: tempfile::TempDir,
}

impl Jvm {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1");
        std::fs::copy(format!("{}/tests/fixtures/perfdata/{name}.hsperfdata", env!("CARGO_MANIFEST_DIR")), &path)
            .unwrap();
        let region = Arc::new(Region::open(File::open(&path).unwrap(), FileMode::Mapped).unwrap());
        let image = Image::read(&region).unwrap();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        Self { file, image, region, _directory: directory }
    }

    fn subject(&self) -> SampleSubject {
        let plan = SamplePlan::of(&crate::hotspot::Model::of(&self.image, &[])).unwrap();
        SampleSubject { region: Arc::clone(&self.region), region_identity: RegionIdentity::of(&self.image), plan }
    }

    fn set(&self, name: &str, value: i64) {
        let offset = self.image.entry(name).unwrap().offset;
        self.file.write_all_at(&value.to_le_bytes(), offset.into()).unwrap();
    }

    fn set_text(&self, name: &str, text: &str) {
        let offset = self.image.entry(name).unwrap().offset;
        self.file.write_all_at(format!("{text}\0").as_bytes(), offset.into()).unwrap();
    }

    fn word(&self, name: &str) -> i64 {
        self.image.word(name).unwrap()
    }

    /// Makes changes that no sample parts: a JVM makes them in nanoseconds, a test is interrupted between two of them.
    fn at_once(&self, sampled: &SampledJvm, change: impl FnOnce(&Self)) {
        let _between_samples = lock(&sampled.jvm);
        change(self);
    }

    /// A pause of the first collector, the `number`th since the test began, and the time of all of them.
    fn pause(&self, number: i64, length: i64, time: i64) {
        let now = self.word("sun.gc.collector.0.lastExitTime") + number * 1_000_000_000;
        self.set("sun.rt.safepoints", self.word("sun.rt.safepoints") + number);
        self.set("sun.gc.collector.0.invocations", self.word("sun.gc.collector.0.invocations") + number);
        self.set("sun.gc.collector.0.lastEntryTime", now);
        self.set("sun.gc.collector.0.lastExitTime", now + length);
        self.set("sun.gc.collector.0.time", self.word("sun.gc.collector.0.time") + time);
    }
}

/// Waits until the provider publishes it.
fn wait<T>(sampled: &SampledJvm, what: &str, mut get: impl FnMut(&SampledJvm) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = get(sampled) {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} never came: {:?}", sampled.read());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The values of a source whose labels contain these.
fn values(sampled: &SampledJvm, source: &str, labels: &[&str]) -> Vec<Value> {
    let (facts, values) = sampled.read();
    let facts = facts.iter().zip(values).filter(|(fact, _)| {
        fact.name == source && labels.iter().all(|label| fact.labels.iter().any(|(_, value)| &**value == *label))
    });
    facts.filter_map(|(_, value)| value).collect()
}

fn histogram(sampled: &SampledJvm, labels: &[&str], count: u64) -> Option<Arc<Histogram>> {
    values(sampled, "gc.pause", labels).into_iter().find_map(|value| match value {
        Value::Histogram(histogram) if histogram.count() == count => Some(histogram),
        _ => None,
    })
}

/// Waits until the JVM was sampled once: later changes are observed.
fn wait_for_first_sample(sampled: &SampledJvm) {
    wait(sampled, "the first sample", |sampled| (!values(sampled, "alloc.bytes", &[]).is_empty()).then_some(()));
}

#[test]
fn a_pause_becomes_a_histogram_a_live_set_and_an_allocation() {
    let jvm = Jvm::new("jdk17-G1");
    jvm.set("sun.gc.generation.0.space.0.capacity", 10_000);
    let sampler = Sampler::start(&Sampling::default()).unwrap().unwrap();
    let sampled = sampler.add(jvm.subject());
    wait_for_first_sample(&sampled);
    assert_eq!(values(&sampled, "heap.live_set", &[]), [], "no collection was observed yet");
    assert_eq!(values(&sampled, "alloc.bytes", &[]), [Value::Int(0)]);

    jvm.at_once(&sampled, |jvm| {
        jvm.set("sun.gc.tlab.alloc", 1000);
        jvm.set("sun.gc.generation.0.space.0.used", 0);
        jvm.set("sun.gc.generation.0.space.2.used", 70);
        jvm.set("sun.gc.generation.1.space.0.used", 7_000);
        jvm.pause(1, 19_999_000, 20_000_000);
    });
    let pauses =
        wait(&sampled, "the pause", |sampled| histogram(sampled, &["G1 Young Generation", "end of minor GC"], 1));
    let bucket = pauses.counts.iter().position(|count| *count > 0).map(|bucket| pauses.bounds[bucket]);
    assert_eq!((bucket, pauses.counts.iter().sum::<u64>(), pauses.sum), (Some(0.025), 1, 0.02));
    assert_eq!(values(&sampled, "heap.live_set", &[]), [Value::Int(7_070)]);
    assert_eq!(values(&sampled, "pool.after_gc", &["G1 Old Gen", "heap"]), [Value::Int(7_000)]);
    assert_eq!(values(&sampled, "alloc.bytes", &[]), [Value::Int(10_000)], "eden was full, of more than TLABs");
    assert_eq!(values(&sampled, "gc.in_progress", &[]), [Value::Int(0)]);
    assert_eq!(values(&sampled, "gc.pause_age", &[]), []);

    jvm.set("sun.gc.collector.0.lastEntryTime", i64::MAX / 2);
    wait(&sampled, "the running pause", |sampled| {
        (values(sampled, "gc.in_progress", &[]) == [Value::Int(1)] && values(sampled, "gc.pause_age", &[]).len() == 1)
            .then_some(())
    });
}

#[test]
fn a_collection_that_the_next_one_follows_at_once_filled_eden_if_that_one_did() {
    let jvm = Jvm::new("jdk25-Parallel");
    jvm.set("sun.gc.tlab.alloc", 0);
    jvm.set("sun.gc.generation.0.space.0.capacity", 9_000);
    let sampler = Sampler::start(&Sampling::default()).unwrap().unwrap();
    let sampled = sampler.add(jvm.subject());
    wait_for_first_sample(&sampled);
    jvm.at_once(&sampled, |jvm| {
        jvm.set_text("sun.gc.lastCause", "No GC");
        jvm.set_text("sun.gc.cause", "Allocation Failure");
        jvm.pause(3, 2_000, 6_000);
    });
    wait(&sampled, "its eden", |sampled| (values(sampled, "alloc.bytes", &[]) == [Value::Int(27_000)]).then_some(()));
}

#[test]
fn a_collection_that_filled_eden_is_known_although_the_next_one_runs() {
    let jvm = Jvm::new("jdk25-Parallel");
    jvm.set("sun.gc.tlab.alloc", 0);
    jvm.set("sun.gc.generation.0.space.0.capacity", 9_000);
    jvm.set("sun.gc.generation.0.space.0.used", 0);
    let sampler = Sampler::start(&Sampling::default()).unwrap().unwrap();
    let sampled = sampler.add(jvm.subject());
    wait_for_first_sample(&sampled);
    let begin = |jvm: &Jvm, collector: &str, cause: &str, at: i64| {
        let name = |name: &str| format!("sun.gc.collector.{collector}.{name}");
        jvm.set_text("sun.gc.lastCause", "No GC");
        jvm.set_text("sun.gc.cause", cause);
        jvm.set("sun.rt.safepoints", jvm.word("sun.rt.safepoints") + at);
        jvm.set(&name("invocations"), jvm.word(&name("invocations")) + 1);
        jvm.set(&name("lastEntryTime"), jvm.word("sun.gc.collector.0.lastExitTime") + at);
    };
    jvm.at_once(&sampled, |jvm| begin(jvm, "0", "Allocation Failure", 1_000));
    wait(&sampled, "the pause", |sampled| (values(sampled, "gc.in_progress", &[]) == [Value::Int(1)]).then_some(()));
    jvm.at_once(&sampled, |jvm| {
        jvm.pause(1, 1_000, 1_000);
        begin(jvm, "1", "System.gc()", 3_000_000_000);
    });
    wait(&sampled, "its eden", |sampled| (values(sampled, "alloc.bytes", &[]) == [Value::Int(9_000)]).then_some(()));
}

#[test]
fn another_jvm_in_the_region_ends_its_sampling_only() {
    let (one, other) = (Jvm::new("jdk25-Serial"), Jvm::new("jdk25-Serial"));
    let sampler = Sampler::start(&Sampling::default()).unwrap().unwrap();
    let (sampled, untouched) = (sampler.add(one.subject()), sampler.add(other.subject()));
    wait_for_first_sample(&sampled);
    wait_for_first_sample(&untouched);
    one.set("sun.rt.createVmBeginTime", 1);
    wait(&sampled, "the end", |sampled| sampled.read().1.iter().all(Option::is_none).then_some(()));
    other.at_once(&untouched, |other| other.pause(1, 1_000, 1_000));
    wait(&untouched, "its pause", |sampled| histogram(sampled, &["Copy"], 1));
}

#[test]
fn causes_are_separated_where_configured() {
    let jvm = Jvm::new("jdk17-Serial");
    let sampler = Sampler::start(&Sampling { causes: true, ..Sampling::default() }).unwrap().unwrap();
    let sampled = sampler.add(jvm.subject());
    wait_for_first_sample(&sampled);
    let before = sampled.read().0;
    jvm.at_once(&sampled, |jvm| {
        jvm.set_text("sun.gc.lastCause", "Allocation Failure");
        jvm.pause(2, 2_000, 5_000);
    });
    let last = wait(&sampled, "the cause", |sampled| histogram(sampled, &["Copy", "Allocation Failure"], 1));
    let earlier = histogram(&sampled, &["Copy", "unknown"], 1).unwrap();
    assert_eq!((last.sum, earlier.sum), (2e-6, 3e-6));
    let after = sampled.read().0;
    assert!(!Arc::ptr_eq(&before, &after), "a new cause makes new facts");
    assert!(Arc::ptr_eq(&after, &sampled.read().0), "nothing else does");
}

#[test]
fn facts_are_those_that_rules_may_name() {
    let jvm = Jvm::new("jdk25-Z");
    let sampler = Sampler::start(&Sampling { causes: true, ..Sampling::default() }).unwrap().unwrap();
    let sampled = sampler.add(jvm.subject());
    let (facts, values) = sampled.read();
    assert_eq!(facts.len(), values.len());
    for fact in facts.iter() {
        let info = crate::fact::find(fact.name).unwrap();
        assert_eq!((fact.kind, fact.unit), (info.kind, info.unit));
        assert!(fact.labels.iter().all(|(name, _)| info.labels.contains(name)), "{fact:?}");
    }
}

#[test]
fn an_interval_of_zero_samples_nothing() {
    let off = Sampling { interval: Duration::ZERO, ..Sampling::default() };
    assert!(Sampler::start(&off).unwrap().is_none());
}
