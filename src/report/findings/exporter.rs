//! Checks of the exporter itself: what it does not serve although it should.

use super::check::{EXPORTER_ERRORS, EXPORTER_RELOAD_FAILED};
use super::span;
use crate::report::exporter::{ExporterState, Omission, OmissionKind};
use crate::report::overview::Finding;
use crate::text::printable;

/// What is wrong with the exporter.
pub fn exporter(state: &ExporterState) -> Vec<Finding> {
    let reload = state.reload_failed.then(|| {
        EXPORTER_RELOAD_FAILED.finding(
            "The last reload of the configuration failed; the one before is in force.".to_owned(),
            "`hotspot-exporter --config.check --config.file=FILE` prints every problem with its position; so does the log.",
        )
    });
    let omissions = state.omissions.iter().map(|omission| left_out(omission, state.seconds));
    reload.into_iter().chain(omissions).collect()
}

/// `ExporterErrors`: something is missing from what it serves.
fn left_out(omission: &Omission, seconds: f64) -> Finding {
    let Omission { kind, reason, count } = omission;
    let (over, reason) = (span(seconds), printable(reason));
    let (text, next_step) = match kind {
        OmissionKind::ReadFailure => (
            format!("{count} reads of JVMs' counters failed over the last {over}, with reason {reason} (threshold 0)."),
            "`hotspot-exporter list` shows the state of each JVM; the exporter's log names the one that fails.",
        ),
        OmissionKind::RequestRefused => (
            format!("{count} requests were refused over the last {over}, with reason {reason} (threshold 0)."),
            "How many clients ask at one time, and for how long does a scrape wait? Scrape less often, give the exporter CPU, \
             or raise --web.max-requests.",
        ),
        OmissionKind::SeriesDropped => (
            format!("{count} series that rules make are not served, with reason {reason} (threshold 0)."),
            "`hotspot-exporter explain PID` names the rule: series with one name and the same labels clash, or a limit is \
             reached.",
        ),
    };
    EXPORTER_ERRORS.finding(text, next_step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_that_serves_everything_has_no_finding() {
        assert_eq!(exporter(&ExporterState { seconds: 300.0, ..ExporterState::default() }), []);
    }

    #[test]
    fn each_failure_is_told_with_its_number_and_its_reason() {
        let omission = |kind, reason: &str, count| Omission { kind, reason: reason.to_owned(), count };
        let state = ExporterState {
            reload_failed: true,
            seconds: 300.0,
            omissions: vec![
                omission(OmissionKind::ReadFailure, "unsettled", 3),
                omission(OmissionKind::RequestRefused, "max_requests", 12),
                omission(OmissionKind::SeriesDropped, "duplicate", 7),
            ],
        };
        let found: Vec<_> = exporter(&state).into_iter().map(|finding| (finding.name, finding.text)).collect();
        let texts: Vec<_> = found.iter().map(|(name, text)| (&**name, &**text)).collect();
        assert_eq!(
            texts,
            [
                ("ExporterReloadFailed", "The last reload of the configuration failed; the one before is in force."),
                (
                    "ExporterErrors",
                    "3 reads of JVMs' counters failed over the last 5 min, with reason unsettled (threshold 0)."
                ),
                (
                    "ExporterErrors",
                    "12 requests were refused over the last 5 min, with reason max_requests (threshold 0)."
                ),
                ("ExporterErrors", "7 series that rules make are not served, with reason duplicate (threshold 0)."),
            ]
        );
    }

    #[test]
    fn who_exits_or_has_no_password_is_no_failure() {
        for (kind, reason, expected) in [
            (OmissionKind::ReadFailure, "exited", false),
            (OmissionKind::ReadFailure, "unsettled", true),
            (OmissionKind::RequestRefused, "unauthorized", false),
            (OmissionKind::RequestRefused, "deadline", true),
            (OmissionKind::RequestRefused, "max_connections", true),
            (OmissionKind::SeriesDropped, "limit", true),
        ] {
            assert_eq!(kind.is_failure(reason), expected, "{reason}");
        }
    }
}
