//! `explain`: which rule makes which series of a JVM, and why other counters and facts have none.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::list::overflow_text;
use super::subject::{ReportError, Subject, find, of_file};
use crate::config::{AttachMode, Config, IntrospectionMode};
use crate::fact::{AttachedProvider, Fact, Provider, ProviderId};
use crate::hotspot::Model;
use crate::metric::{Kind, Labels};
use crate::perfdata::Image;
use crate::proc::Process;
use crate::proc::cgroup::Hierarchies;
use crate::providers::attach::diagnostics::{DiagnosticPlan, DiagnosticState};
use crate::providers::attach::native_memory::NmtState;
use crate::providers::attach::{self, AttachCommand, AttachTopic};
use crate::providers::introspection::{self, IntrospectionSubject};
use crate::providers::{Providers, attachable, start_sampler};
use crate::rules::{ExplainedInput, Explanation, ExportedSeries, Profile};
use crate::targets::{Target, guarded, sources};

/// Explains what every profile makes of a region file, or of the JVM with that process id and its providers. Such a JVM
/// is asked once over its attach socket unless `attach.mode` is off, and is not signalled in any mode.
pub fn explain(subject: &str, config: &Config) -> Result<String, ReportError> {
    match Subject::of(subject)? {
        Subject::File(path) => {
            let image = of_file(path)?;
            let mut out = profiles(config, &image, &Model::of(&image, &config.identity.properties).facts);
            out.push_str(
                "Facts that are not in the region are not listed: target.* comes from the process, and is available \
                 while the exporter serves the JVM.\n",
            );
            Ok(out)
        }
        Subject::Process(pid) => {
            let providers = Providers::new(start_sampler(&config.sampling), None, None, &config.threads);
            explain_target(&*find(pid, config, providers)?, config)
        }
    }
}

/// The same of a JVM that is served, from what its providers know: the JVM is not asked anything.
///
/// # Errors
/// Its region cannot be read.
pub(crate) fn explain_served(target: &Target, config: &Config) -> Result<String, ReportError> {
    let image = guarded::read_image(target).map_err(|error| ReportError::Region(target.path.clone(), error))?;
    let mut model = Model::of(&image, &config.identity.properties);
    if let Some(seconds) = target.corrected_start {
        model.correct_start(seconds);
    }
    Ok(profiles(config, &image, &target.merged_facts(&model)))
}

fn explain_target(target: &Target, config: &Config) -> Result<String, ReportError> {
    let region = |error| ReportError::Region(target.path.clone(), error);
    let image = Image::read(&target.region).map_err(region)?;
    let mut model = Model::of(&image, &config.identity.properties);
    if let Some(seconds) = target.corrected_start {
        model.correct_start(seconds);
    }
    let asked = Asked::of(target, &model, config);
    let (memory, memory_status) = process_memory(target, &model, config);
    let mut facts = model.facts;
    facts.extend(target.facts());
    let facts = sources::merge(facts, &[&target.providers[..], &asked.providers, memory.as_slice()].concat());

    let mut out = profiles(config, &image, &facts);
    out.push_str("outside the region\n");
    let _ = writeln!(out, "  process: {}", process_status(target));
    if target.corrected_start.is_some() {
        out.push_str(
            "  start: by the kernel's clock; by its own, which was wrong, the JVM did not start in its process\n",
        );
    }
    let _ = writeln!(out, "  native memory: {}", asked.native_memory);
    let _ = writeln!(out, "  diagnostics: {}", asked.diagnostics);
    let _ = writeln!(out, "  process memory: {memory_status}");
    let _ = writeln!(out, "  sampling: {}", sampler_status(target, config));
    Ok(out)
}

fn profiles(config: &Config, image: &Image, facts: &[Fact]) -> String {
    let mut out = String::new();
    if let Some(overflow) = u64::try_from(image.prologue.overflow).ok().filter(|bytes| *bytes > 0) {
        let _ = writeln!(out, "The region is full: {}\n", overflow_text(overflow));
    }
    for profile in &config.profiles {
        write_profile(&mut out, profile, &profile.explain(image, facts));
    }
    out
}

/// What the JVM answers over its attach socket, and why that is present or absent.
struct Asked {
    providers: Vec<AttachedProvider>,
    native_memory: String,
    diagnostics: String,
}

impl Asked {
    fn of(target: &Target, model: &Model, config: &Config) -> Self {
        if config.attach.mode == AttachMode::Off {
            return Self::absent("absent: attach.mode is off");
        }
        let attachable = match attachable(target)() {
            Ok(attachable) => attachable,
            Err(error) => return Self::absent(&format!("absent: cannot find the attach socket: {error}")),
        };
        let is_introspected = config.introspection.mode != IntrospectionMode::Off;
        let plan = DiagnosticPlan::of(model, is_introspected && attachable.memory_readable);
        let jvm = attach::ask_once(attachable, plan, &config.attach);
        let native_memory = match jvm.state() {
            NmtState::Answering => "answering".to_owned(),
            state => format!("absent: {state}"),
        };
        let diagnostics = match jvm.diagnostic_state() {
            DiagnosticState::Answering => {
                let lines: Vec<_> = jvm.diagnostic_commands().into_iter().map(AttachCommand::line).collect();
                format!("answering {}", lines.join(", "))
            }
            state if jvm.read(AttachTopic::Diagnostics).0.is_empty() => format!("absent: {state}"),
            state => format!("in part: {state}"),
        };
        let providers = jvm.providers().map(|(id, provider)| {
            let facts = provider.read().0;
            AttachedProvider { id, provider, facts }
        });
        Self { providers: providers.collect(), native_memory, diagnostics }
    }

    fn absent(why: &str) -> Self {
        Self { providers: Vec::new(), native_memory: why.to_owned(), diagnostics: why.to_owned() }
    }
}

/// The facts of the JVM's memory, and why they are present or absent.
fn process_memory(target: &Target, model: &Model, config: &Config) -> (Option<AttachedProvider>, String) {
    if config.introspection.mode == IntrospectionMode::Off {
        return (None, "absent: introspection.mode is off".to_owned());
    }
    if target.process.is_none() {
        return (None, "absent: its process is not visible; a sidecar needs shareProcessNamespace".to_owned());
    }
    match IntrospectionSubject::of(target, model) {
        Some(subject) => {
            let jvm = introspection::read_once(subject, &config.introspection);
            let state = jvm.state().to_string();
            let facts = jvm.read().0;
            (Some(AttachedProvider { id: ProviderId::Introspection, provider: jvm, facts }), state)
        }
        None => (None, "absent: it is a native image, or of an unknown release".to_owned()),
    }
}

/// Why facts of the process are present or absent.
fn process_status(target: &Target) -> String {
    match (facts_of(target, ProviderId::Process), &target.process) {
        (Some([_, ..]), Some(process)) => cgroup_status(process),
        (_, Some(_)) => "absent: /proc must not be read (--path.procfs), or the process has ended".to_owned(),
        (_, None) => "absent: it is not visible in /proc, so proc.* and cgroup.* are absent; a sidecar needs \
                      shareProcessNamespace"
            .to_owned(),
    }
}

/// Why facts of the control group are present or absent.
fn cgroup_status(process: &Process) -> String {
    let cgroup = Hierarchies::visible().unwrap_or_default().read(process.directory());
    let cpu = cgroup.cpu.err().map(|error| format!("{error}: cgroup.cpu_*, the utilization and the number of CPUs"));
    let memory = cgroup.memory.err().map(|error| format!("{error}: cgroup.memory_* and cgroup.oom_kills"));
    match [cpu, memory].into_iter().flatten().collect::<Vec<_>>() {
        unseen if unseen.is_empty() => "visible, and so is its cgroup".to_owned(),
        unseen => format!("visible; {} are absent", unseen.join(" are absent; ")),
    }
}

/// Why facts of the sampler are present or absent.
fn sampler_status(target: &Target, config: &Config) -> &'static str {
    match facts_of(target, ProviderId::Sampler) {
        Some(_) => "pauses, peaks and allocation, counted since the exporter found the JVM",
        None if config.sampling.interval.is_zero() => "absent: sampling.interval is 0",
        None => "absent: sampling adds nothing to what this JVM publishes",
    }
}

fn facts_of(target: &Target, provider: ProviderId) -> Option<&[Fact]> {
    target.providers.iter().find(|attached| attached.id == provider).map(|attached| &*attached.facts)
}

fn write_profile(out: &mut String, profile: &Profile, explanations: &[Explanation]) {
    let _ = writeln!(out, "profile {}", profile.name);
    let mut exported = BTreeSet::new();
    for explanation in explanations {
        let Ok(series) = &explanation.outcome else { continue };
        let _ = writeln!(out, "  {}", prometheus_series(series));
        match &explanation.input {
            ExplainedInput::Counter(name) => {
                exported.insert(name.clone());
                let _ = writeln!(out, "      counter {name}");
            }
            ExplainedInput::Fact { name, labels, counters, providers } => {
                exported.extend(counters.iter().cloned());
                let labels = Labels::new(labels.iter().map(|(name, value)| (*name, value.clone())));
                let sources = counters.iter().map(|counter| counter.to_string());
                let sources: Vec<_> = sources.chain(providers.iter().map(ToString::to_string)).collect();
                let from = if sources.is_empty() { String::new() } else { format!(" from {}", sources.join(", ")) };
                let _ = writeln!(out, "      source {name}{}{from}", braces(&labels));
            }
        }
        if let Some(rule) = &explanation.rule {
            let _ = writeln!(out, "      rule {rule}");
        }
    }
    let _ = writeln!(out, "not exported by profile {}", profile.name);
    for explanation in explanations {
        let Err(reason) = &explanation.outcome else { continue };
        let input = match &explanation.input {
            ExplainedInput::Counter(name) if exported.contains(name) => continue,
            ExplainedInput::Counter(name) => format!("counter {name}"),
            ExplainedInput::Fact { name, .. } => format!("source {name}"),
        };
        let rule = explanation.rule.as_ref().map(|rule| format!(" ({rule})")).unwrap_or_default();
        let _ = writeln!(out, "  {input}: {reason}{rule}");
    }
    let unmatched = profile.unmatched();
    if !unmatched.is_empty() {
        let _ = writeln!(out, "rules of profile {} that match nothing of this JVM", profile.name);
        for rule in unmatched {
            let _ = writeln!(out, "  {}: {rule}", rule.selector);
        }
    }
    out.push('\n');
}

/// `jvm_memory_used_bytes{…} gauge`, as in Prometheus.
fn prometheus_series(series: &ExportedSeries) -> String {
    let total = if series.kind == Kind::Counter { "_total" } else { "" };
    format!("{}{total}{} {}", series.prometheus, braces(&series.labels), series.kind.as_str())
}

fn braces(labels: &Labels) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}
