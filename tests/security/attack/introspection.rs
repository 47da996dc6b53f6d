//! JVMs whose memory is hostile: what contradicts itself is absent and counted, costs little, and harms no other JVM.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::attack::imitation::{Imitation, Imitations, published, rejected};
use crate::support::exporter::{Exporter, command};
use crate::support::exposition::Exposition;
use crate::support::jdk::{self, Collector};
use crate::support::jvm::Jvm;
use crate::support::{ensure, skip_this, wait_for};

/// One test at a time: each sees the processes of all.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> Option<(MutexGuard<'static, ()>, Imitations)> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Imitations::new().map(|imitations| (alone, imitations))
}

const ROOT: &str = "--discovery.root=/var/tmp/no-such-directory";
const SERIAL: &str = "jdk25-Serial";
const PARALLEL: &str = "jdk25-Parallel";
const Z: &str = "jdk25-Z";
const G1: &str = "jdk25-G1";
const MIB: f64 = 1_048_576.0;

/// No addresses of an object: odd, of the kernel, unmapped, the last ones of a user, the largest.
const WILD: [&str; 6] = ["1", "0xffff800000000000", "0xdeadbeef000", "0x7ffffffffff8", "0xfffffffffffffff8", "-1"];

/// So much may the exporter grow.
const GROWTH_MAXIMUM: u64 = 96 << 20;

/// What is wrong, and the readers that see it.
struct Case(&'static str, String, &'static [&'static str]);

fn case(region: &'static str, mode: impl Into<String>, rejected: &'static [&'static str]) -> Case {
    Case(region, mode.into(), rejected)
}

fn wild_pointers() -> Vec<Case> {
    let mut cases = Vec::new();
    for wild in WILD.into_iter().chain(["0"]) {
        let all = format!("heap={wild},heaps={wild},flags={wild},list={wild},loaders={wild}");
        cases.push(case(SERIAL, &*all, &["heap", "code_heaps", "flags", "allocated", "class_loaders", "buffers"]));
        cases.push(case(G1, all, &["humongous"]));
        let parallel = format!("ps_young={wild},heaps_data={wild},list_array={wild},classes={wild},flag_value={wild}");
        cases.push(case(PARALLEL, parallel, &["heap", "code_heaps", "allocated", "buffers", "flags"]));
        cases.push(case(Z, format!("z_partitions={wild},code={wild}"), &["heap", "code_heaps"]));
        cases.push(case(SERIAL, format!("from={wild},code_name={wild}"), &["heap", "code_heaps"]));
        cases.push(case(SERIAL, format!("eden={wild},code_second={wild}"), &["heap", "code_heaps"]));
    }
    for wild in WILD {
        let mode =
            format!("loader_next={wild},chain=1,thread_next={wild},thread={wild},os_thread={wild},object={wild}");
        cases.push(case(SERIAL, mode, &["class_loaders", "buffers", "allocated"]));
    }
    cases
}

fn contradictions() -> Vec<Case> {
    let mut cases = Vec::new();
    for mode in
        ["eden_top=0", "eden_bottom=8", "eden_end=0x7ffffffffff8", "reserved_words=-1", "reserved=1", "old_top=-1"]
    {
        cases.extend([SERIAL, PARALLEL].map(|region| case(region, mode, &["heap"])));
    }
    for mode in ["z_count=0", "z_count=0xffffffff", "z_used=-1", "z_used=0x4000001", "z_capacity=-1", "z_maximum=-1"] {
        cases.push(case(Z, mode, &["heap"]));
    }
    for mode in ["grain=0", "grain=3", "grain=-1", "grain=0x10000000000", "humongous=0xffffffff"] {
        cases.push(case(G1, mode, &["humongous"]));
    }
    for mode in [
        "heaps_length=0",
        "heaps_length=9",
        "heaps_length=0xffffffff",
        "code_low=-1",
        "code_high=0",
        "code_end=0",
        "code_end=0x7e8000000000,code_reserved=0x100000000",
        "code_committed=0xffffffff",
        "code_reserved=0xffffffff",
        "code_segment=64",
        "code_log2=64",
        "code_log2=0xffffffff",
        "code_next=0xffffffff",
        "code_next=9",
        "code_free=-1",
        "code_nmethods=0xffffffff",
        "code_full=0xffffffff",
        "code_second=CODE256",
        "unended=CodeHeap 'profiled nmethods'",
        "name=CodeHeap 'x",
        "name=CodeHeap 'a\"b\\",
        "name=CodeHeap 'a\nb'",
        "name=CodeHeap 'of my own'",
    ] {
        cases.push(case(SERIAL, mode, &["code_heaps"]));
    }
    for mode in ["num_flags=0", "num_flags=-1", "flood=8192", "flood=131072", "sizeof_flag=0", "sizeof_flag=0x80000"] {
        cases.push(case(SERIAL, mode, &["flags"]));
    }
    for mode in ["switch=2", "flag_kind=0x600000009"] {
        cases.push(case(SERIAL, mode, &["flags"]));
    }
    for mode in
        ["list_length=0", "list_length=0xffffffff", "chain=1,thread_next=THREADS", "chain=1,thread_next=THREADS1024"]
    {
        cases.push(case(SERIAL, mode, &["allocated"]));
    }
    cases.push(case(SERIAL, "loader_next=LOADERS", &["class_loaders", "buffers"]));
    cases.push(case(SERIAL, "class_next=LOADERS256", &["buffers"]));
    cases
}

/// Tables that are no description of anything: nothing is read.
fn tables() -> Vec<String> {
    let mut modes: Vec<String> = ["structs", "types", "ints", "longs"].map(|table| format!("endless={table}")).into();
    for value in ["0xdeadbeef000", "-1", "1"] {
        modes.extend(["types", "ints", "longs"].map(|table| format!("{table}={value}")));
    }
    for value in ["0", "8", "0x101", "-1"] {
        modes.extend(["type_stride", "int_stride", "long_stride"].map(|stride| format!("{stride}={value}")));
    }
    modes.extend(
        ["struct_offset=0x28000000000", "type_size=-8", "type_name=41", "int_value=9", "scattered=1"]
            .map(str::to_owned),
    );
    modes
}

const READERS: [&str; 8] =
    ["heap", "humongous", "code_heaps", "flags", "class_loaders", "buffers", "thread_states", "allocated"];

fn resident(exporter: &Exporter) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", exporter.pid())).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// The values of an imitation with which nothing is wrong.
fn assert_honest(page: &Exposition) {
    let code = |name| page.value("jvm_memory_used_bytes", &[("jvm_memory_pool_name", name)]);
    assert_eq!(page.value("jvm_hotspot_heap_used_bytes", &[]), Some(6.0 * MIB));
    assert_eq!(code("CodeHeap 'non-nmethods'"), Some(12_800.0));
    assert_eq!(code("CodeHeap 'profiled nmethods'"), Some(25_600.0));
    assert_eq!(page.value("jvm_hotspot_flag", &[("flag", "MaxHeapSize")]), Some(2.0 * MIB));
    assert_eq!(page.value("jvm_hotspot_class_loaders", &[]), Some(1.0));
    assert_eq!(published(page, "allocated").len(), 1);
}

fn honest(exporter: &Exporter, imitation: &Imitation) {
    imitation.served(exporter);
    wait_for("the memory of the honest one", || {
        let page = imitation.page(&exporter.scrape()).ok_or("not served")?;
        ensure(page.value("jvm_hotspot_heap_used_bytes", &[]).is_some(), "not read")?;
        ensure(!published(&page, "class_loaders").is_empty(), "not all is read")?;
        assert_honest(&page);
        Ok::<_, String>(())
    });
}

#[test]
fn what_contradicts_itself_is_absent_and_counted() {
    let Some((_alone, imitations)) = alone() else { return };
    let others = [SERIAL, PARALLEL, Z].map(|region| imitations.start(region, "honest"));
    let g1 = imitations.start(G1, "honest");
    let mut exporter = Exporter::start([ROOT]);
    others.iter().for_each(|imitation| honest(&exporter, imitation));
    wait_for("humongous regions", || {
        let page = g1.page(&exporter.scrape()).ok_or("not served")?;
        ensure(page.value("jvm_hotspot_g1_humongous_bytes", &[]) == Some(5.0 * MIB), "not read")
    });
    let before = resident(&exporter);
    let cases: Vec<Case> = wild_pointers().into_iter().chain(contradictions()).collect();
    // As many as are scanned quickly.
    for cases in cases.chunks(32) {
        let hostile: Vec<_> = cases.iter().map(|Case(region, mode, _)| imitations.start_apart(region, mode)).collect();
        for (imitation, Case(region, mode, readers)) in hostile.iter().zip(cases) {
            imitation.served(&exporter);
            wait_for(&format!("{region} {mode}"), || {
                let page = imitation.page(&exporter.scrape()).ok_or("not served")?;
                for reader in *readers {
                    let found = published(&page, reader);
                    assert!(found.is_empty(), "{region} {mode}: {found:?}");
                    ensure(rejected(&page, reader) > 0.0, format!("{reader} is not counted"))?;
                }
                Ok::<_, String>(())
            });
        }
        let page = exporter.scrape();
        others.iter().for_each(|imitation| assert_honest(&imitation.page(&page).unwrap()));
    }
    let raw = OsString::from_vec(b"name=CodeHeap '\xff\xfe'".to_vec());
    let raw = imitations.start_as(&[], SERIAL, &raw);
    wait_for("a name that is no text", || {
        let page = raw.page(&exporter.scrape()).ok_or("not served")?;
        ensure(rejected(&page, "code_heaps") > 0.0, "not counted")
    });
    let grown = resident(&exporter).saturating_sub(before);
    assert!(grown < GROWTH_MAXIMUM, "grown by {grown} bytes");
    exporter.terminate();
}

#[test]
fn tables_that_describe_nothing_cost_little_and_the_real_jvm_is_served() {
    let Some((_alone, imitations)) = alone() else { return };
    let other = imitations.start(SERIAL, "honest");
    let mut exporter = Exporter::start([ROOT]);
    honest(&exporter, &other);
    let before = resident(&exporter);
    // Another user's: the tables of one's own are taken from the one that was first.
    let prefix = ["unshare", "--mount", "--"];
    let hostile: Vec<_> = tables().iter().map(|mode| imitations.start_as(&prefix, SERIAL, mode.as_ref())).collect();
    for imitation in &hostile {
        imitation.served(&exporter);
    }
    // Introspection has come by.
    let last = imitations.start(SERIAL, "honest");
    honest(&exporter, &last);
    let page = exporter.scrape();
    for imitation in &hostile {
        let page = imitation.page(&page).unwrap();
        for reader in READERS {
            let found = published(&page, reader);
            assert!(found.is_empty(), "{}: {found:?}", imitation.mode);
        }
    }
    let grown = resident(&exporter).saturating_sub(before);
    assert!(grown < GROWTH_MAXIMUM, "grown by {grown} bytes");
    for jdk in jdk::of_release(25, "a real JVM beside imitations").iter().take(1) {
        let mut jvm = Jvm::with_collector(jdk, Collector::Serial);
        let mut used = || {
            let pools = jvm.beans().pools;
            pools.iter().filter(|pool| pool.kind == "HEAP").map(|pool| pool.usage.used).sum::<i64>() as f64
        };
        let mut real = Exporter::start(Vec::<String>::new());
        wait_for("the real heap", || {
            let low = used();
            // Longer than a heap is left alone.
            thread::sleep(Duration::from_millis(300));
            let page = real.scrape();
            let found: Vec<f64> = page.all("jvm_hotspot_heap_used_bytes", &[]).map(|sample| sample.value).collect();
            let high = used();
            ensure(found.iter().any(|value| (low..=high).contains(value)), format!("{low} {found:?} {high}"))
        });
        real.terminate();
    }
    exporter.terminate();
}

#[test]
fn values_that_change_while_they_are_read_are_right_or_absent() {
    let Some((_alone, imitations)) = alone() else { return };
    let flips = [
        "flip-from=SPACES128",
        "flip-eden_top=0x7fffffff0000",
        "flip-old_top=8",
        "flip-code_next=0x100000000",
        "flip-list_length=0xffffffff",
        "flip-flag_value=0xdeadbeef000",
        "flip-loader_next=LOADERS",
    ];
    let hostile = imitations.start(SERIAL, &flips.join(","));
    let mut exporter = Exporter::start([ROOT]);
    hostile.served(&exporter);
    wait_for("rejected values", || {
        let page = hostile.page(&exporter.scrape()).ok_or("not served")?;
        let heap = page.value("jvm_hotspot_heap_used_bytes", &[]);
        assert!(heap.is_none_or(|used| used == 4.0 * MIB || used == 6.0 * MIB), "{heap:?}");
        let code = page.value("jvm_memory_used_bytes", &[("jvm_memory_pool_name", "CodeHeap 'non-nmethods'")]);
        assert!(code.is_none_or(|used| used == 12_800.0), "{code:?}");
        let flag = page.value("jvm_hotspot_flag", &[("flag", "MaxHeapSize")]);
        assert!(flag.is_none_or(|value| value == 2.0 * MIB), "{flag:?}");
        ensure(rejected(&page, "heap") > 10.0, rejected(&page, "heap"))
    });
    exporter.terminate();
}

/// Whether the memory of an imitation is read on: its threads contradict its counters, again and again.
fn is_read_on(exporter: &Exporter, imitation: &Imitation) {
    let count = || imitation.page(&exporter.scrape()).map_or(0.0, |page| rejected(&page, "thread_states"));
    let before = count();
    wait_for("the other one to be read on", || ensure(count() > before, before));
}

/// Names of the exporter's threads that read memory.
fn readers(exporter: &Exporter) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", exporter.pid())).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "memory-reader").count()
}

/// Which of these were given up. The exporter sees those of other programs, too.
fn given_up(exporter: &Exporter, of: &[Imitation]) -> Vec<u32> {
    let log = exporter.log();
    let lines = log.lines().filter(|line| line.contains("the memory of a JVM does not answer"));
    let pids = lines.filter_map(|line| line.split_once("pid=")?.1.split(' ').next()?.parse().ok());
    pids.filter(|pid| of.iter().any(|imitation| imitation.pid() == *pid)).collect()
}

fn all_given_up(exporter: &Exporter) -> usize {
    exporter.log().matches("the memory of a JVM does not answer").count()
}

#[test]
fn a_jvm_with_a_page_that_never_answers_is_given_up_and_no_other() {
    let Some((_alone, imitations)) = alone() else { return };
    let other = imitations.start(SERIAL, "honest");
    let exporter = Exporter::start([ROOT]);
    honest(&exporter, &other);
    let mut hostile = Vec::new();
    for (uid, area) in (20_001..).zip(["HEAP", "SPACES", "CODE", "FLAGS", "LIST", "THREADS", "LOADERS", "TYPES"]) {
        let mut imitation = imitations.start_as_user(uid, SERIAL, &format!("held={area}"));
        if !imitation.hold(b'p') {
            return skip_this("FUSE cannot be mounted on /mnt");
        }
        hostile.push(imitation);
    }
    wait_for("all to be given up", || ensure(given_up(&exporter, &hostile).len() == hostile.len(), exporter.log()));
    let page = exporter.scrape();
    for imitation in &hostile {
        let page = imitation.page(&page).unwrap();
        for reader in READERS {
            assert!(published(&page, reader).is_empty(), "{}: {reader}", imitation.mode);
        }
    }
    assert_honest(&other.page(&page).unwrap());
    is_read_on(&exporter, &other);
    let newcomer = imitations.start(SERIAL, "honest");
    honest(&exporter, &newcomer);
    assert_eq!(given_up(&exporter, &hostile).len(), hostile.len(), "each once");
    assert!(readers(&exporter) <= all_given_up(&exporter) + 1);

    // `explain` says so, and ends with the process that holds it.
    let mut explain = command(["explain", &hostile[0].pid().to_string(), ROOT]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(explain.stdout.take().unwrap()).lines();
    let said = lines.map_while(Result::ok).any(|line| line.contains("a page of its memory did not answer"));
    hostile.clear();
    explain.wait().unwrap();
    assert!(said, "explain names the cause");
    let others = all_given_up(&exporter) - 8;
    wait_for("its threads to end", || ensure(readers(&exporter) <= others + 1, readers(&exporter)));
}

#[test]
fn a_user_whose_jvms_hold_readers_keeps_four_threads_and_nobody_else() {
    const USER: u32 = 20_100;
    let Some((_alone, imitations)) = alone() else { return };
    let other = imitations.start(SERIAL, "honest");
    let exporter = Exporter::start([ROOT]);
    honest(&exporter, &other);
    let mut hostile = Vec::new();
    for _ in 0..10 {
        let mut imitation = imitations.start_as_user(USER, SERIAL, "held=CODE");
        if !imitation.hold(b'p') {
            return skip_this("FUSE cannot be mounted on /mnt");
        }
        imitation.served(&exporter);
        hostile.push(imitation);
    }
    wait_for("four to be given up", || {
        let pids = given_up(&exporter, &hostile);
        ensure(pids.len() == 4, format!("{pids:?}"))
    });
    is_read_on(&exporter, &other);
    is_read_on(&exporter, &other);
    assert_eq!(given_up(&exporter, &hostile).len(), 4);
    assert!(readers(&exporter) <= all_given_up(&exporter) + 1, "{}", readers(&exporter));
    // They end, and with them what they held: the same user's next one is read.
    hostile.clear();
    let next = imitations.start_as_user(USER, SERIAL, "honest");
    honest(&exporter, &next);
}

#[test]
fn pages_that_wait_for_a_userfaultfd_are_unreadable_and_hold_nobody() {
    let Some((_alone, imitations)) = alone() else { return };
    let other = imitations.start(SERIAL, "honest");
    let mut exporter = Exporter::start([ROOT]);
    honest(&exporter, &other);
    let areas =
        [("SPACES", "heap"), ("CODE", "code_heaps"), ("FLAGS", "flags"), ("LIST", "allocated"), ("LOADERS", "buffers")];
    for (area, reader) in areas {
        let mut imitation = imitations.start(SERIAL, &format!("held={area}"));
        if !imitation.hold(b'u') {
            return skip_this("no userfaultfd");
        }
        wait_for(area, || {
            let page = imitation.page(&exporter.scrape()).ok_or("not served")?;
            ensure(rejected(&page, reader) > 0.0, format!("{reader} is not counted"))
        });
    }
    assert_honest(&other.page(&exporter.scrape()).unwrap());
    assert!(given_up(&exporter, &[other]).is_empty());
    exporter.terminate();
}

/// Who alters its own tables deceives itself: neither another user nor another container with the same library.
#[test]
fn altered_tables_are_not_taken_for_another_users_or_containers() {
    let Some((_alone, imitations)) = alone() else { return };
    // Its flags are named by its classes, and its heap is where its code is.
    let poisoned = "sizeof_partition=8,sizeof_flag=48,struct_offset=16";
    let user = "setpriv --reuid 20200 --";
    let hostile = [
        imitations.start_apart(SERIAL, poisoned),
        imitations.start_as(&user.split(' ').collect::<Vec<_>>(), SERIAL, poisoned.as_ref()),
    ];
    let mut exporter = Exporter::start([ROOT]);
    for imitation in &hostile {
        imitation.served(&exporter);
    }
    let other = imitations.start(SERIAL, "honest");
    honest(&exporter, &other);
    exporter.terminate();
}
