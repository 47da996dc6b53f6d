//! What is wrong with a JVM, by thresholds that are the alerts', and what cannot be told of it.
//!
//! A finding has a number. Where a value is absent, or is known for too short a time, the check is not passed in silence:
//! it is in [`Checkup::not_checked`] with the reason.

mod check;
mod exporter;
mod heap;
mod native;
mod sight;
#[cfg(test)]
mod tests;
mod time;

use serde::{Deserialize, Serialize};

use super::overview::{Finding, JvmOverview, Recent};
pub use check::{CHECKS, Check, FULL_WITHIN, Threshold, WARMED_UP};
pub use exporter::exporter;
pub use sight::{NO_TROUBLE, TROUBLE_ALONE, refusal};

/// Seconds of the past from which a growth is told: less says nothing of hours.
const TREND: f64 = 300.0;

/// What the checks say of one JVM.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkup {
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be checked.
    pub not_checked: Vec<NotChecked>,
    /// Only the findings are wanted: reasons are texts, which a thousand JVMs need not have made every second.
    is_brief: bool,
}

/// A check that was not possible.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct NotChecked {
    /// The check.
    pub name: String,
    /// What it lacks.
    pub reason: String,
}

/// What is wrong with a JVM, the worst first.
pub fn findings(jvm: &JvmOverview) -> Vec<Finding> {
    let mut checkup = Checkup { is_brief: true, ..Checkup::default() };
    checkup.make(jvm);
    checkup.findings
}

impl Checkup {
    /// Makes every check that the JVM's values allow.
    pub fn of(jvm: &JvmOverview) -> Self {
        let mut checkup = Self::default();
        checkup.make(jvm);
        checkup
    }

    fn make(&mut self, jvm: &JvmOverview) {
        if sight::ended(jvm, self) || sight::silent(jvm, self) {
            return;
        }
        sight::overflow(jvm, self);
        heap::after_collections(jvm, self);
        heap::filling_up(jvm, self);
        time::collections(jvm, self);
        time::safepoints(jvm, self);
        time::throttling(jvm, self);
        native::out_of_memory(jvm, self);
        native::container_limit(jvm, self);
        native::growth(jvm, self);
        native::tracking(jvm, self);
        native::metaspace(jvm, self);
        native::code(jvm, self);
        native::compiler(jvm, self);
        let order = |name: &str| CHECKS.iter().position(|check| check.name == name);
        self.findings.sort_by_key(|found| (std::cmp::Reverse(found.severity), order(&found.name)));
    }

    fn found(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn cannot<T: Into<String>>(&mut self, check: &Check, reason: impl FnOnce() -> T) {
        if !self.is_brief {
            self.not_checked.push(NotChecked { name: check.name.to_owned(), reason: reason().into() });
        }
    }
}

/// The spans that a check looks at: those that are no longer than the alert's, the longest first. A few seconds more than
/// the alert's are allowed, since points of a history do not lie at full minutes.
fn spans<'a>(jvm: &'a JvmOverview, check: &Check) -> impl Iterator<Item = &'a Recent> {
    let longest = check.over.unwrap_or_default() * 1.1;
    jvm.recent.iter().rev().filter(move |recent| recent.seconds <= longest)
}

/// The longest span of the past that is known.
fn longest(jvm: &JvmOverview) -> Option<&Recent> {
    jvm.recent.last()
}

/// How a command of the JDK names the JVM.
fn pid(jvm: &JvmOverview) -> String {
    jvm.row.description.pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string())
}

/// Why a value is absent, where the JVM's own page has more to say.
fn ask_explain(jvm: &JvmOverview, what: &str) -> String {
    format!("{what}; `hotspot-exporter explain {}` says why", pid(jvm))
}

/// A share as a percentage: `95.3 %`, `90 %`.
fn percent(share: f64) -> String {
    let percent = format!("{:.1}", share * 100.0);
    format!("{} %", percent.strip_suffix(".0").unwrap_or(&percent))
}

/// A length of time in words: `40 s`, `5 min`, `3 h`.
fn span(seconds: f64) -> String {
    match seconds.max(0.0) {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.0} h", seconds / 3600.0),
    }
}

/// Bytes in the largest unit.
fn size(bytes: f64) -> String {
    super::list::bytes(bytes.max(0.0) as u64)
}
