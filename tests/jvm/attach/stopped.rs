//! Real JVMs that must not be signalled, or cannot reply: none is harmed.

use std::fs;
use std::time::{Duration, Instant};

use hotspot_exporter::config::AttachMode;
use hotspot_exporter::providers::attach::native_memory::{NmtReply, query};
use hotspot_exporter::providers::attach::{AttachError, Capabilities};
use rustix::process::Signal;

use crate::attach::jvm::{Jvm, Place, javas};
use crate::attach::{query_once, summary};

const TRACKING: &str = "-XX:NativeMemoryTracking=summary";

/// With `-Xrs` SIGQUIT kills. The listener is there from the start, but a cleaner of /tmp may take its socket.
#[test]
fn a_jvm_that_does_not_catch_sigquit_gets_none() {
    for java in javas() {
        let mut jvm = Jvm::start(&java, Place::default(), &[TRACKING, "-Xrs"]);
        let socket = jvm.tmp.path().join(format!(".java_pid{}", jvm.vpid));
        if socket.exists() {
            summary(query_once(&jvm.attachable(), AttachMode::Active));
            fs::remove_file(socket).unwrap();
        }
        let error = query_once(&jvm.attachable(), AttachMode::Active).unwrap_err();
        assert!(matches!(error, AttachError::UnsafeToSignal(why) if why.contains("does not catch")), "{error}");
        jvm.assert_unharmed();
    }
}

#[test]
fn a_jvm_that_cannot_be_attached_to_prints_no_thread_dump() {
    for java in javas() {
        let mut jvm = Jvm::start(&java, Place::default(), &[TRACKING, "-XX:+DisableAttachMechanism"]);
        let attachable = jvm.attachable();
        assert_eq!(attachable.attach_supported, Some(false));
        assert_eq!(query_once(&attachable, AttachMode::Active).unwrap_err().reason().as_str(), "unsafe_to_signal");
        jvm.assert_unharmed();
    }
}

/// Queried continuously from the time that its region is accessible.
#[test]
fn a_starting_jvm_survives_active_mode() {
    for java in javas() {
        for _ in 0..3 {
            let mut jvm = Jvm::launch(&java, Place::default(), &[TRACKING]);
            let mut capabilities = Capabilities::default();
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                assert!(jvm.is_alive() && Instant::now() < deadline, "{}", jvm.output());
                let Some(attachable) = jvm.try_attachable() else { continue };
                match query(&attachable, AttachMode::Active, &mut capabilities, deadline) {
                    Ok(NmtReply::Summary(_)) => break,
                    Err(AttachError::UnsafeToSignal(_) | AttachError::NoSocket) => {}
                    other => panic!("JDK {}: {other:?}", java.feature),
                }
            }
            jvm.assert_unharmed();
        }
    }
}

#[test]
fn a_stopped_jvm_costs_one_deadline_and_goes_on() {
    for java in javas() {
        let mut listening = Jvm::start(&java, Place::default(), &[TRACKING, "-XX:+StartAttachListener"]);
        let mut silent = Jvm::start(&java, Place::default(), &[TRACKING]);
        for (jvm, reason) in [(&mut listening, "timeout"), (&mut silent, "unsafe_to_signal")] {
            let attachable = jvm.attachable();
            jvm.signal(Signal::STOP);
            crate::attach::wait_for("the JVM to stop", || {
                fs::read_to_string(format!("/proc/{}/stat", jvm.vpid)).unwrap().contains(") T ")
            });
            let deadline = Instant::now() + Duration::from_millis(300);
            let error = query(&attachable, AttachMode::Active, &mut Capabilities::default(), deadline).unwrap_err();
            jvm.signal(Signal::CONT);
            assert_eq!(error.reason().as_str(), reason, "{error}");
            summary(query_once(&attachable, AttachMode::Active));
            jvm.assert_unharmed();
        }
    }
}
