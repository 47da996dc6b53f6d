//! What the exporter knows of itself.

/// What keeps the exporter from serving all that it should.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExporterState {
    /// Whether the last reload of its configuration failed, so that an earlier one is in force.
    pub reload_failed: bool,
    /// Length in seconds of the time that ends now and that `omissions` is of: at most about 5 minutes.
    pub seconds: f64,
    /// What it did not serve in that time.
    pub omissions: Vec<Omission>,
}

/// Something that the exporter did not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Omission {
    /// Of what kind it is.
    pub kind: OmissionKind,
    /// Why: a value of the metric's label `reason`.
    pub reason: String,
    /// How often in that time, or how many series now.
    pub count: u64,
}

/// What the exporter can leave out; the label `error` of the alert `ExporterErrors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OmissionKind {
    /// A JVM whose counters could not be read: `hotspot_exporter_read_failures_total`.
    ReadFailure,
    /// A request that was refused for lack of time or room: `hotspot_exporter_requests_refused_total`.
    RequestRefused,
    /// A series that a rule makes: `hotspot_exporter_series_dropped`.
    SeriesDropped,
}

impl OmissionKind {
    /// Whether a scrape lacks what it asked for, for that reason. A JVM that exits is no failure, and a client without a
    /// password is refused rightly.
    pub fn is_failure(self, reason: &str) -> bool {
        match self {
            Self::ReadFailure => reason != "exited",
            Self::RequestRefused => reason == "deadline" || reason.starts_with("max_"),
            Self::SeriesDropped => true,
        }
    }
}
