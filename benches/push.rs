//! A push of 1,000 JVMs: reading them, and writing the requests, beside the same requests made of the official types.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs::{self, File};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hotspot_exporter::config::{self, Overrides};
use hotspot_exporter::discovery::Scanner;
use hotspot_exporter::output::otlp::{Encoder, SeriesPosition};
use hotspot_exporter::providers::Providers;
use hotspot_exporter::snapshot::Snapshot;
use hotspot_exporter::targets::{Reconciler, TargetSet};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;

const JVMS: usize = 1000;
const NOW: u64 = 1_795_000_000_000_000_000;

/// A directory of recorded regions that somebody holds open, so that they count as alive.
fn regions() -> (tempfile::TempDir, Vec<File>) {
    let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata/jdk25-G1.hsperfdata");
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let root = tempfile::tempdir_in(parent).unwrap();
    let user = root.path().join("hsperfdata_bench");
    fs::create_dir(&user).unwrap();
    let write = |pid: usize| {
        let path = user.join(pid.to_string());
        fs::copy(&fixture, &path).unwrap();
        File::options().write(true).open(path).unwrap()
    };
    let writers = (1..=JVMS).map(write).collect();
    (root, writers)
}

fn target_set(root: &Path) -> Arc<TargetSet> {
    let roots = vec![root.display().to_string()];
    let overrides = Overrides { roots, procfs: Some(None), ..Overrides::default() };
    let config = config::load(None, &overrides, &|path| fs::read_to_string(path)).unwrap();
    let mut reconciler = Reconciler::new(Arc::new(config.clone()), Box::new(Providers::default()));
    reconciler.update(Scanner::new(&config.discovery).scan(&|_| false))
}

fn snapshot(target_set: &Arc<TargetSet>) -> Snapshot {
    Snapshot::take(Arc::clone(target_set), Instant::now() + Duration::from_secs(60))
}

/// Writes every request into the same memory and gives points and bytes.
fn write(encoder: &mut Encoder, snapshot: &Snapshot, out: &mut Vec<u8>, mut each: impl FnMut(&[u8])) -> (u64, usize) {
    let (mut position, mut points, mut bytes) = (SeriesPosition::default(), 0, 0);
    loop {
        out.clear();
        points += encoder.write_jvms(snapshot, NOW, &mut position, out);
        if out.is_empty() {
            return (points, bytes);
        }
        bytes += out.len();
        each(out);
        encoder.acknowledge();
    }
}

fn bench(c: &mut Criterion) {
    hotspot_exporter::discovery::raise_descriptor_limit();
    let (root, _writers) = regions();
    let target_set = target_set(root.path());
    assert_eq!(target_set.targets.len(), JVMS);
    let snapshot = snapshot(&target_set);
    let mut encoder = Encoder::new(&config::Otlp::default(), NOW);
    let (mut out, mut requests) = (Vec::new(), Vec::new());
    let (points, bytes) = write(&mut encoder, &snapshot, &mut out, |request| {
        requests.push(ExportMetricsServiceRequest::decode(request).unwrap());
    });
    println!("{points} points, {bytes} bytes, {} requests", requests.len());

    let mut group = c.benchmark_group("push 1000 JVMs");
    group.throughput(Throughput::Elements(points));
    group.bench_function("read", |b| b.iter(|| self::snapshot(black_box(&target_set))));
    group.bench_function("write", |b| b.iter(|| write(&mut encoder, &snapshot, &mut out, |_| {})));
    let delta = config::Otlp { temporality: config::Temporality::Delta, ..config::Otlp::default() };
    let mut differing = Encoder::new(&delta, 0);
    group.bench_function("write differences", |b| b.iter(|| write(&mut differing, &snapshot, &mut out, |_| {})));
    group.sample_size(10);
    group.bench_function("the same from official types, without making and dropping them", |b| {
        b.iter(|| requests.iter().map(|request| black_box(request.encode_to_vec()).len()).sum::<usize>());
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
