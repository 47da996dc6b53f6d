//! The content of requests: the same as OpenTelemetry's own exporter sends, with correct splits and deltas, also after
//! an outage of the receiver of a thousand intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::otlp::{Receiver, attribute, resource};
use crate::support::region_builder::RegionBuilder;
use crate::support::regions::{Root, fixture};
use bytes::Bytes;
use hotspot_exporter::config::{self, Config, DownwardApi, HistogramForm, Otlp, Overrides, Temporality};
use hotspot_exporter::discovery::Scanner;
use hotspot_exporter::metric::FamilySamples;
use hotspot_exporter::metric::{Exponential, Family, Histogram, Kind, Labels, Value};
use hotspot_exporter::output::otlp::encode::REQUEST_MAXIMUM;
use hotspot_exporter::output::otlp::{
    Accepted, Encoder, PushCommand, PushFailure, PushFailureReason, PushSource, PushStatistics, Pusher, RequestSender,
    Retry, SeriesPosition,
};
use hotspot_exporter::perfdata::Image;
use hotspot_exporter::proc::Process;
use hotspot_exporter::providers::Providers;
use hotspot_exporter::snapshot::Snapshot;
use hotspot_exporter::targets::{Reconciler, TargetSet};
use opentelemetry::KeyValue as Attribute;
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};
use prost::Message;

const NOW: u64 = 1_900_000_000_000_000_000;

/// The JVMs below a root, scanned without /proc and without providers.
fn target_set(root: &Path, change: impl FnOnce(&mut Config)) -> Arc<TargetSet> {
    let roots = vec![root.display().to_string()];
    let overrides = Overrides { roots, procfs: Some(None), ..Overrides::default() };
    let mut config = config::load(None, &overrides, &|path| std::fs::read_to_string(path)).unwrap();
    change(&mut config);
    let mut reconciler = Reconciler::new(Arc::new(config.clone()), Box::new(Providers::default()));
    reconciler.update(Scanner::new(&config.discovery).scan(&|_| false))
}

fn snapshot(target_set: &Arc<TargetSet>) -> Snapshot {
    Snapshot::take(Arc::clone(target_set), Instant::now() + Duration::from_secs(60))
}

/// Every request of a snapshot; the receiver accepts each before the next is written.
fn requests(encoder: &mut Encoder, snapshot: &Snapshot, now: u64) -> Vec<Vec<u8>> {
    let mut position = SeriesPosition::default();
    let mut requests = Vec::new();
    loop {
        let mut request = Vec::new();
        encoder.write_jvms(snapshot, now, &mut position, &mut request);
        if request.is_empty() {
            return requests;
        }
        encoder.acknowledge();
        requests.push(request);
    }
}

fn decode(request: &[u8]) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(request).unwrap()
}

fn metrics(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    let scopes = request.resource_metrics.iter().flat_map(|metrics| &metrics.scope_metrics);
    scopes.flat_map(|scope| &scope.metrics)
}

fn metric<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Metric {
    metrics(request).find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn numbers(metric: &Metric) -> &[NumberDataPoint] {
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_is_what_the_official_types_encode() {
    let root = Root::new();
    let _writers = [root.put("jdk25-G1", 4711), root.put("jdk17-Serial", 4712)];
    let mut encoder = Encoder::new(&Otlp::default(), NOW);
    let requests = requests(&mut encoder, &snapshot(&target_set(root.path(), |_| {})), NOW);
    assert_eq!(requests.len(), 1);
    let message = decode(&requests[0]);
    assert_eq!(message.resource_metrics.len(), 2);
    assert!(message.encode_to_vec() == requests[0], "not the bytes of the official encoder");
}

/// The metrics without what may differ between two exporters that send the same: order, times and resource.
fn comparable(message: &ExportMetricsServiceRequest) -> BTreeMap<String, Metric> {
    let sorted = |mut points: Vec<NumberDataPoint>| {
        for point in &mut points {
            (point.time_unix_nano, point.start_time_unix_nano) = (0, 0);
            point.attributes.sort_by(|a, b| a.key.cmp(&b.key));
        }
        points.sort_by_key(|point| format!("{:?}", point.attributes));
        points
    };
    let mut found = BTreeMap::new();
    for metric in metrics(message) {
        let mut metric = metric.clone();
        match metric.data.as_mut().unwrap() {
            Data::Gauge(gauge) => gauge.data_points = sorted(std::mem::take(&mut gauge.data_points)),
            Data::Sum(sum) => sum.data_points = sorted(std::mem::take(&mut sum.data_points)),
            Data::Histogram(histogram) => {
                for point in &mut histogram.data_points {
                    (point.time_unix_nano, point.start_time_unix_nano) = (0, 0);
                    // The exporter does not know minimum and maximum.
                    (point.min, point.max) = (None, None);
                }
            }
            other => panic!("{other:?}"),
        }
        assert!(found.insert(metric.name.clone(), metric).is_none());
    }
    found
}

fn attributes(pairs: &[KeyValue]) -> Vec<Attribute> {
    pairs.iter().map(|pair| Attribute::new(pair.key.clone(), attribute(pairs, &pair.key).unwrap())).collect()
}

/// Records the numbers of a metric with the official API.
fn record(meter: &Meter, metric: &Metric) {
    macro_rules! observe {
        ($builder:ident, $variant:ident, $as:ty, $points:expr) => {{
            let points: Vec<($as, Vec<Attribute>)> = $points
                .iter()
                .map(|point| match point.value.unwrap() {
                    Number::$variant(value) => (value as $as, attributes(&point.attributes)),
                    other => panic!("{}: {other:?}", metric.name),
                })
                .collect();
            meter
                .$builder(metric.name.clone())
                .with_description(metric.description.clone())
                .with_unit(metric.unit.clone())
                .with_callback(move |observer| {
                    points.iter().for_each(|(value, attributes)| observer.observe(*value, attributes));
                })
                .build();
        }};
    }
    let points = numbers(metric);
    let is_whole = matches!(points[0].value, Some(Number::AsInt(_)));
    match (metric.data.as_ref().unwrap(), is_whole) {
        (Data::Gauge(_), true) => observe!(i64_observable_gauge, AsInt, i64, points),
        (Data::Gauge(_), false) => observe!(f64_observable_gauge, AsDouble, f64, points),
        (Data::Sum(sum), true) if sum.is_monotonic => observe!(u64_observable_counter, AsInt, u64, points),
        (Data::Sum(sum), false) if sum.is_monotonic => observe!(f64_observable_counter, AsDouble, f64, points),
        (_, true) => observe!(i64_observable_up_down_counter, AsInt, i64, points),
        (_, false) => observe!(f64_observable_up_down_counter, AsDouble, f64, points),
    }
}

#[test]
fn the_official_exporter_sends_the_same() {
    let root = Root::new();
    let _writer = root.put("jdk25-G1", 4711);
    let mut encoder = Encoder::new(&Otlp::default(), NOW);
    let mut request = requests(&mut encoder, &snapshot(&target_set(root.path(), |_| {})), NOW).remove(0);
    // No sampler runs here, so the histogram is one of the exporter's own metrics.
    let values = [0.004, 0.05, 0.05, 0.5, 20.0];
    let histogram = Histogram {
        bounds: [0.01, 0.1, 1.0, 10.0].into(),
        counts: vec![1, 2, 1, 0, 1],
        sum: values.iter().sum(),
        created: 1.0,
        exponential: None,
    };
    let family = Family { name: "lengths".into(), unit: "s".into(), kind: Kind::Histogram, help: "Help.".into() };
    let series = vec![(Labels::new([("a", "b")]), Value::Histogram(histogram.into()))];
    encoder.write_own(&[(family, series)], 0, NOW, &mut request);
    let ours = comparable(&decode(&request));

    let network = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let receiver = Receiver::willing();
    let listener = network.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let inside = network.enter();
    receiver.serve(listener);
    let exporter = opentelemetry_otlp::MetricExporter::builder()
        .with_tonic()
        .with_endpoint(format!("http://{address}"))
        .build()
        .unwrap();
    let provider = opentelemetry_sdk::metrics::SdkMeterProvider::builder().with_periodic_exporter(exporter).build();
    let meter = provider.meter("oracle");
    for metric in ours.values().filter(|metric| metric.name != "lengths") {
        record(&meter, metric);
    }
    let builder = meter.f64_histogram("lengths").with_unit("s").with_description("Help.");
    let lengths = builder.with_boundaries(vec![0.01, 0.1, 1.0, 10.0]).build();
    values.iter().for_each(|value| lengths.record(*value, &[Attribute::new("a", "b")]));
    drop(inside);
    provider.force_flush().unwrap();
    let theirs = comparable(&receiver.taken.lock().unwrap()[0]);
    let _ = network.block_on(async { provider.shutdown() });

    assert!(ours.len() > 30, "{}", ours.len());
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, ours) in &ours {
        assert_eq!(ours, &theirs[name], "{name}");
    }
}

#[test]
fn many_jvms_are_split_into_requests_below_the_limit() {
    const { assert!(REQUEST_MAXIMUM < 4 << 20) };
    let root = Root::new();
    let _writers: Vec<File> = (1..=300).map(|pid| root.put("jdk25-G1", pid)).collect();
    let snapshot = snapshot(&target_set(root.path(), |_| {}));
    let requests = requests(&mut Encoder::new(&Otlp::default(), NOW), &snapshot, NOW);
    assert!(requests.len() > 1 && requests.iter().all(|request| request.len() <= REQUEST_MAXIMUM));
    let decoded: Vec<_> = requests.iter().map(|request| decode(request)).collect();
    let slots = decoded.iter().flat_map(|request| &request.resource_metrics);
    let slots: Vec<_> = slots.map(|metrics| attribute(resource(metrics), "jvm.hotspot.slot").unwrap()).collect();
    assert_eq!(slots.len(), 300, "each JVM in one piece");
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), 300, "each JVM once");
}

#[test]
fn a_jvm_too_large_for_a_request_continues_in_the_next() {
    let root = Root::new();
    let mut region = RegionBuilder::new().long("sun.rt.createVmBeginTime", 1_700_000_000_000);
    for number in 0..9000 {
        region =
            region.long(&format!("com.example.a.long.name.so.that.it.fills.requests.sooner.number{number}"), number);
    }
    std::fs::write(root.place(4711), region.build()).unwrap();
    let _writer = File::options().write(true).open(root.place(4711)).unwrap();
    let text = "profiles: [raw]\nlimits: {max_series_per_jvm: 100000}\n\
                rules: [{counter: \"com.example.*\", action: derive, prefix: hsperf}]";
    let roots = vec![root.path().display().to_string()];
    let overrides = Overrides { roots, procfs: Some(None), ..Overrides::default() };
    let config = config::load(Some(Path::new("c.yaml")), &overrides, &|_| Ok(text.to_owned())).unwrap();
    let target_set = target_set(root.path(), |old| *old = config);
    let requests = requests(&mut Encoder::new(&Otlp::default(), NOW), &snapshot(&target_set), NOW);
    assert!(requests.len() > 1 && requests.iter().all(|request| request.len() <= REQUEST_MAXIMUM));
    let decoded: Vec<_> = requests.iter().map(|request| decode(request)).collect();
    let names: Vec<_> = decoded.iter().flat_map(metrics).map(|metric| metric.name.clone()).collect();
    assert!(names.len() >= 9000, "{}", names.len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "each metric once");
    let first = &decoded[0].resource_metrics[0].resource;
    assert!(decoded.iter().flat_map(|request| &request.resource_metrics).all(|part| part.resource == *first));
}

/// OTLP's bucket `i` is `(b^i, b^(i+1)]`; the numbers in `Exponential` are Prometheus', one higher.
#[test]
fn exponential_buckets_are_renumbered() {
    let config = Otlp { histograms: HistogramForm::Exponential, ..Otlp::default() };
    // With schema 0, Prometheus' bucket 1 is (1, 2], bucket 3 is (4, 8].
    let exponential = Exponential { schema: 0, zero_count: 1, zero_threshold: 1e-9, offset: 1, counts: vec![2, 0, 5] };
    let histogram = Histogram {
        bounds: [10.0].into(),
        counts: vec![8, 0],
        sum: 40.0,
        created: 5.0,
        exponential: Some(exponential),
    };
    let family = Family { name: "x".into(), unit: "s".into(), kind: Kind::Histogram, help: "".into() };
    let mut request = Vec::new();
    let series = vec![(Labels::default(), Value::Histogram(histogram.into()))];
    Encoder::new(&config, NOW).write_own(&[(family, series)], 1, NOW, &mut request);
    let message = decode(&request);
    let Data::ExponentialHistogram(histogram) = metric(&message, "x").data.clone().unwrap() else { panic!() };
    let point = &histogram.data_points[0];
    let positive = point.positive.clone().unwrap();
    let base = 2f64.powf(2f64.powi(-point.scale));
    let buckets = (positive.offset..).zip(&positive.bucket_counts).filter(|(_, count)| **count > 0);
    let buckets: Vec<_> = buckets.map(|(index, count)| (base.powi(index), base.powi(index + 1), *count)).collect();
    assert_eq!(buckets, [(1.0, 2.0, 2), (4.0, 8.0, 5)]);
    assert_eq!((point.count, point.zero_count, point.sum, point.zero_threshold), (8, 1, Some(40.0), 1e-9));
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5_000_000_000, NOW));
}

/// The resource has the names of the semantic conventions; detected attributes take precedence over configured ones.
#[test]
fn a_resource_follows_the_semantic_conventions() {
    let root = Root::new();
    let _writer = root.put("jdk25-G1", 4711);
    let given = [("deployment.environment.name", "test"), ("service.name", "nobody"), ("process.pid", "1")];
    let host = [("k8s.namespace.name", "shop"), ("k8s.pod.name", "orders-1"), ("k8s.container.name", "app")];
    let describe = |more: &[(&str, &str)]| {
        let pairs = given.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let config = Otlp { resource_attributes: pairs.collect(), ..Otlp::default() };
        let requests = requests(&mut Encoder::new(&config, NOW), &snapshot(&target_set(root.path(), |_| {})), NOW);
        resource(&decode(&requests[0]).resource_metrics[0]).to_vec()
    };
    let found = describe(&[]);
    let value = |key: &str| attribute(&found, key).unwrap_or_else(|| panic!("no {key}: {found:#?}"));
    assert_eq!((value("service.name").as_str(), value("process.pid").as_str()), ("Alloc", "4711"));
    assert_eq!(value("deployment.environment.name"), "test");
    assert_eq!(value("process.runtime.name"), "OpenJDK 64-Bit Server VM");
    assert!(value("process.runtime.version").starts_with("25."), "{}", value("process.runtime.version"));
    assert_eq!(value("process.owner"), "tester");
    let created = value("process.creation.time");
    assert!(created.starts_with("20") && created.ends_with('Z') && created.contains('T'), "{created}");
    let instance = value("service.instance.id");
    assert_eq!(uuid_version(&instance), '5', "{instance}");
    let other = |key: &str| matches!(key, "app" | "slot" | "process.command_line" | "process.command_args");
    assert!(!found.iter().any(|pair| other(&pair.key)), "{found:#?}");

    let found = describe(&host);
    assert_eq!(attribute(&found, "service.instance.id").unwrap(), "shop.orders-1.app");
    assert_eq!(attribute(&found, "service.namespace").unwrap(), "shop");
    let twice: BTreeSet<_> = found.iter().map(|pair| &pair.key).collect();
    assert_eq!(twice.len(), found.len(), "each key once");
    let is_text =
        |value: &Option<AnyValue>| matches!(value.as_ref().unwrap().value, Some(any_value::Value::StringValue(_)));
    assert!(found.iter().any(|pair| is_text(&pair.value)));
}

fn uuid_version(text: &str) -> char {
    text.chars().nth(14).unwrap_or(' ')
}

/// One JVM with a counter that the test sets.
#[derive(Debug)]
struct Jvm {
    target_set: Arc<TargetSet>,
    file: File,
    counter: u64,
    _root: Root,
}

/// A counter in whole units.
const COUNTER: &str = "sun.rt.safepoints";
const METRIC: &str = "jvm.hotspot.safepoints";

impl Jvm {
    fn new() -> Self {
        let root = Root::new();
        let file = root.put("jdk25-G1", 4711);
        let bytes = std::fs::read(fixture("jdk25-G1")).unwrap();
        let counter = Image::decode(bytes).unwrap().entry(COUNTER).unwrap().offset.into();
        let target_set = target_set(root.path(), |_| {});
        Self { target_set, file, counter, _root: root }
    }

    fn set(&self, value: i64) {
        self.file.write_all_at(&value.to_ne_bytes(), self.counter).unwrap();
    }
}

impl PushSource for Jvm {
    fn snapshot(&self) -> Snapshot {
        snapshot(&self.target_set)
    }

    fn last_snapshot(&self) -> Snapshot {
        Snapshot::last(self.target_set.targets.clone())
    }

    fn own(&self) -> (Vec<FamilySamples>, f64) {
        (Vec::new(), 0.0)
    }
}

/// A receiver on a simulated clock: it is unavailable for so many attempts after the first request.
#[derive(Debug)]
struct Away {
    from: usize,
    until: usize,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    attempts: usize,
    longest: usize,
    taken: Vec<ExportMetricsServiceRequest>,
}

impl RequestSender for Away {
    async fn send(&mut self, message: Bytes) -> Result<Accepted, PushFailure> {
        let mut log = self.log.lock().unwrap();
        log.attempts += 1;
        log.longest = log.longest.max(message.len());
        if (self.from..self.until).contains(&(log.attempts - 1)) {
            return Err(PushFailure {
                reason: PushFailureReason::Connect,
                retry: Retry::Backoff,
                detail: "unavailable".to_owned(),
            });
        }
        log.taken.push(decode(&message));
        Ok(Accepted::default())
    }
}

/// Runs a pusher through an outage, and increases the counter with every simulated interval.
fn push_through_an_outage(temporality: Temporality) -> (Vec<ExportMetricsServiceRequest>, Duration) {
    const INTERVALS: usize = 1000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let jvm = Arc::new(Jvm::new());
        let config = Otlp { enabled: true, temporality, ..Otlp::default() };
        let log = Arc::<Mutex<Log>>::default();
        let statistics = Arc::<PushStatistics>::default();
        // The first push, and a second one so that deltas have begun.
        let export = Away { from: 2, until: usize::MAX, log: Arc::clone(&log) };
        let pusher = Pusher::new(config.clone(), export, Arc::clone(&jvm) as Arc<dyn PushSource>, statistics);
        let (commands, received) = tokio::sync::mpsc::unbounded_channel();
        let back = {
            let log = Arc::clone(&log);
            move |_: &Otlp| Ok(Away { from: 0, until: 0, log: Arc::clone(&log) })
        };
        let began = tokio::time::Instant::now();
        let (running, turning) = (pusher.run(received, back), async {
            let mut value = 1000;
            for _ in 0..INTERVALS {
                jvm.set(value);
                value += 7;
                tokio::time::sleep(config.interval).await;
            }
            assert_eq!(log.lock().unwrap().taken.len(), 2, "the receiver was unavailable");
            assert!(log.lock().unwrap().attempts > INTERVALS, "it was asked all the time");
            commands.send(PushCommand::Configure(Box::new(config.clone()))).unwrap();
            tokio::time::sleep(config.interval).await;
            commands.send(PushCommand::Stop).unwrap();
        });
        tokio::join!(running, turning);
        let log = log.lock().unwrap();
        let first = log.taken[1].encoded_len();
        assert!(log.longest <= first + first / 10, "requests do not grow: {} after {first}", log.longest);
        (log.taken.clone(), began.elapsed())
    })
}

fn value_of(point: &NumberDataPoint) -> i64 {
    match point.value {
        Some(Number::AsInt(value)) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn after_an_outage_of_1000_intervals_the_receiver_has_the_totals() {
    let (taken, simulated) = push_through_an_outage(Temporality::Cumulative);
    assert!(simulated >= Duration::from_secs(15_000), "{simulated:?}");
    let after = numbers(metric(&taken[2], METRIC));
    assert_eq!(value_of(&after[0]), 1000 + 7 * 999);
    let before = numbers(metric(&taken[1], METRIC));
    assert_eq!(after[0].start_time_unix_nano, before[0].start_time_unix_nano, "the same sum goes on");
}

#[test]
fn the_windows_of_an_outage_of_1000_intervals_are_one() {
    let (taken, _) = push_through_an_outage(Temporality::Delta);
    // The first push has no delta: another exporter may have reported what was before.
    assert!(metrics(&taken[0]).all(|metric| metric.name != METRIC));
    let deltas: Vec<_> = taken[1..].iter().map(|request| numbers(metric(request, METRIC))[0].clone()).collect();
    for (request, point) in taken[1..].iter().zip(&deltas) {
        let Data::Sum(sum) = metric(request, METRIC).data.clone().unwrap() else { panic!() };
        assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
        assert!(point.start_time_unix_nano < point.time_unix_nano);
    }
    // Windows are contiguous, over the outage too, and their sum is the whole growth.
    for (earlier, later) in deltas.iter().zip(&deltas[1..]) {
        assert_eq!(earlier.time_unix_nano, later.start_time_unix_nano);
    }
    let first = 1000;
    assert_eq!(first + deltas.iter().map(value_of).sum::<i64>(), 1000 + 7 * 999);
    // What is not a counter stays cumulative.
    let Data::Sum(sum) = metric(&taken[2], "jvm.class.count").data.clone().unwrap() else { panic!() };
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
}

/// A receiver that is unavailable until the test opens it.
#[derive(Debug)]
struct Door {
    is_open: Arc<AtomicBool>,
    log: Arc<Mutex<Log>>,
}

impl RequestSender for Door {
    async fn send(&mut self, message: Bytes) -> Result<Accepted, PushFailure> {
        if !self.is_open.load(Ordering::Relaxed) {
            return Err(PushFailure {
                reason: PushFailureReason::Connect,
                retry: Retry::Backoff,
                detail: "unavailable".to_owned(),
            });
        }
        self.log.lock().unwrap().taken.push(decode(&message));
        Ok(Accepted::default())
    }
}

#[test]
fn commands_received_during_an_outage_are_executed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let jvm = Arc::new(Jvm::new());
        let config = Otlp { enabled: true, ..Otlp::default() };
        let (is_open, log) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Log>>::default());
        let export = Door { is_open: Arc::clone(&is_open), log: Arc::clone(&log) };
        let source = Arc::clone(&jvm) as Arc<dyn PushSource>;
        let pusher = Pusher::new(config.clone(), export, source, Arc::default());
        let (commands, received) = tokio::sync::mpsc::unbounded_channel();
        let ended = || PushCommand::Ended(jvm.target_set.targets.clone());
        let sending = async {
            // The first push has begun and waits between two attempts.
            tokio::time::sleep(config.interval.min(Duration::from_secs(1)) + Duration::from_millis(100)).await;
            commands.send(ended()).unwrap();
            commands.send(ended()).unwrap();
            // The push is over, and so is that of the first ended JVM.
            tokio::time::sleep(config.interval + Duration::from_millis(100)).await;
            commands.send(ended()).unwrap();
            for _ in 0..300 {
                commands.send(ended()).unwrap();
                tokio::task::yield_now().await;
            }
            let held = Arc::strong_count(&jvm.target_set.targets[0]);
            assert!(held < 100, "{held} ended JVMs are kept open for an unavailable receiver");
            is_open.store(true, Ordering::Relaxed);
            commands.send(PushCommand::Stop).unwrap();
        };
        let running = pusher.run(received, |_| Err("not asked for".to_owned()));
        let both = async { tokio::join!(running, sending) };
        assert!(tokio::time::timeout(config.interval * 20, both).await.is_ok(), "it does not end");
        let pushed: usize = log.lock().unwrap().taken.iter().map(|request| request.resource_metrics.len()).sum();
        assert_eq!(pushed, 304, "all that ended, and the last push");
    });
}

/// A JVM that ends while a push waits for its receiver: the next push lacks it, and its last values follow.
#[test]
fn the_last_window_of_a_jvm_is_pushed_once() {
    let jvm = Jvm::new();
    let config = Otlp { enabled: true, temporality: Temporality::Delta, ..Otlp::default() };
    // The JVM is younger than this exporter.
    let mut encoder = Encoder::new(&config, 1);
    let mut push = |snapshot: &Snapshot, now| {
        encoder.forget_unused(snapshot);
        let requests = requests(&mut encoder, snapshot, now);
        encoder.acknowledge();
        requests
    };
    let now = u64::MAX / 4;
    jvm.set(1000);
    let first = push(&jvm.snapshot(), now);
    assert_eq!(value_of(&numbers(metric(&decode(&first[0]), METRIC))[0]), 1000);
    push(&snapshot(&Arc::default()), now + 1);
    jvm.set(1003);
    let last = jvm.last_snapshot();
    let (message, _) = encoder.write_ended(&last.target_set.targets[0], &last.values(0), now + 2);
    assert_eq!(value_of(&numbers(metric(&decode(&message), METRIC))[0]), 3);
}

#[test]
fn no_state_is_kept_of_jvms_that_end_during_an_outage() {
    let mut encoder = Encoder::new(&Otlp { enabled: true, ..Otlp::default() }, 1);
    let mut last = |jvm: &Jvm| {
        let snapshot = Snapshot::last(jvm.target_set.targets.clone());
        let (_, points) = encoder.write_ended(&snapshot.target_set.targets[0], &snapshot.values(0), 5);
        assert!(points > 0);
        encoder.families()
    };
    let of_one = last(&Jvm::new());
    for _ in 0..5 {
        assert_eq!(last(&Jvm::new()), of_one);
    }
}

#[test]
fn a_jvm_in_a_pod_says_which() {
    let (root, logs) = (Root::new(), tempfile::tempdir().unwrap());
    let _writer = root.put("jdk25-G1", 4711);
    let (id, uid) = ("0a".repeat(32), "01234567-89ab-cdef-0123-456789abcdef");
    let log = logs.path().join(format!("orders-1_shop_app-{id}.log"));
    std::os::unix::fs::symlink(format!("/var/log/pods/shop_orders-1_{uid}/app/0.log"), log).unwrap();
    let downward = DownwardApi { node: Some("node-1".to_owned()), pod: None };
    let roots = vec![root.path().display().to_string()];
    let overrides = Overrides { roots, procfs: Some(None), downward, ..Overrides::default() };
    let mut config = config::load(None, &overrides, &|path| std::fs::read_to_string(path)).unwrap();
    config.identity.container_logs = logs.path().to_owned();
    let mut process = Process::open(Path::new("/proc"), i32::try_from(std::process::id()).unwrap()).unwrap();
    (process.container_id, process.pod_uid) = (Some(id.clone()), Some(uid.to_owned()));
    let mut scan = Scanner::new(&config.discovery).scan(&|_| false);
    scan.candidates[0].process = Some(Arc::new(process));
    let mut reconciler = Reconciler::new(Arc::new(config.clone()), Box::new(Providers::default()));
    let requests = requests(&mut Encoder::new(&config.otlp, NOW), &snapshot(&reconciler.update(scan)), NOW);
    let message = decode(&requests[0]);
    let attributes = resource(&message.resource_metrics[0]);
    for (key, expected) in [
        ("k8s.pod.name", "orders-1"),
        ("k8s.namespace.name", "shop"),
        ("k8s.container.name", "app"),
        ("k8s.pod.uid", uid),
        ("k8s.node.name", "node-1"),
        ("container.id", &*id),
        ("service.namespace", "shop"),
        ("service.instance.id", "shop.orders-1.app"),
    ] {
        assert_eq!(attribute(attributes, key).as_deref(), Some(expected), "{key}");
    }
}
