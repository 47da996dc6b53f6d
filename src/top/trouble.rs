//! How badly a JVM does, and the words for it.

use std::cmp::Ordering;
use std::fmt::Write;

use crate::report::list::duration;
use crate::report::overview::{HowEnded, JvmOverview, Measure, Severity};

/// The urgency of its worst finding, or of how it ended.
pub(super) fn severity(jvm: &JvmOverview) -> Option<Severity> {
    let found = jvm.findings.iter().map(|finding| finding.severity).max();
    let ended = jvm.end.and_then(|end| match end.how {
        HowEnded::OutOfMemory => Some(Severity::Critical),
        HowEnded::Killed => Some(Severity::Warning),
        HowEnded::Exited | HowEnded::Unknown => None,
    });
    if jvm.end.is_some() { ended } else { found }
}

/// The worse one is the greater: by urgency, then by the number of findings, then by the share of time stopped.
pub(super) fn compare(a: &JvmOverview, b: &JvmOverview) -> Ordering {
    let key = |jvm: &JvmOverview| (severity(jvm), jvm.end.is_none(), jvm.findings.len());
    let stopped = |jvm: &JvmOverview| jvm.values.last.get(&Measure::Stopped).copied().unwrap_or_default();
    key(a).cmp(&key(b)).then_with(|| stopped(a).total_cmp(&stopped(b)))
}

/// Two characters that say so without colour.
pub(super) fn mark(jvm: &JvmOverview) -> &'static str {
    match severity(jvm) {
        Some(Severity::Critical) => "!!",
        Some(Severity::Warning) => "!",
        Some(Severity::Info) => "i",
        None if jvm.end.is_some() => "x",
        None => "",
    }
}

/// How it ended, in one or two words.
pub(super) fn ending(how: HowEnded) -> &'static str {
    match how {
        HowEnded::Exited => "exited",
        HowEnded::Killed => "killed",
        HowEnded::OutOfMemory => "out of memory",
        HowEnded::Unknown => "ended",
    }
}

/// What matters most about a JVM: how it ended, its worst finding with the names of the other warnings, or an unusual state.
pub(super) fn remark(jvm: &JvmOverview, now: f64) -> String {
    let mut text = String::new();
    if let Some(end) = jvm.end {
        let _ = write!(text, "{} {} ago", ending(end.how), duration(now - end.at));
    }
    if let Some(finding) = jvm.findings.first() {
        let gap = if text.is_empty() { "" } else { ": " };
        let _ = write!(text, "{gap}{}", finding.text);
        let others = jvm.findings.iter().skip(1).filter(|other| other.severity >= Severity::Warning);
        for (place, other) in others.enumerate() {
            let _ = write!(text, "{}{}", if place == 0 { " Also " } else { ", " }, other.name);
        }
    }
    if text.is_empty() && !["", "mapped"].contains(&&*jvm.row.state) {
        text.push_str(&jvm.row.state);
    }
    text
}
