//! The exposition in the hands of those it is for: promtool, the official Python parser, a real Prometheus.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use crate::support::exporter::Exporter;
use crate::support::jdk;
use crate::support::jvm::Jvm;
use crate::support::prometheus::Prometheus;
use crate::support::regions::{Root, fixtures};
use crate::support::{ensure, package, program, skip, target, wait_for};

const TEXT: &str = "Accept: text/plain; version=0.0.4";
const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0";

const PROFILES: [&str; 4] = ["/metrics", "/metrics/client_java", "/metrics/micrometer", "/metrics/raw"];

/// An exporter with every shipped profile and every recorded region.
fn exporter_of_everything(root: &Root) -> (Exporter, Vec<fs::File>) {
    let writers = (1..).zip(fixtures()).map(|(pid, (name, _))| root.put(&name, pid)).collect::<Vec<_>>();
    let config = root.path().join("exporter.yaml");
    fs::write(&config, "profiles: [otel, client_java, micrometer, raw]\n").unwrap();
    let [roots, procfs] = root.flags();
    let exporter = Exporter::start([format!("--config.file={}", config.display()), roots, procfs]);
    wait_for("all regions to be served", || {
        let up = exporter.scrape().all("jvm_up", &[]).filter(|sample| sample.value == 1.0).count();
        ensure(up == writers.len(), format!("{up} of {}", writers.len()))
    });
    (exporter, writers)
}

fn feed(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // A checker that stops reading early says why by itself.
    let _ = writer.join().unwrap();
    output
}

fn assert_pleased(what: &str, output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
    print!("{what}: {out}{err}");
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let Some(promtool) = program("promtool") else {
        return skip("promtool_finds_nothing_to_complain_about", "no promtool; install Debian's prometheus");
    };
    let root = Root::new();
    let (exporter, _writers) = exporter_of_everything(&root);
    for path in PROFILES {
        let page = exporter.request("GET", path, &[TEXT]);
        let output = feed(Command::new(&promtool).args(["check", "metrics"]), &page.body);
        let said = String::from_utf8_lossy(&output.stderr);
        let complaints: Vec<&str> = said.lines().filter(|line| !is_about_a_given_name(line)).collect();
        // 3 says that there are remarks on names; anything else above 0, that the page is not legal.
        assert!(matches!(output.status.code(), Some(0 | 3)) && complaints.is_empty(), "{path}: {said}");
    }
}

/// Names that are not ours to choose: OpenTelemetry's conventions use a suffix that Prometheus keeps for histograms and
/// summaries, raw names follow HotSpot's, and Micrometer has times in other units than seconds.
fn is_about_a_given_name(remark: &str) -> bool {
    let counts = ["jvm_class_count ", "jvm_thread_count ", "jvm_cpu_count "];
    counts.iter().any(|name| remark.starts_with(name)) && remark.contains("\"_count\" suffix")
        || ["hsperf_", "jvm_compilation_time_ms_total ", "process_cpu_time_ns_total "]
            .iter()
            .any(|name| remark.starts_with(name))
            && remark.contains("abbreviated units")
}

#[test]
fn the_official_parser_reads_both_formats() {
    let python = target().join("venv/bin/python");
    if !python.is_file() {
        return skip("the_official_parser_reads_both_formats", "no target/venv; ./test.sh makes it");
    }
    let script = package().join("tests/python/check_exposition.py");
    let root = Root::new();
    let (exporter, _writers) = exporter_of_everything(&root);
    for path in PROFILES {
        for (format, accept, content_type) in
            [("text", TEXT, "text/plain"), ("openmetrics", OPENMETRICS, "application/openmetrics-text")]
        {
            let page = exporter.request("GET", path, &[accept]);
            assert!(page.header("content-type").starts_with(content_type), "{path} {:?}", page.headers);
            let output = feed(Command::new(&python).arg(&script).arg(format), &page.body);
            assert_pleased(&format!("{path} as {format}"), &output);
        }
    }
}

#[test]
fn a_real_prometheus_scrapes_two_jvms_without_a_warning() {
    let test = "a_real_prometheus_scrapes_two_jvms_without_a_warning";
    let Some(program): Option<PathBuf> = program("prometheus") else {
        return skip(test, "no prometheus; install Debian's prometheus");
    };
    let jdk = jdk::any();
    let mut jvms = ["shop", "bank"].map(|app| {
        let name = format!("-Dotel.service.name=prometheus-{app}");
        (app, Jvm::start(&jdk, ["-XX:+UseG1GC", name.as_str()]))
    });
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let directory = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(&program, directory.path(), exporter.address(), &[], &[]);

    wait_for("the target to be healthy", || {
        let targets = prometheus.api("/api/v1/targets")?;
        let target = &targets["activeTargets"][0];
        ensure(target["health"] == "up" && target["lastError"] == "", target)
    });
    for (app, jvm) in &mut jvms {
        jvm.obey("threads 5 0");
        let selector = format!("{{app=\"prometheus-{app}\"}}");
        wait_for("the number of threads", || {
            let live = jvm.beans().threads.live as f64;
            let found = prometheus.query(&format!("sum(jvm_thread_count{selector})"))?;
            ensure(found == [live], format!("{found:?}, not {live}"))
        });
        wait_for("the heap's limit", || {
            let limit = prometheus.query(&format!("max(jvm_memory_limit_bytes{selector})"))?;
            ensure(limit.first().is_some_and(|limit| *limit >= f64::from(96 << 20)), format!("{limit:?}"))
        });
    }
    let metadata = prometheus.api("/api/v1/metadata?metric=jvm_memory_used_bytes").unwrap();
    assert_eq!(metadata["jvm_memory_used_bytes"][0]["type"], "gauge", "{metadata}");
    let dropped = prometheus.query("scrape_samples_scraped-scrape_samples_post_metric_relabeling").unwrap();
    assert!(dropped.iter().all(|count| *count == 0.0), "{dropped:?}");
    let log = prometheus.log();
    let complaints: Vec<&str> =
        log.lines().filter(|line| line.contains("level=warn") || line.contains("level=error")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn a_real_prometheus_stores_pauses_as_a_native_histogram() {
    let test = "a_real_prometheus_stores_pauses_as_a_native_histogram";
    let Some(program): Option<PathBuf> = program("prometheus") else {
        return skip(test, "no prometheus; install Debian's prometheus");
    };
    let mut jvm = Jvm::start(&jdk::any(), ["-XX:+UseSerialGC", "-Dotel.service.name=prometheus-native"]);
    let exporter = Exporter::start(["--discovery.root=/tmp"]);
    let directory = tempfile::tempdir().unwrap();
    let flags = ["--enable-feature=native-histograms"];
    let prometheus = Prometheus::start(&program, directory.path(), exporter.address(), &[], &flags);
    let of_full_collections = r#"jvm_gc_duration_seconds{app="prometheus-native", jvm_gc_action="end of major GC"}"#;
    wait_for("pauses in a native histogram", || {
        jvm.obey("gc");
        // These functions have a result for native histograms only.
        let count = prometheus.query(&format!("histogram_count({of_full_collections})"))?;
        ensure(count.len() == 1 && count.iter().all(|count| *count >= 3.0), format!("count {count:?}"))
    });
    let sum = prometheus.query(&format!("histogram_sum({of_full_collections})")).unwrap();
    let median = prometheus.query(&format!("histogram_quantile(0.5,{of_full_collections})")).unwrap();
    let longest = prometheus.query(&format!("histogram_quantile(1,{of_full_collections})")).unwrap();
    let [[sum], [median], [longest]] = [&*sum, &*median, &*longest] else { panic!("{sum:?} {median:?} {longest:?}") };
    assert!(*median > 1e-5 && median <= longest && longest <= sum, "{median}, {longest}, {sum}");
    assert_eq!(prometheus.query("scrape_samples_scraped-scrape_samples_post_metric_relabeling").unwrap(), [0.0]);
}
