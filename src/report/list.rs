//! `list` and `/targets`: every JVM that is served, and every file and process that is not, with the reason.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::fact::Formula;
use crate::snapshot::{Snapshot, TargetValues};
pub use crate::targets::JvmDescription;
use crate::targets::{Target, TargetState};
use crate::text::{Align, printable, table};

const HEADER: [&str; 11] = ["APP", "SLOT", "PID", "STATE", "MAIN", "JAVA", "GC", "HEAP", "UPTIME", "VIA", "PATH"];

/// The JVMs and refusals of a snapshot. The JSON is a public format: fields may be added, but not renamed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Listing {
    /// JVMs that are served.
    pub jvms: Vec<JvmRow>,
    /// Files and processes that are not served.
    pub refused: Vec<RefusedRow>,
}

/// A JVM. What it does not publish is absent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct JvmRow {
    /// What it is; one copy for all lists.
    #[serde(flatten)]
    pub description: Arc<JvmDescription>,
    /// One of a closed set of states.
    pub state: Cow<'static, str>,
    /// Seconds since the JVM started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uptime_seconds: Option<f64>,
    /// Bytes; absent where the collector does not publish it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap_used: Option<u64>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap_committed: Option<u64>,
    /// Maximum heap in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heap_limit: Option<u64>,
    /// Bytes of counters for which the region has no room: names and metrics are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<u64>,
}

/// A file or a process that is not served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct RefusedRow {
    /// The file, if a file is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The process, if a process is refused or known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// One of the closed set of reasons in `hotspot_exporter_refused`.
    pub reason: String,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty where nothing can be.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl RefusedRow {
    /// The path, or `pid 4711`.
    pub(crate) fn subject(&self) -> String {
        match (&self.path, self.pid) {
            (Some(path), _) => path.clone(),
            (None, Some(pid)) => format!("pid {pid}"),
            (None, None) => "?".to_owned(),
        }
    }
}

/// What to check when no JVM was found, most likely cause first.
pub(crate) const NOTHING_FOUND: [(&str, &str); 4] = [
    (
        "User",
        "The exporter reads the files of its own user. Run it with the JVM's user and group id, or give it CAP_DAC_READ_SEARCH.",
    ),
    (
        "/tmp",
        "HotSpot writes to /tmp/hsperfdata_USER whatever java.io.tmpdir says. A JVM with its own /tmp (PrivateTmp=, a container) needs that directory as --discovery.root.",
    ),
    (
        "JVM flags",
        "-XX:-UsePerfData hides a JVM. One with -XX:+PerfDisableSharedMem, or whose user id has no passwd entry, has no file and is read from its memory: run as its user and group, or with CAP_SYS_PTRACE.",
    ),
    (
        "Containers",
        "Share a volume mounted at /tmp of the JVM's container, one subPath a container; never mount it at /tmp/hsperfdata_USER, which HotSpot refuses to use.",
    ),
];

impl Listing {
    /// The JVMs and refusals of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let values = (0..).map(|index| snapshot.values(index));
        let served = snapshot.target_set.targets.iter().zip(values).filter(|(_, values)| !values.is_gone());
        let others = Self::not_served(snapshot);
        let jvms = served.map(|(target, values)| JvmRow::of(target, &values)).chain(others.jvms).collect();
        Self { jvms, ..others }
    }

    /// The JVMs that start, and the refusals.
    pub(super) fn not_served(snapshot: &Snapshot) -> Self {
        let mut listing = Self::default();
        for starting in &snapshot.target_set.starting {
            let description = JvmDescription {
                pid: u32::try_from(starting.pid.unwrap_or(starting.vpid)).ok().filter(|pid| *pid > 0),
                path: Some(starting.path.display().to_string()).filter(|path| !path.is_empty()),
                via: starting.transport.map(|transport| transport.as_str().to_owned()),
                ..JvmDescription::default()
            };
            let state = <&str>::from(TargetState::Starting).into();
            listing.jvms.push(JvmRow { state, ..description.into() });
        }
        for refusal in &snapshot.target_set.refusals {
            listing.refused.push(RefusedRow {
                path: refusal.path.as_ref().map(|path| path.display().to_string()),
                pid: refusal.pid.and_then(|pid| u32::try_from(pid).ok()),
                reason: refusal.reason.as_str().to_owned(),
                detail: refusal.detail.clone(),
                remedy: refusal.remedy.clone().into_owned(),
            });
        }
        listing
    }

    /// The listing as text. Control characters in names are replaced.
    pub fn table(&self) -> String {
        let mut out = String::new();
        if !self.jvms.is_empty() {
            let rows = self.jvms.iter().map(JvmRow::columns);
            let rows: Vec<_> = std::iter::once(HEADER.map(Cow::Borrowed)).chain(rows).collect();
            out.push_str(&table(&rows, [Align::Left; HEADER.len()]));
            for row in &self.jvms {
                if let (Some(overflow), Some(pid)) = (row.overflow, row.description.pid) {
                    let _ = writeln!(out, "\npid {pid}: {}", overflow_text(overflow));
                }
            }
        } else if !self.refused.is_empty() {
            out.push_str("No JVM found.\n");
        } else {
            out.push_str("No JVM found. Things to check:\n");
            for (topic, advice) in NOTHING_FOUND {
                let _ = writeln!(out, "  {topic}: {advice}");
            }
        }
        if !self.refused.is_empty() {
            let _ = writeln!(out, "\nNot served ({}):", self.refused.len());
            for row in &self.refused {
                let (subject, reason) = (row.subject(), printable(&row.reason));
                let _ = writeln!(out, "  {}: {reason}: {}", printable(&subject), printable(&row.detail));
                if !row.remedy.is_empty() {
                    let _ = writeln!(out, "    {}", printable(&row.remedy));
                }
            }
        }
        out
    }
}

impl From<JvmDescription> for JvmRow {
    /// The row of a JVM of which nothing else is known.
    fn from(description: JvmDescription) -> Self {
        Self { description: Arc::new(description), ..Self::default() }
    }
}

impl JvmRow {
    /// What is known of a JVM.
    pub(crate) fn of(target: &Target, values: &TargetValues<'_>) -> Self {
        let number = |formula: &Option<Formula>| Some(formula.as_ref()?.evaluate(values)?.as_f64());
        let bytes = |formula| number(formula).filter(|bytes| *bytes >= 0.0).map(|bytes| bytes as u64);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self {
            description: target.description(),
            state: <&str>::from(target.state).into(),
            uptime_seconds: number(&target.vitals.start_time).map(|start| (now - start).max(0.0)),
            heap_used: bytes(&target.vitals.heap_used),
            heap_committed: bytes(&target.vitals.heap_committed),
            heap_limit: bytes(&target.vitals.heap_limit),
            overflow: bytes(&target.vitals.overflow),
        }
    }

    /// Used bytes, or else committed bytes, of the limit: `13.4 MiB of 96.0 MiB`; `None` where neither is known.
    pub(crate) fn heap(&self) -> Option<String> {
        let size = self.heap_used.or(self.heap_committed)?;
        Some(match self.heap_limit {
            Some(limit) => format!("{} of {}", bytes(size), bytes(limit)),
            None => bytes(size),
        })
    }

    fn columns(&self) -> [Cow<'_, str>; HEADER.len()] {
        let jvm = &*self.description;
        [
            or_dash(&jvm.app),
            jvm.slot.map_or(DASH, |slot| slot.to_string().into()),
            jvm.pid.map_or(DASH, |pid| pid.to_string().into()),
            printable(&self.state),
            or_dash(&jvm.main_class),
            or_dash(&jvm.java_version),
            or_dash(&jvm.gc),
            self.heap().map_or(DASH, Cow::Owned),
            self.uptime_seconds.map_or(DASH, |seconds| duration(seconds).into()),
            or_dash(&jvm.via),
            or_dash(&jvm.path),
        ]
    }
}

/// What it means that a region is full.
pub(crate) fn overflow_text(bytes: u64) -> String {
    format!(
        "{bytes} bytes of counters did not fit into its region, so names and metrics are missing; start it with \
         -XX:PerfDataMemorySize=64K"
    )
}

const DASH: Cow<'static, str> = Cow::Borrowed("-");

fn or_dash(value: &Option<String>) -> Cow<'_, str> {
    value.as_deref().map_or(DASH, printable)
}

/// A size in the largest binary unit in which it is at least 1: `13.4 MiB`.
pub(crate) fn bytes(size: u64) -> String {
    let (mut scaled, mut unit) = (size as f64, 0);
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if unit == "B" { format!("{size} B") } else { format!("{scaled:.1} {unit}") }
}

/// A duration in its two largest units: `3d 4h`, `12m 5s`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn orders() -> JvmRow {
        let description = JvmDescription {
            app: Some("orders".to_owned()),
            slot: Some(0),
            pid: Some(4711),
            main_class: Some("com.example.Orders".to_owned()),
            java_version: Some("25.0.3".to_owned()),
            gc: Some("G1".to_owned()),
            path: Some("/tmp/hsperfdata_app/4711".to_owned()),
            via: Some("file".to_owned()),
            ..JvmDescription::default()
        };
        JvmRow {
            state: "mapped".into(),
            uptime_seconds: Some(187_200.0),
            heap_used: Some(14_064_760),
            heap_limit: Some(100_663_296),
            ..description.into()
        }
    }

    #[test]
    fn a_table_has_aligned_columns_and_explains_refusals() {
        let hostile = JvmDescription { app: Some("a\u{1b}[31m".to_owned()), ..JvmDescription::default() };
        let listing = Listing {
            jvms: vec![orders(), hostile.into()],
            refused: vec![RefusedRow {
                pid: Some(12),
                reason: "other_owner".to_owned(),
                detail: "owned by uid 1000\nfake: line".to_owned(),
                remedy: "Run the exporter as uid 1000.".to_owned(),
                ..RefusedRow::default()
            }],
        };
        insta::assert_snapshot!(listing.table(), @r"
        APP     SLOT  PID   STATE   MAIN                JAVA    GC  HEAP                  UPTIME  VIA   PATH
        orders  0     4711  mapped  com.example.Orders  25.0.3  G1  13.4 MiB of 96.0 MiB  2d 4h   file  /tmp/hsperfdata_app/4711
        a�[31m  -     -             -                   -       -   -                     -       -     -

        Not served (1):
          pid 12: other_owner: owned by uid 1000�fake: line
            Run the exporter as uid 1000.
        ");
    }

    #[test]
    fn an_empty_table_says_what_to_check() {
        let table = Listing::default().table();
        assert!(table.starts_with("No JVM found. Things to check:\n"));
        for word in ["group id", "PrivateTmp", "PerfDisableSharedMem", "subPath"] {
            assert!(table.contains(word), "{word}");
        }
    }

    #[test]
    fn json_omits_unknown_values() {
        let json = serde_json::to_value(Listing { jvms: vec![orders()], refused: vec![] }).unwrap();
        let jvm = json["jvms"][0].as_object().unwrap();
        assert_eq!(jvm["slot"], 0);
        assert!(!jvm.contains_key("heap_committed") && !jvm.contains_key("user"));
        assert_eq!(json["refused"], serde_json::json!([]));
    }

    #[test]
    fn sizes_and_durations() {
        for (size, expected) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "16.0 EiB")] {
            assert_eq!(bytes(size), expected);
        }
        for (seconds, expected) in
            [(-1.0, "0s"), (59.9, "59s"), (60.0, "1m 0s"), (3_661.0, "1h 1m"), (187_200.0, "2d 4h")]
        {
            assert_eq!(duration(seconds), expected);
        }
    }
}
