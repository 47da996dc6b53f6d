//! `explain`: why a JVM has the metrics that it has, and why not others.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::config::Config;
use crate::hotspot;
use crate::mapping::{Decision, Exported, Profile, Subject};
use crate::metric::{Kind, Labels};
use crate::perfdata::Image;

/// What every profile makes of a region, one after the other.
///
/// Facts that do not stem from the region (the process, NMT, sampling) are known only where the exporter serves the
/// JVM; the last lines say so.
pub fn explain(image: &Image, config: &Config) -> String {
    let facts = hotspot::facts(image);
    let mut out = String::new();
    for profile in &config.profiles {
        write_profile(&mut out, profile, &profile.explain(image, &facts));
    }
    out.push_str(
        "Facts that are not in the region are not listed: target.* comes from the process, and is there while the \
         exporter serves the JVM.\n",
    );
    out
}

fn write_profile(out: &mut String, profile: &Profile, decisions: &[Decision]) {
    let _ = writeln!(out, "profile {}", profile.name);
    let mut explained = BTreeSet::new();
    for decision in decisions {
        let Ok(exported) = &decision.outcome else { continue };
        let _ = writeln!(out, "  {}", series(exported));
        match &decision.subject {
            Subject::Counter(name) => {
                explained.insert(name.clone());
                let _ = writeln!(out, "      counter {name}");
            }
            Subject::Fact { source, labels, counters } => {
                explained.extend(counters.iter().cloned());
                let labels = Labels::new(labels.iter().map(|(name, value)| (*name, value.clone())));
                let _ = writeln!(out, "      source {source}{} from {}", braces(&labels), counters.join(", "));
            }
        }
        if let Some(rule) = &decision.rule {
            let _ = writeln!(out, "      rule {rule}");
        }
    }
    let _ = writeln!(out, "not exported by profile {}", profile.name);
    for decision in decisions {
        let Err(reason) = &decision.outcome else { continue };
        let subject = match &decision.subject {
            Subject::Counter(name) if explained.contains(name) => continue,
            Subject::Counter(name) => format!("counter {name}"),
            Subject::Fact { source, .. } => format!("source {source}"),
        };
        let rule = decision.rule.as_ref().map(|rule| format!(" ({rule})")).unwrap_or_default();
        let _ = writeln!(out, "  {subject}: {reason}{rule}");
    }
    let unmatched = profile.unmatched();
    if !unmatched.is_empty() {
        let _ = writeln!(out, "rules of profile {} that took nothing of this JVM", profile.name);
        for rule in unmatched {
            let _ = writeln!(out, "  {}: {rule}", rule.takes);
        }
    }
    out.push('\n');
}

/// `jvm_memory_used_bytes{…} gauge`, in Prometheus form.
fn series(exported: &Exported) -> String {
    let total = if exported.kind == Kind::Counter { "_total" } else { "" };
    format!("{}{total}{} {}", exported.prometheus, braces(&exported.labels), exported.kind.as_str())
}

fn braces(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}
