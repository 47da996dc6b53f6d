//! Variables that the exporter shares with applications: values for other SDKs, exporters, proxies, tokens.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;

use crate::otlp_faults::{GRPC, HTTP, Network, Pushing, read_request};
use crate::support::exporter::command;
use crate::support::otlp::Receiver;
use crate::support::regions::Root;
use crate::support::{ensure, wait_for};

const SUCCESS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Values that SDKs of applications take.
const OTHERS: [(&str, &str); 7] = [
    ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
    ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=b,,c"),
    ("OTEL_EXPORTER_OTLP_INSECURE", "yes"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
];

#[test]
fn values_for_other_sdks_are_ignored_with_one_warning_each() {
    let network = Network::new();
    let receiver = Receiver::willing();
    let pushing = Pushing::to(&format!("http://{}", network.serve(&receiver)), &OTHERS);
    wait_for("three pushes", || ensure(receiver.taken.lock().unwrap().len() >= 3, pushing.exporter.log()));
    let log = pushing.exporter.log();
    for (name, value) in OTHERS {
        let count = log.lines().filter(|line| line.contains("level=warn") && line.contains(name)).count();
        assert_eq!(count, usize::from(value != "200"), "{name}: {log}");
    }
}

#[test]
fn commands_that_do_not_push_do_not_mention_the_environment() {
    let root = Root::new();
    let _writer = root.put("jdk25-G1", 4711);
    for arguments in [&["list", "--local"][..], &["dump", "4711"], &["explain", "4711"], &["--once"]] {
        let mut command = command(root.flags());
        command.args(arguments).env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").envs(OTHERS);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.contains("OTEL_")), (Some(0), false), "{arguments:?}: {said}");
    }
}

#[test]
fn a_check_of_the_configuration_is_strict_about_the_environment() {
    let mut command = command(["--config.check"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").envs(OTHERS);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "environment: OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: expected one of grpc, http/protobuf, found \
                    `http/json`\n";
    assert!(said.starts_with(expected), "{said}");
    assert_eq!(said.lines().count(), OTHERS.len() - 1, "{said}");
}

#[test]
fn an_application_that_exports_traces_only() {
    let network = Network::new();
    let receiver = Receiver::willing();
    let address = format!("http://{}", network.serve(&receiver));
    for (exporter, warning) in [("none", ""), ("prometheus", ""), ("console", "`console` is not supported")] {
        let pushing = Pushing::to(&address, &[("OTEL_METRICS_EXPORTER", exporter)]);
        wait_for("a scrape", || ensure(pushing.exporter.scrape().value("jvm_up", &[]) == Some(1.0), ""));
        let log = pushing.exporter.log();
        assert!(!log.contains("pushing metrics over OTLP"), "{exporter}: {log}");
        assert_eq!(log.contains("OTEL_METRICS_EXPORTER"), !warning.is_empty(), "{exporter}: {log}");
        assert!(log.contains(warning), "{exporter}: {log}");
    }
    assert!(receiver.taken.lock().unwrap().is_empty());
    for exporter in ["otlp", "prometheus, OTLP", "zipkin"] {
        let pushing = Pushing::to(&address, &[("OTEL_METRICS_EXPORTER", exporter)]);
        receiver.taken.lock().unwrap().clear();
        wait_for("a push", || ensure(!receiver.taken.lock().unwrap().is_empty(), pushing.exporter.log()));
    }
}

#[test]
fn a_token_in_the_query_of_the_endpoint_is_sent_and_not_shown() {
    let network = Network::new();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&heads);
    let address = network.handle(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let request = read_request(&mut stream).await;
            seen.lock().unwrap().push(first_line(&request));
            // The redirect and the page repeat the address, as nginx does.
            let page = "moved: /x/v1/metrics?token=geheim";
            let length = page.len();
            let head = "HTTP/1.1 308 Permanent Redirect\r\nlocation: https://h/x/v1/metrics?token=geheim";
            let _ = stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{page}").as_bytes()).await;
        }
    });
    let pushing = Pushing::to(&format!("http://{address}/x?token=geheim"), &[HTTP]);
    pushing.wait_for_failures("protocol", 2.0);
    assert_eq!(heads.lock().unwrap()[0], "POST /x/v1/metrics?token=geheim HTTP/1.1");
    let pages = ["/", "/targets", "/metrics"].map(|path| pushing.exporter.get(path).text().to_owned());
    let shown = pushing.exporter.log() + &pages.concat();
    assert!(shown.contains("/x/v1/metrics?..."), "{shown}");
    assert!(!shown.contains("geheim"), "{shown}");
}

/// A proxy that knows where `receiver.invalid` is, and keeps the heads of requests.
struct HttpProxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    fn before(network: &Network, receiver: String) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        let address = network.handle(move |mut client| {
            let (kept, receiver) = (Arc::clone(&kept), receiver.clone());
            async move {
                let request = read_request(&mut client).await;
                kept.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                let mut server = TcpStream::connect(receiver).await.unwrap();
                if first_line(&request).starts_with("CONNECT ") {
                    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                } else {
                    server.write_all(&request).await.unwrap();
                }
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
        Self { address: address.to_string(), heads }
    }

    /// The beginning of the first request that it got.
    fn first(&self, pushing: &Pushing) -> String {
        wait_for("a request to the proxy", || ensure(!self.heads.lock().unwrap().is_empty(), pushing.exporter.log()));
        self.heads.lock().unwrap()[0].clone()
    }
}

fn first_line(request: &[u8]) -> String {
    String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn pushes_pass_through_a_proxy() {
    let network = Network::new();
    let receiver = Receiver::willing();
    let proxy = HttpProxy::before(&network, network.serve(&receiver).to_string());
    let variable = format!("http://me:geheim@{}", proxy.address);
    let pushing = Pushing::to("http://receiver.invalid:4317", &[GRPC, ("http_proxy", &variable)]);
    let head = proxy.first(&pushing);
    assert!(head.starts_with("CONNECT receiver.invalid:4317 HTTP/1.1\r\n"), "{head}");
    // me:geheim
    assert!(head.contains("Proxy-Authorization: Basic bWU6Z2VoZWlt\r\n"), "{head}");
    wait_for("a push", || ensure(!receiver.taken.lock().unwrap().is_empty(), pushing.exporter.log()));
    let log = pushing.exporter.log();
    assert!(log.contains(&format!("proxy=http://{}/", proxy.address)) && !log.contains("geheim"), "{log}");

    let (address, count) = network.respond(SUCCESS);
    let proxy = HttpProxy::before(&network, address.to_string());
    let variable = format!("http://me:geheim@{}", proxy.address);
    let pushing = Pushing::to("http://receiver.invalid:4318", &[HTTP, ("HTTP_PROXY", &variable)]);
    let head = proxy.first(&pushing);
    assert!(head.starts_with("POST http://receiver.invalid:4318/v1/metrics HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic bWU6Z2VoZWlt\r\n"), "{head}");
    wait_for("a push", || ensure(pushing.counted("pushes_total", &[("outcome", "success")]) >= 1.0, ""));
    assert!(count.load(std::sync::atomic::Ordering::SeqCst) > 0);
}

#[test]
fn tls_to_the_receiver_passes_through_the_tunnel_of_a_proxy() {
    let network = Network::new();
    let (sender, received) = std::sync::mpsc::channel();
    let address = network.handle(move |mut stream| {
        let sender = sender.clone();
        async move {
            let mut record = [0; 1];
            let _ = stream.read_exact(&mut record).await;
            let _ = sender.send(record[0]);
        }
    });
    let root = Root::new();
    let certificates = crate::support::otlp::Certificates::write(root.path());
    for protocol in [GRPC, HTTP] {
        let proxy = HttpProxy::before(&network, address.to_string());
        let trusted = ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificates.authority.to_str().unwrap());
        let pushing =
            Pushing::to("https://receiver.invalid", &[protocol, trusted, ("https_proxy", proxy.address.as_str())]);
        let head = proxy.first(&pushing);
        assert!(head.starts_with("CONNECT receiver.invalid:443 HTTP/1.1\r\n"), "{head}");
        // A handshake record (RFC 8446, 5.1).
        assert_eq!(received.recv_timeout(crate::support::PATIENCE), Ok(22));
    }
}

#[test]
fn a_proxy_that_refuses_and_one_that_is_not_for_this_host() {
    let network = Network::new();
    let (proxy, _) = network.respond("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    let variable = format!("http://{proxy}");
    let pushing = Pushing::to("http://receiver.invalid", &[GRPC, ("http_proxy", &variable)]);
    pushing.warns_once("connect", &["tunnel error: unsuccessful", "no_proxy"]);

    let receiver = Receiver::willing();
    let address = format!("http://{}", network.serve(&receiver));
    let pushing = Pushing::to(&address, &[GRPC, ("http_proxy", &variable), ("no_proxy", "127.0.0.0/8")]);
    wait_for("a push", || ensure(!receiver.taken.lock().unwrap().is_empty(), pushing.exporter.log()));

    let pushing = Pushing::to(&address, &[GRPC, ("all_proxy", "socks5://127.0.0.1:1")]);
    receiver.taken.lock().unwrap().clear();
    wait_for("a push", || ensure(!receiver.taken.lock().unwrap().is_empty(), pushing.exporter.log()));
    assert!(pushing.exporter.log().contains("expected an http:// address, found socks5://127.0.0.1:1/"));
}
