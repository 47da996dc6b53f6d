//! The command line: messages about invalid input, and exit codes: 0 success, 1 failure, 64 usage or configuration.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::exporter::{Exporter, command};
use crate::support::jdk;
use crate::support::jvm::Jvm;
use crate::support::regions::{Root, fixture};
use crate::support::{PATIENCE, copy_program, ensure, is_root, package, program, skip, wait_for};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;
use tempfile::TempDir;

/// A command that has ended.
struct Call {
    code: Option<i32>,
    out: String,
    err: String,
    line: String,
}

impl Call {
    /// Runs a command that ends by itself.
    fn of(command: Command) -> Self {
        let line = format!("{command:?}");
        let output: Output = assert_cmd::Command::from_std(command).timeout(PATIENCE).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr), line }
    }

    fn new<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::of(command(arguments))
    }

    /// Checks the exit code, and that the output contains each of these.
    fn expect(&self, code: i32, words: &[&str]) -> &Self {
        let Self { out, err, line, .. } = self;
        assert_eq!(self.code, Some(code), "{line}\n{out}{err}");
        for word in words {
            assert!(out.contains(word) || err.contains(word), "{word:?} is not in the output of {line}\n{out}{err}");
        }
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{}: {error}\n{}", self.line, self.out))
    }
}

fn config(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("exporter.yaml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

#[test]
fn invalid_configurations_are_refused_with_the_position() {
    for (text, words) in [
        ("discovery: [\n", &["exporter.yaml:"][..]),
        ("discoveri: {}\n", &["exporter.yaml:1:1", "discoveri", "discovery"]),
        ("\nsampling: {interval: soon}\n", &["exporter.yaml:2:22", "sampling.interval", "soon"]),
        ("rules:\n- {counter: a.b, metric: 'bad name'}\n", &["exporter.yaml:2:", "rules[0].metric", "found ' '"]),
        ("rules:\n- {counter: 're:(', metric: a}\n", &["exporter.yaml:2:", "rules[0].counter"]),
        ("rules:\n- {counter: a, metric: b, labels: {'1x': y}}\n", &["exporter.yaml:2:", "rules[0].labels", "1x"]),
        ("rules:\n- {source: pool.usde, metric: a.b}\n", &["exporter.yaml:2:", "rules[0].source", "pool.used"]),
        ("profiles: [otle]\n", &["exporter.yaml:1:12", "profiles[0]", "otel"]),
        ("limits: {max_jvms: many}\nnmt: {mode: loud}\n", &[":1:20", "limits.max_jvms", ":2:13", "nmt.mode", "loud"]),
    ] {
        let (_directory, path) = config(text);
        let file = format!("--config.file={}", path.display());
        Call::new([file.as_str(), "--config.check"]).expect(64, words);
        Call::new([file.as_str(), "--once"]).expect(64, words);
    }
}

#[test]
fn valid_configurations_pass_the_check() {
    Call::new(["--config.check"]).expect(0, &[]);
    let shipped = package().join("config/hotspot-exporter.yaml");
    Call::new([format!("--config.file={}", shipped.display()), "--config.check".to_owned()]).expect(0, &[]);
}

#[test]
fn invalid_usage_is_64_and_names_the_argument() {
    for (arguments, word) in [
        (&["--no.such.flag"][..], "no.such.flag"),
        (&["--web.listen-address=nowhere:http"], "nowhere"),
        (&["--nmt.mode=sometimes"], "sometimes"),
        (&["--log.format=xml"], "xml"),
        (&["dump"], "PID"),
        (&["dump", "1", "--format=xml"], "xml"),
        (&["--config.file=/no/such/file.yaml", "--config.check"], "/no/such/file.yaml"),
        (&["--config.file=/no/such/file.yaml"], "/no/such/file.yaml"),
    ] {
        Call::new(arguments).expect(64, &[word]);
    }
}

#[test]
fn version_and_help_are_printed() {
    Call::new(["--version"]).expect(0, &[env!("CARGO_PKG_VERSION")]);
    Call::new(["--help"]).expect(0, &["--config.file", "--web.listen-address", "--discovery.root", "explain"]);
}

#[test]
fn an_address_in_use_ends_the_program_and_is_named() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    Call::new([format!("--web.listen-address={address}")]).expect(1, &[&address]);
}

#[test]
fn files_that_are_not_regions_are_named() {
    let directory = tempfile::tempdir().unwrap();
    for (path, expected) in [
        (directory.path().join("missing"), "missing"),
        (directory.path().to_owned(), "directory"),
        (fifo(directory.path().join("fifo")), "fifo"),
        (file(directory.path().join("empty"), b""), "empty"),
        (file(directory.path().join("short"), &[0; 31]), "short"),
        (file(directory.path().join("garbage"), &[7; 4096]), "cafec0c0"),
    ] {
        let path = path.to_str().unwrap();
        Call::new(["dump", path]).expect(1, &[path, expected]);
        Call::new(["explain", path]).expect(1, &[path, expected]);
    }
}

fn file(path: PathBuf, bytes: &[u8]) -> PathBuf {
    fs::write(&path, bytes).unwrap();
    path
}

fn fifo(path: PathBuf) -> PathBuf {
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
    path
}

#[test]
fn a_full_disk_ends_once_with_a_message() {
    let root = Root::new();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command(root.flags()).arg("--once").stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!output.stderr.is_empty(), "no message");
}

#[test]
fn dump_of_a_recorded_region_prints_every_entry_in_both_formats() {
    let path = fixture("jdk25-G1").display().to_string();
    Call::new(["dump", &path]).expect(0, &["java.threads.live", "sun.gc.collector.0.invocations", "events"]);
    let dump = Call::new(["dump", &path, "--format=json"]);
    let dump = dump.expect(0, &[]).json();
    assert_eq!(dump["prologue"]["major"], 2);
    assert_eq!(dump["prologue"]["num_entries"].as_u64(), Some(dump["entries"].as_array().unwrap().len() as u64));
    let entry = dump["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == "java.threads.live").unwrap();
    assert_eq!(entry["type"], "J");
    assert_eq!(entry["units"], "none");
    assert_eq!(entry["variability"], "variable");
    assert_eq!(entry["supported"], true);
    assert_eq!(entry["value"], 7);
}

/// Files that anybody can put into a world-writable directory, next to one valid region.
#[test]
fn a_hostile_root_affects_no_other_jvm() {
    let root = Root::new();
    let _writer = root.put("jdk25-G1", 1);
    fifo(root.place(2));
    symlink(fixture("jdk17-G1"), root.place(3)).unwrap();
    file(root.place(4), b"");
    file(root.place(5), &[0xca; 31]);
    File::create(root.place(6)).unwrap().set_len(4 << 30).unwrap();
    fs::create_dir(root.place(7)).unwrap();
    file(root.place(8), &[0xff; 32768]);
    let mut damaged = fs::read(fixture("jdk17-G1")).unwrap();
    damaged[32..36].copy_from_slice(&i32::MAX.to_le_bytes());
    let _damaged = File::options().write(true).open(file(root.place(9), &damaged)).unwrap();
    fs::hard_link(root.place(1), root.path().join("another_name")).unwrap();
    fs::remove_file(root.path().join("another_name")).unwrap();

    let exporter = Exporter::start(root.flags());
    let page = exporter.scrape();
    let up: Vec<_> = page.all("jvm_up", &[]).filter(|sample| sample.value == 1.0).collect();
    assert!(!up.is_empty() && up.len() <= 2, "only the valid region, and what is left of the damaged one: {up:?}");
    assert_eq!(page.value("jvm_process_info", &[("pid", "1"), ("java_version", "25.0.3")]), Some(1.0));

    let targets = exporter.targets();
    let list = Call::new(root.flags().into_iter().chain(["list".to_owned(), "--format=json".to_owned()]));
    for listing in [targets, list.expect(0, &[]).json()] {
        let refused = listing["refused"].as_array().unwrap();
        for place in [2, 3, 5, 6, 7, 8] {
            let path = root.place(place).display().to_string();
            let entry = refused.iter().find(|entry| entry["path"] == path.as_str());
            let entry = entry.unwrap_or_else(|| panic!("{path} is not among {refused:#?}"));
            assert!(entry["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{entry}");
        }
        // A region is empty before its JVM has written to it.
        let empty = root.place(4).display().to_string();
        let jvms = listing["jvms"].as_array().unwrap();
        assert!(jvms.iter().chain(refused).any(|entry| entry["path"] == empty.as_str()), "{listing:#}");
    }
}

#[test]
fn a_missing_root_is_logged_once_and_others_are_served() {
    let root = Root::new();
    let _writer = root.put("jdk17-G1", 1);
    let missing = root.path().join("not-there");
    let flags = root.flags().into_iter().chain([format!("--discovery.root={}", missing.display())]);
    let exporter = Exporter::start(flags);
    assert_eq!(exporter.scrape().value("jvm_up", &[]), Some(1.0));
    exporter.scrape();
    let log = exporter.log();
    assert!(log.matches("not-there").count() <= 1, "{log}");
}

#[test]
fn a_rule_that_matches_nothing_is_logged() {
    let root = Root::new();
    let _writer = root.put("jdk17-G1", 1);
    let path = root.path().join("exporter.yaml");
    fs::write(&path, "rules:\n- {counter: com.example.nothing, metric: app.nothing}\n").unwrap();
    let flags = root.flags().into_iter().chain([format!("--config.file={}", path.display())]);
    let exporter = Exporter::start(flags);
    wait_for("the log message", || {
        exporter.scrape();
        ensure(exporter.log().contains("com.example.nothing"), exporter.log())
    });
}

#[test]
fn healthcheck_reports_by_its_exit_code() {
    let root = Root::new();
    let exporter = Exporter::start(root.flags());
    let url = format!("http://{}/-/healthy", exporter.address());
    Call::new(["healthcheck", &url]).expect(0, &[]);
    drop(exporter);
    Call::new(["healthcheck", &url]).expect(1, &[url.split('/').nth(2).unwrap()]);
}

#[test]
fn paths_and_methods_that_do_not_exist_are_refused() {
    let root = Root::new();
    let exporter = Exporter::start(root.flags());
    for (method, path, status) in [
        ("GET", "/", 200),
        ("HEAD", "/metrics", 200),
        ("GET", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
        ("GET", "/targets", 200),
        ("GET", "/metrics/none", 404),
        ("GET", "/none", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/", 405),
        ("GET", "/-/reload", 405),
    ] {
        // The client reads to the end of the stream; a HEAD has a length and no body.
        if method == "HEAD" {
            continue;
        }
        assert_eq!(exporter.request(method, path, &[]).status, status, "{method} {path}");
    }
}

/// A configuration that reads files only, so that JVMs without one are refused.
fn files_only() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path().join("exporter.yaml"), b"discovery: {processes: off}\n");
    (directory, format!("--config.file={}", path.display()))
}

/// Reasons why JVMs cannot be read, in the output of `list`.
#[test]
fn list_shows_why_a_jvm_cannot_be_read() {
    let jdk = jdk::any();
    let jvm = Jvm::start(&jdk, ["-XX:+PerfDisableSharedMem"]);
    let (_directory, files_only) = files_only();
    let refusal = refusal_of(jvm.pid(), || command(["list", "--format=json", &files_only]));
    assert!(refusal.contains("PerfDisableSharedMem"), "{refusal}");
    let readable = Jvm::start(&jdk, ["-XX:+UseSerialGC", "-Dotel.service.name=listed"]);
    let list = Call::new(["list", "--local", "--format=json"]);
    let list = list.expect(0, &[]).json();
    let entry = list["jvms"].as_array().unwrap().iter().find(|jvm| jvm["pid"] == readable.pid());
    let entry = entry.unwrap_or_else(|| panic!("{} is not in {list:#}", readable.pid()));
    assert_eq!(entry["app"], "listed");
    assert_eq!(entry["state"], "mapped");
    assert_eq!(entry["gc"], "Serial");
    assert_eq!(entry["main_class"], "Workload");
    assert_eq!(entry["java_version"], jdk.version.as_str());
    Call::new(["list", &files_only]).expect(0, &["listed", "Workload", "PerfDisableSharedMem"]);
}

#[test]
fn list_shows_why_a_jvm_of_a_user_without_name_cannot_be_read() {
    let test = "list_shows_why_a_jvm_of_a_user_without_name_cannot_be_read";
    let Some(other) = OtherUser::new(test) else { return };
    let Some(jdk) = jdk::installed().iter().find(|jdk| jdk.home.starts_with("/usr")) else {
        return skip(test, "no JDK below /usr, where every user can start it");
    };
    let jvm = Jvm::spawn(other.command(12345, &jdk.java()).arg("-Xmx96m").arg("-cp").arg(other.path()).arg("Workload"));
    let (_directory, files_only) = files_only();
    let refusal = refusal_of(jvm.pid(), || command(["list", "--format=json", &files_only]));
    assert!(refusal.contains("passwd"), "{refusal}");
}

#[test]
fn list_of_another_user_shows_the_owner_of_a_region() {
    let Some(other) = OtherUser::new("list_of_another_user_shows_the_owner_of_a_region") else { return };
    let jvm = Jvm::start(&jdk::any(), ["-XX:+UseSerialGC"]);
    let binary = other.path().join("hotspot-exporter");
    copy_program(env!("CARGO_BIN_EXE_hotspot-exporter"), &binary);
    let refusal = refusal_of(jvm.pid(), || {
        let mut list = other.command(65534, &binary);
        list.args(["list", "--local", "--format=json"]);
        list
    });
    assert!(refusal.contains("owner"), "{refusal}");
}

/// The entry of a refused process in the output of `list`. At first a JVM without a region counts as one that is
/// starting.
fn refusal_of(pid: u32, list: impl Fn() -> Command) -> String {
    let file = format!("/{pid}");
    let is_it =
        |entry: &&Value| entry["pid"] == pid || entry["path"].as_str().is_some_and(|path| path.ends_with(&file));
    wait_for("list to refuse the JVM", || {
        let output = Call::of(list());
        let listing = output.expect(0, &[]).json();
        let refused = listing["refused"].as_array().unwrap();
        refused.iter().find(is_it).map(Value::to_string).ok_or(format!("{pid} is not refused in {listing:#}"))
    })
}

/// Runs programs as unprivileged users, in a directory that everybody can read.
struct OtherUser {
    directory: TempDir,
}

impl OtherUser {
    fn new(test: &str) -> Option<Self> {
        if !is_root() || program("setpriv").is_none() {
            skip(test, "setpriv --reuid needs root, and Debian's util-linux");
            return None;
        }
        let directory = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
        for entry in fs::read_dir(jdk::class_path()).unwrap() {
            let class = entry.unwrap().path();
            fs::copy(&class, directory.path().join(class.file_name().unwrap())).unwrap();
        }
        Some(Self { directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, uid: u32, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={uid}")).arg("--clear-groups").arg(program);
        command.current_dir(self.path());
        command
    }
}

#[test]
fn list_asks_the_running_exporter() {
    let root = Root::new();
    let _writer = root.put("jdk17-G1", 4711);
    let exporter = Exporter::start(root.flags());
    let address = format!("--web.listen-address={}", exporter.address());
    wait_for("the JVM", || ensure(exporter.targets()["jvms"][0]["pid"] == 4711, exporter.targets()));
    let asked = Call::new(["list", "--format=json", &address]);
    asked.expect(0, &[&format!("from the exporter at http://{}/targets", exporter.address()), "--local"]);
    let asked: Value = serde_json::from_str(&asked.out).unwrap();
    assert_eq!((&asked["jvms"][0]["pid"], &asked["jvms"][0]["app"]), (&4711.into(), &"Alloc".into()));
    Call::new(["list", &address]).expect(0, &["Alloc", "4711"]);
    let local = Call::new(["list", "--local", &address]);
    assert!(!local.expect(0, &[]).err.contains("from the exporter"), "{}", local.err);
    let own = Call::new(root.flags().into_iter().chain(["list".to_owned()]));
    assert!(!own.expect(0, &["Alloc"]).err.contains("exporter answers"), "{}", own.err);

    // Something else listens there, and answers with anything.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--web.listen-address={}", listener.local_addr().unwrap());
    drop(listener);
    Call::new(["list", &address]).expect(0, &["no exporter answers", "cannot connect"]);
}
