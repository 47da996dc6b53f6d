//! What the exporter reads from a JVM's memory and asks over its attach socket, against what the JVM says itself: on
//! every JDK that is installed, with every collector that it has.

mod asked;
mod both;
mod flags;
mod live;
mod memory;
mod threads;

use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::native::Config;
use crate::support::exporter::{self, Exporter};
use crate::support::exposition::Exposition;
use crate::support::facts::{Bracket, Facts, Watch};
use crate::support::jdk::{self, Collector, Jdk};
use crate::support::{is_root, program, skip, wait_at_most};

/// Long enough for compilers to come to rest.
const REST: Duration = Duration::from_secs(12);

/// Megabytes of garbage a second, of a JVM under load.
const GARBAGE: u32 = 20;

/// A test for every pair of release and collector, so that a failure names its pair.
macro_rules! every_pair {
    ($check:path; $($test:ident: $release:literal $collector:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            use crate::support::jdk::Collector::$collector;
            crate::facts::run($release, $collector, stringify!($test), $check);
        })*
    };
}
use every_pair;

/// By which way an exporter knows what counters lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// From the JVM's memory.
    Introspection,
    /// From answers over the attach socket.
    Diagnostics,
    /// From both.
    Both,
    /// Not at all.
    Region,
}

impl Source {
    /// Starts an exporter that has this source only.
    fn exporter(self) -> (Exporter, Config) {
        let own = match self {
            // Threads are read once in five intervals.
            Self::Introspection => "attach: {mode: off}\nintrospection: {interval: 200ms}",
            Self::Diagnostics | Self::Both => "nmt: {interval: 1s}\ndiagnostics: {interval: 1s}",
            Self::Region => "",
        };
        let config = Config::new(&format!("profiles: [otel, client_java]\ndiscovery: {{interval: 100ms}}\n{own}\n"));
        let mut command = exporter::command([config.flag(), "--discovery.root=/tmp".to_owned()]);
        if self == Self::Diagnostics {
            // As a sidecar: root that may not read the memory of another process.
            let inner = std::mem::replace(&mut command, Command::new("setpriv"));
            command.args(["--inh-caps=-sys_ptrace", "--bounding-set=-sys_ptrace"]);
            command.arg(inner.get_program()).args(inner.get_args());
        }
        (Exporter::spawn(&mut command), config)
    }

    /// How old a value may be: the interval, a pass, and what a scheduler may take.
    fn age(self) -> Duration {
        match self {
            Self::Introspection | Self::Region => Duration::from_millis(1500),
            Self::Diagnostics | Self::Both => Duration::from_millis(2500),
        }
    }

    /// Bytes that a value may lack: some commands print kilobytes.
    fn rounding(self) -> f64 {
        if self == Self::Diagnostics { 1024.0 } else { 0.0 }
    }
}

/// A JVM whose facts are known, an exporter, and what was not as expected so far.
struct Case {
    jdk: Jdk,
    collector: Collector,
    source: Source,
    facts: Facts,
    /// Its `MaxHeapSize`.
    heap_maximum: f64,
    exporter: Exporter,
    _config: Config,
    differences: Vec<String>,
}

impl Case {
    fn start(jdk: &Jdk, collector: Collector, source: Source, options: &[&str]) -> Self {
        let mut commands = vec!["threads 20", "timed 5", "deadlock", "direct 3 1000000", "mapped 2 65536", "loaders 3"];
        if collector == Collector::G1 {
            // Of a region each, and of two.
            commands.extend(["humongous 3 700000", "humongous 1 1500000"]);
        }
        commands.push("keep 4");
        let commands: Vec<String> = commands.into_iter().map(str::to_owned).collect();
        let mut facts = Facts::start(jdk, collector, options, &commands);
        let heap_maximum = facts.flags(&["MaxHeapSize"])["MaxHeapSize"].0.parse().unwrap();
        // What seldom changes is read once a minute: it is there before the exporter.
        let (exporter, config) = source.exporter();
        let (jdk, differences) = (jdk.clone(), Vec::new());
        Self { jdk, collector, source, facts, heap_maximum, exporter, _config: config, differences }
    }

    fn is_z(&self) -> bool {
        matches!(self.collector, Collector::Z | Collector::GenerationalZ)
    }

    /// Waits until there is such a series. Without it, the case goes on with what the region has.
    fn wait_for_source(&mut self, series: &[&str]) {
        let pid = self.facts.pid();
        let found = wait_at_most(REST, || {
            let page = look(&self.exporter, pid)?;
            let is_there = series.iter().any(|name| page.all(name, &[]).next().is_some());
            if is_there { Ok(()) } else { Err(format!("none of {series:?}")) }
        });
        if let Err(error) = found {
            self.differences.push(format!("{:?}: {error}", self.source));
            self.source = Source::Region;
        }
    }

    /// Makes the JVM ready and compares, until there is no difference or the time is over. Gives the bracket without
    /// any.
    fn settle(&mut self, what: &str, prepare: &[&str], check: impl Fn(&mut Bracket, &Self)) -> Option<Bracket> {
        let result = wait_at_most(REST, || {
            for command in prepare {
                self.facts.obey(command);
            }
            let (age, exporter) = (self.source.age(), &self.exporter);
            let mut bracket = self.facts.still(age, |pid| look(exporter, pid))?;
            check(&mut bracket, self);
            bracket.verdict()
        });
        match result {
            Ok(bracket) => Some(bracket),
            Err(error) => {
                self.note(what, Err(error));
                None
            }
        }
    }

    /// Looks while the JVM makes garbage and code: each value lies between the answers of its time, and what is
    /// allocated only grows.
    fn load(&mut self) {
        self.facts.obey(&format!("garbage {GARBAGE}"));
        self.facts.obey("code");
        // Twice the rate: who was held up makes up for it.
        let rate = f64::from(2 * GARBAGE) * 1_048_576.0;
        let exporter = &self.exporter;
        let mut watch = Watch::new(&mut self.facts, Facts::memory, self.source.age(), rate);
        let brackets: Vec<_> = (0..6).map(|_| watch.look(|pid| look(exporter, pid))).collect();
        self.facts.obey("quiet");
        let mut allocated = 0.0;
        for bracket in brackets {
            let result = bracket.and_then(|mut bracket| {
                memory::moving(&mut bracket, self);
                let now = bracket.page.value("jvm_hotspot_allocated_bytes_total", &[]).unwrap_or(allocated);
                if now < allocated {
                    bracket.differences.push(format!("allocated fell from {allocated} to {now}"));
                }
                allocated = now;
                bracket.verdict().map(drop)
            });
            self.note("load", result);
        }
    }

    fn note(&mut self, what: &str, result: Result<(), String>) {
        let Err(error) = result else { return };
        for line in error.lines().map(|line| format!("{what}: {line}")) {
            if !self.differences.contains(&line) {
                self.differences.push(line);
            }
        }
    }

    /// # Panics
    /// With all differences, if there are any.
    fn finish(self) {
        let rejected = look(&self.exporter, self.facts.pid()).map(|page| {
            page.all("jvm_hotspot_introspection_rejected_total", &[]).map(|s| format!("{s:?}")).collect::<Vec<_>>()
        });
        assert!(
            self.differences.is_empty(),
            "{} {:?}:\n{}\nrejected: {rejected:?}",
            self.jdk,
            self.collector,
            self.differences.join("\n")
        );
    }
}

/// The series of one JVM in the default profile and in that of the Java client, whose labels differ.
fn look(exporter: &Exporter, pid: u32) -> Result<Exposition, String> {
    let of =
        |path: &str| exporter.scrape_path(path).of_pid(pid).ok_or("the JVM is not there yet").map(|(_, page)| page);
    let (mut page, other) = (of("/metrics")?, of("/metrics/client_java")?);
    page.samples.extend(other.samples);
    Ok(page)
}

/// Checks a pair on one installation of the release, and with G1 on all.
fn run(release: u32, collector: Collector, test: &str, check: fn(&Jdk, Collector)) {
    let all = jdk::of_release(release, test);
    if all.is_empty() {
        return;
    }
    let mut able: Vec<Jdk> = all.iter().filter(|jdk| jdk.has(collector)).cloned().collect();
    if able.is_empty() {
        return skip(test, format!("JDK {release} has no {collector:?}"));
    }
    // One exporter has to be able to read the memory of a process, and one not to be.
    if !is_root() || program("setpriv").is_none() {
        return skip(test, "takes root and setpriv");
    }
    if collector != Collector::G1 {
        able.truncate(1);
    }
    for jdk in &able {
        let _slot = Slot::take();
        check(jdk, collector);
    }
}

/// The right to run a JVM: more of them at a time would only wait for each other.
struct Slot;

static FREE: Mutex<u32> = Mutex::new(3);
static RETURNED: Condvar = Condvar::new();

impl Slot {
    fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = RETURNED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        RETURNED.notify_one();
    }
}
