//! Threads by state, deadlocks, and virtual threads on their carriers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Case, Source, look};
use crate::support::exposition::{Exposition, Sample};
use crate::support::facts::{Bracket, Facts, Watch};

const STATES: [&str; 5] = ["new", "runnable", "blocked", "waiting", "timed_waiting"];
const BY_STATE: &str = "jvm_hotspot_thread_states";
const COUNT: &str = "jvm_thread_count";

/// Each state has as many threads as the bean says, of which the planted ones are known.
pub(super) fn still(bracket: &mut Bracket, case: &Case) {
    planted(bracket);
    totals(bracket);
    if case.source != Source::Introspection {
        bracket.absent(BY_STATE, &[]);
        return;
    }
    for state in STATES {
        let labels = [("jvm_thread_state", state)];
        bracket.inside(BY_STATE, &labels, 0.0, |beans| beans.threads.as_ref()?.states.get(state).copied());
        bracket.inside("jvm_threads_state", &[("state", &state.to_uppercase())], 0.0, |beans| {
            beans.threads.as_ref()?.states.get(state).copied()
        });
        // Under ZGC no object can be read, and the flag is in one.
        for (daemon, is_daemon) in [("true", true), ("false", false)].into_iter().filter(|_| !case.is_z()) {
            bracket.inside(COUNT, &[("jvm_thread_daemon", daemon), ("jvm_thread_state", state)], 0.0, |beans| {
                let threads = beans.threads.as_ref()?;
                if is_daemon { threads.daemons.get(state).copied() } else { threads.others.get(state).copied() }
            });
        }
    }
    for name in ["jvm_hotspot_thread_deadlocked", "jvm_threads_deadlocked_monitor"] {
        // JDK 25 on names owners whose objects ZGC colours.
        if case.is_z() && case.jdk.feature >= 25 {
            bracket.inside_if_there(name, &[], 0.0, |beans| Some(beans.threads.as_ref()?.deadlocked));
        } else {
            bracket.inside(name, &[], 0.0, |beans| Some(beans.threads.as_ref()?.deadlocked));
        }
    }
}

/// The program has planted what it was told to.
fn planted(bracket: &Bracket) {
    let threads = bracket.last().threads();
    let states = STATES.map(|state| threads.states[state]);
    let least = [0, 20, 22, 40, 30];
    assert!(states.iter().zip(least).all(|(count, least)| *count >= least), "{threads:?}");
    assert_eq!(threads.deadlocked, 2, "{threads:?}");
    assert_eq!(states.iter().sum::<i64>(), threads.live, "{threads:?}");
}

/// Whatever the labels are, their sum is the number of threads.
fn totals(bracket: &mut Bracket) {
    let problems: Vec<String> = ["true", "false"]
        .into_iter()
        .filter_map(|daemon| {
            let range = bracket.range(|beans| {
                let threads = beans.threads.as_ref()?;
                Some(if daemon == "true" { threads.daemon } else { threads.live - threads.daemon })
            });
            let (least, most) = range.unwrap_or_default();
            let sum = sum(&bracket.page, COUNT, &[("jvm_thread_daemon", daemon)]).unwrap_or(-1.0);
            (sum < least || sum > most).then(|| format!("{COUNT} of daemon={daemon}: {sum}, not {least} to {most}"))
        })
        .collect();
    bracket.differences.extend(problems);
    one_kind_of_series(bracket);
}

/// Series with a state and series without would count threads twice.
fn one_kind_of_series(bracket: &mut Bracket) {
    let has_state = |sample: &&_| -> bool { state(sample).is_some_and(|state| !state.is_empty()) };
    let (with, without): (Vec<_>, Vec<_>) = bracket.page.all(COUNT, &[]).partition(has_state);
    if !with.is_empty() && !without.is_empty() {
        let difference = format!("{COUNT} has {} series with a state and {} without", with.len(), without.len());
        bracket.differences.push(difference);
    }
}

fn state(sample: &Sample) -> Option<&String> {
    sample.labels.get("jvm_thread_state")
}

fn has_states(page: &Exposition) -> bool {
    page.all(COUNT, &[]).any(|sample| state(sample).is_some_and(|state| !state.is_empty()))
}

fn sum(page: &Exposition, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let values: Vec<f64> = page.all(name, labels).map(|sample| sample.value).collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// While threads start and end as fast as they can, a sum is right, or there is none.
pub(super) fn churn(case: &mut Case) {
    case.facts.obey("churn 3");
    let exporter = &case.exporter;
    let mut watch = Watch::new(&mut case.facts, Facts::beans, case.source.age(), 0.0);
    let end = Instant::now() + Duration::from_secs(5);
    let mut differences = BTreeSet::new();
    while Instant::now() < end {
        match watch.look(|pid| look(exporter, pid)) {
            Ok(mut bracket) => {
                one_kind_of_series(&mut bracket);
                let (least, most) = bracket.range(|beans| Some(beans.threads.as_ref()?.live)).unwrap_or_default();
                // Without states it is HotSpot's counter, which has threads that are just ending; the bean has not.
                let by_state = sum(&bracket.page, BY_STATE, &[]);
                let by_both = sum(&bracket.page, COUNT, &[]).filter(|_| has_states(&bracket.page));
                for (name, sum) in [(BY_STATE, by_state), (COUNT, by_both)] {
                    if sum.is_some_and(|sum| sum < least - 2.0 || sum > most + 2.0) {
                        bracket.differences.push(format!("{name} adds up to {sum:?}, not {least} to {most}"));
                    }
                }
                differences.extend(bracket.differences);
            }
            Err(error) => _ = differences.insert(error),
        }
    }
    case.facts.obey("quiet");
    case.differences.extend(differences.into_iter().map(|difference| format!("churn: {difference}")));
    case.settle("after the churn", &[], still);
}

/// Virtual threads take their carriers' place: a carrier is WAITING to the bean, whatever runs on it. Under ZGC nobody
/// sees from outside what runs on it.
pub(super) fn virtual_threads(case: &mut Case) {
    case.facts.obey("virtual 3 2 50");
    case.settle("virtual threads", &[], |bracket, case| {
        if case.source != Source::Introspection || !case.is_z() {
            return still_with_virtual(bracket, case);
        }
        totals(bracket);
        for (state, more, less) in [("blocked", 0, 0), ("timed_waiting", 0, 0), ("runnable", 3, 0), ("waiting", 0, 3)] {
            let count = bracket.last().threads().states[state];
            let (least, most) = ((count - less) as f64, (count + more) as f64);
            bracket.between(BY_STATE, &[("jvm_thread_state", state)], least, most);
        }
        let (sum, live) = (sum(&bracket.page, BY_STATE, &[]), bracket.last().threads().live);
        if sum != Some(live as f64) {
            bracket.differences.push(format!("{BY_STATE} adds up to {sum:?}, not {live}"));
        }
    });
}

fn still_with_virtual(bracket: &mut Bracket, case: &Case) {
    still(bracket, case);
    if case.source == Source::Introspection {
        bracket.equal("jvm_hotspot_thread_virtual_mounted", &[], 5.0);
    }
}

/// Without virtual threads none is mounted.
pub(super) fn no_virtual_threads(bracket: &mut Bracket, _: &Case) {
    if bracket.page.value("jvm_hotspot_thread_virtual_mounted", &[]).is_some() {
        bracket.equal("jvm_hotspot_thread_virtual_mounted", &[], 0.0);
    }
}
