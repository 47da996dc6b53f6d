//! Receivers that refuse, hang, close connections, throttle, or are unavailable: what the exporter does, logs and
//! counts.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::exporter::{Exporter, command};
use crate::support::otlp::{Certificates, Receiver};
use crate::support::regions::Root;
use crate::support::{ensure, wait_for};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// A runtime for receivers, and a listener on it.
pub struct Network {
    runtime: Runtime,
}

impl Network {
    pub fn new() -> Self {
        Self { runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap() }
    }

    fn listen(&self) -> (TcpListener, SocketAddr) {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Serves gRPC.
    pub fn serve(&self, receiver: &Receiver) -> SocketAddr {
        let (listener, address) = self.listen();
        let _inside = self.runtime.enter();
        receiver.serve(listener);
        address
    }

    /// Handles every connection with a function.
    pub fn handle<F: Future<Output = ()> + Send + 'static>(
        &self,
        handle: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> SocketAddr {
        let (listener, address) = self.listen();
        self.runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(handle(stream));
            }
        });
        address
    }

    /// Responds to every HTTP request with these bytes, and counts the requests.
    pub fn respond(&self, response: &'static str) -> (SocketAddr, Arc<std::sync::atomic::AtomicUsize>) {
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let address = self.handle(move |mut stream| {
            let counted = Arc::clone(&counted);
            async move {
                read_request(&mut stream).await;
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        (address, count)
    }
}

/// Reads one HTTP request with its body.
pub async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return bytes;
            }
        }
        if stream.read_buf(&mut bytes).await.is_ok_and(|read| read == 0) {
            return bytes;
        }
    }
}

pub const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
pub const HTTP: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");

/// An exporter of one recorded JVM that pushes to an endpoint five times a second.
pub struct Pushing {
    pub exporter: Exporter,
    _root: Root,
    _writer: fs::File,
}

impl Pushing {
    pub fn to(endpoint: &str, variables: &[(&str, &str)]) -> Self {
        let root = Root::new();
        let writer = root.put("jdk25-G1", 4711);
        let mut command = command(root.flags());
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        command.env("OTEL_METRIC_EXPORT_INTERVAL", "200").env("OTEL_EXPORTER_OTLP_TIMEOUT", "150");
        command.envs(variables.iter().copied());
        Self { exporter: Exporter::spawn(&mut command), _root: root, _writer: writer }
    }

    pub fn counted(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.exporter.scrape().value(&format!("hotspot_exporter_otlp_{name}"), labels).unwrap_or_default()
    }

    pub fn wait_for_failures(&self, reason: &str, count: f64) {
        wait_for(&format!("failures by reason {reason}"), || {
            let found = self.counted("failures_total", &[("reason", reason)]);
            ensure(found >= count, format!("{found} of {count}; the log:\n{}", self.exporter.log()))
        });
    }

    /// The warnings about failed pushes.
    fn warnings(&self) -> Vec<String> {
        let log = self.exporter.log();
        log.lines().filter(|line| line.contains("cannot push over OTLP")).map(str::to_owned).collect()
    }

    /// After several failures the log has one warning, which contains these texts.
    pub fn warns_once(&self, reason: &str, texts: &[&str]) {
        self.wait_for_failures(reason, 3.0);
        let complaints = self.warnings();
        let about: Vec<_> = complaints.iter().filter(|line| line.contains(&format!("reason={reason} "))).collect();
        assert_eq!(about.len(), 1, "{complaints:#?}");
        for text in texts {
            assert!(about[0].contains(text), "{text} is not in {}", about[0]);
        }
    }
}

#[test]
fn a_receiver_that_refuses_connections() {
    let network = Network::new();
    for protocol in [GRPC, HTTP] {
        let (listener, address) = network.listen();
        drop(listener);
        let pushing = Pushing::to(&format!("http://{address}"), &[protocol]);
        pushing.warns_once("connect", &["Connection refused", "check that the receiver runs"]);
        assert_eq!(pushing.counted("pushes_total", &[("outcome", "success")]), 0.0);
        // Scrapes continue.
        assert_eq!(pushing.exporter.scrape().value("jvm_up", &[]), Some(1.0));
    }
}

#[test]
fn a_receiver_that_hangs() {
    let network = Network::new();
    for protocol in [GRPC, HTTP] {
        let address = network.handle(|stream| async move {
            tokio::time::sleep(crate::support::PATIENCE).await;
            drop(stream);
        });
        let pushing = Pushing::to(&format!("http://{address}"), &[protocol]);
        pushing.warns_once("timeout", &["no response within"]);
    }
}

#[test]
fn a_receiver_that_closes_halfway() {
    let network = Network::new();
    for protocol in [GRPC, HTTP] {
        let address = network.handle(|mut stream| async move {
            let mut some = [0; 100];
            let _ = stream.read_exact(&mut some).await;
        });
        let pushing = Pushing::to(&format!("http://{address}"), &[protocol]);
        wait_for("failures", || {
            let found = pushing.counted("pushes_total", &[("outcome", "failure")]);
            ensure(found >= 3.0, format!("{found}; the log:\n{}", pushing.exporter.log()))
        });
        let complaints = pushing.warnings();
        assert!(!complaints.is_empty() && complaints.len() <= 3, "{complaints:#?}");
    }
}

#[test]
fn retry_after_over_http_pauses_pushing() {
    let network = Network::new();
    let answer =
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 5\r\nConnection: close\r\n\r\nbusy!";
    let (address, count) = network.respond(answer);
    let variables = [HTTP, ("OTEL_METRIC_EXPORT_INTERVAL", "3000"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
    let pushing = Pushing::to(&format!("http://{address}"), &variables);
    wait_for("three pushes", || {
        let found = pushing.counted("pushes_total", &[("outcome", "failure")]);
        ensure(found >= 3.0, format!("{found}; the log:\n{}", pushing.exporter.log()))
    });
    assert_eq!(pushing.counted("failures_total", &[("reason", "throttled")]), 1.0);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 1, "attempts");
    assert!(pushing.warnings()[0].contains("429 Too Many Requests: busy!"), "{:#?}", pushing.warnings());
}

#[test]
fn an_overflowing_retry_after_does_not_end_the_thread() {
    let network = Network::new();
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 18446744073709551615\r\nContent-Length: 0\r\n\
                  Connection: close\r\n\r\n";
    let (address, _) = network.respond(answer);
    let pushing = Pushing::to(&format!("http://{address}"), &[HTTP]);
    wait_for("three pushes", || {
        let found = pushing.counted("pushes_total", &[("outcome", "failure")]);
        ensure(found >= 3.0, format!("{found}; the log:\n{}", pushing.exporter.log()))
    });
    assert!(!pushing.exporter.log().contains("panicked"), "{}", pushing.exporter.log());
}

#[test]
fn retry_info_over_grpc_pauses_pushing() {
    let network = Network::new();
    let receiver = Receiver::new(|number| match number {
        0 => {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(50)));
            Err(Status::with_error_details(Code::ResourceExhausted, "full", details))
        }
        _ => Ok(ExportMetricsServiceResponse::default()),
    });
    let address = network.serve(&receiver);
    let variables = [GRPC, ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10000")];
    let pushing = Pushing::to(&format!("http://{address}"), &variables);
    wait_for("the second attempt of the first push", || {
        ensure(receiver.taken.lock().unwrap().len() == 1, pushing.exporter.log())
    });
    assert_eq!(receiver.asked.lock().unwrap().len(), 2);
    assert_eq!(pushing.counted("failures_total", &[("reason", "throttled")]), 1.0);
}

#[test]
fn resource_exhausted_without_retry_info_is_not_retried() {
    let network = Network::new();
    let receiver = Receiver::new(|number| match number {
        0 => Err(Status::resource_exhausted("too large")),
        _ => Ok(ExportMetricsServiceResponse::default()),
    });
    let address = network.serve(&receiver);
    let variables = [GRPC, ("OTEL_METRIC_EXPORT_INTERVAL", "3000"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10000")];
    let pushing = Pushing::to(&format!("http://{address}"), &variables);
    wait_for("the second push", || ensure(!receiver.taken.lock().unwrap().is_empty(), pushing.exporter.log()));
    wait_for("the counts", || {
        let found = pushing.counted("pushes_total", &[("outcome", "failure")]);
        ensure(found == 1.0, format!("{found}"))
    });
    wait_for("the log", || ensure(pushing.exporter.log().contains("accepts metrics again"), pushing.exporter.log()));
}

#[test]
fn partial_success_is_counted_and_logged_and_not_retried() {
    let network = Network::new();
    let receiver = Receiver::new(|_| {
        let partial =
            ExportMetricsPartialSuccess { rejected_data_points: 7, error_message: "no gauges today".to_owned() };
        Ok(ExportMetricsServiceResponse { partial_success: Some(partial) })
    });
    let address = network.serve(&receiver);
    let pushing = Pushing::to(&format!("http://{address}"), &[GRPC]);
    wait_for("three pushes", || {
        let found = pushing.counted("pushes_total", &[("outcome", "success")]);
        ensure(found >= 3.0, format!("{found}; the log:\n{}", pushing.exporter.log()))
    });
    let page = pushing.exporter.scrape();
    let value =
        |name: &str, labels: &[(&str, &str)]| page.value(&format!("hotspot_exporter_otlp_{name}"), labels).unwrap();
    assert_eq!(value("pushes_total", &[("outcome", "failure")]), 0.0);
    assert!(value("rejected_points_total", &[]) >= 21.0);
    let warnings = pushing.exporter.log().matches("no gauges today").count();
    assert_eq!(warnings, 1, "{}", pushing.exporter.log());
}

#[test]
fn a_receiver_with_an_untrusted_certificate() {
    let network = Network::new();
    let files = tempfile::tempdir().unwrap();
    let (theirs, ours) = (files.path().join("theirs"), files.path().join("ours"));
    fs::create_dir_all(&theirs).unwrap();
    fs::create_dir_all(&ours).unwrap();
    let (theirs, ours) = (Certificates::write(&theirs), Certificates::write(&ours));
    for (protocol, alpn) in [(GRPC, "h2"), (HTTP, "http/1.1")] {
        let acceptor = tls_acceptor(&theirs, alpn);
        let address = network.handle(move |stream| {
            let accepted = acceptor.accept(stream);
            async move {
                let _ = accepted.await;
            }
        });
        let authority = ("OTEL_EXPORTER_OTLP_CERTIFICATE", ours.authority.to_str().unwrap());
        let pushing = Pushing::to(&format!("https://{address}"), &[protocol, authority]);
        pushing.warns_once("tls", &["invalid peer certificate", "OTLP"]);
    }
}

fn tls_acceptor(files: &Certificates, alpn: &str) -> tokio_rustls::TlsAcceptor {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let (certificate, key) = &files.server;
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap());
    let mut config = config.unwrap();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config).into()
}

#[test]
fn a_wrong_protocol_is_reported() {
    let network = Network::new();
    let (http, _) = network.respond("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let grpc = network.serve(&Receiver::willing());
    for (address, protocol) in [(http, GRPC), (grpc, HTTP)] {
        let pushing = Pushing::to(&format!("http://{address}"), &[protocol]);
        pushing.warns_once("protocol", &["otlp.protocol, port and scheme"]);
    }
}

#[test]
fn a_missing_path_is_reported() {
    let network = Network::new();
    let (address, _) = network.respond("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    Pushing::to(&format!("http://{address}"), &[HTTP]).warns_once("protocol", &["404 Not Found"]);
}

#[test]
fn a_web_page_is_not_a_success() {
    let network = Network::new();
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\nConnection: close\r\n\r\n<p>\n";
    let (address, _) = network.respond(page);
    Pushing::to(&format!("http://{address}"), &[HTTP])
        .warns_once("protocol", &["application/x-protobuf, found text/html"]);
}

/// As Prometheus responds.
#[test]
fn an_empty_response_is_a_success() {
    let network = Network::new();
    let (address, _) = network.respond("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let pushing = Pushing::to(&format!("http://{address}"), &[HTTP]);
    wait_for("three pushes", || {
        let found = pushing.counted("pushes_total", &[("outcome", "success")]);
        ensure(found >= 3.0, format!("{found}; the log:\n{}", pushing.exporter.log()))
    });
    assert_eq!(pushing.warnings(), [""; 0]);
}

#[test]
fn headers_reach_the_receiver() {
    let network = Network::new();
    let receiver = Receiver::willing();
    let address = network.serve(&receiver);
    let variables = [GRPC, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x,x-tenant=7")];
    let pushing = Pushing::to(&format!("http://{address}"), &variables);
    wait_for("a push", || ensure(!receiver.asked.lock().unwrap().is_empty(), pushing.exporter.log()));
    let asked = receiver.asked.lock().unwrap()[0].clone();
    assert_eq!(asked.get("authorization").unwrap(), "Bearer x");
    assert_eq!(asked.get("x-tenant").unwrap(), "7");
    assert!(asked.get("user-agent").unwrap().to_str().unwrap().starts_with("hotspot-exporter/"));
    assert!(!pushing.exporter.log().contains("Bearer"), "{}", pushing.exporter.log());
}

#[test]
fn sigterm_pushes_once_more_and_exits_within_two_seconds() {
    let network = Network::new();
    let (willing, hanging) = (
        Receiver::willing(),
        network.handle(|stream| async move {
            tokio::time::sleep(crate::support::PATIENCE).await;
            drop(stream);
        }),
    );
    let taking = network.serve(&willing);
    let rare = [GRPC, ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")];
    let mut pushing = Pushing::to(&format!("http://{taking}"), &rare);
    wait_for("the first push", || ensure(willing.taken.lock().unwrap().len() == 1, pushing.exporter.log()));
    pushing.exporter.terminate();
    assert_eq!(willing.taken.lock().unwrap().len(), 2, "{}", pushing.exporter.log());

    let mut pushing = Pushing::to(&format!("http://{hanging}"), &rare);
    let begin = Instant::now();
    pushing.exporter.terminate();
    // Without the limit it would take the timeout of a minute.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_reload_changes_the_receiver_and_stops_pushing() {
    let network = Network::new();
    let (first, second) = (Receiver::willing(), Receiver::willing());
    let addresses = [network.serve(&first), network.serve(&second)];
    let root = Root::new();
    let _writer = root.put("jdk25-G1", 4711);
    let file = root.path().join("exporter.yaml");
    // Replaced atomically, as an editor or Kubernetes does.
    let write = |text: &str| {
        let new = root.path().join("new.yaml");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &file).unwrap();
    };
    let otlp = |address: SocketAddr| format!("otlp: {{enabled: true, endpoint: \"http://{address}\", interval: 1s}}\n");
    write(&otlp(addresses[0]));
    let [roots, procfs] = root.flags();
    let exporter = Exporter::start([format!("--config.file={}", file.display()), roots, procfs]);
    let reload = || {
        let pid = rustix::process::Pid::from_raw(exporter.pid().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    wait_for("a push to the first", || ensure(!first.taken.lock().unwrap().is_empty(), exporter.log()));
    write(&otlp(addresses[1]));
    reload();
    wait_for("a push to the second", || ensure(!second.taken.lock().unwrap().is_empty(), exporter.log()));
    write("otlp: {enabled: false}\n");
    reload();
    wait_for("the end of pushing", || {
        let page = exporter.scrape();
        ensure(page.value("hotspot_exporter_otlp_points_total", &[]).is_none(), exporter.log())
    });
}
