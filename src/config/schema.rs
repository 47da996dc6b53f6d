//! The keys of the configuration file, each declared once: documentation, default and type.
//!
//! `config/schema.json` and `config/hotspot-exporter.yaml` are generated from these declarations.

use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::attach::{AttachKeys, DiagnosticsKeys, NmtKeys, check_nmt};
use super::otlp::{COMPRESSIONS, Compression, OtlpKeys};
use super::root::RootPattern;
use crate::perfdata::FileMode;
use crate::rules::SeriesLimits;
use crate::rules::rule::rules_schema;
use crate::yaml::codec::{
    Choice, Codec, Deferred, DurationBounds, Factor, Integer, Invalid, List, Optional, OrNull, OrOff, Switch, Text,
};
use crate::yaml::decode::{Decoder, Path};
use crate::yaml::document::{Node, NodeData};
use crate::yaml::section::{Nested, Section, section};

/// Longest path, address or property name, in bytes: `PATH_MAX`.
pub(super) const TEXT_MAXIMUM: usize = 4096;
/// Most profiles.
pub(super) const PROFILE_MAXIMUM: usize = 16;
/// Those of jvm.gc.duration in OpenTelemetry's conventions (10 ms, 100 ms, 1 s, 10 s), and two or three more in each decade:
/// a quantile is no better than the bucket that it lies in.
const BUCKETS_DEFAULT: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Most bounds of a histogram's buckets.
const BUCKETS_MAXIMUM: usize = 64;
/// Most roots and properties.
const LIST_MAXIMUM: usize = 100;

pub(super) const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) const fn between(minimum: Duration, maximum: Duration) -> DurationBounds {
    DurationBounds { zero: false, minimum, maximum }
}

section! {
    /// The configuration file.
    #[derive(Debug)]
    pub(super) struct ConfigKeys {
        /// Where the exporter looks for JVMs.
        pub(super) discovery: Discovery = Discovery::default() => Nested::new(),
        /// The label `app` of a JVM, and its place in Kubernetes.
        pub(super) identity: Identity = Identity::default() => Nested::new(),
        /// Sampling of a few counters between scrapes, for single pauses, peaks and allocation.
        pub(super) sampling: Sampling = Sampling::default() => Nested::new(),
        /// CPU time of the JVM's threads, by kind.
        pub(super) threads: Threads = Threads::default() => Nested::new(),
        /// Questions to JVMs over their attach sockets, as jcmd asks them. The commands are a fixed list, and none of them
        /// stops the application.
        pub(super) attach: AttachKeys = AttachKeys::default() => Nested::new(),
        /// Native Memory Tracking of JVMs that run with -XX:NativeMemoryTracking (VM.native_memory).
        pub(super) nmt: NmtKeys = NmtKeys::default() => Nested::checked(check_nmt),
        /// Heap, metaspace, code heaps and flags, where the JVM's counters lack them or tell them late (GC.heap_info,
        /// VM.metaspace basic, Compiler.codecache, VM.flags).
        pub(super) diagnostics: DiagnosticsKeys = DiagnosticsKeys::default() => Nested::new(),
        /// Reading of what JVMs keep in fields of their own, in the memory of their processes, where the kernel allows it
        /// (the same user, or CAP_SYS_PTRACE).
        pub(super) introspection: Introspection = Introspection::default() => Nested::new(),
        /// How far back the page and `top` show each JVM, in memory: at most 8 KiB a JVM, so that points lie 5 s apart, and
        /// further apart above 15m. off: only the present.
        pub(super) history: Option<Duration> = Some(15 * MINUTE) => OrOff(between(MINUTE, HOUR)),
        /// The profiles: which metrics are served and under which names. The first profile is served at /metrics, each one
        /// at /metrics/NAME. Shipped profiles are otel (the OpenTelemetry names), client_java (the names of the Prometheus
        /// Java client), micrometer (the names of Spring Boot) and raw (every counter under its own name). A path in place
        /// of a name loads a profile from that file.
        pub(super) profiles: Option<Node> = None => PROFILES,
        /// Rules that come before those of every profile. The first rule that matches a counter or a fact applies.
        /// Examples:
        ///
        /// ```yaml
        /// # A counter by name. `*` matches any text without a dot ($1, $2 and so on), as the last character all the rest;
        /// # `?` matches one character, {a,b} one of several texts; `re:` starts a regular expression.
        /// - counter: "com.example.queue.*.depth"
        ///   metric: app.queue.depth
        ///   type: gauge                     # gauge, counter, updowncounter, or info for constant strings
        ///   unit: "{item}"                  # UCUM; by default the counter's own
        ///   scale: 1                        # a factor
        ///   help: Items in the queue.
        ///   labels: {queue: "$1"}
        /// # A fact that the exporter derives from counters; $pool is a label of the fact. `explain` lists all facts.
        /// - source: pool.used
        ///   metric: jvm.memory.used
        ///   labels: {jvm.memory.type: "$type", jvm.memory.pool.name: "$pool"}
        /// # Not exported.
        /// - {counter: "sun.gc.policy.*", action: drop}
        /// # Exported under its own name.
        /// - {counter: "com.example.*", action: derive, prefix: hsperf}
        /// ```
        pub(super) rules: Option<Node> = None => Deferred { schema: rules_schema, default: || json!([]) },
        /// Pushing over OTLP: one resource per JVM, with the metrics of the first profile. The environment variable of the
        /// OpenTelemetry specification named beside a key overrides it. Variables for metrics
        /// (OTEL_EXPORTER_OTLP_METRICS_…) override those for all signals (OTEL_EXPORTER_OTLP_…). OTEL_SDK_DISABLED=true
        /// disables pushing.
        pub(super) otlp: OtlpKeys = OtlpKeys::default() => Nested::new(),
        /// Responses over HTTP. What protects them is in the file of --web.config.file.
        pub(super) web: HttpResponses = HttpResponses::default() => Nested::new(),
        /// What outlives the exporter.
        pub(super) state: StateKeys = StateKeys::default() => Nested::new(),
        /// Bounds of one exporter. What exceeds a limit is omitted and counted.
        pub(super) limits: Limits = Limits::default() => Nested::new(),
    }
}

section! {
    /// `discovery:`
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Discovery {
        /// Time between two scans. A new file triggers a scan earlier.
        pub interval: Duration = Duration::from_secs(5) => between(Duration::from_millis(100), HOUR),
        /// Directories that are the /tmp of a JVM; the exporter looks for hsperfdata_USER/PID below each. A path component
        /// may contain `*` and `?`. {name} matches a text that becomes the label of that name. The flag --discovery.root
        /// replaces the list.
        pub roots: Vec<RootPattern> = default_roots() => Roots,
        /// JVMs in other mount or pid namespaces, found through /proc/PID/root. The flag --path.procfs replaces the path.
        pub procfs: Procfs = Procfs::default() => Nested::new(),
        /// How files are read. mapped: read-only mappings, the cheapest. pread: copies, for file systems that do not
        /// support mapping.
        pub access: FileMode = FileMode::Mapped => Choice::of(&[
            ("mapped", FileMode::Mapped),
            ("pread", FileMode::Pread),
        ]),
        /// JVMs that publish no file (-XX:+PerfDisableSharedMem, a uid without passwd entry, a /tmp shared by containers).
        /// auto: read their memory where the kernel allows it (the same user, or CAP_SYS_PTRACE). off: only list them.
        pub processes: Toggle = Toggle::Auto => TOGGLE,
    }
}

section! {
    /// `introspection:`
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Introspection {
        /// auto: read releases that were tested (JDK 8 to 27), where the kernel allows it. force: newer ones too. off: never.
        pub mode: IntrospectionMode = IntrospectionMode::Auto => Choice::of(&[
            ("auto", IntrospectionMode::Auto),
            ("force", IntrospectionMode::Force),
            ("off", IntrospectionMode::Off),
        ]),
        /// Time between two readings of a JVM. Its heap is read every 100 ms where its counters have it late, its threads
        /// every fifth time.
        pub interval: Duration = SECOND => between(Duration::from_millis(100), HOUR),
    }
}

/// Which JVMs' memory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntrospectionMode {
    /// Releases that were tested.
    Auto,
    /// All releases.
    Force,
    /// None.
    Off,
}

section! {
    /// `discovery.procfs:`
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Procfs {
        /// auto: look for them where it works. off: never.
        pub enabled: Toggle = Toggle::Auto => TOGGLE,
        /// The mount point.
        pub path: PathBuf = PathBuf::from("/proc") => Text {
            maximum: TEXT_MAXIMUM,
            pattern: "^/",
            parse: |text| Ok(absolute_path(text)?),
            print: |path| Some(path.display().to_string()),
        },
    }
}

impl Procfs {
    /// The mount point, unless processes are to be left alone.
    pub(crate) fn visible(&self) -> Option<&FilePath> {
        (self.enabled == Toggle::Auto).then_some(&self.path)
    }
}

/// Whether something is done that may not work everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggle {
    /// Where it works.
    Auto,
    /// Never.
    Off,
}

const TOGGLE: Choice<Toggle> =
    Choice { words: &[("auto", Toggle::Auto), ("off", Toggle::Off)], hint: "write `auto` for where it works" };

section! {
    /// `identity:`
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Identity {
        /// -D properties on the JVM's command line; the first one that is set gives the app its name. If none is set, the
        /// main class or jar does.
        pub properties: Vec<String> = ["otel.service.name", "spring.application.name"].map(str::to_owned).into() => List {
            item: Text {
                maximum: TEXT_MAXIMUM,
                pattern: "^[^-=\\s][^=\\s]*$",
                parse: property_name,
                print: |name| Some(name.clone()),
            },
            maximum: LIST_MAXIMUM,
            noun: "properties",
        },
        /// auto: JVMs in Kubernetes get the labels container, pod and namespace, and OTLP attributes, from what the node
        /// shows; rules cannot give these labels. off: only from roots.
        pub kubernetes: Toggle = Toggle::Auto => TOGGLE,
        /// Where the kubelet names the logs of containers. Only names and links there are read.
        pub container_logs: PathBuf = PathBuf::from("/var/log/containers") => Text {
            maximum: TEXT_MAXIMUM,
            pattern: "^/",
            parse: |text| Ok(absolute_path(text)?),
            print: |path| Some(path.display().to_string()),
        },
    }
}

section! {
    /// `state:`
    #[derive(Clone, Debug)]
    pub(super) struct StateKeys {
        /// Where the exporter keeps the slots of JVMs, for its next run; read at its start. The flag --state.directory
        /// replaces it, and without either the variable STATE_DIRECTORY applies, which systemd sets. Without any, JVMs get
        /// their slots in the order in which they started.
        pub(super) directory: Option<PathBuf> = None => OrNull(Optional {
            codec: Text {
                maximum: TEXT_MAXIMUM,
                pattern: "^/",
                parse: |text| Ok(absolute_path(text)?),
                print: |path: &PathBuf| Some(path.display().to_string()),
            },
            default: None,
        }),
    }
}

section! {
    /// `web:`
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct HttpResponses {
        /// gzip: compress responses for clients that accept it, as Prometheus does. none: send them as they are, which
        /// costs a network more and both ends less CPU.
        pub compression: Compression = Compression::Gzip => COMPRESSIONS,
        /// From 1, the fastest, to 9, the smallest.
        pub compression_level: usize = 1 => Integer { minimum: 1, maximum: 9 },
    }
}

impl HttpResponses {
    /// `None` if responses are not to be compressed.
    pub(crate) fn gzip_level(&self) -> Option<u32> {
        (self.compression == Compression::Gzip).then(|| u32::try_from(self.compression_level).unwrap_or(1))
    }
}

/// The labels by which a JVM in Kubernetes is known.
pub const KUBERNETES_LABELS: [&str; 3] = ["container", "pod", "namespace"];

section! {
    /// `sampling:`
    #[derive(Clone, Debug, PartialEq)]
    pub struct Sampling {
        /// Time between two samples; 0 switches sampling off.
        pub interval: Duration = Duration::from_millis(10) => SAMPLING_INTERVAL,
        /// The same for JVMs whose counters have not changed for a while. Not used for ZGC and Shenandoah, whose short
        /// cycles it would miss.
        pub idle_interval: Duration = Duration::from_millis(100) => SAMPLING_INTERVAL,
        /// Upper bounds of the buckets of pause durations, in seconds, ascending.
        pub buckets: Vec<f64> = BUCKETS_DEFAULT.to_vec() => Buckets,
        /// Separate pauses by cause (jvm.gc.cause), which multiplies their series.
        pub causes: bool = false => Switch,
    }
}

const SAMPLING_INTERVAL: DurationBounds =
    DurationBounds { zero: true, minimum: Duration::from_millis(1), maximum: Duration::from_secs(10) };

section! {
    /// `threads:`
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Threads {
        /// Time between two readings of a process's CPU time and of the JVM's own threads, at most 15s; the application's are all
        /// that is left. Everything else about the process is read every third time, at least every 15s.
        pub interval: Duration = Duration::from_secs(5) => between(SECOND, Duration::from_secs(15)),
        /// Also by group of application threads: the thread's name up to its first digit, at most 20 groups.
        pub groups: bool = false => Switch,
    }
}

section! {
    /// `limits:`
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Limits {
        /// JVMs served at one time; further ones are refused.
        pub max_jvms: usize = 1000 => Integer { minimum: 1, maximum: 100_000 },
        /// Series of one JVM in one profile.
        pub max_series_per_jvm: usize = SeriesLimits::default().max_series_per_jvm => Integer {
            minimum: 1,
            maximum: 100_000,
        },
        /// Bytes of a label's value; longer values are truncated at a character boundary.
        pub max_label_value_length: usize = SeriesLimits::default().max_label_value_length => Integer {
            minimum: 16,
            maximum: 4096,
        },
    }
}

impl Limits {
    /// Bounds on what the rules make of one JVM.
    pub fn series(&self) -> SeriesLimits {
        let Self { max_series_per_jvm, max_label_value_length, .. } = *self;
        SeriesLimits { max_series_per_jvm, max_label_value_length }
    }
}

/// `profiles:` is compiled after the roots, whose labels the rules may not give.
const PROFILES: Deferred = Deferred {
    schema: || {
        let item = json!({"type": "string", "minLength": 1, "maxLength": TEXT_MAXIMUM});
        json!({"type": "array", "minItems": 1, "maxItems": PROFILE_MAXIMUM, "items": item})
    },
    default: || json!([super::load::DEFAULT_PROFILE]),
};

fn default_roots() -> Vec<RootPattern> {
    // A test holds that both are patterns.
    ["/tmp", "/hsperf/{container}"].into_iter().filter_map(|text| RootPattern::new(text).ok()).collect()
}

/// A list of patterns: each a text, or `{path: …}`.
struct Roots;

impl Codec for Roots {
    type Value = Vec<RootPattern>;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Self::Value> {
        let items = decoder.items(node, path);
        if items.len() > LIST_MAXIMUM {
            let message = format!("{} roots are too many, at most {LIST_MAXIMUM}", items.len());
            decoder.report(node.position, path, message, "");
            return None;
        }
        let mut roots: Vec<RootPattern> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(root) = self::root(decoder, item, &path.item(index)) else { continue };
            if roots.contains(&root) {
                decoder.report(item.position, &path.item(index), "this root is there twice", "");
            } else {
                roots.push(root);
            }
        }
        Some(roots)
    }

    fn encode(&self, roots: &Self::Value) -> Json {
        roots.iter().map(RootPattern::as_str).collect()
    }

    fn schema(&self) -> Json {
        let item = json!({"anyOf": [ROOT.schema(), RootKeys::schema_requiring(&["path"])]});
        json!({"type": ["array", "null"], "maxItems": LIST_MAXIMUM, "items": item})
    }
}

const ROOT: Text<Option<RootPattern>> = Text {
    maximum: TEXT_MAXIMUM,
    pattern: "^/",
    parse: |text| Ok(Some(RootPattern::new(text)?)),
    print: |root| root.as_ref().map(|root| root.as_str().to_owned()),
};

section! {
    /// A root as a mapping.
    #[derive(Debug)]
    struct RootKeys {
        /// The pattern.
        path: Option<RootPattern> = None => ROOT,
    }
}

fn root(decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<RootPattern> {
    if !matches!(node.data, NodeData::Mapping(_)) {
        return ROOT.decode(decoder, node, path)?;
    }
    let (keys, given) = RootKeys::decode(decoder, node, path);
    if given.get("path").is_none() {
        decoder.report(node.position, path, "the root has no path", "write `/tmp` or `{path: /tmp}`");
    }
    keys.path
}

/// Checks the path of a directory.
pub(super) fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("expected an absolute path, found `{text}`")) }
}

fn property_name(text: &str) -> Result<String, Invalid> {
    if text.starts_with('-') || text.contains(|c: char| c == '=' || c.is_whitespace()) {
        return Err(Invalid::new("expected the name of a property", "write it without -D and without its value"));
    }
    Ok(text.to_owned())
}

/// Upper bounds of buckets in seconds: positive and ascending.
struct Buckets;

const BOUNDS: List<Factor> = List { item: Factor, maximum: BUCKETS_MAXIMUM, noun: "bounds" };

impl Codec for Buckets {
    type Value = Vec<f64>;

    fn decode(&self, decoder: &mut Decoder<'_>, node: &Node, path: &Path<'_>) -> Option<Vec<f64>> {
        let bounds = BOUNDS.decode(decoder, node, path)?;
        if let NodeData::Sequence(items) = &node.data
            && bounds.len() < items.len()
        {
            return None;
        }
        let ascends = bounds.iter().zip(bounds.iter().skip(1)).all(|(low, high)| low < high);
        if bounds.is_empty() || !ascends || bounds.iter().any(|bound| *bound <= 0.0) {
            let message = format!("buckets are 1 to {BUCKETS_MAXIMUM} bounds in seconds, positive and ascending");
            let default = BUCKETS_DEFAULT.map(|bound| bound.to_string()).join(", ");
            decoder.report(node.position, path, message, &format!("the default is [{default}]"));
            return None;
        }
        Some(bounds)
    }

    fn encode(&self, bounds: &Vec<f64>) -> Json {
        BOUNDS.encode(bounds)
    }

    fn schema(&self) -> Json {
        let item = json!({"type": "number", "exclusiveMinimum": 0});
        json!({"type": "array", "minItems": 1, "maxItems": BUCKETS_MAXIMUM, "items": item})
    }
}
