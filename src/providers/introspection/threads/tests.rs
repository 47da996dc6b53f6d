//! States of planted threads: by their objects, and by the waits of real threads of this process.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::panic)]

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::providers::introspection::planted::Planted;

/// Offsets in a planted thread: class, OSThread, object, virtual thread, Java frames.
const FIELDS: [(&str, &str, u64); 8] = [
    ("JavaThread", "_osthread", 8),
    ("JavaThread", "_threadObj", 16),
    ("JavaThread", "_vthread", 24),
    ("JavaThread", "_anchor", 32),
    ("JavaFrameAnchor", "_last_Java_sp", 0),
    ("OSThread", "_state", 0),
    ("OSThread", "_thread_id", 4),
    ("JavaThread", "_current_pending_monitor", 40),
];
/// What a thread of a Java program has as its first word, and one of HotSpot's own.
const COMMON: u64 = 0x1000;
const OTHER: u64 = 0x2000;

/// A JVM with threads and their objects.
struct Threaded {
    planted: Planted,
    threads: Vec<u64>,
    /// Thread and holder of each.
    objects: Vec<[u64; 2]>,
    thread_class: u64,
}

impl Threaded {
    /// Each thread has first word, OSThread state, tid, status and daemon flag.
    fn new(threads: &[(u64, u64, u32, u64, u64)]) -> Self {
        let mut planted = Planted::new();
        planted.describe_classes();
        planted.fields(&FIELDS);
        let states = ["ALLOCATED", "INITIALIZED", "RUNNABLE", "MONITOR_WAIT", "CONDVAR_WAIT", "OBJECT_WAIT"];
        let states: Vec<_> = states.into_iter().zip(0..).chain([("SLEEPING", 7)]).collect();
        planted.constants(&states);
        let thread_class = planted.class("java/lang/Thread", 0, &[("eetop", 16), ("holder", 24)]);
        let holder_class = planted.class("java/lang/Thread$FieldHolder", 0, &[("threadStatus", 16), ("daemon", 24)]);
        let mut jvm = Self { planted, threads: Vec::new(), objects: Vec::new(), thread_class };
        for (first, state, tid, status, daemon) in threads {
            let planted = &mut jvm.planted;
            let holder = planted.object(&[1, holder_class, *status, *daemon]);
            let object = planted.object(&[1, thread_class, 0, holder]);
            let handles = [planted.object(&[object]), planted.object(&[object])];
            let os_thread = planted.object(&[*state | u64::from(*tid) << 32]);
            let thread = planted.object(&[*first, os_thread, handles[0], handles[1], 8, 0]);
            planted.set(object + 16, thread);
            jvm.threads.push(thread);
            jvm.objects.push([object, holder]);
        }
        let list = jvm.threads.clone();
        jvm.planted.thread_list(&list);
        jvm
    }

    fn reader(&self, collector: Collector) -> ThreadReader {
        ThreadReader::of(&self.planted.memory(), JvmTraits { feature: 21, collector }).unwrap()
    }

    fn read(&self, collector: Collector, live: u64) -> Result<StateCounts, Implausible> {
        self.reader(collector).read_states(&self.planted.memory(), own().as_fd(), live)
    }
}

fn own() -> File {
    File::open("/proc/self").unwrap()
}

/// The number of the calling thread.
fn tid() -> u32 {
    u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap()
}

/// Threads in every state; the first has not started, the last has ended.
fn all_states(tid: u32) -> Vec<(u64, u64, u32, u64, u64)> {
    let statuses = [0, 0x5, 0x401, 0x191, 0x1a1, 0x2];
    statuses.iter().enumerate().map(|(at, status)| (COMMON, 2, tid, *status, at as u64 % 2)).collect()
}

#[test]
fn states_and_daemons_are_those_of_the_threads_objects() {
    let jvm = Threaded::new(&all_states(tid()));
    let expected = StateCounts {
        all: [1, 1, 1, 1, 1],
        by_daemon: Some([[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]]),
        virtual_mounted: Some(0),
    };
    assert_eq!(jvm.read(Collector::G1, 5), Ok(expected));
}

#[test]
fn a_sum_that_the_jvm_contradicts_is_no_count() {
    let jvm = Threaded::new(&all_states(tid()));
    for live in 0..10 {
        assert_eq!(jvm.read(Collector::Serial, live).is_ok(), (3..=7).contains(&live), "{live}");
    }
}

#[test]
fn hotspots_hidden_threads_are_not_counted() {
    let (say, hear) = channel();
    let (_hold, held) = channel::<()>();
    let name = "C1 CompilerThread0".to_owned();
    let thread = thread::Builder::new().name(name).spawn(move || (say.send(tid()), held.recv().is_ok())).unwrap();
    let compiler = hear.recv().unwrap();
    let rows =
        [(COMMON, 2, tid(), 5, 0), (OTHER, 4, compiler, 5, 1), (COMMON, 2, tid(), 5, 0), (OTHER, 4, compiler, 5, 1)];
    let jvm = Threaded::new(&rows);
    assert_eq!(jvm.read(Collector::Parallel, 2).unwrap().all, [0, 2, 0, 0, 0]);
    drop(_hold);
    thread.join().unwrap().0.unwrap();
}

#[test]
fn a_thread_that_runs_a_virtual_thread_waits() {
    let mut jvm = Threaded::new(&all_states(tid()));
    let class = jvm.planted.class("java/lang/VirtualThread", 0, &[]);
    let mounted = jvm.planted.object(&[1, class]);
    let handle = jvm.planted.object(&[mounted]);
    let runnable = jvm.threads[1];
    jvm.planted.set(runnable + 24, handle);
    let counts = jvm.read(Collector::G1, 5).unwrap();
    assert_eq!((counts.all, counts.virtual_mounted), ([1, 0, 1, 2, 1], Some(1)));
    // A platform thread's own object that has just been moved.
    let moved = jvm.planted.object(&[1, jvm.thread_class]);
    jvm.planted.set(handle, moved);
    let counts = jvm.read(Collector::G1, 5).unwrap();
    assert_eq!((counts.all, counts.virtual_mounted), ([1, 1, 1, 1, 1], Some(0)));
}

#[test]
fn an_object_that_is_not_the_threads_is_not_counted() {
    let wild = [0, 1, 8, 1 << 46, u64::MAX - 7];
    for (what, value) in wild.into_iter().flat_map(|value| (0..5).map(move |what| (what, value))) {
        let mut jvm = Threaded::new(&all_states(tid()));
        let mut reader = jvm.reader(Collector::G1);
        reader.read_states(&jvm.planted.memory(), own().as_fd(), 5).unwrap();
        let (thread, [object, holder]) = (jvm.threads[1], jvm.objects[1]);
        let place = [thread + 16, object + 16, object + 24, holder + 8, holder + 16][what];
        jvm.planted.set(place, if what == 4 { u64::MAX } else { value });
        let counts = reader.read_states(&jvm.planted.memory(), own().as_fd(), 5).unwrap();
        assert_eq!(counts.by_daemon, None, "{what} {value:#x}: without objects nothing tells daemons");
        assert_eq!(counts.all, [0, 6, 0, 0, 0], "{what} {value:#x}: by OSThread, all are runnable");
    }
}

/// A thread that sends its number and then waits for a message.
fn waiter(wait: impl FnOnce(Receiver<()>) + Send + 'static) -> (u32, Sender<()>) {
    let (say, hear) = channel();
    let (wake, woken) = channel();
    thread::spawn(move || {
        say.send(tid()).unwrap();
        wait(woken);
    });
    (hear.recv().unwrap(), wake)
}

#[test]
fn without_objects_the_kernel_tells_how_a_thread_waits() {
    let (forever, _first) = waiter(|woken| _ = woken.recv());
    let (timed, _second) = waiter(|woken| _ = woken.recv_timeout(Duration::from_secs(3600)));
    let rows = [
        (COMMON, 1, tid(), 0, 0),
        (COMMON, 2, tid(), 0, 0),
        (COMMON, 3, tid(), 0, 0),
        (COMMON, 4, forever, 0, 0),
        (COMMON, 5, timed, 0, 0),
        (COMMON, 7, forever, 0, 0),
        (COMMON, 4, forever, 0, 0),
    ];
    let mut jvm = Threaded::new(&rows);
    // The last one waits inside HotSpot.
    let last = jvm.threads[6];
    jvm.planted.set(last + 32, 0);
    let expected = StateCounts { all: [1, 2, 1, 1, 2], by_daemon: None, virtual_mounted: None };
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match jvm.read(Collector::Zgc, 7) {
            Ok(counts) if counts == expected => break,
            other if Instant::now() > deadline => panic!("{other:?}"),
            _ => thread::yield_now(),
        }
    }
}

#[test]
fn threads_that_no_kernel_knows_are_not_counted() {
    for tid in [0, 1 << 30, u32::MAX] {
        let jvm = Threaded::new(&[(COMMON, 4, tid, 0, 0)]);
        assert!(jvm.read(Collector::Zgc, 1).is_err(), "{tid}");
    }
}
