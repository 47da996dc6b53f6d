//! A Java program that allocates under a load, and the log of its pauses.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::jdk::{self, Collector, Jdk};

/// What `tests/java/Churn.java` does for some seconds.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    seconds: u32,
    /// Megabytes per second; 0 is as fast as it goes.
    rate: u32,
    live_megabytes: u32,
    /// Seconds between calls of `System.gc()`; 0 is never.
    collect_every: u32,
    /// Megabytes of the heap, and of its young generation where the collector has one of fixed size.
    heap: (u32, Option<u32>),
    /// Bytes of each array; `None` is 64 to 4095.
    array: Option<u32>,
}

impl Load {
    /// Two seconds of arrays of so many bytes.
    pub fn of_arrays(bytes: u32) -> Self {
        Self { seconds: 2, array: Some(bytes), ..REALISTIC }
    }
}

/// At most ten collections a second.
pub const REALISTIC: Load =
    Load { seconds: 6, rate: 200, live_megabytes: 60, collect_every: 2, heap: (400, None), array: None };

/// A hundred and more.
pub const STRESS: Load =
    Load { seconds: 4, rate: 0, live_megabytes: 8, collect_every: 0, heap: (200, Some(32)), array: None };

/// A running `Churn` that waits for [`Churn::run`]; killed when dropped.
#[derive(Debug)]
pub struct Churn {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    directory: TempDir,
}

impl Churn {
    /// Starts it; the load begins with [`Churn::run`].
    pub fn start(jdk: &Jdk, collector: Collector, load: Load) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = log(&directory);
        let log = if jdk.feature == 8 {
            format!("-Xloggc:{}", file.display())
        } else {
            format!("-Xlog:gc,gc+phases,safepoint:file={}:uptimenanos:filecount=0", file.display())
        };
        let details = jdk.feature == 8 && collector == Collector::Serial;
        let (heap, young) = load.heap;
        let mut command = Command::new(jdk.java());
        command.args(collector.options()).arg(format!("-Xmx{heap}m")).arg(log);
        command.args(details.then_some("-XX:+PrintGCDetails"));
        command.args(young.filter(|_| collector != Collector::Z).map(|young| format!("-Xmn{young}m")));
        command.arg("-cp").arg(jdk::class_path()).arg("Churn");
        let numbers = [load.seconds, load.rate, load.live_megabytes, load.collect_every].into_iter().chain(load.array);
        command.args(numbers.map(|number| number.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut churn = Self { child, input, output, directory };
        assert_eq!(churn.answer(), "ready", "{command:?}");
        churn
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Loads it until the time is over; the bytes that its thread allocated, by its own account.
    pub fn run(&mut self) -> u64 {
        writeln!(self.input, "go").unwrap();
        let answer = self.answer();
        answer.strip_prefix("allocated ").and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }

    /// What it wrote about its collections.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log(&self.directory)).unwrap()
    }

    /// Lengths of the pauses in its log, in seconds.
    pub fn pauses(&self) -> Vec<f64> {
        let text = self.log();
        text.lines().flat_map(|line| pause(line).map_or_else(|| pauses_of_jdk_8(line), |length| vec![length])).collect()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the JVM {} ended", self.child.id());
        line.trim_end().to_owned()
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(directory: &TempDir) -> PathBuf {
    Path::new(directory.path()).join("gc.log")
}

/// The length that a line of the log gives a pause: `[123ns] GC(4) Pause Young (Normal) 8M->3M(96M) 1.234ms`.
fn pause(line: &str) -> Option<f64> {
    let (_, text) = line.split_once("GC(")?.1.split_once(") ")?;
    // Generational ZGC says which generation.
    let text = ["y: ", "Y: ", "O: ", "o: "].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let milliseconds: f64 = text.strip_prefix("Pause ")?.rsplit(' ').next()?.strip_suffix("ms")?.parse().ok()?;
    Some(milliseconds / 1e3)
}

/// The same of JDK 8: `1.234: [GC (Allocation Failure)  8M->3M(96M), 0.0012340 secs]`, where a line of a concurrent thread
/// may come before the sizes. Not G1's `[GC remark` and `[GC cleanup`, which that release does not count. One line of
/// Serial may be a collection of each generation, which only its details tell: `[DefNew: 8M->3M(9M), 0.0012340 secs]`.
fn pauses_of_jdk_8(line: &str) -> Vec<f64> {
    let length = |text: &str| text.split_once(" secs]")?.0.rsplit(' ').next()?.parse().ok();
    let of_generation = |part: &&str| part.starts_with("DefNew") || part.starts_with("Tenured");
    let generations: Vec<f64> = line.split('[').filter(of_generation).filter_map(length).collect();
    if !generations.is_empty() || line.contains("[GC cleanup") {
        return generations;
    }
    line.split_once("->").and_then(|(_, text)| length(text)).into_iter().collect()
}
