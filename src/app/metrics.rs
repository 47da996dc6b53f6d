//! The metrics of scans, reads and reloads, and the list of all the exporter's own metrics.

use std::time::Duration;

use strum::VariantArray;

use super::App;
use crate::config::Config;
use crate::discovery::RefusalReason;
use crate::metric::{FamilySamples, Kind, Labels, Value};
use crate::output::otlp::PushStatistics;
use crate::providers::attach::AttachFailureReason;
use crate::snapshot::ReadFailure;
use crate::targets::{TargetSet, TargetState};
use crate::telemetry::{
    By, Counter, Declaration, Gauge, HttpMetrics, MetricGroup, ObservedCounter, OptionalGauge, Outcome, ProcessMetrics,
    SampleSource, UpDownCounter, closed_label, int, metrics, unix_time,
};

metrics! {
    /// What scans, reads and reloads count.
    pub(super) struct AppMetrics {
        /// Version, source revision and compiler of the exporter.
        "hotspot_exporter_build_info" => build: BuildInfo,
        /// Completed scans for JVMs.
        "hotspot_exporter_scans_total" => scans: Counter,
        /// Duration of the last scan for JVMs.
        "hotspot_exporter_scan_duration_seconds" => scan_duration: OptionalGauge,
        /// JVMs, by state.
        "hotspot_exporter_targets" => targets: By<TargetState, UpDownCounter>,
        /// Files and processes that are not served, by reason.
        "hotspot_exporter_refused" => refused: By<RefusalReason, UpDownCounter>,
        /// Whether no JVM has been found for a minute (1) or not (0), by whether processes are visible.
        "hotspot_exporter_no_jvm_found" => no_jvm_found: By<ProcessView, Gauge>,
        /// Failed reads of a JVM's counters, by reason.
        "hotspot_exporter_read_failures_total" => pub(super) read_failures: By<ReadFailure, Counter>,
        /// Series that rules make and that are not served, by reason.
        "hotspot_exporter_series_dropped" => pub(super) series_dropped: By<DropReason, Gauge>,
        /// Reloads of the configuration, by outcome.
        "hotspot_exporter_config_reloads_total" => config_reloads: By<Outcome, Counter>,
        /// Whether the last load of the configuration succeeded (1) or failed (0).
        "hotspot_exporter_config_last_reload_successful" => config_loaded: OptionalGauge,
        /// Unix time at which the configuration in force was loaded.
        "hotspot_exporter_config_last_reload_success_timestamp_seconds" => config_load_time: OptionalGauge,
    }
}

impl AppMetrics {
    pub(super) fn scanned(&self, set: &TargetSet, took: Duration) {
        self.scans.increment();
        self.scan_duration.set(Value::Float(took.as_secs_f64()));
        for state in TargetState::VARIANTS {
            self.targets.with(*state, |jvms| jvms.set(set.count(*state)));
        }
        for reason in RefusalReason::VARIANTS {
            let count = set.refusals.iter().filter(|refusal| refusal.reason == *reason).count();
            self.refused.with(*reason, |refused| refused.set(count));
        }
        for (reason, count) in [
            (DropReason::Limit, set.dropped.limit),
            (DropReason::Duplicate, set.dropped.duplicate),
            (DropReason::Conflict, set.dropped.conflict),
        ] {
            self.series_dropped.with(reason, |dropped| dropped.set(count.into()));
        }
    }

    pub(super) fn silent(&self, silent: bool, config: &Config) {
        let view = match config.discovery.procfs.visible() {
            Some(_) => ProcessView::Visible,
            None => ProcessView::Hidden,
        };
        for known in ProcessView::VARIANTS {
            self.no_jvm_found.with(*known, |found| found.set((silent && *known == view).into()));
        }
    }

    pub(super) fn config_loaded(&self) {
        self.config_loaded.set_flag(true);
        self.config_load_time.set(Value::Float(unix_time()));
    }

    /// Whether an earlier configuration is in force than the last that was to be loaded.
    pub(super) fn has_failed_to_reload(&self) -> bool {
        self.config_loaded.samples().iter().any(|(_, value)| *value == Value::Int(0))
    }

    pub(super) fn config_reloaded(&self, succeeded: bool) {
        self.config_reloads.with(Outcome::of(succeeded), Counter::increment);
        if succeeded {
            self.config_loaded();
        } else {
            self.config_loaded.set_flag(false);
        }
    }
}

metrics! {
    /// What the sampler and the poller of attach sockets have done since they started.
    struct ProviderMetrics {
        /// Rounds in which JVMs are sampled between scrapes.
        "hotspot_exporter_sampler_ticks_total" => ticks: ObservedCounter,
        /// Samples of single JVMs between scrapes.
        "hotspot_exporter_sampler_looks_total" => looks: ObservedCounter,
        /// Sampling rounds skipped because the previous one was late.
        "hotspot_exporter_sampler_overruns_total" => overruns: ObservedCounter,
        /// Questions over attach sockets that failed, by reason.
        "hotspot_exporter_nmt_failures_total" => attach_failures: By<AttachFailureReason, ObservedCounter>,
    }
}

impl App {
    /// The exporter's own metrics on the page of the set's first profile: without its process where that page has those
    /// of JVMs under the same names.
    pub fn page_families(&self, set: &TargetSet) -> Vec<FamilySamples> {
        let config = self.config.load();
        let first = set.profiles.first().or(config.profiles.first());
        let mut families = self.families();
        if !first.is_some_and(|profile| profile.has_processes) {
            families.extend(ProcessMetrics::read().families());
        }
        families
    }

    /// The exporter's own metrics.
    pub(super) fn own_families(&self) -> Vec<FamilySamples> {
        let mut families = self.families();
        families.extend(ProcessMetrics::read().families());
        families
    }

    /// The exporter's own metrics but those of its process.
    fn families(&self) -> Vec<FamilySamples> {
        let sampler = self.sampler.load();
        let sampled = sampler.as_ref().map(|sampler| sampler.statistics()).unwrap_or_default();
        let failures = self.poller.failures().into_iter();
        let providers = ProviderMetrics {
            ticks: int(sampled.ticks).into(),
            looks: int(sampled.samples).into(),
            overruns: int(sampled.overruns).into(),
            attach_failures: failures.map(|(reason, count)| (reason, int(count).into())).collect(),
        };
        let mut families: Vec<FamilySamples> = self.metrics.families().collect();
        families.extend(self.http.families());
        families.extend(providers.families());
        if self.config.load().otlp.enabled {
            families.extend(self.push.statistics.families());
        }
        families
    }
}

/// All the exporter's own metrics, whether they have series yet or not.
pub fn declarations() -> impl Iterator<Item = &'static Declaration> {
    [
        AppMetrics::DECLARATIONS,
        HttpMetrics::DECLARATIONS,
        ProviderMetrics::DECLARATIONS,
        PushStatistics::DECLARATIONS,
        ProcessMetrics::DECLARATIONS,
    ]
    .into_iter()
    .flatten()
}

/// Which build this is. What a build does not know has no label.
#[derive(Debug, Default)]
struct BuildInfo;

impl SampleSource for BuildInfo {
    const KIND: Kind = Kind::Info;
    const LABELS: &'static [&'static str] = &["version", "revision", "rustc"];

    fn samples(&self) -> Vec<(Labels, Value)> {
        let values = [
            Some(env!("CARGO_PKG_VERSION")),
            option_env!("HOTSPOT_EXPORTER_REVISION"),
            option_env!("HOTSPOT_EXPORTER_RUSTC"),
        ];
        let labels = Self::LABELS.iter().zip(values).filter_map(|(name, value)| Some((*name, value?)));
        vec![(Labels::new(labels), Value::Int(1))]
    }
}

closed_label!(TargetState, "state");
closed_label!(RefusalReason, "reason");
closed_label!(ReadFailure, "reason");
closed_label!(DropReason, "reason");
closed_label!(ProcessView, "processes");
closed_label!(AttachFailureReason, "reason");

/// Why a series that a rule makes is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum DropReason {
    Limit,
    Duplicate,
    Conflict,
}

/// Whether the exporter looks at processes. One that does gives a reason for each JVM that it does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
enum ProcessView {
    Visible,
    Hidden,
}
