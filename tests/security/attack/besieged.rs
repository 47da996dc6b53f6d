//! The exporter under attack, and those who attack it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::support::certificates::{TLS, lay_out};
use crate::support::exporter::{Exporter, command};
use crate::support::regions::Root;
use crate::support::{PATIENCE, ensure, wait_for};

/// JVMs served: enough that an exposition does not fit into the buffers of a socket that nobody reads.
const JVMS: u32 = 150;

/// What the scraper says it waits, in seconds.
const DECLARED: u64 = 10;

/// Scrapes during each attack.
const SCRAPES: usize = 10;

/// One attack at a time: each takes what the machine gives.
static ALONE: Mutex<()> = Mutex::new(());

/// The exporter may have so much resident when all is over: debug code, 150 JVMs, 512 connections with TLS.
const RESIDENT_MAXIMUM: u64 = 192 << 20;

pub(crate) trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

pub(crate) struct Besieged {
    exporter: Exporter,
    tls: Option<Arc<ClientConfig>>,
    /// The header line of the scraper's password.
    authorization: String,
    baseline: (usize, usize),
    _regions: (Root, Vec<File>, TempDir),
}

/// What an attacker needs: cheap to clone into threads.
#[derive(Clone)]
pub(crate) struct Attacker {
    pub(crate) address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    over: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
}

impl Besieged {
    /// Serves; `web` is the web configuration, and clear text where it has no TLS.
    pub(crate) fn start(web: &str) -> Self {
        Self::with_password(web, "")
    }

    /// Serves to a scraper that gives this user and password.
    pub(crate) fn with_password(web: &str, user: &str) -> Self {
        use base64::Engine;
        let encoded = base64::engine::general_purpose::STANDARD.encode(user);
        let authorization = if user.is_empty() { String::new() } else { format!("Authorization: Basic {encoded}\r\n") };
        hotspot_exporter::discovery::raise_descriptor_limit();
        let root = Root::new();
        let files = (1..=JVMS).map(|pid| root.put("jdk25-G1", pid)).collect();
        let directory = tempfile::tempdir().unwrap();
        let authority = lay_out(directory.path(), web);
        let mut command = command(root.flags());
        command.arg(format!("--web.config.file={}", directory.path().join("web.yml").display()));
        let exporter = Exporter::spawn(&mut command);
        let tls = web.contains("tls_server_config").then(|| Arc::new(trusting(&authority.pem)));
        let mut besieged = Self { exporter, tls, authorization, baseline: (0, 0), _regions: (root, files, directory) };
        wait_for("all JVMs", || ensure(besieged.jvms() >= JVMS as usize, besieged.jvms()));
        besieged.baseline = wait_for("quiet", || match besieged.resources() {
            before if before == besieged.resources() => Ok(before),
            _ => Err("its descriptors and threads change"),
        });
        besieged
    }

    /// Both kinds.
    pub(crate) fn both() -> [Self; 2] {
        [Self::start("{}"), Self::start(TLS)]
    }

    /// Runs the attack in that many threads, again and again, while scrapes are answered; then the scraper's deadline
    /// was kept, and nothing of it is left.
    pub(crate) fn endure(&self, name: &str, threads: usize, attack: impl Fn(&Attacker) + Send + Sync) {
        self.endure_until(name, 0, threads, attack);
    }

    /// The same, and the attack goes on until that many sockets were opened.
    pub(crate) fn endure_until(
        &self,
        name: &str,
        sockets: usize,
        threads: usize,
        attack: impl Fn(&Attacker) + Send + Sync,
    ) {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let attacker = self.attacker();
        let slowest = thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !attacker.is_over() {
                        attack(&attacker);
                    }
                });
            }
            // Set when a scrape fails, too: the scope waits for its threads.
            let _end = End(&attacker.over);
            let mut slowest = Duration::ZERO;
            let mut scrapes = 0;
            while scrapes < SCRAPES || attacker.opened.load(SeqCst) < sockets {
                slowest = slowest.max(self.scrape());
                scrapes += 1;
            }
            slowest
        });
        let kind = if self.tls.is_some() { "TLS" } else { "clear" };
        println!("{name} ({kind}): slowest scrape {slowest:?}, resident {} KiB", self.resident() >> 10);
        self.assert_recovered(name);
    }

    fn attacker(&self) -> Attacker {
        let (address, tls) = (self.exporter.address(), self.tls.clone());
        Attacker { address, tls, over: Arc::default(), opened: Arc::default() }
    }

    /// One scrape, and how long it took.
    pub(crate) fn scrape(&self) -> Duration {
        let begun = Instant::now();
        let text = self.get_metrics();
        let head = text.lines().next().unwrap_or_default();
        assert!(text.starts_with("HTTP/1.1 200 "), "{head:?}; the log:\n{}", self.exporter.log());
        assert_eq!(jvms(&text), JVMS as usize, "all JVMs are in it");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(DECLARED), "the scraper would have given up after {took:?}");
        took
    }

    fn jvms(&self) -> usize {
        jvms(&self.get_metrics())
    }

    /// The whole answer.
    fn get_metrics(&self) -> String {
        let mut stream = self.attacker().connect().unwrap();
        let timeout = format!("X-Prometheus-Scrape-Timeout-Seconds: {DECLARED}\r\n");
        let head = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{timeout}{}", self.authorization);
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        // An answer that is cut short is seen by what it lacks.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Open descriptors and threads.
    fn resources(&self) -> (usize, usize) {
        let count = |what| fs::read_dir(format!("/proc/{}/{what}", self.exporter.pid())).unwrap().count();
        (count("fd"), count("task"))
    }

    /// Bytes.
    fn resident(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.exporter.pid())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    fn assert_recovered(&self, name: &str) {
        let (descriptors, threads) = self.baseline;
        wait_for(&format!("the end of {name}"), || {
            let now = self.resources();
            ensure(now.0 <= descriptors && now.1 <= threads, format!("{now:?}, before {:?}", self.baseline))
        });
        let resident = self.resident();
        assert!(resident < RESIDENT_MAXIMUM, "{name}: {resident} bytes resident");
    }

    /// How many requests and connections were refused for that reason.
    pub(crate) fn refused(&self, reason: &str) -> f64 {
        let name = format!("hotspot_exporter_requests_refused_total{{reason=\"{reason}\"}} ");
        let text = self.get_metrics();
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

impl Attacker {
    /// Counts a socket; no more can be opened where `last`.
    pub(crate) fn opened(&self, last: bool) {
        self.opened.fetch_add(if last { usize::MAX / 2 } else { 1 }, SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// A connection, with the handshake done where there is TLS.
    pub(crate) fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let mut tcp = self.tcp()?;
        let Some(config) = &self.tls else { return Ok(Box::new(tcp)) };
        let mut session = session(config.clone());
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        Ok(Box::new(StreamOwned::new(session, tcp)))
    }

    /// A connection and nothing on it.
    pub(crate) fn tcp(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Waits until the attack is over, or that long.
    pub(crate) fn linger(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        while !self.is_over() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn jvms(exposition: &str) -> usize {
    exposition.lines().filter(|line| line.starts_with("jvm_up{")).count()
}

fn session(config: Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap()
}

fn trusting(pem: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}
