//! The exporter's own metrics.
//!
//! They are plain numbers in this crate's metric model, not `prometheus-client`'s types: they have to go through the
//! same writers as everything else, into text, OpenMetrics and OTLP alike.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::process;
use crate::metric::{Family, FamilySamples, Histogram, Kind, Labels, Value};
use crate::sync::lock;

/// Upper bounds of `hotspot_exporter_scrape_duration_seconds`: 0.3 ms is the budget of one JVM, a second that of
/// thousands.
const DURATION_BOUNDS: [f64; 10] = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// The closed sets that label values come from. Each is present as 0 from the start, so that an alert can tell "none"
/// from "not measured".
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// States of a target.
    pub states: Vec<&'static str>,
    /// Reasons to refuse a file or process.
    pub refusals: Vec<&'static str>,
    /// Reasons why a JVM's memory could not be read.
    pub read_failures: Vec<&'static str>,
    /// Reasons to drop a series.
    pub drops: Vec<&'static str>,
}

/// Why the server refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpRefusal {
    /// More connections than the bound.
    MaxConnections,
    /// More requests in flight than `--web.max-requests`.
    MaxRequests,
    /// The exposition was not ready when the scraper gave up.
    Deadline,
    /// The request had a body.
    Body,
    /// A reload without `--web.enable-lifecycle`.
    Lifecycle,
    /// A TLS handshake that failed or took too long.
    Handshake,
    /// More requests than the web configuration's `rate_limit`.
    RateLimit,
    /// No or a wrong password.
    Unauthorized,
    /// More passwords to check than can wait.
    PasswordQueue,
}

impl HttpRefusal {
    const ALL: [Self; 9] = [
        Self::MaxConnections,
        Self::MaxRequests,
        Self::Deadline,
        Self::Body,
        Self::Lifecycle,
        Self::Handshake,
        Self::RateLimit,
        Self::Unauthorized,
        Self::PasswordQueue,
    ];

    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
            Self::MaxRequests => "max_requests",
            Self::Deadline => "deadline",
            Self::Body => "body",
            Self::Lifecycle => "lifecycle",
            Self::Handshake => "handshake",
            Self::RateLimit => "rate_limit",
            Self::Unauthorized => "unauthorized",
            Self::PasswordQueue => "password_queue",
        }
    }
}

/// How a reload of the configuration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// The new one is in force.
    Success,
    /// It was bad; the old one stays.
    Failure,
}

type Counts = BTreeMap<&'static str, u64>;

/// The numbers, shared by all parts of the program that count something.
#[derive(Debug)]
pub struct SelfMetrics {
    in_flight: AtomicUsize,
    scans: AtomicU64,
    scan_nanoseconds: AtomicU64,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    targets: Counts,
    refused: Counts,
    requests_refused: Counts,
    read_failures: Counts,
    series_dropped: Counts,
    reloads: Counts,
    web_reloads: Counts,
    web_reload_succeeded: Option<bool>,
    reload_succeeded: Option<bool>,
    reload_success_time: Option<f64>,
    scrapes: BTreeMap<(String, u16), u64>,
    durations: BTreeMap<String, Histogram>,
    samples: BTreeMap<String, u64>,
}

/// Counts a request as in flight while it lives.
#[derive(Debug)]
pub struct InFlight(Arc<SelfMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl SelfMetrics {
    /// Everything at zero.
    pub fn new(words: Vocabulary) -> Arc<Self> {
        let zeros = |words: &[&'static str]| words.iter().map(|word| (*word, 0)).collect::<Counts>();
        Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            scans: AtomicU64::new(0),
            scan_nanoseconds: AtomicU64::new(0),
            tables: Mutex::new(Tables {
                targets: zeros(&words.states),
                refused: zeros(&words.refusals),
                requests_refused: zeros(&HttpRefusal::ALL.map(HttpRefusal::as_str)),
                read_failures: zeros(&words.read_failures),
                series_dropped: zeros(&words.drops),
                reloads: zeros(&["success", "failure"]),
                web_reloads: zeros(&["success", "failure"]),
                web_reload_succeeded: None,
                reload_succeeded: None,
                reload_success_time: None,
                scrapes: BTreeMap::new(),
                durations: BTreeMap::new(),
                samples: BTreeMap::new(),
            }),
        })
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }

    /// A scan ended: its duration, the targets by state, the refusals by reason, and the series that rules ask for and
    /// that are not served, by reason. Words that are not given are 0.
    pub fn scanned(&self, took: Duration, targets: &Counts, refused: &Counts, series_dropped: &Counts) {
        self.scans.fetch_add(1, Relaxed);
        self.scan_nanoseconds.store(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        let mut tables = self.tables();
        replace(&mut tables.targets, targets);
        replace(&mut tables.refused, refused);
        replace(&mut tables.series_dropped, series_dropped);
    }

    /// A JVM's memory could not be read.
    pub fn read_failed(&self, reason: &'static str) {
        *self.tables().read_failures.entry(reason).or_default() += 1;
    }

    /// An exposition of that profile had so many samples.
    pub fn set_samples(&self, profile: &str, count: u64) {
        *slot(&mut self.tables().samples, profile) = count;
    }

    /// A scrape of a known profile was answered.
    pub fn scraped(&self, profile: &str, code: u16) {
        *self.tables().scrapes.entry((profile.to_owned(), code)).or_default() += 1;
    }

    /// An exposition of that profile was made, whether one scraper or several waited for it.
    pub fn exposed(&self, profile: &str, took: Duration) {
        let mut tables = self.tables();
        let histogram = slot(&mut tables.durations, profile);
        if histogram.counts.is_empty() {
            histogram.bounds = Arc::new(DURATION_BOUNDS);
            histogram.counts = vec![0; DURATION_BOUNDS.len() + 1];
            histogram.created = now();
        }
        let seconds = took.as_secs_f64();
        let bucket = DURATION_BOUNDS.partition_point(|bound| *bound < seconds);
        histogram.counts[bucket] += 1;
        histogram.sum += seconds;
    }

    /// A request that does work has come; it is in flight until the guard is dropped.
    pub fn request(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    /// A request or connection was turned away.
    pub fn request_refused(&self, refusal: HttpRefusal) {
        *self.tables().requests_refused.entry(refusal.as_str()).or_default() += 1;
    }

    /// A configuration was loaded, at the start or later, or was found bad.
    pub fn reloaded(&self, outcome: ReloadOutcome) {
        let mut tables = self.tables();
        let succeeded = outcome == ReloadOutcome::Success;
        *tables.reloads.entry(if succeeded { "success" } else { "failure" }).or_default() += 1;
        tables.reload_succeeded = Some(succeeded);
        if succeeded {
            tables.reload_success_time = Some(now());
        }
    }

    /// The web configuration was loaded again, or was found bad.
    pub fn web_reloaded(&self, outcome: ReloadOutcome) {
        let mut tables = self.tables();
        let succeeded = outcome == ReloadOutcome::Success;
        *tables.web_reloads.entry(if succeeded { "success" } else { "failure" }).or_default() += 1;
        tables.web_reload_succeeded = Some(succeeded);
    }

    /// All of it, as it is now.
    pub fn families(&self) -> Vec<FamilySamples> {
        let mut out = vec![build_info()];
        self.work(&mut out);
        self.tables().write(&mut out);
        for (name, unit, kind, help, value) in process::readings() {
            out.push((family(name, unit, kind, help), vec![(Labels::default(), value)]));
        }
        out
    }

    fn work(&self, out: &mut Out) {
        let one = |value| vec![(Labels::default(), value)];
        let name = "hotspot_exporter_requests_in_flight";
        let help = "Requests being answered, of those that read JVMs.";
        out.push((family(name, "", Kind::UpDownCounter, help), one(int(self.in_flight.load(Relaxed) as u64))));
        let help = "Scans for JVMs.";
        out.push((family("hotspot_exporter_scans_total", "", Kind::Counter, help), one(int(self.scans.load(Relaxed)))));
        if self.scans.load(Relaxed) > 0 {
            let seconds = self.scan_nanoseconds.load(Relaxed) as f64 / 1e9;
            let help = "How long the last scan for JVMs took.";
            let name = "hotspot_exporter_scan_duration_seconds";
            out.push((family(name, "s", Kind::Gauge, help), one(Value::Float(seconds))));
        }
    }
}

type Out = Vec<FamilySamples>;

/// What the sampling thread has done since it started.
pub fn sampler(ticks: u64, looks: u64, overruns: u64) -> [FamilySamples; 3] {
    let counter = |name, help, count| (family(name, "", Kind::Counter, help), vec![(Labels::default(), int(count))]);
    [
        counter("hotspot_exporter_sampler_ticks_total", "Rounds of looks at JVMs between scrapes.", ticks),
        counter("hotspot_exporter_sampler_looks_total", "Looks at single JVMs between scrapes.", looks),
        counter(
            "hotspot_exporter_sampler_overruns_total",
            "Rounds left out because the one before ran late.",
            overruns,
        ),
    ]
}

/// Questions for native memory that got no answer, by reason.
pub fn nmt_failures(failures: &[(&'static str, u64)]) -> FamilySamples {
    let help = "Questions for native memory without an answer, by reason.";
    let series = failures.iter().map(|(reason, count)| (Labels::new([("reason", *reason)]), int(*count)));
    (family("hotspot_exporter_nmt_failures_total", "", Kind::Counter, help), series.collect())
}

impl Tables {
    fn write(&self, out: &mut Out) {
        for (name, kind, label, help, counts) in [
            ("targets", Kind::UpDownCounter, "state", "JVMs by state.", &self.targets),
            (
                "refused",
                Kind::UpDownCounter,
                "reason",
                "Files and processes that are not served, by reason.",
                &self.refused,
            ),
            (
                "requests_refused_total",
                Kind::Counter,
                "reason",
                "Requests and connections turned away.",
                &self.requests_refused,
            ),
            (
                "read_failures_total",
                Kind::Counter,
                "reason",
                "Reads of a JVM's memory that failed.",
                &self.read_failures,
            ),
            (
                "series_dropped",
                Kind::Gauge,
                "reason",
                "Series that rules ask for and that are not served.",
                &self.series_dropped,
            ),
            ("config_reloads_total", Kind::Counter, "outcome", "Loads of the configuration.", &self.reloads),
            (
                "web_config_reloads_total",
                Kind::Counter,
                "outcome",
                "Loads of the web configuration after the first.",
                &self.web_reloads,
            ),
        ] {
            let series = counts.iter().map(|(word, count)| (Labels::new([(label, *word)]), int(*count))).collect();
            out.push((family(&format!("hotspot_exporter_{name}"), "", kind, help), series));
        }
        if let Some(succeeded) = self.reload_succeeded {
            let help = "Whether the last load of the configuration succeeded.";
            let name = "hotspot_exporter_config_last_reload_successful";
            out.push((family(name, "", Kind::Gauge, help), vec![(Labels::default(), Value::Int(succeeded.into()))]));
        }
        if let Some(succeeded) = self.web_reload_succeeded {
            let help = "Whether the last load of the web configuration succeeded.";
            let name = "hotspot_exporter_web_config_last_reload_successful";
            out.push((family(name, "", Kind::Gauge, help), vec![(Labels::default(), Value::Int(succeeded.into()))]));
        }
        if let Some(time) = self.reload_success_time {
            let help = "When the configuration in force was loaded.";
            let name = "hotspot_exporter_config_last_reload_success_timestamp_seconds";
            out.push((family(name, "s", Kind::Gauge, help), vec![(Labels::default(), Value::Float(time))]));
        }
        self.write_scrapes(out);
    }

    fn write_scrapes(&self, out: &mut Out) {
        let profile = |name: &str| Labels::new([("profile", name)]);
        let codes = self.scrapes.iter().map(|((profile, code), count)| {
            (Labels::new([("profile", profile.clone()), ("code", code.to_string())]), int(*count))
        });
        let help = "Scrapes answered, by profile and HTTP status.";
        out.push((family("hotspot_exporter_scrapes_total", "", Kind::Counter, help), codes.collect()));
        let durations = self.durations.iter();
        let durations =
            durations.map(|(name, histogram)| (profile(name), Value::Histogram(Arc::new(histogram.clone()))));
        let help = "How long making an exposition took.";
        let name = "hotspot_exporter_scrape_duration_seconds";
        out.push((family(name, "s", Kind::Histogram, help), durations.collect()));
        let samples = self.samples.iter().map(|(name, count)| (profile(name), int(*count)));
        let help = "Samples of the last exposition.";
        out.push((family("hotspot_exporter_samples", "", Kind::Gauge, help), samples.collect()));
    }
}

fn build_info() -> (Family, Vec<(Labels, Value)>) {
    let labels = [
        ("version", Some(env!("CARGO_PKG_VERSION"))),
        ("revision", option_env!("HOTSPOT_EXPORTER_REVISION")),
        ("rustc", option_env!("HOTSPOT_EXPORTER_RUSTC")),
    ];
    let labels = Labels::new(labels.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let help = "Which build of the exporter this is.";
    (family("hotspot_exporter_build_info", "", Kind::Info, help), vec![(labels, Value::Int(1))])
}

fn family(name: &str, unit: &str, kind: Kind, help: &str) -> Family {
    Family { name: name.into(), unit: unit.into(), kind, help: help.into() }
}

fn int(count: u64) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn replace(counts: &mut Counts, with: &Counts) {
    counts.values_mut().for_each(|count| *count = 0);
    counts.extend(with);
}

fn slot<'a, V: Default>(map: &'a mut BTreeMap<String, V>, key: &str) -> &'a mut V {
    if !map.contains_key(key) {
        map.insert(key.to_owned(), V::default());
    }
    map.entry(key.to_owned()).or_default()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn metrics() -> Arc<SelfMetrics> {
        SelfMetrics::new(Vocabulary {
            states: vec!["mapped", "waiting"],
            refusals: vec!["other_owner"],
            read_failures: vec!["truncated"],
            drops: vec!["limit"],
        })
    }

    /// `name{labels} value` of everything but `process_*`.
    fn lines(metrics: &SelfMetrics) -> Vec<String> {
        let families = metrics.families();
        let families = families.iter().filter(|(family, _)| !family.name.starts_with("process_"));
        families
            .flat_map(|(family, series)| {
                series.iter().map(move |(labels, value)| {
                    let labels = labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
                    format!("{}{{{}}} {}", family.name, labels.join(","), value.as_f64())
                })
            })
            .collect()
    }

    fn has(metrics: &SelfMetrics, line: &str) {
        let lines = lines(metrics);
        assert!(lines.iter().any(|found| found == line), "{line} not in {lines:#?}");
    }

    #[test]
    fn every_word_is_there_as_zero() {
        let metrics = metrics();
        for line in [
            "hotspot_exporter_targets{state=mapped} 0",
            "hotspot_exporter_targets{state=waiting} 0",
            "hotspot_exporter_refused{reason=other_owner} 0",
            "hotspot_exporter_read_failures_total{reason=truncated} 0",
            "hotspot_exporter_series_dropped{reason=limit} 0",
            "hotspot_exporter_requests_refused_total{reason=max_requests} 0",
            "hotspot_exporter_config_reloads_total{outcome=failure} 0",
            "hotspot_exporter_requests_in_flight{} 0",
        ] {
            has(&metrics, line);
        }
        assert!(!lines(&metrics).iter().any(|line| line.contains("last_reload") || line.contains("scan_duration")));
    }

    #[test]
    fn what_happened_is_counted() {
        let metrics = metrics();
        metrics.scanned(
            Duration::from_millis(250),
            &Counts::from([("mapped", 3), ("waiting", 1)]),
            &Counts::new(),
            &Counts::new(),
        );
        metrics.scanned(
            Duration::from_millis(500),
            &Counts::from([("mapped", 2)]),
            &Counts::from([("new_word", 1)]),
            &Counts::new(),
        );
        metrics.scraped("otel", 200);
        metrics.exposed("otel", Duration::from_micros(300));
        metrics.exposed("otel", Duration::from_secs(11));
        metrics.set_samples("otel", 80);
        metrics.request_refused(HttpRefusal::MaxRequests);
        metrics.reloaded(ReloadOutcome::Success);
        metrics.reloaded(ReloadOutcome::Failure);
        let guard = metrics.request();
        for line in [
            "hotspot_exporter_scans_total{} 2",
            "hotspot_exporter_scan_duration_seconds{} 0.5",
            "hotspot_exporter_targets{state=mapped} 2",
            "hotspot_exporter_targets{state=waiting} 0",
            "hotspot_exporter_refused{reason=new_word} 1",
            "hotspot_exporter_scrapes_total{code=200,profile=otel} 1",
            "hotspot_exporter_samples{profile=otel} 80",
            "hotspot_exporter_requests_refused_total{reason=max_requests} 1",
            "hotspot_exporter_config_last_reload_successful{} 0",
            "hotspot_exporter_config_reloads_total{outcome=success} 1",
            "hotspot_exporter_requests_in_flight{} 1",
        ] {
            has(&metrics, line);
        }
        drop(guard);
        has(&metrics, "hotspot_exporter_requests_in_flight{} 0");

        let families = metrics.families();
        let durations = families.iter().find(|(family, _)| family.name.ends_with("scrape_duration_seconds")).unwrap();
        let Value::Histogram(histogram) = &durations.1[0].1 else { panic!("{durations:?}") };
        assert_eq!((histogram.counts[0], histogram.counts[10], histogram.count()), (1, 1, 2));
    }

    #[test]
    fn names_survive_translation() {
        for (family, _) in metrics().families() {
            let suffix = if family.kind == Kind::Counter { "_total" } else { "" };
            assert_eq!(format!("{}{suffix}", family.prometheus()), *family.name);
        }
    }
}
