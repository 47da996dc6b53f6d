//! Listeners that are not what they seem.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hotspot_exporter::config::{Nmt, NmtMode};
use hotspot_exporter::providers::nmt::attach::{Capabilities, REPLY_MAXIMUM, ask};
use hotspot_exporter::providers::nmt::{Answer, AttachError, Attachable, NmtState, Poller};
use rustix::process::{getegid, geteuid};
use tempfile::TempDir;

use crate::nmt::jvm::{NOBODY, plain_target};
use crate::nmt::{ask_once, summary, wait_for};
use crate::support::skip_this;

const SUMMARY: &str = "0\nTotal: reserved=9, committed=5\n- GC (reserved=9, committed=5)\n";

/// A `/tmp` with an attach socket in it.
struct Fake {
    tmp: TempDir,
}

impl Fake {
    fn nobody_listens() -> Self {
        Self { tmp: TempDir::new().unwrap() }
    }

    /// `answer` gets every connection, one after the other.
    fn listening(mut answer: impl FnMut(UnixStream) + Send + 'static) -> Self {
        let fake = Self::nobody_listens();
        let listener = UnixListener::bind(fake.socket()).unwrap();
        fs::set_permissions(fake.socket(), Permissions::from_mode(0o600)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap());
            }
        });
        fake
    }

    fn socket(&self) -> PathBuf {
        self.tmp.path().join(".java_pid7")
    }

    /// A JVM of JDK 17, which is spoken to in version 1.
    fn target(&self) -> Attachable {
        let mut target = plain_target(self.tmp.path(), 7, geteuid().as_raw());
        target.gid = getegid().as_raw();
        target.feature = Some(17);
        target
    }

    fn reason(&self) -> &'static str {
        ask_once(&self.target(), NmtMode::Passive).unwrap_err().reason()
    }
}

/// The request as far as it came with the first read: a client may not send it in pieces.
fn request(stream: &mut UnixStream) -> Vec<u8> {
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
    let answer = ask_once(&reply(b"0\nhello\n").target(), NmtMode::Passive).unwrap();
    assert_eq!(answer, Answer::Unknown("hello".into()));
    assert_eq!(summary(ask_once(&reply(SUMMARY.as_bytes()).target(), NmtMode::Passive)).total.committed, 5);
}

#[test]
fn a_reply_without_end_is_cut() {
    let sent = Arc::new(Mutex::new(0_usize));
    let counter = Arc::clone(&sent);
    let fake = Fake::listening(move |mut stream| {
        request(&mut stream);
        let chunk = [b'0'; 64 << 10];
        // A gigabyte, if it were read.
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
        let until = Instant::now() + Duration::from_millis(200);
        let error = ask(&fake.target(), NmtMode::Passive, &mut Capabilities::default(), until).unwrap_err();
        assert!(matches!(error, AttachError::Timeout), "{error}");
    }
}

#[test]
fn sockets_of_others_are_not_connected_to() {
    let fake = Fake::nobody_listens();
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
    summary(ask_once(&good.target(), NmtMode::Passive));

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
    summary(ask_once(&fake.target(), NmtMode::Passive));
}

/// The socket file belongs to the JVM's user, but somebody else listens.
#[test]
fn a_listener_of_another_user_gets_no_request() {
    if !geteuid().is_root() {
        return skip_this("listeners of other users need root");
    }
    let fake = Fake::nobody_listens();
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
fn a_dead_socket_and_a_full_queue_are_told_apart() {
    let fake = Fake::nobody_listens();
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

/// JDK 25 is asked for one reply in one piece, JDK 8 for kilobytes, and both are asked that only once.
#[test]
fn the_dialect_is_found_and_remembered() {
    let heard = Arc::new(Mutex::new(Vec::<String>::new()));
    let speak = |new: bool| {
        let log = Arc::clone(&heard);
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
        let mut target = fake.target();
        target.feature = None;
        let mut dialect = Capabilities::default();
        for _ in 0..2 {
            summary(ask(&target, NmtMode::Passive, &mut dialect, Instant::now() + Duration::from_secs(20)));
        }
        std::mem::take(&mut *heard.lock().unwrap())
    };
    let probe = "1\0getversion\0options\0\0\0";
    let line = "VM.native_memory summary scale=";
    let version_2 = format!("2\x0052\0jcmd streaming=0\0{line}b\0\0\0");
    assert_eq!(speak(true), [probe, &version_2, &version_2]);
    let version_1 = |scale: &str| format!("1\0jcmd\0{line}{scale}\0\0\0");
    assert_eq!(speak(false), [probe, &version_1("b"), &version_1("KB"), &version_1("KB")]);
}

/// More JVMs hang than there are workers; the one that answers goes on being asked.
#[test]
fn hung_jvms_do_not_delay_the_others() {
    let settings =
        Nmt { mode: NmtMode::Passive, interval: Duration::from_millis(20), timeout: Duration::from_millis(500) };
    let poller = Poller::new(settings);
    let hung: Vec<(Fake, _)> = (0..20)
        .map(|_| {
            let held = Mutex::new(Vec::new());
            let fake = Fake::listening(move |stream| held.lock().unwrap().push(stream));
            let watch = poller.watch(fake.target());
            (fake, watch)
        })
        .collect();
    wait_for("every hung JVM to be found out", || {
        hung.iter().all(|(_, watch)| matches!(watch.state(), NmtState::Failing { reason: "timeout", .. }))
    });

    let asked = Arc::new(Mutex::new(0_u32));
    let counter = Arc::clone(&asked);
    let fake = Fake::listening(move |mut stream| {
        request(&mut stream);
        *counter.lock().unwrap() += 1;
        stream.write_all(SUMMARY.as_bytes()).unwrap();
    });
    let watch = poller.watch(fake.target());
    wait_for("ten answers", || *asked.lock().unwrap() >= 10);
    assert_eq!(watch.state(), NmtState::Answering);
    assert!(poller.failures().iter().any(|(reason, count)| *reason == "timeout" && *count >= 20));
}

#[test]
fn a_jvm_without_tracking_is_asked_once() {
    let settings = Nmt { mode: NmtMode::Passive, interval: Duration::from_millis(1), timeout: Duration::from_secs(5) };
    let asked = Arc::new(Mutex::new(0_u32));
    let counter = Arc::clone(&asked);
    let fake = Fake::listening(move |mut stream| {
        request(&mut stream);
        *counter.lock().unwrap() += 1;
        stream.write_all(b"0\nNative memory tracking is not enabled\n").unwrap();
    });
    let other = reply(SUMMARY.as_bytes());
    let poller = Poller::new(settings);
    let watch = poller.watch(fake.target());
    wait_for("the answer", || watch.state() == NmtState::NotEnabled);
    let _other = poller.watch(other.target());
    wait_for("the other JVM", || _other.state() == NmtState::Answering);
    assert_eq!(*asked.lock().unwrap(), 1);
}
