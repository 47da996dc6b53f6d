//! Listeners that misbehave.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hotspot_exporter::config::{AttachMode, AttachSettings};
use hotspot_exporter::providers::attach::diagnostics::DiagnosticPlan;
use hotspot_exporter::providers::attach::native_memory::{NmtReply, NmtState, query};
use hotspot_exporter::providers::attach::{
    AttachError, AttachFailureReason, Attachable, Capabilities, Poller, REPLY_MAXIMUM,
};
use rustix::process::{getegid, geteuid};
use tempfile::TempDir;

use crate::attach::jvm::{NOBODY, plain_attachable};
use crate::attach::{query_once, summary, wait_for};
use crate::support::skip_this;

const SUMMARY: &str = "0\nTotal: reserved=9, committed=5\n- GC (reserved=9, committed=5)\n";

/// A `/tmp` with an attach socket in it.
pub(crate) struct Fake {
    tmp: TempDir,
}

impl Fake {
    pub(crate) fn without_listener() -> Self {
        Self { tmp: TempDir::new().unwrap() }
    }

    /// `serve` gets every connection, one after the other.
    pub(crate) fn listening(mut serve: impl FnMut(UnixStream) + Send + 'static) -> Self {
        let fake = Self::without_listener();
        let listener = UnixListener::bind(fake.socket()).unwrap();
        fs::set_permissions(fake.socket(), Permissions::from_mode(0o600)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap());
            }
        });
        fake
    }

    fn socket(&self) -> PathBuf {
        self.tmp.path().join(".java_pid7")
    }

    /// A JVM of JDK 17, which speaks protocol version 1.
    pub(crate) fn attachable(&self) -> Attachable {
        let mut attachable = plain_attachable(self.tmp.path(), 7, geteuid().as_raw());
        attachable.gid = getegid().as_raw();
        attachable.feature = Some(17);
        attachable
    }

    fn reason(&self) -> &'static str {
        query_once(&self.attachable(), AttachMode::Passive).unwrap_err().reason().as_str()
    }
}

/// The request as far as it came with the first read: a client may not send it in pieces.
pub(crate) fn request(stream: &mut UnixStream) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).unwrap_or(0);
    buffer[..read].to_vec()
}

fn reply(bytes: &'static [u8]) -> Fake {
    Fake::listening(move |mut stream| {
        request(&mut stream);
        let _ = stream.write_all(bytes);
    })
}

#[test]
fn replies_of_any_kind_end_in_a_reason() {
    for (bytes, reason) in [
        (&b""[..], "closed"),
        (b"garbage", "garbage"),
        (b"\xff\xfe\n\xff", "garbage"),
        (b"101\n", "status"),
        (b"-1\njava.lang.IllegalArgumentException: no\n", "status"),
    ] {
        assert_eq!(reply(bytes).reason(), reason, "{bytes:?}");
    }
    let unknown = query_once(&reply(b"0\nhello\n").attachable(), AttachMode::Passive).unwrap();
    assert_eq!(unknown, NmtReply::Unknown("hello".into()));
    assert_eq!(summary(query_once(&reply(SUMMARY.as_bytes()).attachable(), AttachMode::Passive)).total.committed, 5);
}

#[test]
fn a_reply_without_end_is_cut() {
    let sent = Arc::new(Mutex::new(0_usize));
    let counter = Arc::clone(&sent);
    let fake = Fake::listening(move |mut stream| {
        request(&mut stream);
        let chunk = [b'0'; 64 << 10];
        // A gigabyte if all of it is read.
        for _ in 0..16384 {
            if stream.write_all(&chunk).is_err() {
                return;
            }
            *counter.lock().unwrap() += chunk.len();
        }
    });
    assert_eq!(fake.reason(), "too_long");
    assert!(*sent.lock().unwrap() < 8 * REPLY_MAXIMUM);
}

#[test]
fn silence_and_dripping_end_at_the_deadline() {
    let silent = Fake::listening(|stream| {
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(60));
            drop(stream);
        });
    });
    let dripping = Fake::listening(|mut stream| {
        request(&mut stream);
        while stream.write_all(b"0").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    for fake in [silent, dripping] {
        let deadline = Instant::now() + Duration::from_millis(200);
        let error = query(&fake.attachable(), AttachMode::Passive, &mut Capabilities::default(), deadline).unwrap_err();
        assert!(matches!(error, AttachError::Timeout), "{error}");
    }
}

#[test]
fn sockets_of_others_are_not_connected_to() {
    let fake = Fake::without_listener();
    assert_eq!(fake.reason(), "no_socket");
    fs::write(fake.socket(), "").unwrap();
    assert_eq!(fake.reason(), "untrusted_socket");
    fs::remove_file(fake.socket()).unwrap();

    let good = reply(SUMMARY.as_bytes());
    symlink(good.socket(), fake.socket()).unwrap();
    assert_eq!(fake.reason(), "untrusted_socket");

    fs::set_permissions(good.socket(), Permissions::from_mode(0o666)).unwrap();
    assert_eq!(good.reason(), "untrusted_socket");
    fs::set_permissions(good.socket(), Permissions::from_mode(0o600)).unwrap();
    summary(query_once(&good.attachable(), AttachMode::Passive));

    if !geteuid().is_root() {
        return skip_this("sockets of other owners need root");
    }
    chown(good.socket(), Some(NOBODY), None).unwrap();
    assert_eq!(good.reason(), "untrusted_socket");
    chown(good.socket(), Some(0), Some(NOBODY)).unwrap();
    assert_eq!(good.reason(), "untrusted_socket");
}

#[test]
fn in_a_set_gid_directory_the_socket_may_have_another_group() {
    if !geteuid().is_root() {
        return skip_this("sockets of other groups need root");
    }
    let fake = reply(SUMMARY.as_bytes());
    chown(fake.socket(), None, Some(NOBODY)).unwrap();
    fs::set_permissions(fake.tmp.path(), Permissions::from_mode(0o2777)).unwrap();
    summary(query_once(&fake.attachable(), AttachMode::Passive));
}

/// The socket file belongs to the JVM's user, but another user listens.
#[test]
fn a_listener_of_another_user_gets_no_request() {
    if !geteuid().is_root() {
        return skip_this("listeners of other users need root");
    }
    let fake = Fake::without_listener();
    fs::set_permissions(fake.tmp.path(), Permissions::from_mode(0o777)).unwrap();
    let path = fake.socket();
    let listener = thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(NOBODY);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        UnixListener::bind(path).unwrap()
    });
    let listener = listener.join().unwrap();
    fs::set_permissions(fake.socket(), Permissions::from_mode(0o600)).unwrap();
    chown(fake.socket(), Some(0), Some(0)).unwrap();
    assert_eq!(fake.reason(), "wrong_peer");
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(request(&mut stream), b"");
}

#[test]
fn a_dead_socket_and_a_full_queue_have_different_reasons() {
    let fake = Fake::without_listener();
    drop(UnixListener::bind(fake.socket()).unwrap());
    fs::set_permissions(fake.socket(), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fake.reason(), "dead_socket");
    fs::remove_file(fake.socket()).unwrap();

    let listener = UnixListener::bind(fake.socket()).unwrap();
    fs::set_permissions(fake.socket(), Permissions::from_mode(0o600)).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _held = UnixStream::connect(fake.socket()).unwrap();
    assert_eq!(fake.reason(), "busy");
}

/// JDK 25 is queried without streaming, JDK 8 for kilobytes, and both are probed only once.
#[test]
fn capabilities_are_detected_once() {
    let requests = Arc::new(Mutex::new(Vec::<String>::new()));
    let requests_of = |new: bool| {
        let log = Arc::clone(&requests);
        let fake = Fake::listening(move |mut stream| {
            let request = String::from_utf8(request(&mut stream)).unwrap();
            let answer = match (new, request.contains("getversion"), request.contains("scale=b")) {
                (true, true, _) => "0\n2 streaming",
                (false, true, _) => "-1\nOperation getversion not recognized!\n",
                (false, false, true) => "0\nIncorrect scale value: b\n",
                _ => SUMMARY,
            };
            log.lock().unwrap().push(request);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let mut attachable = fake.attachable();
        attachable.feature = None;
        let mut capabilities = Capabilities::default();
        for _ in 0..2 {
            summary(query(
                &attachable,
                AttachMode::Passive,
                &mut capabilities,
                Instant::now() + Duration::from_secs(20),
            ));
        }
        std::mem::take(&mut *requests.lock().unwrap())
    };
    let probe = "1\0getversion\0options\0\0\0";
    let line = "VM.native_memory summary scale=";
    let version_2 = format!("2\x0052\0jcmd streaming=0\0{line}b\0\0\0");
    assert_eq!(requests_of(true), [probe, &version_2, &version_2]);
    let version_1 = |scale: &str| format!("1\0jcmd\0{line}{scale}\0\0\0");
    assert_eq!(requests_of(false), [probe, &version_1("b"), &version_1("KB"), &version_1("KB")]);
}

/// More JVMs hang than there are workers; the one that replies is still queried.
#[test]
fn hung_jvms_do_not_delay_the_others() {
    let settings = AttachSettings {
        timeout: Duration::from_millis(500),
        native_memory: Duration::from_millis(500),
        ..AttachSettings::default()
    };
    let poller = Poller::new(settings);
    let hung: Vec<(Fake, _)> = (0..20)
        .map(|_| {
            let held = Mutex::new(Vec::new());
            let fake = Fake::listening(move |stream| held.lock().unwrap().push(stream));
            let polled = poller.add(fake.attachable(), DiagnosticPlan::default());
            (fake, polled)
        })
        .collect();
    wait_for("every hung JVM to time out", || {
        hung.iter()
            .all(|(_, polled)| matches!(polled.state(), NmtState::Failing { reason: AttachFailureReason::Timeout, .. }))
    });

    let queried = Arc::new(Mutex::new(0_u32));
    let counter = Arc::clone(&queried);
    let fake = Fake::listening(move |mut stream| {
        request(&mut stream);
        *counter.lock().unwrap() += 1;
        stream.write_all(SUMMARY.as_bytes()).unwrap();
    });
    let polled = poller.add(fake.attachable(), DiagnosticPlan::default());
    wait_for("ten replies", || *queried.lock().unwrap() >= 10);
    assert_eq!(polled.state(), NmtState::Answering);
    assert!(poller.failures().iter().any(|(reason, count)| reason.as_str() == "timeout" && *count >= 20));
}

#[test]
fn a_jvm_without_tracking_is_queried_once() {
    let settings = AttachSettings { native_memory: Duration::from_millis(500), ..AttachSettings::default() };
    let queried = Arc::new(Mutex::new(0_u32));
    let counter = Arc::clone(&queried);
    let fake = Fake::listening(move |mut stream| {
        request(&mut stream);
        *counter.lock().unwrap() += 1;
        stream.write_all(b"0\nNative memory tracking is not enabled\n").unwrap();
    });
    let other = reply(SUMMARY.as_bytes());
    let poller = Poller::new(settings);
    let polled = poller.add(fake.attachable(), DiagnosticPlan::default());
    wait_for("the reply", || polled.state() == NmtState::NotEnabled);
    let other_polled = poller.add(other.attachable(), DiagnosticPlan::default());
    wait_for("the other JVM", || other_polled.state() == NmtState::Answering);
    assert_eq!(*queried.lock().unwrap(), 1);
}
