//! How the exporter's own metrics are declared.
//!
//! Each part of the program declares what it counts as one struct in a [`metrics!`] block: the doc comment of a field is
//! the HELP text, the string before it the name, and its type says what the values mean and which labels they have. Every
//! series of a closed set exists from the first scrape on, so that an alert can tell "none" from "not measured".

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::metric::{Family, FamilySamples, Histogram, Kind, Labels, Value};
use crate::sync::lock;

/// Most bytes of a HELP text.
const HELP_MAXIMUM: usize = 119;

/// A metric without its values.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
}

impl Declaration {
    /// Does not compile with a HELP text that is too long or has no full stop.
    pub(crate) const fn new<M: SampleSource>(name: &'static str, help: &'static str) -> Self {
        let help = help.trim_ascii();
        assert!(help.len() <= HELP_MAXIMUM, "HELP is too long");
        assert!(matches!(help.as_bytes(), [.., b'.']), "HELP does not end with a full stop");
        Self { name, help, kind: M::KIND, labels: M::LABELS }
    }

    /// The metric in the model that all writers read. Its unit is the name's last word.
    pub fn family(&self) -> Family {
        let stem = self.name.strip_suffix("_total").unwrap_or(self.name);
        let unit = match stem.rsplit('_').next() {
            Some("seconds") => "s",
            Some("bytes") => "By",
            _ => "",
        };
        Family { name: self.name.into(), unit: unit.into(), kind: self.kind, help: self.help.into() }
    }
}

/// The metrics of one part of the program.
pub trait MetricGroup {
    /// Every metric, whether it has series yet or not.
    const DECLARATIONS: &'static [Declaration];

    /// The series of each declared metric.
    fn samples(&self) -> Vec<Vec<(Labels, Value)>>;

    /// All of it, as it is now.
    fn families(&self) -> impl Iterator<Item = FamilySamples> {
        Self::DECLARATIONS.iter().map(Declaration::family).zip(self.samples())
    }
}

/// Declares a [`MetricGroup`] as a struct with one field per metric.
macro_rules! metrics {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Group:ident {
            $(#[doc = $help:literal] $name:literal => $field_visibility:vis $field:ident: $Source:ty,)*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        $visibility struct $Group {
            $(#[doc = $help] $field_visibility $field: $Source,)*
        }

        impl $crate::telemetry::MetricGroup for $Group {
            const DECLARATIONS: &'static [$crate::telemetry::Declaration] =
                &[$($crate::telemetry::Declaration::new::<$Source>($name, $help)),*];

            fn samples(&self) -> Vec<Vec<($crate::metric::Labels, $crate::metric::Value)>> {
                vec![$($crate::telemetry::SampleSource::samples(&self.$field)),*]
            }
        }
    };
}
pub(crate) use metrics;

/// The values of one metric.
pub(crate) trait SampleSource: Default {
    const KIND: Kind;
    /// Names of their labels.
    const LABELS: &'static [&'static str] = &[];

    fn samples(&self) -> Vec<(Labels, Value)>;
}

/// The label values of a series.
pub(crate) trait SeriesKey: Clone + Ord + 'static {
    const NAMES: &'static [&'static str];
    /// Every key of a closed set; none of an open one.
    const ALL: &'static [Self] = &[];

    fn values(&self) -> Vec<String>;
}

/// Makes an enumeration that derives `VariantArray` and `IntoStaticStr` of strum the closed set of a label's values.
macro_rules! closed_label {
    ($Key:ty, $name:literal) => {
        impl $crate::telemetry::SeriesKey for $Key {
            const NAMES: &'static [&'static str] = &[$name];
            const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

            fn values(&self) -> Vec<String> {
                vec![<&str>::from(self).to_owned()]
            }
        }
    };
}
pub(crate) use closed_label;

/// A metric with labels: one instrument without labels per key.
#[derive(Debug)]
pub(crate) struct By<K, I>(Mutex<BTreeMap<K, I>>);

impl<K: SeriesKey, I: SampleSource> Default for By<K, I> {
    fn default() -> Self {
        K::ALL.iter().map(|key| (key.clone(), I::default())).collect()
    }
}

impl<K: Ord, I> FromIterator<(K, I)> for By<K, I> {
    fn from_iter<T: IntoIterator<Item = (K, I)>>(series: T) -> Self {
        Self(Mutex::new(series.into_iter().collect()))
    }
}

impl<K: SeriesKey, I: SampleSource> By<K, I> {
    /// Changes the instrument of that key.
    pub(crate) fn with(&self, key: K, change: impl FnOnce(&I)) {
        change(lock(&self.0).entry(key).or_default());
    }
}

impl<K: SeriesKey, I: SampleSource> SampleSource for By<K, I> {
    const KIND: Kind = I::KIND;
    const LABELS: &'static [&'static str] = K::NAMES;

    fn samples(&self) -> Vec<(Labels, Value)> {
        let labels = |key: &K| Labels::new(K::NAMES.iter().copied().zip(key.values()));
        let series = |(key, source): (&K, &I)| {
            source.samples().into_iter().map(|(_, value)| (labels(key), value)).collect::<Vec<_>>()
        };
        lock(&self.0).iter().flat_map(series).collect()
    }
}

/// Declares an instrument that holds a whole number, which is 0 at the start.
macro_rules! whole_number {
    ($(#[$attribute:meta])* $Name:ident) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        pub(crate) struct $Name(AtomicI64);

        impl SampleSource for $Name {
            const KIND: Kind = Kind::$Name;

            fn samples(&self) -> Vec<(Labels, Value)> {
                unlabelled(Value::Int(self.0.load(Relaxed)))
            }
        }
    };
}

whole_number! {
    /// A number of events.
    Counter
}

impl Counter {
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(whole(count), Relaxed);
    }
}

whole_number! {
    /// A number of things that exist now, which adds up over its labels.
    UpDownCounter
}

impl UpDownCounter {
    pub(crate) fn add(&self, count: i64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn set(&self, count: usize) {
        self.0.store(whole(count), Relaxed);
    }
}

whole_number! {
    /// A whole number that goes up and down.
    Gauge
}

impl Gauge {
    pub(crate) fn set(&self, value: u64) {
        self.0.store(whole(value), Relaxed);
    }
}

/// A counter that another part keeps, read for one output.
#[derive(Debug, Default)]
pub(crate) struct ObservedCounter(Option<Value>);

impl From<Value> for ObservedCounter {
    fn from(value: Value) -> Self {
        Self(Some(value))
    }
}

impl SampleSource for ObservedCounter {
    const KIND: Kind = Kind::Counter;

    fn samples(&self) -> Vec<(Labels, Value)> {
        unlabelled(self.0.clone())
    }
}

/// A gauge without a value until it is set, since 0 would be wrong.
#[derive(Debug, Default)]
pub(crate) struct OptionalGauge(Mutex<Option<Value>>);

impl OptionalGauge {
    pub(crate) fn set(&self, value: Value) {
        *lock(&self.0) = Some(value);
    }

    pub(crate) fn set_flag(&self, flag: bool) {
        self.set(Value::Int(flag.into()));
    }
}

impl From<Option<Value>> for OptionalGauge {
    fn from(value: Option<Value>) -> Self {
        Self(Mutex::new(value))
    }
}

impl SampleSource for OptionalGauge {
    const KIND: Kind = Kind::Gauge;

    fn samples(&self) -> Vec<(Labels, Value)> {
        unlabelled(lock(&self.0).clone())
    }
}

/// Upper bounds of a histogram's buckets, ascending, without +Inf.
pub(crate) trait Bounds {
    /// In seconds.
    const SECONDS: &'static [f64];
}

#[derive(Debug)]
pub(crate) struct DurationHistogram<B>(Mutex<Histogram>, PhantomData<B>);

impl<B: Bounds> Default for DurationHistogram<B> {
    fn default() -> Self {
        let histogram = Histogram {
            bounds: B::SECONDS.into(),
            counts: vec![0; B::SECONDS.len() + 1],
            created: unix_time(),
            ..Histogram::default()
        };
        Self(Mutex::new(histogram), PhantomData)
    }
}

impl<B: Bounds> DurationHistogram<B> {
    pub(crate) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = B::SECONDS.partition_point(|bound| *bound < seconds);
        let mut histogram = lock(&self.0);
        if let Some(count) = histogram.counts.get_mut(bucket) {
            *count += 1;
        }
        histogram.sum += seconds;
    }
}

impl<B: Bounds> SampleSource for DurationHistogram<B> {
    const KIND: Kind = Kind::Histogram;

    fn samples(&self) -> Vec<(Labels, Value)> {
        unlabelled(Value::Histogram(Arc::new(lock(&self.0).clone())))
    }
}

/// How something ended, as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Outcome {
    Success,
    Failure,
}

impl Outcome {
    pub(crate) fn of(succeeded: bool) -> Self {
        if succeeded { Self::Success } else { Self::Failure }
    }
}

closed_label!(Outcome, "outcome");

/// The only series of a metric without labels, or none.
fn unlabelled(value: impl Into<Option<Value>>) -> Vec<(Labels, Value)> {
    value.into().map(|value| (Labels::default(), value)).into_iter().collect()
}

/// A count as the model has it.
fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

pub(crate) fn int(count: u64) -> Value {
    Value::Int(whole(count))
}

/// Seconds since the epoch.
pub(crate) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Debug)]
    struct Tenths;

    impl Bounds for Tenths {
        const SECONDS: &'static [f64] = &[0.1, 0.2];
    }

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Path(&'static str);

    impl SeriesKey for Path {
        const NAMES: &'static [&'static str] = &["path"];

        fn values(&self) -> Vec<String> {
            vec![self.0.to_owned()]
        }
    }

    metrics! {
        /// One metric of each sort.
        struct EachSort {
            /// Loads.
            "loads_total" => loads: By<Outcome, Counter>,
            /// Requests.
            "requests_total" => requests: By<Path, Counter>,
            /// Bytes sent.
            "sent_bytes_total" => sent: ObservedCounter,
            /// Files that are open.
            "open_files" => open: UpDownCounter,
            /// Length of the queue.
            "queue_length" => queue: Gauge,
            /// Time of the last load.
            "last_load_timestamp_seconds" => last: OptionalGauge,
            /// Duration of loads.
            "load_duration_seconds" => durations: DurationHistogram<Tenths>,
        }
    }

    /// `name{labels} value`
    fn lines(group: &EachSort) -> Vec<String> {
        let line = |name: &str, (labels, value): (Labels, Value)| {
            let labels: String = labels.iter().map(|(name, value)| format!("{{{name}={value}}}")).collect();
            format!("{name}{labels} {}", value.as_f64())
        };
        group
            .families()
            .flat_map(|(family, series)| series.into_iter().map(move |one| line(&family.name, one)))
            .collect()
    }

    #[test]
    fn closed_sets_are_complete_at_the_start_and_open_ones_grow() {
        let group = EachSort::default();
        let start = [
            "loads_total{outcome=success} 0",
            "loads_total{outcome=failure} 0",
            "open_files 0",
            "queue_length 0",
            "load_duration_seconds 0",
        ];
        assert_eq!(lines(&group), start);
        assert_eq!(EachSort::DECLARATIONS.len(), 7);

        group.loads.with(Outcome::of(false), Counter::increment);
        group.requests.with(Path("/b"), |requests| requests.add(2));
        group.requests.with(Path("/a"), Counter::increment);
        group.open.add(3);
        group.open.add(-1);
        group.queue.set(7);
        group.last.set(Value::Float(1.5));
        let group = EachSort { sent: int(9).into(), ..group };
        let end = [
            "loads_total{outcome=success} 0",
            "loads_total{outcome=failure} 1",
            "requests_total{path=/a} 1",
            "requests_total{path=/b} 2",
            "sent_bytes_total 9",
            "open_files 2",
            "queue_length 7",
            "last_load_timestamp_seconds 1.5",
            "load_duration_seconds 0",
        ];
        assert_eq!(lines(&group), end);
    }

    #[test]
    fn declarations_become_families() {
        let families: Vec<Family> = EachSort::DECLARATIONS.iter().map(Declaration::family).collect();
        let of = |name: &str| families.iter().find(|family| *family.name == *name).unwrap();
        let sent = of("sent_bytes_total");
        assert_eq!((sent.kind, &*sent.unit, &*sent.help), (Kind::Counter, "By", "Bytes sent."));
        assert_eq!((of("open_files").kind, &*of("open_files").unit), (Kind::UpDownCounter, ""));
        assert_eq!((of("load_duration_seconds").kind, &*of("load_duration_seconds").unit), (Kind::Histogram, "s"));
        assert_eq!(EachSort::DECLARATIONS[0].labels, ["outcome"]);
        assert!(EachSort::DECLARATIONS[3].labels.is_empty());
    }

    #[test]
    fn a_duration_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let durations = DurationHistogram::<Tenths>::default();
        for millis in [50, 100, 150, 250, 500] {
            durations.observe(Duration::from_millis(millis));
        }
        let [(_, Value::Histogram(histogram))] = &*durations.samples() else { panic!("{durations:?}") };
        assert_eq!((&*histogram.counts, histogram.sum), (&[2, 1, 2][..], 1.05));
        assert!(histogram.created > 1.5e9);
    }
}
