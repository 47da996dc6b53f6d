//! `tests/java/Facts.java`, whose facts are known, and pages of the exporter between what its beans said before and
//! after.

use std::collections::{BTreeMap, VecDeque};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::attach;
use super::exposition::Exposition;
use super::jdk::{Collector, Jdk};
use super::jvm::{Jvm, Pool, Usage};

/// Time between two questions to the beans.
const POLL: Duration = Duration::from_millis(50);

/// What the beans of a JVM say at one moment.
#[derive(Clone, Debug, Deserialize)]
pub struct Beans {
    pub pools: Vec<Pool>,
    pub heap: Usage,
    pub nonheap: Usage,
    /// Bytes that all threads have allocated; up to JDK 20, those that live.
    pub allocated: i64,
    /// Only in answers to `beans`, like all that follows.
    #[serde(default)]
    pub buffers: Vec<BufferPool>,
    #[serde(default)]
    pub threads: Option<ThreadBean>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct BufferPool {
    pub name: String,
    pub count: i64,
    pub used: i64,
    pub capacity: i64,
}

/// Numbers of threads, by state as in `timed_waiting`.
#[derive(Clone, Debug, Deserialize)]
pub struct ThreadBean {
    pub live: i64,
    pub daemon: i64,
    pub peak: i64,
    pub deadlocked: i64,
    pub states: BTreeMap<String, i64>,
    pub daemons: BTreeMap<String, i64>,
    pub others: BTreeMap<String, i64>,
}

impl Beans {
    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The buffers of that pool.
    pub fn buffer(&self, name: &str) -> Option<&BufferPool> {
        self.buffers.iter().find(|pool| pool.name == name)
    }

    /// The threads.
    ///
    /// # Panics
    /// If this is not the answer to `beans`.
    pub fn threads(&self) -> &ThreadBean {
        self.threads.as_ref().expect("an answer to `beans`")
    }
}

/// A flag of the JVM as text, and who set it as `VMOption.Origin` names it.
pub type Flags = BTreeMap<String, (String, String)>;

/// A running `Facts`; killed when dropped.
#[derive(Debug)]
pub struct Facts {
    jvm: Jvm,
}

impl Facts {
    /// Starts it with a small heap, an open attach socket and further options, and has it obey these commands first.
    pub fn start(jdk: &Jdk, collector: Collector, options: &[&str], commands: &[String]) -> Self {
        let mut command = Command::new(jdk.java());
        command.args(["-Xms64m", "-XX:+StartAttachListener", "-Djdk.virtualThreadScheduler.parallelism=6"]);
        command.args(Jvm::arguments()).args(collector.options()).args(options).arg("Facts").args(commands);
        Self { jvm: Jvm::spawn(&mut command) }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.jvm.pid()
    }

    /// Gives a command and waits until it is done.
    pub fn obey(&mut self, command: &str) {
        self.jvm.obey(command);
    }

    /// All that its beans say.
    pub fn beans(&mut self) -> Beans {
        self.answer("beans")
    }

    /// What its beans say of memory. The answer costs less.
    pub fn memory(&mut self) -> Beans {
        self.answer("memory")
    }

    /// Those of the flags that it has, by its diagnostic bean.
    pub fn flags(&mut self, names: &[&str]) -> Flags {
        let answer = self.jvm.ask(&format!("flags {}", names.join(" ")));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
    }

    /// Its answer to a diagnostic command.
    pub fn diagnose(&self, command: &str) -> String {
        attach::ask(self.jvm.pid(), command)
    }

    /// Looks once at what stands still, with answers of the beans from before the oldest value until after the look.
    /// ZGC collects when it likes, so memory is asked in between.
    pub fn still(
        &mut self,
        age: Duration,
        look: impl FnOnce(u32) -> Result<Exposition, String>,
    ) -> Result<Bracket, String> {
        let start = Instant::now();
        let mut answers = vec![(start, self.beans())];
        while start.elapsed() < age {
            std::thread::sleep(2 * POLL);
            answers.push((Instant::now(), self.memory()));
        }
        let page = look(self.pid())?;
        answers.push((Instant::now(), self.beans()));
        Ok(Bracket::new(page, answers, 0.0))
    }

    fn answer(&mut self, command: &str) -> Beans {
        let answer = self.jvm.ask(command);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error} in {answer}"))
    }
}

/// Asks the beans again and again, so that each look at the exporter has the answers of the time from which its values
/// may come.
#[derive(Debug)]
pub struct Watch<'a> {
    facts: &'a mut Facts,
    ask: fn(&mut Facts) -> Beans,
    /// How old the oldest value of a page may be.
    age: Duration,
    /// Bytes that may come or go in a second.
    rate: f64,
    answers: VecDeque<(Instant, Beans)>,
}

impl<'a> Watch<'a> {
    /// For values that are at most so old, of a JVM that makes so much garbage in a second.
    pub fn new(facts: &'a mut Facts, ask: fn(&mut Facts) -> Beans, age: Duration, rate: f64) -> Self {
        Self { facts, ask, age, rate, answers: VecDeque::new() }
    }

    /// Asks until there are answers of the whole time, looks, and asks once more.
    pub fn look(&mut self, look: impl FnOnce(u32) -> Result<Exposition, String>) -> Result<Bracket, String> {
        self.poll();
        while self.answers.front().is_none_or(|(time, _)| time.elapsed() < self.age) {
            std::thread::sleep(POLL);
            self.poll();
        }
        let start = Instant::now();
        let page = look(self.facts.pid())?;
        self.poll();
        // The first answer stays older than the oldest value.
        while self.answers.get(1).is_some_and(|(time, _)| start.duration_since(*time) > self.age) {
            self.answers.pop_front();
        }
        Ok(Bracket::new(page, self.answers.iter().cloned().collect(), self.rate))
    }

    fn poll(&mut self) {
        self.answers.push_back((Instant::now(), (self.ask)(self.facts)));
    }
}

/// A page, and what the beans said from before the oldest of its values until after it was read.
#[derive(Debug)]
pub struct Bracket {
    pub page: Exposition,
    pub answers: Vec<Beans>,
    /// Bytes by which a pool may go beyond the answers, between two of them.
    pub unseen: f64,
    /// What was not as expected.
    pub differences: Vec<String>,
}

impl Bracket {
    fn new(page: Exposition, answers: Vec<(Instant, Beans)>, rate: f64) -> Self {
        let gaps = answers.windows(2).map(|pair| pair[1].0.duration_since(pair[0].0));
        let unseen = gaps.max().unwrap_or_default().as_secs_f64() * rate;
        Self { page, answers: answers.into_iter().map(|(_, beans)| beans).collect(), unseen, differences: Vec::new() }
    }

    /// The last answer.
    pub fn last(&self) -> &Beans {
        self.answers.last().expect("it ends with an answer")
    }

    /// The least and the greatest of what the answers have, unless none has anything.
    pub fn range(&self, value: impl Fn(&Beans) -> Option<i64>) -> Option<(f64, f64)> {
        let values = || self.answers.iter().filter_map(&value);
        values().min().zip(values().max()).map(|(least, most)| (least as f64, most as f64))
    }

    /// Notes a difference unless the one such series lies between the answers, widened by the tolerance.
    pub fn inside(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        tolerance: f64,
        value: impl Fn(&Beans) -> Option<i64>,
    ) {
        match self.range(value) {
            Some((least, most)) => self.between(name, labels, least - tolerance, most + tolerance),
            None => self.differences.push(format!("{name} {labels:?}: the beans do not have it")),
        }
    }

    /// The same, if there is such a series.
    pub fn inside_if_there(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        tolerance: f64,
        value: impl Fn(&Beans) -> Option<i64>,
    ) {
        if self.page.value(name, labels).is_some() {
            self.inside(name, labels, tolerance, value);
        }
    }

    /// Notes a difference unless the one such series is between the two.
    pub fn between(&mut self, name: &str, labels: &[(&str, &str)], least: f64, most: f64) {
        match self.page.value(name, labels) {
            Some(value) if least <= value && value <= most => (),
            // One line for a metric that is not there at all.
            None if self.page.all(name, &[]).next().is_none() => self.differences.push(format!("no {name}")),
            found => self.differences.push(format!("{name} {labels:?}: {found:?}, not in {least} to {most}")),
        }
    }

    /// Notes a difference unless the one such series has this value.
    pub fn equal(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.between(name, labels, value, value);
    }

    /// Notes a difference if there is such a series.
    pub fn absent(&mut self, name: &str, labels: &[(&str, &str)]) {
        if let Some(sample) = self.page.all(name, labels).next() {
            self.differences.push(format!("{sample:?} should not be there"));
        }
    }

    /// `Ok` if there was no difference.
    pub fn verdict(self) -> Result<Self, String> {
        if self.differences.is_empty() { Ok(self) } else { Err(self.differences.join("\n")) }
    }
}
