//! `doctor`: what is wrong with the JVMs of an overview, in sentences for people and as JSON.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::findings::{Checkup, NotChecked, refusal};
use super::list::{JvmDescription, JvmRow, NOTHING_FOUND, RefusedRow, duration};
use super::overview::{End, Finding, HowEnded, JvmOverview, Overview, Severity};
use super::subject::{ReportError, not_found};
use crate::text::printable;

/// Where runbooks are for a person who has the program and not its source.
const PAGES: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

/// Most JVMs that a line names; `--verbose` names all.
const NAMED: usize = 8;

/// Most checks that a line names.
const CHECKS_NAMED: usize = 5;

/// What is wrong, and what could not be checked. The JSON is a public format: fields may be added, but not renamed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// JVMs, the worst first.
    pub jvms: Vec<CheckedJvm>,
    /// Files and processes that are not served, those with a remedy first.
    pub refused: Vec<CheckedRefusal>,
    /// What keeps the exporter from serving all that it should.
    pub exporter: Vec<Finding>,
}

/// A JVM and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedJvm {
    /// What `list` says of it.
    #[serde(flatten)]
    pub row: JvmRow,
    /// When and how it ended; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
    /// What could not be checked, and why.
    pub not_checked: Vec<NotChecked>,
}

/// A file or process that is not served, and how urgent that is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedRefusal {
    /// What `list` says of it.
    #[serde(flatten)]
    pub row: RefusedRow,
    /// The same as a finding.
    pub finding: Finding,
}

impl Diagnosis {
    /// Checks all JVMs of an overview, or that of a process id.
    ///
    /// # Errors
    /// No JVM and no refusal has that process id.
    pub fn of(overview: &Overview, pid: Option<u32>) -> Result<Self, ReportError> {
        let serves_any = overview.jvms.iter().any(|jvm| jvm.end.is_none());
        let is_asked = |of: Option<u32>| pid.is_none() || of == pid;
        let jvms = overview.jvms.iter().filter(|jvm| is_asked(jvm.row.description.pid));
        let mut jvms: Vec<_> = jvms.map(CheckedJvm::of).collect();
        let refused = overview.refused.iter().filter(|row| is_asked(row.pid.or_else(|| file_pid(row))));
        let mut refused: Vec<_> =
            refused.map(|row| CheckedRefusal { row: row.clone(), finding: refusal(row, serves_any) }).collect();
        match pid.and_then(|pid| i32::try_from(pid).ok()) {
            Some(pid) if jvms.is_empty() && refused.is_empty() => return Err(not_found(pid, &[])),
            _ => {}
        }
        jvms.sort_by_key(|jvm| (Reverse(jvm.worst()), Reverse(jvm.findings.len())));
        refused.sort_by_key(|refused| Reverse(refused.finding.severity));
        let exporter = if pid.is_none() { overview.exporter.clone() } else { Vec::new() };
        Ok(Self { jvms, refused, exporter })
    }

    /// How many findings are so urgent.
    pub fn count(&self, severity: Severity) -> usize {
        self.all().filter(|finding| finding.severity == severity).count()
    }

    /// Whether somebody has to do something.
    pub fn is_healthy(&self) -> bool {
        self.all().all(|finding| finding.severity < Severity::Warning)
    }

    fn all(&self) -> impl Iterator<Item = &Finding> {
        let refused = self.refused.iter().map(|refused| &refused.finding);
        self.jvms.iter().flat_map(|jvm| &jvm.findings).chain(refused).chain(&self.exporter)
    }

    /// The diagnosis as text. `verbose` names everything that a line would only count.
    pub fn text(&self, verbose: bool) -> String {
        let mut out = String::new();
        self.write_summary(&mut out);
        let (ill, quiet): (Vec<_>, Vec<_>) =
            self.jvms.iter().partition(|jvm| jvm.worst().is_some_and(|worst| worst >= Severity::Warning));
        ill.iter().for_each(|jvm| jvm.write(&mut out));
        if !self.exporter.is_empty() {
            out.push_str("\nThe exporter\n");
            self.exporter.iter().for_each(|finding| write_finding(finding, &mut out));
        }
        write_quiet(&mut out, &quiet, verbose);
        self.write_refused(&mut out, verbose);
        self.write_better_known(&mut out, verbose);
        self.write_not_checked(&mut out, verbose);
        out
    }

    fn write_summary(&self, out: &mut String) {
        if self.jvms.is_empty() {
            out.push_str("No JVM found.");
            if self.refused.is_empty() {
                out.push_str(" Things to check:\n");
                for (topic, advice) in NOTHING_FOUND {
                    let _ = writeln!(out, "  {topic}: {advice}");
                }
            } else {
                out.push('\n');
            }
            return;
        }
        let critical = Some(self.count(Severity::Critical)).filter(|count| *count > 0);
        let warnings = Some(self.count(Severity::Warning)).filter(|count| *count > 0);
        let said = match (critical, warnings) {
            (None, None) => "no trouble found".to_owned(),
            (Some(critical), None) => format!("{critical} critical"),
            (None, Some(warnings)) => counted(warnings, "warning"),
            (Some(critical), Some(warnings)) => format!("{critical} critical, {}", counted(warnings, "warning")),
        };
        let _ = writeln!(out, "{}: {said}.", counted(self.jvms.len(), "JVM"));
    }

    fn write_refused(&self, out: &mut String, verbose: bool) {
        let (trouble, quiet): (Vec<_>, Vec<_>) =
            self.refused.iter().partition(|refused| verbose || refused.finding.severity >= Severity::Warning);
        if !trouble.is_empty() {
            let _ = writeln!(out, "\nNot served ({}):", trouble.len());
        }
        for CheckedRefusal { finding, .. } in trouble {
            let _ = writeln!(out, "  {}: {}", word(finding.severity), finding.text);
            if !finding.next_step.is_empty() {
                let _ = writeln!(out, "    {}", finding.next_step);
            }
        }
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        quiet.iter().for_each(|refused| *reasons.entry(&refused.row.reason).or_default() += 1);
        if !reasons.is_empty() {
            let reasons: Vec<_> = reasons.iter().map(|(reason, n)| format!("{n} {}", printable(reason))).collect();
            let _ = writeln!(out, "\nNot served, and not meant to be: {} (--verbose names them).", reasons.join(", "));
        }
    }

    /// What nobody has to do at night, each said once.
    fn write_better_known(&self, out: &mut String, verbose: bool) {
        let mut by_text: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
        for jvm in &self.jvms {
            for finding in jvm.findings.iter().filter(|finding| finding.severity == Severity::Info) {
                by_text.entry((&finding.name, &finding.text, &finding.next_step)).or_default().push(jvm.name());
            }
        }
        if !by_text.is_empty() {
            out.push_str("\nBetter known:\n");
        }
        for ((name, text, next_step), jvms) in by_text {
            let _ = writeln!(out, "  {name}: {} ({})", printable(text), names(&jvms, verbose));
            let _ = writeln!(out, "    Next: {}", printable(next_step));
        }
    }

    /// Checks that were not possible, one line a reason.
    fn write_not_checked(&self, out: &mut String, verbose: bool) {
        let mut by_jvm: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
        for jvm in &self.jvms {
            for lack in &jvm.not_checked {
                by_jvm.entry((&lack.reason, jvm.name())).or_default().push(&lack.name);
            }
        }
        let mut by_reason: BTreeMap<(Vec<&str>, &str), Vec<String>> = BTreeMap::new();
        for ((reason, jvm), checks) in by_jvm {
            by_reason.entry((checks, reason)).or_default().push(jvm);
        }
        if !by_reason.is_empty() {
            out.push_str("\nNot checked:\n");
        }
        for ((checks, reason), jvms) in by_reason {
            let what = if checks.len() > CHECKS_NAMED && !verbose {
                counted(checks.len(), "check")
            } else {
                checks.join(", ")
            };
            let _ = writeln!(out, "  {what}: {} ({})", printable(reason), names(&jvms, verbose));
        }
    }
}

impl CheckedJvm {
    fn of(jvm: &JvmOverview) -> Self {
        let Checkup { findings, not_checked, .. } = Checkup::of(jvm);
        Self { row: jvm.row.clone(), end: jvm.end, findings, not_checked }
    }

    fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// `orders/0`, with the pod or root where that is a label; a JVM that starts has only a process id.
    fn name(&self) -> String {
        let Some((app, slot)) = self.row.description.app.as_ref().zip(self.row.description.slot) else {
            return self.row.description.pid.map_or_else(|| "a JVM that starts".to_owned(), |pid| format!("pid {pid}"));
        };
        let labels: Vec<_> =
            self.row.description.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        printable(&format!("{app}/{slot}{labels}")).into_owned()
    }

    /// Its name, and what a person knows it by.
    fn title(&self) -> String {
        let JvmRow { description, uptime_seconds, .. } = &self.row;
        let JvmDescription { pid, main_class, java_version, gc, .. } = &**description;
        let known = [
            pid.map(|pid| format!("pid {pid}")),
            main_class.clone(),
            java_version.as_ref().map(|version| format!("JDK {version}")),
            gc.clone(),
            uptime_seconds.filter(|_| self.end.is_none()).map(|uptime| format!("up {}", duration(uptime))),
            self.end.map(|end| how_ended(end.how).to_owned()),
        ];
        let known: Vec<_> = known.into_iter().flatten().collect();
        format!("{} ({})", self.name(), printable(&known.join(", ")))
    }

    fn write(&self, out: &mut String) {
        let _ = writeln!(out, "\n{}", self.title());
        for finding in self.findings.iter().filter(|finding| finding.severity > Severity::Info) {
            write_finding(finding, out);
        }
    }
}

fn write_finding(finding: &Finding, out: &mut String) {
    let _ = writeln!(out, "  {} {}: {}", word(finding.severity), finding.name, printable(&finding.text));
    let _ = writeln!(out, "    Next: {}", printable(&finding.next_step));
    let _ = writeln!(out, "    From: {}", finding.source);
    if let Some(runbook) = &finding.runbook {
        let _ = writeln!(out, "    More: {PAGES}{runbook}");
    }
}

/// JVMs of which nobody has to do anything.
fn write_quiet(out: &mut String, jvms: &[&CheckedJvm], verbose: bool) {
    let (ended, running): (Vec<&CheckedJvm>, Vec<_>) = jvms.iter().partition(|jvm| jvm.end.is_some());
    for (what, jvms) in [("No trouble", running), ("Ended", ended)] {
        if !jvms.is_empty() {
            let all: Vec<_> = jvms.iter().map(|jvm| jvm.name()).collect();
            let _ = writeln!(out, "\n{what} ({}): {}", all.len(), names(&all, verbose));
        }
    }
}

/// The first of many names, and how many more there are.
fn names(all: &[String], verbose: bool) -> String {
    match all.get(..NAMED) {
        Some(first) if all.len() > NAMED && !verbose => format!("{} and {} more", first.join(", "), all.len() - NAMED),
        _ => all.join(", "),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn word(severity: Severity) -> String {
    let word: &str = severity.into();
    if severity == Severity::Info { word.to_owned() } else { word.to_uppercase() }
}

fn how_ended(how: HowEnded) -> &'static str {
    match how {
        HowEnded::Exited => "exited",
        HowEnded::Killed => "killed",
        HowEnded::OutOfMemory => "ended for lack of memory",
        HowEnded::Unknown => "ended",
    }
}

/// The process id in the name of a region file.
fn file_pid(row: &RefusedRow) -> Option<u32> {
    row.path.as_ref()?.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::report::exporter::ExporterState;
    use crate::report::findings;
    use crate::report::overview::{Measurements, Recent};

    fn jvm(app: &str, pid: u32, change: impl FnOnce(&mut JvmOverview)) -> JvmOverview {
        let description = JvmDescription {
            app: Some(app.to_owned()),
            slot: Some(0),
            pid: Some(pid),
            main_class: Some(format!("com.example.{app}")),
            java_version: Some("25.0.3".to_owned()),
            gc: Some("G1".to_owned()),
            ..JvmDescription::default()
        };
        let row = JvmRow { state: "mapped".into(), uptime_seconds: Some(187_200.0), ..description.into() };
        let recent = Recent {
            seconds: 40.0,
            stopped: Some(0.01),
            gc_share: Some(0.01),
            throttled: Some(0.0),
            oom_kills: Some(0.0),
            ..Recent::default()
        };
        let values = Measurements {
            old_usage_after_gc: Some(0.3),
            code_usage: Some(0.2),
            class_space_usage: Some(0.01),
            jit_enabled: Some(true),
            nmt_enabled: Some(false),
            ..Measurements::default()
        };
        let mut jvm = JvmOverview { row, values, recent: vec![recent], ..JvmOverview::default() };
        change(&mut jvm);
        jvm
    }

    fn refused(pid: u32, reason: &str, detail: &str, remedy: &str) -> RefusedRow {
        let [reason, detail, remedy] = [reason, detail, remedy].map(ToOwned::to_owned);
        RefusedRow { pid: Some(pid), reason, detail, remedy, path: None }
    }

    fn night() -> Overview {
        Overview {
            jvms: vec![
                jvm("shop", 12, |_| {}),
                jvm("mill", 13, |jvm| {
                    jvm.values.cpu_limit = Some(0.5);
                    jvm.recent.iter_mut().for_each(|recent| recent.throttled = Some(0.93));
                }),
                jvm("bank", 14, |_| {}),
                jvm("leak\u{1b}[31m", 15, |jvm| {
                    jvm.values.old_usage_after_gc = Some(0.957);
                    jvm.recent.iter_mut().for_each(|recent| recent.gc_share = Some(0.41));
                }),
                jvm("still", 16, |jvm| jvm.row.state = "stalled".into()),
                jvm("gone", 17, |jvm| jvm.end = Some(End { at: 1.0, how: HowEnded::Exited })),
            ],
            refused: vec![
                refused(18, "stale", "its JVM is dead", "Ignore it."),
                refused(19, "private_memory", "-XX:+PerfDisableSharedMem", "Grant the exporter CAP_SYS_PTRACE."),
            ],
            ..Overview::default()
        }
    }

    #[test]
    fn the_text_says_the_worst_first_and_passes_nothing_in_silence() {
        insta::assert_snapshot!(Diagnosis::of(&night(), None).unwrap().text(false), @r"
        6 JVMs: 1 critical, 4 warnings.

        still/0 (pid 16, com.example.still, JDK 25.0.3, G1, up 2d 4h)
          CRITICAL JvmTargetStalled: Its counters do not change (jvm_up is 0): it is stopped or frozen, or was killed where that cannot be seen.
            Next: `ps -o pid,stat,wchan -p 16`: T is stopped (`kill -CONT 16`), D waits for a disk. Is its cgroup frozen, or does it write a core dump?
            From: jvm_up
            More: https://github.com/hotspot-exporter/hotspot-exporter/blob/main/docs/runbooks/JvmTargetStalled.md

        leak�[31m/0 (pid 15, com.example.leak�[31m, JDK 25.0.3, G1, up 2d 4h)
          WARNING HeapAfterGcHigh: 95.7 % of the old generation is in use after the last collection (threshold 90 %).
            Next: Is it a leak, or is the heap too small for the load? `jcmd 15 GC.class_histogram` names the classes that fill it (it stops the application for a full collection). Take a heap dump before a restart, or raise -Xmx.
            From: jvm_memory_used_after_last_gc_bytes / jvm_memory_limit_bytes
            More: https://github.com/hotspot-exporter/hotspot-exporter/blob/main/docs/runbooks/HeapAfterGcHigh.md
          WARNING GcTimeShareHigh: Collections stopped it for 41 % of the last 40 s (threshold 10 %).
            Next: 95.7 % of the old generation is in use after collections: the heap is too small for what lives in it. Find the leak, or raise -Xmx.
            From: jvm_hotspot_gc_time_seconds_total
            More: https://github.com/hotspot-exporter/hotspot-exporter/blob/main/docs/runbooks/GcTimeShareHigh.md

        mill/0 (pid 13, com.example.mill, JDK 25.0.3, G1, up 2d 4h)
          WARNING CpuThrottled: Its CPU quota of 0.50 CPUs stopped it in 93 % of the quota's periods over the last 40 s (threshold 25 %).
            Next: Raise or remove the CPU limit of the container or unit. If the collector or the compiler uses the CPU (jvm_hotspot_thread_cpu_time_seconds_total), give it fewer threads or more heap.
            From: jvm_hotspot_cgroup_cpu_throttled_periods_total / jvm_hotspot_cgroup_cpu_periods_total
            More: https://github.com/hotspot-exporter/hotspot-exporter/blob/main/docs/runbooks/CpuThrottled.md

        No trouble (2): shop/0, bank/0

        Ended (1): gone/0

        Not served (1):
          WARNING: pid 19: private_memory: -XX:+PerfDisableSharedMem
            Grant the exporter CAP_SYS_PTRACE.

        Not served, and not meant to be: 1 stale (--verbose names them).

        Better known:
          NmtOff: Native Memory Tracking is off (jvm_nmt_enabled is 0): memory outside the heap is not checked. (leak�[31m/0, mill/0, shop/0, bank/0)
            Next: Start it with -XX:NativeMemoryTracking=summary -XX:+StartAttachListener; docs/native-memory.md has the cost.

        Not checked:
          NmtNearContainerLimit, NmtGrowthOutsideHeap: Native Memory Tracking is off (bank/0, leak�[31m/0, mill/0, shop/0)
          OldGenFillingUp: the growth of what collections leave is not known (bank/0, leak�[31m/0, mill/0, shop/0)
          13 checks: its counters stand still (still/0)
        ");
    }

    #[test]
    fn without_trouble_the_text_is_short() {
        let calm = Overview { jvms: vec![jvm("shop", 12, |_| {})], ..Overview::default() };
        let diagnosis = Diagnosis::of(&calm, None).unwrap();
        assert!(diagnosis.is_healthy());
        insta::assert_snapshot!(diagnosis.text(false), @r"
        1 JVM: no trouble found.

        No trouble (1): shop/0

        Better known:
          NmtOff: Native Memory Tracking is off (jvm_nmt_enabled is 0): memory outside the heap is not checked. (shop/0)
            Next: Start it with -XX:NativeMemoryTracking=summary -XX:+StartAttachListener; docs/native-memory.md has the cost.

        Not checked:
          NmtNearContainerLimit, NmtGrowthOutsideHeap: Native Memory Tracking is off (shop/0)
          OldGenFillingUp: the growth of what collections leave is not known (shop/0)
        ");
    }

    #[test]
    fn an_exporter_that_leaves_something_out_is_trouble() {
        let state = ExporterState { reload_failed: true, ..ExporterState::default() };
        let calm = Overview {
            jvms: vec![jvm("shop", 12, |_| {})],
            exporter: findings::exporter(&state),
            ..Overview::default()
        };
        let diagnosis = Diagnosis::of(&calm, None).unwrap();
        assert!(!diagnosis.is_healthy());
        let text = diagnosis.text(false);
        let (summary, rest) = text.split_once("\n\nThe exporter\n").unwrap();
        assert_eq!(summary, "1 JVM: 1 warning.");
        assert!(
            rest.starts_with("  WARNING ExporterReloadFailed: The last reload of the configuration failed"),
            "{rest}"
        );
        assert!(Diagnosis::of(&calm, Some(12)).unwrap().is_healthy(), "one process was asked for");
    }

    #[test]
    fn nothing_found_says_what_to_check() {
        let text = Diagnosis::of(&Overview::default(), None).unwrap().text(false);
        assert!(text.starts_with("No JVM found. Things to check:\n"), "{text}");
        let refused = Overview { jvms: vec![], ..night() };
        let diagnosis = Diagnosis::of(&refused, None).unwrap();
        assert!(!diagnosis.is_healthy() && diagnosis.text(false).starts_with("No JVM found.\n\nNot served (1):\n"));
    }

    #[test]
    fn one_process_is_checked_alone() {
        let of = |pid| Diagnosis::of(&night(), Some(pid));
        let names = |diagnosis: &Diagnosis| diagnosis.jvms.iter().map(CheckedJvm::name).collect::<Vec<_>>();
        assert_eq!(names(&of(13).unwrap()), ["mill/0"]);
        assert!(of(12).unwrap().is_healthy() && !of(13).unwrap().is_healthy());
        let refused = of(19).unwrap();
        assert!(refused.jvms.is_empty() && !refused.is_healthy());
        assert!(of(4242).unwrap_err().to_string().starts_with("process 4242: no JVM with that pid"));
    }

    #[test]
    fn json_has_the_rows_of_list_with_findings_and_what_was_not_checked() {
        let json = serde_json::to_value(Diagnosis::of(&night(), None).unwrap()).unwrap();
        let worst = &json["jvms"][0];
        assert_eq!((&worst["app"], &worst["pid"], &worst["state"]), (&"still".into(), &16.into(), &"stalled".into()));
        let finding = &worst["findings"][0];
        assert_eq!((&finding["name"], &finding["severity"]), (&"JvmTargetStalled".into(), &"critical".into()));
        assert_eq!(finding["runbook"], "docs/runbooks/JvmTargetStalled.md");
        assert_eq!(worst["not_checked"][0]["reason"], "its counters stand still");
        let refused = &json["refused"][0];
        assert_eq!(
            (&refused["reason"], &refused["finding"]["severity"]),
            (&"private_memory".into(), &"warning".into())
        );
        let healthy = json["jvms"].as_array().unwrap().iter().find(|jvm| jvm["app"] == "shop").unwrap();
        assert_eq!(healthy["findings"][0]["name"], "NmtOff");
    }

    #[test]
    fn many_names_are_counted() {
        let many = Overview { jvms: (0..20).map(|pid| jvm(&format!("a{pid}"), pid, |_| {})).collect(), ..night() };
        let diagnosis = Diagnosis::of(&many, None).unwrap();
        assert!(diagnosis.text(false).contains("a7/0 and 12 more"), "{}", diagnosis.text(false));
        assert!(!diagnosis.text(true).contains("more") && diagnosis.text(true).contains("a19/0"));
    }
}
