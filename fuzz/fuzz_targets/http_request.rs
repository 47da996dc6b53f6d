//! Arbitrary bytes of a client on one connection to the real server, which serves small content of every kind.
//!
//! Checks: no panic, and only complete responses with a known status. Server and client share one thread, so that the
//! coverage of an input is deterministic.

#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use hotspot_exporter::report::list::{JvmDescription, Listing};
use hotspot_exporter::report::overview::{JvmDetail, JvmKey, JvmOverview, Measure, Overview};
use hotspot_exporter::server::{Backend, Bound, ExpositionFormat, Options, PageBuffer, Readiness, bind, serve};
use hotspot_exporter::telemetry::HttpMetrics;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

struct Small;

impl Backend for Small {
    fn profiles(&self) -> Vec<String> {
        vec!["otel".to_owned(), "raw".to_owned()]
    }

    fn exposition(&self, _: &str, _: ExpositionFormat, _: Instant, out: &mut PageBuffer<'_>) -> bool {
        out.bytes.extend(b"jvm_up 1\n");
        true
    }

    fn gzip_level(&self) -> Option<u32> {
        Some(1)
    }

    fn targets(&self) -> Listing {
        let jvm = JvmDescription { app: Some("<b>orders".to_owned()), ..JvmDescription::default() };
        Listing { jvms: vec![jvm.into()], refused: Vec::new() }
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
        Readiness::Ready
    }

    fn reload(&self) -> Result<(), String> {
        Ok(())
    }
}

static SERVER: LazyLock<(Runtime, SocketAddr)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread");
    let any = "127.0.0.1:0".parse().expect("an address");
    let sockets = bind(&[any]).expect("a free port");
    let bound = runtime.block_on(async { Bound::inherit(sockets) }).expect("sockets that can be registered");
    let address = *bound.addresses().first().expect("one address");
    let options = Options { lifecycle: true, ..Options::default() };
    let telemetry = Arc::<HttpMetrics>::default();
    runtime.spawn(serve(bound, options, Arc::new(Small), telemetry, std::future::pending()));
    (runtime, address)
});

fuzz_target!(|bytes: &[u8]| {
    let (runtime, address) = &*SERVER;
    let answers = runtime.block_on(async {
        let mut client = TcpStream::connect(address).await.expect("the server accepts");
        // A reset leaves no port in TIME_WAIT.
        client.set_zero_linger().expect("a socket that can be reset");
        // The server may close before it has read everything.
        let _ = client.write_all(bytes).await;
        let _ = client.shutdown().await;
        let mut answers = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), client.read_to_end(&mut answers)).await.expect("an end");
        answers
    });
    assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answers));
    assert!(!answers.starts_with(b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&answers));
});
