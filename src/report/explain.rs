//! `explain`: why a JVM has the metrics that it has, and why not others.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{InspectError, Named, living, of_file};
use crate::config::{Config, NmtMode};
use crate::fact::Fact;
use crate::fact::Provider;
use crate::fact::ProviderId;
use crate::hotspot::Model;
use crate::metric::{Kind, Labels};
use crate::perfdata::Image;
use crate::providers::nmt;
use crate::providers::{Providers, attachable, start_sampler};
use crate::rules::{Decision, Exported, Profile, Subject};
use crate::targets::Target;

/// What every profile makes of a JVM, one after the other: of a region file, or of the JVM with that process id, of
/// which more is known than its region says. Such a JVM is asked once for its native memory unless `nmt.mode` is off,
/// and not signalled in any mode.
///
/// # Errors
/// Nothing of that name, a JVM that cannot be read, or a file that is no region.
pub fn explain(subject: &str, config: &Config) -> Result<String, InspectError> {
    match Named::of(subject)? {
        Named::File(path) => {
            let image = of_file(path)?;
            let mut out = profiles(config, &image, &Model::of(&image, &config.identity.properties).facts());
            out.push_str(
                "Facts that are not in the region are not listed: target.* comes from the process, and is there \
                 while the exporter serves the JVM.\n",
            );
            Ok(out)
        }
        Named::Process(pid) => {
            let sampler = start_sampler(&config.sampling);
            let providers = Providers::new(sampler, None);
            explain_target(&*living::find(pid, config, providers)?, config)
        }
    }
}

fn explain_target(target: &Target, config: &Config) -> Result<String, InspectError> {
    let region = |error| InspectError::Region { path: target.path.clone(), error };
    let image = Image::read(&target.region).map_err(region)?;
    let mut facts = Model::of(&image, &config.identity.properties).facts();
    facts.extend(target.facts());
    facts.extend(target.providers.iter().flat_map(|(_, _, shape)| shape.iter().cloned()));
    let (native, told) = native(target, config);
    facts.extend(native);

    let mut out = profiles(config, &image, &facts);
    out.push_str("beside the region\n");
    let _ = writeln!(out, "  process: {}", process(target));
    let _ = writeln!(out, "  native memory: {told}");
    let _ = writeln!(out, "  sampling: {}", sampling(target, config));
    Ok(out)
}

fn profiles(config: &Config, image: &Image, facts: &[Fact]) -> String {
    let mut out = String::new();
    for profile in &config.profiles {
        write_profile(&mut out, profile, &profile.explain(image, facts));
    }
    out
}

/// The facts of the JVM's native memory, and why there are those or none.
fn native(target: &Target, config: &Config) -> (Vec<Fact>, String) {
    if config.nmt.mode == NmtMode::Off {
        return (Vec::new(), "absent: nmt.mode is off".to_owned());
    }
    match attachable(target) {
        Ok(attachable) => {
            let watch = nmt::query_once(attachable, NmtMode::Passive, config.nmt.timeout);
            let state = watch.state();
            let absent = if state == nmt::NmtState::Answering { "" } else { "absent: " };
            (watch.read().0.to_vec(), format!("{absent}{state}"))
        }
        Err(error) => (Vec::new(), format!("absent: the way to the attach socket is gone: {error}")),
    }
}

/// Why there are facts of the process, or none.
fn process(target: &Target) -> &'static str {
    match (shape(target, ProviderId::Process), &target.process) {
        (Some(facts), _) if facts.iter().any(|fact| fact.source.starts_with("cgroup.")) => {
            "visible, and so is its cgroup"
        }
        (Some(_), _) => "visible; its cgroup is not, so cgroup.* is absent",
        (None, Some(_)) => "absent: /proc may not be looked at (--path.procfs), or the process has ended",
        (None, None) => {
            "absent: it is not visible in /proc, so proc.* and cgroup.* are too; a sidecar needs shareProcessNamespace"
        }
    }
}

/// Why there are facts of the sampler, or none.
fn sampling(target: &Target, config: &Config) -> &'static str {
    match shape(target, ProviderId::Sampler) {
        Some(_) => "pauses, peaks and allocation, counted from the exporter's first sight of the JVM on",
        None if config.sampling.interval.is_zero() => "absent: sampling.interval is 0",
        None => "absent: this JVM publishes nothing that sampling could tell more about",
    }
}

fn shape(target: &Target, provider: ProviderId) -> Option<&[Fact]> {
    target.providers.iter().find(|(id, _, _)| *id == provider).map(|(_, _, shape)| &**shape)
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
                let from = if counters.is_empty() { String::new() } else { format!(" from {}", counters.join(", ")) };
                let _ = writeln!(out, "      source {source}{}{from}", braces(&labels));
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
