//! Decode, plan, read and write: the four costs of a JVM, by the regions of the corpus.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hotspot_exporter::config::{self, Config, Overrides};
use hotspot_exporter::fact::{PublishedId, Values};
use hotspot_exporter::hotspot::Model;
use hotspot_exporter::metric::{Labels, Value};
use hotspot_exporter::output::prometheus::{ExpositionFormat, Page, PageBuffer, PageSeries, write_page};
use hotspot_exporter::perfdata::{FileMode, Image, Region, RegionIdentity};
use hotspot_exporter::rules::{PlannedFamily, WordIndex};

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata/jdk25-G1.hsperfdata")
}

fn defaults() -> Config {
    config::load(None, &Overrides::default(), &|path| fs::read_to_string(path)).unwrap()
}

/// The words of one JVM.
struct Row(Vec<i64>);

impl Values for Row {
    fn word(&self, index: u32) -> Option<i64> {
        self.0.get(index as usize).copied()
    }

    fn published(&self, _: PublishedId) -> Option<Value> {
        None
    }

    fn is_up(&self) -> Option<bool> {
        Some(true)
    }
}

fn bench(c: &mut Criterion) {
    let bytes = fs::read(path()).unwrap();
    let image = Image::decode(bytes.clone()).unwrap();
    let config = defaults();
    let profile = &config.profiles[0];
    let facts = Model::of(&image, &[]).facts;

    c.bench_function("decode one region", |b| b.iter(|| Image::decode(black_box(bytes.clone())).unwrap()));
    c.bench_function("derive facts of one region", |b| b.iter(|| Model::of(black_box(&image), &[]).facts));
    c.bench_function("plan one region", |b| {
        b.iter(|| profile.plan(black_box(&image), &facts, &config.limits.series(), &mut WordIndex::default()));
    });

    let mut words = WordIndex::default();
    let plan = profile.plan(&image, &facts, &config.limits.series(), &mut words);
    let mut group = c.benchmark_group("read one region");
    group.throughput(Throughput::Elements(words.offsets().len() as u64));
    for access in [FileMode::Mapped, FileMode::Pread] {
        let region = Region::open(fs::File::open(path()).unwrap(), access).unwrap();
        let region_identity = RegionIdentity::of(&image);
        let mut row = Vec::new();
        group.bench_function(format!("{access:?}"), |b| {
            b.iter(|| region.read(&region_identity, words.offsets(), &mut row).unwrap());
        });
    }
    group.finish();

    let region = Region::open(fs::File::open(path()).unwrap(), FileMode::Mapped).unwrap();
    let mut row = Row(Vec::new());
    region.read(&RegionIdentity::of(&image), words.offsets(), &mut row.0).unwrap();
    let mut group = c.benchmark_group("write");
    for jvms in [1_u32, 100, 1000] {
        let identities = (0..jvms).map(|slot| Labels::new([("app", "orders".to_owned()), ("slot", slot.to_string())]));
        let series = (0..jvms)
            .flat_map(|target| plan.families.iter().map(move |planned| (target, planned)))
            .map(|(target, PlannedFamily { family, series })| PageSeries { family, target, series });
        let page = Page::new(identities.collect(), series);
        group.throughput(Throughput::Elements(page.len() as u64));
        let mut out = PageBuffer::default();
        for format in [ExpositionFormat::Text, ExpositionFormat::OpenMetrics, ExpositionFormat::Protobuf] {
            group.bench_function(format!("{format:?}, {jvms} JVMs"), |b| {
                b.iter(|| {
                    out.bytes.clear();
                    write_page(&page, format, |_| &row, &mut out)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
