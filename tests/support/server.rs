//! The server in this process, with a backend that tests control.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use hotspot_exporter::report::list::{JvmDescription, Listing, RefusedRow};
use hotspot_exporter::report::overview::{JvmDetail, JvmKey, JvmOverview, Measure, Overview};
use hotspot_exporter::server::{Backend, Bound, ExpositionFormat, Options, PageBuffer, Readiness, bind, serve};
use hotspot_exporter::telemetry::{HttpMetrics, MetricGroup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// No condition of a healthy run takes this long.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A backend whose expositions wait while its gate is shut.
#[derive(Default)]
pub struct FakeBackend {
    pub runs: AtomicUsize,
    pub not_ready: AtomicBool,
    pub broken: AtomicBool,
    pub uncompressed: AtomicBool,
    pub reload_error: Mutex<Option<String>>,
    pub budget: Mutex<Option<Duration>>,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl FakeBackend {
    pub fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }
}

impl Backend for FakeBackend {
    fn profiles(&self) -> Vec<String> {
        vec!["otel".to_owned(), "raw".to_owned()]
    }

    fn exposition(&self, profile: &str, format: ExpositionFormat, deadline: Instant, out: &mut PageBuffer<'_>) -> bool {
        *self.budget.lock().unwrap() = Some(deadline.saturating_duration_since(Instant::now()));
        self.runs.fetch_add(1, SeqCst);
        assert!(!self.broken.load(SeqCst), "a panic that the test asks for");
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_timeout_while(shut, DEADLINE, |shut| *shut).unwrap());
        out.bytes.extend(format!("profile {profile} as {format:?}\n{}", "jvm_up 1\n".repeat(500)).into_bytes());
        true
    }

    fn gzip_level(&self) -> Option<u32> {
        (!self.uncompressed.load(SeqCst)).then_some(1)
    }

    fn targets(&self) -> Listing {
        let jvm = JvmDescription { app: Some("<b>orders".to_owned()), ..JvmDescription::default() };
        let refused = RefusedRow { pid: Some(7), reason: "other_owner".to_owned(), ..RefusedRow::default() };
        Listing { jvms: vec![jvm.into()], refused: vec![refused] }
    }

    fn overview(&self, _: &[Measure]) -> Overview {
        let jvms = self.targets().jvms.into_iter().map(|row| JvmOverview { row, ..JvmOverview::default() });
        Overview { jvms: jvms.collect(), refused: self.targets().refused, ..Overview::default() }
    }

    fn jvm(&self, key: &JvmKey) -> Option<JvmDetail> {
        let mut jvms = self.overview(&[]).jvms.into_iter();
        let jvm = jvms.find(|jvm| jvm.row.description.app.as_ref() == Some(&key.app))?;
        Some(JvmDetail { jvm, ..JvmDetail::default() })
    }

    fn explain(&self, key: &JvmKey) -> Option<String> {
        self.jvm(key).map(|_| "profile otel\n".to_owned())
    }

    fn readiness(&self) -> Readiness {
        if self.not_ready.load(SeqCst) { Readiness::Starting } else { Readiness::Ready }
    }

    fn reload(&self) -> Result<(), String> {
        self.reload_error.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

pub struct TestServer {
    pub address: SocketAddr,
    pub fake: Arc<FakeBackend>,
    pub telemetry: Arc<HttpMetrics>,
    pub stop: oneshot::Sender<()>,
    pub served: JoinHandle<()>,
}

pub async fn start(options: Options) -> TestServer {
    let bound = Bound::inherit(bind(&["127.0.0.1:0".parse().unwrap()]).unwrap()).unwrap();
    let (address, fake) = (bound.addresses()[0], Arc::new(FakeBackend::default()));
    let telemetry = Arc::<HttpMetrics>::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move { drop(stopped.await) };
    let served = tokio::spawn(serve(bound, options, fake.clone(), telemetry.clone(), shutdown));
    TestServer { address, fake, telemetry, stop, served }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl TestServer {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends the bytes and reads until the server closes.
    pub async fn raw(&self, request: &str) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        until_closed(&mut stream).await
    }

    pub async fn request(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let headers = headers.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        parse(&self.raw(&request).await)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[]).await
    }

    /// The value of a self metric with that label value, or without labels.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let (_, series) = self.telemetry.families().find(|(family, _)| *family.name == *name).expect(name);
        let matching = |labels: &hotspot_exporter::metric::Labels| {
            label.is_empty() && labels.is_empty() || labels.iter().any(|(_, value)| value == label)
        };
        series.iter().filter(|(labels, _)| matching(labels)).map(|(_, value)| value.as_f64()).sum()
    }

    pub fn refused(&self, reason: &str) -> f64 {
        self.metric("hotspot_exporter_requests_refused_total", reason)
    }
}

/// Reads to the end of the stream; a reset is an end too.
pub async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the server should have closed the connection");
    bytes
}

pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn parse(bytes: &[u8]) -> Answer {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an HTTP answer");
    let mut lines = std::str::from_utf8(&bytes[..split]).unwrap().lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: bytes[split + 4..].to_vec() }
}
