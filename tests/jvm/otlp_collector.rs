//! What a real OpenTelemetry Collector, and a Prometheus with its OTLP receiver, have of what is pushed to them: the
//! same numbers as `/metrics`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::exporter::{Exporter, command};
use crate::support::jdk;
use crate::support::jvm::Jvm;
use crate::support::otlp::{Certificates, Samples, attribute, resource, samples_of_page, samples_of_push};
use crate::support::regions::Root;
use crate::support::{ensure, free_port, http, is_ci, skip, target, wait_for};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use tempfile::TempDir;

/// The Collector that `scripts/otelcol` builds. Without it the test is skipped, but not under CI.
fn otelcol(test: &str) -> Option<PathBuf> {
    let program = target().join("otelcol/otelcol");
    if program.is_file() {
        return Some(program);
    }
    assert!(!is_ci(), "CI must test against the Collector; scripts/otelcol builds it and needs Go");
    skip(test, "no target/otelcol/otelcol; scripts/otelcol builds it and needs Go");
    None
}

/// A child that is killed when dropped, and its directory.
struct Running {
    child: Child,
    directory: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(command: &mut Command, directory: TempDir) -> Self {
        let log = fs::File::create(directory.path().join("log")).unwrap();
        command.current_dir(directory.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { child: command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")), directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

/// A port of the loopback interface that was free a moment ago: neither program can be told to choose one and say it.
/// A Collector with both protocols, and what its file exporter wrote.
struct Collector {
    running: Running,
    grpc: u16,
    http: u16,
}

impl Collector {
    /// With certificates, it wants TLS and the client's certificate.
    fn start(program: &Path, certificates: Option<&Certificates>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (grpc, http) = (free_port(), free_port());
        let tls = certificates.map_or_else(String::new, |files| {
            let (certificate, key) = &files.server;
            format!(
                ", tls: {{cert_file: {}, key_file: {}, client_ca_file: {}}}",
                certificate.display(),
                key.display(),
                files.authority.display()
            )
        });
        let config = format!(
            r#"
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"{tls}}}
      http: {{endpoint: "127.0.0.1:{http}"{tls}}}
exporters:
  debug:
  file: {{path: metrics.json, flush_interval: 20ms}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics: {{receivers: [otlp], exporters: [debug, file]}}
"#
        );
        fs::write(directory.path().join("config.yaml"), config).unwrap();
        let running = Running::start(Command::new(program).arg("--config=config.yaml"), directory);
        wait_for("the Collector to be ready", || {
            let log = running.log();
            ensure(log.contains("Everything is ready"), log)
        });
        Self { running, grpc, http }
    }

    /// Every request that has come in whole.
    fn requests(&self) -> Vec<ExportMetricsServiceRequest> {
        let text = fs::read_to_string(self.running.directory.path().join("metrics.json")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// The last request that has these many JVMs.
    fn last_of(&self, jvms: usize) -> Result<ExportMetricsServiceRequest, String> {
        let requests = self.requests();
        let found = requests.into_iter().rev().find(|request| apps(request).len() == jvms);
        found.ok_or_else(|| format!("no request with {jvms} JVMs; its log:\n{}", self.running.log()))
    }
}

/// The names of the JVMs.
fn apps(request: &ExportMetricsServiceRequest) -> Vec<String> {
    let jvms = request
        .resource_metrics
        .iter()
        .filter(|metrics| attribute(resource(metrics), "process.runtime.name").is_some());
    jvms.map(|metrics| attribute(resource(metrics), "service.name").unwrap()).collect()
}

/// An exporter of recorded regions, which do not move, that pushes as the environment says.
fn exporter_of(root: &Root, variables: &[(&str, &str)]) -> Exporter {
    let mut command = command(root.flags());
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "100").envs(variables.iter().copied());
    Exporter::spawn(&mut command)
}

/// Fails with the differences only: both sides have hundreds of samples.
fn compare(pushed: &Samples, scraped: &Samples) -> Result<(), String> {
    let missing: Vec<_> = scraped.iter().filter(|(key, value)| pushed.get(key) != Some(value)).collect();
    let further: Vec<_> = pushed.iter().filter(|(key, _)| !scraped.contains_key(key)).collect();
    let alike = missing.is_empty() && further.is_empty();
    ensure(alike, format!("not pushed as scraped: {missing:#?}\nnot scraped: {further:#?}"))
}

fn the_collector_has_what_is_scraped(test: &str, is_grpc: bool, is_tls: bool, more: &[(&str, &str)]) {
    let Some(program) = otelcol(test) else { return };
    let root = Root::new();
    let _writers = [root.put("jdk25-G1", 4711), root.put("jdk17-Serial", 4712), root.put("jdk21-Z", 4713)];
    let files = tempfile::tempdir().unwrap();
    let certificates = is_tls.then(|| Certificates::write(files.path()));
    let collector = Collector::start(&program, certificates.as_ref());
    let scheme = if is_tls { "https" } else { "http" };
    let port = if is_grpc { collector.grpc } else { collector.http };
    let endpoint = format!("{scheme}://127.0.0.1:{port}");
    let protocol = if is_grpc { "grpc" } else { "http/protobuf" };
    let mut variables =
        vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
    variables.extend_from_slice(more);
    if let Some(files) = &certificates {
        variables.extend([
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", files.authority.to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", files.client.0.to_str().unwrap()),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", files.client.1.to_str().unwrap()),
        ]);
    }
    let exporter = exporter_of(&root, &variables);
    // The sampler's first windows end within a minute; what is there from the start is compared.
    let last = wait_for("a push of all JVMs that equals a scrape", || {
        let before = samples_of_page(&exporter.scrape());
        let pushes = collector.requests().len();
        wait_for("two further pushes", || ensure(collector.requests().len() > pushes + 1, exporter.log()));
        let request = collector.last_of(3)?;
        ensure(before == samples_of_page(&exporter.scrape()), "a window ended")?;
        compare(&samples_of_push(&request), &before)?;
        Ok::<_, String>(request)
    });
    let own: Vec<_> = last
        .resource_metrics
        .iter()
        .filter(|metrics| attribute(resource(metrics), "service.name").as_deref() == Some("hotspot-exporter"))
        .collect();
    assert_eq!(own.len(), 1, "the exporter is a resource of its own");
}

#[test]
fn grpc() {
    the_collector_has_what_is_scraped("grpc", true, false, &[]);
}

#[test]
fn grpc_with_gzip_and_headers() {
    let more = [("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b")];
    the_collector_has_what_is_scraped("grpc_with_gzip_and_headers", true, false, &more);
}

#[test]
fn grpc_with_mutual_tls() {
    the_collector_has_what_is_scraped("grpc_with_mutual_tls", true, true, &[]);
}

#[test]
fn http_protobuf() {
    the_collector_has_what_is_scraped("http_protobuf", false, false, &[]);
}

#[test]
fn http_protobuf_with_gzip() {
    the_collector_has_what_is_scraped(
        "http_protobuf_with_gzip",
        false,
        false,
        &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")],
    );
}

#[test]
fn http_protobuf_with_mutual_tls() {
    the_collector_has_what_is_scraped("http_protobuf_with_mutual_tls", false, true, &[]);
}

/// The issue's own sentence: an endpoint in the environment, two JVMs, no file.
#[test]
fn two_living_jvms_are_two_resources() {
    let Some(program) = otelcol("two_living_jvms_are_two_resources") else { return };
    let root = Root::new();
    if !crate::support::is_root() {
        return skip("two_living_jvms_are_two_resources", "a /tmp of its own for a JVM needs root");
    }
    let jdk = jdk::any();
    let mut jvms = [
        Jvm::in_tmp(&jdk, root.path(), ["-Dotel.service.name=first"]),
        Jvm::in_tmp(&jdk, root.path(), ["-Dotel.service.name=second"]),
    ];
    let collector = Collector::start(&program, None);
    let endpoint = format!("http://127.0.0.1:{}", collector.grpc);
    let exporter = exporter_of(&root, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    // Values of living JVMs move: what is compared is what did not move between two scrapes around a push.
    jvms.iter_mut().for_each(|jvm| jvm.obey("gc"));
    wait_for("a push between two scrapes that are alike", || {
        let before = samples_of_page(&exporter.scrape());
        let pushes = collector.requests().len();
        wait_for("two further pushes", || ensure(collector.requests().len() > pushes + 1, exporter.log()));
        let request = collector.last_of(2)?;
        let after = samples_of_page(&exporter.scrape());
        let mut names = apps(&request);
        names.sort();
        assert_eq!(names, ["first", "second"]);
        let pushed = samples_of_push(&request);
        let still: Samples = before.into_iter().filter(|(key, value)| after.get(key) == Some(value)).collect();
        let differing: Vec<_> = still.iter().filter(|(key, value)| pushed.get(key) != Some(value)).collect();
        ensure(
            differing.is_empty() && still.len() > 100,
            format!("{} alike, not pushed so: {differing:#?}", still.len()),
        )
    });
}

/// The last values of a JVM that exits are pushed, and the JVM is in no push after that.
#[test]
fn a_jvm_that_exits_is_pushed_once_more() {
    let test = "a_jvm_that_exits_is_pushed_once_more";
    let Some(program) = otelcol(test) else { return };
    if !crate::support::is_root() {
        return skip(test, "a /tmp of its own for a JVM needs root");
    }
    let root = Root::new();
    let jvm = Jvm::in_tmp(&jdk::any(), root.path(), ["-Dotel.service.name=short"]);
    let collector = Collector::start(&program, None);
    let endpoint = format!("http://127.0.0.1:{}", collector.http);
    // No regular push within the test but the first, which comes a second after the start.
    let mut command = command(root.flags());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "3600000");
    let exporter = Exporter::spawn(&mut command);
    wait_for("the first push", || ensure(!collector.requests().is_empty(), exporter.log()));
    let pushes = collector.requests().len();
    assert!(jvm.exit().success());
    let last = wait_for("the last values", || {
        let requests = collector.requests();
        requests.get(pushes).cloned().ok_or_else(|| exporter.log())
    });
    assert_eq!(apps(&last), ["short"]);
    assert!(samples_of_push(&last).keys().any(|(name, _)| name == "jvm_class_loaded_total"));
}

/// Prometheus with its OTLP receiver, on a port of its own.
struct Prometheus {
    running: Running,
    address: SocketAddr,
}

impl Prometheus {
    fn start(program: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(
            directory.path().join("prometheus.yml"),
            "otlp: {translation_strategy: UnderscoreEscapingWithSuffixes}\n",
        )
        .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(program);
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.enable-otlp-receiver"]);
        command.arg(format!("--web.listen-address={address}"));
        let running = Running::start(&mut command, directory);
        wait_for("Prometheus to be ready", || match http::request(address, "GET", "/-/ready", &[]) {
            Ok(response) if response.status == 200 => Ok(()),
            _ => Err(running.log()),
        });
        Self { running, address }
    }

    /// The names of all series of those jobs.
    fn names(&self) -> Vec<String> {
        let answer = http::request(self.address, "GET", "/api/v1/label/__name__/values", &[]).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        answer["data"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn prometheus_stores_what_is_pushed_under_the_names_of_metrics() {
    let program = target().join("prometheus/prometheus");
    if !program.is_file() {
        let reason = "no target/prometheus/prometheus; scripts/prometheus3 builds it and needs Go and minutes";
        return skip("prometheus_stores_what_is_pushed_under_the_names_of_metrics", reason);
    }
    let root = Root::new();
    let _writers = [root.put("jdk25-G1", 4711), root.put("jdk17-Serial", 4712), root.put("jdk21-Z", 4713)];
    let prometheus = Prometheus::start(&program);
    let endpoint = format!("http://{}/api/v1/otlp/v1/metrics", prometheus.address);
    let exporter = exporter_of(
        &root,
        &[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
    );
    wait_for("the stored names to be those of /metrics", || {
        let mut scraped: Vec<String> = exporter.scrape().samples.into_iter().map(|sample| sample.name).collect();
        scraped.sort();
        scraped.dedup();
        let stored: Vec<String> = prometheus.names().into_iter().filter(|name| name != "target_info").collect();
        let missing: Vec<_> = scraped.iter().filter(|name| !stored.contains(name)).collect();
        let further: Vec<_> = stored.iter().filter(|name| !scraped.contains(name)).collect();
        ensure(
            missing.is_empty() && further.is_empty(),
            format!(
                "not stored: {missing:?}, not scraped: {further:?}\n{}{}",
                exporter.log(),
                prometheus.running.log()
            ),
        )
    });
}
