//! Secrets of a JVM, planted wherever people put them, are in no output: every endpoint in every profile and format,
//! the logs at their most talkative, every command, and what is said when something goes wrong.
//!
//! `dump` is the exception by its contract: it shows, like `jstat -snap`, everything that its caller can read anyway.
//! So it proves that the secrets are there to be found.

use std::fs;
use std::process::Command;

use crate::support::exporter::{Exporter, command};
use crate::support::jdk::{self, Jdk};
use crate::support::jvm::Jvm;
use crate::support::otlp::Receiver;
use crate::support::{ensure, wait_for};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// In every secret, and nowhere else.
const MARK: &str = "s3cr3t";

/// Rules that ask for all that there is.
const GREEDY: &str = "\
profiles: [otel, client_java, micrometer, raw]
rules:
  - {counter: \"java.*\", metric: greedy.java, type: info}
  - {counter: \"sun.*\", metric: greedy.sun, type: info}
  - {counter: \"re:(?<name>.*)\", metric: greedy.all, type: info, labels: {name: \"${name}\"}}
";

const FORMATS: [&str; 4] = [
    "Accept: */*",
    "Accept: application/openmetrics-text; version=1.0.0",
    "Accept: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    "Accept: text/html",
];

/// What a program has said, and where.
type Outputs = Vec<(String, Vec<u8>)>;

/// A JVM with secrets in its arguments, options, properties, environment and file names.
fn plant(jdk: &Jdk, options: &[&str]) -> (Jvm, TempDir) {
    let directory = tempfile::Builder::new().prefix(&format!("{MARK}-directory-")).tempdir().unwrap();
    let file = |name: &str| directory.path().join(format!("{MARK}-{name}")).display().to_string();
    let mut command = Command::new(jdk.java());
    command
        .current_dir(directory.path())
        .env("JAVA_TOOL_OPTIONS", format!("-Dtool.password={MARK}-tool"))
        .env("JDK_JAVA_OPTIONS", format!("-Djdk.password={MARK}-jdk"))
        .env("DB_PASSWORD", format!("{MARK}-environment"))
        // Sources of names, of which the name only may be taken.
        .env("OTEL_RESOURCE_ATTRIBUTES", format!("token={MARK}-attribute,service.name=Workload,key={MARK}"))
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization={MARK}-header"))
        .args(["-Xmx96m", "-XX:NativeMemoryTracking=summary"])
        .args(
            ["password", "spring.datasource.password", "javax.net.ssl.keyStorePassword"]
                .map(|name| format!("-D{name}={MARK}-property")),
        )
        .arg(format!("-XX:OnOutOfMemoryError=curl {MARK}-command"))
        .arg(format!("-XX:ErrorFile={}", file("error.log")))
        .arg(format!("-Dotel.resource.attributes=token={MARK}-attribute,a=b"))
        // What follows is in the process's words only.
        .arg(format!("-Dpad={}", "x".repeat(1024)))
        .args([format!("-Dlate.password={MARK}-late"), format!("-Dspring.application.name.key={MARK}-late")])
        .args((jdk.feature >= 11).then_some("-XX:+StartAttachListener"))
        .args(options)
        .args(["-cp", &format!("{}:{}", jdk::class_path().display(), file("classes")), "Workload"])
        .args([format!("--password={MARK}-argument"), format!("https://user:{MARK}@host/")]);
    (Jvm::spawn(&mut command), directory)
}

/// A receiver of pushes that takes everything, what it runs on, and where it is.
fn receiver() -> (Receiver, Runtime, String) {
    let (receiver, runtime) = (Receiver::willing(), Runtime::new().unwrap());
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        receiver.serve(listener);
        address
    });
    (receiver, runtime, format!("http://{address}"))
}

/// Every push and its headers.
fn pushed(receiver: &Receiver) -> Outputs {
    let taken = receiver.taken.lock().unwrap().iter().map(|push| ("a push".to_owned(), push.encode_to_vec())).collect();
    let asked = format!("{:?}", receiver.asked.lock().unwrap());
    [taken, vec![("headers of pushes".to_owned(), asked.into_bytes())]].concat()
}

fn holds(output: &[u8], text: &[u8]) -> bool {
    output.windows(text.len()).any(|part| part == text)
}

/// Everything that a serving exporter says to those who ask; `has_jvm` says whether it serves the JVM.
fn served(exporter: &Exporter, has_jvm: bool) -> Outputs {
    let paths = [
        "/",
        "/metrics",
        "/metrics/otel",
        "/metrics/client_java",
        "/metrics/micrometer",
        "/metrics/raw",
        "/targets",
        "/overview",
        "/-/healthy",
        "/none",
    ];
    let overview: Value = serde_json::from_str(exporter.get("/overview").text()).unwrap();
    let of_jvms = overview["jvms"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|jvm| jvm["app"] == "Workload")
        .flat_map(|jvm| ["overview", "jvm", "explain"].map(|page| format!("/{page}/Workload/{}", jvm["slot"])));
    let of_jvms: Vec<_> = of_jvms.collect();
    assert!(!has_jvm || !of_jvms.is_empty(), "{overview}");
    let mut outputs = Outputs::new();
    for path in paths.into_iter().chain(of_jvms.iter().map(String::as_str)) {
        for format in FORMATS {
            outputs.push((format!("{path} as {format}"), exporter.request("GET", path, &[format]).body));
        }
    }
    outputs.push(("a reload".to_owned(), exporter.request("POST", "/-/reload", &[]).body));
    outputs
}

/// Both streams of every command about the process.
fn said(pid: &str) -> Outputs {
    let calls: [&[&str]; 13] = [
        &["list", "--local"],
        &["list", "--local", "--format=json"],
        &["explain", pid],
        &["explain", pid, "--attach.mode=off"],
        &["nmt", pid],
        &["nmt", pid, "--format=json"],
        &["nmt", pid, "--nmt.mode=off"],
        &["--once"],
        &["list", "--path.procfs=off"],
        &["list", "--discovery.root=/none"],
        &["explain", pid, "--discovery.root=/none", "--path.procfs=off"],
        &["dump", "1999999999"],
        &["top", "--local", "--interval=500ms"],
    ];
    let mut outputs = Outputs::new();
    for call in calls {
        for format in ["--log.format=logfmt", "--log.format=json"] {
            let output = command(call).args(["--log.level=debug", format]).output().unwrap();
            outputs.push((format!("{call:?} {format}"), [output.stdout, output.stderr].concat()));
        }
    }
    outputs
}

fn assert_silent(outputs: &[(String, Vec<u8>)]) {
    for (place, output) in outputs {
        let text = String::from_utf8_lossy(output);
        let line = text.lines().find(|line| line.contains(MARK));
        assert!(line.is_none(), "{place}: {}", line.unwrap_or_default());
    }
}

#[test]
fn no_output_holds_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.yaml");
    fs::write(&config, GREEDY).unwrap();
    for jdk in jdk::installed() {
        // Read by file, from memory, and not at all.
        for (options, format) in
            [(&[][..], "logfmt"), (&["-XX:+PerfDisableSharedMem"], "json"), (&["-XX:-UsePerfData"], "json")]
        {
            let (jvm, _directory) = plant(jdk, options);
            let pid = jvm.pid().to_string();
            let (receiver, _runtime, endpoint) = receiver();
            let (format, config) = (format!("--log.format={format}"), format!("--config.file={}", config.display()));
            let flags = ["--log.level=debug", &format, "--web.enable-lifecycle", &config];
            let exporter = Exporter::spawn(command(flags).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint));
            wait_for("the JVM in the listing, and in a push", || {
                let targets = exporter.targets().to_string();
                ensure(targets.contains(&format!("\"pid\":{pid}")), targets)?;
                let expected: &[u8] = if options == ["-XX:-UsePerfData"] { b"hotspot-exporter" } else { b"Workload" };
                ensure(pushed(&receiver).iter().any(|(_, push)| holds(push, expected)), exporter.log())
            });
            assert_silent(&served(&exporter, options != ["-XX:-UsePerfData"]));
            assert_silent(&pushed(&receiver));
            assert_silent(&[("the log".to_owned(), exporter.log().into_bytes())]);
            assert_silent(&said(&pid));
            if options.is_empty() {
                let dump = command(["dump", &pid]).output().unwrap().stdout;
                let dump = String::from_utf8(dump).unwrap();
                for planted in ["tool", "property", "argument", "classes", "command", "error.log"] {
                    assert!(dump.contains(&format!("{MARK}-{planted}")), "{jdk}: {planted} is not there to be found");
                }
            }
        }
    }
}
