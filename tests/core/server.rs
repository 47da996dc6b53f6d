//! A real listener on a free port over a fake backend: every endpoint, and what hostile and hasty clients get.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::support::exporter::{Exporter, command};
use crate::support::regions::Root;
use crate::support::server::{DEADLINE, eventually, parse, start, until_closed};
use crate::support::{ensure, wait_for};
use hotspot_exporter::server::healthcheck::healthcheck;
use hotspot_exporter::server::{Options, ServerLimits};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn every_endpoint_and_method() {
    let server = start(Options { lifecycle: true, ..Options::default() }).await;
    for (method, path, status) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/metrics", 200),
        ("GET", "/metrics?x=y", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/metrics/raw", 200),
        ("GET", "/metrics/otel", 200),
        ("GET", "/metrics/none", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/metricsx", 404),
        ("GET", "/targets", 200),
        ("GET", "/overview", 200),
        ("GET", "/overview/%3Cb%3Eorders/0", 200),
        ("GET", "/overview/%3Cb%3Eorders/0?container=a", 200),
        ("GET", "/jvm/%3Cb%3Eorders/0", 200),
        ("GET", "/explain/%3Cb%3Eorders/0", 200),
        ("GET", "/jvm/none/0", 404),
        ("GET", "/explain/none/0", 404),
        ("GET", "/jvm/none", 404),
        ("GET", "/overview/none/0", 404),
        ("GET", "/overview/none", 404),
        ("GET", "/overview/none/x", 404),
        ("GET", "/overview/", 404),
        ("GET", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
        ("GET", "/favicon.ico", 404),
        ("POST", "/none", 404),
        ("GET", "//", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/", 405),
        ("DELETE", "/metrics", 405),
        ("PUT", "/targets", 405),
        ("POST", "/overview", 405),
        ("POST", "/jvm/none/0", 405),
        ("POST", "/overview/none/0", 405),
        ("OPTIONS", "/-/healthy", 405),
        ("BREW", "/-/ready", 405),
        ("TRACE", "/metrics", 405),
        ("GET", "/-/reload", 405),
        ("POST", "/-/reload", 200),
        ("PUT", "/-/reload", 200),
    ] {
        let answer = server.request(method, path, &[]).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{method} {path}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{method} {path}");
        match (status, path) {
            (405, "/-/reload") => assert_eq!(answer.header("allow"), "POST, PUT"),
            (405, _) => assert_eq!(answer.header("allow"), "GET, HEAD", "{path}"),
            _ => {}
        }
        let length = answer.header("content-length").parse::<usize>().unwrap();
        assert_eq!(answer.body.len(), if method == "HEAD" { 0 } else { length }, "{method} {path}");
        assert!(length > 0, "{method} {path}");
    }
}

#[tokio::test]
async fn an_exposition_has_its_content_type() {
    let server = start(Options::default()).await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(answer.header("vary"), "Accept, Accept-Encoding");
    assert!(answer.header("process-start-time-unix").parse::<u64>().unwrap() > 1_700_000_000);
    assert!(answer.text().starts_with("profile otel as Text\n"));

    let accept = "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.2";
    let answer = server.request("GET", "/metrics/raw", &[accept]).await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
    assert_eq!(answer.header("content-type"), expected);
    assert!(answer.text().starts_with("profile raw as OpenMetrics\n"));
    assert_eq!(server.metric("hotspot_exporter_scrapes_total", "raw"), 1.0);
}

#[tokio::test]
async fn gzip_unpacks_to_the_same() {
    let server = start(Options::default()).await;
    let whole = server.get("/metrics").await;
    let packed = server.request("GET", "/metrics", &["Accept-Encoding: gzip"]).await;
    assert_eq!((packed.header("content-encoding"), whole.header("content-encoding")), ("gzip", ""));
    assert_eq!(packed.header("content-length"), packed.body.len().to_string());
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(&*packed.body).read_to_end(&mut body).unwrap();
    assert_eq!(body, whole.body);
    let small = server.request("GET", "/-/healthy", &["Accept-Encoding: gzip"]).await;
    assert_eq!(small.header("content-encoding"), "");
    server.fake.uncompressed.store(true, SeqCst);
    let as_configured = server.request("GET", "/metrics", &["Accept-Encoding: gzip"]).await;
    assert_eq!((as_configured.header("content-encoding"), &as_configured.body), ("", &whole.body));
}

#[tokio::test]
async fn readiness_follows_the_backend() {
    let server = start(Options::default()).await;
    server.fake.not_ready.store(true, SeqCst);
    assert_eq!(server.get("/-/ready").await.status, 503);
    assert_eq!(server.get("/-/healthy").await.status, 200);
    server.fake.not_ready.store(false, SeqCst);
    assert_eq!(server.get("/-/ready").await.status, 200);
    assert_eq!(server.fake.runs.load(SeqCst), 0);
}

#[tokio::test]
async fn reload_needs_the_flag_and_reports_errors() {
    let server = start(Options::default()).await;
    let answer = server.request("POST", "/-/reload", &[]).await;
    assert_eq!((answer.status, answer.text().contains("--web.enable-lifecycle")), (403, true));

    let server = start(Options { lifecycle: true, ..Options::default() }).await;
    *server.fake.reload_error.lock().unwrap() = Some("config.yaml:3:1: unknown key".to_owned());
    let answer = server.request("POST", "/-/reload", &["Content-Length: 0"]).await;
    assert_eq!((answer.status, answer.text().contains("config.yaml:3:1: unknown key")), (500, true));
}

#[tokio::test]
async fn the_page_and_the_listing() {
    let server = start(Options::default()).await;
    let page = server.get("/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("style-src 'sha256-"));
    assert!(page.text().contains("&lt;b&gt;orders") && !page.text().contains("<b>orders"));

    let answer = server.get("/targets").await;
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!((&json["jvms"][0]["app"], &json["refused"][0]["pid"]), (&"<b>orders".into(), &7.into()));
}

#[tokio::test]
async fn simultaneous_scrapes_share_a_run() {
    let server = Arc::new(start(Options::default()).await);
    server.fake.shut();
    let scrapes = (0..8).map(|_| {
        let server = server.clone();
        tokio::spawn(async move { server.get("/metrics").await.body })
    });
    let scrapes = scrapes.collect::<Vec<_>>();
    let in_flight = || server.metric("hotspot_exporter_requests_in_flight", "");
    eventually("eight in flight", || in_flight() == 8.0 && server.fake.runs.load(SeqCst) == 1).await;
    server.fake.open();
    for scrape in scrapes {
        assert!(!scrape.await.unwrap().is_empty());
    }
    assert_eq!(server.fake.runs.load(SeqCst), 1);
    server.get("/metrics").await;
    assert_eq!(server.fake.runs.load(SeqCst), 2, "a later scrape sees later values");
    assert_eq!(in_flight(), 0.0);
}

#[tokio::test]
async fn one_request_too_many_is_refused_and_health_still_answers() {
    let server = Arc::new(start(Options { max_requests: 1, ..Options::default() }).await);
    server.fake.shut();
    let first = tokio::spawn({
        let server = server.clone();
        async move { server.get("/metrics").await.status }
    });
    eventually("a run", || server.fake.runs.load(SeqCst) == 1).await;
    for path in ["/metrics/raw", "/targets", "/overview", "/"] {
        // It waits for a permit, for half of its time.
        let answer = server.request("GET", path, &["X-Prometheus-Scrape-Timeout-Seconds: 0.1"]).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{path}");
        assert!(answer.text().contains("--web.max-requests"));
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
    let joining = tokio::spawn({
        let server = server.clone();
        async move { server.get("/metrics").await.status }
    });
    eventually("a scrape that joins a run needs no permit", || {
        server.metric("hotspot_exporter_requests_in_flight", "") == 2.0
    })
    .await;
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { server.get("/targets").await.status }
    });
    eventually("a request waits for a permit", || server.metric("hotspot_exporter_requests_in_flight", "") == 3.0)
        .await;
    server.fake.open();
    for request in [first, joining, waiting] {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(server.refused("max_requests"), 4.0);
    assert_eq!(server.metric("hotspot_exporter_scrapes_total", "503"), 1.0);
}

#[tokio::test]
async fn the_scrapers_timeout_is_kept() {
    let server = start(Options::default()).await;
    server.request("GET", "/metrics", &["X-Prometheus-Scrape-Timeout-Seconds: 100"]).await;
    let budget = server.fake.budget.lock().unwrap().unwrap();
    assert!((90..=99).contains(&budget.as_secs()), "{budget:?}");

    server.fake.shut();
    let answer = server.request("GET", "/metrics", &["X-Prometheus-Scrape-Timeout-Seconds: 0.05"]).await;
    assert_eq!((answer.status, server.refused("deadline")), (503, 1.0));
    let in_flight = || server.metric("hotspot_exporter_requests_in_flight", "");
    assert_eq!(in_flight(), 1.0, "a run without a waiting client still counts");
    server.fake.open();
    eventually("none in flight", || in_flight() == 0.0).await;
}

#[tokio::test]
async fn a_panic_costs_one_answer() {
    let server = start(Options::default()).await;
    server.fake.broken.store(true, SeqCst);
    assert_eq!(server.get("/metrics").await.status, 500);
    server.fake.broken.store(false, SeqCst);
    assert_eq!(server.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn request_bodies_are_refused() {
    let server = start(Options { lifecycle: true, ..Options::default() }).await;
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let request = format!("POST /-/reload HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        let answer = parse(&server.raw(&request).await);
        assert_eq!(answer.status, 413, "{framing}");
    }
    assert_eq!(server.refused("body"), 2.0);
}

#[tokio::test]
async fn oversize_headers_are_refused() {
    let server = start(Options::default()).await;
    let big = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(200));
    for request in [big, many] {
        let answer = server.raw(&request).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
}

#[tokio::test]
async fn slow_and_half_requests_are_closed() {
    let limits = ServerLimits { headers: Duration::from_millis(100), ..ServerLimits::default() };
    let server = start(Options { limits, ..Options::default() }).await;
    for request in ["", "G", "GET /metrics HTTP/1.1\r\nHost: x\r\n", "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"] {
        // The server closes each connection, the last one after a response and an idle time.
        let answer = server.raw(request).await;
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), request.ends_with("\r\n\r\n"), "{request:?}");
    }
}

#[tokio::test]
async fn garbage_is_answered_with_an_error_or_closed() {
    let server = start(Options::default()).await;
    for garbage in
        ["\0\0\0\0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\r\n"]
    {
        let answer = server.raw(garbage).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
}

#[tokio::test]
async fn idle_connections_are_bounded_and_end() {
    let limits = ServerLimits { connections: 50, headers: Duration::from_secs(2), ..ServerLimits::default() };
    let server = start(Options { limits, ..Options::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(server.connect().await);
    }
    eventually("150 refused", || server.refused("max_connections") >= 150.0).await;
    for stream in &mut idle {
        assert!(until_closed(stream).await.is_empty());
    }
    assert_eq!(server.get("/-/healthy").await.status, 200);
}

#[tokio::test]
async fn a_shutdown_lets_requests_end_and_closes_idle_connections() {
    let server = start(Options::default()).await;
    server.fake.shut();
    let mut idle = server.connect().await;
    let mut busy = server.connect().await;
    busy.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    eventually("a run", || server.fake.runs.load(SeqCst) == 1).await;
    server.stop.send(()).unwrap();
    assert!(until_closed(&mut idle).await.is_empty());
    server.fake.open();
    assert_eq!(parse(&until_closed(&mut busy).await).status, 200);
    server.served.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_shutdown_waits_only_so_long() {
    let limits = ServerLimits { drain: Duration::from_millis(50), ..ServerLimits::default() };
    let server = start(Options { limits, ..Options::default() }).await;
    server.fake.shut();
    let mut busy = server.connect().await;
    busy.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    eventually("a run", || server.fake.runs.load(SeqCst) == 1).await;
    server.stop.send(()).unwrap();
    tokio::time::timeout(DEADLINE, server.served).await.unwrap().unwrap();
    server.fake.open();
}

#[tokio::test]
async fn healthchecks_say_what_is_wrong() {
    let server = start(Options::default()).await;
    let url = |path: &str| format!("http://{}{path}", server.address);
    healthcheck(&url("/-/healthy"), DEADLINE).await.unwrap();
    server.fake.not_ready.store(true, SeqCst);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (url, deadline, expected) in [
        (url("/-/ready"), DEADLINE, "found 503 Service Unavailable"),
        ("ftp://localhost/".to_owned(), DEADLINE, "expected http://"),
        ("nonsense".to_owned(), DEADLINE, "expected http://"),
        ("http://127.0.0.1:1/".to_owned(), DEADLINE, "cannot connect to 127.0.0.1:1"),
        (format!("http://{}/", silent.local_addr().unwrap()), Duration::from_millis(50), "no response within 0.05 s"),
    ] {
        let error = healthcheck(&url, deadline).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
    }
}

#[test]
fn exhausted_descriptors_are_logged_once_with_a_count() {
    let root = Root::new();
    let exporter = Exporter::start(root.flags());
    let pid = Pid::from_raw(exporter.pid().try_into().unwrap());
    let limit = |limit| prlimit(pid, Resource::Nofile, limit).unwrap();
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    // The standard streams have the three descriptors that are left.
    let before = limit(Rlimit { current: Some(3), maximum });
    let waiting = std::net::TcpStream::connect(exporter.address()).unwrap();
    wait_for("the first failure", || ensure(exporter.log().contains("cannot accept connections"), exporter.log()));
    // Twenty further attempts.
    std::thread::sleep(Duration::from_secs(1));
    limit(Rlimit { current: before.current, maximum });
    wait_for("the end", || ensure(exporter.log().contains("accepting connections again"), exporter.log()));
    drop(waiting);
    assert_eq!(exporter.get("/-/healthy").status, 200);
    let log = exporter.log();
    assert_eq!(log.matches("cannot accept connections").count(), 1, "{log}");
    let failures = log.split_once("failures=").unwrap().1.split_whitespace().next().unwrap();
    assert!(failures.parse::<u32>().unwrap() >= 10, "{log}");
}

#[test]
fn a_used_port_is_reported_once_with_its_remedy() {
    let used = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = used.local_addr().unwrap();
    let output = command([format!("--web.listen-address={address}")]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("cannot listen on {address}: ")), "{error}");
    for text in ["Address already in use", "--web.listen-address"] {
        assert_eq!(error.matches(text).count(), 1, "{error}");
    }
}
