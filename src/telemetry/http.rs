//! What the HTTP server counts.

use std::sync::Arc;
use std::time::Duration;

use super::registry::{
    Bounds, By, Counter, DurationHistogram, Gauge, OptionalGauge, Outcome, SeriesKey, UpDownCounter, closed_label,
    metrics,
};

metrics! {
    /// Metrics of the HTTP server, shared by all its parts.
    pub struct HttpMetrics {
        /// HTTP requests in progress that read JVMs.
        "hotspot_exporter_requests_in_flight" => in_flight: UpDownCounter,
        /// HTTP requests and connections refused, by reason.
        "hotspot_exporter_requests_refused_total" => pub(crate) refused: By<HttpRefusal, Counter>,
        /// Scrapes answered, by profile and HTTP status code.
        "hotspot_exporter_scrapes_total" => scrapes: By<ScrapeLabels, Counter>,
        /// Time to produce an exposition, by profile.
        "hotspot_exporter_scrape_duration_seconds" => durations: By<ProfileLabel, DurationHistogram<ScrapeBounds>>,
        /// Samples about JVMs in the last exposition, by profile.
        "hotspot_exporter_samples" => samples: By<ProfileLabel, Gauge>,
        /// Reloads of the web configuration, by outcome.
        "hotspot_exporter_web_config_reloads_total" => web_reloads: By<Outcome, Counter>,
        /// Whether the last load of the web configuration succeeded (1) or failed (0).
        "hotspot_exporter_web_config_last_reload_successful" => web_loaded: OptionalGauge,
    }
}

impl HttpMetrics {
    /// A request that reads JVMs begins; it ends when the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>) -> InFlight {
        self.in_flight.add(1);
        InFlight(Arc::clone(self))
    }

    pub(crate) fn request_refused(&self, refusal: HttpRefusal) {
        self.refused.with(refusal, Counter::increment);
    }

    /// A scrape of a known profile was answered.
    pub(crate) fn scraped(&self, profile: &str, code: u16) {
        self.scrapes.with(ScrapeLabels { profile: profile.to_owned(), code }, Counter::increment);
    }

    /// An exposition of that profile was produced, for one scraper or several that waited for it.
    pub(crate) fn exposed(&self, profile: &str, took: Duration) {
        self.durations.with(ProfileLabel(profile.to_owned()), |durations| durations.observe(took));
    }

    pub(crate) fn set_samples(&self, profile: &str, count: u64) {
        self.samples.with(ProfileLabel(profile.to_owned()), |samples| samples.set(count));
    }

    /// The web configuration was loaded at the start.
    pub fn web_loaded(&self) {
        self.web_loaded.set_flag(true);
    }

    pub(crate) fn web_reloaded(&self, succeeded: bool) {
        self.web_reloads.with(Outcome::of(succeeded), Counter::increment);
        self.web_loaded.set_flag(succeeded);
    }
}

/// Counts a request as in progress while it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<HttpMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.add(-1);
    }
}

/// Why the server refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum HttpRefusal {
    /// More connections than the limit.
    MaxConnections,
    /// More requests in progress than `--web.max-requests`.
    MaxRequests,
    /// The exposition was not ready before the scraper's timeout.
    Deadline,
    /// The request had a body.
    Body,
    /// A reload without `--web.enable-lifecycle`.
    Lifecycle,
    /// A TLS handshake failed or took too long.
    Handshake,
    /// More requests than the web configuration's `rate_limit`.
    RateLimit,
    /// No or a wrong password.
    Unauthorized,
    /// More passwords to check than the queue holds.
    PasswordQueue,
}

closed_label!(HttpRefusal, "reason");

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ProfileLabel(String);

impl SeriesKey for ProfileLabel {
    const NAMES: &'static [&'static str] = &["profile"];

    fn values(&self) -> Vec<String> {
        vec![self.0.clone()]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ScrapeLabels {
    profile: String,
    code: u16,
}

impl SeriesKey for ScrapeLabels {
    const NAMES: &'static [&'static str] = &["profile", "code"];

    fn values(&self) -> Vec<String> {
        vec![self.profile.clone(), self.code.to_string()]
    }
}

/// 0.3 ms is the budget of one JVM, a second that of thousands.
#[derive(Debug)]
struct ScrapeBounds;

impl Bounds for ScrapeBounds {
    const SECONDS: &'static [f64] = &[0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
}

#[cfg(test)]
mod tests {
    use super::super::MetricGroup;
    use super::*;

    /// The number of series, and the sum of their values.
    fn sum(metrics: &HttpMetrics, name: &str) -> (usize, f64) {
        let found = metrics.families().find(|(family, _)| *family.name == *name);
        let series = found.map(|(_, series)| series).unwrap_or_default();
        (series.len(), series.iter().map(|(_, value)| value.as_f64()).sum())
    }

    #[test]
    fn a_request_is_in_flight_while_its_guard_lives() {
        let metrics = Arc::new(HttpMetrics::default());
        let guard = metrics.request();
        assert_eq!(sum(&metrics, "hotspot_exporter_requests_in_flight"), (1, 1.0));
        drop(guard);
        assert_eq!(sum(&metrics, "hotspot_exporter_requests_in_flight"), (1, 0.0));
    }

    #[test]
    fn each_profile_and_status_is_a_series_of_its_own() {
        let metrics = HttpMetrics::default();
        assert_eq!(sum(&metrics, "hotspot_exporter_scrapes_total"), (0, 0.0));
        for (profile, code) in [("otel", 200), ("otel", 200), ("otel", 503), ("raw", 200)] {
            metrics.scraped(profile, code);
        }
        assert_eq!(sum(&metrics, "hotspot_exporter_scrapes_total"), (3, 4.0));
        metrics.set_samples("otel", 80);
        metrics.set_samples("otel", 70);
        assert_eq!(sum(&metrics, "hotspot_exporter_samples"), (1, 70.0));
    }

    #[test]
    fn the_state_of_the_web_configuration_is_absent_without_one() {
        let metrics = HttpMetrics::default();
        let state = |metrics: &HttpMetrics| sum(metrics, "hotspot_exporter_web_config_last_reload_successful");
        assert_eq!(state(&metrics), (0, 0.0));
        metrics.web_loaded();
        assert_eq!(state(&metrics), (1, 1.0));
        metrics.web_reloaded(false);
        assert_eq!(state(&metrics), (1, 0.0));
        assert_eq!(sum(&metrics, "hotspot_exporter_web_config_reloads_total"), (2, 1.0));
    }
}
