//! The whole sampler on regions that change under it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{SamplePlan, SampleSubject, SampledJvm, Sampler, SamplerSettings};
use crate::fact::Provider;
use crate::metric::{Histogram, Value};
use crate::perfdata::{FileMode, Image, Region, RegionIdentity};

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
        let list = SamplePlan::of(&crate::hotspot::Model::of(&self.image, &[])).unwrap();
        SampleSubject { region: Arc::clone(&self.region), region_identity: RegionIdentity::of(&self.image), list }
    }

    fn set(&self, name: &str, value: i64) {
        let offset = self.image.entry(name).unwrap().offset;
        self.file.write_all_at(&value.to_le_bytes(), offset.into()).unwrap();
    }

    fn word(&self, name: &str) -> i64 {
        self.image.word(name).unwrap()
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

/// Waits until the provider gives that.
fn wait<T>(watch: &SampledJvm, what: &str, mut get: impl FnMut(&SampledJvm) -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = get(watch) {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} never came: {:?}", watch.read());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The values of a source whose labels hold these.
fn values(watch: &SampledJvm, source: &str, labels: &[&str]) -> Vec<Value> {
    let (facts, values) = watch.read();
    let facts = facts.iter().zip(values).filter(|(fact, _)| {
        fact.name == source && labels.iter().all(|label| fact.labels.iter().any(|(_, value)| &**value == *label))
    });
    facts.filter_map(|(_, value)| value).collect()
}

fn histogram(watch: &SampledJvm, labels: &[&str], count: u64) -> Option<Arc<Histogram>> {
    values(watch, "gc.pause", labels).into_iter().find_map(|value| match value {
        Value::Histogram(histogram) if histogram.count() == count => Some(histogram),
        _ => None,
    })
}

/// The JVM was looked at once: what comes now is news.
fn wait_for_first_look(sampler: &Sampler) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while sampler.statistics().looks < 2 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_pause_becomes_a_histogram_a_live_set_and_an_allocation() {
    let jvm = Jvm::new("jdk17-G1");
    let sampler = Sampler::start(SamplerSettings::default()).unwrap().unwrap();
    let watch = sampler.watch(jvm.subject());
    wait_for_first_look(&sampler);
    assert_eq!(values(&watch, "heap.live_set", &[]), [], "no collection was seen yet");
    assert_eq!(values(&watch, "alloc.bytes", &[]), [Value::Int(0)]);

    jvm.set("sun.gc.tlab.alloc", 1000);
    jvm.set("sun.gc.generation.0.space.0.used", 0);
    jvm.set("sun.gc.generation.0.space.2.used", 70);
    jvm.set("sun.gc.generation.1.space.0.used", 7_000);
    jvm.pause(1, 19_999_000, 20_000_000);
    let seen = wait(&watch, "the pause", |watch| histogram(watch, &["G1 Young Generation", "end of minor GC"], 1));
    assert_eq!((&*seen.counts, seen.sum), (&[0, 1, 0, 0, 0][..], 0.02));
    assert_eq!(values(&watch, "heap.live_set", &[]), [Value::Int(7_070)]);
    assert_eq!(values(&watch, "pool.after_gc", &["G1 Old Gen", "heap"]), [Value::Int(7_000)]);
    assert_eq!(values(&watch, "alloc.bytes", &[]), [Value::Int(8_000)]);
    assert_eq!(values(&watch, "gc.in_progress", &[]), [Value::Int(0)]);
    assert_eq!(values(&watch, "gc.pause_age", &[]), []);

    jvm.set("sun.gc.collector.0.lastEntryTime", i64::MAX / 2);
    wait(&watch, "the running pause", |watch| {
        (values(watch, "gc.in_progress", &[]) == [Value::Int(1)] && values(watch, "gc.pause_age", &[]).len() == 1)
            .then_some(())
    });
}

#[test]
fn another_jvm_in_the_region_ends_the_watch_and_no_other() {
    let (one, other) = (Jvm::new("jdk25-Serial"), Jvm::new("jdk25-Serial"));
    let sampler = Sampler::start(SamplerSettings::default()).unwrap().unwrap();
    let (watch, untouched) = (sampler.watch(one.subject()), sampler.watch(other.subject()));
    wait(&watch, "the first look", |watch| (!values(watch, "alloc.bytes", &[]).is_empty()).then_some(()));
    one.set("sun.rt.createVmBeginTime", 1);
    wait(&watch, "the end", |watch| watch.read().1.iter().all(Option::is_none).then_some(()));
    other.pause(1, 1_000, 1_000);
    wait(&untouched, "its pause", |watch| histogram(watch, &["Copy"], 1));
}

#[test]
fn causes_are_told_apart_where_asked_for() {
    let jvm = Jvm::new("jdk17-Serial");
    let sampler = Sampler::start(SamplerSettings { causes: true, ..SamplerSettings::default() }).unwrap().unwrap();
    let watch = sampler.watch(jvm.subject());
    wait_for_first_look(&sampler);
    let before = watch.read().0;
    let cause = jvm.image.entry("sun.gc.lastCause").unwrap().offset;
    jvm.file.write_all_at(b"Allocation Failure\0", cause.into()).unwrap();
    jvm.pause(2, 2_000, 5_000);
    let last = wait(&watch, "the cause", |watch| histogram(watch, &["Copy", "Allocation Failure"], 1));
    let earlier = histogram(&watch, &["Copy", "unknown"], 1).unwrap();
    assert_eq!((last.sum, earlier.sum), (2e-6, 3e-6));
    let after = watch.read().0;
    assert!(!Arc::ptr_eq(&before, &after), "a new cause makes new facts");
    assert!(Arc::ptr_eq(&after, &watch.read().0), "nothing else does");
}

#[test]
fn facts_are_those_that_rules_may_name() {
    let jvm = Jvm::new("jdk25-Z");
    let sampler = Sampler::start(SamplerSettings { causes: true, ..SamplerSettings::default() }).unwrap().unwrap();
    let watch = sampler.watch(jvm.subject());
    let (facts, values) = watch.read();
    assert_eq!(facts.len(), values.len());
    for fact in facts.iter() {
        let info = crate::fact::find(fact.name).unwrap();
        assert_eq!((fact.kind, fact.unit), (info.kind, info.unit));
        assert!(fact.labels.iter().all(|(name, _)| info.labels.contains(name)), "{fact:?}");
    }
}

#[test]
fn an_interval_of_zero_samples_nothing() {
    assert!(
        Sampler::start(SamplerSettings { interval: Duration::ZERO, ..SamplerSettings::default() }).unwrap().is_none()
    );
}
