//! JVMs from scan to scan: every state, restart, replacement, end. The JVMs are files that the tests write and keep
//! open for writing, as a JVM does, in temporary directories.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::{ensure, skip_this, wait_for};
use hotspot_exporter::config::{self, Config, Overrides, Toggle};
use hotspot_exporter::discovery::{RefusalReason, Scanner};
use hotspot_exporter::fact::Values;
use hotspot_exporter::hotspot::Model;
use hotspot_exporter::metric::Labels;
use hotspot_exporter::output::prometheus::Pages;
use hotspot_exporter::perfdata::{FileMode, Image, Region, WriterState};
use hotspot_exporter::proc::Process;
use hotspot_exporter::rules::Profile;
use hotspot_exporter::snapshot::Snapshot;
use hotspot_exporter::targets::{AttachProviders, JvmProviders, Reconciler, Target, TargetSet, TargetState};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

#[derive(Debug)]
struct NoBoards;

impl AttachProviders for NoBoards {
    fn attach(&self, jvms: &[(&Target, &Model)]) -> Vec<JvmProviders> {
        jvms.iter().map(|_| Vec::new()).collect()
    }
}

/// A directory that serves as JVMs' `/tmp`, scanned without /proc.
struct Host {
    tmp: PathBuf,
    scanner: Scanner,
    reconciler: Reconciler,
}

impl Host {
    fn new(tmp: &Path) -> Self {
        Self::with(tmp, |_| {})
    }

    fn with(tmp: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tmp.join("hsperfdata_tester");
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let overrides =
            Overrides { roots: vec![tmp.display().to_string()], procfs: Some(None), ..Overrides::default() };
        let mut config = config::load(None, &overrides, &|path| fs::read_to_string(path)).unwrap();
        assert_eq!(config.discovery.procfs.enabled, Toggle::Off);
        change(&mut config);
        Self {
            tmp: tmp.to_owned(),
            scanner: Scanner::new(&config.discovery),
            reconciler: Reconciler::new(Arc::new(config.clone()), Box::new(NoBoards)),
        }
    }

    fn scan(&mut self) -> Arc<TargetSet> {
        let reconciler = &self.reconciler;
        let scan = self.scanner.scan(&|id| reconciler.tracks(id));
        self.reconciler.update(scan)
    }

    /// Scans, and has this process write every region.
    fn scan_of(&mut self, process: &Arc<Process>) -> Arc<TargetSet> {
        let reconciler = &self.reconciler;
        let mut scan = self.scanner.scan(&|id| reconciler.tracks(id));
        scan.candidates.iter_mut().for_each(|candidate| candidate.process = Some(Arc::clone(process)));
        self.reconciler.update(scan)
    }

    fn path(&self, pid: i32) -> PathBuf {
        self.tmp.join("hsperfdata_tester").join(pid.to_string())
    }

    /// Starts a JVM with that pid and the bytes of its region.
    fn start(&self, pid: i32, bytes: &[u8]) -> Jvm {
        let path = self.path(pid);
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let unwritten = Unwritten(Some(File::open(&path).unwrap()));
        Jvm { path, file, _unwritten: unwritten }
    }
}

/// A running JVM, as its region shows it. Dropping it kills it: the file remains without a writer.
struct Jvm {
    path: PathBuf,
    /// Closed before the other handle checks for writers: fields are dropped in this order.
    file: File,
    _unwritten: Unwritten,
}

/// Waits at its drop until the region has no writer: a program that another test starts keeps this process's files open
/// until its `exec`.
struct Unwritten(Option<File>);

impl Drop for Unwritten {
    fn drop(&mut self) {
        // A file that is not a region cannot be opened to check for writers.
        let Ok(region) = Region::open(self.0.take().unwrap(), FileMode::Pread) else { return };
        wait_for("the region's last writer to close it", || {
            ensure(region.writer() != WriterState::Present, "somebody has it open for writing")
        });
    }
}

impl Jvm {
    fn write(&self, bytes: &[u8], at: u64) {
        self.file.write_all_at(bytes, at).unwrap();
    }

    /// A normal exit, which removes the file.
    fn exit(self) {
        fs::remove_file(&self.path).unwrap();
    }
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perfdata").join(name)).unwrap()
}

/// The same JVM, started at another time.
fn started_at(bytes: &[u8], start: i64) -> Vec<u8> {
    let image = Image::decode(bytes.to_vec()).unwrap();
    let at = image.entry("sun.rt.createVmBeginTime").unwrap().offset as usize;
    let mut bytes = bytes.to_vec();
    bytes[at..at + 8].copy_from_slice(&start.to_ne_bytes());
    bytes
}

fn offset(bytes: &[u8], name: &str) -> u64 {
    Image::decode(bytes.to_vec()).unwrap().entry(name).unwrap().offset.into()
}

fn states(target_set: &TargetSet) -> Vec<TargetState> {
    target_set.targets.iter().map(|target| target.state).collect()
}

fn reasons(target_set: &TargetSet) -> Vec<RefusalReason> {
    target_set.refusals.iter().map(|refusal| refusal.reason).collect()
}

fn snapshot(target_set: &Arc<TargetSet>) -> Snapshot {
    Snapshot::take(Arc::clone(target_set), Instant::now() + Duration::from_secs(60))
}

/// A directory on a file system whose leases are reliable; without them these tests cannot imitate a JVM.
fn tmp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_jvm_is_served_from_its_first_scan_to_its_exit() {
    let folder = tmp();
    let mut host = Host::new(folder.path());
    assert_eq!(states(&host.scan()), []);
    let jvm = host.start(4711, &fixture("jdk17-G1.hsperfdata"));
    let target_set = host.scan();
    assert_eq!(states(&target_set), [TargetState::Mapped]);
    let target = &target_set.targets[0];
    assert_eq!((&*target.app, target.slot, target.vpid, &*target.user), ("Alloc", 0, 4711, "tester"));
    assert!(!target.plans[0].families.is_empty());
    assert_eq!(snapshot(&target_set).values(0).is_up(), Some(true));

    let again = host.scan();
    assert!(Arc::ptr_eq(&again.targets[0], target), "nothing changed, nothing is made anew");
    let pages = Pages::of(&target_set, &Pages::default());
    assert!(Arc::ptr_eq(Pages::of(&again, &pages).get("otel").unwrap(), pages.get("otel").unwrap()));

    jvm.exit();
    let snapshot = snapshot(&again);
    assert!(snapshot.values(0).is_gone(), "an exit is seen by the next scrape, before any scan");
    assert!(snapshot.outdated);
    assert_eq!((states(&host.scan()), reasons(&host.scan())), (vec![], vec![]));
}

/// JVMs of one kind share plans, so those of many kinds are planned in one scan, and each alone, in every profile: equal
/// counters with other strings in labels, another frequency, or another state of the region are other kinds.
#[test]
fn jvms_that_are_planned_together_have_the_plans_that_each_has_alone() {
    let with = |bytes: &[u8], name: &str, value: &[u8]| {
        let mut bytes = bytes.to_vec();
        if let Some(entry) = Image::decode(bytes.clone()).unwrap().entry(name) {
            let at = entry.offset as usize;
            bytes[at..at + value.len()].copy_from_slice(value);
        }
        bytes
    };
    let mut regions = Vec::new();
    for name in ["jdk8-G1", "jdk17-Serial", "jdk21-G1", "jdk25-Z"] {
        let whole = fixture(&format!("{name}.hsperfdata"));
        let frequency = with(&whole, "sun.os.hrt.frequency", &1_000_i64.to_ne_bytes());
        let text = with(&whole, "sun.gc.generation.0.space.1.name", b"s9\0");
        let ended = with(&whole, "sun.gc.collector.0.name", b"\0");
        regions.extend([whole.clone(), frequency, text, whole, ended]);
    }
    for limit in [1000, 130, 40] {
        let change = |config: &mut Config| {
            config.limits.max_series_per_jvm = limit;
            let raw = fs::read_to_string("config/profiles/raw.yaml").unwrap();
            let bare = "{profile: bare, rules: [{counter: java.threads.live, metric: threads}]}";
            for text in [&*raw, bare] {
                config.profiles.push(Arc::new(Profile::parse("p.yaml", text, &[]).unwrap()));
            }
        };
        let folder = tmp();
        let mut host = Host::with(folder.path(), change);
        let _jvms: Vec<_> = (1..).zip(&regions).map(|(pid, bytes)| host.start(pid, bytes)).collect();
        let together = host.scan();
        assert_eq!(together.targets.len(), regions.len());
        let bare = |vpid| &together.targets.iter().find(|target| target.vpid == vpid).unwrap().plans[2].families;
        assert!(Arc::ptr_eq(bare(1), bare(4)), "two JVMs of one kind hold one plan where nothing tells them apart");
        for (pid, bytes) in (1..).zip(&regions) {
            let folder = tmp();
            let mut host = Host::with(folder.path(), change);
            let _jvm = host.start(pid, bytes);
            let (alone, target) = (host.scan(), together.targets.iter().find(|target| target.vpid == pid).unwrap());
            let alone = &alone.targets[0];
            assert_eq!(format!("{:?}", target.plans), format!("{:?}", alone.plans), "region {pid}, {limit} series");
            assert_eq!(target.words, alone.words);
        }
    }
}

#[test]
fn a_killed_jvm_is_gone_and_its_file_is_stale() {
    let folder = tmp();
    let mut host = Host::new(folder.path());
    let jvm = host.start(1, &fixture("jdk25-Z.hsperfdata"));
    assert_eq!(states(&host.scan()), [TargetState::Mapped]);
    drop(jvm);
    let target_set = host.scan();
    assert_eq!(states(&target_set), []);
    assert_eq!(reasons(&host.scan()), [RefusalReason::Stale]);
}

#[test]
fn a_region_is_starting_until_its_jvm_can_be_identified() {
    let whole = fixture("jdk17-Serial.hsperfdata");
    let folder = tmp();
    let mut host = Host::new(folder.path());
    let jvm = host.start(1, b"");
    let starting = |host: &mut Host, what: &str| {
        let target_set = host.scan();
        assert_eq!((states(&target_set), target_set.count(TargetState::Starting)), (vec![], 1), "{what}");
        assert_eq!(target_set.starting[0].vpid, 1, "{what}");
        assert_eq!(reasons(&target_set), [], "{what}");
    };
    starting(&mut host, "size 0");
    jvm.file.set_len(whole.len() as u64).unwrap();
    starting(&mut host, "magic 0");
    let mut early = whole.clone();
    early[7] = 0;
    jvm.write(&early[..32], 0);
    starting(&mut host, "accessible 0 and no entries");
    jvm.write(&early[32..], 32);
    starting(&mut host, "accessible 0");

    // Since JDK 17 a region is accessible before the constants that identify the JVM: seconds with a slow agent.
    let command = offset(&whole, "sun.rt.javaCommand");
    let entries = Image::decode(whole.clone()).unwrap().entries.list.clone();
    let late = entries.iter().position(|entry| &*entry.name == "sun.os.hrt.frequency").unwrap();
    let mut prefix = whole.clone();
    prefix[28..32].copy_from_slice(&i32::try_from(late).unwrap().to_ne_bytes());
    let end = offset(&whole, "sun.rt.createVmEndTime") as usize;
    prefix[end..end + 8].fill(0);
    assert!(command > 0);
    jvm.write(&prefix, 0);
    starting(&mut host, "late constants");
    // HotSpot writes the times of the start last.
    let mut nearly = whole.clone();
    for name in ["sun.rt.createVmBeginTime", "sun.rt.createVmEndTime"] {
        let at = offset(&whole, name) as usize;
        nearly[at..at + 8].fill(0);
    }
    jvm.write(&nearly, 0);
    starting(&mut host, "no time of its start");

    jvm.write(&whole, 0);
    assert_eq!(states(&host.scan()), [TargetState::Mapped]);
}

#[test]
fn an_unlinked_jvm_stays_served() {
    let folder = tmp();
    let mut host = Host::new(folder.path());
    let jvm = host.start(7, &fixture("jdk21-G1.hsperfdata"));
    host.scan();
    fs::remove_file(&jvm.path).unwrap();
    let target_set = host.scan();
    assert_eq!(states(&target_set), [TargetState::Unlinked]);
    assert_eq!(snapshot(&target_set).values(0).is_up(), Some(true));
    drop(jvm);
    assert!(snapshot(&target_set).values(0).is_gone(), "unlinked and without a writer is ended");
    assert_eq!(states(&host.scan()), []);
}

#[test]
fn a_restart_with_the_same_pid_is_a_new_incarnation_in_the_same_slot() {
    let bytes = fixture("jdk17-G1.hsperfdata");
    let folder = tmp();
    let mut host = Host::new(folder.path());
    let old = host.start(1, &bytes);
    let before = Arc::clone(&host.scan().targets[0]);
    drop(old);
    let _new = host.start(1, &started_at(&bytes, 1_800_000_000_000));
    let first = host.scan();
    let target_set = if first.targets.is_empty() { host.scan() } else { first };
    assert_eq!(states(&target_set), [TargetState::Mapped]);
    let after = &target_set.targets[0];
    assert_ne!(after.incarnation, before.incarnation);
    assert_eq!((after.slot, &after.identity), (before.slot, &before.identity), "its series go on");
    assert_eq!(after.incarnation.start_millis, 1_800_000_000_000);
}

#[test]
fn a_jvm_that_overwrites_the_file_is_a_new_incarnation() {
    let bytes = fixture("jdk17-G1.hsperfdata");
    let folder = tmp();
    let mut host = Host::new(folder.path());
    let jvm = host.start(1, &bytes);
    let target_set = host.scan();
    jvm.file.set_len(0).unwrap();
    jvm.file.set_len(bytes.len() as u64).unwrap();
    jvm.write(&started_at(&bytes, 1_800_000_000_000), 0);
    let during = snapshot(&target_set);
    assert_eq!(
        (during.values(0).is_up(), during.values(0).is_gone()),
        (None, true),
        "no value of the new JVM under the old one's name"
    );
    let ended = host.scan();
    assert!(ended.unsettled || !ended.targets.is_empty(), "the next scan comes at once");
    let after = host.scan();
    assert_eq!(after.targets[0].incarnation.start_millis, 1_800_000_000_000);
    assert_eq!(after.targets[0].incarnation.region, target_set.targets[0].incarnation.region);
}

#[test]
fn new_entries_are_served_after_the_next_scan() {
    let whole = fixture("jdk17-G1.hsperfdata");
    let entries = Image::decode(whole.clone()).unwrap().entries.list.clone();
    let mut early = whole.clone();
    early[28..32].copy_from_slice(&i32::try_from(entries.len() - 20).unwrap().to_ne_bytes());
    let folder = tmp();
    let mut host = Host::with(folder.path(), |_| {});
    let jvm = host.start(1, &early);
    let before = host.scan();
    assert_eq!(states(&before), [TargetState::Mapped]);
    jvm.write(&whole, 0);
    let between = snapshot(&before);
    assert_eq!(between.values(0).is_up(), Some(true), "known counters keep their places");
    assert!(between.outdated);
    let after = host.scan();
    assert!(!Arc::ptr_eq(&after.targets[0], &before.targets[0]));
    assert_eq!(after.targets[0].slot, before.targets[0].slot);
}

#[test]
fn jvms_of_one_app_have_slots_and_free_ones_are_reused() {
    let bytes = fixture("jdk11-Parallel.hsperfdata");
    let folder = tmp();
    let mut host = Host::new(folder.path());
    let slots = |target_set: &TargetSet| {
        let mut slots: Vec<_> = target_set.targets.iter().map(|target| (target.vpid, target.slot)).collect();
        slots.sort_unstable();
        slots
    };
    let _a = host.start(30, &started_at(&bytes, 1000));
    let b = host.start(20, &started_at(&bytes, 2000));
    let _c = host.start(10, &started_at(&bytes, 3000));
    assert_eq!(slots(&host.scan()), [(10, 2), (20, 1), (30, 0)], "in the order in which they started");
    b.exit();
    assert_eq!(slots(&host.scan()), [(10, 2), (30, 0)]);
    let _d = host.start(40, &started_at(&bytes, 4000));
    assert_eq!(slots(&host.scan()), [(10, 2), (30, 0), (40, 1)]);
}

#[test]
fn one_invalid_file_does_not_affect_others() {
    let folder = tmp();
    let mut host = Host::with(folder.path(), |config| config.limits.max_jvms = 2);
    let _good = host.start(1, &fixture("jdk17-G1.hsperfdata"));
    let _text = host.start(2, &[b'x'; 4096]);
    let target_set = host.scan();
    assert_eq!(states(&target_set), [TargetState::Mapped]);
    assert_eq!(reasons(&target_set), [RefusalReason::NotPerfdata]);
    assert!(target_set.refusals[0].detail.contains("expected magic"), "{}", target_set.refusals[0].detail);

    let mut old = fixture("jdk17-G1.hsperfdata");
    old[5] = 1;
    let _old = host.start(2, &old);
    assert_eq!(reasons(&host.scan()), [RefusalReason::UnsupportedVersion]);

    let _second = host.start(2, &fixture("jdk21-Z.hsperfdata"));
    let _third = host.start(3, &fixture("jdk21-Z.hsperfdata"));
    let target_set = host.scan();
    assert_eq!(states(&target_set).len(), 2);
    assert_eq!(reasons(&target_set), [RefusalReason::TooMany]);
    assert!(target_set.refusals[0].detail.contains("limits.max_jvms"), "{}", target_set.refusals[0].detail);
}

/// A file system whose leases are not reliable, so that only the heartbeat shows whether a JVM runs.
struct Ramfs(tempfile::TempDir);

impl Ramfs {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        // Without a child process, which would inherit the files of the other tests.
        if mount("none", folder.path(), "ramfs", MountFlags::empty(), None).is_ok() {
            return Some(Self(folder));
        }
        skip_this("mounting a ramfs needs root");
        None
    }
}

impl Drop for Ramfs {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

#[test]
fn a_jvm_whose_heartbeat_stops_is_stalled() {
    let Some(ramfs) = Ramfs::mount() else { return };
    let bytes = fixture("jdk17-G1.hsperfdata");
    let mut host = Host::new(ramfs.0.path());
    let jvm = host.start(1, &bytes);
    let ticks = offset(&bytes, "sun.os.hrt.ticks");
    assert_eq!(states(&host.scan()), [TargetState::Mapped]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while states(&host.scan()) != [TargetState::Stalled] {
        assert!(Instant::now() < deadline, "never stalled");
        std::thread::yield_now();
    }
    let target_set = host.scan();
    let stalled = snapshot(&target_set);
    assert_eq!(stalled.values(0).is_up(), Some(false), "known, and not up");
    jvm.write(&i64::MAX.to_ne_bytes(), ticks);
    assert_eq!(states(&host.scan()), [TargetState::Mapped], "it beats again");
    fs::remove_file(&jvm.path).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !host.scan().targets.is_empty() {
        assert!(Instant::now() < deadline, "without a name and without a beat it is ended");
        std::thread::yield_now();
    }
}

#[test]
fn a_jvm_without_any_sign_of_life_is_unconfirmed() {
    let Some(ramfs) = Ramfs::mount() else { return };
    let mut host = Host::new(ramfs.0.path());
    let jvm = host.start(1, &fixture("jdk25-G1.hsperfdata"));
    let target_set = host.scan();
    assert_eq!(states(&target_set), [TargetState::Unconfirmed]);
    assert_eq!(snapshot(&target_set).values(0).is_up(), Some(true));
    jvm.exit();
    assert_eq!(states(&host.scan()), []);
}

/// A process in a container of that pod.
fn process_in(container_id: &str, pod_uid: &str) -> Arc<Process> {
    let mut process = Process::open(Path::new("/proc"), i32::try_from(std::process::id()).unwrap()).unwrap();
    (process.container_id, process.pod_uid) = (Some(container_id.to_owned()), Some(pod_uid.to_owned()));
    Arc::new(process)
}

#[test]
fn a_jvm_in_kubernetes_has_its_pod_as_soon_as_the_node_names_it() {
    let (folder, logs) = (tmp(), tempfile::tempdir().unwrap());
    let (id, uid) = ("0a".repeat(32), "01234567-89ab-cdef-0123-456789abcdef");
    let mut host = Host::with(folder.path(), |config| config.identity.container_logs = logs.path().to_owned());
    let _jvm = host.start(1, &fixture("jdk17-G1.hsperfdata"));
    let process = process_in(&id, uid);
    let identity = |set: &TargetSet| set.targets.iter().map(|target| target.identity.clone()).collect::<Vec<_>>();
    let plain = Labels::new([("app", "Alloc"), ("slot", "0")]);
    assert_eq!(identity(&host.scan_of(&process)), std::slice::from_ref(&plain));
    let log = format!("{}_prod_app-{id}.log", "p".repeat(140));
    let target = format!("/var/log/pods/prod_{}_{uid}/app/0.log", "p".repeat(140));
    std::os::unix::fs::symlink(target, logs.path().join(log)).unwrap();
    let cut = "p".repeat(128);
    let in_pod = [("app", "Alloc"), ("slot", "0"), ("container", "app"), ("namespace", "prod"), ("pod", cut.as_str())];
    let named = host.scan_of(&process);
    assert_eq!(identity(&named), [Labels::new(in_pod)]);
    assert!(Arc::ptr_eq(&host.scan_of(&process).targets[0], &named.targets[0]), "nothing has changed since");
    let mut off = Host::with(folder.path(), |config| {
        config.identity.container_logs = logs.path().to_owned();
        config.identity.kubernetes = Toggle::Off;
    });
    assert_eq!(identity(&off.scan_of(&process)), [plain]);
}

#[test]
fn slots_outlive_the_exporter_and_name_no_other_jvm() {
    let bytes = fixture("jdk17-G1.hsperfdata");
    let folder = tmp();
    let slots = |set: &TargetSet| -> Vec<(i32, u32)> {
        let mut slots: Vec<_> = set.targets.iter().map(|target| (target.vpid, target.slot)).collect();
        slots.sort_unstable();
        slots
    };
    let mut host = Host::new(folder.path());
    let first = host.start(1, &started_at(&bytes, 1_700_000_000_000));
    let _second = host.start(2, &started_at(&bytes, 1_700_000_001_000));
    let third = host.start(3, &started_at(&bytes, 1_700_000_002_000));
    assert_eq!(slots(&host.scan()), [(1, 0), (2, 1), (3, 2)]);
    let records = host.reconciler.take_slot_changes().unwrap();
    assert_eq!(records.len(), 3);
    host.scan();
    assert_eq!(host.reconciler.take_slot_changes(), None, "nothing has changed");

    // While the exporter is away, one JVM ends, and another takes the file of a third.
    first.exit();
    third.write(&started_at(&bytes, 1_700_000_003_000), 0);
    let fourth = host.start(4, &started_at(&bytes, 1_699_000_000_000));
    let mut next = Host::new(folder.path());
    next.reconciler.recall(records.clone());
    assert_eq!(slots(&next.scan()), [(2, 1), (3, 2), (4, 0)]);

    // Alone, it would be the first; its record says otherwise.
    third.exit();
    fourth.exit();
    let mut next = Host::new(folder.path());
    next.reconciler.recall(records);
    assert_eq!(slots(&next.scan()), [(2, 1)]);
    let mut without = Host::new(folder.path());
    assert_eq!(slots(&without.scan()), [(2, 0)]);
}
